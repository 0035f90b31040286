# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of legs: what module leg_backup plans. Python 3.6 syntax.

A snapshot of one leg of a complete mirror is the guest's disk as a power cut at that moment would have left it. Its superblock
is at its end, so that it can be read as it is.
"""

import errno
import hashlib
import itertools
import json
import os
import shutil
import time
from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.generations import (
    CHUNK,
    FILES,
    IMAGE,
    PROGRESS,
    SUMS,
    Store,
    age,
    digest,
    digests,
    flush,
    next_name,
    sum_line,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Arrays, Half
from ansible_collections.nobloat.xen.plugins.module_utils.node.mounts import Mounts, own_mounts
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import CommandError, NodeError, read
from ansible_collections.nobloat.xen.plugins.module_utils.node.snapshot import (
    Snapshot,
    Volumes,
    end_orderly,
    lock,
    supervised,
)

MOUNTS = "/run/nobloat/mounts"
RSYNC = ("rsync", "-aHAX", "--numeric-ids", "--sparse", "--delete")
HOLE = 64 << 10  # bytes of zeros that become a hole


def filled(block: bytes) -> Iterator[Tuple[int, bytes]]:
    """The parts of a block that are more than zeros, with their places."""
    zeros = bytes(HOLE)
    for start in range(0, len(block), HOLE):
        part = block[start:start + HOLE]
        if part != zeros[:len(part)]:
            yield start, part


def flaw(halves: Dict[str, Optional[Half]]) -> str:
    """Why the halves of a mirror, {path: superblock}, are not all complete copies of the same; "" if they are.

    A resync of halves that both have all that was acknowledged (after a power cut of the guest) cannot be told from a mirror
    that is being written to.
    """
    for path, half in halves.items():
        if half is None:
            return f"{path} is not there, or carries no half of a mirror"
        if half.level != "raid1" or half.metadata != "1.0":
            return f"{path} is part of an array with level {half.level} and metadata {half.metadata}, not of a mirror with metadata 1.0"
        if half.incomplete:
            return f"{path} is being resynchronised, or was when it was last heard of"
    found = [half for half in halves.values() if half]
    if len({half.uuid for half in found}) > 1:
        return f"{' and '.join(halves)} are not halves of the same mirror"
    for path, half in halves.items():
        if half and half.members.strip("A"):
            return f"{path} says that another half is missing"
    if found and len(found) < found[0].raid_devices:
        return f"the mirror has {found[0].raid_devices} halves, and {len(found)} of them are known here"
    if max(half.events for half in found) - min(half.events for half in found) > 1:
        counts = ", ".join(f"{half.events} of {path}" for path, half in halves.items() if half)
        return f"one half is older than the other (event counts {counts})"
    return ""


def stale(own: Half, others: Dict[str, Optional[Half]]) -> str:
    """Why a leg must not stand for the whole mirror even where a degraded one may be backed up; "" if it may."""
    if own.incomplete or own.level != "raid1" or own.metadata != "1.0":
        return "it is no complete half of a mirror"
    for path, half in others.items():
        if half and half.uuid == own.uuid and (half.events > own.events + 1 or half.misses(own)):
            return f"{path} has newer data"
    return ""


class Backup:
    """One backup of one leg, as the options of a task want it."""

    def __init__(self, params: Dict[str, Any], arrays: Optional[Arrays] = None, volumes: Optional[Volumes] = None) -> None:
        self.params = params
        self.arrays = arrays or Arrays()
        self.volumes = volumes or Volumes(self.arrays.run)
        self.mounts = Mounts(self.arrays.run)
        self.name = params["name"] or f"{params['guest']}-{params['disk']}"
        self.store = Store(params["volume"], self.name, params["node"])
        self.partial = self.store.partial
        self.manifest = {}  # type: Dict[str, Any]
        self.lines = []  # type: List[bytes]
        self.phase, self.total, self.done, self.told = "", 0, 0, 0.0
        self.lock = None  # type: Any

    # ---- plan

    def plan(self, check_mode: bool) -> ChangeSet:
        """What module leg_backup does. Raises NodeError for whatever can be known before the first step."""
        known = [each["generation"] for each in self.store.generations()]
        plan = ChangeSet(f"backup of {self.name}", {"generations": known})
        leg = self.volumes.find(self.params["vg"], self.name)
        if not leg:
            raise NodeError(f"There is no logical volume {self.name} in volume group {self.params['vg']} of this node.")
        self.snapshot = Snapshot(self.volumes, leg)
        self.point = os.path.join(MOUNTS, self.snapshot.name)
        if not check_mode:
            self.lock = lock(self.arrays.blocks.root, self.name)
        self._plan_leftovers(plan)
        if self.params["state"] != "clean":
            self._plan_backup(plan, leg, known)
        return plan

    def _plan_leftovers(self, plan: ChangeSet) -> None:
        there, taken = self.snapshot.uuid(), self.params["snapshot"]
        if taken and taken != there:
            raise NodeError(f"The snapshot {taken} of {self.name} is gone: another backup has removed it. Run it again.")
        for path in self.store.leftovers():
            plan.step(f"remove {path}", partial(self.store.remove, path))
        if there and not taken:
            plan.step(f"remove the snapshot {self.snapshot.name} of a killed backup", self.snapshot.remove)
        if os.path.isdir(self.point):
            plan.step(f"remove {self.point}", partial(os.rmdir, self.point))

    def _plan_prune(self, plan: ChangeSet, known: List[str], coming: int) -> None:
        if self.params["keep"] < 1:
            raise NodeError("keep has to be 1 at least: the last backup is not removed.")
        gone = self.store.excess(self.params["keep"], coming)
        plan.after["generations"] = [each for each in plan.after["generations"] if each not in gone]
        if gone:
            names = ", ".join(gone)
            plan.step(f"remove {names}", partial(self.store.prune, self.params["keep"]), gone=f"the generations {names}")

    def _plan_backup(self, plan: ChangeSet, leg: Dict[str, Any], known: List[str]) -> None:
        params = self.params
        self._check_volume(leg)
        half = self._check_mirror(plan)
        if known and params["max_age"] and age(known[-1], time.time()) < params["max_age"]:
            if params["snapshot"]:
                plan.step("remove the snapshot", self.snapshot.remove)
            self._plan_prune(plan, known, 0)
            return
        if not self.snapshot.exists():  # a leftover one gives its room back first
            self.snapshot.check(params["snapshot_size"])
        if params["state"] == "snapshotted":
            plan.step("have signals of our own", end_orderly)
            plan.step(f"snapshot {leg['name']}", partial(self.snapshot.make, params["snapshot_size"]), self.snapshot.remove)
            plan.step("see which one it is", lambda: plan.facts.update(snapshot=self.snapshot.uuid()))
            return
        generation = next_name(known, time.time())
        self.manifest = {
            "guest": params["guest"], "disk": params["disk"], "node": params["node"], "leg": f"{leg['vg']}/{leg['name']}",
            "generation": generation, "method": params["method"], "size": half.size, "array": half.uuid, "version": 1}
        plan.after["generations"] = [*known, generation]
        plan.step("have signals of our own", end_orderly)
        if params["snapshot"]:
            plan.step("take the snapshot that is there", lambda: None, self.snapshot.remove)
        else:
            plan.step(f"snapshot {leg['name']}", partial(self.snapshot.make, params["snapshot_size"]), self.snapshot.remove)
        plan.step(f"make {self.partial}", partial(self._guarded, self._begin), partial(self.store.remove, self.partial))
        plan.step("look at the snapshot", self._check_snapshot)
        if params["method"] == "files":
            plan.step("make the file system in the snapshot clean", self._clean)
            plan.step("mount the snapshot", self._mount, self.mounts.unmount)
            plan.step("copy the files", partial(self._guarded, self._copy_files))
            plan.step("compare the files", partial(self._guarded, self._verify_files))
            plan.step("unmount the snapshot", self.mounts.unmount)
        else:
            plan.step("copy the blocks", partial(self._guarded, self._copy_blocks))
            plan.step("compare the blocks", partial(self._guarded, self._verify_blocks))
        # Only a snapshot that is whole after the last byte was read has been so all the time.
        plan.step("look at the snapshot again", self._finish_snapshot)
        plan.step("remove the snapshot", self.snapshot.remove)
        plan.step(f"complete {generation}", partial(self._guarded, self._complete))
        self._plan_prune(plan, known, 1)

    def _check_volume(self, leg: Dict[str, Any]) -> None:
        volume = self.params["volume"]
        if not os.path.isdir(volume):
            raise NodeError(f"There is no folder {volume} for backups on this node.")
        if self.params["require_mount"] and not os.path.ismount(volume):
            raise NodeError(f"Nothing is mounted on {volume}: the backup would fill the node's own disk. Mount the backup volume, or use "
                            "require_mount: false.")
        device = f"/dev/{leg['vg']}/{leg['name']}"
        if self.arrays.blocks.number(device) == f"{os.major(os.stat(volume).st_dev)}:{os.minor(os.stat(volume).st_dev)}":
            raise NodeError(f"{volume} is on the leg itself.")
        if self.params["method"] == "files" and not shutil.which("rsync"):
            raise NodeError("There is no command rsync on this node; install it, or take method: blocks.")

    def _check_mirror(self, plan: ChangeSet) -> Half:
        """The superblock of the leg, once the mirror is known to be complete."""
        own = f"/dev/{self.params['vg']}/{self.name}"
        others = [path for path in self.params["halves"] if self.arrays.blocks.identity(path) != self.arrays.blocks.identity(own)
                  or not self.arrays.blocks.name(path)]
        why = ""
        for attempt in range(3):  # both are not read at the same moment
            halves = {path: self.arrays.half(path) if self.arrays.blocks.name(path) else None for path in [own, *others]}
            why = flaw(halves)
            if not why:
                break
            time.sleep(attempt)
        half = halves.pop(own)
        if half is None:
            raise NodeError(f"{own} carries no half of a mirror.")
        if why and not self.params["allow_degraded"]:
            raise NodeError(f"The mirror of {self.name} is not complete: {why}. Repair it first (node_return), or use allow_degraded: true "
                            "to back up what this leg has.")
        old = stale(half, halves)
        if old:
            raise NodeError(f"{own} cannot be backed up: {old}.")
        if why:
            plan.warnings.append(f"The mirror of {self.name} is not complete: {why}.")
        return half

    # ---- apply

    def _begin(self) -> None:
        self.manifest["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.manifest["seconds"] = time.monotonic()
        self.store.remove(self.partial)
        os.makedirs(self.store.folder, mode=0o700, exist_ok=True)
        os.mkdir(self.partial, 0o700)

    def _check_snapshot(self) -> None:
        half = self.arrays.half(self.snapshot.device)
        self.snapshot.used()
        if half is None or half.incomplete or (half.members.strip("A") and not self.params["allow_degraded"]):
            raise NodeError(f"The mirror of {self.name} lost a half, or began to resynchronise, at the moment of the snapshot. Try again "
                            "when it is complete.")
        self.manifest["events"] = half.events

    def _clean(self) -> None:
        kind = self.manifest["filesystem"] = self.mounts.kind(self.snapshot.device)
        try:
            self.mounts.clean(self.snapshot.device, kind, self.params["frozen"], lambda _text: self._say("check", None))
        except NodeError:
            self.snapshot.used()  # says so if it was lost
            raise

    def _mount(self) -> None:
        own_mounts()  # not earlier: lvcreate may start dmeventd, which would stay, and keep the mount
        self.mounts.mount(self.snapshot.device, self.point, self.manifest["filesystem"])

    def _guarded(self, work: Any) -> None:
        """Do it; what goes wrong is said as what it is: a lost snapshot, a full volume."""
        try:
            work()
        except (OSError, CommandError) as error:
            if self.snapshot.exists():
                self.snapshot.used()
            if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error):
                free = shutil.disk_usage(self.store.volume)
                raise NodeError(
                    f"The backup volume {self.store.volume} is full ({free.total} bytes). Nothing of this backup is kept, and all earlier "
                    "generations are. Make it larger, or keep fewer generations.") from error
            raise

    def _say(self, phase: str, percent: Optional[float], force: bool = False) -> None:
        """Leave word of how far we are where leg_backup_info finds it; once a second the snapshot is looked at, too."""
        now = time.monotonic()
        if not force and phase == self.phase and now - self.told < 1:
            return
        self.phase, self.told = phase, now
        used = self.snapshot.used()
        said = {"phase": phase, "percent": percent, "snapshot_used": used, "generation": self.manifest["generation"], "time": time.time()}
        with open(os.path.join(self.partial, f"{PROGRESS}.new"), "w", encoding="utf-8") as stream:
            json.dump(said, stream)
        os.replace(os.path.join(self.partial, f"{PROGRESS}.new"), os.path.join(self.partial, PROGRESS))

    def _count(self, phase: str, size: int) -> None:
        self.done += size
        self._say(phase, round(min(100.0, 100.0 * self.done / self.total), 1) if self.total else None)

    def _base(self, method: str) -> Optional[str]:
        """The newest generation of the same kind."""
        found = [each["generation"] for each in self.store.generations() if each["method"] == method]
        return found[-1] if found else None

    # files

    def _rsync(self, *options: str) -> str:
        def watch(text: str) -> None:
            words = [word[:-1] for word in text.split() if word.endswith("%") and word[:-1].isdigit()]
            self._say("copy", float(words[-1]) if words else None)

        source, target = self.mounts.points[-1], os.path.join(self.partial, FILES)
        return supervised([*RSYNC, *options, f"{source}/", f"{target}/"], watch)

    def _copy_files(self) -> None:
        """Copy; a file that is as in the generation before it (size, time, owner, mode ...) becomes a second name of that one."""
        base = self._base("files")
        os.mkdir(os.path.join(self.partial, FILES))
        self._rsync("--info=progress2", *([f"--link-dest={self.store.path(base, FILES)}"] if base else []))

    def _verify_files(self) -> None:
        """Read all files again, on both sides, and compare."""
        source, target = self.mounts.points[-1], os.path.join(self.partial, FILES)
        space = os.statvfs(source)
        self.total, self.done = 2 * (space.f_blocks - space.f_bfree) * space.f_frsize, 0
        from_leg = digests(source, partial(self._count, "compare"))
        flush(self.store.volume)
        written = digests(target, partial(self._count, "compare"))
        different = sorted(name for name in set(from_leg) | set(written) if from_leg.get(name) != written.get(name))
        if different:
            # A file changed under the same size and time. It shares its content with the generation before: this one gets its own.
            self._again(different)
            self._rsync()  # the folders have the wrong times now
            flush(self.store.volume)
            for name in different:
                if name not in from_leg or digest(os.path.join(target, name)) != from_leg[name]:
                    raise NodeError(f"{name} is not the same in the backup as on the leg. Look at the disk of the backup volume.")
        # --checksum has no part in this: contents are known to be the same.
        unlike = self._rsync("--dry-run", "--itemize-changes")
        if unlike.strip():
            raise NodeError(f"Attributes are not the same in the backup as on the leg: {' '.join(unlike.split()[:40])}. Does the file "
                            "system of the backup volume keep owners, ACLs and extended attributes?")
        status = [os.lstat(os.path.join(source, name)) for name in from_leg]
        self.manifest.update({"bytes": sum(each.st_size for each in status), "files": len(status)})
        self.lines = [sum_line(from_leg[name], os.path.join(FILES, name)) for name in sorted(from_leg)]

    def _again(self, different: List[str]) -> None:
        listed = os.path.join(self.partial, "again")
        with open(listed, "wb") as stream:
            stream.write(b"\0".join(os.fsencode(name) for name in different))
        # Not --delete, which means nothing for a list; a new file takes the name, the old one is not written to.
        source, target = self.mounts.points[-1], os.path.join(self.partial, FILES)
        supervised([*RSYNC[:-1], "--ignore-times", "--from0", f"--files-from={listed}", f"{source}/", f"{target}/"],
                   lambda _text: self._say("copy", None))
        os.unlink(listed)

    # blocks

    def _chunks(self, path: str, size: int, phase: str) -> Iterator[Tuple[int, bytes]]:
        """(offset, bytes) of all chunks of a file or device."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for offset in range(0, size, CHUNK):
                block = os.pread(descriptor, min(CHUNK, size - offset), offset)
                self._count(phase, len(block))
                yield offset, block
        finally:
            os.close(descriptor)

    def _copy_blocks(self) -> None:
        """Write an image with holes where there are only zeros. Where the volume can share blocks between files (reflink), it
        begins as the image before it, and only what differs is written."""
        image, size, base = os.path.join(self.partial, IMAGE), self.manifest["size"], self._base("blocks")
        before = []  # type: List[str]
        if base:
            self.arrays.run("cp", "--reflink=always", "--sparse=auto", self.store.path(base, IMAGE), image, codes=range(256))
            if os.path.exists(image) and os.path.getsize(image) == size:
                before = read(self.store.path(base, SUMS)).split("\n")
        self.total, self.done = size, 0
        with open(image, "r+b" if before else "wb") as stream:
            for number, (offset, block) in enumerate(self._chunks(self.snapshot.device, size, "copy")):
                total = hashlib.sha256(block).hexdigest()
                self.lines.append(f"{total}\n".encode())
                if before[number:number + 1] != [total]:
                    for start, part in ([(0, block)] if before else filled(block)):
                        stream.seek(offset + start)
                        stream.write(part)
            stream.truncate(size)
            stream.flush()
            os.fsync(stream.fileno())
        self.manifest.update({"bytes": size, "files": 1, "chunk": CHUNK})

    def _verify_blocks(self) -> None:
        self.total, self.done = self.manifest["size"], 0
        image = os.path.join(self.partial, IMAGE)
        for line, (offset, block) in itertools.zip_longest(self.lines, self._chunks(image, self.manifest["size"], "compare"),
                                                           fillvalue=(0, b"")):
            if line != f"{hashlib.sha256(block).hexdigest()}\n".encode():
                raise NodeError(f"The image is not what the leg had at {offset}. Look at the disk of the backup volume.")

    # end

    def _finish_snapshot(self) -> None:
        self.manifest["snapshot_used"] = self.snapshot.used()

    def _complete(self) -> None:
        self.manifest["seconds"] = round(time.monotonic() - self.manifest["seconds"], 1)
        self.store.complete(self.manifest, iter(self.lines))

    def view(self) -> Dict[str, Any]:
        """The generations as they are now."""
        return {"generations": [each["generation"] for each in self.store.generations()]}
