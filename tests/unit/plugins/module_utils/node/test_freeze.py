# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file system is frozen and always thawed. Processes and locks are real; a file counts for the frozen file system."""
from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError, ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.freeze import FREEZE, Freezer, place_of
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError

TABLE = r"""22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 9:127 /below /var rw - ext4 /dev/md127 rw
31 22 9:127 / /srv/a\040b rw,relatime shared:1 - ext4 /dev/md127 rw
"""


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.frozen = root / "frozen"
        self.slow = 0.0

    def control(self, _place: int, request: int, _none: int) -> None:
        """The kernel's part."""
        if request == FREEZE:
            time.sleep(self.slow)
            if self.frozen.exists():
                raise OSError(errno.EBUSY, "Device or resource busy")
            self.frozen.touch()
        elif self.frozen.exists():
            self.frozen.unlink()
            (self.root / "thawed").touch()
        else:
            raise OSError(errno.EINVAL, "Invalid argument")

    def freezer(self) -> Freezer:
        found = Freezer("/dev/md/data", str(self.root / "states"), self.control)
        found.place, found.number = str(self.root), os.stat(self.root).st_dev
        return found

    def run(self, state: str, seconds: float = 60) -> ChangeSet:
        plan = self.freezer().plan(state, seconds)
        plan.apply()
        return plan


@pytest.fixture
def world(tmp_path: Path) -> Any:
    found = World(tmp_path)
    yield found
    keeper = found.freezer().keeper()
    if keeper:
        os.kill(keeper, signal.SIGKILL)


def test_where_it_is_mounted() -> None:
    assert place_of("9:127", TABLE) == "/srv/a b" and place_of("9:1", TABLE) == ""


def test_frozen_until_it_is_thawed(world: World) -> None:
    assert not world.run("thawed").steps
    world.run("frozen")
    assert world.frozen.exists()
    assert not world.run("frozen").steps  # the first goes on
    assert world.run("thawed").facts["held"] and not world.frozen.exists()
    until(lambda: not world.freezer().keeper())
    world.run("frozen")
    assert world.run("thawed").facts["held"]


def test_thawed_when_the_time_is_up(world: World) -> None:
    world.run("frozen", 0.3)
    until((world.root / "thawed").exists)
    until(lambda: not world.freezer().keeper())
    done = world.run("thawed")
    assert not done.steps and not done.facts["held"]


def test_somebody_else_has_thawed_it(world: World) -> None:
    world.run("frozen")
    world.frozen.unlink()
    assert not world.run("thawed").facts["held"]
    until(lambda: not world.freezer().keeper())


def test_a_freeze_that_comes_too_late_is_taken_back(world: World) -> None:
    world.slow = 1.0
    with pytest.raises(ApplyError, match=r"not frozen after 0\.2 seconds"):
        world.run("frozen", 0.2)
    until((world.root / "thawed").exists)
    assert not world.frozen.exists() and not world.freezer().keeper()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_keeper_that_is_told_to_end_thaws(world: World, number: int) -> None:
    world.run("frozen")
    os.kill(world.freezer().keeper(), number)
    until((world.root / "thawed").exists)
    assert not world.frozen.exists()
    until(lambda: not world.freezer().keeper())


def killed(world: World) -> None:
    world.run("frozen")
    os.kill(world.freezer().keeper(), signal.SIGKILL)
    until(lambda: not world.freezer().keeper())
    assert world.frozen.exists()


def test_the_next_run_heals_when_the_keeper_was_killed(world: World) -> None:
    killed(world)
    assert world.freezer().plan("thawed", 60, check_mode=True).before["state"] == "frozen"
    done = world.run("thawed")
    assert done.steps and done.facts["held"] and not world.frozen.exists()
    done = world.run("thawed")
    assert not done.steps and not done.facts["held"] and done.before == done.after
    killed(world)
    assert world.run("frozen").steps and world.freezer().keeper() and (world.root / "thawed").exists()


def test_whoever_has_frozen_it_it_is_thawed(world: World) -> None:
    world.frozen.touch()  # by somebody else, which nothing tells
    assert not world.freezer().plan("thawed", 60, check_mode=True).steps
    done = world.run("thawed")
    assert done.steps and done.facts["held"] and not world.frozen.exists()


def test_what_cannot_be_frozen(world: World) -> None:
    world.frozen.touch()  # by somebody else
    with pytest.raises(ApplyError, match=r"frozen already, and not by this module.*fsfreeze --unfreeze"):
        world.run("frozen")
    assert world.frozen.exists()
    freezer = world.freezer()
    freezer.number += 1
    with pytest.raises(ApplyError, match="Something else is mounted over"):
        freezer.plan("frozen", 60).apply()
    freezer.place = ""
    with pytest.raises(NodeError, match="No file system on /dev/md/data is mounted"):
        freezer.plan("frozen", 60)
