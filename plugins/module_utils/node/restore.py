# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module leg_restore plans: a backup goes back onto both halves of a mirror, or some of its files into an archive.
Python 3.6 syntax.

Both halves are written, so that they are the same without a resync. While that goes on, their superblocks have another magic
number, which only this module knows: what is half restored cannot be started, and is not blank either. The numbers are put back
last. A restore that was killed finds them so, and goes on.
"""

import contextlib
import hashlib
import mmap
import os
import struct
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ansible_collections.nobloat.xen.plugins.module_utils.node.backup import LOCKS, MOUNTS
from ansible_collections.nobloat.xen.plugins.module_utils.node.generations import (
    CHUNK,
    FILES,
    IMAGE,
    Store,
    digest,
    sums,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Arrays, Half
from ansible_collections.nobloat.xen.plugins.module_utils.node.plan import Plan
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError
from ansible_collections.nobloat.xen.plugins.module_utils.node.snapshot import (
    Mounts,
    end_orderly,
    lock,
    own_mounts,
    supervised,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.superblock import RESTORING

# struct mdp_superblock_1 (linux/raid/md_p.h) in little endian: magic, major_version; set_uuid, level, size, raid_disks.
MAGIC, MARK = b"\xfc\x4e\x2b\xa9", RESTORING
SUPERBLOCK = 4096  # bytes
SECTOR = 512


class Direct:
    """A block device without the kernel's cache: what another machine wrote is seen, what is written is there. For `with`."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_SYNC)
        self.buffer = mmap.mmap(-1, CHUNK)  # direct transfers want memory that is aligned

    def __enter__(self) -> "Direct":
        return self

    def __exit__(self, *_error: Any) -> None:
        os.close(self.descriptor)
        self.buffer.close()

    def read(self, offset: int, size: int) -> bytes:
        """Up to a CHUNK; offset and size in whole sectors."""
        os.lseek(self.descriptor, offset, os.SEEK_SET)
        with memoryview(self.buffer) as whole, whole[:size] as part:
            if os.readv(self.descriptor, [part]) != size:
                raise NodeError(f"The device ends before {offset + size}.")
            return bytes(part)

    def write(self, offset: int, block: bytes) -> None:
        os.lseek(self.descriptor, offset, os.SEEK_SET)
        with memoryview(self.buffer) as whole, whole[:len(block)] as part:
            part[:] = block
            if os.writev(self.descriptor, [part]) != len(block):
                raise NodeError(f"The device ends before {offset + len(block)}.")


def place(size: int) -> int:
    """Where the superblock of metadata 1.0 lies on a device of some bytes (super_1_load in the kernel's md.c)."""
    return ((size // SECTOR - 16) & ~7) * SECTOR


def marked(raw: bytes, size: int) -> Optional[Half]:
    """What is known of a half that is being restored: its superblock with our magic number. `size` is that of the device."""
    if raw[:4] != MARK or struct.unpack_from("<I", raw, 4) != (1,):
        return None
    uuid = ":".join(f"{word:08x}" for word in struct.unpack_from(">4I", raw, 16))
    level, = struct.unpack_from("<i", raw, 72)
    sectors, = struct.unpack_from("<Q", raw, 80)
    devices, = struct.unpack_from("<I", raw, 92)
    # As mdadm would say it.
    return Half(f"Version : 1.0\nArray UUID : {uuid}\nRaid Level : raid{level}\nRaid Devices : {devices}\n"
                f"Array Size : {sectors // 2} KiB\nSuper Offset : {place(size) // SECTOR} sectors\n")


def inside(path: str) -> str:
    """A path of the guest, relative to the top of its disk. Raises NodeError if it leads out of it."""
    relative = os.path.normpath(path.strip("/") or ".")
    if relative.startswith(".."):
        raise NodeError(f"{path} is not on the disk.")
    return relative


class Restore:
    """One restore, as the options of a task want it."""

    def __init__(self, params: Dict[str, Any], arrays: Optional[Arrays] = None) -> None:
        self.params = params
        self.arrays = arrays or Arrays()
        self.blocks = self.arrays.blocks
        self.name = params["name"] or f"{params['guest']}-{params['disk']}"
        self.store = Store(params["volume"], self.name, params["node"])
        self.lock = None  # type: Any

    def plan(self, check_mode: bool) -> Plan:
        """What module leg_restore does. Raises NodeError for whatever can be known before the first step."""
        manifest = self.store.find(self.params["generation"])
        self.manifest = manifest
        self.text = self.store.check(manifest)
        if not check_mode:
            self.lock = lock(f"{LOCKS}/{self.name}", self.name)
        plan = Plan(f"restore of {self.name}", {})
        if self.params["archive"]:
            self._plan_archive(plan)
        else:
            self._plan_disk(plan)
        return plan

    # ---- a whole disk

    def _plan_disk(self, plan: Plan) -> None:
        manifest = self.manifest
        if manifest["method"] != "blocks":
            raise NodeError(f"Generation {manifest['generation']} was made with method {manifest['method']}. Only one made with method "
                            "blocks is a disk; files can be put back into the guest while it runs (archive).")
        self.image = self.store.path(manifest["generation"], IMAGE)
        self.sums = self.text.decode().split()
        halves = self._check_halves({path: self._half(path) for path in self.params["halves"] or []})
        different = {path: self._different(path) for path in halves}
        without = [path for path in halves if not self.arrays.half(path)]
        plan.before = {path: "as the backup" if not different[path] else "other data" for path in halves}
        plan.after = dict.fromkeys(halves, "as the backup")
        if not without and not any(different.values()):
            return
        if not self.params["overwrite"]:
            raise NodeError(f"The disk {self.name} has other data than generation {manifest['generation']}, in "
                            f"{max(map(len, different.values()))} of {len(self.sums)} parts. They would be lost; use overwrite: true if "
                            "that is what you want.")
        plan.step("compare the backup with its digests", self._check_image)
        plan.step("have signals of our own", end_orderly)
        steps = [(f"take {path} out of its mirror", partial(self._brand, path, half, MARK)) for path, half in halves.items()]
        steps += [(f"write {len(parts)} parts of {path}", partial(self._write, path, parts)) for path, parts in different.items()]
        steps += [(f"read {path} again", partial(self._verify, path)) for path in halves]
        steps += [(f"put {path} back into its mirror", partial(self._brand, path, half, MAGIC)) for path, half in halves.items()]
        for text, work in steps:
            plan.step(text, partial(self._to_the_end, work))

    def _to_the_end(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (NodeError, OSError) as error:
            raise NodeError(f"{error} The disk is half restored, and cannot be started before a restore of it is complete. Run it "
                            "again.") from error

    def _half(self, path: str) -> Optional[Half]:
        """The superblock of a half, also while it is being restored."""
        if not self.blocks.name(path):
            raise NodeError(f"{path} is not there. Both halves are written, so both nodes have to run (node_return).")
        live = self.arrays.half(path)
        if live:
            return live
        size = self.blocks.size(path)
        with Direct(path) as device:
            return marked(device.read(place(size), SUPERBLOCK), size)

    def _check_halves(self, halves: Dict[str, Optional[Half]]) -> Dict[str, Half]:
        if len(halves) < 2:
            raise NodeError("Name all halves of the mirror in halves. If one were not written, its old data would come back.")
        if len({self.blocks.identity(path) or path for path in halves}) < len(halves):
            raise NodeError(f"{' and '.join(halves)} are the same device.")
        for path, half in halves.items():
            users = self.blocks.users(path)
            if users:
                raise NodeError(f"{path} is used by {', '.join(users)}. Stop the guest first.")
            if half is None:
                raise NodeError(f"{path} carries no half of a mirror. Have the guest make one (start it once, and stop it), and try again.")
            if half.metadata != "1.0" or half.level != "raid1":
                raise NodeError(f"{path} is part of an array with level {half.level} and metadata {half.metadata}, not of a mirror with "
                                "metadata 1.0.")
            if half.size < self.manifest["size"] or half.place < half.size:
                raise NodeError(f"{path} has room for {half.size} bytes, and the backup has {self.manifest['size']}.")
        found = {path: half for path, half in halves.items() if half}
        wanted = max(half.raid_devices for half in found.values())
        if len({half.uuid for half in found.values()}) > 1 or len(found) != wanted:
            raise NodeError(f"{' and '.join(halves)} are not all halves of the same mirror, which has {wanted}.")
        return found

    def _parts(self) -> Iterator[Tuple[int, int, str]]:
        """(offset, size, digest) of all parts of the image."""
        for number, total in enumerate(self.sums):
            offset = number * CHUNK
            yield offset, min(CHUNK, self.manifest["size"] - offset), total

    def _different(self, path: str) -> List[Tuple[int, int, str]]:
        with Direct(path) as device:
            return [part for part in self._parts() if hashlib.sha256(device.read(part[0], part[1])).hexdigest() != part[2]]

    def _check_image(self) -> None:
        with open(self.image, "rb") as stream:
            for offset, size, total in self._parts():
                if hashlib.sha256(stream.read(size)).hexdigest() != total:
                    raise NodeError(f"The backup {self.image} is damaged at {offset}. Take another generation. Nothing was written.")

    def _brand(self, path: str, half: Half, magic: bytes) -> None:
        """Give a superblock its magic number, or ours. Only one sector changes, so it is there or not, whatever happens."""
        with Direct(path) as device:
            raw = device.read(half.place, SUPERBLOCK)
            if raw[:4] not in (MAGIC, MARK):
                raise NodeError(f"There is no superblock at {half.place} on {path}.")
            device.write(half.place, magic + raw[4:])
        now = self.arrays.half(path)
        if (magic == MAGIC) != bool(now) or (now and now.uuid != half.uuid):
            raise NodeError(f"The superblock of {path} is not what was written. Look at its disks.")

    def _write(self, path: str, parts: List[Tuple[int, int, str]]) -> None:
        with open(self.image, "rb") as stream, Direct(path) as device:
            for offset, size, _total in parts:
                stream.seek(offset)
                device.write(offset, stream.read(size))

    def _verify(self, path: str) -> None:
        wrong = self._different(path)
        if wrong:
            raise NodeError(f"{path} does not have what was written to it, at {wrong[0][0]} and in {len(wrong)} parts altogether. Look at "
                            "its disks.")

    # ---- files

    def _plan_archive(self, plan: Plan) -> None:
        self.path = inside(self.params["path"] or "/")
        plan.before, plan.after = {}, {"archive": self.params["archive"], "path": f"/{'' if self.path == '.' else self.path}"}
        if self.manifest["method"] == "files":
            self.top = self.store.path(self.manifest["generation"], FILES)
            if not os.path.lexists(os.path.join(self.top, self.path)):
                raise NodeError(f"There is no /{self.path} in generation {self.manifest['generation']}.")
            plan.step("compare the files with their digests", self._check_files)
            plan.step(f"write {self.params['archive']}", self._pack)
        else:
            self.image = self.store.path(self.manifest["generation"], IMAGE)
            self.sums = self.text.decode().split()
            plan.step("compare the backup with its digests", self._check_image)
            plan.step(f"write {self.params['archive']}", self._pack_image)

    def _check_files(self) -> None:
        for name, total in sums(self.text).items():
            relative = os.path.relpath(name, FILES)
            wanted = self.path == "." or relative == self.path or relative.startswith(f"{self.path}/")
            if wanted and digest(os.path.join(self.top, relative)) != total:
                raise NodeError(f"/{relative} is damaged in generation {self.manifest['generation']}. Take another one. Nothing was "
                                "restored.")

    def _pack(self) -> Dict[str, Any]:
        """An archive of the path, with owners, ACLs and extended attributes; nothing is left of one that did not get ready."""
        archive = self.params["archive"]
        if not os.path.lexists(os.path.join(self.top, self.path)):
            raise NodeError(f"There is no /{self.path} in generation {self.manifest['generation']}.")
        fresh = f"{archive}.new"
        try:
            os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            supervised(["tar", "--create", "--file", fresh, "--numeric-owner", "--xattrs", "--acls", "--sparse", "--directory", self.top,
                        "--", self.path], lambda _text: None)
            os.replace(fresh, archive)
        finally:
            if os.path.exists(fresh):
                os.unlink(fresh)
        return {"size": os.path.getsize(archive)}

    def _pack_image(self) -> Dict[str, Any]:
        """The same from an image. Its journal is replayed into a layer above it, which is thrown away."""
        end_orderly()
        own_mounts()
        name, mounts = f"backup-restore-{self.name}", Mounts(self.arrays.run)
        layer = f"{self.params['archive']}.layer"
        with contextlib.ExitStack() as stack:
            run = self.arrays.run
            run("modprobe", "-a", "loop", "dm_snapshot")
            with open(layer, "wb") as stream:
                stack.callback(os.unlink, layer)
                stream.truncate(self.manifest["size"])
            loops = []
            for options, path in ((["--read-only"], self.image), ([], layer)):
                loops.append(run("losetup", "--find", "--show", *options, path).out.strip())
                stack.callback(run, "losetup", "--detach", loops[-1])
            run("dmsetup", "create", name, "--table", f"0 {self.manifest['size'] // SECTOR} snapshot {loops[0]} {loops[1]} N 8")
            stack.callback(run, "dmsetup", "remove", "--retry", name)
            stack.callback(mounts.unmount)
            mounts.mount(f"/dev/mapper/{name}", f"{MOUNTS}/{name}")
            self.top = mounts.points[-1]
            return self._pack()
