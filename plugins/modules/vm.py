#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vm
short_description: Create, change and remove guests
version_added: 1.0.0
description:
  - Brings guests into the state that the options describe. A guest that is not there is made from O(template) or O(snapshot);
    one that is there is changed where it differs.
  - What is omitted is left alone. What can be changed in a running guest is changed while it runs; what needs it halted
    is refused unless O(allow_restart=true).
  - Names, sizes and positions are checked before anything is done. A guest that cannot be completed is removed again,
    with the disks that were made for it.
  - A guest that another run is just making is waited for, up to O(wait_timeout), and then changed where it differs. What a run that
    was killed has left of a guest (C(nobloat.xen.making:) and its name) is removed, with the disks that were made for it.
  - The power state is the business of M(nobloat.xen.vm_power).
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the guest. Templates, snapshots and control domains do not answer to it.
      - Either this or O(vms) is needed.
    type: str
  vms:
    description:
      - Many guests in one run, which is much faster than a loop. Each item takes the options O(name) to O(purge) of this module;
        those that it leaves out come from the module's own.
      - A guest that fails does not stop the others. The module fails in the end and tells which and why.
    type: list
    elements: dict
  parallel:
    description:
      - How many guests of O(vms) are worked on at the same time.
    type: int
    default: 10
  state:
    description:
      - With V(present), the guest exists and is as the options say.
      - With V(absent), it does not exist. Its disks stay, unless O(delete_disks=true).
    type: str
    choices: [present, absent]
    default: present
  template:
    description:
      - Name or uuid of the template that a new guest is made from. It is not looked at when the guest is there.
    type: str
  snapshot:
    description:
      - Name or uuid of the snapshot, taken without memory, that a new guest is made from.
    type: str
  full_copy:
    description:
      - Copy the disks of O(template) or O(snapshot) in full, instead of cloning them in moments on the same SR.
    type: bool
    default: false
  sr:
    description:
      - Name or uuid of the SR for new disks that name none, and for copies with O(full_copy=true).
      - If omitted, new disks go to the pool's default SR, and copies stay on the SR of the original.
    type: str
  memory:
    description:
      - Memory, as V(4GiB), V(512MiB) or a number of bytes. A running guest can get up to O(memory_max) without a restart.
        Less than what the template says that its system needs (C(memory_static_min)) is refused.
    type: str
  memory_max:
    description:
      - The most memory that the guest can get while it runs. If omitted, it follows O(memory) whenever that changes
        in a halted guest.
    type: str
  vcpus:
    description:
      - Number of virtual CPUs. A running guest can get up to O(vcpus_max) without a restart.
    type: int
  vcpus_max:
    description:
      - The most virtual CPUs that the guest can get while it runs. If omitted, it is raised to O(vcpus) when that is more.
    type: int
  disks:
    description:
      - Disks, merged into those that are there by O(disks[].device). With O(purge=true), or with an empty list, the other
        ones are detached. A detached disk keeps its VDI and all data.
    type: list
    elements: dict
    suboptions:
      device:
        description:
          - Position, from 0 to 254. If omitted, it is that in the list, without position 3, which is the CD drive's.
        type: int
      name:
        description:
          - Name of the VDI. If omitted, a new one is called C(<guest> disk <device>).
        type: str
      size:
        description:
          - Size, as V(20GiB). A disk can grow; to shrink it is an error. Needed to make a disk. The storage rounds it up, mostly to
            2 MiB; a disk that is larger by no more than that is as wanted.
        type: str
      sr:
        description:
          - Name or uuid of the SR that a new disk is made on. A disk that is there is not moved; another SR is an error.
        type: str
      vdi:
        description:
          - Name or uuid of an existing VDI to attach, instead of making one.
        type: str
      mode:
        description:
          - Writable or read-only. New disks are writable by default.
        type: str
        choices: [rw, ro]
      bootable:
        description:
          - Whether a paravirtualised guest may boot from it.
        type: bool
  nics:
    description:
      - NICs, merged into those that are there by O(nics[].device). With O(purge=true), or with an empty list, the other ones
        are removed.
    type: list
    elements: dict
    suboptions:
      device:
        description:
          - Position, from 0 to 15. If omitted, it is that in the list.
        type: int
      network:
        description:
          - Name or uuid of the network. Needed for a new NIC. A NIC that is there moves, while the guest runs.
        type: str
      mac:
        description:
          - MAC address. If omitted, XAPI picks one for a new NIC. A NIC that has another one is replaced.
        type: str
      mtu:
        description:
          - Largest frame payload in bytes, V(0) for that of the network, which a new NIC gets if this is omitted. It is kept in
            C(other_config:mtu) of the VIF, and XAPI reads it when the NIC is plugged, so a NIC in use is unplugged and plugged again.
        type: int
      rate:
        description:
          - Limit in kilobytes per second, V(0) for none. A running guest takes it over when the NIC is plugged the next time.
        type: int
  cdrom:
    description:
      - Name or uuid of the ISO image in the CD drive; an empty text ejects it. A guest without a drive gets one.
    type: str
  boot_order:
    description:
      - Devices to boot from, in this order. A running guest follows it at its next start.
    type: list
    elements: str
    choices: [disk, cdrom, network]
  firmware:
    description:
      - Firmware. An installed system seldom survives a change.
    type: str
    choices: [bios, uefi]
  secure_boot:
    description:
      - Whether UEFI starts signed systems only.
    type: bool
  platform:
    description:
      - Keys of C(platform) to set, such as V(cores-per-socket); a null value removes a key. The others always stay.
        A running guest takes them over at its next start.
    type: dict
  auto_poweron:
    description:
      - Start the guest when its host starts. XAPI only does so if C(auto_poweron) is V(true) in the C(other_config) of the
        pool too (see M(nobloat.xen.pool)); a warning says if it is not.
    type: bool
  affinity:
    description:
      - Name or uuid of the host that the guest prefers to start on; an empty text for none.
    type: str
  allow_restart:
    description:
      - Allow a running guest to be shut down gently, and started again, for changes that need it halted.
      - It is not shut down if it would not start again, because no host has memory or CPUs for what it is to have, its sockets
        would not be whole (C(cores-per-socket) in O(platform)), or somebody has blocked an operation. If the start fails all
        the same, the guest is started with what it had before. The start is awaited even with O(wait=false).
    type: bool
    default: false
  delete_disks:
    description:
      - With O(state=absent), destroy the guest's disks and snapshots too. Disks that other guests use and read-only
        ones stay.
    type: bool
    default: false
  force:
    description:
      - With O(state=absent), power a guest off that is not halted. Without it, that is an error.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.common
  - nobloat.xen.attributes
seealso:
  - module: nobloat.xen.vm_power
  - module: nobloat.xen.vm_info
  - module: nobloat.xen.vm_snapshot
"""

EXAMPLES = r"""
- name: A guest from a template
  nobloat.xen.vm:
    name: web1
    template: Debian Bookworm 12
    memory: 4GiB
    vcpus: 2
    disks:
      - size: 20GiB
        name: web1 root
    nics:
      - network: frontend
    tags: [web]

- name: Give it more memory and a second disk, even if that needs a restart
  nobloat.xen.vm:
    name: web1
    memory: 8GiB
    disks:
      - device: 1
        size: 100GiB
        sr: fast
    allow_restart: true

- name: Several guests in one run
  nobloat.xen.vm:
    template: Debian Bookworm 12
    memory: 2GiB
    nics:
      - network: frontend
    vms:
      - name: worker1
      - name: worker2
      - name: worker3
        memory: 4GiB

- name: Remove a guest with all its data
  nobloat.xen.vm:
    name: web1
    state: absent
    delete_disks: true
    force: true
"""

RETURN = r"""
vm:
  description: The guest as it is now, or would be in check mode; empty if it does not exist.
  returned: with O(name)
  type: dict
  sample:
    name: web1
    uuid: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10
    description: ""
    tags: [web]
    other_config: {base_template_name: Debian Bookworm 12}
    power_state: halted
    memory: 4GiB
    memory_max: 4GiB
    vcpus: 2
    vcpus_max: 2
    boot_order: [disk, cdrom]
    firmware: bios
    secure_boot: false
    platform: {acpi: "1"}
    auto_poweron: false
    affinity: ""
    disks:
      - {device: 0, name: web1 root, size: 20GiB, sr: local, vdi: 1f3b0bd4-6a4e-4f6c-9a54-2f4f7f8e9d10, mode: rw, bootable: true}
    nics:
      - {device: 0, network: frontend, mac: "02:00:00:12:34:56", mtu: 1500, rate: null}
    cdrom: null
vms:
  description:
    - What became of each guest, C(name) as it was given, C(changed), and C(failed). If it did not fail, C(vm) is the guest,
      as in RV(vm); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there is any.
  returned: with O(vms)
  type: list
  elements: dict
  sample:
    - {name: web1, changed: true, failed: false, vm: {name: web1, power_state: halted}}
    - {name: web2, changed: false, failed: true, msg: there is no network with the name or uuid 'frontent'}
task:
  description: The XAPI task of the last operation, which goes on.
  returned: with O(name) and O(wait=false), if there was a long operation
  type: str
  sample: OpaqueRef:0d3b2a9c-3f0e-4a83-9a1b-8c8b4b3a7d55
tasks:
  description: The XAPI tasks of the last operations of all guests, which go on.
  returned: with O(vms) and O(wait=false), if there were long operations
  type: list
  elements: str
  sample: ["OpaqueRef:0d3b2a9c-3f0e-4a83-9a1b-8c8b4b3a7d55"]
"""

from collections.abc import Sequence

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.lists import Item
from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule, PlanOne
from ansible_collections.nobloat.xen.plugins.module_utils.vm.plan import plan_vm, read_for, refresh, still_none
from ansible_collections.nobloat.xen.plugins.module_utils.vm.spec import SOURCES, VM_SPEC, check_source


def converge(module: ListModule) -> None:
    starts = any(entry["auto_poweron"] and entry["state"] == "present" for entry in module.wanted)

    def look(items: Sequence[Item]) -> PlanOne:
        world = read_for(module.xapi, [item.options for item in items])
        if starts and world.pool and world.pool["other_config"].get("auto_poweron") != "true":
            module.warn("auto_poweron has no effect until other_config auto_poweron of the pool is true (module pool).")

        def plan(item: Item) -> ChangeSet:
            check_source(item.options)
            changes, item.thing = plan_vm(item.options, module.lanes, world)
            return changes

        return plan

    module.converge_together("vm", look, lambda items: refresh(module.xapi, items), still_none)


def main() -> None:
    converge(ListModule(VM_SPEC, "vms", ["name"], noun="guests", parallel=True, apart=[SOURCES], waits=True))


if __name__ == "__main__":
    main()
