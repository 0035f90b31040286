# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The volume group of a node's legs, made of blank disks. Python 3.6 syntax."""

from functools import partial
from typing import Any, Callable, Dict, List

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.info import Node
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, Result, run
from ansible_collections.nobloat.xen.plugins.module_utils.node.spares import SETTINGS


class VolumeGroup:
    """One of this node. `root` is another folder than / in tests, and `command` runs nothing there."""

    def __init__(self, name: str, root: str = "/", command: Callable[..., Result] = run) -> None:
        self.name, self.run, self.node = name, command, Node(root, command)

    def view(self) -> Dict[str, Any]:
        found = [group for group in self.node.groups([self.name]) if group["name"] == self.name]
        return {"name": self.name, "size": found[0]["size"], "devices": [pv["device"] for pv in found[0]["pvs"]]} if found else {}

    def plan(self, devices: List[str]) -> ChangeSet:
        """Have all of these disks in it. Those that it has besides stay. Raises NodeError for one that is not blank."""
        before = self.view()
        plan = ChangeSet(f"volume group {self.name}", before)
        disks = self.node.disks(devices)
        missing = [disk["device"] for disk in disks if disk["vg"] != self.name]
        self._refuse(before, [disk for disk in disks if disk["vg"] != self.name], devices)
        if missing:
            plan.after = dict(before or {"name": self.name}, devices=sorted({*before.get("devices", []), *missing}))
        for device in missing:
            plan.step(f"have {device} as a physical volume", partial(self._lvm, "pvcreate", "--yes", device),
                      partial(self._lvm, "pvremove", device))
        if missing and before:
            plan.step(f"add {', '.join(missing)} to {plan.title}", partial(self._lvm, "vgextend", self.name, *missing),
                      partial(self._lvm, "vgreduce", self.name, *missing))
        elif missing:
            plan.step(f"create {plan.title}", partial(self._lvm, "vgcreate", self.name, *missing),
                      partial(self._lvm, "vgremove", self.name))
        return plan

    def _refuse(self, before: Dict[str, Any], strangers: List[Dict[str, Any]], devices: List[str]) -> None:
        if not before and not devices:
            raise NodeError(f"There is no volume group {self.name}, and no disks are named to make it of.")
        for disk in strangers:
            wrong = ("it is not a block device of this node" if disk["size"] is None
                     else f"it belongs to the volume group {disk['vg']}" if disk["vg"]
                     else f"it is used by {', '.join(disk['users'])}" if disk["users"] else disk["content"])
            if wrong:
                raise NodeError(f"{disk['device']} cannot become part of {self.name}: {wrong}. To use it nevertheless, wipe it yourself "
                                "(wipefs --all, and its first and last mebibyte).")

    def _lvm(self, command: str, *words: str) -> None:
        self.run(command, *SETTINGS, *words)
