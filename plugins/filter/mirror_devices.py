# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_devices
short_description: What the legs of mirrored disks are in their guests
version_added: 1.0.0
description:
  - Adds to disks what their legs are called inside of the guests, and which of them have to be plugged, and where.
  - A guest that does not run fails, as only it can change its mirrors.
author: nobloat.xen contributors (@nobloat)
positional: vms, hosts
options:
  _input:
    description: Disks, as P(nobloat.xen.mirror_moves#filter) returns them.
    type: list
    elements: dict
    required: true
  vms:
    description: Guests as M(nobloat.xen.vm_info) returns them.
    type: list
    elements: dict
    required: true
  hosts:
    description: Nodes by the names of their hosts in XAPI, where they differ.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: What has to be plugged
  ansible.builtin.debug:
    msg: "{{ moves | nobloat.xen.mirror_devices(found.vms) | map(attribute='plug') | flatten }}"
"""

RETURN = r"""
_value:
  description:
    - The disks, each also with C(ref) (what modules are told, the guest's name, or its uuid where others have that name),
      C(devices) (paths in the guest, in the order of C(legs)), C(nodes) (of them), C(far) (those that are not on the guest's node),
      C(plug) (legs that the guest does not have, each with C(vm), C(vdi), C(sr) and C(position)), C(old_vdi) (the VDI of the leg that
      goes, empty if the guest does not have it any more) and C(size) in bytes.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.changes import devices
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_devices(disks: Any, vms: Any, hosts: Any = None) -> list[dict[str, Any]]:
    try:
        return devices(disks, vms, hosts)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_devices": mirror_devices}
