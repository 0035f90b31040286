# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measurements that need a lab (`make bench`), as small as can be: they work, and leave the mirror whole."""

from __future__ import annotations

import re

import pytest

from bench import mirror, mirrored
from faults.world import DISK, World


def figures(said: str) -> list[float]:
    """The numbers in the rows of a table, without those in its first column."""
    cells = (cell for line in said.splitlines() if line.startswith("| ") for cell in line.split("|")[2:])
    return [float(cell) for cell in cells if re.fullmatch(r" *-?[\d.]+ *", cell)]


def test_a_resync(busy: World, capsys: pytest.CaptureFixture[str]) -> None:
    mirror.resync(busy)
    partly, share, fully, one = figures(capsys.readouterr().out)
    assert 0 < partly < fully and share < one == 1
    states = busy.guest.run(f"cat /sys/block/$(basename $(readlink -f /dev/md/{DISK}))/md/dev-*/state").stdout.split()
    assert sum("failfast" in state for state in states) == 2 and sum("write_mostly" in state for state in states) == 1, states
    busy.whole()


@pytest.mark.long
def test_mirrored_guests(capsys: pytest.CaptureFixture[str]) -> None:
    mirrored.main(**mirrored.TINY)
    found = figures(capsys.readouterr().out)
    # Of two tasks, what comes on top of the start may be less than how much starts differ.
    assert len(found) == 6 + 4 * 4 and min(found[:6]) > 0


@pytest.mark.long
def test_mirrors(capsys: pytest.CaptureFixture[str]) -> None:
    mirror.main(**mirror.TINY)
    found = figures(capsys.readouterr().out)
    assert len(found) > 20 and min(found) > 0
