# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's parts that a mirror is made of: LVM, LIO, open-iscsi, md over the SAN."""

from __future__ import annotations

from lab.lab import Lab
from lab_tests.helpers import bond, export, until

TARGET = "iqn.2026-11.test.nobloat:node1.leg"


def test_a_striped_volume_is_seen_over_the_san_and_survives_the_death_of_its_node(lab: Lab) -> None:
    source, sink = lab.box("node1"), lab.box("node2")
    for name in ("node1", "node2"):
        bond(lab, name, "mode active-backup miimon 100")
    source.run(
        "pvcreate -qy /dev/mapper/disk1 /dev/mapper/disk2 && vgcreate -q vg1 /dev/mapper/disk1 /dev/mapper/disk2"
    )
    source.run("lvcreate -qy -i2 -I64k -L 256M -n leg vg1")
    make = export("/dev/vg1/leg", TARGET, "10.66.2.1", [sink.machine.initiator])
    source.run(make)
    node = f"iscsiadm -m node -T {TARGET} -p 10.66.2.1:3260"
    sink.run(f"iscsiadm -m discovery -t sendtargets -p 10.66.2.1 && {node} -l")
    device = "/dev/disk/by-path/ip-10.66.2.1:3260-iscsi-" + TARGET + "-lun-0"
    until(lambda: sink.run(f"test -b {device}", check=False).returncode == 0, 20, "the disk is there")
    sink.run(f"echo over the wire | dd of={device} bs=512 conv=sync oflag=direct status=none")
    assert (
        source.run("dd if=/dev/vg1/leg bs=512 count=1 iflag=direct status=none | head -c 13").stdout == "over the wire"
    )

    lab.kill(["node1"])
    lab.start(["node1"])
    bond(lab, "node1", "mode active-backup miimon 100")
    until(lambda: source.run("test -e /dev/vg1/leg", check=False).returncode == 0, 30, "the volume group is active")
    source.run(make)
    read = f"dd if={device} bs=512 count=1 iflag=direct status=none | head -c 13"
    until(lambda: sink.run(read, check=False, timeout=60).stdout == "over the wire", 60, "the session is back")
    sink.run(f"{node} -u; {node} -o delete")
    lab.kill(["node1"])
    lab.start(["node1"])  # the kernel's target is gone with the power
    source.run("udevadm settle; vgremove -qfy vg1; pvremove -qy /dev/mapper/disk1 /dev/mapper/disk2")
    sink.run("ip link delete bond0")
