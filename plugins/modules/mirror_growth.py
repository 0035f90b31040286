#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mirror_growth
short_description: Grow the file system on a mirror to the mirror's size
version_added: 1.0.0
description:
  - Runs in a guest. A file system that C(/etc/fstab) has for the mirror is mounted if it is not, and one of kind ext2, ext3, ext4, xfs,
    btrfs or f2fs is grown to the size of the mirror, while it is in use (f2fs only while it is not). Whatever else is on the mirror is left
    alone.
author:
  - nobloat.xen contributors (@nobloat)
options:
  device:
    description:
      - Path of the mirror, as C(/etc/fstab) has it.
    type: path
    required: true
extends_documentation_fragment:
  - nobloat.xen.node
requirements:
  - blkid (util-linux), and the programs of the file system, in the guest
seealso:
  - module: nobloat.xen.md_mirror
"""

EXAMPLES = r"""
- name: Use the space of a mirror that has grown
  nobloat.xen.mirror_growth:
    device: /dev/md/data
"""

RETURN = r"""
file_system:
  description: The file system as it is now, or would be in check mode.
  returned: success
  type: dict
  contains:
    device:
      description: The mirror.
      type: str
      sample: /dev/md/data
    filesystem:
      description: Its kind, empty if there is none.
      type: str
      sample: ext4
    path:
      description: Where it is mounted, empty if it is not.
      type: str
      sample: /srv
    size:
      description: Its size in bytes, 0 where it is of another kind.
      type: int
      sample: 21474770944
"""

from ansible_collections.nobloat.xen.plugins.module_utils.node.file_system import OfMirror
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {"device": {"type": "path", "required": True}}


def main() -> None:
    module = NodeModule(SPEC)
    system = OfMirror(module.params["device"])
    module.converge("file_system", lambda _module: system.plan(), lambda _module, _planned: system.view())


if __name__ == "__main__":
    main()
