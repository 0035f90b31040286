#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_maintenance
short_description: Take a host into maintenance and out of it
version_added: 1.0.0
description:
  - Empties a host of its running guests, by live migration to the other hosts of its pool, and disables it; and puts it back
    to work, with the guests that had left it if wanted.
  - What would keep a guest from leaving is looked up before anything is done, guest by guest, each with its cure. The host
    is left as it was then.
  - The guests that leave are noted in C(other_config) of the host, under C(nobloat.xen.maintenance). When a run is broken
    off, run it again.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the host.
    type: str
    required: true
  state:
    description:
      - V(present) is in maintenance, so disabled and without guests. V(absent) is enabled.
    type: str
    choices: [present, absent]
    default: present
  network:
    description:
      - Name or uuid of the network that the guests' memory travels over. Each host needs an address there.
      - If omitted, it travels over the management network.
    type: str
  move_disks:
    description:
      - Whether guests with disks that only this host sees leave together with their disks (storage live migration), to the host that
        has most room for both; and with O(state=absent) and O(return_vms=true), whether their disks come back with them.
      - Guests that are shut down or suspended leave then, too, if their disks are only here.
      - Without it, such a guest keeps the host from being emptied, unless it is shut down.
    type: bool
    default: false
  auto_enable:
    description:
      - Whether XAPI enables the host by itself when it boots. With V(false), it stays disabled until O(state=absent).
      - If omitted, XAPI does as it likes, which is to enable it. Only used when the host is disabled by this run; older
        versions of XAPI refuse it.
    type: bool
  return_vms:
    description:
      - Whether O(state=absent) brings the guests back that left for the maintenance. Those that were shut down meanwhile stay so.
      - A guest that cannot come back does not keep the others away. The module fails in the end, and tries it again in the
        next run.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.xapi.mirrors
  - nobloat.xen.attributes
notes:
  - O(wait_timeout) is for each long operation, such as moving all guests away, or bringing one of them back.
  - The coordinator of a pool can be in maintenance, too. If it is to be shut down, make another host the coordinator first, with
    O(nobloat.xen.pool#module:coordinator).
seealso:
  - module: nobloat.xen.host
  - module: nobloat.xen.host_power
"""

EXAMPLES = r"""
- name: Empty a host, over the network for migrations
  nobloat.xen.host_maintenance:
    name: xcp2
    network: migration
    wait_timeout: 3600

- name: Put it back to work, with its guests
  nobloat.xen.host_maintenance:
    name: xcp2
    state: absent
    return_vms: true

- name: Empty a host of a pool without shared storage, disks included
  nobloat.xen.host_maintenance:
    name: xcp2
    move_disks: true
    wait_timeout: 14400

- name: Would all guests be able to leave?
  nobloat.xen.host_maintenance:
    name: xcp2
  check_mode: true
"""

RETURN = r"""
host:
  description: The host as it is now, or would be in check mode.
  returned: success
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: xcp2
    uuid:
      description: Unique identifier.
      type: str
      sample: 0a4f0d4e-5f7f-4ed7-9d1f-9f6f3a8a51c2
    enabled:
      description: Whether guests may be started on it.
      type: bool
      sample: false
    maintenance:
      description: Whether it is disabled and no guest runs there.
      type: bool
      sample: true
    entered:
      description: Whether this module has taken it into maintenance, and not somebody else who has disabled it.
      type: bool
      sample: true
    vms:
      description: Names of the guests that run there.
      type: list
      elements: str
      sample: []
    vms_away:
      description: Names of the guests that have left it for its maintenance.
      type: list
      elements: str
      sample: [db1, web1]
obstacles:
  description: The guests that cannot leave the host, or could not come back.
  returned: when that is why it failed
  type: list
  elements: dict
  contains:
    vm:
      description: Name of the guest.
      type: str
      sample: gpu1
    uuid:
      description: Unique identifier of the guest.
      type: str
      sample: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10
    code:
      description: What XAPI calls it.
      type: str
      sample: VM_HAS_PCI_ATTACHED
    reason:
      description: What is in the way, in plain words.
      type: str
      sample: PCI device Tesla T4 (0000:04:00.0) is passed through to it
    cure:
      description: What to do about it.
      type: str
      sample: Shut it down.
task:
  description: Reference of the XAPI task that is still running.
  returned: when guests are being moved away and O(wait=false)
  type: str
  sample: OpaqueRef:0d3b2a5e-6f1e-4a8f-8f0e-6d2a0b1c9e77
"""

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.legs import MIRRORS_SPEC
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.maintenance import Maintenance
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule

SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "network": {"type": "str"},
    "move_disks": {"type": "bool", "default": False},
    "auto_enable": {"type": "bool"},
    "return_vms": {"type": "bool", "default": False},
    **MIRRORS_SPEC,
}


def plan(module: XapiModule) -> ChangeSet:
    maintenance = Maintenance(module)
    return maintenance.enter() if module.params["state"] == "present" else maintenance.leave()


def main() -> None:
    XapiModule(SPEC, waits=True).converge("host", plan)


if __name__ == "__main__":
    main()
