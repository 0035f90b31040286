# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where legs are attached, and what stays."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.guests import guest_plans, problems

DATA = {"name": "data", "size": "1GiB", "filesystem": "ext4", "mount": "/srv"}
LOG = {"name": "log", "size": "1GiB"}


def legs(*disks: str, nodes: tuple[str, ...] = ("node1", "node2")) -> list[dict[str, Any]]:
    return [
        {"guest": "web1", "disk": disk, "name": f"web1-{disk}", "node": node, "path": f"/dev/mirror/{node}/web1-{disk}"}
        for disk in disks for node in nodes
    ]


def uuids(found: list[dict[str, Any]]) -> dict[str, str]:
    return {leg["path"]: f"uuid of {leg['name']}@{leg['node']}" for leg in found}


def plan(guest: dict[str, Any], found: list[dict[str, Any]], vms: Any = (), known: Any = None) -> dict[str, Any]:
    (one,) = guest_plans([guest], found, vms, uuids(found) if known is None else known, {"memory": "2GiB", "vcpus": 2})
    return one


def test_a_new_guest() -> None:
    found = legs("data", "log")
    guest = {"name": "web1", "disks": [DATA, LOG], "vm": {"vcpus": 4, "disks": [{"device": 0, "size": "8GiB"}]}}
    one = plan(guest, found)
    assert (one["home"], one["power"], one["missing"], one["host"]) == ("node1", "", [], "web1")
    assert one["vm"] == {
        "name": "web1", "memory": "2GiB", "vcpus": 4, "auto_poweron": False,
        "disks": [
            {"device": 0, "size": "8GiB"},
            {"device": 4, "vdi": "uuid of web1-data@node1", "mode": "rw"}, {"device": 5, "vdi": "uuid of web1-data@node2", "mode": "rw"},
            {"device": 6, "vdi": "uuid of web1-log@node1", "mode": "rw"}, {"device": 7, "vdi": "uuid of web1-log@node2", "mode": "rw"},
        ],
    }
    assert one["mirrors"] == [
        {"name": "data", "devices": ["/dev/xvde", "/dev/xvdf"], "nodes": ["node1", "node2"], "far": ["/dev/xvdf"],
         "filesystem": "ext4", "mount": "/srv"},
        {"name": "log", "devices": ["/dev/xvdg", "/dev/xvdh"], "nodes": ["node1", "node2"],
         "far": ["/dev/xvdh"], "filesystem": "", "mount": ""},
    ]


def test_what_is_attached_stays_where_it_is() -> None:
    found = legs("data", "log")
    known = uuids(found)
    vm = {"name": "web1", "uuid": "u1", "power_state": "running", "disks": [
        {"device": 4, "vdi": "other"}, {"device": 9, "vdi": known[found[2]["path"]]}, {"device": 6, "vdi": None},
    ]}
    one = plan({"name": "web1", "disks": [DATA, LOG]}, found, [vm])
    assert one["power"] == "running"
    assert [mirror["devices"] for mirror in one["mirrors"]] == [["/dev/xvdf", "/dev/xvdg"], ["/dev/xvdj", "/dev/xvdh"]]


def test_legs_without_vdi_are_missing() -> None:
    found = legs("data")
    one = plan({"name": "web1", "disks": [DATA]}, found, known={found[0]["path"]: "uuid"})
    assert one["missing"] == [found[1]["path"]]
    assert one["vm"]["disks"] == [{"device": 4, "vdi": "uuid", "mode": "rw"}]


def test_a_guest_with_one_known_leg_has_no_home() -> None:
    assert plan({"name": "web1", "disks": [DATA]}, legs("data", nodes=("node1",)))["home"] == ""
    assert plan({"name": "web1", "disks": [DATA, LOG]}, legs("data"))["home"] == ""


def test_it_must_not_start_by_itself() -> None:
    with pytest.raises(ValueError, match="must not start by itself"):
        plan({"name": "web1", "disks": [DATA], "vm": {"auto_poweron": True}}, legs("data"))


def test_too_many_disks() -> None:
    disks = [{"name": f"d{number}"} for number in range(12)]
    with pytest.raises(ValueError, match="no position left for another disk"):
        plan({"name": "web1", "disks": disks}, legs(*(disk["name"] for disk in disks)))


def test_the_uuid_on_its_legs_decides_which_guest_it_is() -> None:
    vms = [{"name": "web1", "uuid": uuid, "power_state": power, "disks": []} for uuid, power in (("u1", "halted"), ("u2", "running"))]
    tagged = [{**leg, "uuid": "u2" if leg["node"] == "node1" else ""} for leg in legs("data")]
    one = plan({"name": "web1", "disks": [DATA]}, tagged, vms)
    assert (one["power"], one["uuid"], one["ref"], one["vm"]["name"]) == ("running", "u2", "u2", "u2")
    assert one["untagged"] == [{"node": "node2", "guest": {"name": "web1", "uuid": "u2"}}]
    one = plan({"name": "web1", "disks": [DATA]}, legs("data"), vms)
    assert (one["uuid"], one["ref"], one["untagged"]) == ("", "web1", []), "nobody can tell"
    one = plan({"name": "web1", "disks": [DATA]}, legs("data"), vms[:1])
    assert (one["uuid"], one["ref"], [leg["node"] for leg in one["untagged"]]) == ("u1", "web1", ["node1", "node2"])


def test_what_guests_lack_of_their_plans() -> None:
    vdis = {f"/dev/mirror/{node}/web1-data": f"v{node}" for node in ("node1", "node2")}
    disks = [{"vdi": vdi} for vdi in vdis.values()]
    plan = {"name": "web1", "uuid": "", "vm": {"disks": [{"vdi": "system"}, *disks]}}
    vm = {"name": "web1", "uuid": "u1", "auto_poweron": False, "power_state": "running", "disks": disks}
    assert problems([plan], [vm], vdis, ["web1"]) == []
    assert problems([plan], [{**vm, "power_state": "halted"}], vdis, []) == []
    for wrong, words in (
        ([], "Guest web1 is not there."), ([vm, {**vm, "uuid": "u2"}], "There are 2 guests web1."),
        ([{**vm, "auto_poweron": True}], "starts by itself"), ([{**vm, "power_state": "halted"}], "Guest web1 is halted."),
        ([{**vm, "disks": disks[:1]}], "is without /dev/mirror/node2/web1-data"),
    ):
        (said,) = problems([plan], wrong, vdis, ["web1"])
        assert words in said
    (said,) = problems([{**plan, "uuid": "u2"}], [vm], vdis, ["web1"])
    assert said == "Guest web1 is not there.", "its namesake is another guest"
