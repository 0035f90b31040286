#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: leg_restore
short_description: Put a backup of a leg back
version_added: 1.0.0
description:
  - With O(halves), writes an image (a generation made with method V(blocks)) onto all halves of a mirror, while its guest is
    stopped. They are the same then, and nothing has to be resynchronised. What is written is read again and compared.
  - While that goes on, the superblocks of the halves are disabled, so that nobody can start what is half restored. If it is
    killed, run it again, with the same generation or another.
  - With O(archive), packs a file or folder of any generation into a tar archive on the node, for the guest to unpack.
  - In both cases the generation is first compared with its digests.
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
      - Name of the leg. If omitted, it is made of O(guest), a hyphen and O(disk).
    type: str
  volume:
    description:
      - Folder of the backup volume.
    type: path
    required: true
  generation:
    description:
      - Name of the generation. If omitted, the newest that is complete.
    type: str
  halves:
    description:
      - Paths of all halves of the mirror on this node, as C(/dev/mirror/NODE/LEG). All of them have to be there, and to carry the
        superblock of the same mirror. Nobody on this node can use them, or start the guest, while the module works. It is for you to
        know that no other node uses them; see O(state=held).
    type: list
    elements: path
  state:
    description:
      - What to do with O(halves).
      - With V(restored), all of it.
      - With V(held), only the beginning of it. If their data are not as the backup, the halves are taken out of their mirror, so that
        nobody can begin to use them. Ask all nodes then whether somebody had begun before, and go on with V(restored), or with V(unheld).
      - With V(unheld), halves that were taken out of their mirror are put back. It fails if data may have been written to them.
    type: str
    choices: [held, restored, unheld]
    default: restored
  owner:
    description:
      - Who has the lease of the guest on this node, in state V(restoring) of M(nobloat.xen.guest_lease). It is renewed, and the module
        fails if it was lost. Not looked for where the node has no leg of the guest.
      - If omitted, nobody may be starting the guest, or restoring a disk of it.
    type: str
  overwrite:
    description:
      - Consent that what is on the disk is lost. Needed with O(halves), unless the disk has the data of the backup already.
    type: bool
    default: false
  archive:
    description:
      - Path of the archive. One that is there is replaced.
      - With a generation made with method V(blocks), what the replay of the journal changes is kept beside it while it is made.
    type: path
  fetch:
    description:
      - Path of a file on the controller that O(archive) is brought to. It is then removed from the node.
    type: str
  path:
    description:
      - The file or folder to pack, counted from the top of the disk's file system. If omitted, everything.
      - Links of the guest are not followed, as they would lead to the node's own files. A path that goes over one is refused; those below
        O(path) are packed as links.
    type: str
extends_documentation_fragment:
  - nobloat.xen.node
attributes:
  idempotent:
    description: A second run with the same options changes nothing.
    support: partial
    details: Archives are written in each run.
requirements:
  - mdadm on the node; tar for O(archive)
seealso:
  - module: nobloat.xen.leg_backup
  - module: nobloat.xen.leg_backup_info
"""

EXAMPLES = r"""
- name: Put the disk back as it was in the newest backup
  nobloat.xen.leg_restore:
    guest: web1
    disk: data
    volume: /srv/backup
    halves:
      - /dev/mirror/node1/web1-data
      - /dev/mirror/node2/web1-data
    overwrite: true

- name: Get a folder
  nobloat.xen.leg_restore:
    guest: web1
    disk: data
    volume: /srv/backup
    generation: 20261122T020000Z
    archive: /srv/backup/web1-etc.tar
    path: /etc
"""

RETURN = r"""
held:
  description: Whether the halves are out of their mirror now, or would be in check mode.
  returned: with O(halves)
  type: bool
  sample: true
restore:
  description: What was done, or would be in check mode. With O(archive), C(archive), C(path) and the C(size) of the archive in
    bytes; with O(halves), for each of them whether it is as the backup.
  returned: success
  type: dict
  sample: {archive: /srv/backup/web1-etc.tar, path: /etc, size: 102400}
"""

import platform

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule
from ansible_collections.nobloat.xen.plugins.module_utils.node.restore import Restore

SPEC = {
    "guest": {"type": "str", "required": True},
    "disk": {"type": "str", "required": True},
    "name": {"type": "str"},
    "volume": {"type": "path", "required": True},
    "generation": {"type": "str"},
    "halves": {"type": "list", "elements": "path"},
    "state": {"type": "str", "choices": ["held", "restored", "unheld"], "default": "restored"},
    "owner": {"type": "str"},
    "overwrite": {"type": "bool", "default": False},
    "archive": {"type": "path"},
    "fetch": {"type": "str"},  # plugins/action/leg_restore.py
    "path": {"type": "str"},
}


def plan(module: NodeModule) -> ChangeSet:
    return Restore(dict(module.params, node=platform.node())).plan(module.check_mode)


def main() -> None:
    rules = {"mutually_exclusive": [("halves", "archive")], "required_one_of": [("halves", "archive")],
             "required_by": {"path": "archive", "fetch": "archive"}}
    NodeModule(SPEC, **rules).converge("restore", plan)


if __name__ == "__main__":
    main()
