#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vm_info
short_description: Look at guests
version_added: 1.0.0
description:
  - Returns guests with their hardware, disks, NICs, snapshots and what their agents report.
  - It takes the same few calls for one guest and for all of a pool. Templates, snapshots and control domains are left out.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the guest. All guests with that name are returned, and an empty list if there is none.
        If omitted, all guests are.
    type: str
  tag:
    description:
      - Only guests with this tag.
    type: str
  power_state:
    description:
      - Only guests in this power state.
    type: str
    choices: [running, halted, suspended, paused]
  host:
    description:
      - Only guests that are on this host, by name or uuid.
    type: str
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes.info
seealso:
  - module: nobloat.xen.vm
  - plugin: nobloat.xen.xapi
    plugin_type: inventory
"""

EXAMPLES = r"""
- name: Look at a guest
  nobloat.xen.vm_info:
    name: web1
  register: found

- name: Show its addresses
  ansible.builtin.debug:
    msg: "{{ found.vms[0].ip_addresses }}"

- name: All running web servers
  nobloat.xen.vm_info:
    tag: web
    power_state: running
"""

RETURN = r"""
vms:
  description: The guests, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
      sample: web1
    uuid:
      description: Unique identifier.
      type: str
      sample: 8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10
    description:
      description: Description.
      type: str
      sample: ""
    tags:
      description: Tags, sorted.
      type: list
      elements: str
      sample: [web]
    other_config:
      description: Other configuration.
      type: dict
      sample: {base_template_name: Debian Bookworm 12}
    power_state:
      description: Power state.
      type: str
      sample: running
    host:
      description: Name of the host that it is on, empty if it is on none.
      type: str
      sample: xcp1
    memory:
      description: Memory that it runs with.
      type: str
      sample: 4GiB
    memory_max:
      description: The most memory that it can get while it runs.
      type: str
      sample: 4GiB
    memory_bytes:
      description: RV(vms[].memory) in bytes.
      type: int
      sample: 4294967296
    vcpus:
      description: Number of virtual CPUs.
      type: int
      sample: 2
    vcpus_max:
      description: The most virtual CPUs that it can get while it runs.
      type: int
      sample: 2
    boot_order:
      description: Devices to boot from.
      type: list
      elements: str
      sample: [disk, cdrom]
    firmware:
      description: Firmware, V(bios) or V(uefi).
      type: str
      sample: bios
    secure_boot:
      description: Whether UEFI starts signed systems only; null if that is left to the certificates of the pool (V(auto)).
      type: bool
      sample: false
    platform:
      description: Platform flags.
      type: dict
      sample: {acpi: "1"}
    auto_poweron:
      description: Whether it starts with its host.
      type: bool
      sample: false
    affinity:
      description: Name of the host that it prefers, or empty.
      type: str
      sample: ""
    disks:
      description: Disks with C(device), C(name), C(size), C(sr), C(vdi) (uuid), C(mode) and C(bootable), and C(size_bytes).
      type: list
      elements: dict
      sample: [{device: 0, name: web1 root, size: 20GiB, sr: local, vdi: 1f3b0bd4-6a4e-4f6c-9a54-2f4f7f8e9d10, mode: rw, bootable: true}]
    nics:
      description: NICs with C(device), C(network), C(mac), C(mtu) and C(rate), and C(ip_addresses).
      type: list
      elements: dict
      sample: [{device: 0, network: frontend, mac: "02:00:00:12:34:56", mtu: 1500, rate: null, ip_addresses: [192.0.2.17]}]
    cdrom:
      description: Name of the ISO image in the CD drive, empty if there is none, null without a drive.
      type: str
      sample: ""
    ip_addresses:
      description: >-
        All IP addresses that the agent of a running or paused guest reports, without link-local ones, by NIC, IPv4 first; also
        those that belong to none of C(nics).
      type: list
      elements: str
      sample: [192.0.2.17]
    os:
      description: What the guest agent says of the operating system.
      type: dict
      sample: {name: Debian GNU/Linux 12 (bookworm), distro: debian}
    tools:
      description: Whether the guest runs paravirtualised drivers.
      type: bool
      sample: true
    snapshots:
      description: Number of snapshots.
      type: int
      sample: 0
"""

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.info import read_info


def main() -> None:
    module = XapiModule({
        "name": {"type": "str"},
        "tag": {"type": "str"},
        "power_state": {"type": "str", "choices": ["running", "halted", "suspended", "paused"]},
        "host": {"type": "str"},
    })

    def look(_module: XapiModule) -> dict[str, Any]:
        filters = {option: module.params[option] for option in ("name", "tag", "power_state", "host")}
        return {"vms": read_info(module.xapi, **filters)}

    module.report(look)


if __name__ == "__main__":
    main()
