#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: tunnel
short_description: Private networks between hosts, by GRE or VXLAN
version_added: 1.0.0
description:
  - Makes a network whose packets travel between the hosts inside those of another one, so that it needs no VLAN on the switches.
  - XAPI makes the tunnel's bridge and interface on each host. Which host is connected to which is up to an SDN controller, as
    everywhere in XAPI; without one, the guests of each host are among themselves. With O(vni), the network says all that the SDN
    controller of Xen Orchestra has to know to connect it.
  - The tunnel's header takes 50 bytes of each packet. Give the network an MTU that leaves room (M(nobloat.xen.network)), or the
    transport network a larger one.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the private network. A network that does not exist is created.
      - Either this or O(tunnels) is needed.
    type: str
  tunnels:
    description:
      - Several tunnels in one run, which reads the pool once for all. Each item takes the options of this module that are about one
        private network; those that it leaves out come from the module's own.
      - They are worked on one after the other, in this order. One that fails does not keep the others from being done. The
        module fails in the end and tells which and why.
    type: list
    elements: dict
  state:
    description:
      - With V(present), the hosts have a tunnel for the network.
      - With V(absent), they do not. The network stays, inside each host; M(nobloat.xen.network) removes it.
    type: str
    choices: [present, absent]
    default: present
  protocol:
    description:
      - How packets are wrapped. If omitted, it is left alone; new tunnels are V(gre).
    type: str
    choices: [gre, vxlan]
  transport:
    description:
      - Network (name or uuid), or device such as V(bond0), that the tunnels go over. Each host needs an address there.
      - Needed for new tunnels. If omitted, it is left alone.
    type: str
  vni:
    description:
      - Number of the network, from 1 to 16777215, which must not be used by another private network. The SDN controller of Xen
        Orchestra then connects the hosts.
      - If omitted, nothing is said to a controller.
    type: int
  hosts:
    description:
      - Names or uuids of the hosts that get a tunnel, or lose it. If omitted, all hosts of the pool do.
      - Tunnels on other hosts stay, unless O(purge=true). A host that is not alive is left out with a warning.
    type: list
    elements: str
  purge:
    description:
      - Remove the tunnels of hosts that O(hosts) does not list.
    type: bool
    default: false
  allow_recreate:
    description:
      - Allow tunnels with another O(protocol) or O(transport) to be destroyed and created anew. No running guest may use them
        at that time.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes
seealso:
  - module: nobloat.xen.network
  - module: nobloat.xen.pif
"""

EXAMPLES = r"""
- name: A private network over the one for migrations
  nobloat.xen.tunnel:
    name: tenant7
    transport: migration
    protocol: vxlan
    vni: 7

- name: Remove the tunnels, then the network
  nobloat.xen.tunnel:
    name: tenant7
    state: absent

- name: The network itself
  nobloat.xen.network:
    name: tenant7
    state: absent

- name: Several private networks over the same transport, in one run
  nobloat.xen.tunnel:
    transport: storage
    tunnels:
      - {name: tenant1, vni: 101}
      - {name: tenant2, vni: 102}
"""

RETURN = r"""
tunnel:
  description: The network as it is now, or would be in check mode; empty if it does not exist.
  returned: with O(name)
  type: dict
  contains:
    name:
      description: Name of the network.
      type: str
      sample: tenant7
    uuid:
      description: Unique identifier of the network; not there yet when it would be created in check mode.
      type: str
      sample: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10
    vni:
      description: Its number, for the SDN controller; null if it has none.
      type: int
      sample: 7
    hosts:
      description: C(protocol) and C(transport) (name of the network) of each host's tunnel.
      type: dict
      sample:
        xcp1: {protocol: vxlan, transport: migration}
tunnels:
  description:
    - What became of each private network, C(name) as it was given, C(changed), and C(failed). If it did not fail, C(tunnel)
      is as in RV(tunnel); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there
      is any.
  returned: with O(tunnels)
  type: list
  elements: dict
  sample:
    - {name: tenants, changed: true, failed: false, tunnel: {name: tenants, vni: 71}}
    - {name: guests, changed: false, failed: true, msg: "Say over which network the tunnels go: transport."}
"""

from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.tunnel_plan import plan_tunnel

SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "protocol": {"type": "str", "choices": ["gre", "vxlan"]},
    "transport": {"type": "str"},
    "vni": {"type": "int"},
    "hosts": {"type": "list", "elements": "str"},
    "purge": {"type": "bool", "default": False},
    "allow_recreate": {"type": "bool", "default": False},
}


def main() -> None:
    ListModule(SPEC, "tunnels", ["name"]).converge_each("tunnel", plan_tunnel)


if __name__ == "__main__":
    main()
