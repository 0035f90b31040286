# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A power cut while a disk grows. It comes last: the inventory's size of the disk, which site.yml goes by, is too small then."""

from __future__ import annotations

from typing import Any

from faults.world import DISK, GUEST, Watch, World
from lab_tests.helpers import until


def test_guest_grow(busy: World) -> None:
    world, watch, remote, size = busy, Watch(), busy.other(), busy.size()
    wanted: dict[str, Any] = {"guest": GUEST, "disk": DISK, "size": f"{(size >> 20) + 64 >> 5 << 5}MiB"}
    with world.interrupted("guest_grow", after="New and larger legs", **wanted):
        world.lab.kill([remote])
    until(world.degraded, 60, "the mirror has lost its half")
    world.load.grow(20)
    world.lab.start([remote])
    world.play("node_return", node=remote)
    world.play("guest_grow", **wanted)
    assert world.size() > size
    world.load.grow(20)
    world.whole()
    world.again("guest_grow", **wanted)
    world.note("power cut in the middle of guest_grow.yml", watch())
