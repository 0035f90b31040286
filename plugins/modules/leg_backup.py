#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: leg_backup
short_description: Back up a leg of a mirror, on its node, while the guest runs
version_added: 1.0.0
description:
  - Takes an LVM snapshot of one leg of a complete mirror, and keeps what is in it as a new generation on a backup volume of the
    node. It is the disk as a power cut at that moment would have left it, unless its file system was frozen in the guest
    (M(nobloat.xen.guest_freeze)); the guest need not run, and notices nothing but slower writes while the snapshot is there.
  - The generation is compared with the leg, byte by byte, and gets its name when all of it is on the disk. The snapshot is
    removed in any case.
  - What a run that was killed has left, the next one removes.
author:
  - nobloat.xen contributors (@nobloat)
options:
  guest:
    description:
      - Name of the guest.
    type: str
    required: true
  disk:
    description:
      - Name of its disk.
    type: str
    required: true
  name:
    description:
      - Name of the leg, that is, of the logical volume. If omitted, it is made of O(guest), a hyphen and O(disk).
    type: str
  vg:
    description:
      - Volume group of the leg. The snapshot lies there, too, under the name C(backup-NAME).
    type: str
    required: true
  state:
    description:
      - With V(present), there is a new generation, or one that is not older than O(max_age).
      - With V(clean), there is nothing that a killed backup has left. Generations are not touched.
      - With V(snapshotted), there is only the snapshot, for a backup with O(snapshot); none if the newest generation is not older than
        O(max_age).
    type: str
    choices: [present, clean, snapshotted]
    default: present
  snapshot:
    description:
      - Back up this snapshot, which O(state=snapshotted) has made and named (RV(snapshot)).
    type: str
  frozen:
    description:
      - The file system in the guest was frozen from before the snapshot was made until after it. A file system that notes by itself whether
        it is clean (ext2, ext3, ext4) is not asked of this option.
    type: bool
    default: false
  halves:
    description:
      - Paths of all halves of the mirror on this node, the leg itself among them or not. Needed with O(state=present).
        Their superblocks have to say that the mirror is complete, and equally old.
    type: list
    elements: path
    default: []
  allow_degraded:
    description:
      - Back up a leg of a mirror that is not complete. Still refused if the leg is not a complete copy itself, or if another half
        is known to be newer.
    type: bool
    default: false
  volume:
    description:
      - Folder of the backup volume. Generations lie in C(NAME/GENERATION) below it.
    type: path
    required: true
  require_mount:
    description:
      - Fail if nothing is mounted on O(volume).
    type: bool
    default: true
  method:
    description:
      - With V(blocks), the generation is an image of the disk, with holes where there are zeros, whatever is on the disk. On a
        file system with reflinks (xfs), images share what has not changed.
      - With V(files), the file system on the leg (ext2, ext3, ext4 or xfs) is copied with C(rsync). Files that have not changed
        since the generation before share its space (hard links).
      - For V(files), the node's kernel has to mount what a guest has made. It does so read-only, and without replaying a journal. If the
        file system was neither frozen nor unmounted in the guest, C(e2fsck) replays the journal in the snapshot; that of C(xfs) cannot
        be replayed in this way, and is refused.
    type: str
    choices: [files, blocks]
    default: blocks
  keep:
    description:
      - How many generations there are afterwards at most. Older ones are removed once the new one is complete, so the volume
        needs room for one more.
    type: int
    default: 7
  max_age:
    description:
      - Make no new generation if the newest is younger than this many seconds. If V(0), always make one.
    type: int
    default: 0
  snapshot_size:
    description:
      - What the guest may write while the backup goes on, as a percentage of the leg, such as V(20%), or in bytes. When it is
        used up, the backup fails; the guest is not affected. Not used for thin volumes, whose snapshots share the pool.
    type: str
    default: 20%
  node:
    description:
      - Name of this node in the manifest. If omitted, its host name.
    type: str
extends_documentation_fragment:
  - nobloat.xen.node
attributes:
  idempotent:
    description: A second run with the same options changes nothing.
    support: partial
    details: With O(max_age=0), each run makes a generation.
requirements:
  - LVM, mdadm and, for O(method=files), rsync on the node; e2fsck or xfs_logprint for a file system that was not frozen
seealso:
  - module: nobloat.xen.guest_freeze
  - module: nobloat.xen.leg_backup_info
  - module: nobloat.xen.leg_restore
  - module: nobloat.xen.mirror_info
"""

EXAMPLES = r"""
- name: Back up the files of a disk
  nobloat.xen.leg_backup:
    guest: web1
    disk: data
    vg: vg0
    halves:
      - /dev/mirror/node1/web1-data
      - /dev/mirror/node2/web1-data
    volume: /srv/backup
    method: files

- name: An image, once a day at most, the last three of them
  nobloat.xen.leg_backup:
    guest: web1
    disk: system
    vg: vg0
    halves:
      - /dev/mirror/node1/web1-system
      - /dev/mirror/node2/web1-system
    volume: /srv/backup
    keep: 3
    max_age: 86000

- name: Nothing that is left of a killed backup
  nobloat.xen.leg_backup:
    guest: web1
    disk: data
    vg: vg0
    volume: /srv/backup
    state: clean
"""

RETURN = r"""
backup:
  description: The generations as they are now, or would be in check mode.
  returned: success
  type: dict
  contains:
    generations:
      description: Their names, oldest first.
      type: list
      elements: str
      sample: ["20261121T020000Z", "20261122T020000Z"]
snapshot:
  description: Which snapshot was made.
  returned: with O(state=snapshotted), if one was made
  type: str
  sample: 7xYbPd-2mZ0-Qk3a-VvT1-s8Rz-h4Lw-e9NcUj
"""

import platform
from typing import Any, Dict

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.backup import Backup
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {
    "guest": {"type": "str", "required": True},
    "disk": {"type": "str", "required": True},
    "name": {"type": "str"},
    "vg": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "clean", "snapshotted"], "default": "present"},
    "snapshot": {"type": "str"},
    "frozen": {"type": "bool", "default": False},
    "halves": {"type": "list", "elements": "path", "default": []},
    "allow_degraded": {"type": "bool", "default": False},
    "volume": {"type": "path", "required": True},
    "require_mount": {"type": "bool", "default": True},
    "method": {"type": "str", "choices": ["files", "blocks"], "default": "blocks"},
    "keep": {"type": "int", "default": 7},
    "max_age": {"type": "int", "default": 0},
    "snapshot_size": {"type": "str", "default": "20%"},
    "node": {"type": "str"},
}


def plan(module: NodeModule) -> ChangeSet:
    return Backup(dict(module.params, node=module.params["node"] or platform.node())).plan(module.check_mode)


def afterwards(module: NodeModule, _planned: ChangeSet) -> Dict[str, Any]:
    return Backup(dict(module.params, node="")).view()


def main() -> None:
    NodeModule(SPEC).converge("backup", plan, afterwards)


if __name__ == "__main__":
    main()
