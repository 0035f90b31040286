#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: leg_backup_info
short_description: Look at the backups of legs on a node
version_added: 1.0.0
description:
  - Returns the complete generations on a backup volume of a node, and what is being made now.
author:
  - nobloat.xen contributors (@nobloat)
options:
  volume:
    description:
      - Folder of the backup volume.
    type: path
    required: true
  legs:
    description:
      - Names of the legs. If omitted, all that have a folder there.
    type: list
    elements: str
extends_documentation_fragment:
  - nobloat.xen.node.info
seealso:
  - module: nobloat.xen.leg_backup
  - module: nobloat.xen.leg_restore
"""

EXAMPLES = r"""
- name: Look at the backups
  nobloat.xen.leg_backup_info:
    volume: /srv/backup
  register: found

- name: Every leg has a backup that is not older than a day
  ansible.builtin.assert:
    that: item.generations | length > 0 and item.generations[-1].age < 86400
  loop: "{{ found.legs }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
volume:
  description: The backup volume.
  returned: success
  type: dict
  contains:
    path:
      description: Its folder.
      type: str
      sample: /srv/backup
    mounted:
      description: Whether something is mounted there.
      type: bool
      sample: true
    size:
      description: Size in bytes, null if there is no such folder.
      type: int
      sample: 107374182400
    free:
      description: Bytes that are free.
      type: int
      sample: 53687091200
legs:
  description: The legs, sorted.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the leg.
      type: str
      sample: web1-data
    generations:
      description: The manifests of the complete generations, oldest first.
      type: list
      elements: dict
      contains:
        generation:
          description: Name, which is its time in UTC.
          type: str
          sample: 20261122T020000Z
        path:
          description: Folder.
          type: str
          sample: /srv/backup/web1-data/20261122T020000Z
        age:
          description: Seconds since it was made.
          type: float
          sample: 3600.0
        guest:
          description: Name of the guest.
          type: str
          sample: web1
        disk:
          description: Name of the disk.
          type: str
          sample: data
        node:
          description: Node whose leg was backed up.
          type: str
          sample: node2
        method:
          description: V(files) or V(blocks).
          type: str
          sample: files
        time:
          description: Time of the snapshot.
          type: str
          sample: "2026-11-22T02:00:00Z"
        seconds:
          description: How long it took.
          type: float
          sample: 61.2
        size:
          description: Size of the disk in bytes.
          type: int
          sample: 21474770944
        bytes:
          description: Size of what was backed up, in bytes.
          type: int
          sample: 4294967296
        files:
          description: Number of files.
          type: int
          sample: 40312
        filesystem:
          description: Kind of file system, with method V(files).
          type: str
          sample: ext4
        snapshot_used:
          description: How full the snapshot was in the end, in percent.
          type: float
          sample: 3.5
        array:
          description: Uuid of the mirror.
          type: str
          sample: "3dbb1e41:03ff785b:340e7767:01e01dcd"
        events:
          description: Event count of the mirror at that moment.
          type: int
          sample: 1234
        digests:
          description: File with the digests of the contents, and the digest of that file.
          type: dict
          sample: {file: SHA256SUMS, algorithm: sha256, sha256: 3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b}
        state:
          description: V(complete).
          type: str
          sample: complete
    damaged:
      description: Names of generations that cannot be used, as their manifest is damaged. They are not removed by themselves.
      type: list
      elements: str
      sample: []
    working:
      description: What is being made, or was when it was killed.
      type: list
      elements: dict
      contains:
        node:
          description: Node.
          type: str
          sample: node2
        generation:
          description: Name that it will have.
          type: str
          sample: 20261123T020000Z
        phase:
          description: V(copy) or V(compare).
          type: str
          sample: copy
        percent:
          description: How much of the phase is done, null if that is not known.
          type: float
          sample: 42.0
        snapshot_used:
          description: How full the snapshot is, in percent.
          type: float
          sample: 1.5
        time:
          description: When that was so, in seconds since 1970.
          type: float
          sample: 1795399200.5
"""

import os
import shutil
import time
from typing import Any, Dict

from ansible_collections.nobloat.xen.plugins.module_utils.node.generations import Store, age
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import names

SPEC = {"volume": {"type": "path", "required": True}, "legs": {"type": "list", "elements": "str"}}


def look(module: NodeModule) -> Dict[str, Any]:
    volume, wanted, now = module.params["volume"], module.params["legs"], time.time()
    space = shutil.disk_usage(volume) if os.path.isdir(volume) else None
    legs = []
    for name in names(volume):
        store = Store(volume, name, "")
        generations = [dict(each, path=store.path(each["generation"]), age=age(each["generation"], now)) for each in store.generations()]
        working, damaged = store.progress(), store.damaged()
        if (wanted is None or name in wanted) and (generations or working or damaged):
            legs.append({"name": name, "generations": generations, "damaged": damaged, "working": working})
    return {
        "legs": legs, "volume": {
            "path": volume, "mounted": os.path.ismount(volume), "size": space.total if space else None, "free": space.free if space else 0},
    }


def main() -> None:
    NodeModule(SPEC).report(look)


if __name__ == "__main__":
    main()
