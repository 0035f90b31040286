# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_returning
short_description: The mirrored disks that get their halves back
version_added: 1.0.0
description:
  - Of guests that run, the mirrored disks with a leg on a node that is back.
author: nobloat.xen contributors (@nobloat)
positional: vms, node, status
options:
  _input:
    description: Legs as P(nobloat.xen.mirror_legs#filter) returns them.
    type: list
    elements: dict
    required: true
  vms:
    description: Guests as M(nobloat.xen.vm_info) returns them.
    type: list
    elements: dict
    required: true
  node:
    description: The node that is back.
    type: str
    required: true
  status:
    description: What P(nobloat.xen.mirror_status#filter) returns. With it, also disks with halves on other nodes that may lack data.
    type: dict
"""

EXAMPLES = r"""
- name: Which disks have a leg on node1?
  ansible.builtin.debug:
    msg: "{{ mirror_legs | nobloat.xen.mirror_returning(found.vms, 'node1') | map(attribute='name') }}"
"""

RETURN = r"""
_value:
  description:
    - The disks, each with C(guest), C(disk), C(name) and C(legs), guest by guest. Those come first whose other half has the lowest
      position in the guest.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.changes import returning
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_returning(legs: Any, vms: Any, node: str, status: Any = None) -> list[dict[str, Any]]:
    """See DOCUMENTATION."""
    return returning(legs, vms, node, status)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_returning": mirror_returning}
