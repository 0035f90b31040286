# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume group that remembers what was written to each of its extents, behind the commands of LVM."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.node.run import CommandError, Result

EXTENT = 4 << 20
Place = tuple[str, int]  # disk, number of an extent


class Killed(BaseException):
    """The power was cut."""


@dataclass
class Volume:
    places: list[Place]
    stripes: int = 1
    stripe_size: int = 0
    tags: list[str] = field(default_factory=list)
    origin: str = ""
    segtype: str = "striped"
    pool: str = ""
    zero: str = ""

    @property
    def size(self) -> int:
        return len(self.places) * EXTENT


class Lvm:
    """vg0 on some disks, each of so many extents, all of them with the data of somebody."""

    def __init__(self, *disks: int) -> None:
        self.disks = {f"/dev/sd{'abcdef'[number]}": size for number, size in enumerate(disks)}
        self.content: dict[Place, str] = {(disk, number): "secret" for disk, size in self.disks.items() for number in range(size)}
        self.volumes: dict[str, Volume] = {}
        self.calls: list[str] = []
        self.changes = 0
        self.cut = 0  # the power is cut before this change
        self.fail = ""  # what fails

    # ---- for tests

    def add(self, name: str, extents: int, *tags: str, stripes: int = 1, **more: Any) -> Volume:
        each = extents // stripes
        places = [place for disk in sorted(self.disks)[:stripes] for place in self.unused(disk)[:each]]
        self.volumes[name] = Volume(places, stripes, 65536 if stripes > 1 else 0, sorted(tags), **more)
        return self.volumes[name]

    def wipe(self) -> None:
        """What the worker does, all at once."""
        for name, volume in self.volumes.items():
            known = [tag for tag in volume.tags if tag.startswith(("nobloat.zeroed=", "nobloat.guest=", "nobloat.kept"))]
            if name.startswith("spare-") and known:
                self.content.update(dict.fromkeys(volume.places, ""))
                volume.tags = [f"nobloat.zeroed={volume.size}"]

    def read(self, name: str) -> set[str]:
        return {self.content[place] for place in self.volumes[name].places}

    def unused(self, disk: str) -> list[Place]:
        used = {place for volume in self.volumes.values() for place in volume.places}
        return [(disk, number) for number in range(self.disks[disk]) if (disk, number) not in used]

    def spares(self) -> list[Volume]:
        return [volume for name, volume in self.volumes.items() if name.startswith("spare-")]

    # ---- the commands

    def __call__(self, *argv: str, **_options: Any) -> Result:
        if argv[0] in ("lvs", "pvs"):
            rows = self.lvs() if argv[0] == "lvs" else self.pvs()
            return Result(0, json.dumps({"report": [{argv[0].rstrip("s"): rows}]}), "")
        if argv[0] == "systemctl":
            self.calls.append(" ".join(argv))
            return Result(0, "", "")
        assert "global/metadata_read_only=0 devices/issue_discards=0" in argv, argv
        words = [word for word in argv if word not in ("--config", "global/metadata_read_only=0 devices/issue_discards=0")]
        self.changes += 1
        if self.changes == self.cut:
            raise Killed
        if self.fail and self.fail in " ".join(words):
            raise CommandError(words, 5, "no luck")
        self.calls.append(" ".join(words))
        getattr(self, words[0])(words[1:])
        return Result(0, "", "")

    @staticmethod
    def options(words: list[str]) -> tuple[dict[str, str], list[str], list[str]]:
        """Options with a value, tags to add, and the rest."""
        options: dict[str, str] = {}
        tags, rest = [], []
        todo = list(words)
        while todo:
            word = todo.pop(0)
            if word == "--addtag":
                tags.append(todo.pop(0))
            elif word in ("--yes", "--quiet", "--force"):
                continue
            elif word.startswith("--"):
                options[word] = todo.pop(0)
            else:
                rest.append(word)
        return options, tags, rest

    def room(self, extents: int, stripes: int, where: list[str]) -> list[Place]:
        """Extents that are free, on these disks or ranges of them."""
        free: dict[str, list[Place]] = {}
        for text in where or self.disks:
            disk, _colon, numbers = text.partition(":")
            first, _dash, last = numbers.partition("-")
            inside = range(int(first), int(last) + 1) if numbers else range(self.disks[disk])
            free.setdefault(disk, []).extend(place for place in self.unused(disk) if place[1] in inside)
        if stripes == 1:
            found = [place for places in free.values() for place in places][:extents]
        else:
            order = sorted(free, key=lambda disk: -len(free[disk]))[:stripes]
            found = [place for disk in order for place in free[disk][:extents // stripes]]
        if len(found) != extents or (stripes > 1 and len({disk for disk, _number in found}) != stripes):
            raise CommandError(["lvcreate"], 5, "Insufficient free space")
        return found

    def lvcreate(self, words: list[str]) -> None:
        options, tags, (_group, *where) = self.options(words)
        stripes = int(options["--stripes"])
        assert options["--name"] not in self.volumes and (stripes > 1 or "--stripesize" not in options)
        self.volumes[options["--name"]] = Volume(
            self.room(int(options["--extents"]), stripes, where), stripes, 65536 if stripes > 1 else 0, sorted(tags))

    def lvextend(self, words: list[str]) -> None:
        options, _tags, (name, *where) = self.options(words)
        volume = self.volumes[name.partition("/")[2]]
        if "--size" in options:
            volume.places += [("pool", number) for number in range(int(options["--size"][:-1]) // EXTENT - len(volume.places))]
            return
        assert int(options["--stripes"]) == volume.stripes
        volume.places += self.room(int(options["--extents"].lstrip("+")), volume.stripes, where)

    def lvremove(self, words: list[str]) -> None:
        del self.volumes[self.options(words)[2][0].partition("/")[2]]

    def lvrename(self, words: list[str]) -> None:
        _group, old, new = self.options(words)[2]
        assert new not in self.volumes
        self.volumes[new] = self.volumes.pop(old)

    def lvchange(self, words: list[str]) -> None:
        gone = [words[number + 1] for number, word in enumerate(words) if word == "--deltag"]
        volume = self.volumes[words[-1].partition("/")[2]]
        new = [words[number + 1] for number, word in enumerate(words) if word == "--addtag"]
        volume.tags = sorted({*volume.tags, *new} - set(gone))

    # ---- reports

    def lvs(self) -> list[dict[str, str]]:
        rows = []
        for name, volume in sorted(self.volumes.items()):
            parts = [f"{disk}:{number}-{number}" for disk, number in volume.places]
            rows += [{
                "vg_name": "vg0", "lv_name": name, "lv_size": str(volume.size), "lv_tags": ",".join(volume.tags), "segtype": volume.segtype,
                "vg_extent_size": str(EXTENT), "seg_pe_ranges": part, "stripes": str(volume.stripes),
                "stripe_size": str(volume.stripe_size), "origin": volume.origin, "pool_lv": volume.pool, "zero": volume.zero,
            } for part in parts]
        return rows

    def pvs(self) -> list[dict[str, str]]:
        return [{"pv_name": disk, "vg_name": "vg0", "vg_extent_size": str(EXTENT), "pv_free": str(len(self.unused(disk)) * EXTENT)}
                for disk in self.disks]
