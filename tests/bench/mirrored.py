# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes of real kernels with so many mirrored guests: site.yml the first time and again, then the recovery of all of them from a
node that has lost power. What grows with the guests is what counts. And what a task on a node costs that has nothing to do."""
from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import tasks
from bench.measure import clock, table
from bench.playbooks import Taken, measured
from faults.world import DISK, INVENTORY, MOUNT, World
from lab_tests.helpers import play, until

FULL = {"guests": [1, 3, 6, 12], "rounds": 3, "count": 20}
TINY = {"guests": [1], "rounds": 1, "count": 2}
SIZE = "128MiB"
HOME, OTHER = "node1", "node2"
PATIENCE = 3600.0


class Figures(NamedTuple):
    """Seconds."""

    first: float
    again: float
    recovery: float


def names(count: int) -> list[str]:
    return [f"web{number}" for number in range(1, count + 1)]


def machines(count: int) -> list[dict[str, str]]:
    """Of the guests, for the lab's description."""
    return [{"name": name, "memory": "256MiB"} for name in names(count)]


def described(folder: Path, count: int) -> Path:
    """An inventory with these mirrored guests, all of them at home on one node, to be laid over the lab's."""
    guests = [
        {"name": name, "home": HOME, "disks": [{"name": DISK, "size": SIZE, "filesystem": "ext4", "mount": MOUNT}],
         "vm": {"memory": "512MiB", "other_config": {"lab_guest": name}}}
        for name in names(count)
    ]
    path = folder / str(count)
    (path / "host_vars").mkdir(parents=True)  # which win over those of the lab's
    (path / "host_vars/alpha.json").write_text(json.dumps({"mirror_guest_list": guests}), encoding="utf-8")
    (path / "hosts.yml").write_text("all: {hosts: {alpha: {}}}\n", encoding="utf-8")
    return path


def running(world: World, count: int, node: str) -> None:
    """Wait until all guests have their data on a node; AssertionError if one is elsewhere, or does not come."""
    for name in names(count):
        box = world.lab.box(name)
        until(lambda box=box: box.running() and box.run(f"findmnt {MOUNT}", check=False).returncode == 0, 120, f"{name} has its data")
        assert box.status.host == node, f"{name} is on {box.status.host}"


def story(world: World, count: int) -> Figures:
    """From bare nodes to a recovery; the guests' boot, which is not awaited by the playbooks, is not counted."""
    first, _played = clock(partial(world.play, "site", timeout=PATIENCE))
    running(world, count, HOME)
    again, _none = clock(partial(world.again, "site", timeout=PATIENCE))
    world.lab.kill([HOME])
    recovery, _played = clock(partial(world.play, "node_recover", node=HOME, assume_dead=[HOME], timeout=PATIENCE))
    running(world, count, OTHER)
    return Figures(first, again, recovery)


def node_tasks(world: World, count: int, rounds: int) -> list[list[str]]:
    """Rows for modules that run on nodes: one with a leg that is there, one that just looks."""

    def run(content: list[dict[str, Any]], direct: bool) -> Taken:
        text = "# a play\n" + json.dumps([{"hosts": OTHER, "gather_facts": False, "tasks": content}])
        taken, done = measured(lambda: play(world.lab, text, extra_vars={"nobloat_xen_direct": direct}, timeout=PATIENCE))
        if done.rc or done.changed or done.recap[OTHER]["ok"] != len(content):
            raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])
        return taken

    wanted = {
        "nobloat.xen.leg": {"name": f"web1-{DISK}", "vg": "vg0", "guest": "web1", "disk": DISK, "size": SIZE},
        "nobloat.xen.mirror_info": {},
    }
    return [row for module, options in wanted.items() for row in tasks.compare(module, run, {module: options}, count, rounds)]


def rows(found: dict[int, Figures]) -> list[list[str]]:
    """Of a table, in the order of the measurements; the first one is what the others are held against."""
    base = next(iter(found.values()))
    return [
        [str(count), *(text for seconds, one in zip(figures, base, strict=True) for text in (f"{seconds:.0f}", f"{seconds / one:.2f}"))]
        for count, figures in found.items()
    ]


def main(guests: Sequence[int], rounds: int, count: int) -> None:
    found: dict[int, Figures] = {}
    node: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in guests:
            world = World(f"bench-{number}", inventories=[INVENTORY, described(Path(folder), number)], guests=machines(number))
            world.up()
            try:
                found[number] = story(world, number)
                print(f"{number}: {found[number]}", flush=True)  # the next one takes minutes, and may fail
                node = node or node_tasks(world, count, rounds)
            finally:
                world.lab.down()
    head = [text for what in ("site.yml, first run, s", "nothing to do, s", "node_recover, s") for text in (what, f"of {guests[0]}")]
    table("Mirrored guests of two nodes", ["guests", *head], rows(found))
    table(f"One task of {count} on a node with nothing to do, best of {rounds}, without the start of the play", tasks.HEAD, node)
