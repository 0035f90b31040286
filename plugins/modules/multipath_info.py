#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: multipath_info
short_description: Look at the paths of hosts to their LUNs
version_added: 1.0.0
description:
  - Returns for each host which LUNs it has attached, and how many of their paths work.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of a host. If omitted, all hosts are returned.
    type: str
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes.info
notes:
  - The numbers are those that each host's storage manager has written into XAPI's database when a path came or went. Of a host
    that is not alive they are the last ones.
seealso:
  - module: nobloat.xen.host_multipath
  - module: nobloat.xen.sr_info
"""

EXAMPLES = r"""
- name: Look at all paths
  nobloat.xen.multipath_info:
  register: found

- name: Complain of lost paths
  ansible.builtin.assert:
    that: not item.1.degraded
    fail_msg: "{{ item.0.name }}: {{ item.1.paths_up }} of {{ item.1.paths_total }} paths to {{ item.1.sr }} are up"
  loop: "{{ found.hosts | subelements('luns') }}"
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
      sample: xcp2
    uuid:
      description: Unique identifier.
      type: str
      sample: 0a4f0d4e-5f7f-4ed7-9d1f-9f6f3a8a51c2
    multipathing:
      description: Whether the host uses multipathing.
      type: bool
      sample: true
    degraded:
      description: Whether a path is down.
      type: bool
      sample: false
    luns:
      description: The LUNs of its attached SRs.
      type: list
      elements: dict
      contains:
        sr:
          description: Name of the SR.
          type: str
          sample: san1
        sr_uuid:
          description: Unique identifier of the SR.
          type: str
          sample: 5f2b1c9a-1d36-4f0b-9b1c-0e6a7c6f0c55
        scsi_id:
          description: SCSI identifier of the LUN.
          type: str
          sample: 36001405a1b2c3d4e5f60718293a4b5c6
        multipathed:
          description: Whether the SR is attached over several paths.
          type: bool
          sample: true
        paths_up:
          description: Number of paths that work; null without multipath.
          type: int
          sample: 2
        paths_total:
          description: Number of paths; null without multipath.
          type: int
          sample: 2
        degraded:
          description: Whether a path is down.
          type: bool
          sample: false
        iscsi_sessions:
          description: Number of iSCSI sessions, if the driver tells.
          type: int
          sample: 2
"""

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.common import matching
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.storage.multipath import luns
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records

SPEC = {"name": {"type": "str"}}


def look(module: XapiModule) -> dict[str, Any]:
    hosts = matching(module.xapi, "host", module.params["name"])
    srs = records.records(module.xapi, "SR")
    pbds = list(records.records(module.xapi, "PBD").values())
    found = []
    for host in hosts:
        own = [lun for pbd in pbds if pbd["host"] == host["ref"] and pbd["SR"] in srs for lun in luns(pbd, srs[pbd["SR"]])]
        found.append({
            "name": host["name_label"],
            "uuid": host["uuid"],
            "multipathing": host["multipathing"],
            "degraded": any(lun["degraded"] for lun in own),
            "luns": sorted(own, key=lambda lun: (str(lun["sr"]), str(lun["scsi_id"]))),
        })
    return {"hosts": found}


def main() -> None:
    XapiModule(SPEC).report(look)


if __name__ == "__main__":
    main()
