# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks in whose middle a node loses power, or that are killed: the same playbook again does what is left."""

from __future__ import annotations

import pytest

from faults.world import Watch, World
from lab_tests.helpers import until

pytestmark = pytest.mark.long


def test_node_return(busy: World) -> None:
    world, watch, gone = busy, Watch(), busy.other()
    world.lab.kill([gone])
    until(world.degraded, 30, "the mirror has lost its half")
    world.load.grow(50)
    world.lab.start([gone])
    with world.interrupted("node_return", after="Add the new halves", node=gone):
        world.lab.kill([gone])
    world.load.grow(20)
    world.lab.start([gone])
    world.play("node_return", node=gone)
    world.whole()
    world.again("node_return", node=gone)
    world.note("power cut in the middle of node_return.yml", watch())


def test_site(bare: World) -> None:
    world, watch = bare, Watch()
    for moment in ("New and larger legs", "Imports"):
        with world.interrupted("site", after=moment):
            world.lab.kill(["node2"])
        world.lab.start(["node2"])
    with world.interrupted("site", after="Guests with their legs", kill=True):
        pass
    world.play("site")
    world.load.start(world.guest)
    world.load.grow(50)
    world.whole()
    world.again("site")
    world.note("two power cuts in the middle of site.yml, then its controller killed", watch())
