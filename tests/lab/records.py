# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab has on record, and what can be read from that.

Records lie in .work/lab-state/ID (or $LAB_STATE/ID): lab.json is written before the first thing that outlives the process that
makes the lab, so that everything is found also after an `up` that was killed. Whatever changes a lab holds its lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import description as described
from . import process
from .description import Description, Machine
from .errors import LabError
from .image import Image
from .machine import HERE, Box
from .network import Network

ROOT = HERE.parent.parent


def state_folder() -> Path:
    """Where all labs have their records."""
    return Path(os.environ.get("LAB_STATE") or ROOT / ".work/lab-state").resolve()


class Records:
    """Those of the lab of an id. It need not exist: `exists` says."""

    def __init__(self, name: str = "lab") -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,20}", name):
            raise LabError(f"{name!r} is no id of a lab: small letters, digits, dashes, at most 21")
        self.name = name
        self.folder = state_folder() / name
        self.namespace = f"lab-{name}-{zlib.crc32(str(self.folder).encode()):08x}"
        self.network = Network(self.namespace)

    @property
    def exists(self) -> bool:
        """Whether there is a record of it."""
        return (self.folder / "lab.json").exists()

    @property
    def _record(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / "lab.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise LabError(f"no lab {self.name!r} is up; `python -m lab up` makes one") from None

    @property
    def description(self) -> Description:
        """What it consists of. LabError if it does not exist."""
        return described.restored(self._record["description"])

    @property
    def image(self) -> Image:
        """What its machines boot from."""
        record = self._record["image"]
        return Image(Path(record["path"]), Path(record["key"]))

    def box(self, name: str) -> Box:
        """A machine by name."""
        return self._box(self.description.machine(name))

    def _box(self, machine: Machine) -> Box:
        return Box(machine, self.folder / machine.name, self.network, self.image)

    @property
    def boxes(self) -> list[Box]:
        """All machines."""
        return [self._box(machine) for machine in self.description.machines]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the lab meanwhile."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        path = self.folder.with_suffix(".lock")
        while True:
            with open(path, "w", encoding="ascii") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _same(path, file.fileno()):  # else `down` has removed it meanwhile
                    yield
                    return

    def save(self, wanted: Description, picture: Image, *, owned: bool) -> None:
        """Make the records of a new lab. An owned one belongs to this process."""
        self.folder.mkdir(parents=True)
        if owned:
            process.record_self(self.folder / "owner")
        record = {"description": wanted.saved(), "image": {"path": str(picture.path), "key": str(picture.key)}}
        (self.folder / "lab.new").write_text(json.dumps(record, indent=1), encoding="utf-8")
        (self.folder / "lab.new").rename(self.folder / "lab.json")
        for machine in wanted.machines:
            (self.folder / machine.name).mkdir()

    @property
    def xapi(self) -> dict[str, Any] | None:
        """xapisim's ready line; None in a lab without."""
        try:
            return json.loads((self.folder / "xapi.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    @property
    def incidents(self) -> list[str]:
        """What the bridge to XAPI could not do: a guest started twice, for example."""
        try:
            return (self.folder / "incidents").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []


def _same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
