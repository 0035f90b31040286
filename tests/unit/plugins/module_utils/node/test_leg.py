# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Legs on a fake LVM whose extents remember what was written: no leg ever shows it, whenever the power is cut."""
from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError, ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node import wipe as wipe_module
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.leg import LegVolumes
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError
from ansible_collections.nobloat.xen.plugins.module_utils.node.spares import Range, Spares, ranges_of, shares
from ansible_collections.nobloat.xen.plugins.module_utils.node.wipe import Worker

from .lvm import EXTENT, Killed, Lvm

DATA = ("nobloat.guest=web1", "nobloat.disk=data", "nobloat.slot=0")
USERS: list[str] = []


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    monkeypatch.setattr(Blocks, "users", lambda *_arguments: list(USERS))
    monkeypatch.setattr("ansible_collections.nobloat.xen.plugins.module_utils.node.leg.BETWEEN", 0)
    USERS.clear()
    return Node(tmp_path, Lvm(20, 20))


class Node:
    """A node whose worker is done whenever somebody waits for it."""

    def __init__(self, root: Path, lvm: Lvm) -> None:
        self.root, self.lvm = root, lvm
        self.waits = 0
        self.lazy = False  # the worker does nothing
        self.time = 0.0

    def pause(self, seconds: float) -> None:
        self.waits += 1
        self.time += seconds
        if not self.lazy:
            self.lvm.wipe()

    def plan(self, extents: int = 8, name: str = "web1-data", wait_timeout: float = 100, **changes: Any) -> ChangeSet:
        volumes = LegVolumes(str(self.root), self.lvm, lambda: self.time, self.pause, wait_timeout)
        guest, disk = name.split("-", 1)
        return volumes.plan({
            "name": name, "vg": "vg0", "state": "present", "guest": guest, "disk": disk, "slot": None, "size": str(extents * EXTENT),
            "stripes": 0, "stripe_size": "64KiB", **changes})

    def leg(self, *arguments: Any, **changes: Any) -> list[str]:
        """Make it so; returns what was done."""
        plan = self.plan(*arguments, **changes)
        plan.apply()
        return [step.text for step in plan.steps]


def test_a_new_leg_is_zeroed_before_it_has_its_name(node: Node) -> None:
    plan = node.plan(slot=0)
    assert (plan.before, plan.after["size"], plan.after["guest"], plan.after["slot"]) == ({}, 8 * EXTENT, "web1", 0)
    assert node.lvm.calls == [] and not node.lvm.volumes
    plan.apply()
    leg = node.lvm.volumes["web1-data"]
    assert (leg.size, leg.stripes, leg.stripe_size, leg.tags) == (8 * EXTENT, 2, 65536, sorted(DATA))
    assert node.lvm.read("web1-data") == {""} and node.waits == 1
    assert node.leg(slot=0) == [] and not node.lvm.spares()


def test_a_removed_leg_is_only_renamed_and_the_next_one_gets_its_room(node: Node) -> None:
    node.lvm.add("web1-data", 8, *DATA, stripes=2)
    plan = node.plan(state="absent")
    assert plan.after == {} and [step.gone for step in plan.steps] == ["the data of vg0/web1-data", ""]
    plan.apply()
    (spare,) = node.lvm.spares()
    assert node.lvm.calls[0].startswith("lvrename vg0 web1-data spare-")
    assert node.lvm.calls[-1] == "systemctl --no-block restart nobloat-wipe.service"
    node.lvm.wipe()
    assert node.leg(6, "web2-log") == ["make web2-log of zeroed room"]
    assert node.waits == 0 and node.lvm.read("web2-log") == {""} and set(node.lvm.volumes["web2-log"].places) < set(spare.places)
    assert [(rest.size, rest.tags) for rest in node.lvm.spares()] == [(2 * EXTENT, [f"nobloat.zeroed={2 * EXTENT}"])]
    assert node.leg(state="absent") == []


def test_a_leg_that_waits_takes_free_room_before_what_is_being_wiped(node: Node) -> None:
    node.lvm.add("spare-old", 20, "nobloat.zeroed=0", stripes=2)
    node.leg()
    assert node.lvm.volumes["spare-old"].size == 20 * EXTENT and node.lvm.read("web1-data") == {""}


def test_all_room_can_be_had(node: Node) -> None:
    """Also that of spare volumes that are not clean yet, and of several at once; and more is refused before anything is done."""
    node.lvm.add("spare-one", 10, "nobloat.zeroed=0", stripes=2)
    node.lvm.add("spare-two", 6, f"nobloat.zeroed={6 * EXTENT}", stripes=2)
    node.lvm.content.update(dict.fromkeys(node.lvm.volumes["spare-two"].places, ""))
    with pytest.raises(NodeError, match="too little room"):
        node.plan(42)
    assert node.lvm.calls == []
    node.leg(40)
    assert list(node.lvm.volumes) == ["web1-data"] and node.lvm.read("web1-data") == {""}


def test_growth_is_zeroed_and_the_old_part_is_not_touched(node: Node) -> None:
    leg = node.lvm.add("web1-data", 8, *DATA, "nobloat.lease=5:1:started:me", stripes=2)
    old = list(leg.places)
    plan = node.plan(12)
    assert (plan.before["size"], plan.after["size"]) == (8 * EXTENT, 12 * EXTENT)
    plan.apply()
    assert leg.places[:8] == old and {node.lvm.content[place] for place in old} == {"secret"}
    assert {node.lvm.content[place] for place in leg.places[8:]} == {""}
    assert "nobloat.lease=5:1:started:me" in leg.tags
    with pytest.raises(NodeError, match="cannot shrink"):
        node.plan(8)


def test_a_slot_is_noted_and_taken_back_when_growth_fails(node: Node) -> None:
    leg = node.lvm.add("web1-data", 8, *DATA, stripes=2)
    node.lvm.fail = "lvextend"
    with pytest.raises(ApplyError, match="no luck"):
        node.leg(12, slot=1)
    assert leg.tags == sorted(DATA) and leg.size == 8 * EXTENT
    node.lvm.fail = ""
    assert node.leg(12, slot=1) == ["note the slot of web1-data", "grow web1-data by zeroed room"]
    assert "nobloat.slot=1" in leg.tags and leg.size == 12 * EXTENT and node.leg(12) == []


@pytest.mark.parametrize("cut", range(1, 12))
def test_the_power_may_be_cut_at_any_moment(node: Node, cut: int) -> None:
    """Legs come and go; what is interrupted is done by the next run. What has a leg's name is empty or has what its guest wrote."""
    lvm = node.lvm
    lvm.content.update(dict.fromkeys(lvm.add("web1-data", 8, *DATA, stripes=2).places, "of web1"))
    lvm.add("spare-dirty", 4, "nobloat.zeroed=0", stripes=2)
    lvm.cut = cut
    jobs = [lambda: node.leg(state="absent"), lambda: node.leg(16, "web2-data"), lambda: node.leg(22, "web3-data"),
            lambda: node.leg(name="web2-data", state="absent"), lambda: node.leg(12, "web4-data"), lambda: node.leg(14, "web4-data")]
    for job in jobs:
        for _attempt in range(2):
            with contextlib.suppress(Killed):
                job()
                break
        for name in lvm.volumes:
            assert name.startswith(("spare-", "web1-data")) or lvm.read(name) == {""}, name
        free = {lvm.content[place] for disk in lvm.disks for place in lvm.unused(disk)}
        assert "of web1" not in free, "what a leg had has become free room, and nobody will zero it"
    assert lvm.changes >= cut, "nothing was cut"
    assert {name: lvm.volumes[name].size // EXTENT for name in lvm.volumes if "spare" not in name} == {"web3-data": 22, "web4-data": 14}


@pytest.mark.parametrize(("before", "after"), [(0, 8), (8, 12)])
def test_two_runs_at_once_make_one_leg(node: Node, before: int, after: int) -> None:
    """The slower one finds it made, or grown, when its room is ready, and leaves nothing behind."""
    if before:
        node.lvm.add("web1-data", before, *DATA, stripes=2)
    done = node.pause

    def pause(seconds: float) -> None:
        node.pause = done  # type: ignore[method-assign]
        assert node.leg(after)

    node.pause = pause  # type: ignore[method-assign]
    assert node.leg(after)
    assert list(node.lvm.volumes) == ["web1-data"] and node.lvm.volumes["web1-data"].size == after * EXTENT


def test_a_wait_ends_and_goes_on(node: Node) -> None:
    node.lazy = True
    with pytest.raises(ApplyError, match=r"The room for web1-data is zeroed first: 0 % of 32 MiB after \d+ seconds"):
        node.leg(wait_timeout=3)
    (spare,) = node.lvm.spares()
    assert "nobloat.wanted" in spare.tags and "web1-data" not in node.lvm.volumes
    node.lazy = False
    assert node.leg() and node.lvm.read("web1-data") == {""} and not node.lvm.spares()


def test_what_keeps_the_worker_from_it_is_told(node: Node) -> None:
    node.lazy = True
    done = node.pause

    def pause(seconds: float) -> None:
        done(seconds)
        name = next(iter(node.lvm.volumes))
        (node.root / "run/nobloat-wipe.json").write_text(f'{{"/dev/vg0/{name}": "The disk is broken."}}')

    node.pause = pause  # type: ignore[method-assign]
    with pytest.raises(ApplyError, match=r"cannot be zeroed: The disk is broken\."):
        node.leg()


def test_what_lvm_refuses_leaves_clean_room_clean(node: Node) -> None:
    node.lvm.add("spare-one", 8, f"nobloat.zeroed={8 * EXTENT}", stripes=2)
    node.lvm.fail = "--name web1-data"
    with pytest.raises(ApplyError, match="no luck"):
        node.leg()
    assert [(spare.size, spare.tags) for spare in node.lvm.spares()] == [(8 * EXTENT, [f"nobloat.zeroed={8 * EXTENT}"])]


@pytest.mark.parametrize(("tags", "more", "words"), [
    ((), {}, "is no leg"), (("nobloat.guest=web1",), {}, "is no leg"), (("nobloat.guest=web2", "nobloat.disk=data"), {}, "of guest web2"),
    (DATA, {"origin": "other"}, "is no leg"), (("nobloat.new", "nobloat.zeroed=0"), {}, "is no leg")])
@pytest.mark.parametrize("state", ["present", "absent", "kept"])
def test_a_volume_that_is_not_ours_is_left_alone(node: Node, state: str, tags: tuple[str, ...], more: dict[str, str], words: str) -> None:
    node.lvm.add("web1-data", 8, *tags, stripes=2, **more)
    with pytest.raises(NodeError, match=words):
        node.plan(state=state)
    assert node.lvm.calls == [] and node.lvm.read("web1-data") == {"secret"}


@pytest.mark.parametrize("state", ["absent", "kept"])
def test_a_leg_in_use_stays(node: Node, state: str) -> None:
    node.lvm.add("web1-data", 8, *DATA, stripes=2)
    USERS[:] = ["guest domain 7"]
    with pytest.raises(NodeError, match="is used by guest domain 7"):
        node.plan(state=state)
    USERS.clear()
    plan = node.plan(state=state)
    USERS[:] = ["guest domain 7"]  # looked for again right before
    with pytest.raises(ApplyError, match="is used by guest domain 7"):
        plan.apply()
    USERS.clear()
    folder = node.root / "etc/nobloat/exports.d"
    folder.mkdir(parents=True)
    export = {"name": "web1-data", "device": "/dev/vg0/web1-data", "chap": {}, "iqn": "iqn.2026-11.test:web1", "serial": "0" * 32,
              "portals": [], "initiators": [], "loopback": False}
    (folder / "web1-data.json").write_text(json.dumps(export))
    with pytest.raises(NodeError, match="is exported as web1-data"):
        node.plan(state=state)
    (folder / "web1-data.json").write_text(json.dumps(export)[:50])
    with pytest.raises(NodeError, match=r"is the disk of export web1-data: its description .* is damaged"):
        node.plan(state=state)
    (folder / "web1-data.json").unlink()
    node.lvm.add("backup-web1-data", 2, origin="web1-data")
    with pytest.raises(NodeError, match="has the snapshots backup-web1-data"):
        node.plan(state=state)
    assert node.lvm.calls == []


def test_a_leg_is_kept_and_removed_later(node: Node) -> None:
    node.lvm.add("web1-data", 8, *DATA, stripes=2)
    node.leg(state="kept")
    assert node.lvm.volumes["moved-web1-data"].tags == ["nobloat.kept"] and node.leg(state="kept") == []
    node.lvm.add("web1-data", 8, *DATA, stripes=2)
    with pytest.raises(NodeError, match="of an earlier move already"):
        node.plan(state="kept")
    assert node.leg(name="moved-web1-data", state="absent", guest=None, disk=None)
    node.lvm.wipe()
    assert set(node.lvm.volumes) == {"web1-data", *(name for name in node.lvm.volumes if name.startswith("spare-"))}
    assert {node.lvm.content[place] for spare in node.lvm.spares() for place in spare.places} == {""}


def test_a_step_that_fails_gives_a_kept_leg_its_name_back(node: Node) -> None:
    node.lvm.add("web1-data", 8, *DATA, stripes=2)
    node.lvm.fail = "lvchange"
    with pytest.raises(ApplyError, match="no luck"):
        node.leg(state="kept")
    assert node.lvm.volumes["web1-data"].tags == sorted(DATA) and len(node.lvm.volumes) == 1


def test_thin_volumes_need_no_zeroing_where_their_pool_does_it(node: Node) -> None:
    node.lvm.add("pool", 8, segtype="thin-pool", zero="zero")
    leg = node.lvm.add("web1-data", 4, *DATA, segtype="thin", pool="pool")
    assert node.leg(6) == ["grow web1-data"] and leg.size == 6 * EXTENT
    node.lvm.volumes["pool"].zero = ""
    with pytest.raises(NodeError, match="does not zero what it hands out"):
        node.plan(8)
    assert node.leg(state="absent") and "web1-data" not in node.lvm.volumes and not node.lvm.spares()


def test_only_clean_room_is_given_back_to_others(node: Node) -> None:
    node.lvm.add("spare-dirty", 4, "nobloat.guest=web1", stripes=2)
    for name, size in (("spare-small", 2), ("spare-large", 10)):
        node.lvm.add(name, size, f"nobloat.zeroed={size * EXTENT}", stripes=2)
    node.lvm.add("spare-parts", 2)  # of somebody else
    spares = Spares(node.lvm, root=str(node.root))
    assert spares.room("vg0") == 12 * EXTENT
    spares.release("vg0", EXTENT)
    assert sorted(node.lvm.volumes) == ["spare-dirty", "spare-large", "spare-parts"]
    plan = LegVolumes(str(node.root), node.lvm).plan_release(["vg0"])
    assert plan.before == {"spare-large": 10 * EXTENT} and plan.after == {}
    plan.apply()
    assert sorted(node.lvm.volumes) == ["spare-dirty", "spare-parts"]


# ---- the worker


class Kernel:
    """What the kernel does to zero a part, and when the power is cut."""

    def __init__(self, lvm: Lvm, worker: Worker) -> None:
        self.lvm, self.worker = lvm, worker
        self.parts: list[tuple[str, int, int]] = []
        self.left = 1000

    def __call__(self, _descriptor: int, start: int, size: int) -> None:
        name = self.worker.current
        if not self.left:
            raise Killed
        self.left -= 1
        self.parts.append((name, start // EXTENT, size // EXTENT))
        for place in self.lvm.volumes[name].places[start // EXTENT:(start + size) // EXTENT]:
            self.lvm.content[place] = ""


@pytest.fixture
def worker(node: Node, monkeypatch: pytest.MonkeyPatch) -> tuple[Worker, Kernel]:
    class Held:
        descriptor = 0

        def __init__(self, path: str, _blocks: Blocks) -> None:
            made.current = path.rpartition("/")[2]
            if USERS:
                raise NodeError(f"{path} is used by {USERS[0]}. Nothing was written to it; end that first.")

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_error: Any) -> None:
            pass

    def clock() -> float:
        node.time += 3
        return node.time

    monkeypatch.setattr(wipe_module, "Held", Held)
    monkeypatch.setattr(wipe_module, "CHUNK", 2 * EXTENT)
    monkeypatch.setattr(wipe_module.os, "fsync", lambda _descriptor: node.lvm.calls.append("fsync"))
    made: Any = Worker(Spares(node.lvm, root=str(node.root)), Blocks(str(node.root)), str(node.root), clock=clock)
    made.zero = Kernel(node.lvm, made)
    return made, made.zero


def test_the_worker_zeroes_all_spare_volumes_and_nothing_else(node: Node, worker: tuple[Worker, Kernel]) -> None:
    node.lvm.add("web1-data", 4, *DATA, stripes=2)
    node.lvm.add("spare-parts", 2)
    node.lvm.add("spare-one", 4, *DATA, "nobloat.lease=1:1:started:x", "other", stripes=2)
    node.lvm.add("spare-two", 6, "nobloat.zeroed=0", "nobloat.wanted", stripes=2)
    node.lvm.add("spare-three", 2, f"nobloat.zeroed={2 * EXTENT}", stripes=2)
    assert worker[0].work() == 0
    assert [name for name, start, _size in worker[1].parts if start == 0] == ["spare-two", "spare-one"]
    assert node.lvm.read("spare-one") == node.lvm.read("spare-two") == {""}
    assert node.lvm.read("web1-data") == node.lvm.read("spare-parts") == node.lvm.read("spare-three") == {"secret"}
    assert node.lvm.volumes["spare-one"].tags == [f"nobloat.zeroed={4 * EXTENT}", "other"]
    assert node.lvm.volumes["spare-two"].tags == [f"nobloat.zeroed={6 * EXTENT}"]


def test_a_power_cut_costs_what_was_not_noted(node: Node, worker: tuple[Worker, Kernel]) -> None:
    spare = node.lvm.add("spare-one", 16, *DATA, stripes=2)
    worker[1].left = 5
    with pytest.raises(Killed):
        worker[0].work()
    done = int(spare.tags[0].partition("=")[2])
    assert 0 < done <= 10 * EXTENT and {node.lvm.content[place] for place in spare.places[:done // EXTENT]} == {""}
    noted = next(number for number, call in enumerate(node.lvm.calls) if f"--addtag nobloat.zeroed={done}" in call)
    assert node.lvm.calls[noted - 1] == "fsync", "noted before it was on the disk"
    worker[1].left = 100
    assert worker[0].work() == 0 and worker[1].parts[5][1] == done // EXTENT
    assert node.lvm.read("spare-one") == {""} and spare.tags == [f"nobloat.zeroed={16 * EXTENT}"]


def test_what_is_in_use_is_not_written_to(node: Node, worker: tuple[Worker, Kernel]) -> None:
    node.lvm.add("spare-one", 4, *DATA, stripes=2)
    USERS[:] = ["mount point /mnt"]
    assert worker[0].work() == 1 and not worker[1].parts
    assert "is used by mount point /mnt" in wipe_module.problems(str(node.root))["/dev/vg0/spare-one"]
    USERS.clear()
    worker[0].problems = {}
    assert worker[0].work() == 0 and wipe_module.problems(str(node.root)) == {}


def test_the_worker_runs_from_its_own_files(node: Node) -> None:
    """Nothing of Ansible is imported by them."""
    node.leg()
    files = wipe_module.files()
    assert all((node.root / path).read_text() == text for path, text in files.items())
    assert (node.root / wipe_module.ENABLED).is_symlink() and "StartLimitInterval=0" in files[wipe_module.UNIT]
    code = f"import {wipe_module.MODULE}, sys; assert not [name for name in sys.modules if name.split('.')[0] == 'ansible']"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(node.root / wipe_module.FOLDER)}, check=True, timeout=60)


# ---- places


@pytest.mark.parametrize(("extents", "stripes", "room", "wanted"), [
    (8, 2, {"a": 4, "b": 5}, {"b": 4, "a": 4}), (8, 2, {"a": 3, "b": 50}, None), (8, 2, {"a": 5, "b": 1, "c": 4}, {"a": 4, "c": 4}),
    (8, 1, {"a": 5, "b": 6}, {"b": 6, "a": 2}), (8, 1, {"a": 5}, None), (8, 3, {"a": 5, "b": 9}, None)])
def test_what_a_volume_takes_of_each_disk(extents: int, stripes: int, room: dict[str, int], wanted: dict[str, int] | None) -> None:
    assert shares(extents, stripes, room) == wanted


def test_ranges_as_lvm_tells_them() -> None:
    assert ranges_of("/dev/sda:0-9 /dev/disk/by-path/ip-10.0.0.1:3260-lun-0:3-3") == [
        Range("/dev/sda", 0, 10), Range("/dev/disk/by-path/ip-10.0.0.1:3260-lun-0", 3, 1)]
    assert ranges_of("web1_rimage_0:0-9 web1_rimage_1:0-9") == ranges_of("") == []
