#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mirror_info
short_description: Look at the legs, exports, imports, arrays and names of a node
version_added: 1.0.0
description:
  - Returns what a node, or a guest, has to do with mirrors. It asks the kernel, not files.
author:
  - nobloat.xen contributors (@nobloat)
options:
  vgs:
    description:
      - Volume groups that are returned, with their logical volumes. If omitted, all.
    type: list
    elements: str
  devices:
    description:
      - Block devices to look at; see RV(disks).
    type: list
    elements: path
    default: []
  halves:
    description:
      - Whether legs of guests are looked into for the superblock of their half, see RV(legs[].half). That takes a moment for each.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.node.info
seealso:
  - module: nobloat.xen.iscsi_export
  - module: nobloat.xen.iscsi_import
  - module: nobloat.xen.md_mirror
"""

EXAMPLES = r"""
- name: Look at the node
  nobloat.xen.mirror_info:
    vgs:
      - vg0
  register: found

- name: Every disk of another node has to work
  ansible.builtin.assert:
    that: item.sessions | selectattr('state', 'eq', 'LOGGED_IN') | length == item.portals | length
    fail_msg: "{{ item.iqn }} is not there on all of its paths."
  loop: "{{ found.imports }}"
  loop_control:
    label: "{{ item.iqn }}"
"""

RETURN = r"""
boot_id:
  description: The kernel's name of this boot; another after each.
  returned: success
  type: str
  sample: 5bd7a9d4-3c1c-4f0a-8d8a-0f6c2f1f5a7e
uptime:
  description: Seconds since the boot.
  returned: success
  type: int
  sample: 86400
load:
  description: Load of the last minute, as C(uptime) says it.
  returned: success
  type: float
  sample: 0.25
vgs:
  description: The volume groups, sorted.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
      sample: vg0
    size:
      description: Size in bytes.
      type: int
      sample: 1099511627776
    free:
      description: What no volume has, in bytes, besides spare volumes (M(nobloat.xen.leg)), whose room new legs get.
      type: int
      sample: 549755813888
    spare:
      description: What of it spare volumes have, in bytes.
      type: int
      sample: 21474836480
    extent_size:
      description: Size of an extent in bytes. A volume has whole extents, a striped one the same number on each of its disks.
      type: int
      sample: 4194304
    free_striped:
      description: What a volume that is striped over all of its disks can have at most, in bytes.
      type: int
      sample: 549755813888
    pv_count:
      description: Number of physical volumes.
      type: int
      sample: 2
    pvs:
      description: Those physical volumes that are there, each with C(device), C(uuid), C(size) and C(free), in bytes; the
        latter with spare volumes.
      type: list
      elements: dict
      sample:
        - device: /dev/sdb
          uuid: w6ZJVQ-0oxI-LFQh-z0q9-YdKK-n2lO-tLrVhC
          size: 549755813888
          free: 274877906944
disks:
  description: What is on O(devices).
  returned: success
  type: list
  elements: dict
  contains:
    device:
      description: Path as it was given.
      type: str
      sample: /dev/sdb
    size:
      description: Size in bytes, null if there is no such block device.
      type: int
      sample: 549755813888
    vg:
      description: The volume group that it is a physical volume of, null if of none.
      type: str
      sample: null
    users:
      description: Who uses it, in words.
      type: list
      elements: str
      sample: []
    content:
      description: What is on it, in words. Empty if it is blank, as far as its first and last mebibyte and known signatures tell,
        or a physical volume.
      type: str
      sample: "it has a signature: ext4"
lvm_folder:
  description: Folder with the settings of LVM for those who change something, the value for C(LVM_SYSTEM_DIR).
  returned: success
  type: str
  sample: /etc/lvm
initiator:
  description: The machine's own name as an iSCSI initiator, null if it has none.
  returned: success
  type: str
  sample: iqn.2026-11.com.example:node1
legs:
  description: The logical volumes, sorted.
  returned: success
  type: list
  elements: dict
  contains:
    vg:
      description: Volume group.
      type: str
      sample: vg0
    name:
      description: Name.
      type: str
      sample: web1
    device:
      description: Path.
      type: str
      sample: /dev/vg0/web1
    uuid:
      description: Uuid of the volume.
      type: str
      sample: FpD5Ef-QdK2-dBLW-8B9J-e1qZ-t2KH-qiny02
    size:
      description: Size in bytes.
      type: int
      sample: 21474836480
    tags:
      description: Tags, sorted.
      type: list
      elements: str
      sample: []
    lease:
      description:
        - The lease of a guest that lies with it, null if none does. C(generation), C(time), C(state), C(owner), C(synced), C(held),
          C(host) and C(assumed_dead) as M(nobloat.xen.guest_lease) explains them. One that cannot be understood has the state
          V(damaged).
      type: dict
      sample: {generation: 7, time: 1795246320, state: started, owner: anna/c1/x7a, synced: 382d146e, held: "", host: node1,
               assumed_dead: []}
    active:
      description: Whether it is active.
      type: bool
      sample: true
    open:
      description: Whether anything has it open; an export does.
      type: bool
      sample: true
    users:
      description: Who uses it, in words, besides the kernel's iSCSI target.
      type: list
      elements: str
      sample: ["guest domain 7"]
    snapshot_of:
      description: For a snapshot, the volume that it is of; else null.
      type: str
      sample: null
    stripes:
      description: Number of stripes.
      type: int
      sample: 2
    stripe_size:
      description: Size of a stripe in bytes, 0 without stripes.
      type: int
      sample: 65536
    identity:
      description: What names the data on every node. It is the WWN of the disk that others import.
      type: str
      sample: naa.60014057d0c2f3b9a5e4c1d8f6a7b0c1
    half:
      description:
        - What the superblock of the guest's mirror on it says. C(uuid) and C(name) of the mirror, C(events), its event count,
          C(role), the place of this half, C(members), which halves were there when it was last written (C(A), or C(.) for one
          that was not), C(raid_devices), C(state), C(updated) in seconds since 1970, and C(incomplete), whether it was being
          copied to or lacks blocks.
        - Null where there is none, or none that can be understood.
      returned: with O(halves=true), for legs of guests
      type: dict
      sample: {uuid: "1f2e3d4c:00112233:44556677:8899aabb", name: data, events: 42, role: 0, members: AA, raid_devices: 2, state: clean,
               updated: 1795246320, incomplete: false}
wipes:
  description: What removed legs have left, and room for new ones, as far as it is not zeroed yet.
  returned: success
  type: list
  elements: dict
  contains:
    vg:
      description: Volume group.
      type: str
      sample: vg0
    name:
      description: Name of the spare volume.
      type: str
      sample: spare-7d0c2f3b9a5e
    size:
      description: Size in bytes.
      type: int
      sample: 21474836480
    zeroed:
      description: How many bytes are zeroed and on the disk.
      type: int
      sample: 8589934592
    percent:
      description: The same as a percentage.
      type: int
      sample: 40
    problem:
      description: What keeps the node from going on, empty if nothing does.
      type: str
      sample: ""
exports:
  description: The exports, as module M(nobloat.xen.iscsi_export) returns them, each with C(saved), whether it is made again at
    boot. One that is saved and not in the kernel is not C(enabled).
  returned: success
  type: list
  elements: dict
  sample:
    - name: web1
      iqn: iqn.2026-11.com.example:node1:web1
      enabled: true
      saved: true
      sessions: [{initiator: "iqn.2026-11.com.example:node2", address: 10.0.2.2, state: LOGGED_IN}]
imports:
  description: The imports, as module M(nobloat.xen.iscsi_import) returns them.
  returned: success
  type: list
  elements: dict
  sample:
    - iqn: iqn.2026-11.com.example:node2:web1
      device: /dev/disk/by-path/ip-10.0.2.2:3260-iscsi-iqn.2026-11.com.example:node2:web1-lun-0
      identity: naa.6001405f6a7b0c17d0c2f3b9a5e4c1d8
      size: 21474836480
arrays:
  description: The md arrays, as module M(nobloat.xen.md_mirror) returns them. A node should have none of its guests' arrays.
  returned: success
  type: list
  elements: dict
  sample: []
names:
  description: What is below C(/dev/mirror).
  returned: success
  type: list
  elements: dict
  contains:
    node:
      description: Name of the node.
      type: str
      sample: node2
    leg:
      description: Name of the leg.
      type: str
      sample: web1
    path:
      description: Path, the same on every node.
      type: str
      sample: /dev/mirror/node2/web1
    target:
      description: Device that it leads to.
      type: str
      sample: /dev/sda
    size:
      description: Size in bytes, null if it leads nowhere.
      type: int
      sample: 21474836480
    identity:
      description: What names the data, the same on every node; null if it leads nowhere.
      type: str
      sample: naa.6001405f6a7b0c17d0c2f3b9a5e4c1d8
"""

from typing import Any, Dict

from ansible_collections.nobloat.xen.plugins.module_utils.node.info import Node
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {
    "vgs": {"type": "list", "elements": "str"},
    "devices": {"type": "list", "elements": "path", "default": []},
    "halves": {"type": "bool", "default": False},
}


def look(module: NodeModule) -> Dict[str, Any]:
    node = Node()
    found = node.look(module.params["vgs"], module.params["devices"], module.params["halves"])
    for name, trouble in sorted(node.damaged.items()):
        module.warn(f"Export {name} will not come back after a boot: {trouble}. Make it again, or remove it (module iscsi_export).")
    return found


def main() -> None:
    NodeModule(SPEC).report(look)


if __name__ == "__main__":
    main()
