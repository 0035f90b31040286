#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: backup_volume
short_description: Make the volume that backups of legs lie on
version_added: 1.0.0
description:
  - Has a logical volume on a node, with a file system as large as it, mounted now and after each boot. It is mounted so that nothing of
    what guests have made there can be run.
  - If the volume group has too little room, it takes that which is kept zeroed for new legs.
  - A volume is never made smaller, and nothing is made over what is there.
author:
  - nobloat.xen contributors (@nobloat)
options:
  vg:
    description:
      - Volume group.
    type: str
    required: true
  name:
    description:
      - Name of the volume. It begins with V(backup), as names of legs never do.
    type: str
    default: backup
  size:
    description:
      - Size, as V(100GiB) or V(100g). A volume that is larger stays as it is.
    type: str
    required: true
  filesystem:
    description:
      - Kind of file system, V(ext2), V(ext3), V(ext4), V(xfs), V(btrfs) or V(f2fs).
    type: str
    default: ext4
  path:
    description:
      - Where it is mounted.
    type: path
    required: true
extends_documentation_fragment:
  - nobloat.xen.node
requirements:
  - LVM, and the programs of the file system, on the node
seealso:
  - module: nobloat.xen.leg_backup
"""

EXAMPLES = r"""
- name: Room for backups
  nobloat.xen.backup_volume:
    vg: vg0
    size: 300GiB
    filesystem: xfs
    path: /srv/backup
"""

RETURN = r"""
volume:
  description: The volume as it is now, or would be in check mode.
  returned: success
  type: dict
  contains:
    device:
      description: Its device.
      type: str
      sample: /dev/vg0/backup
    size:
      description: Size in bytes.
      type: int
      sample: 322122547200
    filesystem:
      description: Its file system.
      type: str
      sample: xfs
    path:
      description: Where it is mounted.
      type: str
      sample: /srv/backup
"""

from ansible_collections.nobloat.xen.plugins.module_utils.node.backup_volume import BackupVolume
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {
    "vg": {"type": "str", "required": True},
    "name": {"type": "str", "default": "backup"},
    "size": {"type": "str", "required": True},
    "filesystem": {"type": "str", "default": "ext4"},
    "path": {"type": "path", "required": True},
}


def main() -> None:
    module = NodeModule(SPEC)
    volume = BackupVolume(module.params)
    module.converge("volume", lambda _module: volume.plan(), lambda _module, _planned: volume.view())


if __name__ == "__main__":
    main()
