# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_caught_up
short_description: How the legs of guests are noted as complete
version_added: 1.0.0
description:
  - For guests whose mirrors are healthy, what M(nobloat.xen.guest_lease) takes in its option C(guests) on each node, with C(state=synced).
author: nobloat.xen contributors (@nobloat)
positional: legs, nodes
options:
  _input:
    description: The guests, each with C(name), and C(uuid) if it is known.
    type: list
    elements: dict
    required: true
  legs:
    description: Legs of any guests on the nodes that answer, as P(nobloat.xen.mirror_legs#filter) returns them.
    type: list
    elements: dict
    required: true
  nodes:
    description: What M(nobloat.xen.guest_lease) returned of these guests, by node.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: What is to be noted
  ansible.builtin.set_fact:
    notes: "{{ [{'name': 'web1'}] | nobloat.xen.mirror_caught_up(mirror_legs, {'node1': said1, 'node2': said2}) }}"
"""

RETURN = r"""
_value:
  description: Guests by node.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.guarded import caught_up
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_caught_up(guests: Any, legs: Any, nodes: Any) -> dict[str, Any]:
    try:
        return caught_up(guests, legs, nodes)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_caught_up: these are no guests, legs and nodes: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_caught_up": mirror_caught_up}
