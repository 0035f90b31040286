# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_guests
short_description: What mirrored guests are to be in their pool
version_added: 1.0.0
description:
  - Puts together the options that M(nobloat.xen.vm) wants of mirrored guests, and what their legs are called inside of them.
  - Legs that a guest has stay at their positions, others get the next free ones from 4 up.
author: nobloat.xen contributors (@nobloat)
positional: legs, vms, vdis, defaults
options:
  _input:
    description:
      - The guests, each with C(name), C(disks) (each with C(name), C(filesystem), C(mount)), and if need be C(vm), options of
        M(nobloat.xen.vm), and C(host), its name in the inventory.
    type: list
    elements: dict
    required: true
  legs:
    description: Their legs, as P(nobloat.xen.mirror_legs#filter) returns them.
    type: list
    elements: dict
    required: true
  vms:
    description: Guests as M(nobloat.xen.vm_info) returns them.
    type: list
    elements: dict
    required: true
  vdis:
    description: Uuids of the VDIs of legs, by path.
    type: dict
    default: {}
  defaults:
    description: Options of M(nobloat.xen.vm) for all guests.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Guests with their legs
  nobloat.xen.vm:
    vms: "{{ mirror_guest_list | nobloat.xen.mirror_guests(mirror_legs, found.vms, uuids) | map(attribute='vm') }}"
"""

RETURN = r"""
_value:
  description:
    - The guests, each with C(name), C(host), C(home) (the node of its first leg, empty if a leg is not known now), C(power) (empty
      if the guest is not there), C(uuid) (the same), C(ref) (what modules are told, its name, or the uuid where others have that name),
      C(untagged) (nodes with a leg that lacks the uuid, each with C(guest), C(uuid) and C(node)), C(missing) (paths of legs without a
      VDI), C(vm) (an entry of M(nobloat.xen.vm)) and C(mirrors).
    - Each of C(mirrors) has C(name), C(devices) (paths in the guest, home first), C(nodes), C(far), C(filesystem) and C(mount).
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.guests import guest_plans
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_guests(guests: Any, legs: Any, vms: Any, vdis: Any = None, defaults: Any = None) -> list[dict[str, Any]]:
    """See DOCUMENTATION."""
    try:
        return guest_plans(guests, legs, vms, vdis or {}, defaults or {})
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_guests": mirror_guests}
