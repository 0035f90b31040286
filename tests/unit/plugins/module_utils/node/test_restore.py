# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When leg_restore writes to a disk, and when not. Halves are files; mdadm finds the superblocks that it would find."""
from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError
from ansible_collections.nobloat.xen.plugins.module_utils.node import generations, restore
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.generations import CHUNK, Store
from ansible_collections.nobloat.xen.plugins.module_utils.node.lease import Leases
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Arrays
from ansible_collections.nobloat.xen.plugins.module_utils.node.restore import Restore, marked
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, Result
from ansible_collections.nobloat.xen.plugins.module_utils.node.superblock import (
    HELD,
    MAGIC,
    WRITTEN,
    Superblock,
    place,
    restoring,
)

pytestmark = pytest.mark.usefixtures("cached")
SIZE = 3 * CHUNK  # of a leg
DATA = 2 * CHUNK + 4096  # of what is mirrored
LEASE = "nobloat.lease=5:{time}:restoring:anna/c1/aa"


def superblock(role: int) -> bytes:
    found = Superblock(MAGIC + bytes(4088))
    found.data[16:32] = bytes(range(16))
    found.data[32:40] = b"any:data"
    for field, value in {"level": 1, "raid_disks": 2, "size": DATA // 512, "dev_number": role, "super_offset": place(SIZE) // 512,
                         "events": 17, "max_dev": 4}.items():
        found.set(field, value)
    struct.pack_into("<4H", found.data, 256, 0, 1, 0xFFFF, 0xFFFE)
    found.set("csum", found.checksum())
    return bytes(found.data)


class Disks(Blocks):
    """Files, and who uses them."""

    using: dict[str, list[str]]

    def name(self, path: str) -> str:
        return Path(path).name if Path(path).exists() else ""

    def size(self, path: str) -> int:
        return Path(path).stat().st_size

    def identity(self, path: str) -> str:
        return path

    def users(self, path: str, opened: Any = None) -> list[str]:
        return self.using.get(path, [])


class World:
    """A node with two halves of a mirror, and a backup."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tags = ["nobloat.guest=web1"]
        self.halves = [str(root / name) for name in ("near", "far")]
        for role, path in enumerate(self.halves):
            with open(path, "wb") as stream:
                stream.write(b"before" * 1000)
                stream.truncate(SIZE)
                stream.seek(place(SIZE))
                stream.write(superblock(role))
        self.image = b"after" * 1000 + bytes(CHUNK) + b"end"
        self.image += bytes(DATA - len(self.image))
        store = Store(str(root / "backup"), "web1-data", "node1")
        Path(store.partial).mkdir(parents=True)
        Path(store.partial, "disk.img").write_bytes(self.image)
        sums = [hashlib.sha256(self.image[at:at + CHUNK]).hexdigest() for at in range(0, DATA, CHUNK)]
        store.complete({"generation": "20261121T120000Z", "method": "blocks", "size": DATA}, iter(f"{each}\n".encode() for each in sums))
        self.path = Path(store.path("20261121T120000Z", "disk.img"))
        self.using: dict[str, list[str]] = {}

    def command(self, *argv: str, **_options: Any) -> Result:
        if argv[0] == "mdadm":
            raw = Path(argv[2]).read_bytes()[place(SIZE):][:4096]
            found = Superblock(raw)
            known = found.valid(place(SIZE))
            text = f"{found.examined()}\nArray Size : {DATA // 1024} KiB\nSuper Offset : {place(SIZE) // 512} sectors\n" if known else ""
            return Result(0 if known else 1, text, "")
        if argv[0] == "lvs":
            rows = [{"vg_name": "vg0", "lv_name": "web1-data", "lv_tags": ",".join(self.tags), "lv_attr": "-wi-ao----"}]
            return Result(0, json.dumps({"report": [{"lv": rows}]}), "")
        assert argv[0] == "lvchange", argv
        self.tags = [tag for tag in self.tags if tag not in argv] + [argv[argv.index("--addtag") + 1]]
        return Result(0, "", "")

    def restore(self, **params: Any) -> Restore:
        arrays = Arrays(str(self.root), self.command)
        arrays.blocks = Disks(str(self.root))
        arrays.blocks.using = self.using
        return Restore({"guest": "web1", "disk": "data", "name": None, "volume": str(self.root / "backup"), "node": "node1",
                        "generation": None, "halves": self.halves, "state": "restored", "owner": None, "overwrite": True, "archive": None,
                        "path": None, **params}, arrays)

    def run(self, check: bool = False, **params: Any) -> Any:
        """A whole run of the module."""
        asked = self.restore(**params)
        try:
            plan = asked.plan(check)
            if not check:
                plan.apply()
            return plan
        finally:
            for stream in (asked.lock, asked.leases._restore):
                if stream:
                    stream.close()
            for device in asked.devices.values():
                device.close()

    def brands(self) -> list[bytes]:
        return [Path(path).read_bytes()[place(SIZE):][:4] for path in self.halves]

    def data(self) -> list[bytes]:
        return [Path(path).read_bytes()[:DATA] for path in self.halves]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(generations, "flush", lambda path: None)
    monkeypatch.setattr(restore, "end_orderly", lambda: None)
    return World(tmp_path)


def test_a_half_that_is_being_restored() -> None:
    raw = superblock(0)
    assert marked(raw, SIZE) is None and marked(bytes(4096), SIZE) is None
    for brand in (HELD, WRITTEN):
        found = marked(brand + raw[4:], SIZE)
        assert found and (found.uuid, found.name, found.level, found.metadata, found.raid_devices, found.size, found.place) == (
            "00010203:04050607:08090a0b:0c0d0e0f", "data", "raid1", "1.0", 2, DATA, place(SIZE))


def test_all_at_once(world: World) -> None:
    before = world.data()
    would = world.run(check=True)
    assert world.data() == before and would.steps
    world.run()
    assert world.data() == [world.image] * 2 and world.brands() == [MAGIC[:4]] * 2
    assert not world.run().steps


def test_held_then_written(world: World) -> None:
    before = world.data()
    held = world.run(state="held")
    assert held.facts["held"] and world.brands() == [HELD] * 2 and world.data() == before
    assert all(restoring(path, SIZE) for path in world.halves)
    done = world.run()
    assert not done.facts["held"] and world.data() == [world.image] * 2 and world.brands() == [MAGIC[:4]] * 2
    same = world.run(state="held")
    assert not same.steps and not same.facts["held"] and world.brands() == [MAGIC[:4]] * 2


def test_what_is_held_can_be_given_up(world: World) -> None:
    halves = [Path(path).read_bytes() for path in world.halves]
    world.run(state="held")
    world.path.unlink()  # the backup is not needed for it
    world.run(state="unheld")
    assert [Path(path).read_bytes() for path in world.halves] == halves
    assert not world.run(state="unheld").steps


@pytest.mark.parametrize("state", ["held", "restored"])
def test_somebody_begins_to_use_it_while_the_backup_is_compared(world: World, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    halves = [Path(path).read_bytes() for path in world.halves]
    real = Restore._check_image

    def compare(self: Restore) -> None:
        real(self)
        world.using[world.halves[1]] = ["guest domain 7"]

    monkeypatch.setattr(Restore, "_check_image", compare)
    with pytest.raises(ApplyError, match=r"far is used by guest domain 7\. Nothing was written"):
        world.run(state=state)
    assert [Path(path).read_bytes() for path in world.halves] == halves


def test_killed_while_it_wrote(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run(state="held")
    real = Restore._write

    def write(self: Restore, path: str) -> None:
        if path == world.halves[1]:
            raise OSError("killed")
        real(self, path)

    with monkeypatch.context() as patched:
        patched.setattr(Restore, "_write", write)
        with pytest.raises(ApplyError, match="half restored, and cannot be started"):
            world.run()
    assert world.brands() == [WRITTEN] * 2
    with pytest.raises(NodeError, match="half restored"):
        world.run(state="unheld")
    assert world.run(state="held").facts["held"] and world.brands() == [WRITTEN] * 2
    world.run()
    assert world.data() == [world.image] * 2 and world.brands() == [MAGIC[:4]] * 2


def test_a_damaged_backup_is_found_before_anything_is_written(world: World) -> None:
    halves = [Path(path).read_bytes() for path in world.halves]
    world.path.write_bytes(world.image[:-1] + b"x")
    for state in ("held", "restored"):
        with pytest.raises(ApplyError, match="is damaged"):
            world.run(state=state)
    assert [Path(path).read_bytes() for path in world.halves] == halves


def test_the_lease_is_held_and_renewed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_795_000_000]
    monkeypatch.setattr(Leases.__init__, "__defaults__", (lambda: now[0],))
    world.tags.append(LEASE.format(time=now[0] - 60))
    with pytest.raises(NodeError, match="It is not that of bert"):
        world.run(state="held", owner="bert")
    with pytest.raises(NodeError, match="Wait until that is done"):
        world.run(state="held")
    real = Restore._check_image

    def compare(self: Restore) -> None:
        real(self)
        now[0] += 5000
        with pytest.raises(NodeError, match="A restore of a disk of web1 is at work on this node"):
            Leases(self.leases.witness)._taken({"state": "starting"})

    monkeypatch.setattr(Restore, "_check_image", compare)
    world.run(state="held", owner="anna/c1/aa")
    assert LEASE.format(time=now[0]) in world.tags and world.brands() == [HELD] * 2
