#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vm_power
short_description: Start, shut down, suspend, pause and restart guests
version_added: 1.0.0
description:
  - Brings guests into a power state, one or many in one run, and waits for their IP addresses if wanted.
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
      - Many guests in one run, which is much faster than a loop. Each item takes the options O(name), O(state), O(host), O(assume_dead),
        O(force), O(shutdown_timeout), O(wait_for_ip) and O(ip_timeout); those that it leaves out come from the module's own.
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
      - V(running) starts, resumes or unpauses.
      - V(halted) asks the guest to shut down, and powers it off if it cannot be asked or does not do it in O(shutdown_timeout).
        A suspended guest is resumed first.
      - V(suspended) writes memory to disk, V(paused) stops the virtual CPUs. A halted guest can be paused, but not suspended.
      - V(restarted) reboots in the same way as V(halted) shuts down, each time the module runs. A halted guest is started.
    type: str
    choices: [running, halted, suspended, paused, restarted]
    default: running
  host:
    description:
      - Name or uuid of the host to start or resume on. If omitted, the pool chooses. A guest that runs already is not moved.
    type: str
  assume_dead:
    description:
      - The host that runs the guest, as the pool believes, is off for certain. The pool is told that the guest is shut down (its
        power state is reset), before anything else is done. If the guest still runs there, and is started elsewhere, it destroys
        its disks; see role C(nobloat.xen.mirror_guard) and M(nobloat.xen.guest_guard) for mirrored guests.
      - Refused if the host takes connections where XAPI listens, whatever comes of them. Without effect on a guest that is
        halted or suspended, or on O(host) already.
    type: bool
    default: false
  force:
    description:
      - Shut down or restart at once, without asking the guest. What it had not written to disk is lost, memory of a suspended
        guest too.
    type: bool
    default: false
  shutdown_timeout:
    description:
      - Seconds that a guest gets to shut down or reboot by itself, before it is done hard.
      - With V(0), it is never done hard. The module fails instead, if the guest cannot be asked or not within O(wait_timeout).
    type: int
    default: 300
  wait_for_ip:
    description:
      - Wait until the guest agent reports an IP address that is not link-local. Only where the guest shall be running; never in
        check mode or with O(wait=false).
    type: bool
    default: false
  ip_timeout:
    description:
      - Seconds to wait for the IP address before the module fails.
    type: int
    default: 300
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.attributes
attributes:
  idempotent:
    support: partial
    details: V(restarted) of O(state) restarts the guest each time. The other states change nothing in a second run.
seealso:
  - module: nobloat.xen.vm
"""

EXAMPLES = r"""
- name: Start a guest and wait for its address
  nobloat.xen.vm_power:
    name: web1
    wait_for_ip: true
  register: web1

- name: Start it on a certain host
  nobloat.xen.vm_power:
    name: web1
    host: xcp2

- name: Shut several guests down, one of them at once
  nobloat.xen.vm_power:
    state: halted
    shutdown_timeout: 120
    vms:
      - name: web1
      - name: web2
      - name: scratch
        force: true

- name: Its host has lost power; start it on another
  nobloat.xen.vm_power:
    name: web1
    host: xcp1
    assume_dead: true

- name: Restart, but never hard
  nobloat.xen.vm_power:
    name: db1
    state: restarted
    shutdown_timeout: 0
"""

RETURN = r"""
vm:
  description: The guest as it is now, or would be in check mode.
  returned: with O(name)
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: web1
    uuid:
      description: Unique identifier.
      type: str
      sample: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10
    power_state:
      description: Power state, one of V(running), V(halted), V(suspended), V(paused).
      type: str
      sample: running
    host:
      description: Name of the host that it is on.
      returned: while it is on one, and it is known
      type: str
      sample: xcp2
    restarted:
      description: Whether a running guest was restarted.
      returned: with O(state=restarted)
      type: bool
      sample: true
ip_addresses:
  description: IP addresses that the guest agent reports.
  returned: with O(name), when O(wait_for_ip=true) waited for them
  type: list
  elements: str
  sample: [192.0.2.17]
vms:
  description:
    - What became of each guest, C(name) as it was given, C(changed), and C(failed). If it did not fail, C(vm) is the guest,
      as in RV(vm), and C(ip_addresses) are as in RV(ip_addresses); else C(msg) says why.
  returned: with O(vms)
  type: list
  elements: dict
  sample:
    - {name: web1, changed: true, failed: false, vm: {name: web1, power_state: running, host: xcp2}}
    - {name: web9, changed: false, failed: true, msg: there is no guest with the name or uuid 'web9'}
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
from ansible_collections.nobloat.xen.plugins.module_utils.vm.plan import still_none
from ansible_collections.nobloat.xen.plugins.module_utils.vm.power import (
    await_addresses,
    look_again,
    plan_power,
    read_power,
)
from ansible_collections.nobloat.xen.plugins.module_utils.vm.spec import POWER_SPEC


def converge(module: ListModule) -> None:
    def look(items: Sequence[Item]) -> PlanOne:
        world = read_power(module.xapi, [item.options for item in items])

        def plan(item: Item) -> ChangeSet:
            changes, item.thing = plan_power(item.options, module.lanes, world)
            return changes

        return plan

    def finish(items: list[Item]) -> None:
        if not module.detached:
            look_again(module, items)
            await_addresses(module, items)

    module.converge_together("vm", look, finish, still_none)


def main() -> None:
    converge(ListModule(POWER_SPEC, "vms", ["name"], noun="guests", parallel=True, waits=True))


if __name__ == "__main__":
    main()
