# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of mirrors, and the page that shows it."""
from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.filter.mirror_status import mirror_status
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import device
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.status import size_text
from ansible_collections.nobloat.xen.plugins.module_utils.node.lease_tag import lease_of
from jinja2 import Environment, StrictUndefined

TEMPLATE = Path(__file__).resolve().parents[4] / "playbooks/templates/mirror_status.html.j2"
GIB = 1 << 30


def volume(guest: str, disk: str = "data", **more: Any) -> dict[str, Any]:
    tags = [f"nobloat.guest={guest}", f"nobloat.disk={disk}", *more.pop("tags", [])]
    return {"name": f"{guest}-{disk}", "size": GIB, "tags": tags, "lease": lease_of(tags), "snapshot_of": None, **more}


def node(name: str, *volumes: dict[str, Any], names: Any = (), **more: Any) -> dict[str, Any]:
    exports = [{"name": each["name"], "enabled": True} for each in volumes]
    info = {"legs": list(volumes), "exports": exports, "names": [{"node": at, "leg": leg} for at, leg in names]}
    return {"name": name, "pool": "alpha", "host": f"host of {name}", "info": info, **more}


def vm(name: str, *legs: str, on: str = "node1", power: str = "running") -> dict[str, Any]:
    disks = [{"device": 4 + index, "name": leg} for index, leg in enumerate(legs)]
    return {"name": name, "pool": "alpha", "power_state": power, "host": f"host of {on}" if power == "running" else "", "disks": disks}


def inside(*states: str, disk: str = "data", first: int = 4, degraded: int = 0, action: str = "idle",
           progress: Any = None) -> dict[str, Any]:
    members = [{"device": device(first + index), "state": state} for index, state in enumerate(states)]
    return {"arrays": [{"name": disk, "size": GIB - 65536, "degraded": degraded, "sync_action": action, "progress": progress,
                        "members": members}]}


TWO = [node("node1", volume("web1", tags=["nobloat.lease=3:1700000000:started:node1"])),
       node("node2", volume("web1", tags=["nobloat.lease=2:1600000000:released:node2"]))]
WEB1 = vm("web1", "web1-data@node1", "web1-data@node2")


def one(nodes: Any, vms: Any, guests: Any) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """All, the only mirror, and the states of its legs."""
    found = mirror_status(nodes, vms, guests)
    (disk,) = found["disks"]
    return found, disk, [leg["state"] for leg in disk["legs"]]


def test_the_legs_know_their_guest() -> None:
    """By its uuid: a namesake is somebody else, and the guest may have another name by now."""
    nodes = [node(name, volume("web1", tags=["nobloat.uuid=u1"])) for name in ("node1", "node2")]
    own, namesake = {**WEB1, "uuid": "u1", "name": "renamed"}, {**vm("web1", power="halted"), "uuid": "u2"}
    for vms in ([own, namesake], [namesake, own]):
        _found, disk, _states = one(nodes, vms, {"alpha/web1": inside("active", "active")})
        assert (disk["guest"], disk["power"], disk["state"]) == ("web1", "running", "healthy")
    _found, disk, _states = one(nodes, [{**namesake, "power_state": "running"}], {})
    assert disk["power"] == "unknown"


def test_healthy() -> None:
    found, disk, legs = one(TWO, [WEB1], {"alpha/web1": inside("active", "active")})
    assert (disk["state"], legs, disk["runs_on"], disk["size"]) == ("healthy", ["complete", "complete"], "node1", GIB - 65536)
    assert [leg["runs_here"] for leg in disk["legs"]] == [True, False]
    assert (disk["lease"]["generation"], disk["lease"]["state"], disk["lease"]["owner"]) == (3, "started", "node1")
    assert found["healthy"] and found["summary"] == "1 mirrored disk: 1 healthy."
    assert found["nodes"][0] == {"name": "node1", "pool": "alpha", "host": "host of node1", "reachable": True, "troubles": [],
                                 "legs": 1, "runs": ["web1"]}
    assert found["table"][2].split() == ["web1", "data", "1", "GiB", "✓", "node1", "✓", "node2", "✓", "healthy", "node1",
                                         "node1,", "started", "(3)"]


def test_degraded() -> None:
    found, disk, legs = one(TWO, [WEB1], {"alpha/web1": inside("active", degraded=1)})
    assert (disk["state"], legs, disk["trouble"], found["healthy"]) == ("degraded", ["complete", "missing"], True, False)
    disk, legs = one(TWO, [WEB1], {"alpha/web1": inside("active", "faulty", degraded=1)})[1:]
    assert (disk["state"], legs) == ("degraded", ["complete", "faulty"])
    lacking = inside("active", "active")
    lacking["arrays"][0]["members"][1]["bad_blocks"] = 4096
    disk, legs = one(TWO, [WEB1], {"alpha/web1": lacking})[1:]
    assert (disk["state"], legs) == ("degraded", ["complete", "faulty"])


def test_resyncing() -> None:
    found, disk, legs = one(TWO, [WEB1], {"alpha/web1": inside("active", "rebuilding", degraded=1, action="recover", progress=42.5)})
    assert (disk["state"], disk["progress"], legs) == ("resyncing", 42.5, ["complete", "resyncing"])
    assert disk["words"] == "resyncing 42.5 %" and not found["healthy"]
    assert [leg["progress"] for leg in disk["legs"]] == [None, 42.5]
    disk = one(TWO, [WEB1], {"alpha/web1": inside("active", "active", action="check", progress=7.0)})[1]
    assert (disk["state"], disk["words"]) == ("healthy", "healthy, check 7 %")


def test_a_node_that_does_not_answer() -> None:
    """Its leg is known from the name that another node has for it, or from the disk of the VM."""
    dead = {"name": "node2", "pool": "alpha", "host": "host of node2", "info": None}
    named = node("node1", volume("web1"), names=[("node2", "web1-data")])
    for nodes, vms in (([named, dead], []), ([node("node1", volume("web1")), dead], [WEB1])):
        found, disk, legs = one(nodes, vms, {"alpha/web1": inside("active", degraded=1)} if vms else {})
        assert legs[1] == "unreachable" and disk["legs"][1]["exists"] is None
        assert disk["state"] == ("degraded" if vms else "stopped")
        assert not found["healthy"] and "No answer from node2." in found["summary"]


def test_all_nodes_silent() -> None:
    dead = [{"name": name, "pool": "alpha", "host": f"host of {name}", "info": None} for name in ("node1", "node2")]
    found, disk, legs = one(dead, [WEB1], {"alpha/web1": inside("active", "active")})
    assert (disk["state"], legs) == ("healthy", ["complete", "complete"])
    assert not found["healthy"]
    assert one(dead, [WEB1], {})[1]["state"] == "unknown"


def test_a_guest_that_is_stopped() -> None:
    found, disk, legs = one(TWO, [vm("web1", "web1-data@node1", "web1-data@node2", power="halted")], {})
    assert (disk["state"], legs, disk["runs_on"], found["healthy"]) == ("stopped", ["idle", "idle"], None, True)


def test_a_guest_that_cannot_be_asked_or_has_no_mirror() -> None:
    disk, legs = one(TWO, [WEB1], {})[1:]
    assert (disk["state"], legs) == ("unknown", ["unknown", "unknown"])
    assert one(TWO, [WEB1], {"alpha/web1": {"arrays": []}})[1]["state"] == "failed"


def test_a_leg_without_partner() -> None:
    found, disk, legs = one(TWO[:1], [], {})
    assert (disk["state"], legs, found["worst"], found["healthy"]) == ("alone", ["idle"], "alone", False)


def test_three_halves_while_one_moves() -> None:
    nodes = [*TWO, node("node3", volume("web1"))]
    moving = vm("web1", "web1-data@node1", "web1-data@node2", "web1-data@node3")
    asked = {"alpha/web1": inside("active", "active", "rebuilding", degraded=1, action="recover", progress=5.0)}
    disk, legs = one(nodes, [moving], asked)[1:]
    assert (disk["state"], legs) == ("resyncing", ["complete", "complete", "resyncing"])
    lines = mirror_status(nodes, [moving], {})["picture"]["lines"]
    assert len(lines) == 2 and all(line["x1"] < line["x2"] for line in lines)


def test_what_is_no_leg() -> None:
    others = node("node1", volume("web1", name="backup-web1"), volume("web1", snapshot_of="web1-data"), volume("web1") | {"tags": []})
    assert mirror_status([others])["disks"] == []
    assert mirror_status([])["summary"] == "0 mirrored disks."


def test_the_lease_is_that_of_the_guest() -> None:
    nodes = [node(each["name"], *each["info"]["legs"], volume("web1", "logs")) for each in TWO]
    assert [disk["lease"]["generation"] for disk in mirror_status(nodes)["disks"]] == [3, 3]


def test_words() -> None:
    assert [size_text(size) for size in (None, 512, 3 << 20, 20 * GIB, 1536 * GIB)] == ["?", "512 B", "3 MiB", "20 GiB", "1.5 TiB"]


def test_what_is_being_zeroed_is_told() -> None:
    wipes = [{"name": "spare-1", "size": 3 * GIB, "zeroed": GIB, "problem": ""},
             {"name": "spare-2", "size": GIB, "zeroed": 0, "problem": "/dev/vg0/spare-2 is <used>."}]
    nodes = [*TWO, {"name": "node3", "pool": "alpha", "info": {"legs": [], "wipes": wipes}}]
    assert mirror_status(TWO, [WEB1], {})["wiping"] == []
    assert mirror_status(nodes, [WEB1], {})["wiping"] == [
        "node3 zeroes what removed legs have left, or room for new ones: 1 GiB of 4 GiB (25 %).",
        "node3 cannot go on with spare-2: /dev/vg0/spare-2 is <used>."]
    text = page(nodes, [WEB1])
    assert '<p class="wiping">node3 zeroes what' in text and "is &lt;used&gt;." in text and '"wiping"' not in page(TWO, [WEB1])


def test_bad_input_is_told() -> None:
    with pytest.raises(AnsibleFilterError, match="mirror_info"):
        mirror_status([{"pool": "alpha"}])


# ---- the page


class Page(HTMLParser):
    """Every tag is closed, and what would load something from elsewhere is found."""

    VOID = ("meta",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(nodes: Any, vms: Any = (), guests: Any = None, time: str = "") -> str:
    environment = Environment(trim_blocks=True, undefined=StrictUndefined, autoescape=False)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(mirror_status_found=mirror_status(nodes, vms, guests), mirror_status_time=time)


def picture(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", text, re.S)[0])  # type: ignore[index]


RESYNC = {"alpha/web1": inside("active", "rebuilding", degraded=1, action="recover", progress=42.5)}


def test_the_page_is_self_contained_and_accessible() -> None:
    text = page(TWO, [WEB1], RESYNC)
    found = Page(text)
    assert not {"script", "link", "img", "iframe", "image", "use"} & {tag for tag, _attributes in found.seen}
    assert not re.search(r"https?:|url\(|@import| src=| href=", text)
    svg = picture(text)
    assert svg.get("role") == "img"
    assert [svg.find(tag).get("id") for tag in ("title", "desc")] == str(svg.get("aria-labelledby")).split()  # type: ignore[union-attr]
    assert 'lang="en"' in text and "prefers-color-scheme: dark" in text


def test_the_page_says_all_in_words() -> None:
    text = page(TWO, [WEB1], RESYNC)
    svg = picture(text)
    assert [group.find("title").text for group in svg.findall("g[@class='leg resyncing']")] == [  # type: ignore[union-attr]
        "web1-data on node2: takes over data, 42.5 %"]
    assert [group.get("data-node") for group in svg.findall("g[@class='node']")] == ["node1", "node2"]
    (line,) = svg.findall("line")
    assert line.find("title").text == "web1 data: resyncing 42.5 %"  # type: ignore[union-attr]
    assert [attributes.get("value") for tag, attributes in Page(text).seen if tag == "progress"] == ["42.5"]
    assert "↻ resyncing 42.5 %" in text and "✓ complete" in text


def test_everything_in_the_page_is_escaped() -> None:
    evil = '"><script>alert(1)</script>&'
    nodes = [node(f"{evil}{number}", volume(evil, evil, tags=[f"nobloat.lease=1:2:{evil}:{evil}"]), pool=evil) for number in (1, 2)]
    text = page(nodes, [{**vm(evil, on=f"{evil}1"), "pool": evil}], {}, time=evil)
    Page(text)
    picture(text)
    assert "<script" not in text
    source = re.sub(r"\{#.*?#\}", "", TEMPLATE.read_text(encoding="utf-8"), flags=re.S)
    assert [part for part in re.findall(r"\{\{(.*?)\}\}", source) if not part.endswith("| e ")] == []


def test_the_page_does_not_change_by_itself() -> None:
    assert page(TWO, [WEB1], RESYNC) == page(list(reversed(TWO)), [WEB1], RESYNC)
    assert "2026-11-21 08:00" in page(TWO, time="2026-11-21 08:00")
    Page(page([]))
    picture(page([]))
