# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spare volumes: room for new legs, from which nobody can read what was there before. Python 3.6 syntax.

A leg is never written to once it has its name. What a new leg, or the new part of one, lies on was zeroed before, as a spare
volume:

* a leg that is removed becomes a spare volume by being renamed, which is one change of LVM's metadata;
* free room becomes one when a new leg needs it, because nobody knows what was written there;
* the worker (wipe.py) zeroes them, one after the other, and notes in a tag how far it is, so that a power cut costs seconds;
* one that is zeroed as a whole is clean. It is kept: the next leg gets its extents at once.

So whatever is interrupted, the next run finds either a leg as a whole or spare volumes.
"""

import contextlib
import json
import os
import time
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import (
    SPARE,
    TAG,
    WANTED,
    ZEROED,
    zeroed,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import flock, lock_path
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import CommandError, NodeError, Result, run

# XenServer's dom0 changes nothing without the first; with the second on, LVM would discard what was zeroed, and a discard
# promises no zeros.
SETTINGS = ("--config", "global/metadata_read_only=0 devices/issue_discards=0")
VOLUMES = "vg_name,lv_name,lv_size,lv_tags,segtype,vg_extent_size,seg_pe_ranges"
DISKS = "pv_name,vg_name,pv_free,vg_extent_size"
LOCK = "spares"
# Seconds for which another run is waited for; and who looks at a new device (udev).
PATIENCE = 60.0
SETTLED = 20.0

# {path of a physical volume: number of its extents}
Extents = Dict[str, int]


class Range(NamedTuple):
    """Extents of a physical volume."""

    disk: str
    first: int
    size: int

    def __str__(self) -> str:
        return f"{self.disk}:{self.first}-{self.first + self.size - 1}"


class Spare(NamedTuple):
    """A spare volume."""

    vg: str
    name: str
    size: int
    zeroed: int
    tags: List[str]
    ranges: List[Range]

    @property
    def device(self) -> str:
        return f"/dev/{self.vg}/{self.name}"

    @property
    def clean(self) -> bool:
        return self.zeroed >= self.size


def total(ranges: Iterable[Range]) -> Extents:
    found = {}  # type: Extents
    for each in ranges:
        found[each.disk] = found.get(each.disk, 0) + each.size
    return found


def shares(extents: int, stripes: int, room: Extents) -> Optional[Extents]:
    """How many extents a volume takes of each disk, None if there is too little room."""
    order = sorted(room, key=lambda disk: (-room[disk], disk))
    if stripes > 1:
        each = extents // stripes
        return dict.fromkeys(order[:stripes], each) if len(order) >= stripes and room[order[stripes - 1]] >= each else None
    found = {}  # type: Extents
    for disk in order:
        found[disk] = min(room[disk], extents - sum(found.values()))
    return {disk: count for disk, count in found.items() if count} if sum(found.values()) == extents else None


def ranges_of(text: str) -> List[Range]:
    """LVM's seg_pe_ranges, such as `/dev/sda:0-9 /dev/sdb:0-9`; none for what does not lie on physical volumes itself."""
    found = []
    for word in text.split():
        disk, _colon, numbers = word.rpartition(":")
        first, dash, last = numbers.partition("-")
        if not (dash and first.isdigit() and last.isdigit() and disk.startswith("/")):
            return []
        found.append(Range(disk, int(first), int(last) - int(first) + 1))
    return found


def report(command: Callable[..., Result], what: str, key: str, fields: str) -> List[Dict[str, str]]:
    out = command(what, "--reportformat", "json", "--units", "b", "--nosuffix", "-o", fields).out
    return list(json.loads(out)["report"][0][key])


class Spares:
    """The spare volumes of this node. `command` runs nothing in tests."""

    def __init__(self, command: Callable[..., Result] = run, pause: Callable[[float], None] = time.sleep, root: str = "/") -> None:
        self.run = command
        self.pause = pause
        self.root = root

    def locked(self, work: Callable[[], Any]) -> Any:
        """Nobody else takes, makes or removes spare volumes meanwhile; but the worker goes on."""
        lock = flock(lock_path(self.root, LOCK), "Somebody else has been busy with volumes of legs on this node for "
                     f"{PATIENCE:g} seconds. Wait until that is done.", PATIENCE)
        try:
            return work()
        finally:
            lock.close()

    def all(self) -> List[Spare]:
        found: Dict[Any, Spare] = {}
        for row in report(self.run, "lvs", "lv", VOLUMES):
            tags = sorted(filter(None, row["lv_tags"].split(",")))
            done = zeroed({"name": row["lv_name"], "tags": tags})
            if done is not None:
                # A row for each segment. Extents of other kinds of volumes lie in volumes below them, and cannot be handed on.
                spare = found.setdefault((row["vg_name"], row["lv_name"]), Spare(
                    row["vg_name"], row["lv_name"], int(row["lv_size"]), done, tags, []))
                spare.ranges.extend(ranges_of(row["seg_pe_ranges"]) if row["segtype"] in ("linear", "striped") else [])
        return sorted(found.values(), key=lambda spare: (spare.vg, spare.name))

    def change(self, spare: Spare, tags: Iterable[str]) -> Spare:
        """Have these of our tags on a spare volume, and no others, in one change."""
        wanted = sorted(tags)
        gone = [tag for tag in spare.tags if tag.startswith(TAG) and tag not in wanted]
        words = [word for tag in gone for word in ("--deltag", tag)]
        words += [word for tag in wanted if tag not in spare.tags for word in ("--addtag", tag)]
        if words:
            self.run("lvchange", "--quiet", *SETTINGS, *words, f"{spare.vg}/{spare.name}")
        return spare._replace(tags=sorted({*spare.tags, *wanted} - set(gone)))

    def note(self, spare: Spare, done: int) -> Spare:
        """Note that the first `done` bytes are zeroed and on the disk."""
        waited = WANTED in spare.tags and done < spare.size
        return self.change(spare, [f"{ZEROED}{done}", *([WANTED] if waited else [])])._replace(zeroed=done)

    def remove(self, spare: Spare) -> None:
        end = time.monotonic() + SETTLED
        while True:
            try:
                self.run("lvremove", "--force", *SETTINGS, f"{spare.vg}/{spare.name}")
                return
            except CommandError:
                if time.monotonic() > end:
                    raise
                self.pause(0.5)

    def make(self, vg: str, size: int, stripes: int, places: Iterable[str], tags: Iterable[str], wipe: bool) -> None:
        """A new spare volume of so many extents, on these disks or ranges of them. `wipe`: the signatures there."""
        self.run("lvcreate", "--yes", *SETTINGS, *(() if wipe else ("--zero", "n", "--wipesignatures", "n")),
                 *(word for tag in tags for word in ("--addtag", tag)), "--name", SPARE + os.urandom(6).hex(),
                 "--extents", str(size), "--stripes", str(stripes), vg, *places)

    # ---- room that is clean

    def take(self, vg: str, extents: int, stripes: int, use: Callable[[List[Range]], None]) -> bool:
        """Have `use` make something of clean extents, which are free while it does. False if there are too few."""
        clean = [spare for spare in self.all() if spare.vg == vg and spare.clean and spare.ranges]
        wanted = shares(extents, stripes, total(each for spare in clean for each in spare.ranges))
        if wanted is None:
            return False
        chosen, mine, rest = [], [], []  # type: List[Spare], List[Range], List[Range]
        for spare in sorted(clean, key=lambda spare: abs(sum(each.size for each in spare.ranges) - extents)):
            if not any(wanted.get(each.disk) for each in spare.ranges):
                continue
            chosen.append(spare)
            for each in spare.ranges:
                size = min(each.size, wanted.get(each.disk, 0))
                wanted[each.disk] = wanted.get(each.disk, 0) - size
                mine += [each._replace(size=size)] if size else []
                rest += [Range(each.disk, each.first + size, each.size - size)] if size < each.size else []
        for spare in chosen:
            self.remove(spare)
        try:
            use(mine)
        except NodeError:
            rest = mine + rest  # nobody has written there
            raise
        finally:
            self._keep(vg, rest)
        return True

    def _keep(self, vg: str, ranges: List[Range]) -> None:
        """Clean extents that were not needed stay clean. Where that fails they are free, and zeroed again when they are used."""
        if ranges:
            size = sum(each.size for each in ranges)
            with contextlib.suppress(CommandError):
                self.make(vg, size, 1, map(str, ranges), [ZEROED + str(size * self.extent(vg))], False)

    def extent(self, vg: str) -> int:
        return next(int(row["vg_extent_size"]) for row in report(self.run, "pvs", "pv", DISKS) if row["vg_name"] == vg)

    def room(self, vg: str) -> int:
        """Bytes that clean spare volumes could give back."""
        return sum(spare.size for spare in self.all() if spare.vg == vg and spare.clean)

    def release(self, vg: str, size: Optional[int] = None) -> None:
        """Give room of clean spare volumes back, for what is no leg: so many bytes at least, or all."""
        for spare in sorted(self.all(), key=lambda spare: spare.size):
            if spare.vg == vg and spare.clean and (size is None or size > 0):
                self.remove(spare)
                size = None if size is None else size - spare.size

    # ---- room that will be clean

    def free(self, vg: str) -> Extents:
        return {row["pv_name"]: int(row["pv_free"]) // int(row["vg_extent_size"])
                for row in report(self.run, "pvs", "pv", DISKS) if row["vg_name"] == vg}

    def check(self, vg: str, extents: int, stripes: int) -> None:
        """Raise NodeError if there is too little room, that of spare volumes included."""
        free, every = self.free(vg), total(each for spare in self.all() if spare.vg == vg for each in spare.ranges)
        room = {disk: free[disk] + every.get(disk, 0) for disk in free}
        if shares(extents, stripes, room) is None:
            listed = ", ".join(f"{room[disk]} ({disk})" for disk in sorted(room))
            raise NodeError(f"Volume group {vg} has too little room: {extents} extents in {stripes} stripes are needed, and its disks have "
                            f"{listed}.")

    def prepare(self, vg: str, extents: int, stripes: int) -> bool:
        """Have spare volumes that will be enough once the worker has zeroed them. Says whether there is anything new for it.

        Free room is taken before the volumes that are being wiped anyway: it is no larger than what is needed. Raises NodeError.
        """
        self.check(vg, extents, stripes)
        spares = [spare for spare in self.all() if spare.vg == vg and spare.ranges]
        free = self.free(vg)
        have = total(each for spare in spares if spare.clean or WANTED in spare.tags for each in spare.ranges)
        wanted = shares(extents, stripes, {disk: have.get(disk, 0) + free[disk] for disk in free})
        begun = wanted is None
        if wanted is None:
            have = total(each for spare in spares for each in spare.ranges)
            wanted = shares(extents, stripes, {disk: have.get(disk, 0) + free[disk] for disk in free}) or {}
            for spare in spares:
                if not spare.clean:
                    self.change(spare, [*(tag for tag in spare.tags if tag.startswith(TAG)), WANTED])
        lacking = {disk: count - have.get(disk, 0) for disk, count in wanted.items() if count > have.get(disk, 0)}
        while lacking:  # as many stripes as possible, as they are zeroed faster
            begun, least = True, min(lacking.values())
            self.make(vg, least * len(lacking), len(lacking), sorted(lacking), [ZEROED + "0", WANTED], True)
            lacking = {disk: count - least for disk, count in lacking.items() if count > least}
        return begun
