#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Look at the hosts of a pool
version_added: 1.0.0
description:
  - Returns the hosts of a pool with their memory, CPUs, versions, certificates and PIFs, in six calls whatever their number.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the hosts to return. If omitted, all are returned; if there is none, an empty list is.
    type: str
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes.info
seealso:
  - module: nobloat.xen.host
  - module: nobloat.xen.host_certificate
  - module: nobloat.xen.pool_info
"""

EXAMPLES = r"""
- name: All hosts
  nobloat.xen.host_info:
  register: found

- name: Hosts whose certificate expires this year
  ansible.builtin.debug:
    msg: "{{ found.hosts | selectattr('certificate.not_after', 'lt', '2027') | map(attribute='name') }}"

- name: Hosts that can take guests
  ansible.builtin.debug:
    msg: "{{ found.hosts | selectattr('live') | selectattr('enabled') | map(attribute='name') }}"
"""

RETURN = r"""
hosts:
  description: The hosts, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
      sample: xcp1
    uuid:
      description: Unique identifier.
      type: str
      sample: 0a4f0d4e-5f7f-4ed7-9d1f-9f6f3a8a51c2
    description:
      description: Description.
      type: str
      sample: Rack 4, unit 12
    tags:
      description: Tags, sorted.
      type: list
      elements: str
      sample: [rack4]
    other_config:
      description: Other configuration.
      type: dict
      sample: {}
    enabled:
      description: Whether guests may be started on it.
      type: bool
      sample: true
    iscsi_iqn:
      description: Its name as an iSCSI initiator.
      type: str
      sample: iqn.2026-11.com.example:xcp1
    address:
      description: Address of its management interface.
      type: str
      sample: 192.0.2.11
    hostname:
      description: Its Linux host name.
      type: str
      sample: xcp1
    coordinator:
      description: Whether it is the coordinator of the pool.
      type: bool
      sample: true
    live:
      description: Whether it is alive, as far as the coordinator knows. Without HA, it takes minutes to notice a death.
      type: bool
      sample: true
    multipathing:
      description: Whether it reaches its SRs over several paths.
      type: bool
      sample: false
    memory:
      description: Memory in bytes; null where the host does not report it.
      type: dict
      sample: {total: 68719476736, free: 51539607552, overhead: 1073741824}
      contains:
        total:
          description: All of it.
          type: int
        free:
          description: What neither guests nor the host itself use.
          type: int
        overhead:
          description: What the hypervisor takes.
          type: int
    cpu:
      description: CPUs; null where the host does not report it.
      type: dict
      sample: {count: 16, sockets: 1, vendor: AuthenticAMD, model: AMD EPYC 7302P, speed_mhz: 3000.0}
      contains:
        count:
          description: Logical CPUs.
          type: int
        sockets:
          description: Sockets.
          type: int
        vendor:
          description: Vendor.
          type: str
        model:
          description: Model.
          type: str
        speed_mhz:
          description: Clock in MHz.
          type: float
    software_version:
      description: Versions of what runs on the host, such as C(product_brand), C(product_version), C(xapi), C(xen).
      type: dict
      sample: {product_brand: XCP-ng, product_version: 8.3.0}
    api_version:
      description: Version of XAPI's interface.
      type: str
      sample: "2.21"
    edition:
      description: Edition of the licence.
      type: str
      sample: xcp-ng
    certificate:
      description: What it presents to its clients (module M(nobloat.xen.host_certificate)); null if XAPI knows none.
      type: dict
      sample: {fingerprint: "3F:A1:0C", not_before: "2026-11-01T00:00:00Z", not_after: "2027-11-01T00:00:00Z"}
      contains:
        fingerprint:
          description: SHA-256 of it.
          type: str
        not_before:
          description: When it became valid, in UTC.
          type: str
        not_after:
          description: When it expires, in UTC.
          type: str
    pending_guidances:
      description: What is still to be done after updates, such as V(reboot_host).
      type: list
      elements: str
      sample: []
    vm_count:
      description: Number of guests that run there.
      type: int
      sample: 7
    pifs:
      description: The PIFs, sorted by device and VLAN.
      type: list
      elements: dict
      contains:
        uuid:
          description: Unique identifier.
          type: str
          sample: 4a7d3bb5-42a4-4d6f-8e0c-3a52b0a30f6e
        device:
          description: Device.
          type: str
          sample: eth1
        network:
          description: Name of its network.
          type: str
          sample: storage
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
from ansible_collections.nobloat.xen.plugins.module_utils.host import host_facts
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import records

SPEC = {"name": {"type": "str"}}


def look(module: XapiModule) -> dict[str, Any]:
    xapi = module.xapi
    hosts = matching(xapi, "host", module.params["name"])
    if not hosts:
        return {"hosts": []}
    of_one = f'field "host"="{hosts[0]["ref"]}"' if len(hosts) == 1 else ""
    metrics, pifs, networks = records(xapi, "host_metrics"), records(xapi, "PIF", of_one), records(xapi, "network")
    certificates = records(xapi, "Certificate", of_one).values()
    coordinator = next(iter(records(xapi, "pool").values()))["master"]
    facts = (host_facts(host, metrics.get(host["metrics"]), pifs.values(), networks, coordinator, certificates) for host in hosts)
    return {"hosts": list(facts)}


def main() -> None:
    XapiModule(SPEC).report(look)


if __name__ == "__main__":
    main()
