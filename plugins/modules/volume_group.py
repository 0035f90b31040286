#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: volume_group
short_description: Make a volume group of blank disks on a node
version_added: 1.0.0
description:
  - Has a volume group of LVM with all of the disks named. Disks that it has besides stay in it.
  - A disk with anything on it, or that anybody uses, is refused.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name of the volume group.
    type: str
    required: true
  devices:
    description:
      - Paths of the disks, the same at each boot, as those in C(/dev/disk/by-id). None are needed where the group is there.
    type: list
    elements: path
    default: []
extends_documentation_fragment:
  - nobloat.xen.node
seealso:
  - module: nobloat.xen.node_legs
  - module: nobloat.xen.leg
"""

EXAMPLES = r"""
- name: A volume group for legs
  nobloat.xen.volume_group:
    name: vg0
    devices:
      - /dev/disk/by-id/wwn-0x5000c500a1b2c3d4
      - /dev/disk/by-id/wwn-0x5000c500a1b2c3d5
"""

RETURN = r"""
group:
  description: The volume group as it is now, or would be in check mode.
  returned: success
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: vg0
    size:
      description: Size in bytes.
      type: int
      sample: 2000397795328
    devices:
      description: Its disks, sorted, by the paths that LVM has for them.
      type: list
      elements: str
      sample: [/dev/sdb, /dev/sdc]
"""

from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule
from ansible_collections.nobloat.xen.plugins.module_utils.node.volume_group import VolumeGroup

SPEC = {"name": {"type": "str", "required": True}, "devices": {"type": "list", "elements": "path", "default": []}}


def main() -> None:
    module = NodeModule(SPEC)
    group = VolumeGroup(module.params["name"])
    module.converge("group", lambda _module: group.plan(module.params["devices"]), lambda _module, _planned: group.view())


if __name__ == "__main__":
    main()
