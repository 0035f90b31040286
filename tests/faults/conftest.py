# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all faults: each leaves it whole for the next, which is a test of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults.load import Load
from faults.world import World, made

pytest_plugins = ["lab_tests.conftest"]  # which skips all where no lab can run


@pytest.fixture(scope="session")
def figures() -> Iterator[list[str]]:
    """Rows of a table, printed when all is done."""
    rows: list[str] = []
    yield rows
    print("\n\n| fault | longest stall, s | acknowledged | lost | whole again after, s |\n|---|---|---|---|---|", *rows, sep="\n")


@pytest.fixture(scope="session")
def world(figures: list[str]) -> Iterator[World]:
    """A guest that runs and writes its first records."""
    with made("faults", figures) as whole:
        whole.play("site")
        yield whole


@pytest.fixture
def bare(figures: list[str]) -> Iterator[World]:
    """Another lab, before site.yml."""
    with made("faults-site", figures) as fresh:
        yield fresh


@pytest.fixture
def busy(request: pytest.FixtureRequest, world: World) -> World:
    """The same, whole and writing. What a failed test has left broken is made anew: the others have their own say."""
    world.load.stop()
    if not world.healthy():
        if not request.session.testsfailed:
            pytest.fail("an earlier fault was not healed, and its test has passed")
        world.lab.down()
        world.up()
        world.play("site")
        world.load = Load(world.load.path)
    world.load.start(world.guest)
    return world
