# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_place
short_description: On which two nodes the legs of mirrored guests lie
version_added: 1.0.0
description:
  - Returns the legs that a pool's mirrored guests have and shall have. Legs that exist stay where they are; the legs of guests
    that are not described are returned as they are.
  - A new guest gets the two nodes that are most apart (failure domain), have most room left afterwards, and do least, in this
    order. All of its disks lie on the same two nodes.
  - What is impossible fails, in plain words - too few nodes, no space, names that cannot be, a disk that would shrink.
author: nobloat.xen contributors (@nobloat)
positional: nodes, legs
options:
  _input:
    description:
      - The guests, each with C(name), C(disks) (each with C(name), C(size) and if need be C(mount)), and if need be C(nodes)
        (names of the nodes that may hold its legs) and C(home).
    type: list
    elements: dict
    required: true
  nodes:
    description: Results of M(nobloat.xen.mirror_info) by name of the node, for all nodes of the pool; empty for those that do not answer.
    type: dict
    required: true
  legs:
    description: What exists, as filter P(nobloat.xen.mirror_legs#filter) returns it.
    type: list
    elements: dict
    default: []
  vg:
    description: Volume group for legs.
    type: str
    default: vg0
  vgs:
    description: Volume groups of nodes on which it has another name, by name of the node.
    type: dict
    default: {}
  failure_domains:
    description: What fails together, by name of the node; a node that is not named is one of its own.
    type: dict
    default: {}
  stripes:
    description: Number of stripes of new volumes, V(0) for as many as the volume group has disks.
    type: int
    default: 0
  iqn_prefix:
    description: Beginning of the names of new exports.
    type: str
    default: iqn.2026-11.xen.nobloat
  assume_room:
    description: A volume group that is not there yet has enough room. This is for check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Place the guests
  ansible.builtin.set_fact:
    mirror_legs: "{{ mirror_guest_list | nobloat.xen.mirror_place(nodes, mirror_legs, failure_domains={'node1': 'a', 'node2': 'b'}) }}"
  vars:
    nodes:
      node1: "{{ hostvars.node1.mirror_facts_node }}"
      node2: "{{ hostvars.node2.mirror_facts_node }}"
"""

RETURN = r"""
_value:
  description:
    - Leg records, two for each disk, sorted by guest, disk, and home first. Each has C(guest), C(disk), C(name), C(node), C(vg),
      C(size) in bytes, C(iqn), C(portals), C(path), C(exists), and C(slot), which is V(0) at home.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import IQN_PREFIX
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.placement import node_facts, place
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_place(
    guests: Any, nodes: Any, legs: Any = (), *, vg: str = "vg0", vgs: Any = None, failure_domains: Any = None, stripes: int = 0,
    iqn_prefix: str = IQN_PREFIX, assume_room: bool = False,
) -> list[dict[str, Any]]:
    """See DOCUMENTATION."""
    try:
        known = {
            name: node_facts(
                info, vg=(vgs or {}).get(name) or vg, stripes=int(stripes), failure_domain=(failure_domains or {}).get(name) or ""
            )
            for name, info in nodes.items()
        }
        placed, remarks = place(guests, legs, known, iqn_prefix, assume_room=assume_room)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error
    for remark in remarks:
        Display().warning(remark)
    return placed


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_place": mirror_place}
