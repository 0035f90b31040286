# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several mirrored guests are decided on together, and none of them stands in for another."""
from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.guarded import (
    Inquiry,
    caught_up,
    decide,
    following,
    guarded,
    uuid_of,
)

from unit.plugins.module_utils.mirror.test_guard import UUID, lease, world

OTHER = "0c1d2e3f-7d0c-4d55-8d4f-6a6b1a7c3f10"
UUIDS = {"web1": UUID, "db1": OTHER}


def renamed(value: Any) -> Any:
    """What is said of guest web1, said of db1."""
    if isinstance(value, dict):
        return {key: renamed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item) for item in value]
    return value.replace("web1", "db1").replace(UUID, OTHER) if isinstance(value, str) else value


def asked() -> tuple[Inquiry, list[dict[str, Any]]]:
    """Two nodes with legs of two guests that are both halted, and all is well."""
    made = world()
    nodes = {node: {"guests": [{"name": name, "failed": False, **copy.deepcopy(known if name == "web1" else renamed(known))}
                               for name in UUIDS]} for node, known in made["nodes"].items()}
    pools = copy.deepcopy(made["pools"])
    pools["alpha"]["vms"] += renamed(pools["alpha"]["vms"])
    entries = [{"name": "web1", "host": "node2", "order": 2, "legs": made["legs"]},
               {"name": "db1", "host": "node1", "order": 1, "legs": renamed(made["legs"])}]
    shared = {key: made[key] for key in ("pool", "hosts", "owner")}
    return Inquiry(nodes=nodes, pools=pools, alive={}, deaf={}, disks={}, shared=shared), entries


def decided(inquiry: Inquiry, entries: list[dict[str, Any]], taken: Any = None, lost: Any = None) -> list[dict[str, Any]]:
    return [decide(inquiry, entry, UUIDS[entry["name"]], taken or {}, (lost or {}).get(entry["name"], "")) for entry in entries]


def said(inquiry: Inquiry, node: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(guest for guest in inquiry.nodes[node]["guests"] if guest["name"] == name)
    return found


def test_each_for_itself() -> None:
    inquiry, entries = asked()
    assert [(guest["name"], guest["msg"]) for guest in decided(inquiry, entries)] == [("web1", ""), ("db1", "")]
    said(inquiry, "node1", "db1")["evidence"]["domains"] = [{"id": "7", "name": "db1", "uuid": OTHER}]
    web, db = decided(inquiry, entries)
    assert not web["failed"] and db["msg"].startswith("db1 must not be started. It runs on node1")
    todo = following(inquiry, entries, [web, db], taken=False)
    assert {node: [entry["name"] for entry in told] for node, told in todo["leases"].items()} == {"node1": ["web1"], "node2": ["web1"]}
    assert todo["start"]["waves"] == [[{"name": UUID, "host": "xcp2"}]]


def test_who_cannot_be_asked_for_one_can_for_another() -> None:
    inquiry, entries = asked()
    inquiry.nodes["node1"]["guests"][1] = {"name": "db1", "failed": True, "msg": "lvs failed with 5."}  # type: ignore[index]
    web, db = decided(inquiry, entries)
    assert not web["failed"]
    assert "node1 cannot say whether the guest runs there: lvs failed with 5." in db["msg"]


@pytest.mark.parametrize("answer", [{"unreachable": True, "msg": "timed out"}, {"failed": True, "msg": "MODULE FAILURE"}, {}])
def test_a_node_that_does_not_answer_may_run_all_of_them(answer: dict[str, Any]) -> None:
    inquiry, entries = asked()
    inquiry.nodes["node1"] = answer  # type: ignore[index]
    for guest in decided(inquiry, entries):
        assert "node1 does not answer, so the guest may be running there" in guest["msg"] or "node1 cannot say" in guest["msg"]


def test_waves_leases_and_what_is_told_of_the_dead() -> None:
    inquiry, entries = asked()
    found = decided(inquiry, entries)
    found[1]["guard"].update(reset=True, attach=[{"vdi": "db1-data@node2", "path": "/p"}], detach=[{"vdi": "v", "path": "/q"}])
    todo = following(inquiry, entries, found, taken=False)
    assert todo["start"] == {
        "reset": [{"name": OTHER}], "attach": [{"vdi": "db1-data@node2", "path": "/p", "vm": OTHER}],
        "detach": [{"vdi": "v", "path": "/q", "vm": OTHER}], "waves": [[{"name": OTHER, "host": "xcp1"}], [{"name": UUID, "host": "xcp2"}]]}
    assert following(inquiry, entries, found, taken=False, pretend=True)["start"]["waves"][0][0]["assume_dead"]
    assert todo["leases"]["node1"][0] == {"name": "web1", "uuid": UUID, "legs": ["web1-data"], "seen": 5, "generation": 6, "without": [],
                                          "synced": True, "host": "node2"}
    assert following(inquiry, entries, found, taken=True)["leases"]["node1"][0]["synced"] is False, "it will see both halves"


def test_whose_lease_was_not_to_be_had_is_not_started() -> None:
    inquiry, entries = asked()
    leases = following(inquiry, entries, decided(inquiry, entries), taken=False)["leases"]
    for node in inquiry.nodes:
        said(inquiry, node, "web1")["lease"] = lease(6, "starting", "bert/c2/bb", age=1)
    taken = {node: [entry for entry in told if entry["name"] == "web1"] for node, told in leases.items()}
    web, db = decided(inquiry, entries, taken, {"db1": "anna has had the lease of db1 for 3 seconds."})
    assert not web["failed"] and web["guard"]["generation"] == 6
    assert db["msg"] == "db1 must not be started. anna has had the lease of db1 for 3 seconds."
    said(inquiry, "node2", "web1")["lease"] = lease(7, "starting", "anna/c1/aa", age=1)
    assert "The lease on node2 has got lost to anna/c1/aa." in decided(inquiry, entries, taken)[0]["msg"]


def test_another_guests_machine_is_no_reason() -> None:
    inquiry, entries = asked()
    inquiry.pools["alpha"]["vms"][1].update(power_state="Running", host="xcp1")  # type: ignore[index]
    web, db = decided(inquiry, entries)
    assert not web["failed"] and "is running on xcp1" in db["msg"]


def test_what_modules_are_told() -> None:
    legs = [{"guest": name, "uuid": UUIDS[name] if node == "node1" else "", "disk": "data", "name": f"{name}-data", "node": node,
             "path": f"/dev/mirror/{node}/{name}-data", "vg": "vg0"} for name in UUIDS for node in ("node1", "node2")]
    planned = {**legs[0], "disk": "log", "name": "web1-log", "exists": False}
    told = guarded([{"name": "db1", "host": "node2", "order": None}, {"name": "none"}], [*legs, planned])
    assert [(each["name"], each["uuid"], len(each["legs"]), each.get("host")) for each in told["judged"]] == [
        ("db1", OTHER, 2, "node2"), ("none", "", 0, None)]
    assert told["judged"][0]["legs"][0] == {key: legs[2][key] for key in ("disk", "name", "node", "path")}
    assert told["asked"] == [{"name": "db1", "uuid": OTHER, "legs": ["db1-data"]}, {"name": "none", "uuid": "", "legs": []}]
    assert guarded([{"name": "web1"}], [*legs, planned])["asked"][0]["legs"] == ["web1-data"]
    leases = {"node1": {"guests": [{"name": "web1", "lease": lease(7)}]}, "node2": {"guests": [{"name": "web1", "lease": {}}]}}
    entry = {"name": "web1", "uuid": UUID, "generation": 7, "legs": ["web1-data", "web1-log"]}
    assert caught_up([{"name": "web1"}], [*legs, planned], leases) == {"node1": [entry], "node2": [entry]}
    seen = {"node1": {"guests": [{"name": "web1", "evidence": {"legs": [{"uuid": UUID}, {"uuid": ""}]}}]}}
    assert uuid_of({"name": "web1"}, seen) == UUID and uuid_of({"name": "db1"}, seen) == ""
