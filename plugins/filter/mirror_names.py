# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_names
short_description: How the names of legs differ on nodes
version_added: 1.0.0
description:
  - Compares what lies below C(/dev/mirror) on nodes. Each has to have every leg of the nodes that answer, with the size and the
    identity that the leg has where it lies; else a guest would find another disk, or none, when it starts elsewhere.
author: nobloat.xen contributors (@nobloat)
options:
  _input:
    description: Results of M(nobloat.xen.mirror_info) by name of the node. Nodes with an empty result are left out.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Names are the same everywhere
  ansible.builtin.assert:
    that: differences | length == 0
    fail_msg: "{{ differences | join('\n') }}"
  vars:
    differences: "{{ {'node1': hostvars.node1.mirror_facts_node, 'node2': hostvars.node2.mirror_facts_node} | nobloat.xen.mirror_names }}"
"""

RETURN = r"""
_value:
  description: Lines of a table with the names that differ, and a column for each node; empty if none does.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.legs import names
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_names(nodes: Mapping[str, Any]) -> list[str]:
    try:
        return names(nodes)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_names: this is not what mirror_info returns: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_names": mirror_names}
