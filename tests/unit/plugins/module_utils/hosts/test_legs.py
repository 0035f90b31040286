# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host has which legs, as far as XAPI knows it, and what was seen of them."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.legs import FRESH, Legs, check_mirrors

HOSTS = [{"ref": f"H{at}", "uuid": f"u{at}", "name_label": f"xcp{at}"} for at in (1, 2)]
LEG = "/dev/mirror/{}/web1-data"


def legs(host: dict[str, Any], node: str, mirrors: Any = None, location: str = LEG, note: str = "") -> Legs:
    srs = {"S": {"other_config": {"nobloat.xen.host": note} if note else {}}}
    return Legs(host, HOSTS, srs, {"V": {"SR": "S", "location": location.format(node), "VBDs": ["B"]}}, mirrors)


def seen(node: str, host: str, doubt: str = "", reachable: bool = True, other: str = "elsewhere") -> dict[str, Any]:
    both = [{"node": node, "name": "web1-data", "doubt": ""}, {"node": other, "name": "web1-data", "doubt": doubt}]
    return {"time": 1000.0, "nodes": [{"name": node, "host": host, "reachable": reachable}],
            "disks": [{"pool": "alpha", "guest": "web1", "disk": "data", "legs": both}] if reachable else []}


def test_a_host_that_is_called_as_the_node() -> None:
    assert legs(HOSTS[0], "xcp1").nodes == ["xcp1"]
    assert legs(HOSTS[1], "xcp1").nodes == []
    assert not legs(HOSTS[1], "xcp1").unknown


def test_the_note_of_the_sr_and_what_was_seen() -> None:
    assert legs(HOSTS[1], "node2", note="xcp2").nodes == ["node2"]
    assert legs(HOSTS[0], "node2", note="xcp2").nodes == []
    # Whoever looked knows better than a note of long ago.
    assert legs(HOSTS[0], "node2", seen("node2", "xcp1"), note="xcp2").nodes == ["node2"]


@pytest.mark.parametrize("note", ["", "gone"])
def test_a_node_that_may_be_any_host(note: str) -> None:
    for host in HOSTS:
        assert legs(host, "node2", note=note).unknown == ["node2"]
        assert legs(host, "node2", seen("node2", "xcp2"), note=note).unknown == []


@pytest.mark.parametrize("location", ["/dev/sdb", "/dev/mirror/{}/moved-web1-data", "/dev/mirror/{}/backup-x"])
def test_what_is_no_leg(location: str) -> None:
    found = legs(HOSTS[0], "xcp1", location=location)
    assert (found.nodes, found.unknown, found.names(["xcp1"])) == ([], [], [])


def test_the_last_half() -> None:
    assert legs(HOSTS[0], "n1", seen("n1", "xcp1")).last() == []
    assert legs(HOSTS[0], "n1", seen("n1", "xcp1", "is away")).last() == ["web1, disk data: that on elsewhere is away"]
    assert legs(HOSTS[1], "n1", seen("n1", "xcp1", "is away")).last() == []
    assert legs(HOSTS[0], "n1", seen("n1", "xcp1", reachable=False)).last() == [
        "web1-data: XAPI knows it, but n1 did not tell of it"]
    other = {**seen("n1", "xcp1"), "disks": []}
    assert legs(HOSTS[0], "n1", other).last() == ["web1-data: XAPI knows it, but n1 did not tell of it"]


@pytest.mark.parametrize("wrong", [
    {}, {"time": 1000.0}, {**seen("n1", "xcp1"), "time": 0},
    {**seen("n1", "xcp1"), "time": 1000.0 - FRESH - 1}, {**seen("n1", "xcp1"), "disks": [3]},
])
def test_what_is_not_believed(wrong: dict[str, Any]) -> None:
    check_mirrors(seen("n1", "xcp1"), 1000.0 + FRESH)
    with pytest.raises(ValueError, match="tasks_from status"):
        check_mirrors(wrong, 1000.0)
