# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes have to do for legs: volumes, imports, and whether their names are the same."""
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.filter.mirror_imports import mirror_imports
from ansible_collections.nobloat.xen.plugins.filter.mirror_names import mirror_names
from ansible_collections.nobloat.xen.plugins.filter.mirror_volumes import mirror_volumes

MIB = 1 << 20


def leg(node: str, disk: str = "data", size: int = 100 * MIB, **more: Any) -> dict[str, Any]:
    return {"guest": "web1", "disk": disk, "name": f"web1-{disk}", "vg": "vg0", "node": node, "size": size, "exists": False, **more}


def volume(disk: str = "data", size: int = 104 * MIB, **more: Any) -> dict[str, Any]:
    return {"vg": "vg0", "name": f"web1-{disk}", "size": size, "snapshot_of": None, "identity": "naa.1", "lease": None,
            "tags": ["nobloat.guest=web1", f"nobloat.disk={disk}"], **more}


def node(*volumes: dict[str, Any], free: int = 1000, disks: int = 2, **more: Any) -> dict[str, Any]:
    group = {"name": "vg0", "extent_size": 4 * MIB, "pv_count": disks, "free": 2 * free * MIB, "free_striped": free * MIB}
    return {"vgs": [group], "legs": list(volumes), "exports": [], "names": [], **more}


# ---- volumes


def test_new_legs_in_whole_stripes_on_both_nodes() -> None:
    nodes = {"node1": node(disks=2), "node2": node(disks=3)}
    wanted = [leg("node2"), leg("node1")]
    first, second = (mirror_volumes(wanted, nodes, name) for name in ("node1", "node2"))
    common = {"name": "web1-data", "vg": "vg0", "size": 120 * MIB, "guest": "web1", "disk": "data"}
    assert first["make"] == [{**common, "stripes": 2, "slot": 1}]
    assert second["make"] == [{**common, "stripes": 3, "slot": 0}]
    assert first["exports"] == [{"name": "web1-data", "iqn": "iqn.2026-11.xen.nobloat:node1:web1-data", "device": "/dev/vg0/web1-data"}]
    assert first["grow"] == first["troubles"] == []


def test_legs_that_are_there_grow_and_never_shrink() -> None:
    nodes = {"node1": node(volume(size=104 * MIB)), "node2": node(volume(size=200 * MIB))}
    assert mirror_volumes([leg("node1", slot=0), leg("node2", slot=1)], nodes, "node1")["grow"] == []
    grown = mirror_volumes([leg("node1", size=150 * MIB), leg("node2", size=150 * MIB)], nodes, "node1")
    assert [(each["size"], each["name"]) for each in grown["grow"]] == [(152 * MIB, "web1-data")] and not grown["make"]
    assert mirror_volumes([leg("node1", size=150 * MIB), leg("node2", size=150 * MIB)], nodes, "node2")["grow"] == []


def test_a_disk_that_is_being_restored_does_not_grow() -> None:
    """Whichever leg of the guest has the lease. What has the right size stays as it is."""
    log = volume("log", lease={"state": "restoring"})
    nodes = {"node1": node(volume()), "node2": node(volume(), log)}
    wanted = [leg("node1", size=150 * MIB, slot=0), leg("node2", size=150 * MIB, slot=1)]
    found = mirror_volumes(wanted, nodes, "node1")
    assert found["grow"] == []
    assert "node1/web1-data cannot grow: a restore of a disk of web1" in " ".join(found["troubles"])
    assert mirror_volumes([leg("node1", slot=0), leg("node2", slot=1)], nodes, "node1")["troubles"] == []


def test_space_is_counted_on_all_nodes() -> None:
    wanted = [leg(name, disk) for name in ("node1", "node2") for disk in ("data", "log")]
    nodes = {"node1": node(), "node2": node(free=200)}
    found = mirror_volumes(wanted, nodes, "node1")
    assert found["troubles"] == [
        "node2 has too little free space: its legs need 208 MiB of vg0, and it has 200 MiB for volumes with 2 stripes."]
    assert mirror_volumes(wanted, nodes, "node2")["troubles"] == found["troubles"]
    assert mirror_volumes(wanted, nodes, "node1", 1)["troubles"] == []  # one disk has more than every disk has
    nodes["node2"] = node(volume("log"), free=104)
    assert mirror_volumes(wanted, nodes, "node1")["troubles"] == []


@pytest.mark.parametrize(("wanted", "nodes", "words"), [
    ([leg("node1"), leg("node1")], {"node1": node()}, "more than once on node1"),
    ([leg("node1"), leg("node2")], {"node1": node(), "node2": {}}, "node2 does not answer"),
    ([leg("node1", vg="vg9")], {"node1": node()}, "node1 has no volume group vg9"),
    ([leg("node1")], {"node1": node(volume(tags=[]))}, "no leg of the disk data of web1"),
])
def test_troubles(wanted: list[dict[str, Any]], nodes: dict[str, Any], words: str) -> None:
    assert any(words in text for text in mirror_volumes(wanted, nodes, "node1")["troubles"])


def test_stripes_that_the_disks_do_not_give() -> None:
    assert "cannot make 3 stripes" in mirror_volumes([leg("node1")], {"node1": node()}, "node1", 3)["troubles"][0]


def test_what_exists_on_a_dead_node_is_no_trouble() -> None:
    found = mirror_volumes([leg("node1"), leg("node2", exists=True)], {"node1": node(volume()), "node2": {}}, "node1")
    assert found["troubles"] == [] and len(found["exports"]) == 1


def test_own_legs_that_are_not_those_of_the_pool() -> None:
    wanted = [leg("node1"), leg("node2"), leg("node1", "log"), leg("node2", "log")]
    nodes = {"node1": node(), "node2": node()}
    found = mirror_volumes(wanted, nodes, "node1", own=[leg("node1", "log"), leg("node1", "third")])
    assert [(each["name"], each["slot"]) for each in found["make"]] == [("web1-log", 0), ("web1-third", 0)]


# ---- imports


def test_imports_are_where_their_nodes_say() -> None:
    exports = [export("data", 1, portals=["10.0.2.2:3260", "10.0.3.2:3260"]), export("log", 2, enabled=False)]
    wanted = [leg("node1"), leg("node2"), leg("node2", "log"), leg("node3")]
    found = mirror_imports(wanted, {"node1": node(), "node2": node(exports=exports), "node3": {}}, "node1")
    assert (found["waiting"], found["imports"]) == (["node2/web1-log"], [
        {"iqn": "iqn.2026-11.test:1", "portals": ["10.0.2.2:3260", "10.0.3.2:3260"], "multipath": True}])


# ---- secrets


def export(disk: str, number: int, user: str = "", **more: Any) -> dict[str, Any]:
    return {"name": f"web1-{disk}", "iqn": f"iqn.2026-11.test:{number}", "portals": ["10.0.2.2:3260"], "enabled": True,
            "chap_username": user, **more}


def test_imports_by_node_and_secret() -> None:
    nodes = {"node2": node(exports=[export("data", 1, "nobloat"), export("log", 2), export("home", 3, "nobloat")]),
             "node3": node(exports=[export("data", 4, "mirror")])}
    wanted = [leg("node2"), leg("node2", "log"), leg("node2", "home"), leg("node3")]
    found = mirror_imports(wanted, nodes, "node1")
    assert [(each["node"], each["secured"], [one["iqn"][-1] for one in each["imports"]]) for each in found["logins"]] == [
        ("node2", True, ["1", "3"]), ("node2", False, ["2"]), ("node3", False, ["4"])]


IQN = "iqn.2026-11.xen.nobloat:node1:web1-data"


@pytest.mark.parametrize(("exports", "imports", "secured"), [
    ([], [], True),  # a new one
    ([export("data", 1, "nobloat")], [], True),
    ([export("data", 1)], [], False),  # one that somebody may have logged in to without
    ([export("data", 1, "mirror")], [], False),
    ([], [{"iqn": IQN, "chap_username": ""}], False),  # it was lost with its node, and somebody waits for it
    ([], [{"iqn": IQN, "chap_username": "nobloat"}], True),
    ([], [{"iqn": "iqn.2026-11.test:other", "chap_username": ""}], True),
])
def test_only_new_exports_get_the_secret(exports: list[dict[str, Any]], imports: list[dict[str, Any]], secured: bool) -> None:
    nodes = {"node1": node(volume(), exports=exports), "node2": {**node(), "imports": imports}}
    assert mirror_volumes([leg("node1")], nodes, "node1")["secured"] == (["web1-data"] if secured else [])


@pytest.mark.parametrize(("volumes", "exports", "imports", "secured"), [
    ([volume()], [], [], False),  # it was lost, and who does not answer may have logged in without
    ([], [], [], True),  # a new leg
    ([volume()], [export("data", 1, "nobloat")], [], True),
    ([volume()], [], [{"iqn": IQN, "chap_username": "nobloat"}], True),
    ([volume()], [], [{"iqn": IQN, "chap_username": ""}], False),
])
def test_a_lost_export_gets_no_secret_while_who_may_import_it_is_silent(
    volumes: list[dict[str, Any]], exports: list[dict[str, Any]], imports: list[dict[str, Any]], secured: bool
) -> None:
    nodes = {"node1": node(*volumes, exports=exports), "node2": {**node(), "imports": imports}, "node3": {}}
    assert mirror_volumes([leg("node1")], nodes, "node1")["secured"] == (["web1-data"] if secured else [])


# ---- names


def name(where: str, disk: str = "data", size: int | None = 104 * MIB, identity: str | None = "naa.1") -> dict[str, Any]:
    return {"node": where, "leg": f"web1-{disk}", "size": size, "identity": identity}


def test_the_same_names() -> None:
    names = [name("node1"), name("node2")]
    nodes = {"node1": node(volume(), names=names), "node2": node(volume(), names=[*names, name("node9")]), "node3": {}}
    assert mirror_names(nodes) == []


@pytest.mark.parametrize(("seen", "words"), [
    ([], "missing"), ([name("node1", size=None, identity=None)], "leads nowhere"),
    ([name("node1", size=1)], "1 bytes, naa.1"), ([name("node1", identity="naa.2")], "109051904 bytes, naa.2"),
])
def test_names_that_differ(seen: list[dict[str, Any]], words: str) -> None:
    nodes = {"node1": node(volume(), names=[name("node1")]), "node2": node(names=seen)}
    head, row = mirror_names(nodes)
    assert head.split() == ["name", "where", "it", "lies", "node1", "node2"] and head.index("node2") == row.index(words)
    assert row.startswith("/dev/mirror/node1/web1-data  109051904 bytes, naa.1  the same")


def test_a_leg_that_its_node_does_not_have() -> None:
    nodes = {"node1": node(), "node2": node(names=[name("node1")])}
    assert "node1 has no such leg" in mirror_names(nodes)[1]


@pytest.mark.parametrize("call", [
    lambda: mirror_volumes([{}], {"node1": node()}, "node1"), lambda: mirror_imports([{}], {}, "node1"),
    lambda: mirror_names({"a": {"x": 1}})])
def test_something_else_is_refused(call: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="this is not what"):
        call()
