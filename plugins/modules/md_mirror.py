#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: md_mirror
short_description: Mirror the disks of a guest over two nodes
version_added: 1.0.0
description:
  - Makes and looks after a RAID1 array (md) of two or more halves, inside the guest whose disks they are. One half is a disk of
    one node, the other of another node.
  - New mirrors have their metadata at the end of the halves (version 1.0), so that each half can be read alone, a bitmap, so
    that a half that was away takes over only what has changed, and C(failfast), so that a lost half is given up soon. They keep
    no list of bad blocks, with which a half that cannot be written to would stay in the mirror. Add C(CREATE bbl=no) to
    C(mdadm.conf) where halves are added to mirrors, as role P(nobloat.xen.mirror_guest#role) does.
  - Nothing is created over a device that is not blank, and no half takes over from another that has newer data.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name of the mirror, which becomes C(/dev/md/NAME); a name like V(md0) becomes C(/dev/md0).
      - A mirror that runs is also recognised by one of its O(devices), or by the kernel's name.
    type: str
    required: true
  state:
    description:
      - With V(present), the mirror runs with all O(devices). It is created if all of them are blank, assembled if they carry it
        already; halves that are missing in it are brought back, new ones are added.
      - With V(degraded), O(devices) are taken out of the mirror (failed and removed), as before work on their node. Their place is
        kept. V(present) brings them back.
      - With V(absent), the mirror is stopped and its metadata are cleared on all of its devices. The data stay where they are on
        each half, but no longer belong together.
    type: str
    choices: [present, degraded, absent]
    default: present
  devices:
    description:
      - Paths of the halves, the same at each boot. Two paths to the same device are refused, as are halves of different size for a
        new mirror.
      - Halves that the mirror has and that are not named stay, unless O(purge=true).
    type: list
    elements: path
  purge:
    description:
      - Have exactly those halves that O(devices) names. If a new one comes for one that goes, the data are copied before the old
        one is taken out; with O(wait=false), the next run takes it out.
    type: bool
    default: false
  write_mostly:
    description:
      - Those of O(devices) that are far away, and are read only if no other can be. If omitted, it is left alone; an empty list
        clears it.
    type: list
    elements: path
  failfast:
    description:
      - Give a half up with its first error, as the kernel's own tries would only add to the stall. If omitted, it is left alone;
        new halves have it.
    type: bool
  bitmap_chunk:
    description:
      - What one bit of a new mirror's bitmap stands for, as V(1M) or V(64M). Small ones make a resync after an outage short, and
        cost a little with each write. If omitted, C(mdadm) chooses.
    type: str
  grow:
    description:
      - Grow the mirror to the size of its halves, while it is in use, without a resync of what is there already. All halves must
        have grown alike. The file system is not grown.
      - The superblock lies at the end of each half, and has to follow it. If the mirror was stopped between the growth of its
        halves and that of its own, it cannot be assembled; with this option, the superblocks are looked for and put right.
      - The bitmap is away meanwhile, as the kernel demands it. If the guest dies then, the next resync is a full one.
      - If all halves have come back by the bitmap since the mirror was assembled, the kernel takes no new bitmap; then one of them is
        taken out and copied to as a whole.
      - Refused under kernels that lose the superblock of the halves when they grow; those are 5.9 to 5.10.84 and 5.11 to 5.15.7
        (and 5.16 before its fifth candidate).
    type: bool
    default: false
  allow_degraded:
    description:
      - Go on without halves that are not there. What runs then may be older than what is not there; that is for you to know.
    type: bool
    default: false
  allow_overwrite:
    description:
      - Use new halves even if they are not blank. What is on them is lost.
    type: bool
    default: false
  force:
    description:
      - Overwrite a half that has newer data than the mirror, or data of its own (both were used alone). Without it, that is refused.
      - Grow under a kernel that is known to lose superblocks.
    type: bool
    default: false
  wait:
    description:
      - Wait until the halves are the same again.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds to wait before the module fails. The resync goes on.
    type: int
    default: 3600
extends_documentation_fragment:
  - nobloat.xen.node
requirements:
  - mdadm and wipefs (util-linux) in the guest
seealso:
  - module: nobloat.xen.iscsi_import
  - module: nobloat.xen.mirror_info
"""

EXAMPLES = r"""
- name: Mirror the two disks; the second one is on the other node
  nobloat.xen.md_mirror:
    name: data
    devices:
      - /dev/xvdb
      - /dev/xvdc
    write_mostly:
      - /dev/xvdc

- name: Before work on the node of the second half
  nobloat.xen.md_mirror:
    name: data
    state: degraded
    devices:
      - /dev/xvdc

- name: Bring it back, and wait for what it has missed
  nobloat.xen.md_mirror:
    name: data
    devices:
      - /dev/xvdb
      - /dev/xvdc

- name: Start with the only half that is left
  nobloat.xen.md_mirror:
    name: data
    devices:
      - /dev/xvdb
      - /dev/xvdc
    allow_degraded: true

- name: Move the second half to a third node
  nobloat.xen.md_mirror:
    name: data
    devices:
      - /dev/xvdb
      - /dev/xvdd
    purge: true

- name: Use the space of halves that have grown
  nobloat.xen.md_mirror:
    name: data
    grow: true
"""

RETURN = r"""
mirror:
  description: The mirror as it is now, or would be in check mode; empty if there is none.
  returned: success
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: data
    device:
      description: Path of the mirror.
      type: str
      sample: /dev/md/data
    uuid:
      description: Unique identifier, as C(mdadm) writes it.
      type: str
      sample: "3dbb1e41:03ff785b:340e7767:01e01dcd"
    level:
      description: RAID level.
      type: str
      sample: raid1
    metadata:
      description: Version of the metadata.
      type: str
      sample: "1.0"
    size:
      description: Size in bytes.
      type: int
      sample: 21474770944
    raid_devices:
      description: Number of halves that it should have.
      type: int
      sample: 2
    degraded:
      description: Number of halves that are missing or incomplete.
      type: int
      sample: 0
    healthy:
      description: Whether all halves are complete, without bad blocks, and nothing is being resynchronised.
      type: bool
      sample: true
    state:
      description: State of the array in the kernel, such as V(clean), V(active) or V(inactive).
      type: str
      sample: clean
    sync_action:
      description: What is being done, V(idle), V(resync), V(recover), V(check) or V(repair).
      type: str
      sample: idle
    progress:
      description: How much of that is done, in percent; null without one.
      type: float
      sample: 42.5
    bitmap:
      description: Whether it has a bitmap.
      type: bool
      sample: true
    growth_guard:
      description: Why O(grow) is refused under this kernel; empty if it is not.
      type: str
      sample: ""
    mismatches:
      description: Sectors that differed in the last check.
      type: int
      sample: 0
    members:
      description: The halves, sorted.
      type: list
      elements: dict
      contains:
        device:
          description: Path, as named in O(devices).
          type: str
          sample: /dev/xvdb
        state:
          description: V(active), V(rebuilding), V(spare) or V(faulty).
          type: str
          sample: active
        write_mostly:
          description: Whether it is read only if no other can be.
          type: bool
          sample: false
        failfast:
          description: Whether it is given up with its first error.
          type: bool
          sample: true
        slot:
          description: Its place, null without one.
          type: int
          sample: 0
        size:
          description: Size of the device in bytes.
          type: int
          sample: 21474836480
        errors:
          description: Number of errors that were corrected on it.
          type: int
          sample: 0
        bad_blocks:
          description: Bytes that the kernel has noted as not readable on it.
          type: int
          sample: 0
"""

from typing import Any, Dict

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Arrays
from ansible_collections.nobloat.xen.plugins.module_utils.node.mirror import Mirror
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "degraded", "absent"], "default": "present"},
    "devices": {"type": "list", "elements": "path"},
    "purge": {"type": "bool", "default": False},
    "write_mostly": {"type": "list", "elements": "path"},
    "failfast": {"type": "bool"},
    "bitmap_chunk": {"type": "str"},
    "grow": {"type": "bool", "default": False},
    "allow_degraded": {"type": "bool", "default": False},
    "allow_overwrite": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 3600},
}


def plan(module: NodeModule) -> ChangeSet:
    return Mirror(Arrays(), module.params).plan()


def afterwards(module: NodeModule, _planned: ChangeSet) -> Dict[str, Any]:
    mirror = Mirror(Arrays(), module.params)
    mirror.wait()
    if mirror.params["grow"] and mirror.params["wait"] and mirror.params["state"] == "present":
        Mirror(Arrays(), module.params).plan().apply()  # what had to be assembled first grows now
    return mirror.view()


def main() -> None:
    NodeModule(SPEC).converge("mirror", plan, afterwards)


if __name__ == "__main__":
    main()
