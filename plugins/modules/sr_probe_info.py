#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: sr_probe_info
short_description: Look what storage a host can see
version_added: 1.0.0
description:
  - Asks a host's storage drivers what there is - iSCSI targets with their LUNs, LUNs on Fibre Channel, exports of an NFS server -
    and which SRs are there already.
  - What it finds has the C(device_config) that M(nobloat.xen.sr) wants to have.
  - A host that looks for SRs logs in to iSCSI targets, and out again.
author:
  - nobloat.xen contributors (@nobloat)
options:
  type:
    description:
      - Type of SR to look for. V(lvmohba) is Fibre Channel, and whatever else the host sees as multipath SCSI disks.
      - The others need a complete O(device_config), and only tell which SRs are there.
    type: str
    required: true
    choices: [lvmoiscsi, lvmohba, nfs, lvm, ext, xfs, smb, cephfs, glusterfs, linstor]
  device_config:
    description:
      - What is known already. C(target), an address or several with commas between, for V(lvmoiscsi); C(server) for V(nfs).
      - With more keys, as for M(nobloat.xen.sr), it looks at less.
    type: dict
    default: {}
  device_secrets:
    description:
      - The keys of C(device_config) that are secrets, such as C(chappassword), kept out of logs and output.
    type: dict
  host:
    description:
      - Name or uuid of the host that looks. If omitted, it is the coordinator.
    type: str
  depth:
    description:
      - How far to look. V(targets) only lists targets, exports or the LUNs of V(lvmohba); V(luns) also the LUNs of targets;
        V(srs) also the SRs on each LUN and export, which takes longest.
    type: str
    choices: [targets, luns, srs]
    default: srs
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.attributes.info
notes:
  - O(wait_timeout) is for each probe; O(wait) has no meaning here.
seealso:
  - module: nobloat.xen.sr
  - module: nobloat.xen.multipath_info
"""

EXAMPLES = r"""
- name: What does the storage array offer?
  nobloat.xen.sr_probe_info:
    type: lvmoiscsi
    device_config:
      target: 10.1.0.10,10.2.0.10
    device_secrets:
      chapuser: pool
      chappassword: "{{ vault_chap_password }}"
  register: found

- name: Make an SR of the first empty LUN
  nobloat.xen.sr:
    name: san1
    type: lvmoiscsi
    device_config: "{{ (found.targets | map(attribute='luns') | flatten | selectattr('srs', 'equalto', []) | first).device_config }}"
    device_secrets:
      chappassword: "{{ vault_chap_password }}"

- name: LUNs on Fibre Channel
  nobloat.xen.sr_probe_info:
    type: lvmohba
    host: xcp2
    depth: luns
"""

RETURN = r"""
targets:
  description: iSCSI targets, sorted by name.
  returned: for O(type=lvmoiscsi), unless SCSIid is given
  type: list
  elements: dict
  contains:
    iqn:
      description: Name of the target.
      type: str
      sample: iqn.2026-11.com.example:array1
    portals:
      description: Where it answers.
      type: list
      elements: dict
      sample: [{address: 10.1.0.10, port: 3260}, {address: 10.2.0.10, port: 3260}]
    luns:
      description: Its LUNs, as in RV(luns).
      type: list
      elements: dict
    error:
      description: Why the host cannot see its LUNs; null if it can.
      type: str
      sample: null
luns:
  description: LUNs, sorted by number.
  returned: for O(type=lvmohba), unless SCSIid is given
  type: list
  elements: dict
  contains:
    scsi_id:
      description: SCSI identifier, which is the same on all paths and hosts.
      type: str
      sample: 36001405a1b2c3d4e5f60718293a4b5c6
    lun:
      description: Number of the LUN; null if the driver does not tell.
      type: int
      sample: 0
    size:
      description: Bytes; null if the driver does not tell.
      type: int
      sample: 1099511627776
    vendor:
      description: Who made it.
      type: str
      sample: DELL
    serial:
      description: Its serial number.
      type: str
      sample: 90a4b5c6
    device:
      description: Device on the host, if the driver tells.
      type: str
      sample: /dev/mapper/36001405a1b2c3d4e5f60718293a4b5c6
    device_config:
      description: For M(nobloat.xen.sr), without secrets.
      type: dict
      sample: {target: 10.1.0.10, targetIQN: "iqn.2026-11.com.example:array1", SCSIid: 36001405a1b2c3d4e5f60718293a4b5c6}
    srs:
      description: SRs on it, as in RV(srs); null with a smaller O(depth).
      type: list
      elements: dict
    error:
      description: Why the host cannot look for SRs on it; null if it can.
      type: str
      sample: null
exports:
  description: Exports of an NFS server, sorted by path. C(device_config), C(srs) and C(error) as in RV(luns).
  returned: for O(type=nfs), unless serverpath is given
  type: list
  elements: dict
  sample:
    - {path: /vms, access: "*", device_config: {server: nas1, serverpath: /vms}, srs: [], error: null}
srs:
  description: SRs that are there.
  returned: when O(device_config) is complete
  type: list
  elements: dict
  contains:
    uuid:
      description: Unique identifier of the SR.
      type: str
      sample: 5f2b1c9a-1d36-4f0b-9b1c-0e6a7c6f0c55
    name:
      description: Name, if this pool knows the SR.
      type: str
      sample: san1
    known:
      description: Whether this pool knows the SR.
      type: bool
      sample: true
"""

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.storage.probe import DEPTHS, Discovery
from ansible_collections.nobloat.xen.plugins.module_utils.storage.types import as_text
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records

SPEC = {
    "type": {"type": "str", "required": True,
             "choices": ["lvmoiscsi", "lvmohba", "nfs", "lvm", "ext", "xfs", "smb", "cephfs", "glusterfs", "linstor"]},
    "device_config": {"type": "dict", "default": {}},
    "device_secrets": {"type": "dict", "no_log": True},
    "host": {"type": "str"},
    "depth": {"type": "str", "choices": list(DEPTHS), "default": "srs"},
}
# What a probe needs at least: without it the driver has nowhere to ask.
NEEDED = {"lvmoiscsi": "target", "nfs": "server", "smb": "server", "cephfs": "server", "glusterfs": "server",
          "lvm": "device", "ext": "device", "xfs": "device", "linstor": "group-name"}


def look(module: XapiModule) -> dict[str, Any]:
    params = module.params
    sr_type, config = params["type"], as_text(params["device_config"])
    needed = NEEDED.get(sr_type)
    if needed and not config.get(needed):
        raise ValueError(f"To look for SRs of type {sr_type}, say {needed} in device_config.")
    config |= as_text(params["device_secrets"])
    host = records.find(module.xapi, "host", params["host"])["ref"] if params["host"] else coordinator(module)

    def probe(chosen: dict[str, str]) -> str:
        what = ", ".join(f"{key} {value}" for key, value in chosen.items() if "password" not in key)
        module.progress(f"probing for {sr_type} ({what})")
        return str(module.run("SR.probe", host, chosen, sr_type, {}))

    names = {sr["uuid"]: sr["name_label"] for sr in records.records(module.xapi, "SR").values()}
    return Discovery(sr_type, probe, names, params["depth"]).run(config)


def coordinator(module: XapiModule) -> str:
    return str(next(iter(records.records(module.xapi, "pool").values()))["master"])


def main() -> None:
    XapiModule(SPEC, waits=True).report(look)


if __name__ == "__main__":
    main()
