# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery finds every guest that it has begun with, wherever it was broken off."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.filter.mirror_guest_name import mirror_guest_name
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.recovery import recovery


def lease(state: str = "started", recovering: str = "", dead: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"generation": 6, "owner": "anna/c1/aa", "state": state, "recovering": recovering, "assumed_dead": list(dead)}


def leg(guest: str = "web1", node: str = "node2", lease: Any = None, uuid: str = "") -> dict[str, Any]:
    return {"guest": guest, "node": node, "name": f"{guest}-data", "disk": "data", "lease": lease, "uuid": uuid}


def vm(name: str = "web1", power: str = "halted", host: str = "", uuid: str = "") -> dict[str, Any]:
    return {"name": name, "uuid": uuid or f"uuid of {name}", "power_state": power, "host": host}


def found(legs: list[dict[str, Any]], vms: list[dict[str, Any]], **more: Any) -> list[str]:
    return [each["name"] for each in recovery(legs, vms, "node1", "xcp1", **more)["guests"]]


# At which step the earlier run ended, what the lease and the pool say then, and whether the guest has still to be started.
STEPS = {
    "before the lease": (lease(), vm(power="running", host="xcp1"), True),
    "after the lease": (lease("starting", "node1"), vm(power="running", host="xcp1"), True),
    "after the pool was told": (lease("starting", "node1"), vm(), True),
    "after a start that failed": (lease("released", "node1"), vm(), True),
    "after the start": (lease("starting", "node1"), vm(power="running", host="xcp2"), False),
    "at the end": (lease("started"), vm(power="running", host="xcp2"), False),
    "at the end, and it was shut down since": (lease("started"), vm(), False),
    "by an older version, after the lease": (lease("starting", dead=("node1",)), vm(), True),
    "the recovery of another node": (lease("released", "node3"), vm(), False),
    "a start that has nothing to do with it": (lease("starting", dead=("bravo",)), vm(), False),
}


@pytest.mark.parametrize(("lease", "vm", "due"), STEPS.values(), ids=STEPS)
def test_it_goes_on_wherever_it_was_broken_off(lease: dict[str, Any], vm: dict[str, Any], due: bool) -> None:
    assert found([leg(lease=lease)], [vm]) == (["web1"] if due else [])


def test_what_has_started_is_only_noted() -> None:
    begun = lease("starting", "node1")
    plan = recovery([leg(lease=begun)], [vm(power="running", host="xcp2")], "node1", "xcp1")
    assert plan["done"] == {"node2": [{"name": "web1", "legs": ["web1-data"], "owner": "anna/c1/aa", "generation": 6}]}
    assert recovery([leg(lease=lease())], [vm(power="running", host="xcp2")], "node1", "xcp1")["done"] == {}


def test_where_and_in_which_order() -> None:
    names = ["c", "a", "b", "d"]
    legs = [leg(name, node) for name in names for node in ("node3", "node2")]
    vms = [vm(name, "running", "xcp1") for name in [*names, "plain"]]
    described = [{"name": "b", "host": "b.example.com"}, {"name": "gone"}, {"name": "a"}, {"name": "d", "order": -1}]
    plan = recovery(legs, vms, "node1", "xcp1", described)
    assert [(each["name"], each["start"]["order"], each["start"]["host"], each["inside"], each["disks"]) for each in plan["guests"]] == [
        ("d", -1, "node3", "d", ["data"]), ("b", 0, "node3", "b.example.com", ["data"]), ("a", 0, "node3", "a", ["data"]),
        ("c", 0, "node3", "c", ["data"])]
    assert plan["others"] == ["plain"]


def test_uuids_decide_and_may_be_named() -> None:
    here = vm(power="running", host="xcp1", uuid="u1")
    other = vm(power="halted", uuid="u2")
    legs = [leg(uuid="u1")]
    assert found(legs, [other, here]) == ["web1"]
    assert found([leg(uuid="u2")], [other, here]) == [], "its namesake ran there"
    assert found(legs, [here], only=["u1"]) == ["web1"] and found(legs, [here], only=["web1"]) == ["web1"]
    assert found([leg()], [here], only=["u1"]) == ["web1"], "by what the pool says"
    plan = recovery(legs, [here], "node1", "xcp1", only=["wbe1"])
    assert (plan["guests"], plan["unknown"]) == ([], ["wbe1"])


def test_a_guest_may_be_named_by_its_uuid() -> None:
    legs = [leg("web1", uuid="u1"), leg("web1", "node3"), leg("db1"), leg("odd", uuid="u2"), leg("odd", uuid="u3")]
    assert [mirror_guest_name(guest, legs) for guest in ("u1", "web1", "db1", "u2", "u9")] == ["web1", "web1", "db1", "u2", "u9"]
    assert mirror_guest_name(["u1", "db1"], legs) == ["web1", "db1"]
