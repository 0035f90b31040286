# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab tries itself. Where it cannot run, everything is skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import host
from lab.errors import CannotRun
from lab.lab import Lab, reap
from lab_tests.helpers import booted


@pytest.fixture(scope="session", autouse=True)
def _possible() -> None:
    try:
        host.provide()
    except CannotRun as error:
        pytest.skip(str(error))
    reap()


@pytest.fixture(scope="session")
def _shared() -> Iterator[Lab]:
    with booted("test", nodes=2, guests=1, xapi={"pools": [{"name": "other"}]}) as made:
        yield made


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab that the module's LAB describes, for this module alone; without one: two nodes, a guest, two pools, shared."""
    wanted = getattr(request.module, "LAB", None)
    if wanted is None:
        yield request.getfixturevalue("_shared")
        return
    with booted(request.module.__name__.rpartition("test_")[2].replace("_", "-"), **wanted) as made:
        yield made
