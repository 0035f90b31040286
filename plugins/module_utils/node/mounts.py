# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File systems of guests, to read them on a node. Python 3.6 syntax.

The guest has made every byte of them. The node's kernel gets only one that is clean, and reads it: no journal is replayed by it and
nothing is written. What is not clean is made so by e2fsck, or refused.
"""

import ctypes
import os
import struct
from typing import Callable, List

from ansible_collections.nobloat.xen.plugins.module_utils.node.generations import libc
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, Result, run
from ansible_collections.nobloat.xen.plugins.module_utils.node.snapshot import supervised

CLONE_NEWNS = 0x00020000
OPTIONS = "ro,nodev,nosuid,noexec,noatime"
# A superblock can ask for errors=panic.
KINDS = {"ext2": "errors=continue", "ext3": "noload,errors=continue", "ext4": "noload,errors=continue", "xfs": "norecovery,nouuid"}
# struct ext4_super_block, Documentation/filesystems/ext4/super.rst.
MAGIC, VALID, ERRORS, HAS_JOURNAL, RECOVER = 0xEF53, 1, 2, 4, 4
OTHER_WAY = "Back it up with method blocks, or have the role freeze it in the guest (mirror_backup_freeze)."


def own_mounts() -> None:
    """Have a mount table of our own: what is mounted from now on is seen by nobody else, and gone when we and our children are."""
    if libc.unshare(CLONE_NEWNS):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "mount namespace")
    run("mount", "--make-rprivate", "/")


def ext_clean(device: str) -> bool:
    """Whether an ext file system has nothing in its journal that belongs elsewhere, and knows of no error. Raises NodeError for one whose
    journal is on another device: the guest has chosen which."""
    with open(device, "rb") as stream:
        stream.seek(1024)
        raw = stream.read(1024)

    def field(offset: int, form: str) -> int:
        return int(struct.unpack_from(form, raw, offset)[0])

    if len(raw) < 1024 or field(0x38, "<H") != MAGIC:
        raise NodeError(f"There is no superblock of an ext file system on {device}.")
    if field(0x5C, "<I") & HAS_JOURNAL and not field(0xE0, "<I"):
        raise NodeError(f"The journal of the file system on {device} is on another device. {OTHER_WAY}")
    return not field(0x60, "<I") & RECOVER and field(0x3A, "<H") & (VALID | ERRORS) == VALID


class Mounts:
    """Mounts that only we see."""

    def __init__(self, command: Callable[..., Result] = run) -> None:
        self.run = command
        self.points: List[str] = []

    def kind(self, device: str) -> str:
        """The file system on a device, whatever else is on it; "" if there is none."""
        out = self.run("blkid", "-p", "-u", "filesystem", "-o", "export", device, codes=(0, 2)).out
        return dict(line.partition("=")[::2] for line in out.splitlines()).get("TYPE", "")

    def clean(self, device: str, kind: str, frozen: bool = False, watch: Callable[[str], None] = lambda _text: None) -> None:
        """Have a file system clean that nobody else needs unchanged. Raises NodeError for what only a kernel could make so.

        `frozen`: it was when this copy was made. Then all of it is in its place, which an ext file system notes by itself.
        """
        if kind not in KINDS:
            raise NodeError(f"There is {f'the file system {kind}' if kind else 'no file system'} on the leg, and files can be read from "
                            f"{', '.join(sorted(KINDS))} only. Take method: blocks.")
        if kind == "xfs":
            if not frozen and "<CLEAN>" not in self.run("xfs_logprint", "-t", device, timeout=600).out:
                raise NodeError("The file system xfs was in use and not frozen. Its log can only be replayed by a kernel, and that of the "
                                f"node does not touch what a guest has made. {OTHER_WAY}")
            return
        if ext_clean(device):
            return
        try:
            supervised(["e2fsck", "-f", "-p", device], watch, codes=(0, 1))
        except NodeError as error:
            raise NodeError(f"The file system {kind} was in use and not frozen, and cannot be made clean: {error}. {OTHER_WAY}") from error
        if not ext_clean(device):
            raise NodeError(f"The file system {kind} is not clean after e2fsck. Check it in the guest. {OTHER_WAY}")

    def mount(self, device: str, point: str, kind: str) -> None:
        """Mount what is clean, to read it."""
        os.makedirs(point, exist_ok=True)
        try:
            self.run("mount", "-t", kind, "-o", f"{OPTIONS},{KINDS[kind]}", device, point, timeout=600)
        except NodeError:
            os.rmdir(point)
            raise
        self.points.append(point)

    def unmount(self) -> None:
        while self.points:
            self.run("umount", self.points[-1], timeout=600)
            os.rmdir(self.points.pop())
