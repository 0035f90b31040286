# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest has the disks that its VM has: legs of two nodes, by VBD. The tests follow each other."""

from __future__ import annotations

import json

import pytest

from lab.lab import Lab
from lab_tests.helpers import Xapi, export, until

pytestmark = pytest.mark.long
LAB = {"nodes": 2, "guests": ["web1"], "xapi": {"pool": "alpha"}}
LEG = "iqn.2026-11.test.nobloat:{}:web1-data"
BY_PATH = "/dev/disk/by-path/ip-10.66.2.{}:3260-iscsi-" + LEG + "-lun-0"
# Ended by the other, a session logs in anew: its connection's address then has another port.
CONNECTION = "cat /sys/class/iscsi_session/session*/state; ss -Hnt dst :3260 | awk '{print $4}'"


@pytest.fixture(scope="module")
def xapi(lab: Lab) -> Xapi:
    return Xapi(lab)


@pytest.fixture(scope="module")
def vm(lab: Lab, xapi: Xapi) -> str:
    """Both nodes export a leg and import the other's; XAPI has both in SRs; a VM has both."""
    for number, name in enumerate(("node1", "node2"), 1):
        box = lab.box(name)
        box.run(f"ip addr add 10.66.2.{number}/24 dev eth2; ip link set eth2 up; modprobe iscsi_tcp")
        box.run("vgcreate -q vg0 /dev/mapper/disk1 /dev/mapper/disk2 && lvcreate -qy -i2 -I64k -L 64M -n web1-data vg0")
        both = [node.initiator for node in lab.description.nodes]
        box.run(export("/dev/vg0/web1-data", LEG.format(name), f"10.66.2.{number}", both))
    for number, name, other in ((1, "node1", "node2"), (2, "node2", "node1")):
        box, node = lab.box(name), f"iscsiadm -m node -T {LEG.format(other)} -p 10.66.2.{3 - number}"
        box.run(f"{node} -o new; {node} -o update -n node.session.timeo.replacement_timeout -v 7; {node} -l")
        box.run(f"mkdir -p /dev/mirror/{name} /dev/mirror/{other}; ln -s /dev/vg0/web1-data /dev/mirror/{name}/web1-data")
        box.run(f"ln -s {BY_PATH.format(3 - number, other)} /dev/mirror/{other}/web1-data")
    template = next(r for r, t in xapi("VM.get_all_records").items() if t["name_label"] == "Other install media")
    made = xapi("VM.clone", template, "web1")
    xapi("VM.provision", made)
    xapi("VM.add_to_other_config", made, "lab_guest", "web1")
    for position, name in ((4, "node1"), (5, "node2")):
        place = {"location": f"/dev/mirror/{name}"}
        sr = xapi("SR.create", xapi.hosts["node1"], place, "0", f"mirror-{name}", "", "udev", "", True, {})
        xapi("SR.scan", sr)
        (vdi,) = xapi("SR.get_VDIs", sr)
        assert (xapi("VDI.get_location", vdi), xapi("VDI.get_virtual_size", vdi)) == (f"/dev/mirror/{name}/web1-data", str(64 << 20))
        attach(xapi, made, vdi, position)
    return made


def attach(xapi: Xapi, vm: str, vdi: str, position: int) -> str:
    return xapi("VBD.create", {
        "VM": vm, "VDI": vdi, "userdevice": str(position), "bootable": False, "mode": "RW", "type": "Disk", "unpluggable": True,
        "empty": False, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}})  # fmt: skip


def vdi_of(xapi: Xapi, node: str) -> str:
    return next(r for r, v in xapi("VDI.get_all_records").items() if v["location"] == f"/dev/mirror/{node}/web1-data")


def test_devices_of_a_node(lab: Lab, vm: str) -> None:
    from lab.blkback import devices

    assert devices(lab.box("node1"), "/dev/mirror/node2") == {"/dev/mirror/node2/web1-data": 64 << 20}
    assert devices(lab.box("node1"), "/dev/nothing") == {}


def test_the_legs_are_there_when_anything_looks(lab: Lab, xapi: Xapi, vm: str) -> None:
    before = {name: lab.box(name).run(CONNECTION).stdout for name in ("node1", "node2")}
    xapi("VM.start_on", vm, xapi.hosts["node1"], False, False)
    guest = lab.box("web1")
    until(lambda: guest.run("systemctl is-active multi-user.target", check=False, timeout=10).returncode == 0, 60, "the guest is up")
    for letter, number, node in (("e", 1, "node1"), ("f", 2, "node2")):
        assert guest.run(f"readlink -f /dev/xvd{letter} {BY_PATH.format(number, node)} | uniq | wc -l").stdout == "1\n"
        assert guest.run(f"blockdev --getsize64 /dev/xvd{letter}").stdout == f"{64 << 20}\n"
        assert f"/dev/xvd{letter}" in guest.run(f"udevadm info -q property -n /dev/xvd{letter} | grep DEVLINKS").stdout
    order = "systemctl show -P InactiveExitTimestampMonotonic local-fs.target; systemctl show -P ExecMainExitTimestampMonotonic lab-blkback"
    mounts, logged_in = map(int, guest.run(order).stdout.split())
    assert 0 < logged_in <= mounts
    # The sessions of the host go on under the same initiator name: no reinstatement, the same connection.
    numbers = guest.run("ls /sys/class/iscsi_session").stdout.split()
    assert len(numbers) == 2 and all(int(each.removeprefix("session")) > 20 for each in numbers)
    assert guest.run("cat /sys/class/iscsi_session/session*/initiatorname | uniq").stdout == "iqn.2026-11.test.nobloat:node1\n"
    assert guest.run("cat /sys/class/iscsi_session/session*/recovery_tmo").stdout == "7\n7\n", "as its host has it"
    for _round in range(3):
        guest.run("for disk in e f; do dd if=/dev/urandom of=/dev/xvd$disk bs=1M count=8 oflag=direct status=none; done")
        lab.box("node1").run("dd if=/dev/mirror/node2/web1-data of=/dev/null bs=1M count=8 iflag=direct status=none")
    for name, connection in before.items():
        assert connection.startswith("LOGGED_IN\n") and lab.box(name).run(CONNECTION).stdout == connection
    assert lab.incidents == []


def test_a_mirror_on_them_is_assembled_at_the_next_boot(lab: Lab, xapi: Xapi, vm: str) -> None:
    guest = lab.box("web1")
    guest.run("mdadm --create /dev/md/data --run -q --level=1 --raid-devices=2 --metadata=1.0 --bitmap=internal"
              " --name=data --homehost=any /dev/xvde /dev/xvdf && mkfs.ext4 -q /dev/md/data && mkdir -p /srv")
    guest.run("echo 'LABEL=none /none auto noauto 0 0' >>/etc/fstab; echo '/dev/md/data /srv ext4 defaults,nofail 0 2' >>/etc/fstab; "
              "systemctl daemon-reload; mount /srv; echo kept >/srv/file; sync")
    xapi("VM.hard_reboot", vm)
    until(lambda: guest.run("cat /srv/file", check=False, timeout=10).stdout == "kept\n", 60, "it is mounted again")
    assert "[UU]" in guest.run("cat /proc/mdstat").stdout
    assert lab.incidents == []


def test_unplug_and_plug(lab: Lab, xapi: Xapi, vm: str) -> None:
    guest = lab.box("web1")
    guest.run("mdadm /dev/md/data -q --fail $(readlink -f /dev/xvdf) --remove $(readlink -f /dev/xvdf)")
    vbd = next(r for r, v in xapi("VBD.get_all_records").items() if v["VM"] == vm and v["userdevice"] == "5")
    xapi("VBD.unplug", vbd)
    until(lambda: guest.run("test -e /dev/xvdf", check=False).returncode, 20, "the disk is gone")
    assert guest.run("ls /sys/class/iscsi_session | wc -l").stdout == "1\n"
    xapi("VBD.destroy", vbd)
    vbd = attach(xapi, vm, vdi_of(xapi, "node2"), 6)
    xapi("VBD.plug", vbd)
    until(lambda: guest.run("test -b /dev/xvdg", check=False).returncode == 0, 20, "the disk is there")
    guest.run("mdadm /dev/md/data -q --re-add /dev/xvdg; mdadm --wait /dev/md/data; grep -q UU /proc/mdstat")
    assert lab.incidents == []


def test_growth_arrives(lab: Lab, xapi: Xapi, vm: str) -> None:
    for name in ("node1", "node2"):
        lab.box(name).run("lvextend -qy -L+32M vg0/web1-data")
    lab.box("node1").run("iscsiadm -m session -R")
    for name in ("node1", "node2"):
        xapi("SR.scan", xapi("VDI.get_SR", vdi_of(xapi, name)))
        assert xapi("VDI.get_virtual_size", vdi_of(xapi, name)) == str(96 << 20)
    size = "blockdev --getsize64 /dev/xvde /dev/xvdg"
    until(lambda: lab.box("web1").run(size).stdout == f"{96 << 20}\n" * 2, 20, "the guest sees it")


def test_the_node_knows_its_domains(lab: Lab, xapi: Xapi, vm: str) -> None:
    record = xapi("VM.get_record", vm)
    listed = lab.box("node1").run("xl vm-list").stdout.splitlines()
    assert [line.split() for line in listed[2:]] == [[record["uuid"], record["domid"], "web1"]]
    assert lab.box("node1").run("xl list web1 | tail -1").stdout.split()[:2] == ["web1", record["domid"]]
    assert len(lab.box("node2").run("xl vm-list").stdout.splitlines()) == 2


def test_the_other_node_dies_and_the_leg_comes_back_by_itself(lab: Lab, xapi: Xapi, vm: str) -> None:
    guest = lab.box("web1")
    lab.kill(["node2"])
    guest.run("echo degraded >/srv/degraded; sync", timeout=90)
    assert "_" in guest.run("cat /proc/mdstat").stdout
    lab.start(["node2"])
    lab.box("node2").run("ip addr add 10.66.2.2/24 dev eth2; ip link set eth2 up; udevadm settle; vgchange -qay")
    both = [node.initiator for node in lab.description.nodes]
    lab.box("node2").run(export("/dev/vg0/web1-data", LEG.format("node2"), "10.66.2.2", both))
    state = "cat /sys/block/$(basename $(readlink -f /dev/xvdg))/device/state"
    until(lambda: guest.run(state, check=False).stdout == "running\n", 60, "the disk works again, under its name")


def test_what_cannot_be_had_is_an_incident(lab: Lab, xapi: Xapi, vm: str) -> None:
    xapi("VM.hard_shutdown", vm)
    until(lambda: len(lab.box("node1").run("xl vm-list").stdout.splitlines()) == 2, 20, "its node runs it no more")
    assert not lab.box("web1").running()
    lab.box("node2").run(f"echo 0 >/sys/kernel/config/target/iscsi/{LEG.format('node2')}/tpgt_1/enable")
    xapi("VM.start_on", vm, xapi.hosts["node1"], False, False)
    until(lambda: lab.incidents, 90, "it is told")
    assert lab.incidents[0] == "web1: xvdg: no login to /dev/mirror/node2/web1-data"
    assert json.loads(lab.box("web1").run("python3 -I -S /usr/lib/lab/blkback.py show").stdout) == {"xvde": 96 << 20}
