# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node may hold the last half of a mirror that has all data, from what nodes, pool and guests say."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.halves import behind, last_on, missing
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import device
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.status import status

LEG = "web1-data"


def half(role: int, events: int = 20, members: str = "AA", **more: Any) -> dict[str, Any]:
    return {"uuid": "1:2:3:4", "events": events, "role": role, "members": members, "incomplete": False, **more}


def node(name: str, found: dict[str, Any] | None = None, lease: Any = None, **info: Any) -> dict[str, Any]:
    """A node with a leg of web1, and what its superblock says."""
    leg = {"name": LEG, "size": 1, "tags": ["nobloat.guest=web1", "nobloat.disk=data"], "snapshot_of": None, "lease": lease, "half": found}
    said = {"legs": [leg], "exports": [], "names": [{"node": other, "leg": LEG} for other in ("n1", "n2", "n3") if other != name], **info}
    return {"name": name, "pool": "alpha", "host": f"host-{name}", "info": said}


def silent(name: str) -> dict[str, Any]:
    return {"name": name, "pool": "alpha", "host": f"host-{name}", "info": {"unreachable": True}}


def guest(power: str = "running", nodes: str = "n1 n2") -> dict[str, Any]:
    disks = [{"device": 4 + at, "name": f"{LEG}@{name}"} for at, name in enumerate(nodes.split())]
    return {"name": "web1", "pool": "alpha", "power_state": power, "host": "host-n1" if power == "running" else "", "disks": disks}


def array(*states: str, action: str = "idle", degraded: int = 0) -> dict[str, Any]:
    members = [{"device": device(4 + at), "state": state} for at, state in enumerate(states) if state]
    return {"alpha/web1": {"arrays": [{
        "name": "data", "size": 1, "degraded": degraded, "sync_action": action, "progress": None, "members": members}]}}


def needed(nodes: list[dict[str, Any]], vm: dict[str, Any] | None, inside: dict[str, Any] | None = None) -> list[str]:
    """The nodes that cannot be done without."""
    found = status(nodes, [vm] if vm else [], inside or {})
    return [each["name"] for each in nodes if last_on(found["disks"], each["name"])]


TWO = [node("n1", half(0)), node("n2", half(1))]


@pytest.mark.parametrize(("inside", "stay"), [
    (array("active", "active"), []),
    (array("active", "active", action="check"), []),
    (array("active", "", degraded=1), ["n1"]),
    (array("", "active", degraded=1), ["n2"]),
    (array("active", "faulty", degraded=1), ["n1"]),
    (array("active", "rebuilding", action="recover", degraded=1), ["n1"]),
    (array("active", "active", action="resync"), ["n1", "n2"]),  # which has which write is not known yet
    ({"alpha/web1": {"arrays": []}}, ["n1", "n2"]),  # no mirror in the guest
    ({}, ["n1", "n2"]),  # it cannot be asked
])
def test_a_guest_that_runs(inside: dict[str, Any], stay: list[str]) -> None:
    assert needed(TWO, guest(), inside) == stay


def test_why() -> None:
    found = status(TWO, [guest()], array("active", "", degraded=1))
    assert found["last_on"] == {"n2": [], "n1": [
        {"pool": "alpha", "guest": "web1", "disk": "data", "why": "that on n2 is not in the mirror"}]}
    assert found["lacking"] == ["web1, disk data: the half on n2 is not in the mirror"]


def test_a_node_that_does_not_answer() -> None:
    """The guest may not have noticed yet that its half is gone."""
    nodes = [node("n1", half(0)), silent("n2")]
    assert needed(nodes, guest(), array("active", "active")) == ["n1"]
    assert needed(nodes, guest("halted")) == ["n1", "n2"]  # which is the newer one?
    assert needed([silent("n1"), silent("n2")], guest(), array("active", "active")) == ["n1", "n2"]
    assert "n2 does not answer" in status(nodes, [guest()], array("active", "active"))["lacking"]


def test_a_machine_that_answers_for_two() -> None:
    """A connection that led to the wrong one: nobody knows which node was not asked."""
    nodes = [node("n1", half(0), boot_id="b"), node("n2", half(1), boot_id="b")]
    assert needed(nodes, guest("halted")) == ["n1", "n2"]
    assert needed([nodes[0], node("n2", half(1), boot_id="c")], guest("halted")) == []


def test_a_leg_without_partner() -> None:
    alone = node("n1", half(0), names=[])
    assert needed([alone], guest(nodes="n1"), array("active")) == ["n1"]
    assert needed([alone], guest("halted", nodes="n1")) == ["n1"]
    assert [each["why"] for each in status([alone], [])["last_on"]["n1"]] == ["no node that answers has another half"]


def lease(**more: Any) -> dict[str, Any]:
    return {"generation": 4, "time": 1, "state": "started", "owner": "a", "synced": "", "held": "", "host": "", "assumed_dead": [], **more}


@pytest.mark.parametrize(("first", "second", "stay"), [
    (half(0), half(1), []),
    (half(0, 20), half(1, 21), []),  # the power went while superblocks were written
    (half(0, 40, "A."), half(1, 20), ["n1"]),  # n2 was away while the guest wrote
    (half(0, 20), half(1, 40, ".A"), ["n2"]),
    (half(0, 40), half(1, 20), ["n1"]),
    (half(0, 40, "A."), half(1, 50, ".A"), ["n1", "n2"]),  # each went on without the other
    (half(0), half(1, incomplete=True), ["n1"]),
    (half(0), half(1, uuid="9:9:9:9"), ["n1", "n2"]),
    (half(0), None, ["n1", "n2"]),
    (half(0, 40, "A."), None, ["n1"]),
    (None, None, ["n1", "n2"]),  # new, or half restored
])
@pytest.mark.parametrize("power", ["halted", "suspended"])
def test_a_guest_that_does_not_run(first: Any, second: Any, stay: list[str], power: str) -> None:
    """What counts is what is on the disks; a lease may be of any time."""
    nodes = [node("n1", first, lease(synced="stale")), node("n2", second, lease(generation=3))]
    assert needed(nodes, guest(power)) == stay
    assert needed(nodes, None) == stay  # legs of a guest that the pool does not know


def test_a_half_that_is_being_restored() -> None:
    nodes = [node("n1", half(0)), node("n2", half(1), lease(state="restoring"))]
    assert needed(nodes, guest("halted")) == ["n1"]


def test_a_half_that_a_human_left_out() -> None:
    """It may have the higher event count."""
    nodes = [node("n1", half(0, 50), lease(without={"n2": 3})), node("n2", half(1, 50), lease(generation=3))]
    assert needed(nodes, guest("halted")) == ["n1"]
    assert needed(nodes, guest(), array("active", "active")) == [], "it has been given back"


def test_a_third_node() -> None:
    """While a leg moves, there are three; and a node without a leg can always go."""
    three = [*TWO, node("n3", half(2, members="AAA"))]
    vm = guest(nodes="n1 n2 n3")
    assert needed(three, vm, array("active", "active", "rebuilding", action="recover", degraded=1)) == []
    assert needed(three, vm, array("active", "", "rebuilding", action="recover", degraded=2)) == ["n1"]
    stranger = {"name": "n4", "pool": "alpha", "info": {"legs": [], "exports": [], "names": []}}
    assert needed([*TWO, stranger], guest(), array("active", "", degraded=1)) == ["n1"]
    assert needed([*TWO, silent("n4")], guest(), array("active", "active")) == []


def test_what_keeps_mirrors_from_being_whole() -> None:
    assert status(TWO, [guest()], array("active", "active"))["lacking"] == []
    off = node("n2", half(1), exports=[{"name": LEG, "enabled": False, "saved": True}],
               imports=[{"iqn": "iqn.x:n1:web1-data", "sessions": [{"state": "FAILED"}]}])
    assert status([TWO[0], off], [guest()], array("active", "active"))["lacking"] == [
        "n2: web1-data is not exported", "n2: no session with iqn.x:n1:web1-data"]


def disk(*states: str, exists: Any = True) -> dict[str, Any]:
    return {"pool": "alpha", "guest": "web1", "legs": [
        {"node": f"node{number}", "state": state, "exists": exists} for number, state in enumerate(states, 1)]}


def test_who_is_behind() -> None:
    assert behind([disk("complete", "complete"), disk("unknown", "unknown"), disk("idle", "idle")]) == []
    assert behind([disk("complete", "missing"), disk("resyncing", "complete")]) == [
        {"pool": "alpha", "guest": "web1", "nodes": ["node1", "node2"]}]
    assert behind([disk("missing", "missing")]) == [], "its mirror is not there, so nothing is known"
    assert behind([disk("complete", "unreachable", exists=None)]) == [], "nobody can be told"


def test_what_a_guest_does_without() -> None:
    mirrors = [{"name": "data", "devices": ["/dev/xvde", "/dev/xvdf"], "nodes": ["node1", "node2"]},
               {"name": "web1-log", "disk": "log", "devices": ["/dev/xvdg", "/dev/xvdh"], "nodes": ["node1", "node3"]}]

    def md(name: str, **states: str) -> dict[str, Any]:
        return {"name": name, "members": [{"device": f"/dev/{device}", "state": state} for device, state in states.items()]}

    whole = [md("data", xvde="active", xvdf="active"), md("log", xvdg="active", xvdh="active")]
    assert missing(mirrors, whole) == []
    assert missing(mirrors, [md("data", xvde="active"), md("log", xvdg="active", xvdh="rebuilding")]) == ["node2", "node3"]
    assert missing(mirrors, [md("data", xvde="faulty", xvdf="active")]) == ["node1"], "nothing is known of the other disk"
    assert missing(mirrors, []) == []
    whole[0]["members"][1]["bad_blocks"] = 8
    assert missing(mirrors, whole) == ["node2"]
