# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What md_mirror plans, and what it refuses. What mdadm says was recorded from mdadm 4.2 on Linux 6.1."""
from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Arrays, Half, loses_superblock, version_of
from ansible_collections.nobloat.xen.plugins.module_utils.node.mirror import Mirror
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import CommandError, NodeError, Result

EXAMINE = """\
/dev/{name}:
          Magic : a92b4efc
        Version : 1.0
    Feature Map : {features}
     Array UUID : {uuid}
           Name : any:data
  Creation Time : Sat Nov 21 06:01:22 2026
     Raid Level : raid1
   Raid Devices : 2

 Avail Dev Size : 524256 sectors (255.98 MiB 268.42 MB)
     Array Size : 262080 KiB (255.94 MiB 268.37 MB)
          State : clean
    Device UUID : 382d146e:85570db6:a3e55b2a:64310680
    Update Time : Sat Nov 21 06:01:24 2026
         Events : {events}


   Device Role : {role}
   Array State : {members} ('A' == active, '.' == missing, 'R' == replacing)
"""
UUID = "3dbb1e41:03ff785b:340e7767:01e01dcd"
MIB = 1 << 20
OMITTED = {
    "name": "data", "state": "present", "devices": None, "purge": False, "write_mostly": None, "failfast": None, "bitmap_chunk": None,
    "grow": False, "allow_degraded": False, "allow_overwrite": False, "force": False, "wait": True, "wait_timeout": 1,
}


def examined(events: int = 17, role: str = "Active device 0", members: str = "AA", uuid: str = UUID, name: str = "xvdb",
             features: str = "0x1") -> str:
    return EXAMINE.format(name=name, uuid=uuid, events=events, role=role, members=members, features=features)


class Disks(Blocks):
    """xvdb, xvdc and xvdd; xvdb has a second name."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.sizes = {"xvdb": 256 * MIB, "xvdc": 256 * MIB, "xvdd": 256 * MIB}
        self.used: dict[str, list[str]] = {}

    def name(self, path: str) -> str:
        name = path.rpartition("/")[2].replace("first", "xvdb")
        return name if name in self.sizes else ""

    def number(self, path: str) -> str:
        return f"202:{'bcd'.index(self.name(path)[-1])}" if self.name(path) else ""

    def size(self, path: str) -> int:
        return self.sizes.get(self.name(path), 0)

    def users(self, path: str, opened: Any = None) -> list[str]:
        return self.used.get(self.name(path), [])


class Fake(Arrays):
    """An array that runs if it has members ({name: flags}), and superblocks ({name: what mdadm --examine says})."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root), self.command)
        self.blocks = Disks(str(root))
        self.calls: list[str] = []
        self.live: dict[str, str] = {}
        self.superblocks: dict[str, str] = {}
        self.dirty: dict[str, str] = {}
        self.attributes = {
            "level": "raid1", "array_state": "clean", "sync_action": "idle", "sync_completed": "none", "degraded": "0",
            "raid_disks": "2", "bitmap/location": "+8", "bitmap/chunksize": "1048576", "resync_start": "none",
            "metadata_version": "1.0", "component_size": "262080", "mismatch_cnt": "0"}
        self.kernel = ""
        self.no_re_add = False
        self.no_bitmap = 0  # how often the kernel refuses one

    def runs(self, **flags: str) -> None:
        self.live = flags
        for slot, name in enumerate(flags):
            self.superblocks.setdefault(name, examined(role=f"Active device {slot}", name=name))

    def command(self, *argv: str, timeout: float = 60, codes: Any = (0,)) -> Result:
        if argv[:2] == ("mdadm", "--examine"):
            text = self.superblocks.get(self.blocks.name(argv[2]), "")
            return Result(0 if text else 1, text, "")
        if argv[:2] == ("mdadm", "--detail"):
            return Result(0, f"MD_NAME=any:data\nMD_UUID={UUID}\nMD_DEVNAME=data\n", "")
        self.calls.append(" ".join(argv))
        if self.no_re_add and "--re-add" in argv:
            raise CommandError(argv, 1, "not possible")
        if self.no_bitmap and "--bitmap=internal" in argv:
            self.no_bitmap -= 1
            raise CommandError(argv, 1, "failed to set internal bitmap")
        if argv == ("dmesg",):
            return Result(0, "[ 1.2] sda: other\n[ 3.4] md127: invalid bitmap file superblock: bad magic\n", "")
        return Result(0, "", "")

    def all(self) -> list[str]:
        return ["md127"] if self.live else []

    def members(self, array: str) -> list[str]:
        return sorted(self.live)

    def flags(self, array: str, member: str) -> list[str]:
        return self.live[member].split(",")

    def get(self, array: str, attribute: str) -> str:
        if attribute.endswith("/size"):
            return "262128"
        return self.attributes.get(attribute, "" if attribute.endswith("/bad_blocks") else "0")

    def dirt(self, path: str) -> str:
        return self.dirty.get(self.blocks.name(path), "")

    def guard(self) -> str:
        return self.kernel


@pytest.fixture
def arrays(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def plan(arrays: Fake, *devices: str, **changes: Any) -> Any:
    return Mirror(arrays, {**OMITTED, "devices": [f"/dev/{name}" for name in devices] or None, **changes}).plan()


def make(arrays: Fake, *devices: str, **changes: Any) -> list[str]:
    arrays.calls.clear()
    plan(arrays, *devices, **changes).apply()
    return arrays.calls


# ---- what mdadm and kernels say


def test_a_superblock() -> None:
    half = Half(examined(events=42, role="Active device 1", members=".A"))
    assert (half.uuid, half.name, half.level, half.metadata, half.raid_devices, half.events, half.role) == (
        UUID, "data", "raid1", "1.0", 2, 42, 1)
    assert half.misses(Half(examined())) and not Half(examined()).misses(half)
    assert Half(examined(role="spare")).role is None
    assert not half.incomplete and Half(examined(features="0x9")).incomplete


@pytest.mark.parametrize(("release", "version", "signature", "expected"), [
    ("5.10.0-19-amd64", "#1 SMP Debian 5.10.149-2 (2022-10-21)", "", (5, 10, 149)),
    ("5.15.0-60-generic", "#66-Ubuntu SMP", "Ubuntu 5.15.0-60.66-generic 5.15.78", (5, 15, 78)),
    ("6.1.176", "#1 Sat Jul  4", "", (6, 1, 176)), ("5.16.0-rc4", "#1", "", (5, 16, 0, 4)), ("5.14.0-70.el9", "#1", "", (5, 14, 0)),
    ("4.19.0+1", "#1", "", (4, 19, 0)), ("5.9", "#1", "", (5, 9, 0)),
])
def test_the_version_of_a_kernel(release: str, version: str, signature: str, expected: tuple[int, ...]) -> None:
    assert version_of(release, version, signature) == expected


@pytest.mark.parametrize(("version", "loses"), [
    ((4, 19, 0), False), ((5, 8, 18), False), ((5, 9, 0), True), ((5, 10, 84), True), ((5, 10, 85), False), ((5, 11, 0), True),
    ((5, 14, 21), True), ((5, 15, 7), True), ((5, 15, 8), False), ((5, 16, 0, 4), True), ((5, 16, 0, 5), False), ((5, 16, 0), False),
    ((6, 1, 176), False),
])
def test_kernels_that_lose_superblocks(version: tuple[int, ...], loses: bool) -> None:
    assert loses_superblock(version) == loses


def test_the_guard_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Uname:
        release, version = "5.10.0-9-amd64", "#1 SMP Debian 5.10.70-1 (2021-09-30)"

    monkeypatch.setattr("os.uname", lambda: Uname)
    assert "Kernel 5.10.70 loses" in Arrays(str(tmp_path)).guard()
    Uname.version = "#1 SMP Debian 5.10.85-1"
    assert Arrays(str(tmp_path)).guard() == ""


def test_a_half_with_bad_blocks_is_not_healthy(arrays: Fake) -> None:
    arrays.runs(xvdb="in_sync", xvdc="in_sync")
    assert arrays.view("md127")["healthy"]
    arrays.attributes["dev-xvdc/bad_blocks"] = "2048 8\n4096 120"
    view = arrays.view("md127")
    assert not view["healthy"] and [member["bad_blocks"] for member in view["members"]] == [0, 128 * 512]


# ---- a new mirror


def test_create(arrays: Fake) -> None:
    (command,) = make(arrays, "xvdb", "xvdc", write_mostly=["/dev/xvdb"], bitmap_chunk="1M")
    command, _equals, config = command.rpartition(" --config=")
    assert command == (
        "mdadm --create /dev/md/data --run --name=data --homehost=any --metadata=1.0 --level=1 --raid-devices=2 --bitmap=internal "
        "--bitmap-chunk=1M --failfast /dev/xvdc --write-mostly /dev/xvdb")
    assert config and not os.path.exists(config)


@pytest.mark.parametrize(("devices", "words"), [
    (("xvdb", "xvdb"), "same device"), (("xvdb", "first"), "same device"), (("xvdb",), "both halves"), ((), "both halves"),
    (("xvdb", "gone"), "is not there"),
])
def test_a_new_mirror_needs_two_devices(arrays: Fake, devices: tuple[str, ...], words: str) -> None:
    with pytest.raises(NodeError, match=words):
        plan(arrays, *devices)
    assert arrays.calls == []


def test_a_new_mirror_needs_all_its_halves_even_with_consent(arrays: Fake) -> None:
    with pytest.raises(NodeError, match="needs all its halves"):
        plan(arrays, "xvdb", "gone", allow_degraded=True)


def test_nothing_is_created_over_data(arrays: Fake) -> None:
    arrays.dirty["xvdc"] = "it has a signature: ext4"
    with pytest.raises(NodeError, match="xvdc is not blank: it has a signature: ext4"):
        plan(arrays, "xvdb", "xvdc")
    assert make(arrays, "xvdb", "xvdc", allow_overwrite=True)[:2] == ["wipefs --all /dev/xvdb", "wipefs --all /dev/xvdc"]
    arrays.blocks.used["xvdc"] = ["mount point /srv"]  # type: ignore[attr-defined]
    with pytest.raises(NodeError, match="used by mount point /srv"):
        plan(arrays, "xvdb", "xvdc", allow_overwrite=True)


def test_who_begins_to_use_a_new_half_after_the_plan(arrays: Fake) -> None:
    for runs, wipe in (({}, False), ({}, True), ({"xvdb": "in_sync"}, False), ({"xvdb": "in_sync"}, True)):
        arrays.blocks.used.clear()  # type: ignore[attr-defined]
        arrays.runs(**runs)
        planned = plan(arrays, "xvdb", "xvdc", allow_overwrite=wipe)
        arrays.calls.clear()
        arrays.blocks.used["xvdc"] = ["mount point /srv"]  # type: ignore[attr-defined]
        with pytest.raises(ApplyError, match="xvdc is used by mount point /srv"):
            planned.apply()
        assert not [call for call in arrays.calls if "xvdc" in call], arrays.calls


def test_halves_of_a_new_mirror_have_the_same_size(arrays: Fake) -> None:
    arrays.blocks.sizes["xvdc"] += MIB  # type: ignore[attr-defined]
    with pytest.raises(NodeError, match="xvdb has 268435456 bytes, /dev/xvdc has 269484032 bytes"):
        plan(arrays, "xvdb", "xvdc")


# ---- a mirror that does not run


def test_assemble(arrays: Fake) -> None:
    arrays.superblocks = {"xvdb": examined(17), "xvdc": examined(18, "Active device 1")}
    assert make(arrays, "xvdb", "xvdc") == ["mdadm --assemble /dev/md/data --run --update=no-bbl /dev/xvdc /dev/xvdb"]


def test_the_older_half_gets_what_it_has_missed(arrays: Fake) -> None:
    arrays.superblocks = {"xvdb": examined(30, members="A."), "xvdc": examined(17, "Active device 1")}
    todo = plan(arrays, "xvdb", "xvdc")
    assert [step.text for step in todo.steps] == ["assemble data from /dev/xvdb", "re-add /dev/xvdc"]


def test_halves_that_both_went_on_are_not_mixed(arrays: Fake) -> None:
    arrays.superblocks = {"xvdb": examined(30, members="A."), "xvdc": examined(25, "Active device 1", ".A")}
    with pytest.raises(NodeError, match=r"xvdc went on without /dev/xvdb \(event counts 25 and 30\)"):
        plan(arrays, "xvdb", "xvdc")
    assert [step.text for step in plan(arrays, "xvdb", "xvdc", force=True).steps] == [
        "assemble data from /dev/xvdb", "overwrite /dev/xvdc"]


def test_with_equal_counts_they_are_not_mixed_either(arrays: Fake) -> None:
    arrays.superblocks = {"xvdb": examined(30, members="A."), "xvdc": examined(30, "Active device 1", ".A")}
    with pytest.raises(NodeError, match="went on without"):
        plan(arrays, "xvdb", "xvdc")


def test_one_half_alone_needs_consent(arrays: Fake) -> None:
    arrays.superblocks = {"xvdb": examined(17)}
    with pytest.raises(NodeError, match="gone is not there"):
        plan(arrays, "xvdb", "gone")
    with pytest.raises(NodeError, match="1 of them is not in devices"):
        plan(arrays, "xvdb")
    assert make(arrays, "xvdb", "gone", allow_degraded=True) == ["mdadm --assemble /dev/md/data --run --update=no-bbl /dev/xvdb"]


def test_halves_of_different_mirrors(arrays: Fake) -> None:
    arrays.superblocks = {"xvdb": examined(), "xvdc": examined(uuid="0:0:0:0")}
    with pytest.raises(NodeError, match="different arrays"):
        plan(arrays, "xvdb", "xvdc")


def test_a_spare_is_no_half(arrays: Fake) -> None:
    arrays.superblocks = {"xvdb": examined(role="spare")}
    with pytest.raises(NodeError, match="was a spare"):
        plan(arrays, "xvdb", "gone", allow_degraded=True)


def test_an_array_that_the_boot_left_incomplete_is_stopped_first(arrays: Fake) -> None:
    arrays.runs(xvdb="spare")
    arrays.superblocks["xvdc"] = examined(role="Active device 1")
    arrays.attributes["array_state"] = "inactive"
    assert make(arrays, "xvdb", "xvdc")[0] == "mdadm --stop /dev/md127"


# ---- a mirror that runs


def test_nothing_to_do(arrays: Fake) -> None:
    arrays.runs(xvdb="in_sync,failfast", xvdc="in_sync,failfast")
    assert not plan(arrays, "xvdb", "xvdc").steps and not plan(arrays).steps
    assert [member["state"] for member in plan(arrays).before["members"]] == ["active", "active"]


def test_a_half_that_was_away_comes_back(arrays: Fake) -> None:
    arrays.runs(xvdb="in_sync")
    arrays.superblocks["xvdb"] = examined(40, members="A.")
    arrays.superblocks["xvdc"] = examined(30, "Active device 1")
    assert make(arrays, "xvdb", "xvdc") == ["mdadm --manage /dev/md127 --failfast --re-add /dev/xvdc"]
    arrays.no_re_add = True
    assert make(arrays, "xvdb", "xvdc")[1:] == [
        "mdadm --zero-superblock /dev/xvdc", "mdadm --manage /dev/md127 --failfast --add /dev/xvdc"]


def test_a_faulty_half_is_removed_first(arrays: Fake) -> None:
    arrays.runs(xvdb="in_sync", xvdc="faulty")
    assert make(arrays, "xvdb", "xvdc")[0] == "mdadm --manage /dev/md127 --remove /dev/xvdc"


def test_a_half_that_has_grown_while_it_was_away(arrays: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its superblock is not at its end any more."""
    arrays.runs(xvdb="in_sync")
    arrays.dirty["xvdc"] = "it has data in its first mebibyte"
    with pytest.raises(NodeError, match="not blank"):
        plan(arrays, "xvdb", "xvdc")
    lost = Half(examined(events=9, role="Active device 1"))
    monkeypatch.setattr(arrays, "displaced", lambda path: lost if path == "/dev/xvdc" else None)
    monkeypatch.setattr(arrays, "replaced", lambda path: arrays.calls.append(f"put {path}"))
    assert make(arrays, "xvdb", "xvdc") == ["put /dev/xvdc", "mdadm --manage /dev/md127 --failfast --re-add /dev/xvdc"]
    arrays.calls.clear()
    arrays.runs(xvdb="in_sync", xvdc="faulty")
    arrays.superblocks.pop("xvdc", None)
    assert make(arrays, "xvdb", "xvdc")[:2] == ["mdadm --manage /dev/md127 --remove /dev/xvdc", "put /dev/xvdc"]
    arrays.runs(xvdb="in_sync")
    arrays.superblocks.pop("xvdc", None)
    lost.uuid = "another"
    with pytest.raises(NodeError, match="not blank"):
        plan(arrays, "xvdb", "xvdc")


@pytest.mark.parametrize(("half", "words"), [
    (examined(50, "Active device 1"), r"xvdc is newer than /dev/xvdb \(event counts 50 and 40\)"),
    (examined(35, "Active device 1", ".A"), "xvdc went on without"),
])
def test_newer_data_are_not_overwritten(arrays: Fake, half: str, words: str) -> None:
    arrays.runs(xvdb="in_sync")
    arrays.superblocks.update(xvdb=examined(40, members="A."), xvdc=half)
    with pytest.raises(NodeError, match=words):
        plan(arrays, "xvdb", "xvdc")
    assert make(arrays, "xvdb", "xvdc", force=True)[0] == "mdadm --zero-superblock /dev/xvdc"


def test_a_disk_that_does_not_answer_is_not_added(arrays: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays.runs(xvdb="in_sync")
    monkeypatch.setattr(arrays.blocks, "folder", lambda path: str(tmp_path / path.rpartition("/")[2]))
    (tmp_path / "xvdc/device").mkdir(parents=True)
    (tmp_path / "xvdc/device/state").write_text("transport-offline\n")
    with pytest.raises(NodeError, match="it is transport-offline"):
        plan(arrays, "xvdb", "xvdc")


def test_a_copy_is_made_before_the_original_goes(arrays: Fake) -> None:
    arrays.runs(xvdb="in_sync", xvdc="in_sync")
    assert make(arrays, "xvdb", "xvdd", purge=True) == [
        "mdadm --manage /dev/md127 --failfast --add /dev/xvdd", "mdadm --manage /dev/md127 --replace /dev/xvdc --with /dev/xvdd"]
    # And while that goes on, there is nothing more to do.
    arrays.runs(xvdb="in_sync", xvdc="in_sync,want_replacement", xvdd="spare,replacement")
    assert make(arrays, "xvdb", "xvdd", purge=True) == []
    arrays.runs(xvdb="in_sync", xvdc="faulty", xvdd="in_sync")
    assert make(arrays, "xvdb", "xvdd", purge=True) == ["mdadm --manage /dev/md127 --remove /dev/xvdc"]


def test_a_third_half_and_its_end(arrays: Fake) -> None:
    arrays.runs(xvdb="in_sync", xvdc="in_sync")
    assert make(arrays, "xvdd") == [
        "mdadm --manage /dev/md127 --failfast --add /dev/xvdd", "mdadm --grow /dev/md127 --raid-devices=3"]
    arrays.runs(xvdb="in_sync", xvdc="in_sync", xvdd="in_sync")
    arrays.attributes["raid_disks"] = "3"
    assert make(arrays, "xvdb", "xvdd", purge=True) == [
        "mdadm --manage /dev/md127 --fail /dev/xvdc", "mdadm --manage /dev/md127 --remove /dev/xvdc",
        "mdadm --grow /dev/md127 --raid-devices=2"]


def test_a_half_that_was_added_and_got_no_place(arrays: Fake) -> None:
    """The run before was ended between two steps."""
    arrays.runs(xvdb="in_sync", xvdc="in_sync", xvdd="spare")
    arrays.attributes["dev-xvdd/slot"] = "none"
    assert make(arrays, "xvdd") == ["mdadm --grow /dev/md127 --raid-devices=3"]
    assert make(arrays, "xvdb", "xvdd", purge=True) == ["mdadm --manage /dev/md127 --replace /dev/xvdc --with /dev/xvdd"]
    arrays.attributes["raid_disks"] = "3"
    assert make(arrays, "xvdd") == []


def test_a_new_half_takes_the_place_of_a_lost_one(arrays: Fake) -> None:
    arrays.runs(xvdb="in_sync")
    assert make(arrays, "xvdb", "xvdd") == ["mdadm --manage /dev/md127 --failfast --add /dev/xvdd"]
    arrays.dirty["xvdd"] = "it has data in its first mebibyte"
    with pytest.raises(NodeError, match="not blank"):
        plan(arrays, "xvdb", "xvdd")
    arrays.dirty.clear()
    arrays.blocks.sizes["xvdd"] = 128 * MIB  # type: ignore[attr-defined]
    with pytest.raises(NodeError, match="too small"):
        plan(arrays, "xvdb", "xvdd")


def test_the_only_copy_is_never_taken_out(arrays: Fake) -> None:
    arrays.runs(xvdb="in_sync", xvdc="spare")
    with pytest.raises(NodeError, match="No complete copy"):
        plan(arrays, "xvdb", state="degraded")
    assert make(arrays, "xvdc", state="degraded")[0] == "mdadm --manage /dev/md127 --fail /dev/xvdc"


def test_taking_out_twice_is_nothing(arrays: Fake) -> None:
    arrays.runs(xvdb="in_sync")
    assert make(arrays, "xvdc", state="degraded") == []
    with pytest.raises(NodeError, match="Name in devices"):
        plan(arrays, state="degraded")


def test_flags(arrays: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(arrays, "set_flag", lambda array, member, flag: written.append((member, flag)))
    arrays.runs(xvdb="in_sync,write_mostly", xvdc="in_sync,failfast")
    make(arrays, "xvdb", "xvdc", write_mostly=["/dev/xvdc"], failfast=True)
    assert written == [("xvdb", "failfast"), ("xvdb", "-writemostly"), ("xvdc", "writemostly")]
    with pytest.raises(NodeError, match="not among the devices"):
        plan(arrays, "xvdb", "xvdc", write_mostly=["/dev/xvdd"])


def test_grow(arrays: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays.runs(xvdb="in_sync", xvdc="in_sync")
    monkeypatch.setattr(arrays, "take_all_space", lambda array: arrays.calls.append("take all space"))
    assert make(arrays, grow=True) == []
    sizes: dict[str, int] = arrays.blocks.sizes  # type: ignore[attr-defined]
    sizes["xvdb"] = 320 * MIB
    with pytest.raises(NodeError, match="not grown alike: /dev/xvdb has 335544320 bytes, /dev/xvdc has 268435456"):
        plan(arrays, grow=True)
    sizes["xvdc"] = 320 * MIB
    assert make(arrays, grow=True) == [
        "mdadm --grow /dev/md127 --bitmap=none", "take all space", "mdadm --grow /dev/md127 --size=max",
        "mdadm --grow /dev/md127 --bitmap=internal --bitmap-chunk=1024K"]
    # A run that was ended in between: the superblocks have moved, the bitmap is away.
    arrays.attributes["bitmap/location"] = "none"
    assert make(arrays, grow=True) == [
        "take all space", "mdadm --grow /dev/md127 --size=max", "mdadm --grow /dev/md127 --bitmap=internal --bitmap-chunk=1024K"]
    arrays.attributes["component_size"] = str(320 * 1024)
    assert make(arrays, grow=True) == ["mdadm --grow /dev/md127 --bitmap=internal"]
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    again = "mdadm --grow /dev/md127 --bitmap=internal"
    arrays.no_bitmap = 2
    assert make(arrays, grow=True) == [again] * 3
    # Both halves have come back by a bitmap: one is added anew.
    arrays.no_bitmap = 3
    calls = make(arrays, grow=True)
    assert calls == [
        *[again] * 3, "dmesg", "mdadm --manage /dev/md127 --fail /dev/xvdb", "mdadm --manage /dev/md127 --remove /dev/xvdb",
        "mdadm --zero-superblock /dev/xvdb", "mdadm --manage /dev/md127 --failfast --add /dev/xvdb", again]
    # While something is resynchronised, that may be why: it is waited for, and no half is taken out.
    arrays.attributes["sync_action"], arrays.no_bitmap = "resync", 3
    with monkeypatch.context() as waiting:
        waiting.setattr(arrays, "wait", lambda *_arguments: arrays.attributes.update(sync_action="idle"))
        assert make(arrays, grow=True) == [*[again] * 3, "dmesg", again]
    arrays.attributes["sync_action"], arrays.no_bitmap = "idle", 99
    with pytest.raises(ApplyError, match=r"failed to set internal bitmap \(kernel: md127: invalid bitmap file superblock: bad magic\)$"):
        make(arrays, grow=True)
    arrays.attributes.update({"bitmap/location": "+8", "component_size": "262080"})
    arrays.kernel = "Kernel 5.10.70 loses the superblock"
    with pytest.raises(NodeError, match="loses the superblock"):
        plan(arrays, grow=True)
    assert plan(arrays, grow=True, force=True).steps
    arrays.attributes["sync_action"] = "recover"
    with pytest.raises(NodeError, match="wait for the resync"):
        plan(arrays, grow=True, force=True)


# ---- the end


def test_absent(arrays: Fake) -> None:
    assert make(arrays, state="absent") == []
    arrays.runs(xvdb="in_sync", xvdc="in_sync")
    assert make(arrays, state="absent") == [
        "mdadm --stop /dev/md127", "mdadm --zero-superblock /dev/xvdb", "mdadm --zero-superblock /dev/xvdc"]
    arrays.live = {}
    arrays.superblocks["xvdb"] = examined().replace("any:data", "any:other")
    with pytest.raises(NodeError, match="belongs to another array, other"):
        plan(arrays, "xvdb", state="absent")


def test_waiting_ends(arrays: Fake) -> None:
    arrays.runs(xvdb="in_sync", xvdc="spare")
    arrays.attributes.update(sync_action="recover", sync_completed="100 / 400")
    with pytest.raises(NodeError, match=r"at 25 % after 0 seconds\. It goes on"):
        Mirror(arrays, {**OMITTED, "devices": None, "wait_timeout": 0}).wait()
    assert arrays.progress("md127") == 25.0
    Mirror(arrays, {**OMITTED, "devices": None, "wait": False}).wait()
