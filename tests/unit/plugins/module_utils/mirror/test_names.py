# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of names and positions: whatever makes, reads or changes a leg agrees on it."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.mirror import names
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.changes import devices
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.guests import guest_plans
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.legs import called, srs
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.placement import place

NODES = ("node1", "node2")
DISKS = [f"d{number}" for number in range(names.MOST_DISKS)]
GUEST = {"name": "web1", "disks": [{"name": disk, "size": "1GiB"} for disk in DISKS]}


def legs(disks: list[str] = DISKS, nodes: tuple[str, ...] = NODES) -> list[dict[str, Any]]:
    return [{"guest": "web1", "disk": disk, "name": f"web1-{disk}", "node": node, "size": 1 << 30, **called(node, f"web1-{disk}")}
            for disk in disks for node in nodes]


def running(plan: dict[str, Any], uuids: dict[str, str], without: str = "") -> dict[str, Any]:
    """The guest with its legs where the plan has them, as vm_info tells it; without those of a node."""
    vdis = {uuid: path for path, uuid in uuids.items()}
    found = [(disk["device"], *(names.from_path(vdis[disk["vdi"]]) or ())) for disk in plan["vm"]["disks"]]
    return {"name": "web1", "power_state": "running", "host": "xcp1", "disks": [
        {"device": position, "name": names.vdi_name(node, leg)} for position, node, leg in found if node != without]}


def test_legs_get_their_old_positions_back() -> None:
    """The guest was started without those of a node, and shall be without those of the other one now."""
    wanted = [{**leg, "state": "current" if leg["node"] == "node1" else "unreachable"} for leg in legs(["a", "b", "c"])]
    there = [{"path": names.path("node2", f"web1-{disk}"), "device": position} for disk, position in (("b", 5), ("a", 7), ("c", 9))]
    found = names.lacking("web1", wanted, there, [0, 3, 5, 7, 9])
    assert [(leg["vdi"], leg["sr"], leg["device"]) for leg in found] == [
        ("web1-b@node1", "mirror-node1", 4), ("web1-a@node1", "mirror-node1", 6), ("web1-c@node1", "mirror-node1", 8)]
    assert names.lacking("web1", wanted, [{"path": leg["path"], "device": 9} for leg in wanted], [9]) == []


def test_names_lead_back() -> None:
    assert names.from_path(names.path("node1", "web1-data")) == ("node1", "web1-data")
    assert names.from_vdi(names.vdi_name("node1", "web1-data")) == ("node1", "web1-data")
    assert names.disk_name("web1", names.leg_name("web1", "data")) == "data"
    assert [names.from_path(text) for text in ("/dev/sda", "/dev/mirror/node1", "/dev/mirror/a/b/c")] == [None] * 3
    assert [names.from_vdi(text) for text in ("config", "@node1", "web1-data@")] == [None] * 3


def test_devices() -> None:
    found = [names.device(position) for position in (0, 4, 25, 26, 27)]
    assert found == ["/dev/xvda", "/dev/xvde", "/dev/xvdz", "/dev/xvdaa", "/dev/xvdab"]


def test_as_many_disks_as_fit_come_back_after_their_node_has_died() -> None:
    """They are made, lose the legs of a node, and get them back at positions that are free."""
    uuids = {leg["path"]: f"uuid of {leg['path']}" for leg in legs()}
    (plan,) = guest_plans([GUEST], legs(), [], uuids, {})
    assert [disk["device"] for disk in plan["vm"]["disks"]] == list(names.POSITIONS)[:2 * len(DISKS)]
    wanted = [{"guest": "web1", "name": f"web1-{disk}", "legs": legs([disk])} for disk in DISKS]
    alone = running(plan, uuids, without="node2")
    found = devices(wanted, [alone])
    plugged = {each["position"] for disk in found for each in disk["plug"]}
    assert sum(len(disk["plug"]) for disk in found) == len(plugged) == len(DISKS)
    assert not plugged & {disk["device"] for disk in alone["disks"]}
    assert plugged <= set(names.POSITIONS)


def test_one_of_as_many_disks_as_fit_moves() -> None:
    uuids = {leg["path"]: f"uuid of {leg['path']}" for leg in legs()}
    (plan,) = guest_plans([GUEST], legs(), [], uuids, {})
    moved = {"guest": "web1", "name": "web1-d0", "legs": legs(["d0"], ("node1", "node3"))}
    (found,) = devices([moved], [running(plan, uuids)])
    assert [(each["vdi"], each["sr"]) for each in found["plug"]] == [("web1-d0@node3", "mirror-node3")]


def test_more_disks_than_fit_are_refused_before_anything_is_made() -> None:
    node = {"up": True, "vg": "vg0", "free": 1 << 40, "size": 1 << 40, "unit": 1 << 22, "load": 0.0, "failure_domain": ""}
    disks = [*GUEST["disks"], {"name": "more", "size": "1GiB"}]
    with pytest.raises(ValueError, match=f"has {len(disks)} disks to mirror; there is room for {len(DISKS)}"):
        place([{"name": "web1", "disks": disks}], [], dict.fromkeys(NODES, node), "iqn")


def test_srs_of_legs() -> None:
    first, second = srs(legs(["data"]), sizes=True)
    assert (first["name"], second["name"]) == ("mirror-node1", "mirror-node2")
    assert first["device_config"] == {"location": "/dev/mirror/node1"}
    assert first["vdis"] == [{"location": "/dev/mirror/node1/web1-data", "name": "web1-data@node1", "size": "1GiB"}]
    assert srs(legs(["data"]))[0]["vdis"] == [{"location": "/dev/mirror/node1/web1-data", "name": "web1-data@node1"}]
