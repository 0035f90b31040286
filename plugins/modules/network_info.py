#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: network_info
short_description: Look at the networks of a pool
version_added: 1.0.0
description:
  - Returns the networks of a pool and the PIFs that carry them, in three calls whatever their number.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the networks to return. If omitted, all are returned; if there is none, an empty list is.
    type: str
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes.info
seealso:
  - module: nobloat.xen.network
"""

EXAMPLES = r"""
- name: All networks
  nobloat.xen.network_info:
  register: found

- name: Their VLAN tags
  ansible.builtin.debug:
    msg: "{{ found.networks | items2dict(key_name='name', value_name='vlan') }}"

- name: One network
  nobloat.xen.network_info:
    name: storage
"""

RETURN = r"""
networks:
  description: The networks, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
      sample: storage
    uuid:
      description: Unique identifier.
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
      description: Bridge on the hosts.
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
    managed:
      description: Whether XAPI makes and removes the bridge.
      type: bool
      sample: true
    purpose:
      description: What the network is for, as far as XAPI cares (V(nbd), V(insecure_nbd)).
      type: list
      elements: str
      sample: []
    nic_count:
      description: Number of NICs (VIFs) on the network, plugged or not, those of templates and snapshots included.
      type: int
      sample: 4
    pifs:
      description: The PIFs that carry the network, sorted by host and device.
      type: list
      elements: dict
      contains:
        host:
          description: Name of the host.
          type: str
          sample: xcp1
        uuid:
          description: Unique identifier.
          type: str
          sample: 4a7d3bb5-42a4-4d6f-8e0c-3a52b0a30f6e
        device:
          description: Device.
          type: str
          sample: eth1
        kind:
          description: One of V(physical), V(bond), V(vlan), V(tunnel), V(sriov).
          type: str
          sample: vlan
        vlan:
          description: VLAN tag; null if it is no VLAN.
          type: int
          sample: 120
        mac:
          description: MAC address.
          type: str
          sample: "52:54:00:12:34:56"
        mtu:
          description: MTU in bytes that the device has.
          type: int
          sample: 9000
        attached:
          description: Whether it is plugged.
          type: bool
          sample: true
        management:
          description: Whether the host is managed over it.
          type: bool
          sample: false
        ip_mode:
          description: Where the IPv4 address comes from, one of V(none), V(dhcp), V(static).
          type: str
          sample: static
        ip:
          description: IPv4 address; empty if it has none.
          type: str
          sample: 192.0.2.11
        netmask:
          description: IPv4 netmask.
          type: str
          sample: 255.255.255.0
        gateway:
          description: IPv4 gateway.
          type: str
          sample: 192.0.2.1
        dns:
          description: Name servers, those with IPv4 addresses first.
          type: list
          elements: str
          sample: [192.0.2.53]
        ipv6_mode:
          description: Where the IPv6 address comes from, one of V(none), V(dhcp), V(static), V(autoconf).
          type: str
          sample: none
        ipv6:
          description: IPv6 address with the length of its prefix; empty if it has none.
          type: str
          sample: ""
        ipv6_gateway:
          description: IPv6 gateway.
          type: str
          sample: ""
"""

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.common import matching
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.addresses import pif_view
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import network_view
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import records

SPEC = {"name": {"type": "str"}}


def look(module: XapiModule) -> dict[str, Any]:
    networks = matching(module.xapi, "network", module.params["name"])
    wanted = {network["ref"] for network in networks}
    of_one = f'field "network"="{networks[0]["ref"]}"' if len(networks) == 1 else ""
    pifs: dict[str, list[dict[str, Any]]] = {ref: [] for ref in wanted}
    for pif in records(module.xapi, "PIF", of_one).values() if networks else ():
        if pif["network"] in wanted:
            pifs[pif["network"]].append(pif)
    hosts = records(module.xapi, "host") if networks else {}
    return {"networks": [view(network, pifs[network["ref"]], hosts) for network in networks]}


def view(network: dict[str, Any], pifs: list[dict[str, Any]], hosts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A network with its PIFs. `pifs`: its own; `hosts`: by reference."""
    shown = [{"host": hosts[pif["host"]]["name_label"], **pif_view(pif), "mtu": pif["MTU"]} for pif in pifs if pif["host"] in hosts]
    return {
        **network_view(network, pifs, hosts),
        "managed": network["managed"],
        "purpose": sorted(network["purpose"]),
        "nic_count": len(network["VIFs"]),
        "pifs": sorted(shown, key=lambda pif: (pif["host"], pif["device"])),
    }


def main() -> None:
    XapiModule(SPEC).report(look)


if __name__ == "__main__":
    main()
