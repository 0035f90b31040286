# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What growth and moves have to lead to, and what must not be begun."""
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.filter.mirror_growth import mirror_growth
from ansible_collections.nobloat.xen.plugins.filter.mirror_moves import mirror_moves
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.changes import devices, growth, moves, returning
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.legs import called

MIB = 1 << 20
GIB = 1 << 30


def leg(node: str, guest: str = "web1", disk: str = "data", size: int = GIB, slot: int | None = 0) -> dict[str, Any]:
    name = f"{guest}-{disk}"
    return {"guest": guest, "disk": disk, "slot": slot, "name": name, "node": node, "vg": "vg0", "size": size,
            **called(node, name), "lease": None, "iqn": f"iqn:{node}:{name}", "portals": ["10.0.2.1"], "initiators": [], "exists": True}


def node(free: int = 10 * GIB, up: bool = True) -> dict[str, Any]:
    return {"up": up, "vg": "vg0", "failure_domain": "", "free": free, "size": 20 * GIB, "unit": 8 * MIB, "load": 0.0}


NODES = {name: node() for name in ("node1", "node2", "node3")}
PAIR = (leg("node1"), leg("node2", slot=1))
PREFIX = "iqn.2026-11.xen.nobloat"


def move(legs: Any = PAIR, nodes: Any = NODES, guests: Any = (), source: str = "node1", **more: Any) -> list[dict[str, Any]]:
    return moves(legs, nodes, guests, source, iqn_prefix=PREFIX, **more)


# ---- growth


def test_both_legs_get_the_rounded_size() -> None:
    grown = growth(PAIR, NODES, "web1", "data", "1500MiB")
    assert [(each["node"], each["size"]) for each in grown] == [("node1", 1504 * MIB), ("node2", 1504 * MIB)]
    assert growth(grown, NODES, "web1", None, "1500MiB") == grown


def test_a_growth_that_was_broken_off_goes_on() -> None:
    half = [leg("node1", size=2 * GIB), leg("node2", slot=1)]
    full = {**NODES, "node1": node(free=0)}
    assert {each["size"] for each in growth(half, full, "web1", "data", "2GiB")} == {2 * GIB}


@pytest.mark.parametrize(("legs", "nodes", "arguments", "words"), [
    (PAIR, NODES, ("web2", "data", "2GiB"), "no leg|has a leg of a guest web2"),
    (PAIR, NODES, ("web1", "log", "2GiB"), "no mirrored disk log; it has data"),
    (PAIR, NODES, ("web1", "data", "512MiB"), "has 1GiB already; it cannot shrink to 512MiB"),
    (PAIR, NODES, ("web1", "data", "much"), "is not a size"),
    (PAIR, NODES, ("web1", "data", "0"), "is no size"),
    (PAIR, {**NODES, "node2": node(free=GIB // 2)}, ("web1", "data", "2GiB"), "node2 has 512MiB left in vg0, and 1GiB are needed"),
    ((leg("node1", disk="log"), {**PAIR[0], "lease": {"state": "restoring"}}, PAIR[1]), NODES, ("web1", "data", "2GiB"),
     "A restore of a disk of web1 has not ended .lease on node1"),
    (PAIR[:1], NODES, ("web1", "data", "2GiB"), "only leg that can be seen on node1"),
    ([*PAIR, leg("node3")], NODES, ("web1", "data", "2GiB"), "Finish its move first"),
    ([*PAIR, leg("node1", disk="log"), leg("node2", disk="log")], NODES, ("web1", None, "2GiB"), "several mirrored disks, data, log"),
])
def test_growth_that_is_refused(legs: Any, nodes: Any, arguments: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        growth(legs, nodes, *arguments)


# ---- moves


def test_a_leg_moves() -> None:
    (found,) = move(guest="web1", to="node3")
    assert (found["from"], found["name"], found["old"]) == ("node1", "web1-data", PAIR[0])
    by_node = {each["node"]: each for each in found["legs"]}
    assert by_node["node2"] == PAIR[1]
    assert by_node["node3"] == {**by_node["node3"], "exists": False, "size": GIB, "slot": 0, "path": "/dev/mirror/node3/web1-data",
                                "iqn": f"{PREFIX}:node3:web1-data"}


def test_a_move_that_was_broken_off_leads_to_the_same() -> None:
    (found,) = move([*PAIR, leg("node3")], guest="web1", to="node3")
    assert [(each["node"], each["exists"], each["slot"]) for each in found["legs"]] == [("node3", True, 0), ("node2", True, 1)]


def test_a_move_that_is_done() -> None:
    assert move([leg("node2", slot=1), leg("node3")], guest="web1", to="node3") == []
    with pytest.raises(ValueError, match="no leg on node1; its legs are on node2, node3"):
        move([leg("node2"), leg("node3")], {**NODES, "node4": node()}, guest="web1", to="node4")


def test_all_leave_a_node() -> None:
    legs = [*PAIR, leg("node1", "db1"), leg("node3", "db1", slot=1), leg("node2", "web9"), leg("node3", "web9", slot=1)]
    found = move(legs)
    assert [(each["guest"], sorted(half["node"] for half in each["legs"])) for each in found] == [
        ("db1", ["node2", "node3"]), ("web1", ["node2", "node3"])]
    assert move(legs[4:]) == []


def test_all_disks_of_a_guest_go_together() -> None:
    legs = [*PAIR, leg("node1", disk="log"), leg("node2", disk="log", slot=1)]
    assert [each["disk"] for each in move(legs, guest="web1", to="node3")] == ["data", "log"]
    assert [each["disk"] for each in move(legs, guest="web1", to="node3", disk="log")] == ["log"]


@pytest.mark.parametrize(("changes", "words"), [
    ({"to": "node9", "guest": "web1"}, "no node node9 in this pool; there are node1, node2, node3"),
    ({"to": "node1", "guest": "web1"}, "is no move"),
    ({"to": "node3", "guest": "web1", "nodes": {**NODES, "node3": node(up=False)}}, "node3 does not answer"),
    ({"to": "node2", "guest": "web1"}, "two different nodes"),
    ({"to": "node3", "guest": "web1", "nodes": {**NODES, "node3": node(free=MIB)}}, "not enough space"),
    ({"to": "node3", "guest": "web1", "legs": PAIR[:1]}, "only leg that can be seen on node1"),
    ({"to": "node3", "guest": "web1", "kept": ["moved-web1-data"]}, "still has moved-web1-data"),
    ({"to": "node3", "guest": "web1", "guests": [{"name": "web1", "home": "node1"}]}, "has its home on node1"),
    ({"to": "node3", "guest": "web1", "guests": [{"name": "web1", "nodes": ["node1", "node2"]}]}, "on node1, node2 only"),
    ({"nodes": {name: NODES[name] for name in ("node1", "node2")}}, "two nodes"),
    ({"nodes": {**NODES, "node3": node(free=0)}}, "not enough space"),
])
def test_moves_that_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        move(**changes)


def test_what_the_filters_make_of_the_nodes() -> None:
    group = {"name": "ssd", "size": 20 * GIB, "free": GIB, "free_striped": GIB, "extent_size": 4 * MIB, "pv_count": 2}
    info = {"vgs": [group], "legs": [{"name": "moved-web1-data"}], "load": 0.0}
    infos = {"node1": info, "node2": info, "node3": info, "node4": {}}
    assert [leg["size"] for leg in mirror_growth(PAIR, infos, "web1", "1500MiB", vg="ssd")] == [1504 * MIB] * 2
    (found,) = mirror_moves(PAIR, infos, [], "node1", to="node3", guest="web1", vg="ssd", remove_old=True)
    assert {leg["node"]: leg["vg"] for leg in found["legs"]} == {"node2": "vg0", "node3": "ssd"}
    with pytest.raises(AnsibleFilterError, match="still has moved-web1-data"):
        mirror_moves(PAIR, infos, [], "node1", to="node3", guest="web1", vg="ssd")
    with pytest.raises(AnsibleFilterError, match="node4 does not answer"):
        mirror_moves(PAIR, infos, [], "node1", to="node4", guest="web1", vg="ssd")


# ---- devices


def vm(*disks: tuple[int, str], power: str = "running", host: str = "xcp1") -> dict[str, Any]:
    return {"name": "web1", "power_state": power, "host": host, "disks": [{"device": device, "name": name} for device, name in disks]}


HOSTS = {"xcp1": "node1", "xcp2": "node2", "xcp3": "node3"}
BOTH = ((0, "web1 root"), (4, "web1-data@node1"), (5, "web1-data@node2"))


def test_devices_of_a_move() -> None:
    planned = move(guest="web1", to="node3")
    (found,) = devices(planned, [vm(*BOTH)], HOSTS)
    by_node = dict(zip((leg["node"] for leg in found["legs"]), found["devices"], strict=True))
    assert by_node == {"node2": "/dev/xvdf", "node3": "/dev/xvdg"}
    assert found["plug"] == [{"vdi": "web1-data@node3", "sr": "mirror-node3", "position": 6, "vm": "web1"}]
    assert (found["old_vdi"], found["far"]) == ("web1-data@node1", [])  # it runs on node1, where nothing of it will be
    (found,) = devices(planned, [vm(*BOTH[:1], BOTH[2], (4, "web1-data@node3"), host="xcp3")], HOSTS)
    assert (found["plug"], found["old_vdi"], found["far"]) == ([], "", ["/dev/xvdf"])


def test_two_disks_get_two_positions() -> None:
    legs = [*PAIR, leg("node1", disk="log"), leg("node2", disk="log", slot=1)]
    guest = vm(*BOTH, (6, "web1-log@node1"), (7, "web1-log@node2"))
    assert [each["plug"][0]["position"] for each in devices(move(legs, guest="web1", to="node3"), [guest])] == [8, 9]


def test_guests_that_cannot_be_changed() -> None:
    planned = move(guest="web1", to="node3")
    for vms in ([], [vm(*BOTH, power="halted")]):
        with pytest.raises(ValueError, match="does not run"):
            devices(planned, vms)
    with pytest.raises(ValueError, match="no position left"):
        devices(planned, [vm(*((position, "x") for position in range(26)))])


def test_which_disks_get_their_halves_back() -> None:
    """Those with a leg on the node, of guests that run; and where it is known, those that may lack data anywhere."""
    far = (leg("node2", "web2"), leg("node3", "web2", slot=1))
    halted = (leg("node1", "db"), leg("node2", "db", slot=1))
    vms = [vm((5, "web1-data@node2")), {**vm((4, "web2-data@node2")), "name": "web2"}, {**vm(power="halted"), "name": "db"}]
    assert [each["name"] for each in returning([*PAIR, *far, *halted], vms, "node1")] == ["web1-data"]
    doubts = {"disks": [{"guest": "web2", "disk": "data", "legs": [{"doubt": ""}, {"doubt": "is not in the mirror"}]},
                        {"guest": "db", "disk": "data", "legs": [{"doubt": "is older"}, {"doubt": ""}]}]}
    found = returning([*PAIR, *far, *halted], vms, "node1", doubts)
    assert [(each["name"], [half["node"] for half in each["legs"]]) for each in found] == [
        ("web1-data", ["node1", "node2"]), ("web2-data", ["node2", "node3"])]


def test_a_namesake_gets_nothing() -> None:
    """The tags of the legs say whose they are, whatever the guests are called now."""
    tagged = [{**each, "uuid": "u1"} for each in PAIR]
    own, namesake = {**vm(*BOTH), "uuid": "u1", "name": "old"}, {**vm(power="halted"), "uuid": "u2"}
    for vms in ([own, namesake], [namesake, own]):
        assert [each["name"] for each in returning(tagged, vms, "node1")] == ["web1-data"]
        (found,) = devices([{"guest": "web1", "name": "web1-data", "legs": [{**each, "vdi": each["name"] + "@" + each["node"]}
                                                                            for each in tagged]}], vms, HOSTS)
        assert found["ref"] == "u1"
    assert returning(tagged, [{**own, "power_state": "halted"}, {**namesake, "power_state": "running"}], "node1") == []


def test_halves_come_back_in_the_order_of_those_that_are_left() -> None:
    log = (leg("node1", disk="log"), leg("node2", disk="log", slot=1))
    there = [vm((5, "web1-log@node2"), (7, "web1-data@node2"))]
    assert [each["disk"] for each in returning([*PAIR, *log], there, "node1")] == ["log", "data"]
