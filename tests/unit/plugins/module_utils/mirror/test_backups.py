# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which leg of each disk is backed up."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.backups import backup_legs


def leg(guest: str, disk: str, node: str, size: int = 1 << 30) -> dict[str, Any]:
    name = f"{guest}-{disk}"
    return {"guest": guest, "disk": disk, "name": name, "node": node, "vg": "vg0", "size": size, "path": f"/dev/mirror/{node}/{name}"}


def chosen(legs: list[dict[str, Any]], running: dict[str, str] | None = None, **options: Any) -> list[tuple[str, str]]:
    found = backup_legs(legs, running or {}, {}, **options)
    assert len(found) == len(legs)
    return [(each["name"], each["node"]) for each in found if each["state"] == "present"]


WEB1 = [leg("web1", "data", "node1"), leg("web1", "data", "node2")]


def test_not_where_the_guest_runs() -> None:
    assert chosen(WEB1, {"web1": "node1"}) == [("web1-data", "node2")]
    assert chosen(WEB1, {"web1": "node2"}) == [("web1-data", "node1")]


def test_a_stopped_guest_is_backed_up_away_from_home() -> None:
    assert chosen(WEB1) == [("web1-data", "node2")]


def test_all_halves_are_named_and_the_guest_if_it_can_be_asked() -> None:
    found = backup_legs(WEB1, {}, {"web1": "web1.example"})
    assert all(each["halves"] == ["/dev/mirror/node1/web1-data", "/dev/mirror/node2/web1-data"] for each in found)
    assert {each["host"] for each in found} == {"web1.example"}
    assert "host" not in backup_legs(WEB1, {}, {})[0]


def test_all_disks_of_a_guest_on_one_node() -> None:
    legs = [leg("db", "a", "node1"), leg("db", "a", "node2"), leg("db", "b", "node2"), leg("db", "b", "node3")]
    assert chosen(legs) == [("db-a", "node2"), ("db-b", "node2")]
    assert chosen(legs, {"db": "node2"}) == [("db-a", "node2"), ("db-b", "node2")]


def test_disks_without_a_node_in_common() -> None:
    legs = [leg("db", "a", "node1"), leg("db", "a", "node2"), leg("db", "b", "node3"), leg("db", "b", "node4")]
    assert chosen(legs, {"db": "node4"}) == [("db-a", "node2"), ("db-b", "node3")]


def test_the_work_is_spread() -> None:
    legs = [leg(f"g{n}", "data", node) for n in range(4) for node in ("node1", "node2")]
    nodes = [node for _name, node in chosen(legs)]
    assert sorted(nodes) == ["node1", "node1", "node2", "node2"]


def test_only_one_leg_is_known() -> None:
    assert chosen(WEB1[:1], {"web1": "node1"}) == [("web1-data", "node1")]


def test_a_choice_of_guests_and_disks() -> None:
    legs = [*WEB1, leg("web1", "log", "node1"), leg("web1", "log", "node2"), leg("web2", "data", "node1"), leg("web2", "data", "node2")]
    assert chosen(legs, guests=["web2"]) == [("web2-data", "node2")]
    assert chosen(legs, guests=["web1"], disks=["log"]) == [("web1-log", "node2")]
    with pytest.raises(ValueError, match="no legs of web7"):
        backup_legs(legs, {}, {}, guests=["web7"])
    with pytest.raises(ValueError, match="no legs of root"):
        backup_legs(legs, {}, {}, disks=["root"])


def test_nothing() -> None:
    assert backup_legs([], {}, {}) == []
