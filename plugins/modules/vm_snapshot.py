#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vm_snapshot
short_description: Take and remove snapshots of guests, and go back to them
version_added: 1.0.0
description:
  - Manages snapshots of guests by name.
  - A guest may have several snapshots of the same name in XAPI. The module refuses to choose and lists their uuids.
author:
  - nobloat.xen contributors (@nobloat)
options:
  snapshots:
    description:
      - Several snapshots in one run, which reads the pool once for all. Each item takes the options of this module that are about one
        snapshot; those that it leaves out come from the module's own.
      - They are worked on side by side, those of one guest one after the other. One that fails does not keep the others from
        being done. The module fails in the end and tells which and why.
    type: list
    elements: dict
  parallel:
    description:
      - How many snapshots of O(snapshots) are worked on at the same time.
    type: int
    default: 10
  vm:
    description:
      - Name or uuid of the guest. It can be left out if O(name) is the uuid of a snapshot, such as one whose guest is gone.
    type: str
  name:
    description:
      - Name or uuid of the snapshot.
      - Either this or O(snapshots) is needed.
    type: str
  state:
    description:
      - With V(present), the guest has a snapshot of that name. One that is there is never taken anew.
      - With V(absent), it does not; the snapshot's disks and memory are destroyed with it.
      - With V(reverted), the guest goes back to the snapshot, each time the module runs. What its disks have become since is
        lost. A running guest is powered off for it; disks that the snapshot does not have are detached and kept.
    type: str
    choices: [present, absent, reverted]
    default: present
  description:
    description:
      - Text that describes the snapshot. If omitted, a new one gets that of the guest, and an existing one keeps its own.
    type: str
  memory:
    description:
      - Take the memory of a running guest as well, so that it goes on where it was. A snapshot that is there is not taken anew for this.
    type: bool
    default: false
  exclude_disks:
    description:
      - Positions of disks to leave out of the snapshot.
    type: list
    elements: int
  start:
    description:
      - With O(state=reverted), start the guest afterwards, or resume it if the snapshot has memory. Without it, the guest is left
        halted or suspended.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.attributes
attributes:
  idempotent:
    support: partial
    details: V(reverted) of O(state) reverts each time. The other states change nothing in a second run.
seealso:
  - module: nobloat.xen.vm
  - module: nobloat.xen.vm_info
"""

EXAMPLES = r"""
- name: A snapshot before the upgrade
  nobloat.xen.vm_snapshot:
    vm: web1
    name: before upgrade

- name: Back to it
  nobloat.xen.vm_snapshot:
    vm: web1
    name: before upgrade
    state: reverted
    start: true

- name: It went well
  nobloat.xen.vm_snapshot:
    vm: web1
    name: before upgrade
    state: absent

- name: Snapshots of several guests before an upgrade
  nobloat.xen.vm_snapshot:
    snapshots:
      - {vm: web1, name: before upgrade}
      - {vm: web2, name: before upgrade}
"""

RETURN = r"""
snapshot:
  description: The snapshot as it is now, or would be in check mode; empty if it does not exist.
  returned: with O(name)
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: before upgrade
    uuid:
      description: Unique identifier; not there yet when a snapshot would be taken in check mode.
      type: str
      sample: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10
    vm:
      description: Name of the guest, null if it is gone.
      type: str
      sample: web1
    description:
      description: Description.
      type: str
      sample: ""
    memory:
      description: Whether it holds memory.
      type: bool
      sample: false
    time:
      description: When it was taken, in UTC; not there yet when it would be taken in check mode.
      type: str
      sample: "2026-11-21T04:13:00Z"
    reverted:
      description: Whether the guest was brought back to it.
      returned: with O(state=reverted)
      type: bool
      sample: true
snapshots:
  description:
    - What became of each, C(vm), C(name) as given, C(changed), and C(failed). If it did not fail, C(snapshot)
      is as in RV(snapshot); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there
      is any.
  returned: with O(snapshots)
  type: list
  elements: dict
  sample:
    - {vm: web1, name: before, changed: true, failed: false, snapshot: {name: before, vm: web1}}
    - {vm: web9, name: before, changed: false, failed: true, msg: "there is no VM with the name or uuid 'web9'"}
task:
  description: The XAPI task of the last operation, which goes on.
  returned: with O(wait=false), if there was a long operation
  type: str
  sample: OpaqueRef:0d3b2a9c-3f0e-4a83-9a1b-8c8b4b3a7d55
tasks:
  description: The XAPI tasks of the last operations of all, which go on.
  returned: with O(snapshots) and O(wait=false), if there were long operations
  type: list
  elements: str
  sample: ["OpaqueRef:0d3b2a9c-3f0e-4a83-9a1b-8c8b4b3a7d55"]
"""

from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.snapshots import plan_snapshot

SPEC = {
    "vm": {"type": "str"},
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "reverted"], "default": "present"},
    "description": {"type": "str"},
    "memory": {"type": "bool", "default": False},
    "exclude_disks": {"type": "list", "elements": "int"},
    "start": {"type": "bool", "default": False},
}


def main() -> None:
    module = ListModule(SPEC, "snapshots", ["vm", "name"], parallel=True, waits=True)
    module.converge_each("snapshot", plan_snapshot, lambda options: options["vm"] or ("snapshot", options["name"]))


if __name__ == "__main__":
    main()
