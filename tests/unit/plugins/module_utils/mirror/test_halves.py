# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a current half: what is not known does not count."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.halves import behind, holders, last_on


def lease(generation: int = 5, synced: str = "b00t", **without: int) -> dict[str, Any]:
    return {"generation": generation, "synced": synced, "without": without}


def disk(*states: str, leases: tuple[Any, ...] = (lease(), lease()), exists: Any = True) -> dict[str, Any]:
    legs = [{"node": f"node{number}", "state": state, "lease": held, "exists": exists}
            for number, (state, held) in enumerate(zip(states, leases, strict=False), 1)]
    return {"pool": "alpha", "guest": "web1", "disk": "data", "words": "as it is", "legs": legs,
            "lease": max(filter(None, leases), key=lambda each: each["generation"], default=None)}


@pytest.mark.parametrize(("given", "nodes"), [
    (disk("complete", "complete"), [1, 2]), (disk("complete", "missing"), [1]), (disk("resyncing", "complete"), [2]),
    (disk("complete", "faulty"), [1]), (disk("complete", "unreachable"), [1]), (disk("unknown", "unknown"), []),
    (disk("idle", "idle"), [1, 2]), (disk("idle", "idle", leases=(lease(6), lease(5))), [1]),
    (disk("idle", "idle", leases=(lease(), lease(synced=""))), [1]), (disk("idle", "idle", leases=(lease(), None)), [1]),
    (disk("idle", "idle", leases=(lease(node1=4), lease())), [2]), (disk("idle", "idle", leases=(None, None)), []),
])
def test_holders(given: dict[str, Any], nodes: list[int]) -> None:
    assert holders(given) == [f"node{number}" for number in nodes]


def test_the_last_half() -> None:
    assert last_on([disk("complete", "complete")], "node1") == []
    (only,) = last_on([disk("complete", "missing")], "node1")
    assert (only["guest"], only["disk"], only["why"]) == ("web1", "data", "it has the only current half")
    assert last_on([disk("complete", "missing")], "node2") == []
    assert [each["why"] for each in last_on([disk("unknown", "unknown")], "node2")] == ["no half is known to be current (as it is)"]
    assert last_on([disk("unknown", "unknown")], "node3") == []


def test_who_is_behind() -> None:
    assert behind([disk("complete", "complete"), disk("unknown", "unknown"), disk("idle", "idle")]) == []
    assert behind([disk("complete", "missing"), disk("resyncing", "complete")]) == [
        {"pool": "alpha", "guest": "web1", "nodes": ["node1", "node2"]}]
    assert behind([disk("missing", "missing")]) == [], "its mirror is not there, so nothing is known"
    assert behind([disk("complete", "unreachable", exists=None)]) == [], "nobody can be told"
