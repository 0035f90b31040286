# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_moves
short_description: Legs that leave a node, and where they go
version_added: 1.0.0
description:
  - Returns where the legs of a node have to get to, those of all guests, of one guest, or of one disk. Nothing is returned if
    there is none left on the node.
  - It tells where things have to get, not what is left to do, so that a move that was broken off can be finished.
  - What must not be begun fails - a leg without partner, no node with room, a node that the inventory does not want.
author: nobloat.xen contributors (@nobloat)
positional: nodes, guests, source
options:
  _input:
    description: The legs of the pool, as P(nobloat.xen.mirror_legs#filter) returns them.
    type: list
    elements: dict
    required: true
  nodes:
    description: Results of M(nobloat.xen.mirror_info) by name of the node, for all nodes of the pool; empty for those that do not answer.
    type: dict
    required: true
  guests:
    description: The guests as they are described (C(mirror_guest_list)).
    type: list
    elements: dict
    required: true
  source:
    description: Node that the legs leave.
    type: str
    required: true
  to:
    description: Node that they go to. If omitted, nodes with room are chosen as for new guests.
    type: str
  guest:
    description: Name of the guest. If omitted, all guests with legs on O(source).
    type: str
  disk:
    description: Name of the disk. If omitted, all of the guest.
    type: str
  vg:
    description: Volume group for legs.
    type: str
    default: vg0
  vgs:
    description: Volume groups of nodes on which it has another name, by name of the node.
    type: dict
    default: {}
  stripes:
    description: Number of stripes of volumes, V(0) for as many as the volume group has disks.
    type: int
    default: 0
  failure_domains:
    description: What fails together, by name of the node; a node that is not named is one of its own.
    type: dict
    default: {}
  iqn_prefix:
    description: Beginning of the names of exports.
    type: str
    default: iqn.2026-11.xen.nobloat
  remove_old:
    description: Whether the old legs will be removed. If they are kept, a copy of an earlier move must not be in the way.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: All legs leave node1
  ansible.builtin.set_fact:
    moves: "{{ mirror_legs | nobloat.xen.mirror_moves(nodes, mirror_guest_list, 'node1') }}"
"""

RETURN = r"""
_value:
  description: The disks, each with C(guest), C(disk), C(name) of its legs, C(from), C(old) (the leg that goes) and C(legs) (the two that
    there have to be).
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.changes import facts, moves
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import IQN_PREFIX
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_moves(
    legs: Any, nodes: Any, guests: Any, source: str, to: str | None = None, guest: str | None = None, disk: str | None = None, *,
    vg: str = "vg0", vgs: Any = None, failure_domains: Any = None, stripes: int = 0, iqn_prefix: str = IQN_PREFIX,
    remove_old: bool = False,
) -> list[dict[str, Any]]:
    """See DOCUMENTATION."""
    volumes = [] if remove_old else [volume["name"] for volume in (nodes.get(source) or {}).get("legs", [])]
    try:
        known = facts(nodes, vg=vg, vgs=vgs, failure_domains=failure_domains, stripes=int(stripes))
        return moves(legs, known, guests, source, to=to, guest=guest, disk=disk, iqn_prefix=iqn_prefix, kept=volumes)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_moves": mirror_moves}
