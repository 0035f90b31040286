# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module leg_restore plans: a backup goes back onto both halves of a mirror, or some of its files into an archive.
Python 3.6 syntax.

Both halves are written, so that they are the same without a resync. While that goes on, their superblocks carry a brand: what is
half restored cannot be started, and is not blank either. It is taken away last. A restore that was killed finds it, and goes on.

Nobody else may have the disk meanwhile. This node's users are kept away and looked for by Held. For those of other nodes there is the
lease, and whoever has not asked for it is found in this way: first the brand (state held), by which nobody can begin to use the disk
any more; then the other nodes are asked, and only if nobody had begun before, data are written (state restored). Until then the brand
can be taken back (state unheld).
"""

import contextlib
import hashlib
import os
import re
import stat
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.backup import MOUNTS
from ansible_collections.nobloat.xen.plugins.module_utils.node.beneath import beneath, fresh
from ansible_collections.nobloat.xen.plugins.module_utils.node.evidence import Witness
from ansible_collections.nobloat.xen.plugins.module_utils.node.generations import (
    CHUNK,
    FILES,
    IMAGE,
    Store,
    digest,
    regular,
    sums,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import Direct, Held
from ansible_collections.nobloat.xen.plugins.module_utils.node.lease import Leases
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Arrays, Half
from ansible_collections.nobloat.xen.plugins.module_utils.node.mounts import Mounts, own_mounts
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError
from ansible_collections.nobloat.xen.plugins.module_utils.node.snapshot import end_orderly, lock, supervised
from ansible_collections.nobloat.xen.plugins.module_utils.node.superblock import (
    BRANDS,
    HELD,
    MAGIC,
    STEP,
    WRITTEN,
    place,
    unbranded,
)

SECTOR = 512
HALF_DONE = "The disk is half restored, and cannot be started before a restore of it is complete. Run it again."
OUT = "out of its mirror"  # a half with a brand


def marked(raw: bytes, size: int) -> Optional[Half]:
    """What is known of a half that is being restored, from its superblock. `size` is that of the device."""
    found = unbranded(raw)
    # As mdadm would say it.
    return Half(f"{found.examined()}\nArray Size : {found.get('size') // 2} KiB\nSuper Offset : {place(size) // SECTOR} sectors\n"
                ) if found else None


def inside(path: str) -> str:
    """A path of the guest, relative to the top of its disk. Raises NodeError if it leads out of it."""
    relative = os.path.normpath(path.strip("/") or ".")
    if relative.split("/")[0] == "..":
        raise NodeError(f"{path} is not on the disk.")
    return relative


def whole_path(folder: str) -> List[str]:
    """What tar wants to hear to put a folder before the names of all members, but not before what links lead to."""
    escaped = re.sub(r"([\\&,])", r"\\\1", folder)
    return [f"--transform=s,^,{escaped}/,S"] if folder else []


class Restore:
    """One restore, as the options of a task want it."""

    def __init__(self, params: Dict[str, Any], arrays: Optional[Arrays] = None) -> None:
        self.params = params
        self.arrays = arrays or Arrays()
        self.blocks = self.arrays.blocks
        self.name = params["name"] or f"{params['guest']}-{params['disk']}"
        self.store = Store(params["volume"], self.name, params["node"])
        self.leases = Leases(Witness(params["guest"], root=self.blocks.root, command=self.arrays.run))
        self.devices = {}  # type: Dict[str, Direct]
        self.lock = None  # type: Any

    def plan(self, check_mode: bool) -> ChangeSet:
        """What module leg_restore does. Raises NodeError for whatever can be known before the first step."""
        if self.params["archive"] or self.params["state"] != "unheld":
            self.manifest = self.store.find(self.params["generation"])
            self.text = self.store.check(self.manifest)
        if not check_mode:
            self.lock = lock(self.blocks.root, self.name)
        plan = ChangeSet(f"restore of {self.name}", {})
        if self.params["archive"]:
            self._plan_archive(plan)
            return plan
        halves = self._hold(check_mode)
        brands = {path: self._brand(path, half) for path, half in halves.items()}
        if self.params["state"] == "unheld":
            self._plan_unheld(plan, halves, brands)
        else:
            self._plan_disk(plan, halves, brands)
        return plan

    # ---- a whole disk

    def _hold(self, check_mode: bool) -> Dict[str, Half]:
        """From now on nobody else on this node can have the disk, nor the guest be started by it."""
        paths = self.params["halves"] or []
        for path in paths:
            if not self.blocks.name(path):
                raise NodeError(f"{path} is not there. Both halves are written, so both nodes have to run (node_return).")
        if len({self.blocks.identity(path) or path for path in paths}) < len(paths):
            raise NodeError(f"{' and '.join(paths)} are the same device.")
        for path in paths:
            users = self.blocks.users(path)
            if users:
                raise NodeError(f"{path} is used by {', '.join(users)}. Stop the guest first.")
        if not check_mode:
            self.leases.restore(self.params["owner"] or "")
        self.devices = {path: Direct(path) if check_mode else Held(path, self.blocks) for path in paths}
        return self._check_halves({path: self._half(path) for path in paths})

    def _plan_unheld(self, plan: ChangeSet, halves: Dict[str, Half], brands: Dict[str, bytes]) -> None:
        if WRITTEN in brands.values():
            raise NodeError(HALF_DONE)
        for path, brand in brands.items():
            if brand:
                plan.before[path], plan.after[path] = OUT, "as it was"
                plan.step(f"put {path} back into its mirror", partial(self._mark, path, halves[path], MAGIC[:4]))

    def _plan_disk(self, plan: ChangeSet, halves: Dict[str, Half], brands: Dict[str, bytes]) -> None:
        manifest, held = self.manifest, self.params["state"] == "held"
        if manifest["method"] != "blocks":
            raise NodeError(f"Generation {manifest['generation']} was made with method {manifest['method']}. Only one made with method "
                            "blocks is a disk; files can be put back into the guest while it runs (archive).")
        self.image = self.store.path(manifest["generation"], IMAGE)
        self.sums = self.text.decode().split()
        for path, half in halves.items():
            if half.size < manifest["size"] or half.place < half.size:
                raise NodeError(f"{path} has room for {half.size} bytes, and the backup has {manifest['size']}.")
        whole = not any(brands.values())  # one with a brand is written in any case
        same = {path: whole and next(self._different(path), None) is None for path in halves}
        plan.facts["held"] = not whole
        plan.before = {path: OUT if brands[path] else "as the backup" if same[path] else "other data" for path in halves}
        plan.after = dict.fromkeys(halves, OUT if held else "as the backup")
        if all(same.values()):
            plan.after = plan.before
            return
        if not self.params["overwrite"]:
            raise NodeError(f"The disk {self.name} has other data than generation {manifest['generation']}. They would be lost; use "
                            "overwrite: true if that is what you want.")
        plan.facts["held"] = held
        if held or set(brands.values()) != {HELD}:  # which is put there only after this
            plan.step("compare the backup with its digests", self._check_image)
        plan.step("have signals of our own", end_orderly)
        plan.step("look for users of the disk again", self._check_users)
        for path, half in halves.items():
            if not brands[path]:
                work = partial(self._mark, path, half, HELD)
                # Not taken back where data may have been written after it.
                plan.step(f"take {path} out of its mirror", work if held else partial(self._to_the_end, work),
                          partial(self._mark, path, half, MAGIC[:4]) if held else None)
        if not held:
            steps = [(f"note that {path} is being written", partial(self._mark, path, half, WRITTEN)) for path, half in halves.items()]
            steps += [(f"write {path}", partial(self._write, path)) for path in halves]
            steps += [(f"read {path} again", partial(self._verify, path)) for path in halves]
            steps += [(f"put {path} back into its mirror", partial(self._mark, path, half, MAGIC[:4])) for path, half in halves.items()]
            for text, work in steps:
                plan.step(text, partial(self._to_the_end, work))
        plan.step("renew the lease", partial(self.leases.renew, self.params["owner"] or ""))

    def _to_the_end(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (NodeError, OSError) as error:
            raise NodeError(f"{error} {HALF_DONE}") from error

    def _half(self, path: str) -> Optional[Half]:
        """The superblock of a half, also while it is being restored."""
        size = self.blocks.size(path)
        return self.arrays.half(path) or marked(self.devices[path].read(place(size), STEP), size)

    def _brand(self, path: str, half: Half) -> bytes:
        """The brand of a half, b"" if it has none."""
        found = self.devices[path].read(half.place, STEP)[:4]
        return found if found in BRANDS else b""

    def _check_halves(self, halves: Dict[str, Optional[Half]]) -> Dict[str, Half]:
        if len(halves) < 2:
            raise NodeError("Name all halves of the mirror in halves. If one were not written, its old data would come back.")
        for path, half in halves.items():
            if half is None:
                raise NodeError(f"{path} carries no half of a mirror. Have the guest make one (start it once, and stop it), and try again.")
            if half.metadata != "1.0" or half.level != "raid1":
                raise NodeError(f"{path} is part of an array with level {half.level} and metadata {half.metadata}, not of a mirror with "
                                "metadata 1.0.")
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

    def _different(self, path: str) -> Iterator[Tuple[int, int, str]]:
        """Those parts of a half that are not as in the image, one after the other."""
        for part in self._parts():
            if hashlib.sha256(self.devices[path].read(part[0], part[1])).hexdigest() != part[2]:
                yield part

    def _check_image(self) -> None:
        with open(self.image, "rb") as stream:
            for offset, size, total in self._parts():
                self._part(stream.read(size), offset, total)

    def _part(self, block: bytes, offset: int, total: str) -> bytes:
        """A part of the image, if it has the digest that it should have."""
        if hashlib.sha256(block).hexdigest() != total:
            raise NodeError(f"The backup {self.image} is damaged at {offset}. Take another generation. It was not written.")
        return block

    def _check_users(self) -> None:
        for device in self._held().values():
            device.check()

    def _held(self) -> Dict[str, Held]:
        return {path: device for path, device in self.devices.items() if isinstance(device, Held)}

    def _mark(self, path: str, half: Half, word: bytes) -> None:
        """Give a superblock its magic number, or a brand."""
        device = self._held()[path]
        raw = device.read(half.place, STEP)
        if raw[:4] not in (MAGIC[:4], *BRANDS):
            raise NodeError(f"There is no superblock at {half.place} on {path}.")
        device.write(half.place, word + raw[4:])
        now = self.arrays.half(path)
        if (word == MAGIC[:4]) != bool(now) or (now and now.uuid != half.uuid):
            raise NodeError(f"The superblock of {path} is not what was written. Look at its disks.")

    def _write(self, path: str) -> None:
        device = self._held()[path]
        with open(self.image, "rb") as stream:
            for offset, size, total in self._different(path):
                stream.seek(offset)
                device.write(offset, self._part(stream.read(size), offset, total))

    def _verify(self, path: str) -> None:
        wrong = next(self._different(path), None)
        if wrong:
            raise NodeError(f"{path} does not have what was written to it, at {wrong[0]}. Look at its disks.")

    # ---- files

    def _plan_archive(self, plan: ChangeSet) -> None:
        self.path = inside(self.params["path"] or "/")
        plan.before, plan.after = {}, {"archive": self.params["archive"], "path": f"/{'' if self.path == '.' else self.path}"}
        if self.manifest["method"] == "files":
            self.top = self.store.path(self.manifest["generation"], FILES)
            with self._found():
                pass
            plan.step("compare the files with their digests", self._check_files)
            plan.step(f"write {self.params['archive']}", self._pack)
        else:
            self.image = self.store.path(self.manifest["generation"], IMAGE)
            self.sums = self.text.decode().split()
            plan.step("compare the backup with its digests", self._check_image)
            plan.step(f"write {self.params['archive']}", self._pack_image)

    @contextlib.contextmanager
    def _found(self) -> Iterator[Tuple[int, str]]:
        """What is to be packed: (its folder, opened; its name)."""
        with contextlib.ExitStack() as stack:
            try:
                found = stack.enter_context(beneath(self.top, self.path))
            except (FileNotFoundError, NotADirectoryError):
                raise NodeError(f"There is no /{self.path} in generation {self.manifest['generation']}.") from None
            yield found

    def _check_files(self) -> None:
        """What is packed are files that were backed up, as they were."""
        def wanted(relative: str) -> bool:
            return self.path == "." or relative == self.path or relative.startswith(f"{self.path}/")

        known = {os.path.relpath(name, FILES): total for name, total in sums(self.text).items()}
        known = {relative: total for relative, total in known.items() if wanted(relative)}
        if not known:
            raise NodeError(f"Generation {self.manifest['generation']} has no file /{self.path}, and none below it. Nothing was restored.")
        with self._found() as (folder, name):
            single = stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode)
        below = [] if single else regular(os.path.join(self.top, self.path))
        there = {self.path} if single else {os.path.normpath(os.path.join(self.path, each)) for each in below}
        wrong = sorted(set(known) ^ there) or [relative for relative in sorted(known) if not self._same(relative, known[relative])]
        if wrong:
            raise NodeError(f"/{wrong[0]} is damaged in generation {self.manifest['generation']}. Take another one. Nothing was restored.")

    def _same(self, relative: str, total: str) -> bool:
        with beneath(self.top, relative) as (folder, name):
            return digest(name, folder=folder) == total

    def _pack(self) -> Dict[str, Any]:
        """An archive of the path, with owners, ACLs and extended attributes; nothing is left of one that did not get ready."""
        archive = self.params["archive"]
        new = f"{archive}.new"
        with self._found() as (folder, name):
            try:
                os.close(fresh(new))
                supervised(["tar", "--create", "--file", new, "--numeric-owner", "--xattrs", "--acls", "--sparse",
                            "--directory", f"/proc/self/fd/{folder}", *whole_path(os.path.dirname(self.path)), "--", name],
                           lambda _text: None, keep=(folder,))
                os.replace(new, archive)
            finally:
                if os.path.lexists(new):
                    os.unlink(new)
        return {"size": os.path.getsize(archive)}

    def _pack_image(self) -> Dict[str, Any]:
        """The same from an image. It is made clean in a layer above it, which is thrown away."""
        end_orderly()
        own_mounts()
        name, mounts = f"backup-restore-{self.name}", Mounts(self.arrays.run)
        layer = f"{self.params['archive']}.layer"
        with contextlib.ExitStack() as stack:
            run = self.arrays.run
            run("modprobe", "-a", "loop", "dm_snapshot")
            with open(fresh(layer), "wb") as stream:
                stack.callback(os.unlink, layer)
                stream.truncate(self.manifest["size"])
            loops = []
            for options, path in ((["--read-only"], self.image), ([], layer)):
                loops.append(run("losetup", "--find", "--show", *options, path).out.strip())
                stack.callback(run, "losetup", "--detach", loops[-1])
            run("dmsetup", "create", name, "--table", f"0 {self.manifest['size'] // SECTOR} snapshot {loops[0]} {loops[1]} N 8")
            stack.callback(run, "dmsetup", "remove", "--retry", name)
            stack.callback(mounts.unmount)
            device = f"/dev/mapper/{name}"
            kind = mounts.kind(device)
            mounts.clean(device, kind)
            mounts.mount(device, f"{MOUNTS}/{name}", kind)
            self.top = mounts.points[-1]
            return self._pack()
