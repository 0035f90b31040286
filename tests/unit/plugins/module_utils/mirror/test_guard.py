# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a mirrored guest may be started. Each case is a world in which all is well, and what is different in it."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.guard import Case, Verdict, judge

IQN = "iqn.2026-11.test:"
ARRAY = "3dbb1e41:03ff785b:340e7767:01e01dcd"
NODES = ("node1", "node2")
UUID = "8d7ac6a3-3b2c-4d55-8d4f-6a6b1a7c3f10"
Edit = Callable[[dict[str, Any]], None]


def half(role: int, events: int = 42, members: str = "AA", **more: Any) -> dict[str, Any]:
    return {"uuid": ARRAY, "name": "data", "events": events, "role": role, "members": members, "raid_devices": 2, "state": "clean",
            "incomplete": False, "updated": 1_795_000_000, **more}


def lease(generation: int = 5, state: str = "started", owner: str = "anna/c1/aa", age: int = 9000, synced: str = "b00t", held: str = "",
          dead: tuple[str, ...] = (), boot: str = "b00t", **without: int) -> dict[str, Any]:
    return {"generation": generation, "state": state, "owner": owner, "age": age, "synced": synced, "held": held, "host": "node1",
            "assumed_dead": list(dead), "boot": boot, "without": without}


def world() -> dict[str, Any]:
    """Two nodes, two pools, a guest that is halted and has two equal halves, complete when they were last looked at."""
    nodes = {
        node: {"lease": lease(), "evidence": {
            "domains": [], "domains_known": True, "initiator": IQN + node, "boot": "b00t",
            "imports": [{"path": f"/dev/mirror/{other}/web1-data", "users": []}],
            "legs": [{"name": "web1-data", "vg": "vg0", "device": "/dev/vg0/web1-data", "active": True, "users": [], "writes": 0,
                      "exported": True, "sessions": [{"initiator": IQN + other, "address": "10.0.2.9", "state": "LOGGED_IN"}],
                      "half": half(role), "unreadable": ""}]}}
        for role, (node, other) in enumerate((("node1", "node2"), ("node2", "node1")))}
    return {
        "name": "web1", "uuid": UUID, "host": "node2", "owner": "bert/c2/bb", "pool": "alpha", "hosts": {"node1": "xcp1", "node2": "xcp2"},
        "legs": [{"disk": "data", "name": "web1-data", "node": node, "path": f"/dev/mirror/{node}/web1-data"} for node in NODES],
        "nodes": nodes,
        "pools": {"alpha": {"vms": [{"uuid": UUID, "name": "web1", "power_state": "Halted", "host": "", "operations": []}],
                            "hosts": [{"name": "xcp1"}, {"name": "xcp2"}]},
                  "bravo": {"vms": [], "hosts": [{"name": "xcp9"}]}},
    }


def decide(*edits: Edit, **options: Any) -> Verdict:
    made = world()
    for edit in edits:
        edit(made)
    return judge(Case(**copy.deepcopy({**made, **options})))


def gone(*nodes: str) -> Edit:
    """They do not answer, and the others have lost their sessions."""
    def edit(made: dict[str, Any]) -> None:
        for node in nodes:
            made["nodes"][node] = None
        for known in made["nodes"].values():
            for leg in known["evidence"]["legs"] if known else ():
                leg["sessions"] = [session for session in leg["sessions"] if session["initiator"] not in [IQN + node for node in nodes]]
    return edit


def leg(node: str, **values: Any) -> Edit:
    return lambda made: made["nodes"][node]["evidence"]["legs"][0].update(values)


def saw(node: str, **values: Any) -> Edit:
    return lambda made: made["nodes"][node]["evidence"].update(values)


def leased(node: str, **values: Any) -> Edit:
    return lambda made: made["nodes"][node].update(lease=lease(**values))


def vm(pool: str = "alpha", **values: Any) -> Edit:
    def edit(made: dict[str, Any]) -> None:
        known = {"uuid": UUID, "name": "web1", "power_state": "Halted", "host": "", "operations": []}
        others = [other for other in made["pools"][pool]["vms"] if other["uuid"] != values.get("uuid", UUID)]
        made["pools"][pool]["vms"] = [*others, {**known, **values}]
    return edit


def tagged(*nodes: str, uuid: str = UUID) -> Edit:
    def edit(made: dict[str, Any]) -> None:
        for node in nodes or NODES:
            made["nodes"][node]["evidence"]["legs"][0]["uuid"] = uuid
    return edit


def states(verdict: Verdict) -> dict[str, str]:
    return {leg["node"]: leg["state"] for leg in verdict.legs}


# ---- it may start


def test_all_is_well() -> None:
    verdict = decide()
    assert verdict.reasons == [] and not verdict.reset and verdict.leave_out == [] and verdict.start_from == ["node1", "node2"]
    assert verdict.generation == 6 and verdict.seen == {"node1": 5, "node2": 5}
    assert states(verdict) == {"node1": "current", "node2": "current"}
    assert [leg["events"] for leg in verdict.legs] == [42, 42]


NODE1_DEAD = (gone("node1"), vm(power_state="Running", host="xcp1"))
BLANK = (leg("node1", half=None), leg("node2", half=None))
NO_LEASE = (lambda made: made["nodes"]["node1"].update(lease={}), lambda made: made["nodes"]["node2"].update(lease={}))

# what is different, options, nodes to start from, legs to leave out, whether the pool has to be told
STARTS: dict[str, tuple[tuple[Edit, ...], dict[str, Any], list[str], list[str], bool]] = {
    "it is not in XAPI yet": ((lambda made: made["pools"]["alpha"].update(vms=[]),), {"uuid": ""}, ["node1", "node2"], [], False),
    "it was never started": ((*BLANK, *NO_LEASE), {}, ["node1", "node2"], [], False),
    "counts that differ by one": ((leg("node1", half=half(0, 43)),), {}, ["node1", "node2"], [], False),
    "its node was declared dead": (NODE1_DEAD, {"assume_dead": ["node1"]}, ["node2"], ["node1"], True),
    "its node was fenced": (NODE1_DEAD, {"fenced": ["node1"]}, ["node2"], ["node1"], True),
    "dead, with an operation that will never end": (
        (gone("node1"), vm(power_state="Running", host="xcp1", operations=["clean_shutdown"])), {"assume_dead": ["node1"]}, ["node2"],
        ["node1"], True),
    "dead, and was told already": ((gone("node1"),), {"assume_dead": ["node1"]}, ["node2"], ["node1"], False),
    "dead, and the other half was the last, in this life of its node": (
        (*NODE1_DEAD, leased("node2", synced=""), leg("node2", half=half(1, 60, ".A"))), {"assume_dead": ["node1"]}, ["node2"],
        ["node1"], True),
    "both went their own way, and one was decided on": (
        (leg("node1", half=half(0, 60, "A.")), leg("node2", half=half(1, 50, ".A")), leased("node1", synced="", node1=6),
         leased("node2", generation=6, synced="", node1=6)), {}, ["node2"], ["node1"], False),
    "the same, while the other node was off": (
        (leg("node1", half=half(0, 60, "A.")), leg("node2", half=half(1, 50, ".A")), leased("node2", generation=6, synced="", node1=6)),
        {}, ["node2"], ["node1"], False),
    "left out, and complete again since": (
        (*NODE1_DEAD, leased("node2", generation=7)), {"assume_dead": ["node1"]}, ["node2"], ["node1"], True),
    "another guest of the name here, halted, but the legs know theirs": (
        (tagged(), vm(uuid="other")), {}, ["node1", "node2"], [], False),
    "the same, and it runs": ((tagged(), vm(uuid="other", power_state="Running", host="xcp2"), saw("node2", domains=[
        {"uuid": "other", "id": "8", "name": "web1"}])), {}, ["node1", "node2"], [], False),
    "the same, in another pool": ((tagged("node2"), vm("bravo", uuid="other", power_state="Running", host="xcp9")), {}, ["node1", "node2"],
                                  [], False),
    "a host of another pool is dead": ((vm("bravo", power_state="Running", host="xcp9"),), {"assume_dead": ["bravo/xcp9"]},
                                       ["node1", "node2"], [], False),
    "a host of the pool that is called as another pool": (
        (lambda made: made["pools"]["alpha"]["hosts"].append({"name": "bravo"}),), {"assume_dead": ["alpha/bravo"]}, ["node1", "node2"],
        [], False),
    "the other pool was declared dead": ((lambda made: made["pools"].update(bravo=None),), {"assume_dead": ["bravo"]}, ["node1", "node2"],
                                         [], False),
    "a start of ours": (
        (*NODE1_DEAD, leased("node2", generation=6, state="starting", owner="bert/c2/bb", age=1, synced="", held="b00t")),
        {"assume_dead": ["node1"], "generation": 6}, ["node2"], ["node1"], True),
    "a start without the dead was broken off": (
        (*NODE1_DEAD, leased("node2", state="starting", synced="", held="b00t", dead=("node1",))), {"assume_dead": ["node1"]},
        ["node2"], ["node1"], True),
    "the other half is older, by its count": ((leg("node1", half=half(0, 30)),), {}, ["node2"], ["node1"], False),
    "the other half is older, as this one has lost it": ((leg("node2", half=half(1, 43, ".A")),), {}, ["node2"], ["node1"], False),
    "both have booted": ((saw("node1", boot="new"), saw("node2", boot="new")), {}, ["node1", "node2"], [], False),
    "the other half is being copied to": ((leg("node1", half=half(0, incomplete=True)),), {}, ["node2"], [], False),
    "the other half is new": ((leg("node1", half=None),), {}, ["node2"], [], False),
    "a lease that has expired": ((leased("node1", state="starting", age=120),), {}, ["node1", "node2"], [], False),
    "a restore that was killed before it wrote": ((leased("node1", state="restoring", age=121),), {}, ["node1", "node2"], [], False),
    "a lease of one's own": ((leased("node1", state="starting", age=1, owner="bert/c2/bb"),), {}, ["node1", "node2"], [], False),
    "a session that has failed": ((leg("node2", sessions=[{"initiator": IQN + "x", "address": "", "state": "FAILED"}]),), {},
                                  ["node1", "node2"], [], False),
    "a node without a leg": (
        (lambda made: made["nodes"].update(node3={"lease": {}, "evidence": {
            "domains": [], "domains_known": True, "initiator": IQN + "node3", "boot": "x", "legs": [], "imports": []}}),
         lambda made: made["hosts"].update(node3="xcp3"),
         leg("node1", sessions=[{"initiator": IQN + "node3", "address": "10.0.2.3", "state": "LOGGED_IN"}])), {},
        ["node1", "node2"], [], False),
    "another guest of the name on another pool, halted": ((vm("bravo", uuid="other"),), {}, ["node1", "node2"], [], False),
    "a host of the pool that is no node, and dead": (
        (lambda made: made["pools"]["alpha"]["hosts"].append({"name": "xcp3"}),), {"assume_dead": ["xcp3"]}, ["node1", "node2"], [], False),
}


@pytest.mark.parametrize(("edits", "options", "sources", "left_out", "reset"), STARTS.values(), ids=STARTS)
def test_it_may_start(edits: tuple[Edit, ...], options: dict[str, Any], sources: list[str], left_out: list[str], reset: bool) -> None:
    verdict = decide(*edits, **options)
    assert verdict.reasons == [] == verdict.overridden
    assert (verdict.start_from, verdict.reset) == (sources, reset)
    assert verdict.leave_out == [f"/dev/mirror/{node}/web1-data" for node in left_out]


# ---- it must not, and no force helps

DOMAIN = {"uuid": UUID, "id": "7", "name": "web1"}
NEVER: dict[str, tuple[tuple[Edit, ...], dict[str, Any], str]] = {
    "a node does not answer": ((gone("node1"),), {}, "node1 does not answer, so the guest may be running there"),
    "nor does the one that it ran on": (NODE1_DEAD, {}, "Pool alpha says that it is running on xcp1"),
    "nobody answers": ((gone("node1", "node2"),), {"assume_dead": ["node1", "node2"]}, "has no half to start from"),
    "a pool does not answer": ((lambda made: made["pools"].update(bravo=None),), {}, "Pool bravo does not answer"),
    "a pool cannot be asked": (
        (lambda made: made["pools"].update(bravo=None),), {"assume_dead": ["bravo"], "deaf": {"bravo": "its certificate is not trusted"}},
        "Pool bravo cannot be asked, and is not off"),
    "a dead node answers": ((), {"assume_dead": ["node1"]}, "node1 is declared dead, but it has answered"),
    "a fenced node answers": ((), {"fenced": ["node1"]}, "node1 is declared dead, but it has answered"),
    "a dead node's XAPI answers": (
        NODE1_DEAD, {"assume_dead": ["node1"], "alive": {"node1": "it takes connections at 10.0.0.1:443"}},
        "node1 is declared dead, but it takes connections at 10.0.0.1:443"),
    "a dead host's XAPI answers": (
        (lambda made: made["pools"]["alpha"]["hosts"].append({"name": "xcp3"}),),
        {"assume_dead": ["xcp3"], "alive": {"xcp3": "it takes connections at 10.0.0.3:443"}},
        "takes connections at 10.0.0.3:443"),
    "a dead node still has a session": (
        (lambda made: made["nodes"].update(node1=None),), {"assume_dead": ["node1"]}, "it is alive, or has died"),
    "a dead pool answers": ((), {"assume_dead": ["bravo"]}, "Pool bravo is declared dead, but it has answered"),
    "the dead are unknown": ((), {"assume_dead": ["ndoe1"]}, "ndoe1 is declared dead, but there is no"),
    "a node was not asked": ((lambda made: made["nodes"].pop("node1"),), {}, "node1 has a leg of the guest and was not asked"),
    "a host was not asked": (
        (lambda made: made["pools"]["alpha"]["hosts"].append({"name": "xcp3"}),), {}, "Host xcp3 of pool alpha is none"),
    "its node does not answer": ((gone("node2"),), {"assume_dead": ["node2"]}, "node2, where the guest shall start, does not answer"),
    "a domain": ((saw("node1", domains=[DOMAIN]),), {}, "It runs on node1: domain 7, web1"),
    "two domains": ((saw("node1", domains=[DOMAIN]), saw("node2", domains=[DOMAIN])), {}, "It runs on node2: domain 7"),
    "domains that are not known": (
        (saw("node1", domains_known=False, domains_error="no xl"),), {}, "node1 cannot say which domains run on it: no xl"),
    "a leg is used": ((leg("node1", users=["guest domain 7"]),), {}, "Its leg web1-data is used on node1 by guest domain 7"),
    "an import is used": ((saw("node1", imports=[{"path": "/dev/mirror/node2/web1-data", "users": ["process 9 (tapdisk)"]}]),), {},
                          "Its leg /dev/mirror/node2/web1-data is used on node1 by process 9 (tapdisk)"),
    "writes": ((leg("node2", writes=1),), {}, "Somebody writes to its leg web1-data on node2"),
    "a stranger's session": ((leg("node2", sessions=[{"initiator": IQN + "x", "address": "10.0.2.66", "state": "LOGGED_IN"}]),), {},
                             "test:x (10.0.2.66) is logged in to its leg web1-data on node2"),
    "the pool knows that it runs": ((vm(power_state="Running", host="xcp1"),), {}, "Pool alpha says that it is running on xcp1"),
    "it is paused": ((vm(power_state="Paused", host="xcp2"),), {}, "it is paused on xcp2"),
    "it runs somewhere": ((vm(power_state="Running"),), {}, "it is running on an unknown host"),
    "it is suspended": ((vm(power_state="Suspended"),), {}, "it is suspended"),
    "it is suspended and its host dead": (
        (gone("node1"), vm(power_state="Suspended", host="xcp1")), {"assume_dead": ["node1"]}, "it is suspended"),
    "another operator has told the pool": ((vm(operations=["start_on"]),), {}, "an operation with it under way: start_on"),
    "another pool runs it": (
        (vm("bravo", power_state="Running", host="xcp9"),), {}, "Pool bravo says that another guest of this name or uuid"),
    "a namesake runs": (
        (vm(uuid="other", power_state="Running", host="xcp2"),), {}, r"another guest of this name or uuid (other) is running on xcp2"),
    "two of the name": ((vm(uuid="other"),), {"uuid": ""}, "Pool alpha has 2 guests of this name"),
    "somebody is starting it": (
        (leased("node2", state="starting", age=20),), {},
        "anna/c1/aa has been starting it for 20 seconds (lease on node2). Wait for 100 seconds"),
    "somebody is going to restore a disk": (
        (leased("node2", state="restoring", age=20),), {},
        "anna/c1/aa has been restoring a disk of it for 20 seconds (lease on node2). Wait for 100 seconds"),
    "a restore is at work, however old the leases are": (
        (leased("node1", state="restoring", age=121), leased("node2", state="restoring", age=121), saw("node1", restores=True)), {},
        "node1 restores a disk of it at this moment. Wait until that is done."),
    "the lease was taken away": ((leased("node1", generation=6, state="starting", owner="bert/c2/bb", age=1),
                                  leased("node2", generation=6, state="starting", age=1)), {"generation": 6},
                                 "The lease on node2 has got lost to anna/c1/aa"),
    "the lease is gone": (NO_LEASE, {"generation": 6}, "There is no lease on node1 any more"),
    "a dead host of this pool is no namesake of another": (
        (*NODE1_DEAD, lambda made: made["pools"]["bravo"]["hosts"].append({"name": "xcp1"}),
         vm("bravo", power_state="Running", host="xcp1")), {"assume_dead": ["node1"]}, "Pool bravo says that another guest"),
    "nor is a dead host of another pool one of this": (
        (vm(power_state="Running", host="xcp1"), lambda made: made["pools"]["bravo"]["hosts"].append({"name": "xcp1"})),
        {"assume_dead": ["bravo/xcp1"]}, "Pool alpha says that it is running on xcp1"),
    "a dead host of another pool is said with its pool": ((), {"assume_dead": ["xcp9"]}, "of that name here: say bravo/xcp9"),
    "a node's name is no other host's": (
        (gone("node1"), lambda made: made["pools"]["alpha"]["hosts"].append({"name": "node1"}),
         vm(power_state="Running", host="node1")), {"assume_dead": ["node1"]}, "Pool alpha says that it is running on node1"),
    "a host and a pool of one name": (
        (lambda made: made["pools"]["alpha"]["hosts"].append({"name": "bravo"}), lambda made: made["pools"].update(bravo=None)),
        {"assume_dead": ["bravo"]}, "the name of a pool and of a host of pool alpha"),
    "legs of another guest": ((tagged(uuid="other"),), {}, "belong to another guest, by their tag nobloat.uuid=other"),
    "one leg of another guest": ((tagged(), tagged("node2", uuid="other")), {}, "Its legs web1-data belong to another guest"),
    "legs of a guest that the pool does not have": (
        (tagged(), lambda made: made["pools"]["alpha"].update(vms=[])), {}, "which pool alpha does not have"),
    "it runs under another name, here": (
        (tagged(), vm(name="renamed", power_state="Running", host="xcp2")), {}, "Pool alpha says that it is running on xcp2"),
    "it runs under its uuid, in another pool": (
        (tagged(), vm("bravo", power_state="Running", host="xcp9")), {}, "Pool bravo says that another guest"),
    "newer than the one that was decided on": (
        (leg("node1", half=half(0, 60)), leg("node2", half=half(1, 50)), leased("node2", generation=6, synced="", node1=6)), {},
        "name the node of the right one"),
    "both are said to have been left out": (
        (leg("node1", half=half(0, 50, "A.")), leg("node2", half=half(1, 60, ".A")), leased("node1", generation=6, node1=6),
         leased("node2", generation=6, node1=6, node2=5)), {}, "name the node of the right one"),
    "the start that was decided on was given up": (
        (leg("node1", half=half(0, 50, "A.")), leg("node2", half=half(1, 60, ".A")), leased("node1", generation=6, state="released"),
         leased("node2", generation=6, state="released")), {}, "name the node of the right one"),
    "a restore of both halves was broken off": (
        (leg("node1", half=None, restoring=True), leg("node2", half=None, restoring=True)), {}, "A restore of disk data has not ended"),
    "a restore of one half was broken off": (
        (leg("node2", half=None, restoring=True),), {}, "/dev/mirror/node2/web1-data may be half written"),
    "no legs": ((lambda made: made.update(legs=[]),), {}, "It has no legs"),
    "two arrays": ((leg("node1", half=half(0, uuid="other")),), {}, "belong to different arrays"),
    "the only half is blank": (
        (gone("node1"), leg("node2", half=None)), {"assume_dead": ["node1"]}, "/dev/mirror/node2/web1-data is blank"),
    "the only half is incomplete": (
        (gone("node1"), leg("node2", half=half(1, incomplete=True))), {"assume_dead": ["node1"]}, "still being copied to"),
    "the only half cannot be read": ((gone("node1"), leg("node2", half=None, unreadable="it is not active")), {"assume_dead": ["node1"]},
                                     "not to be read: it is not active"),
    "one blank, one lost": ((leg("node1", half=None), saw("node2", legs=[])), {}, "node2 has no such volume"),
    "both went their own way": (
        (leg("node1", half=half(0, 50, "A.")), leg("node2", half=half(1, 60, ".A"))), {}, "name the node of the right one"),
    "the newer one was lost by the older one": ((leg("node1", half=half(0, 50, "A.")), leg("node2", half=half(1, 60))), {},
                                                "both went on without the other"),
}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(("edits", "options", "words"), NEVER.values(), ids=NEVER)
def test_it_must_not_start(edits: tuple[Edit, ...], options: dict[str, Any], words: str, force: bool) -> None:
    verdict = decide(*edits, **options, force=force)
    assert any(words in reason for reason in verdict.reasons), verdict.reasons
    assert not any(words in reason for reason in verdict.overridden)


# ---- it must not, unless somebody decides which data are lost

REBOOTED = (gone("node1"), saw("node2", boot="new"))
FORCED: dict[str, tuple[tuple[Edit, ...], dict[str, Any], str, list[str]]] = {
    "the half that is there may have missed writes": (REBOOTED, {"assume_dead": ["node1"]}, "node2 has booted since", ["node1"]),
    "it was never seen complete": (
        (gone("node1"), leased("node2", synced="")), {"assume_dead": ["node1"]}, "was never seen complete", ["node1"]),
    "a start was broken off": (
        (gone("node1"), leased("node2", state="starting", synced="", held="b00t")), {"assume_dead": ["node1"]}, "was never seen complete",
        ["node1"]),
    "the last one by its own word, and its node has booted": (
        (*REBOOTED, leg("node2", half=half(1, 60, ".A"))), {"assume_dead": ["node1"]}, "node2 has booted since", ["node1"]),
    "the last one by its own word, and no lease tells since when": (
        (gone("node1"), leg("node2", half=half(1, 60, ".A")), leased("node2", synced="", boot="")), {"assume_dead": ["node1"]},
        "was never seen complete", ["node1"]),
    "it was left out by force, and was the last one before": (
        (gone("node1"), leg("node2", half=half(1, 60, ".A")), leased("node2", generation=6, node2=6)), {"assume_dead": ["node1"]},
        "was left out: the guest went on without it (generation 6, lease on node2)", ["node1"]),
    "it is to be left out by a start that was broken off": (
        (gone("node1"), leg("node2", half=half(1, 60, ".A")),
         leased("node2", generation=6, state="starting", synced="", held="b00t", node2=6)),
        {"assume_dead": ["node1"]}, "was left out", ["node1"]),
    "it was seen to be missing while its node was up": (
        (gone("node1"), leased("node2", synced="", node2=5)), {"assume_dead": ["node1"]}, "was left out", ["node1"]),
    "the other node notes it, and has lost its volume": (
        (leased("node1", generation=6, node2=6), saw("node1", legs=[])), {}, "(generation 6, lease on node1)", ["node1"]),
    "it was never leased": ((gone("node1"), NO_LEASE[1]), {"assume_dead": ["node1"]}, "was never seen complete", ["node1"]),
    "the other node has lost its volume": ((saw("node1", legs=[]), saw("node2", boot="new")), {}, "node1 has no such volume", ["node1"]),
    "the other half is not known": (
        (lambda made: made["legs"].pop(0), lambda made: made["nodes"].pop("node1"), saw("node2", boot="new"), gone(),
         lambda made: made["pools"]["alpha"]["hosts"].pop(0), leg("node2", sessions=[])), {},
        "another of its 2 halves, which may have", []),
    "the other volume cannot be read": ((leg("node1", half=None, unreadable="it is not active"), saw("node2", boot="new")), {},
                                        "it is not active", ["node1"]),
    "start from the older": (
        (leg("node2", half=half(1, 30)),), {"start_from": "node2"}, "a start from it loses what was written since", ["node1"]),
    "start from one of two ways": ((leg("node1", half=half(0, 50, "A.")), leg("node2", half=half(1, 60, ".A"))), {"start_from": "node1"},
                                   "both went on without the other", ["node2"]),
}


@pytest.mark.parametrize(("edits", "options", "words", "left_out"), FORCED.values(), ids=FORCED)
def test_only_a_human_can_decide(edits: tuple[Edit, ...], options: dict[str, Any], words: str, left_out: list[str]) -> None:
    refused = decide(*edits, **options)
    assert len(refused.reasons) == 1 and words in refused.reasons[0]
    forced = decide(*edits, **options, force=True)
    assert forced.reasons == [] and forced.overridden == refused.reasons
    assert forced.leave_out == [f"/dev/mirror/{node}/web1-data" for node in left_out]
    assert forced.start_from == [leg["node"] for leg in forced.legs if leg["node"] not in left_out]


def test_a_half_that_has_missed_a_start() -> None:
    """Node 3 only has the lease of a leg that moved there; it knows of a start that node 2 does not."""
    def third(made: dict[str, Any]) -> None:
        known = copy.deepcopy(made["nodes"]["node2"])
        known["lease"]["generation"] = 6
        known["evidence"]["legs"][0].update(unreadable="it is not active", half=None)
        made["nodes"]["node3"] = known
        made["hosts"]["node3"] = "xcp3"
        made["legs"].append({"disk": "data", "name": "web1-data", "node": "node3", "path": "/dev/mirror/node3/web1-data"})
    verdict = decide(gone("node1"), third, assume_dead=["node1"])
    assert any("has missed a start" in reason for reason in verdict.reasons)


def test_each_disk_is_looked_at() -> None:
    def log(made: dict[str, Any]) -> None:
        for node, role in (("node1", 0), ("node2", 1)):
            made["legs"].append({"disk": "log", "name": "web1-log", "node": node, "path": f"/dev/mirror/{node}/web1-log"})
            found = copy.deepcopy(made["nodes"][node]["evidence"]["legs"][0])
            found.update(name="web1-log", half=half(role, 7 + 9 * role, uuid="log"))
            made["nodes"][node]["evidence"]["legs"].append(found)
    verdict = decide(log)
    assert verdict.reasons == [] and verdict.leave_out == ["/dev/mirror/node1/web1-log"] and verdict.start_from == ["node2"]


def test_data_that_are_going_to_be_replaced() -> None:
    """They play no part, and no half is believed for it later; that the guest runs does."""
    branded = (leg("node1", half=None, restoring=True), leg("node2", half=half(1, incomplete=True)))
    verdict = decide(*branded, overwrite=True)
    assert verdict.reasons == [] == verdict.start_from and states(verdict) == {"node1": "restoring", "node2": "incomplete"}
    assert decide(*branded, saw("node1", domains=[DOMAIN]), overwrite=True).reasons


def test_after_the_lease() -> None:
    mine = {"generation": 6, "state": "starting", "owner": "bert/c2/bb", "age": 0, "synced": ""}
    verdict = decide(leased("node1", **mine), leased("node2", **mine), generation=6)
    assert verdict.reasons == [] and verdict.generation == 6


def test_nothing_is_known_twice() -> None:
    """Every refusal is a sentence, and no case of the tables is told the same thing twice."""
    for edits, options, _words in NEVER.values():
        reasons = decide(*edits, **options).reasons
        assert all(reason.endswith(".") for reason in reasons)
        assert len(reasons) == len(set(reasons))


# ---- all small worlds

HALVES = {"current": (42, "AA"), "older": (30, "AA"), "alone": (60, "own"), "branded": None}
LEASES: dict[str, dict[str, Any]] = {
    "fresh": {}, "left out": {"without": True}, "old": {"generation": 4}, "booted": {"synced": "0ld", "boot": "0ld"},
    "held": {"state": "starting", "synced": "", "held": "b00t"}, "unmarked": {"synced": "", "boot": ""}}


def small_worlds() -> Iterator[tuple[Any, ...]]:
    """(dead node, whether it is declared so, state and lease of each half)"""
    sides = list(product(HALVES, LEASES))
    yield from product([None, *NODES], [False, True], sides, sides)


def small(dead: str | None, sides: dict[str, tuple[str, str]]) -> list[Edit]:
    edits: list[Edit] = []
    for role, node in enumerate(NODES):
        what, marks = sides[node]
        found = HALVES[what]
        alone = "A." if role == 0 else ".A"
        edits.append(leg(node, half=half(role, found[0], alone if found[1] == "own" else "AA") if found else None, restoring=not found))
        notes = dict(LEASES[marks])
        without = {node: 4} if notes.pop("without", False) else {}
        edits.append(leased(node, **{**notes, **without}))
    return [*edits, gone(dead)] if dead else edits


def test_no_small_world_lets_a_guest_run_twice_or_go_back_in_time() -> None:
    started = 0
    for dead, declared, first, second in small_worlds():
        sides = {"node1": first, "node2": second}
        there = [node for node in NODES if node != dead]
        for force, start_from in product([False, True], ["", *there]):
            verdict = decide(*small(dead, sides), host=there[-1], force=force, start_from=start_from,
                             assume_dead=[dead] if dead and declared else [])
            world = (dead, declared, sides, force, start_from, verdict)
            if dead and not declared:
                assert verdict.reasons, world  # it may be running there
                continue
            if verdict.reasons:
                continue
            started += 1
            assert not any(sides[node][0] == "branded" for node in there), world
            seen = [node for node in there if f"/dev/mirror/{node}/web1-data" not in verdict.leave_out]
            assert seen, world
            if not dead and sides["node1"][0] != sides["node2"][0]:
                assert len(seen) == 1, world  # never both, where they differ
            if force:
                continue
            if dead:
                # Alone, it has to be known to have all: no mark against it, and its node was up since the mark for it was made.
                what, marks = sides[seen[0]]
                assert marks in ("fresh", "old") or (what == "alone" and marks not in ("left out", "booted", "unmarked")), world
            elif {sides[node][0] for node in there} == {"current", "older"}:
                assert sides[seen[0]][0] == "current", world
            elif {sides[node][0] for node in there} == {"alone"}:
                lost = next(node for node in there if node not in seen)
                assert sides[lost][1] in ("left out", "old"), world  # somebody decided it, and that is written down
    assert started > 500


@pytest.mark.parametrize("edit", [
    saw("node1", domains=[DOMAIN]), leg("node1", users=["guest domain 7"]), leg("node2", writes=1), vm(power_state="Running", host="xcp2"),
    vm("bravo", power_state="Running", host="xcp9"), leased("node2", state="starting", age=5), saw("node2", domains_known=False)])
def test_nothing_excuses_another_instance(edit: Edit) -> None:
    for what, force, start_from, overwrite in product(["current", "alone"], [False, True], ["", *NODES], [False, True]):
        sides = {"node1": (what, "fresh"), "node2": ("current", "fresh")}
        assert decide(*small(None, sides), edit, force=force, start_from=start_from, overwrite=overwrite).reasons
