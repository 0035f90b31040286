# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_volumes
short_description: What a node has to do for its legs
version_added: 1.0.0
description:
  - Compares the legs that are wanted with what nodes have, and finds what is wrong on any of them, so that nothing is made on one
    node for a leg that the other has no space for.
author: nobloat.xen contributors (@nobloat)
positional: nodes, node, stripes, iqn_prefix, own
options:
  _input:
    description: The legs of all nodes, each as the filter P(nobloat.xen.mirror_legs#filter) has them.
    type: list
    elements: dict
    required: true
  nodes:
    description: Results of M(nobloat.xen.mirror_info) by name of the node. A node with an empty result does not answer.
    type: dict
    required: true
  node:
    description: Name of the node.
    type: str
    required: true
  stripes:
    description: Number of stripes, V(0) for as many as a volume group has disks.
    type: int
    default: 0
  iqn_prefix:
    description: What the iSCSI names begin with of legs that have none.
    type: str
    default: iqn.2026-11.xen.nobloat
  own:
    description: The legs of the node, if they are others than in the input.
    type: list
    elements: dict
"""

EXAMPLES = r"""
- name: What node1 has to make
  ansible.builtin.debug:
    msg: "{{ mirror_legs | nobloat.xen.mirror_volumes({'node1': mirror_facts_node}, 'node1') }}"
"""

RETURN = r"""
_value:
  description:
    - C(make) and C(grow), the logical volumes of the node that are not there or too small, each with C(name), C(vg), C(size)
      in bytes (rounded up to whole stripes, and the same for both legs of a disk), C(stripes), C(guest), C(disk) and C(slot);
      C(exports), items for O(nobloat.xen.iscsi_export#module:exports); C(secured), the names of those that have, or shall have, the
      secret that role P(nobloat.xen.mirror_export#role) makes; C(chap), its C(username), and the C(path) of the file that it is in;
      C(troubles), in words, of all nodes.
  type: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.legs import volumes
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import IQN_PREFIX
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_volumes(legs: Iterable[Mapping[str, Any]], nodes: Mapping[str, Any], node: str, stripes: int = 0,
                   iqn_prefix: str = IQN_PREFIX, own: Iterable[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    try:
        return volumes(legs, nodes, node, int(stripes), iqn_prefix, own)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_volumes: this is not what mirror_legs and mirror_info return: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_volumes": mirror_volumes}
