# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cables, disks and targets."""

from __future__ import annotations

import pytest

from faults.world import LEG, Watch, World
from lab_tests.helpers import until

SAN = [2, 3]
HOW = {"cut": "silently cut", "pull": "pulled"}


@pytest.mark.parametrize("how", HOW)
def test_one_san_cable(busy: World, how: str) -> None:
    world, watch = busy, Watch()
    for nic in SAN:  # whichever is in use
        world.lab.link(world.node(), [nic], how)
        world.load.grow(100)
        world.lab.link(world.node(), [nic], "plug")
        world.load.grow(100)
    assert not world.degraded(), "the bond has carried on"
    world.whole()
    world.note(f"one SAN cable, {HOW[how]}", watch())


@pytest.mark.parametrize("how", HOW)
def test_both_san_cables(busy: World, how: str) -> None:
    world, watch, remote = busy, Watch(), busy.other()
    world.lab.link(remote, SAN, how)
    until(world.degraded, 30, "the mirror has lost its half")
    world.load.grow(50)
    world.lab.link(remote, SAN, "plug")
    world.play("node_return", node=remote)
    world.load.grow(50)
    world.whole()
    world.again("node_return", node=remote)
    world.note(f"both SAN cables of the remote node, {HOW[how]}", watch())


@pytest.mark.parametrize("which", ["remote", "local"])
def test_a_disk_under_one_leg(busy: World, which: str) -> None:
    world, watch = busy, Watch()
    node = world.other() if which == "remote" else world.node()
    world.lab.disk(node, 1, "fail")
    until(world.degraded, 30, "the mirror has lost its half")
    world.load.grow(50)
    world.lab.disk(node, 1, "repair")
    world.play("node_return", node=node)
    world.load.grow(50)
    world.whole()
    world.again("node_return", node=node)
    world.note(f"disk failure under the {which} leg", watch())


def test_the_target_restarts(busy: World) -> None:
    world, watch, remote = busy, Watch(), busy.other()
    world.lab.box(remote).run(
        f"cd /sys/kernel/config/target/iscsi/*:{remote}:{LEG}/tpgt_1 && echo 0 >enable && sleep 1 && echo 1 >enable")
    world.load.grow(100)
    if world.degraded():  # it was away for longer than the guest's node waits
        world.play("node_return", node=remote)
    world.whole()
    world.note("restart of the target", watch())
