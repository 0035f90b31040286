# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_problems
short_description: What mirrored guests lack of what was planned
version_added: 1.0.0
description:
  - Compares all guests at once with what M(nobloat.xen.vm_info) found in the pool.
author: nobloat.xen contributors (@nobloat)
positional: vms, vdis, running
options:
  _input:
    description: The plans, as P(nobloat.xen.mirror_guests#filter) returns them.
    type: list
    elements: dict
    required: true
  vms:
    description: Guests as M(nobloat.xen.vm_info) returns them.
    type: list
    elements: dict
    required: true
  vdis:
    description: Uuids of the legs' VDIs by their paths.
    type: dict
    required: true
  running:
    description: Names of the guests that have to run.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: All guests are as planned
  ansible.builtin.assert:
    that: plans | nobloat.xen.mirror_problems(found.vms, vdis) | length == 0
"""

RETURN = r"""
_value:
  description: Sentences, one for each problem.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.guests import problems
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_problems(plans: Any, vms: Any, vdis: Any, running: Any = ()) -> list[str]:
    try:
        return problems(plans, vms, vdis, running)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_problems: these are no plans and guests: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_problems": mirror_problems}
