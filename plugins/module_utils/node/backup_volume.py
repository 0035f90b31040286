# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The volume that backups lie on: a logical volume, its file system, its place. Python 3.6 syntax."""

from functools import partial
from typing import Any, Callable, Dict

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.file_system import KINDS, FileSystem
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Arrays
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, Result, run
from ansible_collections.nobloat.xen.plugins.module_utils.node.snapshot import Volumes
from ansible_collections.nobloat.xen.plugins.module_utils.node.spares import SETTINGS, report
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_bytes

OPTIONS = "nofail,nodev,nosuid,noexec"  # what a guest has made lies there


class BackupVolume:
    """One of this node. `root` is another folder than / in tests, and `command` runs nothing there."""

    def __init__(self, params: Dict[str, Any], root: str = "/", command: Callable[..., Result] = run) -> None:
        self.params, self.run, self.volumes = params, command, Volumes(command)
        self.vg, self.name, self.path, self.wanted = params["vg"], params["name"], params["path"], params["filesystem"]
        self.system = FileSystem(f"/dev/{self.vg}/{self.name}", root, command)
        self.arrays = Arrays(root, command)

    def view(self) -> Dict[str, Any]:
        found = self.volumes.find(self.vg, self.name)
        if not found:
            return {}
        return {"device": self.system.device, "size": found["size"], "filesystem": self.system.kind(), "path": self.system.place()}

    def plan(self) -> ChangeSet:
        """Raises NodeError for whatever can be known before the first step."""
        before = self.view()
        plan = ChangeSet(f"backup volume {self.name}", before)
        size = self._plan_volume(plan, before)
        kind = before.get("filesystem", "")
        if before and not kind:
            dirt = self.arrays.dirt(self.system.device)
            if dirt:
                raise NodeError(f"{self.system.device} has no file system and is not blank: {dirt}. Wipe it, or take another name.")
        if kind and kind != self.wanted:
            raise NodeError(f"There is the file system {kind} on {self.system.device}, not {self.wanted}. Say so, or take another name.")
        if not kind:
            plan.step(f"make the file system {self.wanted}", partial(self.system.make, self.wanted))
        self.system.plan_mount(plan, self.path, self.wanted, OPTIONS)
        if kind:
            self.system.plan_growth(plan, kind, size)
        if plan.steps:
            plan.after = {"device": self.system.device, "size": size, "filesystem": self.wanted, "path": self.path}
        return plan

    def _plan_volume(self, plan: ChangeSet, before: Dict[str, Any]) -> int:
        """Its size then."""
        try:
            wanted = to_bytes(self.params["size"])
        except ValueError as error:
            raise NodeError(f"size: {error}") from error
        if not self.name.startswith("backup"):
            raise NodeError(f"The name of a backup volume begins with backup, as names of legs never do; {self.name} does not.")
        if self.wanted not in KINDS:
            raise NodeError(f"A backup volume has one of the file systems {', '.join(KINDS)}; {self.wanted} is none of them.")
        group = next((row for row in report(self.run, "vgs", "vg", "vg_name,vg_extent_size,vg_free") if row["vg_name"] == self.vg), None)
        if not group:
            raise NodeError(f"There is no volume group {self.vg} on this node.")
        extent, free = int(group["vg_extent_size"]), int(group["vg_free"])
        wanted = -(-wanted // extent) * extent
        lacking = wanted - before.get("size", 0)
        if lacking <= 0:
            return int(before["size"])
        room = self.volumes.spares.room(self.vg)
        if lacking > free + room:
            raise NodeError(f"Volume group {self.vg} has {free + room} bytes left, and {lacking} are needed. Make room, or take a smaller "
                            "size.")
        if lacking > free:
            # What was kept zeroed for new legs.
            plan.step(f"give back room of {self.vg}", partial(self._release, lacking - free))
        if before:
            plan.step(f"enlarge {self.system.device} to {wanted} bytes", partial(self._lvm, "lvextend", "--size", f"{wanted}b"))
        else:
            make = partial(self.run, "lvcreate", "--yes", *SETTINGS, "--name", self.name, "--size", f"{wanted}b", self.vg)
            plan.step(f"create {self.system.device} of {wanted} bytes", make, partial(self._lvm, "lvremove", "--force"))
        return wanted

    def _release(self, size: int) -> None:
        spares = self.volumes.spares
        spares.locked(lambda: spares.release(self.vg, size))

    def _lvm(self, command: str, *words: str) -> None:
        self.run(command, *SETTINGS, *words, f"{self.vg}/{self.name}")
