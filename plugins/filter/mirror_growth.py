# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_growth
short_description: The legs of a mirrored disk that is to grow
version_added: 1.0.0
description:
  - Returns the two legs with the size that they have to get, rounded up to what both nodes can make.
  - What must not be begun fails - a leg that is not there, a third one, a disk that would shrink, a node without room.
author: nobloat.xen contributors (@nobloat)
positional: nodes, guest, size, disk
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
  guest:
    description: Name of the guest.
    type: str
    required: true
  size:
    description: Size of the disk, as V(20GiB).
    type: str
    required: true
  disk:
    description: Name of the disk. It can be left out if the guest has one only.
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
"""

EXAMPLES = r"""
- name: What the legs have to be
  ansible.builtin.set_fact:
    mirror_legs: "{{ mirror_legs | nobloat.xen.mirror_growth(nodes, 'web1', '20GiB', disk='data') }}"
"""

RETURN = r"""
_value:
  description: The two legs.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.changes import facts, growth
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_growth(
    legs: Any, nodes: Any, guest: str, size: Any, disk: str | None = None, *, vg: str = "vg0", vgs: Any = None, stripes: int = 0
) -> list[dict[str, Any]]:
    """See DOCUMENTATION."""
    try:
        return growth(legs, facts(nodes, vg=vg, vgs=vgs, stripes=int(stripes)), guest, disk, size)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_growth": mirror_growth}
