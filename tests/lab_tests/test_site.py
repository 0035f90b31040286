# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on real kernels: from bare nodes to a guest that is mirrored over them, read back on the nodes, in the guest and
in the pool. The tests build on each other, in this order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.lab import Lab
from lab_tests.helpers import Played, Xapi, play

ROOT = Path(__file__).resolve().parents[2]
DEMO = yaml.safe_load((ROOT / "tests/lab/demo.yml").read_text(encoding="utf-8"))
# Beside the demo's web1, a guest whose legs will not be blank.
pytestmark = pytest.mark.long
LAB = {**DEMO, "guests": [*DEMO["guests"], {"name": "db2", "memory": "256MiB"}]}
WEB1 = {
    "name": "web1", "home": "node1", "disks": [{"name": "data", "size": "512MiB", "filesystem": "ext4", "mount": "/srv"}],
    "vm": {"other_config": {"lab_guest": "web1"}},
}  # fmt: skip
DB2 = {
    "name": "db2", "home": "node2", "disks": [{"name": "data", "size": "128MiB", "filesystem": "ext4", "mount": "/srv"}],
    "vm": {"other_config": {"lab_guest": "db2"}},
}  # fmt: skip
NODES = ("node1", "node2")
CLASSES = ("SR", "PBD", "VDI", "VBD", "VIF", "VM", "network", "pool")
VOLATILE = ("allowed_operations", "current_operations", "guest_metrics", "last_updated", "snapshot_time")
PLACE = """
- ansible.builtin.import_playbook: nobloat.xen.mirror_look
- hosts: alpha
  gather_facts: false
  tasks: [{ansible.builtin.import_role: {name: nobloat.xen.mirror_guest, tasks_from: place}}]
"""


def site(lab: Lab, *, check: bool = False, **variables: Any) -> Played:
    return play(
        lab, ROOT / "playbooks/site.yml", inventories=[ROOT / "inventories/lab"], check=check, extra_vars=variables or None,
        timeout=1500,
    )  # fmt: skip


def state(lab: Lab) -> dict[str, Any]:
    """All that a run may change: on the nodes, and in the pool."""
    look = (
        "lvs --noheadings -o vg_name,lv_name,lv_size,lv_tags; pvs --noheadings;"
        "find /sys/kernel/config/target -name 'iqn*' -o -name udev_path;"
        "find /dev/mirror /etc -type f -o -type l | sort | xargs -d '\\n' md5sum 2>/dev/null; ip -br addr; iscsiadm -m session 2>&1"
    )
    xapi = Xapi(lab)
    records = {
        f"{name}/{ref}/{field}": value
        for name in CLASSES for ref, record in xapi(f"{name}.get_all_records").items() for field, value in record.items()
        if field not in VOLATILE
    }  # fmt: skip
    return {**{name: lab.box(name).run(look, check=False).stdout for name in NODES}, **records}


def device(xapi: Xapi, vm: dict[str, Any], path: str) -> str:
    """What the leg with this path is called in the guest."""
    for ref in vm["VBDs"]:
        vbd = xapi("VBD.get_record", ref)
        if vbd["VDI"] != "OpaqueRef:NULL" and xapi("VDI.get_location", vbd["VDI"]) == path:
            return f"/dev/{vbd['device']}"
    raise AssertionError(f"no VBD for {path}")


def arrays(lab: Lab, name: str) -> list[str]:
    """The machine's md arrays."""
    return [device for device in lab.box(name).run("ls /sys/block").stdout.split() if device.startswith("md")]


def guest(xapi: Xapi, name: str) -> dict[str, Any]:
    (ref,) = xapi("VM.get_by_name_label", name)
    return xapi("VM.get_record", ref)


def test_check_mode_on_bare_nodes_changes_nothing(lab: Lab) -> None:
    before = state(lab)
    would = site(lab, check=True).ok()
    assert would.changed
    assert state(lab) == before


def test_from_bare_nodes_to_a_mirrored_guest(lab: Lab) -> None:
    site(lab).ok()
    assert not lab.incidents
    xapi = Xapi(lab)
    vm = guest(xapi, "web1")
    # In the pool.
    assert vm["power_state"] == "Running"
    assert xapi("host.get_name_label", vm["resident_on"]) == "node1"
    assert vm["ha_restart_priority"] == "" and "auto_poweron" not in vm["other_config"]
    srs = {record["name_label"]: record for record in xapi("SR.get_all_records").values()}
    for name in NODES:
        sr = srs[f"mirror-{name}"]
        assert (sr["type"], sr["shared"], len(sr["PBDs"])) == ("udev", True, 2)
        (vdi,) = (xapi("VDI.get_record", ref) for ref in sr["VDIs"])
        assert (vdi["location"], vdi["name_label"]) == (f"/dev/mirror/{name}/web1-data", f"web1-data@{name}")
        assert vdi["virtual_size"] == str(512 << 20)
    legs = [device(xapi, vm, f"/dev/mirror/{name}/web1-data") for name in NODES]
    assert legs == ["/dev/xvde", "/dev/xvdf"]
    # On the nodes.
    for slot, name in enumerate(NODES):
        box = lab.box(name)
        report = json.loads(box.run("lvs --reportformat json --units b --nosuffix -o vg_name,lv_name,lv_size,stripes,lv_tags").stdout)
        (volume,) = report["report"][0]["lv"]
        assert (volume["vg_name"], volume["lv_name"], volume["lv_size"], volume["stripes"]) == ("vg0", "web1-data", str(512 << 20), "2")
        assert {"nobloat.guest=web1", "nobloat.disk=data", f"nobloat.slot={slot}"} <= set(volume["lv_tags"].split(","))
        targets = box.run("ls /sys/kernel/config/target/iscsi").stdout.split()
        assert f"iqn.2026-11.xen.nobloat:{name}:web1-data" in targets
        for other in NODES:
            assert box.run(f"blockdev --getsize64 /dev/mirror/{other}/web1-data").stdout.strip() == str(512 << 20)
        assert arrays(lab, name) == [], "a node has its guest's array"
    # In the guest.
    box = lab.box("web1")
    detail = box.run("mdadm --detail /dev/md/data").stdout
    assert "Raid Level : raid1" in detail and "Version : 1.0" in detail and "Intent Bitmap : Internal" in detail
    far = box.run(f"realpath {legs[1]}").stdout.strip()
    (line,) = (line for line in detail.splitlines() if line.endswith(far))
    assert "writemostly" in line and detail.count("failfast") == 2
    found = box.run("findmnt --noheadings --output SOURCE,FSTYPE /srv").stdout.split()
    assert found == [box.run("realpath /dev/md/data").stdout.strip(), "ext4"]
    halves = [box.run(f"mdadm --examine --export {leg}").stdout for leg in legs]
    uuids = {line for half in halves for line in half.splitlines() if line.startswith("MD_UUID=")}
    assert len(uuids) == 1
    box.run("echo precious >/srv/file && sync")


def test_the_second_run_changes_nothing(lab: Lab) -> None:
    again = site(lab).ok()
    assert again.changed == 0, again.stdout


def test_check_mode_on_the_finished_lab_changes_nothing(lab: Lab) -> None:
    before = state(lab)
    assert site(lab, check=True).ok().changed == 0
    assert state(lab) == before


def test_a_guest_that_was_shut_down_is_started_with_its_data(lab: Lab) -> None:
    xapi = Xapi(lab)
    (ref,) = xapi("VM.get_by_name_label", "web1")
    xapi("VM.clean_shutdown", ref)
    site(lab).ok()
    box = lab.box("web1")
    assert box.run("cat /srv/file").stdout == "precious\n"
    assert "[UU]" in box.run("cat /proc/mdstat").stdout
    assert not lab.incidents


def test_a_disk_for_a_running_guest_and_a_leg_with_data_that_is_never_overwritten(lab: Lab) -> None:
    more = {**WEB1, "disks": [*WEB1["disks"], {"name": "log", "size": "64MiB", "filesystem": "ext4", "mount": "/log"}]}
    both = {"mirror_guest_list": [more, DB2], "mirror_guest_defaults": {"template": "Debian Bookworm 12", "memory": "1GiB", "vcpus": 1}}
    site(lab, **both, mirror_guest_running=["web1"]).ok()
    box = lab.box("web1")
    assert "/dev/xvdg" in box.run("cat /etc/mirror-legs").stdout
    assert box.run("findmnt --noheadings --output SOURCE /log").stdout.strip() == box.run("realpath /dev/md/log").stdout.strip()
    assert "precious" in box.run("cat /srv/file").stdout
    assert guest(Xapi(lab), "db2")["power_state"] == "Halted"
    lab.box("node2").run("printf 'somebody needs this' | dd of=/dev/vg0/db2-data bs=512 seek=8 conv=notrunc,sync oflag=direct")
    failed = site(lab, **both)
    assert failed.rc
    assert "is not blank, so no mirror is made" in failed.stdout
    assert "somebody needs this" in lab.box("node2").run("dd if=/dev/vg0/db2-data bs=512 skip=8 count=1 iflag=direct").stdout
    assert arrays(lab, "db2") == []
    assert "precious" in lab.box("web1").run("cat /srv/file").stdout


def test_what_cannot_be_placed(lab: Lab) -> None:
    cases = {
        "comes twice in nodes. The two legs of a mirror need two different nodes": {**DB2, "name": "db9", "nodes": ["node1", "node1"]},
        "There is not enough space for guest db9": {**DB2, "name": "db9", "disks": [{"name": "data", "size": "50GiB"}]},
        "it cannot shrink to 256MiB": {**WEB1, "disks": [{"name": "data", "size": "256MiB"}]},
        "there is no node node9": {**DB2, "name": "db9", "home": "node9"},
    }
    before = [lab.box(name).run("lvs --noheadings").stdout for name in NODES]
    for message, wrong in cases.items():
        failed = play(lab, PLACE, inventories=[ROOT / "inventories/lab"], extra_vars={"mirror_guest_list": [wrong]})
        assert failed.rc and message in " ".join(failed.stdout.split()), failed.stdout
    assert [lab.box(name).run("lvs --noheadings").stdout for name in NODES] == before
