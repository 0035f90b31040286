#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vdi
short_description: Create, grow, attach, detach, forget and remove virtual disks
version_added: 1.0.0
description:
  - Manages virtual disks (VDIs) on their own. The disks that belong to a guest from the start are the business of
    module M(nobloat.xen.vm).
  - A VDI never shrinks, and it is not removed as long as it is attached to a guest.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the VDI. A snapshot answers to its uuid only.
      - Either this or O(vdis) is needed.
    type: str
  vdis:
    description:
      - Several VDIs in one run, which reads the pool once for all. Each item takes the options of this module that are about one
        VDI; those that it leaves out come from the module's own.
      - They are worked on side by side, those of one guest one after the other. One that fails does not keep the others from
        being done. The module fails in the end and tells which and why.
    type: list
    elements: dict
  parallel:
    description:
      - How many VDIs of O(vdis) are worked on at the same time.
    type: int
    default: 10
  new_name:
    description:
      - Name that the VDI gets. A VDI that has it already is taken for the renamed one.
      - If omitted, the VDI keeps its name.
    type: str
  state:
    description:
      - With V(present), the VDI exists and is as the options say; with O(vm), it is attached to that guest as well.
      - With V(detached), it exists and is not attached to O(vm), or to no guest at all if O(vm) is omitted.
      - With V(absent), it does not exist, and its data neither. A VDI that is attached is not removed.
      - With V(forgotten), the pool does not know it, and its data stay. The next scan of its SR finds it again, unless what it lies
        on is gone by then. A VDI that is attached is not forgotten.
    type: str
    choices: [present, detached, absent, forgotten]
    default: present
  sr:
    description:
      - Name or uuid of the SR that the VDI is on. Names of VDIs need to be unique within their SR only.
      - If omitted, the VDI is looked for on all SRs, and a new one is created on the pool's default SR.
    type: str
  size:
    description:
      - Size, as in V(20GiB), V(512MiB) or a number of bytes. Needed for a new VDI. It is rounded up to
        2 MiB; the SR's driver may round it up to 4 MiB, which is no difference.
      - A larger one makes the VDI grow, while a guest runs from it only if the SR can do that.
    type: str
  type:
    description:
      - What the VDI is for; only for a new one, by default V(user).
    type: str
    choices: [user, system, ephemeral]
  read_only:
    description:
      - Whether the storage driver says that nobody may write to the VDI. XAPI only reports that, so it is checked and never
        set. To protect a disk, attach it with O(mode=ro).
    type: bool
  sharable:
    description:
      - Several guests may have the VDI attached and write to it at the same time, as cluster file systems want it.
        Only for a new one, by default V(false).
    type: bool
  vm:
    description:
      - Name or uuid of the guest to attach the VDI to, or with O(state=detached) to detach it from.
      - If the guest runs, the disk is plugged or unplugged.
    type: str
  device:
    description:
      - Position of the disk in the guest, 0 to 254. If omitted, a new one gets the first that is free.
    type: int
  mode:
    description:
      - Whether the guest may write to the disk. If omitted, a new disk gets V(rw), or V(ro) if the VDI is read-only.
      - Changes while the guest is halted only.
    type: str
    choices: [ro, rw]
  bootable:
    description:
      - Whether the guest may boot from the disk. If omitted, a new disk is not bootable.
    type: bool
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.common
  - nobloat.xen.attributes
seealso:
  - module: nobloat.xen.sr
  - module: nobloat.xen.vm
"""

EXAMPLES = r"""
- name: A disk for a database, attached to its guest
  nobloat.xen.vdi:
    name: db1-data
    sr: shared
    size: 200GiB
    vm: db1

- name: Let it grow
  nobloat.xen.vdi:
    name: db1-data
    sr: shared
    size: 300GiB

- name: A quorum disk that two guests share
  nobloat.xen.vdi:
    name: quorum
    sr: shared
    size: 1GiB
    sharable: true
    vm: "{{ item }}"
  loop: [db1, db2]

- name: Take the disk away from its guest
  nobloat.xen.vdi:
    name: db1-data
    sr: shared
    vm: db1
    state: detached

- name: Destroy the disk and its data
  nobloat.xen.vdi:
    name: db1-data
    sr: shared
    state: absent

- name: Disks of several guests, in one run
  nobloat.xen.vdi:
    sr: vmstore
    size: 20GiB
    vdis:
      - {name: web1 data, vm: web1}
      - {name: web2 data, vm: web2}
      - {name: db1 data, vm: db1, size: 100GiB}
"""

RETURN = r"""
vdi:
  description: The VDI as it is now, or would be in check mode; empty if it does not exist.
  returned: with O(name)
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: db1-data
    uuid:
      description: Unique identifier; not there yet when a VDI would be created in check mode.
      type: str
      sample: 3f1a6f0e-71a5-4a77-8a0e-2c4f7f9f5d61
    description:
      description: Description.
      type: str
      sample: ""
    tags:
      description: Tags, sorted.
      type: list
      elements: str
      sample: []
    other_config:
      description: Other configuration.
      type: dict
      sample: {}
    sr:
      description: Name of the SR that the VDI is on.
      type: str
      sample: shared
    size:
      description: Size in the largest unit that expresses it exactly.
      type: str
      sample: 200GiB
    type:
      description: What the VDI is for.
      type: str
      sample: user
    read_only:
      description: Whether nobody may write to the VDI.
      type: bool
      sample: false
    sharable:
      description: Whether several guests may write to the VDI at the same time.
      type: bool
      sample: false
    attached:
      description: The guests, templates and snapshots that the VDI is attached to, sorted by name.
      type: list
      elements: dict
      contains:
        vm:
          description: Name.
          type: str
          sample: db1
        device:
          description: Position of the disk.
          type: int
          sample: 1
        mode:
          description: One of V(ro), V(rw).
          type: str
          sample: rw
        bootable:
          description: Whether the guest may boot from the disk.
          type: bool
          sample: false
        plugged:
          description: Whether the disk is in use by a running guest.
          type: bool
          sample: true
vdis:
  description:
    - What became of each, C(name), C(sr) as given, C(changed), and C(failed). If it did not fail, C(vdi)
      is as in RV(vdi); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there
      is any.
  returned: with O(vdis)
  type: list
  elements: dict
  sample:
    - {name: web1 data, changed: true, failed: false, vdi: {name: web1 data, size: 20GiB}}
    - {name: web2 data, changed: false, failed: true, msg: VDI web2 data cannot shrink}
tasks:
  description: The XAPI tasks of the last operations of all, which go on.
  returned: with O(vdis) and O(wait=false), if there were long operations
  type: list
  elements: str
  sample: ["OpaqueRef:0d3b2a9c-3f0e-4a83-9a1b-8c8b4b3a7d55"]
"""

from ansible_collections.nobloat.xen.plugins.module_utils.common import COMMON_SPEC
from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule
from ansible_collections.nobloat.xen.plugins.module_utils.storage.vdi_plan import plan_vdi

SPEC = {
    "name": {"type": "str", "required": True},
    "new_name": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "detached", "absent", "forgotten"], "default": "present"},
    "sr": {"type": "str"},
    "size": {"type": "str"},
    "type": {"type": "str", "choices": ["user", "system", "ephemeral"]},
    "read_only": {"type": "bool"},
    "sharable": {"type": "bool"},
    "vm": {"type": "str"},
    "device": {"type": "int"},
    "mode": {"type": "str", "choices": ["ro", "rw"]},
    "bootable": {"type": "bool"},
    **COMMON_SPEC,
}


def main() -> None:
    rules = {"required_by": {"device": ["vm"], "mode": ["vm"], "bootable": ["vm"]}}
    module = ListModule(SPEC, "vdis", ["name", "sr"], parallel=True, waits=True, **rules)
    module.converge_each("vdi", plan_vdi, lambda options: options["vm"] or ("VDI", options["name"]))


if __name__ == "__main__":
    main()
