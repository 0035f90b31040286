# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where legs go, what stays, and what is refused."""
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.filter.mirror_place import mirror_place
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.placement import place

MIB, GIB = 1 << 20, 1 << 30
PREFIX = "iqn.2026-11.xen.nobloat"


def node(**facts: Any) -> dict[str, Any]:
    return {"up": True, "vg": "vg0", "free": 10 * GIB, "size": 10 * GIB, "unit": 8 * MIB, **facts}


def guest(name: str = "web1", *disks: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"name": name, "disks": list(disks) or [{"name": "data", "size": "1GiB"}], **options}


def leg(where: str, name: str = "web1-data", **fields: Any) -> dict[str, Any]:
    owner, disk = name.split("-")
    return {"guest": owner, "disk": disk, "name": name, "node": where, "vg": "vg0", "size": GIB, "exists": True, **fields}


def where(guests: list[Any], nodes: dict[str, Any], legs: Any = ()) -> dict[str, list[str]]:
    """Nodes by leg, home first."""
    found: dict[str, list[str]] = {}
    for record in place(guests, legs, nodes, PREFIX)[0]:
        found.setdefault(record["name"], []).append(record["node"])
    return found


TWO = {"node1": node(), "node2": node()}
THREE = {"node1": node(), "node2": node(), "node3": node()}


def test_a_record_says_all() -> None:
    nodes = {"node1": node(), "node2": node(vg="vg1")}
    first, second = place([guest(home="node1")], [], nodes, PREFIX)[0]
    assert first == {
        "guest": "web1", "disk": "data", "name": "web1-data", "node": "node1", "vg": "vg0", "size": GIB,
        "iqn": "iqn.2026-11.xen.nobloat:node1:web1-data", "portals": [], "initiators": [],
        "path": "/dev/mirror/node1/web1-data", "sr": "mirror-node1", "vdi": "web1-data@node1", "lease": None, "exists": False, "slot": 0,
    }
    assert (second["node"], second["vg"], second["slot"]) == ("node2", "vg1", 1)


@pytest.mark.parametrize(
    ("nodes", "options", "expected"),
    [
        (TWO, {}, ["node1", "node2"]),
        (TWO, {"home": "node2"}, ["node2", "node1"]),
        ({**THREE, "node1": node(free=GIB // 2)}, {}, ["node2", "node3"]),
        ({**THREE, "node2": node(up=False)}, {}, ["node1", "node3"]),
        ({**THREE, "node2": node(free=3 * GIB)}, {}, ["node1", "node3"]),
        ({**THREE, "node3": node(free=10 * GIB - 8 * MIB, load=0.1), "node2": node(load=4.0)}, {}, ["node1", "node3"]),
        ({"a": node(failure_domain="r1"), "b": node(failure_domain="r1"), "c": node(failure_domain="r2", free=2 * GIB)}, {}, ["a", "c"]),
        ({"node1": node(load=2.0), "node2": node()}, {}, ["node2", "node1"]),
        (THREE, {"nodes": ["node2", "node3"]}, ["node2", "node3"]),
        (THREE, {"nodes": ["node1", "node2", "node3"], "home": "node3"}, ["node3", "node1"]),
    ],
)
def test_a_new_guest(nodes: dict[str, Any], options: dict[str, Any], expected: list[str]) -> None:
    assert where([guest(**options)], nodes) == {"web1-data": expected}


def test_one_failure_domain_is_told() -> None:
    nodes = {"a": node(failure_domain="r1"), "b": node(failure_domain="r1"), "c": node(failure_domain="r2", free=MIB)}
    legs, remarks = place([guest()], [], nodes, PREFIX)
    assert [record["node"] for record in legs] == ["a", "b"]
    assert remarks == ["Both legs of guest web1 lie in failure domain r1, as no pair of nodes apart has room."]


def test_homes_are_spread_and_room_is_counted() -> None:
    guests = [guest(f"web{number}") for number in range(1, 5)]
    found = where(guests, TWO)
    assert sorted(pair[0] for pair in found.values()) == ["node1", "node1", "node2", "node2"]
    message = "not enough space for guest web2, which needs 6GiB on each of two nodes. Free: node1 4GiB, node2 4GiB"
    with pytest.raises(ValueError, match=message):
        where([guest(f"web{number}", {"name": "data", "size": "6GiB"}) for number in (1, 2)], TWO)


def test_sizes_are_those_that_both_nodes_can_make() -> None:
    nodes = {"node1": node(unit=8 * MIB), "node2": node(unit=12 * MIB)}
    legs = place([guest("web1", {"name": "data", "size": "100MiB"})], [], nodes, PREFIX)[0]
    assert {record["size"] for record in legs} == {120 * MIB}


def test_legs_stay_and_others_are_returned() -> None:
    nodes = {**THREE, "node1": node(free=0, up=False), "node2": node(free=0)}
    legs = [leg("node2", slot=1), leg("node1", slot=0), leg("node3", "db1-log"), leg("node2", "db1-log")]
    found = place([guest()], legs, nodes, PREFIX)[0]
    assert [(record["name"], record["node"]) for record in found] == [
        ("db1-log", "node2"), ("db1-log", "node3"), ("web1-data", "node1"), ("web1-data", "node2"),
    ]
    assert all(record["exists"] for record in found)


def test_another_disk_lies_on_the_same_nodes() -> None:
    disks = [{"name": "data", "size": "1GiB"}, {"name": "log", "size": "1GiB"}]
    nodes = {**THREE, "node1": node(load=9.0), "node3": node(load=9.0)}
    legs = [leg("node3", slot=0), leg("node1", slot=1)]
    assert where([guest("web1", *disks)], nodes, legs) == {"web1-data": ["node3", "node1"], "web1-log": ["node3", "node1"]}


def test_a_leg_that_is_alone_gets_its_partner() -> None:
    assert where([guest()], THREE, [leg("node3", slot=1)]) == {"web1-data": ["node3", "node1"]}


@pytest.mark.parametrize(
    ("guests", "nodes", "legs", "message"),
    [
        ([guest(nodes=["node1", "node1"])], TWO, [], "node node1 comes twice in nodes. The two legs of a mirror need two different nodes"),
        ([guest(nodes=["node1", "node9"])], TWO, [], "there is no node node9 in this pool; there are node1, node2"),
        ([guest(home="node9")], TWO, [], "there is no node node9"),
        ([guest(nodes=["node1"])], TWO, [], "nodes has only node1"),
        ([guest(nodes=["node1", "node2"], home="node3")], THREE, [], "its home node3 is not among its nodes"),
        ([guest()], {"node1": node()}, [], r"there are 1 \(node1\) that answer. Add nodes"),
        ([guest()], {"node1": node(), "node2": node(up=False)}, [], r"1 \(node1\) that answer; node2 does not"),
        ([guest()], {"node1": node(), "node2": node(free=MIB)}, [], "not enough space .* Free: node1 10GiB, node2 1MiB"),
        ([guest("Web")], TWO, [], "'Web' cannot be the name of a mirrored guest"),
        ([guest("web_1")], TWO, [], "'web_1' cannot be"),
        ([guest("1web")], TWO, [], "'1web' cannot be"),
        ([guest("backup1")], TWO, [], "names that begin with backup, moved, spare, snapshot, pvmove are not for guests"),
        ([guest("web1", {"name": "0", "size": "1GiB"})], TWO, [], "'0' cannot be the name of a mirrored disk"),
        ([guest("a" * 40, {"name": "b" * 40, "size": "1GiB"})], TWO, [], "too long"),
        ([guest("web1", {"name": "data"})], TWO, [], "Disk data of guest web1 needs a size"),
        ([guest("web1", {"name": "data", "size": "much"})], TWO, [], "'much' is not a size"),
        ([guest("web1", {"name": "data", "size": "1GiB", "mount": "srv"})], TWO, [], "'srv' is no place to mount it at"),
        ([guest("web1", {"name": "data", "size": "1GiB", "mount": "/a b"})], TWO, [], "'/a b' is no place"),
        ([guest("web1", {"name": "a", "size": 1}, {"name": "a", "size": 1})], TWO, [], "two disks are called a"),
        ([guest("web1", {"name": "a", "size": 1, "mount": "/s"}, {"name": "b", "size": 1, "mount": "/s"})], TWO, [], "mounted at /s"),
        ([guest(), guest()], TWO, [], "Two mirrored guests are called web1"),
        ([{"name": "web1", "disks": []}], TWO, [], "has no disks"),
        (
            [guest("web", {"name": "a-data", "size": 1}), guest("web-a", {"name": "data", "size": 1})], TWO, [],
            "Disk data of guest web-a and disk a-data of guest web would both be called web-a-data",
        ),
        ([guest("web1", {"name": "data", "size": "512MiB"})], TWO, [leg("node1"), leg("node2")], "has 1GiB, it cannot shrink to 512MiB"),
        ([guest("web1", {"name": "data", "size": "2GiB"})], TWO, [leg("node1"), leg("node2")], "to grow it to 2GiB, run .*guest_grow"),
        ([guest()], TWO, [leg("node1"), leg("node2", size=2 * GIB)], r"different sizes \(1GiB on node1, 2GiB on node2\)"),
        ([guest()], THREE, [leg("node1"), leg("node2"), leg("node3")], "has legs on node1, node2, node3.*guest_move"),
        ([guest()], TWO, [leg("node1"), leg("node1", vg="vg1"), leg("node2")], "Node node1 has two volumes web1-data"),
        ([guest()], {**TWO, "node2": node(free=None)}, [], "Node node2 has no volume group vg0 for legs"),
        ([guest(nodes=["node1", "node2"])], THREE, [leg("node1"), leg("node3")], "web1-data is on node3, where guest web1 is not to be"),
        ([guest(home="node3")], THREE, [leg("node1"), leg("node2")], "its home node3 holds none of its legs"),
        (
            [guest("web1", {"name": "data", "size": "1GiB"}, {"name": "log", "size": "1GiB"})], {**TWO, "node2": node(up=False)},
            [leg("node1"), leg("node2")], "gets a new leg on node2, which does not answer",
        ),
        (
            [guest("web1", {"name": "data", "size": "1GiB"}, {"name": "log", "size": "5GiB"})], {**TWO, "node2": node(free=GIB)},
            [leg("node1"), leg("node2")], "needs 5GiB on each of two nodes. Free: node1 10GiB, node2 1GiB",
        ),
    ],
)
def test_refused(guests: list[Any], nodes: dict[str, Any], legs: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        place(guests, legs, nodes, PREFIX)


def test_a_guest_whose_other_leg_cannot_be_seen_is_left_alone() -> None:
    nodes = {**THREE, "node2": node(up=False, free=None)}
    legs, remarks = place([guest(), guest("web2")], [leg("node1", slot=0)], nodes, PREFIX)
    assert [(record["name"], record["node"]) for record in legs] == [
        ("web1-data", "node1"), ("web2-data", "node3"), ("web2-data", "node1"),
    ]
    assert remarks == [
        "Guest web1 has a leg on node1; its other leg may be on node2, which does not answer. The guest is left as it is."
    ]
    pinned = place([guest(nodes=["node1", "node3"])], [leg("node1", slot=0)], nodes, PREFIX)
    assert [record["node"] for record in pinned[0]] == ["node1", "node3"], "node2 cannot have it"


def test_check_mode_before_there_is_any_storage() -> None:
    nodes = {"node1": node(free=None, size=None), "node2": node(free=None, size=None)}
    assert [record["size"] for record in place([guest()], [], nodes, PREFIX, assume_room=True)[0]] == [GIB, GIB]


def test_the_filter_reads_what_mirror_info_says() -> None:
    group = {"name": "vg0", "size": GIB, "free": 200 * MIB, "free_striped": 132 * MIB, "extent_size": 4 * MIB, "pv_count": 2}
    nodes = {name: {"load": 0.5, "vgs": [group], "legs": []} for name in ("node1", "node2")}
    small, big = (guest("web1", {"name": "data", "size": size}) for size in ("125MiB", "140MiB"))
    assert {record["size"] for record in mirror_place([small], nodes)} == {128 * MIB}
    assert {record["size"] for record in mirror_place([big], nodes, stripes=1)} == {140 * MIB}
    with pytest.raises(AnsibleFilterError, match="Free: node1 128MiB, node2 128MiB"):
        mirror_place([big], nodes)
    with pytest.raises(AnsibleFilterError, match="node2 does not"):
        mirror_place([small], {**nodes, "node2": {}})
    with pytest.raises(AnsibleFilterError, match="Node node2 has no volume group ssd"):
        mirror_place([small], nodes, vgs={"node2": "ssd"})
