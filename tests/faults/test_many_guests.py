# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three guests on one node: they are started together elsewhere, and one that must not be started keeps no other down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from faults.world import INVENTORY, Watch, World
from lab_tests.helpers import until

GUESTS = ["web1", "mail1", "mail2"]


@pytest.fixture
def crowd(figures: list[str], tmp_path: Path) -> Iterator[World]:
    """A lab like the demo's, with two guests more, of which mail1 shall start first."""
    (first,) = yaml.safe_load((INVENTORY / "host_vars/alpha.yml").read_text(encoding="utf-8"))["mirror_guest_list"]
    more = [{**first, "name": name, "order": order, "disks": [{**first["disks"][0], "size": "64MiB"}],
             "vm": {**first["vm"], "other_config": {"lab_guest": name}}} for name, order in (("mail1", -1), ("mail2", 0))]
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/alpha.yml").write_text(yaml.safe_dump({"mirror_guest_list": [first, *more]}), encoding="utf-8")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {alpha: {}}}\n", encoding="utf-8")
    world = World("faults-crowd", figures, [INVENTORY, tmp_path], guests=[{"name": name, "memory": "192MiB"} for name in GUESTS])
    world.up()
    try:
        world.play("site")
        yield world
    finally:
        world.load.stop()
        world.lab.down()


def mounted(world: World, name: str) -> bool:
    box = world.lab.box(name)
    return box.running() and box.run("findmnt /srv", check=False).returncode == 0


def written(world: World, name: str, words: str) -> None:
    world.lab.box(name).run(f"echo {words} >>/srv/note; sync -f /srv/note")


@pytest.mark.long
def test_power_cut_of_a_node_with_three_guests(crowd: World) -> None:
    world, watch = crowd, Watch()
    gone, rest = world.node(), world.other()
    assert {world.lab.box(name).status.host for name in GUESTS} == {gone}
    world.again("site")
    for name in GUESTS:
        written(world, name, "before")
    world.lab.kill([gone])
    # A restore of a disk of it is at work there, as far as anybody can see.
    lock = "/run/nobloat/restore-mail2.lock"
    world.lab.box(rest).run(f"setsid flock -x {lock} sleep 3600 >/dev/null 2>&1 </dev/null & echo $! >/run/restore.pid")
    said = world.play("node_recover", failing=True, node=gone, assume_dead=[gone]).stdout
    assert "mail2 must not be started" in said and f"{rest} restores a disk of it" in said, said
    assert {name for name in GUESTS if world.lab.box(name).running()} == {"web1", "mail1"}
    world.lab.box(rest).run("kill -- -$(cat /run/restore.pid)")
    world.play("node_recover", node=gone, assume_dead=[gone])
    world.again("node_recover", node=gone, assume_dead=[gone])
    for name in GUESTS:
        assert world.lab.box(name).status.host == rest
        until(lambda name=name: mounted(world, name), 90, f"{name} has its data")
        written(world, name, "alone")
    world.lab.start([gone])
    world.play("node_return", node=gone)
    world.again("node_return", node=gone)
    world.play("site")  # starts what ran there and is not mirrored
    world.again("site")
    for name in GUESTS:
        assert world.lab.box(name).run("cat /srv/note; grep -o '\\[[U_]*\\]' /proc/mdstat").stdout.split() == ["before", "alone", "[UU]"]
    assert [incident for incident in world.lab.incidents if "while it runs on" in incident] == []
    world.note("power cut of a node with three guests", watch())
