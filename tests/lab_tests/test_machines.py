# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines: boot, isolation, power cuts, disks."""

from __future__ import annotations

import subprocess

import pytest

from lab.errors import LabError
from lab.lab import Lab
from lab_tests.helpers import until

UNIT = """[Unit]
After=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo started at boot >>/root/unit'
[Install]
WantedBy=multi-user.target
"""


def test_nics_look_like_real_ones(lab: Lab) -> None:
    for box in (lab.box("node1"), lab.box("node2")):
        box.run("ip link delete bond0; rmmod bonding", check=False)  # of other tests
        assert box.run("hostname").stdout.strip() == box.machine.name
        assert box.run("ls /sys/class/net").stdout.split() == ["eth0", "eth1", "eth2", "eth3", "guests0", "lo"]
        for nic in range(4):
            assert box.run(f"cat /sys/class/net/eth{nic}/address").stdout.strip() == box.machine.mac(nic)
        box.run("ip link set eth2 up")
        until(lambda: box.run("cat /sys/class/net/eth2/carrier").stdout == "1\n", 5, "carrier")  # noqa: B023
        assert box.run("cat /sys/class/net/eth2/speed").stdout == "10000\n"
        box.run(
            "ip link set eth2 down address 02:00:00:00:00:77 && ip link set eth2 mtu 9000 up && ip link set eth2 down"
        )


def test_nothing_shows_in_the_main_namespace(lab: Lab) -> None:
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert "m1n0" not in links and "svc" not in links
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    assert "10.66." not in routes


def test_nodes_reach_each_other_and_nobody_else(lab: Lab) -> None:
    node = lab.box("node1")
    node.run("ping -c1 -W2 10.66.0.2 && ping -c1 -W2 10.66.0.254")
    assert node.run("ip route show default").stdout == ""
    assert node.run("ping -c1 -W1 192.0.2.1", check=False).returncode


def test_a_power_cut_loses_what_was_not_synced_and_nothing_else(lab: Lab) -> None:
    node = lab.box("node2")
    node.run("cat >/etc/systemd/system/trial.service && systemctl enable trial", text=UNIT)
    node.run("pvcreate -qy /dev/mapper/disk1 && vgcreate -q vg0 /dev/mapper/disk1 && lvcreate -qy -L 64M -n data vg0")
    node.run("echo kept | dd of=/dev/vg0/data conv=fsync status=none; echo kept >/root/synced; sync")
    node.run("echo lost >/root/unsynced")
    lab.kill(["node2"])
    assert not node.running()
    lab.start(["node2"])
    assert node.run("cat /root/synced").stdout == "kept\n"
    assert node.run("cat /root/unsynced", check=False).stdout == ""
    until(lambda: node.run("test -e /dev/vg0/data", check=False).returncode == 0, 30, "the volume group is active")
    assert node.run("head -c 4 /dev/vg0/data").stdout == "kept"
    until(lambda: node.run("cat /root/unit", check=False).stdout == "started at boot\n", 30, "the unit ran")
    node.run("systemctl disable -q trial; vgremove -qfy vg0; pvremove -qy /dev/mapper/disk1")


def test_stop_shuts_down(lab: Lab) -> None:
    node = lab.box("node2")
    node.run("echo unsynced >/root/late")
    lab.stop(["node2"])
    assert not node.running()
    with pytest.raises(LabError):
        node.run("true", timeout=15)
    lab.start(["node2"])
    assert node.run("cat /root/late").stdout == "unsynced\n"


def test_a_disk_that_fails_until_it_is_repaired(lab: Lab) -> None:
    node = lab.box("node2")
    read = "dd if=/dev/mapper/disk2 of=/dev/null bs=4k count=1 iflag=direct"
    write = "dd if=/dev/zero of=/dev/mapper/disk2 bs=4k count=1 oflag=direct"
    node.run("echo before | dd of=/dev/mapper/disk2 conv=fsync status=none")
    lab.disk("node2", 2, "fail")
    assert "Input/output error" in node.run(read, check=False).stderr
    assert "Input/output error" in node.run(write, check=False).stderr
    node.run(read.replace("disk2", "disk1"))
    lab.kill(["node2"])
    lab.start(["node2"])
    assert "Input/output error" in node.run(read, check=False).stderr, "it is still broken after a restart"
    lab.disk("node2", 2, "repair")
    assert node.run("head -c 6 /dev/mapper/disk2").stdout == "before"
