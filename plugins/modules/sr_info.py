#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: sr_info
short_description: Look at the storage repositories of a pool
version_added: 1.0.0
description:
  - Returns the storage repositories (SRs) of a pool with their sizes and the hosts that they are attached to.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of an SR. All that answer to it are returned; none is no error.
      - If omitted, all SRs are returned.
    type: str
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes.info
seealso:
  - module: nobloat.xen.sr
"""

EXAMPLES = r"""
- name: Look at all SRs
  nobloat.xen.sr_info:
  register: found

- name: Complain of SRs that are nearly full
  ansible.builtin.assert:
    that: item.free is none or item.free > item.size * 0.1
    fail_msg: "{{ item.name }} has {{ item.free }} bytes left."
  loop: "{{ found.srs | selectattr('content_type', 'ne', 'iso') | selectattr('size') }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
srs:
  description: The SRs, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
      sample: shared
    uuid:
      description: Unique identifier.
      type: str
      sample: 8e2a5f0c-9d2f-4f6e-a1f4-6b5f4d9a0c11
    description:
      description: Description.
      type: str
      sample: Disks that every host sees
    tags:
      description: Tags, sorted.
      type: list
      elements: str
      sample: []
    other_config:
      description: Other configuration.
      type: dict
      sample: {}
    type:
      description: Type.
      type: str
      sample: nfs
    content_type:
      description: V(iso) for an SR with ISO images, V(user) for most others.
      type: str
      sample: user
    shared:
      description: Whether all hosts see the same data.
      type: bool
      sample: true
    device_config:
      description: Where the data lie, without secrets, as the first host has it; null if the SR belongs to no host.
      type: dict
      sample: {server: nas1.example.com, serverpath: /export/vms}
    hosts:
      description: The hosts that the SR belongs to, sorted by name.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the host.
          type: str
          sample: xcp1
        attached:
          description: Whether the SR is attached to it.
          type: bool
          sample: true
        pbd:
          description: Uuid of the PBD that connects the two.
          type: str
          sample: 0a2f4a0e-5b62-45a5-8b5c-3c1f4c2d7f10
        device_config:
          description: Where the data lie for this host, without secrets.
          type: dict
          sample: {server: nas1.example.com, serverpath: /export/vms}
    size:
      description: Size of the medium in bytes; null if it was never attached.
      type: int
      sample: 2199023255552
    used:
      description: Bytes that are used on the medium; null if it was never attached.
      type: int
      sample: 21474836480
    free:
      description: Bytes that are free on the medium; null if it was never attached.
      type: int
      sample: 2177548419072
    allocated:
      description: Sum of the sizes of all VDIs in bytes. It may be more than the medium has, where disks are thin.
      type: int
      sample: 42949672960
    vdi_count:
      description: Number of VDIs, snapshots among them.
      type: int
      sample: 12
    sm_config:
      description: What the SR's driver keeps for itself.
      type: dict
      sample: {}
"""

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.common import matching
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr import sr_facts
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import records

SPEC = {"name": {"type": "str"}}


def look(module: XapiModule) -> dict[str, Any]:
    xapi, name = module.xapi, module.params["name"]
    srs = matching(xapi, "SR", name)
    if not srs:
        return {"srs": []}
    pbds = select(xapi, "PBD", SR=(sr["ref"] for sr in srs)) if name else records(xapi, "PBD")
    hosts = records(xapi, "host")
    return {"srs": [sr_facts(sr, pbds.values(), hosts) for sr in srs]}


def main() -> None:
    XapiModule(SPEC).report(look)


if __name__ == "__main__":
    main()
