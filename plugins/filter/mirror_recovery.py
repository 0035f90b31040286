# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_recovery
short_description: Which guests of a dead node have to be started elsewhere
version_added: 1.0.0
description:
  - Chooses the mirrored guests that the pool believes to be running on a dead node, and those that an earlier attempt has begun with
    and that do not run, as their leases tell.
author: nobloat.xen contributors (@nobloat)
positional: vms, node, host, described, only
options:
  _input:
    description: Legs of the nodes that answer, as P(nobloat.xen.mirror_legs#filter) returns them.
    type: list
    elements: dict
    required: true
  vms:
    description: Guests as M(nobloat.xen.vm_info) returns them.
    type: list
    elements: dict
    required: true
  node:
    description: The dead node, by its inventory name.
    type: str
    required: true
  host:
    description: What XAPI calls it, if that is another name.
    type: str
    default: ""
  described:
    description: Guests of the inventory (C(mirror_guest_list)) in the order in which they are to be started. The others follow by name.
    type: list
    elements: dict
    default: []
  only:
    description: Names or uuids of the guests that are meant. If empty, all.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Who has to be started
  ansible.builtin.debug:
    msg: "{{ (mirror_legs | nobloat.xen.mirror_recovery(found.vms, 'node1')).guests | map(attribute='name') }}"
"""

RETURN = r"""
_value:
  description:
    - C(guests) to start, each with C(name), C(inside) (its own name in the inventory), C(disks) (their names), and C(start), an item of
      variable C(mirror_guard_guests) of role C(nobloat.xen.mirror_guard), with the node of one of its legs as C(host).
    - C(done), guests that were begun with and run, by each node with a lease that does not tell so yet, as option C(guests) of
      M(nobloat.xen.guest_lease).
    - C(others), names of guests that ran on the node and are not mirrored; and C(unknown), what O(only) names and is no mirrored guest.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.recovery import recovery
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_recovery(legs: Any, vms: Any, node: str, host: str = "", described: Any = (), only: Any = ()) -> dict[str, Any]:
    try:
        return recovery(legs, vms, node, host, described, only)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_recovery: this is not what mirror_legs and vm_info return: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_recovery": mirror_recovery}
