# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_guarded
short_description: What modules are told of mirrored guests that are to be started
version_added: 1.0.0
description:
  - Puts guests and their legs together, as M(nobloat.xen.guest_guard) and M(nobloat.xen.guest_lease) take them in their options C(guests).
author: nobloat.xen contributors (@nobloat)
positional: legs
options:
  _input:
    description: The guests, each with C(name), and where they are known C(uuid), C(host), C(start_from) and C(order).
    type: list
    elements: dict
    required: true
  legs:
    description: Legs of any guests on the nodes that answer, as P(nobloat.xen.mirror_legs#filter) returns them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: What do the nodes know of these guests?
  nobloat.xen.guest_lease:
    guests: "{{ ([{'name': 'web1'}, {'name': 'web2'}] | nobloat.xen.mirror_guarded(mirror_legs)).asked }}"
"""

RETURN = r"""
_value:
  description: C(asked), for M(nobloat.xen.guest_lease), and C(judged), for M(nobloat.xen.guest_guard), in the order of the guests.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.guarded import guarded
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_guarded(guests: Any, legs: Any) -> dict[str, Any]:
    try:
        return guarded(guests, legs)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_guarded: these are no guests and legs: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_guarded": mirror_guarded}
