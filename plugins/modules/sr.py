#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: sr
short_description: Create, attach, detach and remove storage repositories
version_added: 1.0.0
description:
  - Manages the storage repositories (SRs) of a pool, and which hosts they are attached to.
  - A shared SR is attached to all hosts of the pool. A host that joined later gets it when the module runs again.
    A host that is not alive is left out with a warning.
  - What an SR's data lie on cannot be changed afterwards. Where O(type) or O(device_config) differ from what is there, the
    module fails; it never recreates an SR.
  - Before an SR of a type that formats its medium is created, its driver is asked for SRs on it; see O(allow_format).
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the SR. Several local SRs may have the same name; then O(host) tells which one is meant.
      - Either this or O(srs) is needed.
    type: str
  srs:
    description:
      - Several SRs in one run, which reads the pool once for all. Each item takes the options of this module that are about one
        SR; those that it leaves out come from the module's own. That includes O(device_secrets), which is kept out of logs there, too.
      - They are worked on one after the other, in this order. One that fails does not keep the others from being done. The
        module fails in the end and tells which and why.
    type: list
    elements: dict
  new_name:
    description:
      - Name that the SR gets. An SR that has it already is taken for the renamed one.
      - If omitted, the SR keeps its name.
    type: str
  uuid:
    description:
      - Uuid of an SR whose data lie on the medium already. A pool that does not know it gets to know it (it is introduced);
        nothing is formatted. It is found by this uuid only, and named O(name).
      - If omitted, an SR that does not exist is created.
    type: str
  state:
    description:
      - With V(present), the SR exists, is as the options say, and is attached to all its hosts.
      - With V(detached), it is attached to no host; the pool still knows it.
      - With V(forgotten), the pool does not know it any more. Its data stay, to be introduced again by O(uuid).
      - With V(absent), it and its data do not exist. Only an empty SR is destroyed.
      - An SR that a running guest uses is neither detached nor removed.
    type: str
    choices: [present, detached, forgotten, absent]
    default: present
  type:
    description:
      - What the SR's data lie on. Needed for a new SR.
      - V(lvm), V(ext), V(xfs), V(largeblock), V(zfs), V(zfs-vol), V(file) and V(udev) are local to a host, the others are shared.
      - V(xfs), V(largeblock), V(zfs), V(zfs-vol), V(cephfs), V(glusterfs), V(moosefs) and V(linstor) exist on XCP-ng only,
        some of them when the driver's package is installed on the hosts.
    type: str
    choices:
      - lvm
      - ext
      - nfs
      - iso
      - lvmoiscsi
      - lvmohba
      - udev
      - smb
      - file
      - xfs
      - largeblock
      - zfs
      - zfs-vol
      - cephfs
      - glusterfs
      - moosefs
      - linstor
  device_config:
    description:
      - Where the data lie, as the type wants it. Needed for a new SR. Keys and their presence are checked before any call.
      - "V(lvm), V(ext), V(xfs), V(largeblock), V(zfs-vol): C(device), one or more block devices, comma separated."
      - "V(nfs): C(server) and C(serverpath); if need be C(nfsversion) (3, 4, 4.0 or 4.1), C(options), C(useUDP)."
      - "V(iso): C(location), as server:/path, as \\\\server\\share with C(type=cifs) (and C(username), C(vers), C(iso_path)), or
        as a directory of the host with C(legacy_mode=true); if need be C(nfsversion), C(options)."
      - "V(lvmoiscsi): C(target), C(targetIQN) and C(SCSIid); if need be C(port), C(LUNid), C(chapuser), C(incoming_chapuser),
        C(multihomed), C(multiSession), C(usediscoverynumber), C(allocation) (thick or thin)."
      - "V(lvmohba): C(SCSIid); if need be C(allocation)."
      - "V(smb): C(server), as \\\\server\\share; if need be C(username)."
      - "V(udev), V(file), V(zfs): C(location), a directory of the host. With V(udev) it holds links to block devices, and each
        of them is a VDI."
      - "V(cephfs): C(server), C(serverpath); if need be C(serverport), C(options). V(glusterfs): C(server); if need be
        C(backupservers), C(fetchattempts). V(moosefs): C(masterhost); if need be C(masterport), C(rootpath).
        V(linstor): C(group-name), C(redundancy); if need be C(provisioning), C(monitor-db-quorum)."
      - "All types that hold VHD files also take C(preferred-image-formats) on XCP-ng 8.3 and later."
      - Keys that are left out are not compared with an SR that is there.
    type: dict
  device_secrets:
    description:
      - The keys of C(device_config) that are secrets, kept out of logs and output. C(chappassword) and
        C(incoming_chappassword) of V(lvmoiscsi), C(cifspassword) of V(iso), C(password) of V(smb).
      - XAPI keeps them as secrets of its own, which only strong roles may read.
    type: dict
  host:
    description:
      - Name or uuid of the host that a local SR belongs to. Needed for a new one, unless the pool has one host only.
    type: str
  shared:
    description:
      - Whether all hosts see the same data. If omitted, that follows from O(type).
      - Only for V(udev), V(file) and V(iso), of which both kinds exist. A shared V(udev) SR needs the same
        device paths on all hosts.
    type: bool
  vdis:
    description:
      - Block devices that the SR has to know as VDIs, for type V(udev). If it does not know one, or only with another size, it is
        scanned; if it does not find it then, the module fails.
      - A scan is the work of the pool's coordinator. It forgets VDIs whose devices are not there any more, and takes them from
        guests that are shut down.
    type: list
    elements: dict
    suboptions:
      location:
        description: Path of the device.
        type: str
        required: true
      name:
        description: Name that the VDI gets. If omitted, the one that the driver gave it stays.
        type: str
      size:
        description: Size that the device has, as in V(20GiB) or a number of bytes. If omitted, any is right.
        type: str
  allow_format:
    description:
      - Create the SR even if its medium holds one already, whose data are lost then.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.common
  - nobloat.xen.attributes
attributes:
  check_mode:
    details: For types that format their medium, the SR's driver looks at it in check mode, too. That changes nothing.
seealso:
  - module: nobloat.xen.sr_info
  - module: nobloat.xen.vdi
  - module: nobloat.xen.pool
"""

EXAMPLES = r"""
- name: Disks on an NFS server, for all hosts
  nobloat.xen.sr:
    name: shared
    type: nfs
    device_config:
      server: nas1.example.com
      serverpath: /export/vms
      nfsversion: "4.1"

- name: A local SR of one host
  nobloat.xen.sr:
    name: fast
    host: xcp1
    type: ext
    device_config:
      device: /dev/disk/by-id/nvme-SAMSUNG_MZQL2_1234
    tags: [nvme]

- name: An iSCSI LUN with CHAP
  nobloat.xen.sr:
    name: san
    type: lvmoiscsi
    device_config:
      target: 192.0.2.40
      targetIQN: iqn.2026-11.com.example:vol1
      SCSIid: 36001405a1b2c3d4e5f60718293a4b5c6
      chapuser: xcp
    device_secrets:
      chappassword: "{{ vault_chap_password }}"

- name: Raw block devices that every host has under the same path
  nobloat.xen.sr:
    name: legs
    type: udev
    shared: true
    device_config:
      location: /dev/legs
    vdis:
      - location: /dev/legs/web1-data
        name: web1-data

- name: Let the pool know an SR that is on the LUN already, with its data
  nobloat.xen.sr:
    name: rescued
    uuid: 8e2a5f0c-9d2f-4f6e-a1f4-6b5f4d9a0c11
    type: lvmohba
    device_config:
      SCSIid: 360014380125d5e6f0000700001230000

- name: Forget it, and leave its data alone
  nobloat.xen.sr:
    name: rescued
    state: forgotten

- name: Several SRs of one server, in one run
  nobloat.xen.sr:
    type: nfs
    srs:
      - {name: vmstore, device_config: {server: nas, serverpath: /vms}}
      - {name: backups, device_config: {server: nas, serverpath: /backups}}
"""

RETURN = r"""
sr:
  description: The SR as it is now, or would be in check mode; empty if the pool does not know it.
  returned: with O(name)
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: shared
    uuid:
      description: Unique identifier; not there yet when an SR would be created in check mode.
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
      sample: [nvme]
    other_config:
      description: Other configuration.
      type: dict
      sample: {}
    type:
      description: Type.
      type: str
      sample: nfs
    content_type:
      description: V(iso) for an SR with ISO images, V(user) for others.
      type: str
      sample: user
    shared:
      description: Whether all hosts see the same data.
      type: bool
      sample: true
    device_config:
      description: Where the data lie, without secrets; null if the SR belongs to no host.
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
    vdis:
      description: The VDIs that O(vdis) names, with that option only.
      type: list
      elements: dict
      contains:
        location:
          description: Path of the device.
          type: str
          sample: /dev/legs/web1-data
        name:
          description: Name.
          type: str
          sample: web1-data
        size:
          description: Size in the largest unit that expresses it exactly.
          type: str
          sample: 20GiB
        uuid:
          description: Unique identifier; not there yet when the VDI would be found in check mode.
          type: str
          sample: 3f1a6f0e-71a5-4a77-8a0e-2c4f7f9f5d61
srs:
  description:
    - What became of each, C(name), C(uuid), C(host) as given, C(changed), and C(failed). If it did not fail, C(sr)
      is as in RV(sr); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there
      is any.
  returned: with O(srs)
  type: list
  elements: dict
  sample:
    - {name: vmstore, changed: true, failed: false, sr: {name: vmstore, type: nfs}}
    - {name: backups, changed: false, failed: true, msg: SR backups is of type nfs; it needs server}
tasks:
  description: The XAPI tasks of the last operations of all, which go on.
  returned: with O(srs) and O(wait=false), if there were long operations
  type: list
  elements: str
  sample: ["OpaqueRef:0d3b2a9c-3f0e-4a83-9a1b-8c8b4b3a7d55"]
"""

from ansible_collections.nobloat.xen.plugins.module_utils.common import COMMON_SPEC
from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr_plan import plan_sr
from ansible_collections.nobloat.xen.plugins.module_utils.storage.types import TYPES

SPEC = {
    "name": {"type": "str", "required": True},
    "new_name": {"type": "str"},
    "uuid": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "detached", "forgotten", "absent"], "default": "present"},
    "type": {"type": "str", "choices": list(TYPES)},
    "device_config": {"type": "dict"},
    "device_secrets": {"type": "dict", "no_log": True},
    "host": {"type": "str"},
    "shared": {"type": "bool"},
    "vdis": {"type": "list", "elements": "dict", "options": {
        "location": {"type": "str", "required": True},
        "name": {"type": "str"},
        "size": {"type": "str"},
    }},
    "allow_format": {"type": "bool", "default": False},
    **COMMON_SPEC,
}


def main() -> None:
    ListModule(SPEC, "srs", ["name", "uuid", "host"], waits=True, mutually_exclusive=[("uuid", "new_name")]).converge_each("sr", plan_sr)


if __name__ == "__main__":
    main()
