# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file system of our own on a device: made where nothing is, grown with its device, mounted. Python 3.6 syntax."""

import os
import re
import struct
from functools import partial
from typing import Any, Callable, Dict

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.exports import write_file
from ansible_collections.nobloat.xen.plugins.module_utils.node.files import text
from ansible_collections.nobloat.xen.plugins.module_utils.node.freeze import place_of
from ansible_collections.nobloat.xen.plugins.module_utils.node.mounts import Mounts
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, Result, read, run

KINDS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs")
# At the end of a device there may be less than a group of blocks of ext4, which it cannot use.
WASTE = 8 << 20
LONG = 24 * 3600
FSTAB = "etc/fstab"


def size_of(device: str, kind: str) -> int:
    """The size in bytes that a file system's superblock says. From the documentation of each: ext4_super_block, xfs_dsb,
    btrfs_super_block (dev_item.total_bytes), f2fs_super_block."""
    start = 0x10000 if kind == "btrfs" else 0 if kind == "xfs" else 1024
    with open(device, "rb") as stream:
        stream.seek(start)
        raw = stream.read(1024)

    def field(form: str, offset: int) -> int:
        return int(struct.unpack_from(form, raw, offset)[0])

    if kind == "xfs":
        return field(">I", 4) * field(">Q", 8)
    if kind == "btrfs":
        return field("<Q", 0xC9 + 8)
    if kind == "f2fs":
        return field("<Q", 36) << field("<I", 16)
    high = field("<I", 0x150) if field("<I", 0x60) & 0x80 else 0
    return (field("<I", 4) | high << 32) << (10 + field("<I", 0x18))


class FileSystem:
    """What is on one device. `root` is another folder than / in tests, and `command` runs nothing there."""

    def __init__(self, device: str, root: str = "/", command: Callable[..., Result] = run) -> None:
        self.device, self.root, self.run = device, root, command
        self.blocks = Blocks(root)

    def kind(self) -> str:
        return Mounts(self.run).kind(self.device)

    def place(self) -> str:
        """Where it is mounted; "" if it is not."""
        return place_of(self.blocks.number(self.device), read(self.root, "proc/self/mountinfo"))

    def plan_growth(self, plan: ChangeSet, kind: str, size: int) -> None:
        """Have it as large as its device, which is `size` bytes then."""
        if kind in KINDS and size - size_of(self.device, kind) >= WASTE:
            plan.step(f"grow the file system on {self.device}", partial(self.grow, kind))

    def grow(self, kind: str) -> None:
        """Have it as large as its device. Raises NodeError."""
        place = self.place()
        if kind.startswith("ext"):
            if not place:
                self.run("e2fsck", "-f", "-p", self.device, timeout=LONG, codes=(0, 1))
            self.run("resize2fs", self.device, timeout=LONG)
        elif kind == "f2fs":
            if place:
                raise NodeError(f"f2fs is not grown while it is mounted. Unmount {place}, and run this again.")
            self.run("resize.f2fs", self.device, timeout=LONG)
        elif not place:
            raise NodeError(f"{kind} is grown only while it is mounted. Mount {self.device}, and run this again.")
        elif kind == "xfs":
            self.run("xfs_growfs", place, timeout=LONG)
        else:
            self.run("btrfs", "filesystem", "resize", "max", place, timeout=LONG)

    def make(self, kind: str) -> None:
        self.run(f"mkfs.{kind}", "-q", self.device, timeout=LONG)

    def plan_mount(self, plan: ChangeSet, path: str, kind: str, options: str) -> None:
        """Have it mounted at `path`, also after a boot."""
        old = text(self.root, FSTAB) or ""
        wanted = " ".join([self.device, path, kind, options, "0", "0"])
        lines = old.splitlines()
        own = [place for place, line in enumerate(lines) if not line.lstrip().startswith("#") and line.split()[1:2] == [path]]
        if [lines[place].split() for place in own] != [wanted.split()]:
            kept = [line for place, line in enumerate(lines) if place not in own[1:]]
            kept[own[0] if own else len(kept):(own[0] + 1) if own else len(kept)] = [wanted]
            write = partial(write_file, os.path.join(self.root, FSTAB))
            plan.step(f"write that to /{FSTAB}", partial(write, "\n".join(kept) + "\n", 0o644), partial(write, old, 0o644))
        place = self.place() if self.blocks.number(self.device) else ""
        if place and place != path:
            raise NodeError(f"{self.device} is mounted on {place}, not on {path}. Unmount it there.")
        if not place:
            if re.search(rf"^\S+ \S+ \S+ \S+ {re.escape(path)} ", read(self.root, "proc/self/mountinfo"), re.M):
                raise NodeError(f"Something else than {self.device} is mounted on {path}. Unmount it.")
            plan.step(f"mount it on {path}", partial(self.mount, path, kind, options), partial(self.run, "umount", path))

    def mount(self, path: str, kind: str, options: str) -> None:
        os.makedirs(os.path.join(self.root, path.lstrip("/")), exist_ok=True)
        self.run("mount", "-t", kind, "-o", options, self.device, path, timeout=600)


class OfMirror:
    """The file system on a guest's mirror."""

    def __init__(self, device: str, root: str = "/", command: Callable[..., Result] = run) -> None:
        self.system, self.root, self.run = FileSystem(device, root, command), root, command

    def view(self) -> Dict[str, Any]:
        device = self.system.device
        size = self.system.blocks.size(device)
        if not size:
            raise NodeError(f"There is no mirror {device} that runs.")
        kind = self.system.kind()
        return {"device": device, "filesystem": kind, "path": self.system.place(), "size": size_of(device, kind) if kind in KINDS else 0}

    def plan(self) -> ChangeSet:
        """Have it mounted if /etc/fstab wants that, as a guest that has died meanwhile has started without it; and grown."""
        before, device = self.view(), self.system.device
        plan = ChangeSet(f"file system on {device}", before)
        wanted = [line.split()[1] for line in (text(self.root, FSTAB) or "").splitlines() if line.split()[:1] == [device]]
        if wanted and not before["path"]:
            plan.after["path"] = wanted[0]
            plan.step(f"mount {device}", partial(self.run, "mount", device, timeout=600), partial(self.run, "umount", device))
        steps = len(plan.steps)
        self.system.plan_growth(plan, before["filesystem"], self.system.blocks.size(device))
        if len(plan.steps) > steps:
            plan.after["size"] = self.system.blocks.size(device)
        return plan
