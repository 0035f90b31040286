#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pif
short_description: Addresses of a host on a network, and its management interface
version_added: 1.0.0
description:
  - Configures a PIF, which is what connects a host to a network, be it by a NIC, a bond, a VLAN or a tunnel. It sets its
    addresses, what it is for, and whether it is the management interface.
  - PIFs come and go with their NICs, with M(nobloat.xen.bond), M(nobloat.xen.network) and M(nobloat.xen.tunnel). Their MTU is
    that of the network.
  - The management interface is never changed without a way back. Before it moves, the host has to answer at the new address to
    a new connection from here; the old interface keeps its address. If the host does not answer, all is put back as it was.
  - A new address for the management interface itself needs another interface of that host with an address at which it
    answers; the management moves there meanwhile. Without one, the change is refused.
author:
  - nobloat.xen contributors (@nobloat)
options:
  pifs:
    description:
      - Several PIFs in one run, which reads the pool once for all. Each item takes the options of this module that are about one
        PIF; those that it leaves out come from the module's own.
      - They are worked on one after the other, in this order. One that fails does not keep the others from being done. The
        module fails in the end and tells which and why.
    type: list
    elements: dict
  host:
    description:
      - Name or uuid of the host. Needed unless O(uuid) is given.
    type: str
  network:
    description:
      - Name or uuid of the network that the PIF connects the host to.
    type: str
  device:
    description:
      - Device of the PIF, such as V(eth1) or V(bond0), with O(vlan) for a VLAN over it.
    type: str
  vlan:
    description:
      - VLAN tag, with O(device).
    type: int
  uuid:
    description:
      - Uuid of the PIF, instead of the host with O(network) or O(device).
    type: str
  ip_mode:
    description:
      - Where the IPv4 address comes from. If omitted, it is left alone, or V(static) when O(ip) is given.
    type: str
    choices: [none, dhcp, static]
  ip:
    description:
      - IPv4 address of the host on this network, with the length of the network, as in V(192.0.2.11/24), or with O(netmask).
    type: str
  netmask:
    description:
      - Mask of the network, as in V(255.255.255.0), if O(ip) does not have its length.
    type: str
  gateway:
    description:
      - IPv4 gateway. If omitted, it is left alone; an empty text removes it.
    type: str
  dns:
    description:
      - Addresses of name servers, IPv4 and IPv6. If omitted, they are left alone; an empty list removes them.
    type: list
    elements: str
  ipv6_mode:
    description:
      - Where the IPv6 address comes from. If omitted, it is left alone, or V(static) when O(ipv6) is given.
    type: str
    choices: [none, dhcp, static, autoconf]
  ipv6:
    description:
      - IPv6 address with the length of its prefix, as in V(2001:db8::11/64).
    type: str
  ipv6_gateway:
    description:
      - IPv6 gateway. If omitted, it is left alone; an empty text removes it.
    type: str
  management:
    description:
      - With V(true), this is the interface at whose address the host is found by the pool and its clients. It needs an address.
      - The interface that was it before keeps its address. To take that away, run the module for it afterwards.
      - It cannot be turned off, only moved to another interface. If omitted, it is left alone.
    type: bool
  attached:
    description:
      - Whether the interface is up. It cannot be taken down while guests of the host use its network.
      - If omitted, it is left alone, but what becomes the management interface is brought up.
    type: bool
  disallow_unplug:
    description:
      - Refuse to take the interface down, because storage depends on it. If omitted, it is left alone.
    type: bool
  gro:
    description:
      - Generic receive offload of a NIC or a bond. If omitted, it is left alone.
    type: bool
  purpose:
    description:
      - What the address is for, such as V(Storage) or V(Migration); management tools show it. An empty text removes it.
      - It is kept in C(other_config:management_purpose).
    type: str
  other_config:
    description:
      - Keys of C(other_config) to set. A null value removes a key, an empty map removes all, with O(purge=true) the map is exact.
        Both leave alone what this collection, XAPI, Xen Orchestra and XenCenter keep there, unless a key of theirs is named.
    type: dict
  purge:
    description:
      - Make O(other_config) exact, instead of adding to what is there.
    type: bool
    default: false
  verify_timeout:
    description:
      - Seconds for the host to answer at its new management address.
    type: int
    default: 60
  allow_lockout:
    description:
      - Allow a change of the management interface without a way back. If it is wrong, the host can be reached from its console only.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes
notes:
  - Who answers at a new address is known by the certificate of the host, which has to be the same as before.
  - That the hosts of the pool find each other at the new addresses cannot be tried beforehand. So the coordinator and the other
    hosts need addresses in the same subnet on the same network before their management moves there. Give all hosts their
    addresses first, then move the management of the others, and that of the coordinator last.
  - After the management of the coordinator has moved, O(hostname) has to be its new address. A shared O(session) follows by itself.
seealso:
  - module: nobloat.xen.network
  - module: nobloat.xen.bond
  - module: nobloat.xen.host_info
"""

EXAMPLES = r"""
- name: An address on the storage network
  nobloat.xen.pif:
    host: xcp1
    network: storage
    ip: 10.20.0.11/24
    purpose: Storage
    disallow_unplug: true

- name: Move the management to a VLAN
  nobloat.xen.pif:
    host: xcp1
    network: management
    ip: 192.0.2.11/24
    gateway: 192.0.2.1
    dns: [192.0.2.53]
    management: true

- name: Then take the address of the NIC away
  nobloat.xen.pif:
    hostname: 192.0.2.11
    host: xcp1
    device: eth0
    ip_mode: none

- name: Addresses of all hosts on the storage network, in one run
  nobloat.xen.pif:
    network: storage
    purpose: Storage
    pifs:
      - {host: xcp1, ip: 10.20.0.11/24}
      - {host: xcp2, ip: 10.20.0.12/24}
"""

RETURN = r"""
pif:
  description: The PIF as it is now, or would be in check mode.
  returned: without O(pifs)
  type: dict
  contains:
    uuid:
      description: Unique identifier.
      type: str
      sample: 1f0d7a5e-2f57-4d3c-9d5a-0b6c2e6f4c11
    host:
      description: Name of the host.
      type: str
      sample: xcp1
    network:
      description: Name of the network.
      type: str
      sample: storage
    device:
      description: Device.
      type: str
      sample: eth1
    vlan:
      description: VLAN tag; null if it is no VLAN.
      type: int
      sample: 20
    kind:
      description: What it is, C(physical), C(bond), C(vlan), C(tunnel) or C(sriov).
      type: str
      sample: vlan
    mac:
      description: MAC address.
      type: str
      sample: 0c:c4:7a:11:22:33
    ip_mode:
      description: Where the IPv4 address comes from.
      type: str
      sample: static
    ip:
      description: IPv4 address; not there in check mode when a DHCP server will say it. So are O(netmask) and O(gateway).
      type: str
      sample: 10.20.0.11
    netmask:
      description: Mask of the network.
      type: str
      sample: 255.255.255.0
    gateway:
      description: IPv4 gateway.
      type: str
      sample: ""
    dns:
      description: Name servers, those with IPv4 addresses first.
      type: list
      elements: str
      sample: []
    ipv6_mode:
      description: Where the IPv6 address comes from.
      type: str
      sample: none
    ipv6:
      description: IPv6 address with the length of its prefix.
      type: str
      sample: ""
    ipv6_gateway:
      description: IPv6 gateway.
      type: str
      sample: ""
    management:
      description: Whether it is the management interface.
      type: bool
      sample: false
    attached:
      description: Whether it is up.
      type: bool
      sample: true
    disallow_unplug:
      description: Whether it must not be taken down.
      type: bool
      sample: true
    purpose:
      description: What it is for.
      type: str
      sample: Storage
    properties:
      description: Properties of a NIC or bond.
      type: dict
      sample: {gro: "on"}
    other_config:
      description: Other configuration, without the purpose.
      type: dict
      sample: {}
pifs:
  description:
    - What became of each, C(uuid), C(host), C(network), C(device), C(vlan) as given, C(changed), and C(failed). If it did not fail, C(pif)
      is as in RV(pif); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there
      is any.
  returned: with O(pifs)
  type: list
  elements: dict
  sample:
    - {host: xcp1, network: storage, changed: true, failed: false, pif: {host: xcp1, network: storage, ip: 10.20.0.11}}
    - {host: xcp9, network: storage, changed: false, failed: true, msg: "there is no host with the name or uuid 'xcp9'"}
"""

from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.pif_plan import plan_pif

SPEC = {
    "host": {"type": "str"},
    "network": {"type": "str"},
    "device": {"type": "str"},
    "vlan": {"type": "int"},
    "uuid": {"type": "str"},
    "ip_mode": {"type": "str", "choices": ["none", "dhcp", "static"]},
    "ip": {"type": "str"},
    "netmask": {"type": "str"},
    "gateway": {"type": "str"},
    "dns": {"type": "list", "elements": "str"},
    "ipv6_mode": {"type": "str", "choices": ["none", "dhcp", "static", "autoconf"]},
    "ipv6": {"type": "str"},
    "ipv6_gateway": {"type": "str"},
    "management": {"type": "bool"},
    "attached": {"type": "bool"},
    "disallow_unplug": {"type": "bool"},
    "gro": {"type": "bool"},
    "purpose": {"type": "str"},
    "other_config": {"type": "dict"},
    "purge": {"type": "bool", "default": False},
    "verify_timeout": {"type": "int", "default": 60},
    "allow_lockout": {"type": "bool", "default": False},
}


def main() -> None:
    rules = {
        "required_one_of": [("uuid", "host"), ("uuid", "network", "device")],
        "mutually_exclusive": [("uuid", "host"), ("uuid", "network"), ("uuid", "device")],
        "required_by": {"vlan": ["device"]},
    }
    ListModule(SPEC, "pifs", ["uuid", "host", "network", "device", "vlan"], **rules).converge_each("pif", plan_pif)


if __name__ == "__main__":
    main()
