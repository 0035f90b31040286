# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices in a sysfs that was copied from a node, and what mirror_info makes of it."""
from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks, capacity
from ansible_collections.nobloat.xen.plugins.module_utils.node.info import Node
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Arrays
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import Result, read

UUID = "LVM-wbpLhGn70UQy3zBMoj0yW9Ll5dR2GAAOFpD5EfQdK2dBLW8B9Je1qZt2KHqiny02"
NUMBERS = {"/dev/vg0/web1": "254:0", "/dev/sda": "8:0", "/dev/sda1": "8:1", "/dev/mapper/mp": "254:1", "/dev/mirror/node1/web1": "254:0",
           "/dev/mirror/node2/web1": "8:0"}
# lvs 2.03.16 --reportformat json, with a volume of two segments.
LVS = {"report": [{"lv": [
    {"vg_name": "vg0", "lv_name": "web1", "lv_uuid": "FpD5Ef-QdK2-dBLW-8B9J-e1qZ-t2KH-qiny02", "lv_size": "335544320", "lv_tags": "b,a",
     "lv_attr": "-wi-ao----", "origin": "", "stripes": "2", "stripe_size": "65536"},
    {"vg_name": "vg0", "lv_name": "web1", "lv_uuid": "FpD5Ef-QdK2-dBLW-8B9J-e1qZ-t2KH-qiny02", "lv_size": "335544320", "lv_tags": "b,a",
     "lv_attr": "-wi-ao----", "origin": "", "stripes": "2", "stripe_size": "65536"},
    {"vg_name": "system", "lv_name": "root", "lv_uuid": "x", "lv_size": "4194304", "lv_tags": "", "lv_attr": "-wi-ao----", "origin": "",
     "stripes": "1", "stripe_size": "0"}]}]}
PVS = {"report": [{"pv": [
    {"pv_name": name, "pv_uuid": f"uuid of {name}", "pv_size": "2143289344", "pv_free": free, "vg_name": group, "vg_size": "4286578688",
     "vg_free": "3951034368", "vg_extent_size": "4194304", "pv_count": "2", "pvseg_size": "1", "lv_name": "", "lv_tags": ""}
    for name, group, free in (("/dev/sdc", "vg0", "2143289344"), ("/dev/sdb", "vg0", "1807745024"), ("/dev/sda2", "system", "0"),
                              ("/dev/sdd", "", "2147483648"))]}]}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Blocks, "number", lambda self, path: NUMBERS.get(path, ""))
    files = {
        "dm-0/dm/uuid": UUID, "dm-0/size": "655360", "dm-0/dev": "254:0", "dm-1/dm/uuid": "mpath-360014050", "dm-1/dm/name": "mp",
        "sda/device/wwid": "naa.60014051", "sda/size": "655360", "sda/dev": "8:0", "sda/sda1/partition": "1", "sda1/dev": "8:1",
    }
    for name, text in files.items():
        path = tmp_path / "sys/class/block" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    for number, name in (("254:0", "dm-0"), ("8:0", "sda"), ("8:1", "sda1"), ("254:1", "dm-1")):
        path = tmp_path / "sys/dev/block" / number
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(f"../../class/block/{name}")
    return tmp_path


def put(root: Path, name: str, text: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_identity(root: Path) -> None:
    """A volume has the one that its export will have, so that it is the same on the node that has it and on those that import it."""
    blocks = Blocks(str(root))
    assert blocks.serial("/dev/vg0/web1") == "fb9128df103989e6b1f2afbe3c45472f"  # sha256sum
    assert blocks.identity("/dev/vg0/web1") == "naa.6001405fb9128df103989e6b1f2afbe3"
    assert blocks.identity("/dev/sda") == "naa.60014051" and blocks.identity("/dev/mapper/mp") == "naa.60014050"
    assert (blocks.size("/dev/vg0/web1"), blocks.size("/dev/none"), blocks.identity("/dev/none")) == (335544320, 0, "")


def test_users(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = Blocks(str(root))
    assert blocks.users("/dev/sda") == []
    put(root, "sys/class/block/sda1/holders/md0/x")
    put(root, "proc/self/mountinfo", "36 35 8:1 / /srv rw,noatime master:1 - ext4 /dev/sda1 rw\n37 35 9:9 / /other rw - ext4 /dev/x rw\n")
    put(root, "proc/swaps", "Filename\tType\tSize\n/dev/sda1 partition 1\n")
    put(root, "sys/bus/xen-backend/devices/vbd-7-51712/physical_device", "8:0\n")
    put(root, "proc/42/comm", "tapdisk\n")
    put(root, "proc/42/fd/5")
    monkeypatch.setitem(NUMBERS, str(root / "proc/42/fd/5"), "8:0")
    assert blocks.users("/dev/sda") == [
        "device md0", "mount point /srv", "swap space", "guest domain 7", "process 42 (tapdisk)"]


def test_a_disk_that_cannot_be_asked_has_no_capacity(tmp_path: Path) -> None:
    put(tmp_path, "file")
    assert capacity(str(tmp_path / "file")) == capacity("/dev/none") == 0


def test_dirt_is_looked_for_at_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["# offset,uuid,label,type\n"]
    arrays = Arrays(str(tmp_path), lambda *argv, **options: Result(0, said[0], ""))
    disk, size = tmp_path / "disk", 4 << 20
    monkeypatch.setattr(arrays.blocks, "size", lambda path: size)
    with disk.open("wb") as stream:
        stream.truncate(size)
    assert arrays.dirt(str(disk)) == ""
    for offset, words in ((0, "first mebibyte"), (size - 1, "last mebibyte")):
        with disk.open("r+b") as stream:
            stream.seek(offset)
            stream.write(b"x")
        assert words in arrays.dirt(str(disk))
        with disk.open("r+b") as stream:
            stream.seek(offset)
            stream.write(b"\0")
    said[0] += "0x438,5d3f,label,ext4\n"
    assert arrays.dirt(str(disk)) == "it has a signature: ext4"


def test_info(root: Path) -> None:
    put(root, "dev/mirror/node1/web1")
    put(root, "dev/mirror/node2/web1")
    put(root, "dev/mirror/node2/gone")
    put(root, "etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.2026-11.test.nobloat:node1\n")
    put(root, "etc/nobloat/exports.d/web3.json", '{"name": "web3"')
    put(root, "etc/nobloat/exports.d/web2.json", json.dumps({
        "name": "web2", "iqn": "iqn.2026-11.test:web2", "device": "/dev/vg0/web2", "serial": "0" * 32, "portals": [], "initiators": [],
        "chap": {"username": "u", "password": "hush"}, "loopback": False}))

    def command(*argv: str, **options: Any) -> Result:
        return Result(0, json.dumps({"lvs": LVS, "pvs": PVS}[argv[0]]), "")

    put(root, "proc/sys/kernel/random/boot_id", "5bd7a9d4-3c1c-4f0a-8d8a-0f6c2f1f5a7e\n")
    put(root, "proc/uptime", "95.62 80.00\n")
    put(root, "proc/loadavg", "0.25 0.10 0.01 1/80 1234\n")
    node = Node(str(root), command)
    found = node.look(["vg0"])
    assert list(node.damaged) == ["web3"]
    (leg,) = found["legs"]
    assert (leg["device"], leg["size"], leg["tags"], leg["open"], leg["stripes"]) == ("/dev/vg0/web1", 335544320, ["a", "b"], True, 2)
    assert [(name["node"], name["leg"], name["identity"]) for name in found["names"]] == [
        ("node1", "web1", leg["identity"]), ("node2", "gone", None), ("node2", "web1", "naa.60014051")]
    (group,) = found["vgs"]
    assert [pv["device"] for pv in group["pvs"]] == ["/dev/sdb", "/dev/sdc"] and group["pvs"][0]["free"] == 1807745024
    assert {key: value for key, value in group.items() if key != "pvs"} == {
        "name": "vg0", "size": 4286578688, "free": 3951034368, "spare": 0, "extent_size": 4194304, "pv_count": 2,
        "free_striped": 2 * 1807745024}
    assert (found["boot_id"], found["uptime"], found["load"]) == ("5bd7a9d4-3c1c-4f0a-8d8a-0f6c2f1f5a7e", 95, 0.25)
    (export,) = found["exports"]
    assert export["saved"] and not export["enabled"] and "hush" not in json.dumps(found)
    assert (found["initiator"], found["imports"], found["arrays"]) == ("iqn.2026-11.test.nobloat:node1", [], [])


def test_spare_volumes_are_room_and_told_while_they_are_wiped(root: Path) -> None:
    """What `pvs` and `lvs` say of one that lies on both disks of its group."""
    spare = {"lv_name": "spare-1", "lv_tags": "nobloat.wanted,nobloat.zeroed=8388608", "pvseg_size": "8"}
    foreign = {"lv_name": "spare-parts", "lv_tags": "", "pvseg_size": "3"}
    lvs = [{**LVS["report"][0]["lv"][0], "lv_size": str(64 << 20), **spare}, {**LVS["report"][0]["lv"][0], "lv_uuid": "y", **foreign}]
    disks = PVS["report"][0]["pv"]
    pvs = [{**disk, **segment} for disk in disks for segment in (spare, foreign, {}) if disk["vg_name"] == "vg0"]
    put(root, "run/nobloat-wipe.json", json.dumps({"/dev/vg0/spare-1": "The disk is broken."}))

    def command(*argv: str, **_options: Any) -> Result:
        return Result(0, json.dumps({"report": [{"lv": lvs, "pv": pvs}]}), "")

    node = Node(str(root), command)
    (group,) = node.groups(["vg0"])
    assert (group["spare"], group["free"], group["free_striped"]) == (64 << 20, 3951034368 + (64 << 20), 2 * (1807745024 + (32 << 20)))
    assert node.wipes(node.legs(["vg0"])) == [{
        "vg": "vg0", "name": "spare-1", "size": 64 << 20, "zeroed": 8 << 20, "percent": 12, "problem": "The disk is broken."}]


def test_halves_of_legs(root: Path) -> None:
    """Only of legs of guests, only on demand; and one that cannot be understood is nothing."""
    said = ["Array UUID : 1:2:3:4\nEvents : 42\nDevice Role : Active device 1\nArray State : .A ('A' == active)\nRaid Devices : 2\n"]

    def command(*argv: str, **options: Any) -> Result:
        if argv[0] == "mdadm":
            assert argv == ("mdadm", "--examine", "/dev/vg0/web1")
            return Result(0 if said[0] else 1, said[0], "")
        rows = LVS["report"][0]["lv"]
        return Result(0, json.dumps({"report": [{"lv": [{**row, "lv_tags": "nobloat.guest=web,nobloat.disk=1"} for row in rows]}]}), "")

    node = Node(str(root), command)
    assert "half" not in node.legs(["vg0"])[0]
    half = node.legs(["vg0"], halves=True)[0]["half"]
    assert half and (half["events"], half["role"], half["members"], half["incomplete"]) == (42, 1, ".A", False)
    said[0] = ""
    assert node.legs(["vg0"], halves=True)[0]["half"] is None


def test_a_value_that_changes_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """sysfs makes the text anew for each call."""
    texts = [b"786400\n", b"1310688\n"[7:], b""]

    class Raw(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return texts.pop(0)

    monkeypatch.setattr("builtins.open", lambda *_args, **_options: Raw())
    assert read("/sys/class/block/md127/size") == "786400" and len(texts) == 2
