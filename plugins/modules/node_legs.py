#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: node_legs
short_description: Name the legs of mirrors on a node, and keep the node out of them
version_added: 1.0.0
description:
  - Has udev give every leg the same path on every node, C(/dev/mirror/<node>/<leg>), be it a logical volume of the node or a
    disk that another node exports. Volumes whose names begin with C(backup), C(moved-) or C(spare-) get none.
  - What is in a leg belongs to a guest. The node is kept from assembling arrays that it finds (C(AUTO -all) in mdadm's settings,
    and its udev rules that do so masked), and LVM from looking anywhere but at the node's own physical volumes.
  - Physical volumes that are there already, and lie in no leg, stay visible to LVM, by their uuid.
author:
  - nobloat.xen contributors (@nobloat)
options:
  node:
    description:
      - Name of the node, lower case letters, digits and C(-).
    type: str
    required: true
  vg:
    description:
      - Volume group of the node's legs.
    type: str
    required: true
  devices:
    description:
      - Block devices that are, or will be, the physical volumes of O(vg). Paths that stay the same over boots, as those in
        C(/dev/disk/by-id).
    type: list
    elements: path
    default: []
  lvm_accept:
    description:
      - What else LVM may look at, as regular expressions of paths; for physical volumes that will come, such as those of shared
        storage of XAPI.
    type: list
    elements: str
    default: []
  iqn_prefix:
    description:
      - What the iSCSI names of legs begin with; C(:<node>:<leg>) follows.
    type: str
    default: iqn.2026-11.xen.nobloat
extends_documentation_fragment:
  - nobloat.xen.node
seealso:
  - module: nobloat.xen.iscsi_import
  - module: nobloat.xen.mirror_info
"""

EXAMPLES = r"""
- name: Name the legs
  nobloat.xen.node_legs:
    node: node1
    vg: vg0
    devices:
      - /dev/disk/by-id/wwn-0x5000c500a1b2c3d4
      - /dev/disk/by-id/wwn-0x5000c500a1b2c3d5
"""

RETURN = r"""
files:
  description: The settings by path, as they are now, or would be in check mode. Of a link, what it leads to.
  returned: success
  type: dict
  sample:
    /etc/udev/rules.d/64-md-raid-assembly.rules: /dev/null
"""

from ansible_collections.nobloat.xen.plugins.module_utils.node.legs import Legs
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {
    "node": {"type": "str", "required": True},
    "vg": {"type": "str", "required": True},
    "devices": {"type": "list", "elements": "path", "default": []},
    "lvm_accept": {"type": "list", "elements": "str", "default": []},
    "iqn_prefix": {"type": "str", "default": "iqn.2026-11.xen.nobloat"},
}


def main() -> None:
    NodeModule(SPEC).converge("files", lambda module: Legs().plan(module.params))


if __name__ == "__main__":
    main()
