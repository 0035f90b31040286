#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: bond
short_description: Bond NICs of the hosts of a pool
version_added: 1.0.0
description:
  - Bonds NICs on every host of a pool, or on some, so that one network lives on after a NIC, a cable or a switch has died.
  - XAPI moves the address, the management, the VLANs, the tunnels and the guests of the members to the bond, and back to its
    primary member when it is removed. The difference shows where everything goes.
  - When the members change, the bond is made anew on the same network. Guests and VLANs stay connected and lose a few packets.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the network that the bond carries. A network that does not exist is created; to give it an MTU or
        tags, describe it with M(nobloat.xen.network) first.
      - Either this or O(bonds) is needed.
    type: str
  bonds:
    description:
      - Several bonds in one run, which reads the pool once for all. Each item takes the options of this module that are about one
        bond; those that it leaves out come from the module's own.
      - They are worked on one after the other, in this order. One that fails does not keep the others from being done. The
        module fails in the end and tells which and why.
    type: list
    elements: dict
  state:
    description:
      - With V(present), the hosts have the bond.
      - With V(absent), they do not. The network stays, without connection to the outside; M(nobloat.xen.network) removes it.
    type: str
    choices: [present, absent]
    default: present
  members:
    description:
      - NICs of each host, by device name such as V(eth2) or by MAC address. XAPI needs at least one.
      - Needed unless each entry of O(hosts) has its own. If the bond is there, the list is exact.
    type: list
    elements: str
  mode:
    description:
      - How traffic is spread. V(balance-slb) moves guests from NIC to NIC and needs no set-up of the switch,
        V(active-backup) uses one NIC at a time, V(lacp) is IEEE 802.3ad and needs a switch that is set up for it.
      - If omitted, it is left alone; new bonds are V(balance-slb).
    type: str
    choices: [balance-slb, active-backup, lacp]
  properties:
    description:
      - Properties of a bond of mode V(lacp), by XAPI's names. C(hashing_algorithm) is V(src_mac) or V(tcpudp_ports);
        C(lacp-time) is V(fast) or V(slow); C(lacp-aggregation-key) is a number; C(lacp-fallback-ab) says whether the bond
        works as V(active-backup) as long as the switch does not answer.
      - What is omitted is left alone.
    type: dict
  hosts:
    description:
      - The hosts that get the bond, or lose it. If omitted, all hosts of the pool do.
      - Bonds on other hosts stay, unless O(purge=true). A host that is not alive is left out with a warning.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Name or uuid of the host.
        type: str
        required: true
      members:
        description:
          - NICs of this host, instead of O(members).
        type: list
        elements: str
      mac:
        description:
          - MAC address of the bond on this host. It cannot be changed later. If omitted, that of the primary member is used.
        type: str
  purge:
    description:
      - Remove the bond from hosts that O(hosts) does not list.
    type: bool
    default: false
  allow_lockout:
    description:
      - Allow a bond with the management interface of a host to be made, changed or removed in place. If the switch is not
        set up for it, such a host may be reached from its console only.
      - The coordinator comes last. A host that does not answer within O(verify_timeout) afterwards is put back, as far as its
        coordinator still reaches it, and no other host is touched.
    type: bool
    default: false
  verify_timeout:
    description:
      - Seconds for a host to answer after its management interface has changed.
    type: int
    default: 60
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.attributes
seealso:
  - module: nobloat.xen.network
  - module: nobloat.xen.pif
  - module: nobloat.xen.host_info
"""

EXAMPLES = r"""
- name: eth2 and eth3 of every host carry the storage network
  nobloat.xen.bond:
    name: san
    members: [eth2, eth3]
    mode: active-backup

- name: LACP, and a host whose NICs are found by their MAC addresses
  nobloat.xen.bond:
    name: guests
    members: [eth4, eth5]
    mode: lacp
    properties:
      lacp-time: fast
    hosts:
      - name: xcp1
      - name: xcp2
        members: ["0c:c4:7a:11:22:33", "0c:c4:7a:11:22:34"]

- name: A third NIC
  nobloat.xen.bond:
    name: san
    members: [eth2, eth3, eth6]

- name: No bond any more; what it carried goes back to its primary member
  nobloat.xen.bond:
    name: san
    state: absent

- name: Two bonds of every host, in one run
  nobloat.xen.bond:
    mode: active-backup
    bonds:
      - {name: san, members: [eth2, eth3]}
      - {name: guests, members: [eth4, eth5]}
"""

RETURN = r"""
bond:
  description: The bonds as they are now, or would be in check mode, and the NICs and bonds of all hosts with what they carry.
  returned: with O(name)
  type: dict
  contains:
    name:
      description: Name of the network.
      type: str
      sample: san
    uuid:
      description: Unique identifier of the network; not there yet when it would be created in check mode.
      type: str
      sample: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10
    hosts:
      description: The bond of each host that has one, with C(device), C(mac), C(members), C(primary), C(mode), C(properties).
      type: dict
      sample:
        xcp1:
          device: bond0
          mac: 0c:c4:7a:11:22:33
          members: [eth2, eth3]
          primary: eth2
          mode: active-backup
          properties: {}
    interfaces:
      description:
        - The NICs and bonds of each host of the pool. C(member_of) is the bond that a NIC belongs to; C(ip_mode), C(ip),
          C(management), C(vlans) (tags) and C(tunnels) (how many) are what it carries.
      type: dict
      sample:
        xcp1:
          bond0: {member_of: null, ip_mode: static, ip: 10.2.0.1, management: false, vlans: [20], tunnels: 0}
          eth2: {member_of: bond0, ip_mode: none, ip: "", management: false, vlans: [], tunnels: 0}
bonds:
  description:
    - What became of each bond, C(name) as it was given, C(changed), and C(failed). If it did not fail, C(bond) is as in RV(bond),
      without C(interfaces); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if
      there is any.
  returned: with O(bonds)
  type: list
  elements: dict
  sample:
    - {name: san, changed: true, failed: false, bond: {name: san}}
    - {name: lan, changed: false, failed: true, msg: xcp1 has no NIC eth9}
task:
  description: Reference of the XAPI task that is still running.
  returned: when an operation was started and O(wait=false)
  type: str
  sample: OpaqueRef:0d3b2a5e-6f1e-4a8f-8f0e-6d2a0b1c9e77
tasks:
  description: The XAPI tasks of the last operations of all, which go on.
  returned: with O(bonds) and O(wait=false), if there were long operations
  type: list
  elements: str
  sample: ["OpaqueRef:0d3b2a9c-3f0e-4a83-9a1b-8c8b4b3a7d55"]
"""

from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.bond_plan import plan_bond
from ansible_collections.nobloat.xen.plugins.module_utils.network.bonds import MODES

SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "members": {"type": "list", "elements": "str"},
    "mode": {"type": "str", "choices": list(MODES)},
    "properties": {"type": "dict"},
    "hosts": {
        "type": "list", "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str"},
            "mac": {"type": "str"},
        },
    },
    "purge": {"type": "bool", "default": False},
    "allow_lockout": {"type": "bool", "default": False},
    "verify_timeout": {"type": "int", "default": 60},
}


def main() -> None:
    ListModule(SPEC, "bonds", ["name"], waits=True).converge_each("bond", plan_bond)


if __name__ == "__main__":
    main()
