#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: network_rule
short_description: Allow or deny traffic of a network or of a guest's NIC
version_added: 1.0.0
description:
  - Keeps OpenFlow rules for a network, or for one NIC of a guest, and applies them on every host that has the network, through
    the plugin C(sdncontroller.py) of XCP-ng's dom0.
  - The rules are kept in C(other_config) of the network or NIC, in the form of Xen Orchestra, which can show them and applies them
    anew by itself where it runs.
  - Hosts forget their rules when they boot, and rules of a network are about the guests that are on it. Each run of the module
    looks at what the hosts have, and applies what is lacking.
  - Without any rule, everything is allowed.
author:
  - nobloat.xen contributors (@nobloat)
options:
  network_rules:
    description:
      - Several networks and NICs in one run, which reads the pool once for all. Each item takes the options of this module that are
        about one network or NIC; those that it leaves out come from the module's own.
      - They are worked on one after the other, in this order. One that fails does not keep the others from being done. The
        module fails in the end and tells which and why.
    type: list
    elements: dict
  network:
    description:
      - Name or uuid of the network that the rules are for.
    type: str
  vm:
    description:
      - Name or uuid of the guest whose NIC the rules are for, instead of O(network).
    type: str
  device:
    description:
      - Which NIC of the guest.
    type: int
    default: 0
  state:
    description:
      - With V(present), the rules are kept and applied. If O(rules) is omitted, those that are kept are applied again.
      - With V(absent), they are not; if O(rules) is omitted, none is.
    type: str
    choices: [present, absent]
    default: present
  rules:
    description:
      - The rules. They are added to those that are kept, and replace those about the same traffic. An empty list removes all;
        with O(purge=true) the list is exact.
    type: list
    elements: dict
    suboptions:
      allow:
        description:
          - Let this traffic through, or drop it.
        type: bool
        default: true
      protocol:
        description:
          - V(ip) is all of IPv4.
        type: str
        choices: [ip, tcp, udp, icmp, arp]
        default: ip
      port:
        description:
          - Port of V(tcp) and V(udp), which need one.
        type: int
      ip_range:
        description:
          - Address or range of addresses, as in V(192.0.2.0/24).
        type: str
        default: 0.0.0.0/0
      direction:
        description:
          - V(to) is traffic to the addresses and port, V(from) is traffic that comes from there.
          - For a NIC that is seen from its guest, so that O(rules[].port) is the one at the other end.
        type: str
        choices: [from, to, from/to]
        default: from/to
      priority:
        description:
          - Of several rules that match, the one with the highest number counts, from 0 to 65535.
        type: int
        default: 32768
  purge:
    description:
      - Remove rules that O(rules) does not list.
    type: bool
    default: false
  reapply:
    description:
      - Apply all rules again, whether hosts have them or not. The module then always says that it changed something.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes
attributes:
  idempotent:
    support: partial
    details: With O(reapply=true) each run applies all rules.
notes:
  - The rules see IPv4 and ARP only.
  - XAPI wants the role pool-admin for calls of plugins.
seealso:
  - module: nobloat.xen.network
"""

EXAMPLES = r"""
- name: Guests of this network may be asked for web pages, and for nothing else, by the world
  nobloat.xen.network_rule:
    network: dmz
    purge: true
    rules:
      - {protocol: tcp, port: 443, direction: from/to, priority: 200}
      - {protocol: arp, priority: 200}
      - {allow: false, priority: 100}

- name: This guest must not send mail
  nobloat.xen.network_rule:
    vm: web1
    device: 0
    rules:
      - {allow: false, protocol: tcp, port: 25, direction: to}

- name: Apply what is kept again, after a host has booted
  nobloat.xen.network_rule:
    network: dmz

- name: No rules any more
  nobloat.xen.network_rule:
    network: dmz
    state: absent

- name: The same rules for several networks
  nobloat.xen.network_rule:
    rules:
      - {protocol: tcp, port: 443, priority: 200}
      - {allow: false, priority: 100}
    network_rules:
      - {network: shop}
      - {network: tenants}
"""

RETURN = r"""
network_rule:
  description: The rules as they are now, or would be in check mode.
  returned: without O(network_rules)
  type: dict
  contains:
    network:
      description: Name of the network.
      type: str
      sample: dmz
    vm:
      description: The guest, if the rules are for a NIC.
      type: str
      sample: null
    device:
      description: The NIC, if the rules are for one.
      type: int
      sample: null
    rules:
      description: The rules, highest priority first.
      type: list
      elements: dict
      sample:
        - {allow: true, protocol: tcp, port: 443, ip_range: 0.0.0.0/0, direction: from/to, priority: 200}
    applied:
      description: Whether each host that has the network has all rules that it needs.
      type: dict
      sample: {xcp1: true, xcp2: true}
network_rules:
  description:
    - What became of each, C(network), C(vm), C(device) as given, C(changed), and C(failed). If it did not fail, C(network_rule)
      is as in RV(network_rule); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there
      is any.
  returned: with O(network_rules)
  type: list
  elements: dict
  sample:
    - {network: tenants, device: 0, changed: true, failed: false, network_rule: {network: tenants}}
    - {vm: web9, device: 0, changed: false, failed: true, msg: "there is no VM with the name or uuid 'web9'"}
"""

from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.rule_plan import plan_rules

SPEC = {
    "network": {"type": "str"},
    "vm": {"type": "str"},
    "device": {"type": "int", "default": 0},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "rules": {
        "type": "list", "elements": "dict",
        "options": {
            "allow": {"type": "bool", "default": True},
            "protocol": {"type": "str", "choices": ["ip", "tcp", "udp", "icmp", "arp"], "default": "ip"},
            "port": {"type": "int"},
            "ip_range": {"type": "str", "default": "0.0.0.0/0"},
            "direction": {"type": "str", "choices": ["from", "to", "from/to"], "default": "from/to"},
            "priority": {"type": "int", "default": 32768},
        },
    },
    "purge": {"type": "bool", "default": False},
    "reapply": {"type": "bool", "default": False},
}


def main() -> None:
    rules = {"required_one_of": [("network", "vm")], "mutually_exclusive": [("network", "vm")]}
    ListModule(SPEC, "network_rules", ["network", "vm", "device"], **rules).converge_each("network_rule", plan_rules)


if __name__ == "__main__":
    main()
