# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_missing
short_description: Nodes whose halves a guest does without
version_added: 1.0.0
description:
  - Compares what the mirrors of a guest should consist of with what the guest says of them.
author: nobloat.xen contributors (@nobloat)
positional: arrays
options:
  _input:
    description: The mirrors, each with C(name) or C(disk), C(devices) (paths in the guest) and C(nodes), in the same order.
    type: list
    elements: dict
    required: true
  arrays:
    description: The RV(nobloat.xen.mirror_info#module:arrays) of the guest.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Which nodes have a half that is not in use
  ansible.builtin.debug:
    msg: "{{ mirrors | nobloat.xen.mirror_missing(inside.arrays) }}"
"""

RETURN = r"""
_value:
  description: The nodes, sorted. Those of an array that is not there are left out, as nothing is known of it.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.halves import missing
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_missing(mirrors: Any, arrays: Any) -> list[str]:
    try:
        return missing(mirrors, arrays)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_missing: these are no mirrors and arrays: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_missing": mirror_missing}
