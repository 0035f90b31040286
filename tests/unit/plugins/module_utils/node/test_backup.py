# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of legs: generations on a real folder, and what is decided from superblocks and snapshots."""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.node import generations
from ansible_collections.nobloat.xen.plugins.module_utils.node.backup import CHUNK, HOLE, filled, flaw, stale
from ansible_collections.nobloat.xen.plugins.module_utils.node.generations import (
    Store,
    age,
    digest,
    digests,
    next_name,
    sum_line,
    sums,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Half
from ansible_collections.nobloat.xen.plugins.module_utils.node.restore import inside
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError, Result
from ansible_collections.nobloat.xen.plugins.module_utils.node.snapshot import Snapshot, Volumes, supervised

NOON = 1795262400  # 2026-11-21 12:00:00 UTC
# What mdadm 4.2 says.
EXAMINE = """\
/dev/vg0/web1-data:
          Magic : a92b4efc
        Version : {metadata}
    Feature Map : {features}
     Array UUID : {uuid}
           Name : any:data
     Raid Level : raid1
   Raid Devices : 2

 Avail Dev Size : 393080 sectors (191.93 MiB 201.26 MB)
     Array Size : 196540 KiB (191.93 MiB 201.26 MB)
   Super Offset : 393200 sectors
          State : clean
         Events : {events}
   Device Role : {role}
   Array State : {members} ('A' == active, '.' == missing, 'R' == replacing)
"""


def half(events: int = 17, members: str = "AA", role: str = "Active device 0", uuid: str = "a:b:c:d", features: str = "0x1",
         metadata: str = "1.0") -> Half:
    return Half(EXAMINE.format(**locals()))


OTHER = "Active device 1"


def test_what_a_superblock_says_of_places() -> None:
    assert (half().size, half().place) == (196540 * 1024, 393200 * 512)


@pytest.mark.parametrize(("one", "other", "words"), [
    (half(), half(role=OTHER), ""),
    (half(), half(role=OTHER, events=18), ""),
    (half(), None, "is not there"),
    (half(), half(role=OTHER, events=20), "older than the other"),
    (half(members="A."), half(role=OTHER), "another half is missing"),
    (half(), half(role="spare"), "being resynchronised"),
    (half(), half(role=OTHER, features="0x83"), "being resynchronised"),
    (half(), half(role=OTHER, uuid="e:f:g:h"), "not halves of the same"),
    (half(metadata="1.2"), half(role=OTHER, metadata="1.2"), "metadata 1.2"),
])
def test_only_complete_mirrors(one: Half, other: Half | None, words: str) -> None:
    said = flaw({"/dev/a": one, "/dev/b": other})
    assert words in said and bool(words) == bool(said)


def test_a_half_that_nobody_named() -> None:
    assert "2 halves, and 1 of them" in flaw({"/dev/a": half()})


@pytest.mark.parametrize(("own", "other", "words"), [
    (half(members="A."), None, ""),
    (half(members="A.", events=30), half(role=OTHER, events=17), ""),
    (half(), half(role=OTHER, events=30), "newer data"),
    (half(events=17), half(role=OTHER, events=18, members=".A"), "newer data"),
    (half(features="0x3"), None, "no complete half"),
    (half(), half(role=OTHER, events=30, uuid="e:f:g:h"), ""),
])
def test_a_degraded_mirror_by_its_newer_half_only(own: Half, other: Half | None, words: str) -> None:
    said = stale(own, {"/dev/b": other})
    assert words in said and bool(words) == bool(said)


# ---- generations


def test_names_of_generations_follow_each_other() -> None:
    assert next_name([], NOON) == "20261121T120000Z"
    assert next_name(["20261121T115959Z"], NOON) == "20261121T120000Z"
    assert next_name(["20261121T120000Z"], NOON) == "20261121T120001Z"
    assert next_name(["20270101T235959Z"], NOON) == "20270102T000000Z"  # the clock went back
    assert age("20261121T115000Z", NOON) == 600


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(generations, "flush", lambda path: None)
    return Store(str(tmp_path), "web1-data", "node2")


def made(store: Store, generation: str) -> None:
    Path(store.partial, "files").mkdir(parents=True)
    Path(store.partial, "progress.json").write_text("{}")
    store.complete({"generation": generation, "method": "files", "size": 1 << 30}, iter([b"a line\n"]))


def test_a_generation_has_its_name_when_it_is_complete(store: Store) -> None:
    Path(store.partial, "files").mkdir(parents=True)
    assert store.generations() == [] and store.leftovers() == [store.partial]
    store.remove(store.partial)
    made(store, "20261121T120000Z")
    assert store.leftovers() == []
    [found] = store.generations()
    assert found["state"] == "complete" and found["digests"]["sha256"] == hashlib.sha256(b"a line\n").hexdigest()
    assert sorted(os.listdir(store.path("20261121T120000Z"))) == ["SHA256SUMS", "files", "manifest.json"]
    assert store.check(found) == b"a line\n"


def test_what_is_no_generation_is_not_shown(store: Store) -> None:
    made(store, "20261121T120000Z")
    shutil.copytree(store.path("20261121T120000Z"), store.path("20261121T130000Z.kept"))
    Path(store.path("20261121T140000Z")).mkdir()
    Path(store.path("20261121T140000Z", "manifest.json")).write_text("{")
    assert [each["generation"] for each in store.generations()] == ["20261121T120000Z"]


@pytest.mark.parametrize("damaged", [
    "", "{", "[]", "{}", "null", "[" * 100_000, '{"generation": "20261121T130000Z", "method": "files"}',
    '{"generation": "20261121T120000Z", "method": "files", "size": 1, "digests": {"sha256": "a"}}',
], ids=["empty", "torn", "a list", "nothing in it", "null", "deep", "half of it", "another's"])
def test_a_damaged_generation_hides_no_other(store: Store, damaged: str) -> None:
    for generation in ("20261121T120000Z", "20261121T130000Z", "20261121T140000Z"):
        made(store, generation)
    Path(store.path("20261121T130000Z", "manifest.json")).write_text(damaged)
    assert [each["generation"] for each in store.generations()] == ["20261121T120000Z", "20261121T140000Z"]
    assert store.damaged() == ["20261121T130000Z"] and store.find(None)["generation"] == "20261121T140000Z"
    with pytest.raises(NodeError, match=r"Damaged \(manifest.json\): 20261121T130000Z\."):
        store.find("20261121T130000Z")
    store.prune(1)
    assert sorted(os.listdir(store.folder)) == ["20261121T130000Z", "20261121T140000Z"]


def test_a_damaged_list_of_digests(store: Store) -> None:
    made(store, "20261121T120000Z")
    Path(store.path("20261121T120000Z", "SHA256SUMS")).write_text("another line\n")
    with pytest.raises(NodeError, match="is damaged"):
        store.check(store.find(None))


def test_find(store: Store) -> None:
    with pytest.raises(NodeError, match=r"no complete generation in .*There is: nothing"):
        store.find(None)
    for name in ("20261121T120000Z", "20261121T130000Z"):
        made(store, name)
    assert store.find(None)["generation"] == "20261121T130000Z"
    assert store.find("20261121T120000Z")["generation"] == "20261121T120000Z"
    with pytest.raises(NodeError, match="20261121T120000Z, 20261121T130000Z"):
        store.find("20261121T140000Z")


def test_the_oldest_go(store: Store) -> None:
    for hour in range(10, 14):
        made(store, f"20261121T{hour}0000Z")
    assert store.excess(3) == ["20261121T100000Z"] and store.excess(3, coming=1) == ["20261121T100000Z", "20261121T110000Z"]
    store.prune(2)
    assert [each["generation"] for each in store.generations()] == ["20261121T120000Z", "20261121T130000Z"]
    assert store.leftovers() == []
    Path(store.folder, ".old.20261121T110000Z").mkdir()  # killed while it was removed
    assert store.leftovers() == [os.path.join(store.folder, ".old.20261121T110000Z")]


def test_another_node_s_work_is_not_touched(store: Store) -> None:
    Path(store.folder, ".partial.node1").mkdir(parents=True)
    Path(store.folder, ".partial.node1", "progress.json").write_text('{"phase": "copy", "percent": 12.0}')
    assert store.leftovers() == []
    assert store.progress() == [{"node": "node1", "phase": "copy", "percent": 12.0}]


# ---- digests


NAMES = ["plain", "with blank", "with\nbreak", "back\\slash", "both\\\n", "\udcff not UTF-8", "deep/er/file"]


def test_digests_are_what_sha256sum_writes_and_checks(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, errors="surrogateescape")
    os.link(tmp_path / "plain", tmp_path / "second")
    os.symlink("plain", tmp_path / "symbolic")
    os.mkfifo(tmp_path / "fifo")
    found = digests(str(tmp_path))
    assert sorted(found) == sorted([*NAMES, "second"]) and found["second"] == found["plain"] == digest(str(tmp_path / "plain"))
    text = b"".join(sum_line(total, name) for name, total in found.items())
    assert sums(text) == found
    theirs = subprocess.run(["sha256sum", *map(os.fsencode, found)], cwd=tmp_path, capture_output=True, check=True).stdout
    assert text == theirs


def test_only_what_is_more_than_zeros_is_written() -> None:
    block = bytearray(CHUNK)
    assert list(filled(bytes(block))) == []
    block[HOLE * 3 + 5] = 1
    block[-1] = 2
    assert [start for start, _part in filled(bytes(block))] == [HOLE * 3, CHUNK - HOLE]
    assert [start for start, _part in filled(b"\0" * 100 + b"x")] == [0]
    assert list(filled(b"\0" * 100)) == []


# ---- snapshots


class SpareRoom:
    """Spare volumes of some bytes altogether."""

    def __init__(self) -> None:
        self.size = 0
        self.held = False
        self.released: list[tuple[str, int]] = []

    def room(self, _vg: str) -> int:
        return self.size

    def release(self, vg: str, size: int) -> None:
        self.released.append((vg, size))

    def locked(self, work: Any) -> Any:
        self.held = True
        return work()


class Lvm(Volumes):
    """Volumes that do not exist; `status` is what dmsetup says."""

    def __init__(self, *found: dict[str, Any]) -> None:
        super().__init__(self.command)
        self.found = list(found)
        self.status = ""
        self.calls: list[str] = []
        self.spares: Any = SpareRoom()

    def command(self, *argv: str, **_options: Any) -> Result:
        self.calls.append(" ".join(argv))
        return Result(0, self.status, "")

    def find(self, vg: str, name: str) -> dict[str, Any] | None:
        return next((each for each in self.found if (each["vg"], each["name"]) == (vg, name)), None)


LEG = {"vg": "vg0", "name": "web1-data", "size": 100 << 20, "free": 40 << 20, "extent": 4 << 20, "origin": "", "thin": False}


@pytest.mark.parametrize(("wanted", "size"), [("20%", 20 << 20), ("1%", 4 << 20), ("30000000", 32 << 20), ("0%", 4 << 20)])
def test_size_of_a_snapshot_in_whole_extents(wanted: str, size: int) -> None:
    lvm = Lvm(LEG)
    snapshot = Snapshot(lvm, LEG)
    snapshot.check(wanted)
    snapshot.make(wanted)
    assert lvm.calls == [f"lvcreate -y -s -n backup-web1-data -L {size}b vg0/web1-data"]


@pytest.mark.parametrize(("wanted", "words"), [("50%", "has only"), ("much", "no size"), ("-1", "no size"), ("20 %", "no size")])
def test_snapshots_that_cannot_be(wanted: str, words: str) -> None:
    with pytest.raises(NodeError, match=words):
        Snapshot(Lvm(LEG), LEG).check(wanted)


def test_a_snapshot_may_have_room_that_is_kept_for_new_legs() -> None:
    lvm = Lvm(LEG)
    lvm.spares.size = 12 << 20
    Snapshot(lvm, LEG).check("50%")
    Snapshot(lvm, LEG).make("50%")
    assert lvm.spares.released == [("vg0", (52 - 40) << 20)] and lvm.spares.held
    lvm.spares.size = 8 << 20
    with pytest.raises(NodeError, match=f"has only {48 << 20} left"):
        Snapshot(lvm, LEG).check("50%")


def test_thin_volumes_have_snapshots_without_a_size() -> None:
    lvm = Lvm()
    snapshot = Snapshot(lvm, {**LEG, "thin": True, "free": 0})
    snapshot.check("20%")
    snapshot.make("20%")
    assert lvm.calls == ["lvcreate -y -s -kn -n backup-web1-data vg0/web1-data"]


@pytest.mark.parametrize(("status", "used"), [
    ("0 393216 snapshot 16/76800 16\n", 0.0), ("0 393216 snapshot 38400/76800 160\n", 50.0), ("0 393216 thin 1024 393215\n", 0.0)])
def test_how_full_a_snapshot_is(status: str, used: float) -> None:
    lvm = Lvm(LEG)
    lvm.status = status
    assert Snapshot(lvm, LEG).used() == used


@pytest.mark.parametrize("status", ["0 393216 snapshot Invalid\n", "0 393216 snapshot Overflow\n", "0 393216 snapshot Merge failed\n",
                                    "0 393216 thin Fail\n", ""])
def test_a_snapshot_that_is_lost(status: str) -> None:
    lvm = Lvm(LEG)
    lvm.status = status
    with pytest.raises(NodeError, match="wrote more than the snapshot"):
        Snapshot(lvm, LEG).used()


def test_a_volume_that_only_has_the_name_is_not_removed() -> None:
    lvm = Lvm(LEG, {**LEG, "name": "backup-web1-data", "origin": ""})
    with pytest.raises(NodeError, match="is no snapshot of web1-data"):
        Snapshot(lvm, LEG).remove()
    assert lvm.calls == []


def test_a_command_that_is_watched_can_be_ended() -> None:
    said = []
    assert supervised(["sh", "-c", "echo one; sleep 0.3; echo two"], said.append).split() == ["one", "two"]
    assert said and said[0] == "one\n"

    def stop(_text: str) -> None:
        raise NodeError("enough")

    with pytest.raises(NodeError, match="enough"):
        supervised(["sleep", "100"], stop)
    with pytest.raises(NodeError, match="failed with 3: gone wrong"):
        supervised(["sh", "-c", "echo gone wrong >&2; exit 3"], said.append)


# ---- restore


@pytest.mark.parametrize(("path", "relative"), [
    ("/", "."), ("", "."), ("/etc/", "etc"), ("etc/hosts", "etc/hosts"), ("/a/../b", "b"),
    ("/..data/x", "..data/x"), ("/...", "..."), ("/a/../..b", "..b"),
])
def test_paths_inside_the_disk(path: str, relative: str) -> None:
    assert inside(path) == relative


@pytest.mark.parametrize("path", ["..", "/../etc", "a/../../b"])
def test_paths_that_lead_out(path: str) -> None:
    with pytest.raises(NodeError, match="not on the disk"):
        inside(path)
