# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that lose power, and nodes that only seem to have."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from faults.load import Load
from faults.world import DISK, GUEST, INVENTORY, LEG, MOUNT, Watch, World
from lab_tests.helpers import play, until
from xapisim.launcher import control

# What a human runs who knows which half is the right one.
OVERWRITE = f"""
- hosts: {GUEST}
  gather_facts: false
  tasks:
    - nobloat.xen.md_mirror: {{name: {DISK}, devices: [/dev/xvde, /dev/xvdf], force: true}}
"""


def test_power_cut_of_the_remote_node(busy: World) -> None:
    world, watch, gone = busy, Watch(), busy.other()
    world.lab.kill([gone])
    until(world.degraded, 30, "the mirror has lost its half")
    world.load.grow(50)
    world.lab.start([gone])
    world.play("node_return", node=gone)
    world.load.grow(50)
    world.whole()
    world.again("node_return", node=gone)
    world.note("power cut of the remote node", watch())


def test_power_cut_of_the_node_that_holds_the_guest(busy: World) -> None:
    world, watch, gone, rest = busy, Watch(), busy.node(), busy.other()
    world.lab.kill([gone])
    world.load.stop()
    told = world.play("node_recover", failing=True, node=gone)
    assert gone in told.stdout, "nobody said that it is dead"
    assert not world.guest.running(), "nothing was started elsewhere"
    world.play("node_recover", node=gone, assume_dead=[gone])
    assert world.resident() == rest == world.node()
    world.ready()
    rows = [row for row in world.play("mirror_status", mirror_status_page="").stdout.splitlines() if GUEST in row]
    assert any("degraded" in row and row.count(rest) >= 2 for row in rows), rows  # its leg, and where the guest runs
    assert world.load.lost(world.guest) == "0"
    world.load.start(world.guest)
    world.again("node_recover", node=gone, assume_dead=[gone])
    world.lab.start([gone])
    world.play("node_return", node=gone)
    world.load.grow(50)
    world.whole()
    world.again("node_return", node=gone)
    world.note("power cut of the node that holds the guest", watch())


def test_power_cut_of_both_and_the_newer_half_is_chosen(busy: World) -> None:
    world, watch, first, last = busy, Watch(), busy.other(), busy.node()
    world.lab.kill([first])
    until(world.degraded, 30, "the mirror has lost its half")
    world.load.grow(100)
    world.lab.kill([last])
    world.load.stop()
    # The older half alone is refused, also when a human says that the other node is dead.
    world.lab.start([first])
    world.play("node_recover", failing=True, node=last, assume_dead=[last])
    assert not world.guest.running()
    world.lab.start([last])
    told = world.play("site", failing=True)  # it starts the guest, and does not call one half a mirror
    assert f"is without /dev/mirror/{first}/{LEG}, which" in told.stdout and "node_return" in told.stdout
    world.ready()
    assert world.load.lost(world.guest) == "0"
    world.play("node_return", node=first)
    world.load.start(world.guest)
    world.load.grow(50)
    world.whole()
    world.again("site")
    world.note("power cut of both, one after the other", watch())


@pytest.mark.long
def test_power_cut_of_both_at_once(busy: World) -> None:
    world, watch = busy, Watch()
    nodes = [world.node(), world.other()]
    world.lab.kill(nodes)
    world.load.stop()
    world.lab.start(nodes)
    told = world.run("site")  # which fails if one half has got a write that the other has not
    assert not told.rc or "node_return, for the leg" in told.stdout, told.stdout
    world.ready()
    assert world.load.lost(world.guest) == "0"
    for node in nodes:
        world.play("node_return", node=node)
    world.load.start(world.guest)
    world.load.grow(50)
    world.whole()
    world.again("site")
    world.note("power cut of both at once", watch())


def test_a_node_that_answers_nobody_but_runs(busy: World) -> None:
    world, watch, gone = busy, Watch(), busy.node()
    world.lab.isolate(gone)
    told = world.play("node_recover", failing=True, node=gone)
    assert gone in told.stdout
    assert world.node() == gone and world.guest.running(), "nothing was started elsewhere"
    world.lab.rejoin(gone)
    world.play("node_return", node=world.other())
    world.load.grow(50)
    world.whole()
    assert world.lab.incidents == []
    world.note("partition", watch())


def test_a_node_that_is_called_dead_but_writes(busy: World) -> None:
    world, watch, gone = busy, Watch(), busy.node()
    here = {"pool": "alpha", "host": gone}
    try:
        world.lab.link(gone, [0, 1], "cut")  # the service network; the SAN works
        control(world.lab.xapi or {}, "isolate_host", **here)
        world.play("node_recover", failing=True, node=gone, assume_dead=[gone])
        assert world.node() == gone and world.guest.running(), "nothing was started elsewhere"
    finally:
        world.lab.link(gone, [0, 1], "plug")
        control(world.lab.xapi or {}, "restore_host", **here)
    world.load.grow(50)
    world.whole()
    assert world.lab.incidents == []
    world.note("service network of the guest's node cut, and a human who is wrong", watch())


def test_two_controllers_start_the_same_guest(busy: World) -> None:
    world, watch, gone, rest = busy, Watch(), busy.node(), busy.other()
    world.lab.kill([gone])
    world.load.stop()
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(world.run, "node_recover", node=gone, assume_dead=[gone]) for _each in range(2)]
        codes = sorted(run.result().rc for run in runs)
    # One wins; the other is refused, or comes so late that all is done and has nothing to do.
    assert codes[0] == 0
    assert world.resident() == rest and world.lab.incidents == []
    world.lab.start([gone])
    world.play("node_return", node=gone)
    world.load.start(world.guest)
    world.load.grow(50)
    world.whole()
    world.note(f"two controllers start {GUEST} at once", watch())


@pytest.mark.long
def test_recovery_after_a_forced_start_whose_half_died(busy: World) -> None:
    """Each node's half has gone on alone, and a human has chosen one. When that one dies, the other is not started in silence."""
    world, watch, first, last = busy, Watch(), busy.node(), busy.other()
    world.load.stop()
    side = f"{MOUNT}/side"
    world.lab.kill([last])
    until(world.degraded, 30, "the mirror has lost its half")
    world.guest.run(f"echo {first} >{side}; sync -f {MOUNT}")
    world.lab.kill([first])
    world.lab.start([last])
    world.play("node_recover", failing=True, node=first, assume_dead=[first])
    world.play("node_recover", node=first, assume_dead=[first], force=True)
    world.ready()
    world.guest.run(f"! test -e {side} && echo {last} >{side}; sync -f {MOUNT}")
    world.ask("VM.clean_shutdown", world.vm())
    world.lab.start([first])
    world.play("node_return", node=first)
    # Both are there, and apart. That of `last` is chosen once more, so that the other one is told.
    world.start(last, mirror_guard_start_from=last, mirror_guard_force=True)
    world.ready()
    assert world.guest.run(f"cat {side}").stdout.strip() == last
    world.lab.kill([last])
    told = world.play("node_recover", failing=True, node=last, assume_dead=[last])
    assert "was left out" in told.stdout and not world.guest.running()
    world.play("node_recover", node=last, assume_dead=[last], force=True)
    world.ready()
    assert world.resident() == first and world.guest.run(f"cat {side}").stdout.strip() == first
    # What the human has chosen last is the truth now, and the other half is overwritten, but only when he says so.
    world.lab.start([last])
    told = world.play("node_return", failing=True, node=last)
    assert "its data would be lost" in told.stdout
    done = play(world.lab, OVERWRITE, inventories=[INVENTORY])
    assert not done.rc, done.stdout + done.stderr
    world.play("node_return", node=last)
    world.guest.run(f"rm {side}")
    world.load = Load(world.load.path)
    world.guest.run(f"rm -f {world.load.path}")
    world.load.start(world.guest)
    world.load.grow(50)
    world.whole()
    world.note("recovery after a forced start whose half died", watch())
