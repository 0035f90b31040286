# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_legs
short_description: The legs that nodes have
version_added: 1.0.0
description:
  - Finds the legs of mirrored guests in what M(nobloat.xen.mirror_info) says of nodes. A leg is a logical volume with the tags
    C(nobloat.guest) and C(nobloat.disk).
author: nobloat.xen contributors (@nobloat)
options:
  _input:
    description: Results of M(nobloat.xen.mirror_info) by name of the node. Nodes with an empty result are left out.
    type: dict
    required: true
  iqn_prefix:
    description: What the iSCSI names of legs that are not exported yet begin with.
    type: str
    default: iqn.2026-11.xen.nobloat
"""

EXAMPLES = r"""
- name: The legs of two nodes
  ansible.builtin.debug:
    msg: "{{ {'node1': hostvars.node1.mirror_facts_node, 'node2': hostvars.node2.mirror_facts_node} | nobloat.xen.mirror_legs }}"
"""

RETURN = r"""
_value:
  description:
    - The legs, sorted by guest, disk and slot, which is their order when they were made (the preferred home first).
    - Each has C(guest), C(disk), C(slot) (V(0), V(1), or V(null) if it is not tagged), C(name), C(node), C(vg), C(size) in bytes,
      C(path) (the same on every node), C(sr) and C(vdi) (what it is called in the pool), C(lease) as in M(nobloat.xen.mirror_info),
      C(uuid) of the guest (empty if it is not tagged),
      C(iqn), C(portals) (empty if it is not exported), C(initiators) and C(exists), which is V(true).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.legs import legs
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import IQN_PREFIX
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_legs(nodes: Mapping[str, Any], iqn_prefix: str = IQN_PREFIX) -> list[dict[str, Any]]:
    try:
        return legs(nodes, iqn_prefix)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_legs: this is not what mirror_info returns: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_legs": mirror_legs}
