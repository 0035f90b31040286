#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: san_network
short_description: The network that a node reaches the disks of other nodes by
version_added: 1.0.0
description:
  - Makes a bond of the NICs of a SAN, or uses each by itself, with a VLAN and addresses. Systemd-networkd or ifupdown, whichever
    manages the network of the node, gets settings for these NICs, and no other is touched.
  - A NIC that has the default route, the address by which Ansible reaches the node, or another address that is not described, is
    refused.
  - A change that interrupts the SAN is refused while others are logged in to disks of this node over it, or such disks are used here.
  - What counts is the state of the kernel. If the SAN does not come up, the earlier settings are put back.
  - On hosts of XAPI, networks are XAPI's; there the module does nothing, and says C(manager=xapi).
author:
  - nobloat.xen contributors (@nobloat)
options:
  nics:
    description:
      - Names of the NICs.
    type: list
    elements: str
    required: true
  addresses:
    description:
      - Addresses with the length of their prefix, as V(10.0.2.1/24). One for a bond; without a bond, one for each of O(nics).
    type: list
    elements: str
    required: true
  mode:
    description:
      - Mode of the bond. An empty text stands for no bond, that is for two separate ways.
    type: str
    choices: ["", active-backup, balance-rr, balance-xor, broadcast, 802.3ad, balance-tlb, balance-alb]
    default: active-backup
  bond:
    description:
      - Name of the bond.
    type: str
    default: san
  miimon:
    description:
      - Milliseconds between two looks at the links of the bond. Not used with O(arp_targets).
    type: int
    default: 100
  arp_targets:
    description:
      - IPv4 addresses that the bond asks by ARP whether a link works, instead of looking at its carrier. Not for the modes
        V(802.3ad), V(balance-tlb) and V(balance-alb).
    type: list
    elements: str
    default: []
  arp_interval:
    description:
      - Milliseconds between two questions.
    type: int
    default: 200
  lacp_rate:
    description:
      - How often the other end shall tell of itself in mode V(802.3ad).
    type: str
    choices: [fast, slow]
    default: fast
  xmit_hash_policy:
    description:
      - What decides which link a packet takes, in the modes V(balance-xor), V(802.3ad) and V(balance-tlb).
    type: str
    choices: [layer2, layer2+3, layer3+4]
    default: layer3+4
  vlan:
    description:
      - VLAN that has the addresses, V(0) for none.
    type: int
    default: 0
  mtu:
    description:
      - MTU in bytes. All nodes and switches of the SAN need the same.
    type: int
    default: 1500
  manager:
    description:
      - What manages the network of the node. With V(auto), systemd-networkd if it runs; else ifupdown if it is installed; else
        systemd-networkd, which is then enabled, unless it has settings besides that would begin to count.
    type: str
    choices: [auto, networkd, ifupdown]
    default: auto
  keep:
    description:
      - More addresses of the node that are not to be touched.
    type: list
    elements: str
    default: []
  force:
    description:
      - Change the network even if it interrupts others who are logged in to disks of this node, or disks that are used here. A mirror
        goes on with its other half, if that is elsewhere.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.node
seealso:
  - module: nobloat.xen.iscsi_export
"""

EXAMPLES = r"""
- name: Two NICs, of which one is used at a time
  nobloat.xen.san_network:
    nics: [eth2, eth3]
    addresses: [10.0.2.1/24]
    mtu: 9000

- name: LACP, on a VLAN
  nobloat.xen.san_network:
    nics: [eth2, eth3]
    mode: 802.3ad
    vlan: 100
    addresses: [10.0.2.1/24]

- name: Two separate ways, for multipath
  nobloat.xen.san_network:
    nics: [eth2, eth3]
    mode: ""
    addresses: [10.0.2.1/24, 10.0.3.1/24]
"""

RETURN = r"""
files:
  description: The settings by path, as they are now, or would be in check mode.
  returned: success
  type: dict
  sample:
    /etc/systemd/network/10-nobloat-san-eth2.network: "[Match]\nName=eth2\n..."
manager:
  description: What manages the network, V(networkd), V(ifupdown), or V(xapi), where the module does nothing.
  returned: success
  type: str
  sample: networkd
interfaces:
  description: The interfaces that have the addresses.
  returned: success
  type: list
  elements: str
  sample: [san]
"""

import os

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule
from ansible_collections.nobloat.xen.plugins.module_utils.node.san import MODES, San

SPEC = {
    "nics": {"type": "list", "elements": "str", "required": True},
    "addresses": {"type": "list", "elements": "str", "required": True},
    "mode": {"type": "str", "choices": ["", *MODES], "default": "active-backup"},
    "bond": {"type": "str", "default": "san"},
    "miimon": {"type": "int", "default": 100},
    "arp_targets": {"type": "list", "elements": "str", "default": []},
    "arp_interval": {"type": "int", "default": 200},
    "lacp_rate": {"type": "str", "choices": ["fast", "slow"], "default": "fast"},
    "xmit_hash_policy": {"type": "str", "choices": ["layer2", "layer2+3", "layer3+4"], "default": "layer3+4"},
    "vlan": {"type": "int", "default": 0},
    "mtu": {"type": "int", "default": 1500},
    "manager": {"type": "str", "choices": ["auto", "networkd", "ifupdown"], "default": "auto"},
    "keep": {"type": "list", "elements": "str", "default": []},
    "force": {"type": "bool", "default": False},
}


def plan(module: NodeModule) -> ChangeSet:
    connection = os.environ.get("SSH_CONNECTION", "").split()
    return San(connection=connection[2] if len(connection) == 4 else "").plan(module.params)


def main() -> None:
    NodeModule(SPEC).converge("files", plan)


if __name__ == "__main__":
    main()
