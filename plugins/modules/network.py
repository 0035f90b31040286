#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: network
short_description: Create, change and remove networks of a pool
version_added: 1.0.0
description:
  - Manages networks that guests of a pool are connected to.
  - A network without O(vlan) is internal, and connects guests on the same host only.
  - A network with O(vlan) carries a VLAN of a NIC or bond of every host. A host that joined the pool later gets
    its VLAN when the module runs again.
  - The networks of the NICs and bonds themselves, which XAPI makes, can be described, tagged and renamed, but not
    removed.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the network.
      - Either this or O(networks) is needed.
    type: str
  networks:
    description:
      - Several networks in one run, which reads the pool once for all. Each item takes the options of this module that are about one
        network; those that it leaves out come from the module's own.
      - They are worked on one after the other, in this order. One that fails does not keep the others from being done. The
        module fails in the end and tells which and why.
    type: list
    elements: dict
  new_name:
    description:
      - Name that the network gets. A network that has it already is taken for the renamed one.
      - If omitted, the network keeps its name.
    type: str
  state:
    description:
      - With V(present), the network exists and is as the options say.
      - With V(absent), it does not exist, and neither do its VLANs. A network that a running guest uses is not removed.
    type: str
    choices: [present, absent]
    default: present
  vlan:
    description:
      - VLAN tag, from 0 to 4094. If omitted, VLANs are left alone.
    type: int
  device:
    description:
      - Device that carries the VLAN on every host, such as V(eth1) or V(bond0).
    type: str
  hosts:
    description:
      - Names or uuids of the hosts that get the VLAN. If omitted, all hosts of the pool do.
      - VLANs on other hosts stay, unless O(purge=true).
      - A host that is not alive is left out with a warning.
    type: list
    elements: str
  allow_recreate:
    description:
      - Allow VLANs that have another O(vlan) or O(device) to be destroyed and created anew. No running guest
        may use them at that time.
    type: bool
    default: false
  allow_disconnect:
    description:
      - With O(state=absent), allow the NICs of halted guests, templates and snapshots on the network to be removed
        with it.
    type: bool
    default: false
  mtu:
    description:
      - Largest frame payload in bytes, from 68 to 65535. New networks get 1500 by default.
      - Hosts and running guests take a change over when their NIC is plugged the next time.
      - A VLAN with a larger MTU than the NIC or bond that carries it loses what is larger, so a warning says so. Give the network of
        the NIC or bond the larger MTU first.
    type: int
  bridge:
    description:
      - Name of the bridge on the hosts, only for a new network; it cannot be changed.
      - If omitted, XAPI picks one (C(xapi0), C(xapi1), ...).
    type: str
  default_locking_mode:
    description:
      - What NICs whose locking mode is C(network_default) may send. V(unlocked) is anything, V(disabled) is nothing.
      - If omitted, it is left alone; new networks are unlocked.
    type: str
    choices: [unlocked, disabled]
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.common
  - nobloat.xen.attributes
seealso:
  - module: nobloat.xen.network_info
  - module: nobloat.xen.host_info
"""

EXAMPLES = r"""
- name: A network inside each host
  nobloat.xen.network:
    name: backstage
    description: Guests of one host among themselves

- name: Jumbo frames on eth1 of every host
  nobloat.xen.network:
    name: Pool-wide network associated with eth1
    mtu: 9000

- name: VLAN 120 over it, with jumbo frames, too
  nobloat.xen.network:
    name: storage
    vlan: 120
    device: eth1
    mtu: 9000
    tags: [storage]

- name: Give the network of a NIC a better name
  nobloat.xen.network:
    name: Pool-wide network associated with eth0
    new_name: management

- name: Move the network to another VLAN, with no running guest on it
  nobloat.xen.network:
    name: storage
    vlan: 121
    device: eth1
    allow_recreate: true

- name: Remove the network and its VLANs
  nobloat.xen.network:
    name: storage
    state: absent

- name: VLANs of eth1, all in one run
  nobloat.xen.network:
    device: eth1
    tags: [guests]
    networks:
      - {name: shop, vlan: 130}
      - {name: backup, vlan: 131, mtu: 9000}
"""

RETURN = r"""
network:
  description: The network as it is now, or would be in check mode; empty if it does not exist.
  returned: with O(name)
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: storage
    uuid:
      description: Unique identifier; not there yet when a network would be created in check mode.
      type: str
      sample: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10
    description:
      description: Description.
      type: str
      sample: iSCSI
    tags:
      description: Tags, sorted.
      type: list
      elements: str
      sample: [storage]
    other_config:
      description: Other configuration.
      type: dict
      sample: {}
    mtu:
      description: MTU in bytes.
      type: int
      sample: 9000
    bridge:
      description: Bridge on the hosts; not there yet when a network would be created in check mode and XAPI picks it.
      type: str
      sample: xapi1
    default_locking_mode:
      description: Default locking mode of its NICs.
      type: str
      sample: unlocked
    vlan:
      description: VLAN tag; null if it has none, or not the same on all hosts.
      type: int
      sample: 120
    device:
      description: Device that carries the network; null if it has none, or not the same on all hosts.
      type: str
      sample: eth1
    hosts:
      description: Names of the hosts that the network is connected to, sorted.
      type: list
      elements: str
      sample: [xcp1, xcp2]
networks:
  description:
    - What became of each network, C(name) as it was given, C(changed), and C(failed). If it did not fail, C(network)
      is as in RV(network); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there
      is any.
  returned: with O(networks)
  type: list
  elements: dict
  sample:
    - {name: storage, changed: true, failed: false, network: {name: storage, mtu: 9000}}
    - {name: backup, changed: false, failed: true, msg: no host has a device eth9}
"""

from ansible_collections.nobloat.xen.plugins.module_utils.common import COMMON_SPEC
from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.plan import plan_network

SPEC = {
    "name": {"type": "str", "required": True},
    "new_name": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "vlan": {"type": "int"},
    "device": {"type": "str"},
    "hosts": {"type": "list", "elements": "str"},
    "allow_recreate": {"type": "bool", "default": False},
    "allow_disconnect": {"type": "bool", "default": False},
    "mtu": {"type": "int"},
    "bridge": {"type": "str"},
    "default_locking_mode": {"type": "str", "choices": ["unlocked", "disabled"]},
    **COMMON_SPEC,
}


def main() -> None:
    rules = {"required_together": [("vlan", "device")], "required_by": {"hosts": ["vlan"]}}
    ListModule(SPEC, "networks", ["name"], **rules).converge_each("network", plan_network)


if __name__ == "__main__":
    main()
