#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: leg
short_description: Logical volumes of legs on a node, empty when they are new, zeroed when they go
version_added: 1.0.0
description:
  - Makes, grows and removes the logical volumes that are halves of guests' mirrored disks. Nobody can read from a new leg, or from
    the new part of one, what was there before.
  - A leg that is removed becomes a spare volume, whose name begins with C(spare-). A worker on the node, the service
    C(nobloat-wipe), zeroes spare volumes from beginning to end in the background; it goes on after a power cut, about where it was.
    M(nobloat.xen.mirror_info) tells how far it is.
  - A new leg gets its room from spare volumes that are zeroed already. Only if there is not enough of it the module waits. Then free
    room is made a spare volume and zeroed, as nobody knows what was written there. A volume gets its name when all of
    it is zeroed, and nothing is ever written to a volume that has one; so a run may be killed at any moment, and the next goes on.
  - Zeroing is done by the kernel's C(BLKZEROOUT), which is fast where a disk has a command for it. A discard is never taken for it.
  - Thin volumes are removed and grown, too. They read as zeros where nothing was written, if their pool zeroes what it hands out.
author:
  - nobloat.xen contributors (@nobloat)
options:
  legs:
    description:
      - Several legs in one run. Each item has a C(name) and any of the other options, except O(legs), O(release) and O(wait_timeout);
        options of the task itself are for all items. An item that fails does not keep the others from being done.
    type: list
    elements: dict
  name:
    description:
      - Name of the leg, that is, of its logical volume.
    type: str
  vg:
    description:
      - Volume group of the leg.
    type: str
  state:
    description:
      - With V(present), there is such a leg, of O(size) at least.
      - With V(absent), there is none. Refused while it is exported, used by anybody on this node, or has snapshots. A leg that
        was kept, C(moved-NAME), can be removed as well.
      - With V(kept), it is no leg any more. Its data stay, in a volume C(moved-NAME). Refused as with V(absent).
      - A volume that lacks the tags of a leg, or has those of another disk, is refused in any case.
    type: str
    choices: [present, absent, kept]
    default: present
  guest:
    description:
      - Name of the guest. Needed with O(state=present); else, if it is given, the leg has to be one of it.
    type: str
  disk:
    description:
      - Name of the guest's disk, as with O(guest).
    type: str
  slot:
    description:
      - Place of the leg among those of the disk. If omitted, it is left alone.
    type: int
  size:
    description:
      - Size, such as V(20GiB) or a number of bytes, rounded up to whole stripes. A smaller leg grows; one never shrinks, and less
        than it has is refused. Needed with O(state=present).
    type: str
  stripes:
    description:
      - Number of stripes of a new volume, V(0) for as many as the volume group has disks. One that grows keeps its own.
    type: int
    default: 0
  stripe_size:
    description:
      - Size of a stripe of a new volume.
    type: str
    default: 64KiB
  wait_timeout:
    description:
      - Seconds to wait for zeroed room, for all legs together. Zeroing goes on in the background, and the next run goes on with it.
    type: int
    default: 86400
  release:
    description:
      - Volume groups in which spare volumes that are zeroed give their room back, for volumes that are no legs.
    type: list
    elements: str
extends_documentation_fragment:
  - nobloat.xen.node
requirements:
  - LVM and systemd on the node
seealso:
  - module: nobloat.xen.iscsi_export
  - module: nobloat.xen.mirror_info
"""

EXAMPLES = r"""
- name: Two legs
  nobloat.xen.leg:
    vg: vg0
    guest: web1
    legs:
      - {name: web1-data, disk: data, size: 20GiB, slot: 0}
      - {name: web1-log, disk: log, size: 4GiB, slot: 0}

- name: A leg that nobody needs any more
  nobloat.xen.leg:
    name: web1-log
    vg: vg0
    guest: web1
    disk: log
    state: absent

- name: What an earlier move has left
  nobloat.xen.leg:
    name: moved-web1-data
    vg: vg0
    state: absent

- name: Room for a volume that is no leg
  nobloat.xen.leg:
    release: [vg0]
"""

RETURN = r"""
leg:
  description: The leg as it is now, or would be in check mode; empty if there is none.
  returned: with O(name)
  type: dict
  contains:
    vg:
      description: Volume group.
      type: str
      sample: vg0
    name:
      description: Name of the volume, C(moved-NAME) with O(state=kept).
      type: str
      sample: web1-data
    device:
      description: Its path.
      type: str
      sample: /dev/vg0/web1-data
    size:
      description: Size in bytes.
      type: int
      sample: 21474836480
    stripes:
      description: Number of stripes.
      type: int
      sample: 2
    stripe_size:
      description: Size of a stripe in bytes, 0 without stripes.
      type: int
      sample: 65536
    guest:
      description: Name of the guest.
      type: str
      sample: web1
    disk:
      description: Name of its disk.
      type: str
      sample: data
    slot:
      description: Place among the legs of the disk, null if it has none.
      type: int
      sample: 0
legs:
  description: What became of each item, C(name), C(changed) and C(failed). If it did not fail, C(leg) is the leg, as in RV(leg);
    else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there is any.
  returned: with O(legs)
  type: list
  elements: dict
  sample:
    - {name: web1-data, changed: true, failed: false, leg: {name: web1-data, vg: vg0, size: 21474836480}}
spares:
  description: Bytes of the spare volumes that are zeroed and still there, by name. Empty afterwards.
  returned: with O(release)
  type: dict
  sample: {}
"""

from ansible_collections.nobloat.xen.plugins.module_utils.node.leg import LegVolumes
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {
    "legs": {"type": "list", "elements": "dict"},
    "name": {"type": "str"},
    "vg": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent", "kept"], "default": "present"},
    "guest": {"type": "str"},
    "disk": {"type": "str"},
    "slot": {"type": "int"},
    "size": {"type": "str"},
    "stripes": {"type": "int", "default": 0},
    "stripe_size": {"type": "str", "default": "64KiB"},
    "wait_timeout": {"type": "int", "default": 86400},
    "release": {"type": "list", "elements": "str"},
}


def main() -> None:
    rules = {"mutually_exclusive": [("name", "legs", "release")], "required_one_of": [("name", "legs", "release")]}
    module = NodeModule(SPEC, each=("legs", "name"), **rules)
    volumes = LegVolumes(wait_timeout=module.params["wait_timeout"])
    if module.params["release"] is not None:
        module.converge("spares", lambda _module: volumes.plan_release(module.params["release"]))
        return
    module.converge_each("leg", volumes.plan, volumes.look)


if __name__ == "__main__":
    main()
