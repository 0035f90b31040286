# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_imports
short_description: The legs of other nodes that a node has to import
version_added: 1.0.0
description:
  - Takes from what nodes say where their legs can be found.
author: nobloat.xen contributors (@nobloat)
positional: nodes, node
options:
  _input:
    description: The legs of all nodes, each as the filter P(nobloat.xen.mirror_legs#filter) has them.
    type: list
    elements: dict
    required: true
  nodes:
    description: Results of M(nobloat.xen.mirror_info) by name of the node. Legs of nodes with an empty result are left out.
    type: dict
    required: true
  node:
    description: Name of the node that imports.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: What node2 has to import
  ansible.builtin.debug:
    msg: "{{ mirror_legs | nobloat.xen.mirror_imports({'node1': hostvars.node1.mirror_facts_node}, 'node2') }}"
"""

RETURN = r"""
_value:
  description:
    - C(imports), items for O(nobloat.xen.iscsi_import#module:imports); C(logins), the same as dicts with C(node), where they lie,
      C(secured), whether they have the secret that role P(nobloat.xen.mirror_export#role) has made there, and C(imports); C(chap), the
      C(username) of that secret, and the C(path) of its file; C(waiting), those legs, as node/leg, that their node does not export.
  type: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.legs import imports
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_imports(legs: Iterable[Mapping[str, Any]], nodes: Mapping[str, Any], node: str) -> dict[str, Any]:
    try:
        return imports(legs, nodes, node)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_imports: this is not what mirror_legs and mirror_info return: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_imports": mirror_imports}
