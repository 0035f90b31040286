#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_power
short_description: Reboot, shut down and power on hosts
version_added: 1.0.0
description:
  - Brings a host of a pool into a power state, and waits until it has really come back, booted anew, alive and enabled; or is down.
  - Also tells XAPI how the host can be powered on.
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
      - V(running) powers it on, in the way that O(power_on) says or said. V(halted) shuts it down.
      - V(restarted) reboots it, each time the module runs.
      - A host that goes down is disabled first. XAPI enables it when it boots, unless it was disabled for longer, see
        O(nobloat.xen.host_maintenance#module:auto_enable).
      - If omitted, the power state is left alone.
    type: str
    choices: [running, halted, restarted]
  force:
    description:
      - Reboot or shut down although guests are there. XAPI then moves them to other hosts, or stops those that it cannot move.
    type: bool
    default: false
  wait_enabled:
    description:
      - Whether a host that boots has to be enabled before it counts as back. Say V(false) where it was disabled to stay so.
    type: bool
    default: true
  power_on:
    description:
      - How XAPI powers the host on. If omitted, it is left alone.
    type: dict
    suboptions:
      mode:
        description:
          - V(wake-on-lan) by a packet that another host sends, V(ipmi) through the host's management controller (BMC).
          - With V(none), it cannot be powered on.
        type: str
        choices: [none, wake-on-lan, ipmi]
        required: true
      address:
        description:
          - Address of the BMC.
        type: str
      username:
        description:
          - User of the BMC.
        type: str
      password:
        description:
          - Password of the user. XAPI keeps it as a secret.
        type: str
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.xapi.mirrors
  - nobloat.xen.attributes
attributes:
  idempotent:
    support: partial
    details: V(restarted) of O(state) reboots the host each time. The others change nothing in a second run.
notes:
  - The coordinator of a pool that has other hosts is not shut down; make another one the coordinator first. It can be rebooted, but
    all sessions end with that, so O(session) is of no use then.
seealso:
  - module: nobloat.xen.host_maintenance
  - module: nobloat.xen.pool
"""

EXAMPLES = r"""
- name: Reboot a host that is in maintenance
  nobloat.xen.host_power:
    name: xcp2
    state: restarted
    wait_timeout: 1800

- name: Say how it can be powered on, and shut it down
  nobloat.xen.host_power:
    name: xcp3
    state: halted
    power_on:
      mode: ipmi
      address: 192.0.2.113
      username: xapi
      password: "{{ vault_bmc_password }}"

- name: Power it on again
  nobloat.xen.host_power:
    name: xcp3
    state: running
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
    power_state:
      description: Whether it is V(running), so alive as far as the coordinator knows, or V(halted).
      type: str
      sample: running
    enabled:
      description: Whether guests may be started on it.
      type: bool
      sample: true
    restarted:
      description: Whether it was rebooted.
      returned: with O(state=restarted)
      type: bool
      sample: true
    power_on:
      description: How XAPI powers it on, without the password.
      type: dict
      sample: {mode: ipmi, address: 192.0.2.113, username: xapi}
task:
  description: Reference of the XAPI task that is still running.
  returned: when an operation was started and O(wait=false)
  type: str
  sample: OpaqueRef:0d3b2a5e-6f1e-4a8f-8f0e-6d2a0b1c9e77
"""

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.legs import MIRRORS_SPEC
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.power import POWER_ON_SPEC, HostPower
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule

SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["running", "halted", "restarted"]},
    "force": {"type": "bool", "default": False},
    "wait_enabled": {"type": "bool", "default": True},
    "power_on": {"type": "dict", "options": POWER_ON_SPEC},
    **MIRRORS_SPEC,
}


def plan(module: XapiModule) -> ChangeSet:
    return HostPower(module).plan()


def main() -> None:
    XapiModule(SPEC, waits=True, required_one_of=[("state", "power_on")]).converge("host", plan)


if __name__ == "__main__":
    main()
