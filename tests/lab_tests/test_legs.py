# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module leg on a real kernel: nobody reads from a leg what another guest wrote, whatever is interrupted.

What is asserted is read from the disks and from LVM. The tests follow each other: each finds what the one before it has left.
"""
from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab_tests.helpers import booted, until
from lab_tests.machines import Machines

pytestmark = pytest.mark.long
MIB = 1 << 20
SIZE = 256 * MIB
# The worker itself, but with small parts that take long.
SLOW = """mkdir -p /etc/systemd/system/nobloat-wipe.service.d; cat > /etc/systemd/system/nobloat-wipe.service.d/slow.conf <<'END'
[Service]
ExecStart=
ExecStart=/usr/bin/python3 /root/slow.py
END
cat > /root/slow.py <<'END'
import time
from ansible_collections.nobloat.xen.plugins.module_utils.node import wipe
wipe.INTERVAL, wipe.CHUNK = 0, 8 << 20
def zero(*where):
    time.sleep(0.25)
    wipe.zero(*where)
raise SystemExit(wipe.Worker(zero=zero).work())
END
systemctl daemon-reload"""
FAST = "rm -r /etc/systemd/system/nobloat-wipe.service.d; systemctl daemon-reload; systemctl restart nobloat-wipe"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    disks = {"name": "node1", "disks": ["512MiB", "512MiB"]}
    with booted("legs", nodes=[disks], guests=0, xapi=False) as lab:
        found = Node(Machines(lab, tmp_path_factory.mktemp("lab")))
        found.sh("pvcreate -q /dev/mapper/disk1 /dev/mapper/disk2; vgcreate -q vg0 /dev/mapper/disk1 /dev/mapper/disk2")
        found.sh("lvcreate -qy -i2 -l 100%FREE -n secret vg0; tr '\\0' x < /dev/zero | dd of=/dev/vg0/secret bs=1M iflag=fullblock"
                 " conv=fsync 2>/dev/null; lvremove -qfy vg0/secret")
        yield found


class Node:
    """A node whose disks are full of what another guest wrote."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.lab = machines.lab

    def sh(self, command: str, check: bool = True) -> str:
        return self.machines.sh("node1", command, check)

    def leg(self, name: str = "web1-data", **options: Any) -> dict[str, Any]:
        guest, disk = name.rsplit("-", 1)
        return self.machines.module("node1", "leg", name=name, vg="vg0", **{"guest": guest, "disk": disk, **options})

    def volumes(self) -> dict[str, str]:
        """Tags of all volumes by name."""
        lines = self.sh("lvs --noheadings --separator ';' -o lv_name,lv_tags vg0").splitlines()
        return {name: tags for name, _sign, tags in (line.strip().partition(";") for line in lines)}

    def spares(self) -> dict[str, int]:
        """Zeroed bytes of spare volumes; -1 where that is not noted yet."""
        found = {name: re.search(r"nobloat\.zeroed=(\d+)", tags) for name, tags in self.volumes().items() if name.startswith("spare-")}
        return {name: int(match[1]) if match else -1 for name, match in found.items()}

    def clean(self) -> bool:
        return all(done == int(self.sh(f"blockdev --getsize64 /dev/vg0/{name}")) for name, done in self.spares().items())

    def zeros(self, name: str, start: int = 0) -> bool:
        """Whether all of a volume from a place on is zeros."""
        self.sh("echo 3 > /proc/sys/vm/drop_caches")
        rest = int(self.sh(f"blockdev --getsize64 /dev/vg0/{name}")) - start
        return self.sh(f"cmp -s -i {start}:0 -n {rest} /dev/vg0/{name} /dev/zero && echo yes", check=False) == "yes"

    def write(self, name: str) -> None:
        self.sh(f"tr '\\0' y < /dev/zero | dd of=/dev/vg0/{name} bs=1M iflag=fullblock conv=fsync 2>/dev/null", check=False)

    def sum(self, name: str, size: int) -> str:
        return self.sh(f"head -c {size} /dev/vg0/{name} | sha256sum").split()[0]


def test_a_new_leg_is_empty(node: Node) -> None:
    would = node.machines.module("node1", "leg", check=True, name="web1-data", vg="vg0", guest="web1", disk="data", slot=0, size=str(SIZE))
    assert would["changed"] and would["leg"]["size"] == SIZE and node.volumes() == {}
    assert node.sh("ls /usr/local/lib/nobloat 2>/dev/null; true") == ""
    begin = time.monotonic()
    made = node.leg(slot=0, size=str(SIZE))
    print(f"a leg of {SIZE >> 20} MiB from free room: {time.monotonic() - begin:.1f} s")
    assert made["changed"] and not made["failed"], made
    assert node.zeros("web1-data")
    assert node.sh("lvs --noheadings -o lv_tags,lv_size,stripes,stripe_size --units m vg0").split() == [
        "nobloat.disk=data,nobloat.guest=web1,nobloat.slot=0", "256.00m", "2", "0.06m"]
    assert not node.leg(slot=0, size=str(SIZE))["changed"]
    assert "cannot shrink" in node.leg(slot=0, size=str(SIZE // 2))["msg"]


def test_growth_shows_nothing_either(node: Node) -> None:
    """While the leg is in use, and without a write to what it had."""
    node.write("web1-data")
    before = node.sum("web1-data", SIZE)
    node.sh("sleep 1000 < /dev/vg0/web1-data > /dev/null 2>&1 & echo $! > /root/pid")
    assert node.leg(slot=0, size=str(SIZE + 64 * MIB))["changed"]
    node.sh("kill $(cat /root/pid)")
    assert node.sh("blockdev --getsize64 /dev/vg0/web1-data") == str(SIZE + 64 * MIB)
    assert node.sum("web1-data", SIZE) == before and node.zeros("web1-data", SIZE)


@pytest.mark.parametrize(("use", "end", "words"), [
    ("mkfs.ext4 -qF /dev/vg0/web1-data && mount /dev/vg0/web1-data /mnt", "umount /mnt", "mount point /mnt"),
    ("lvcreate -qy -s -L 16m -n backup-web1-data vg0/web1-data", "lvremove -qfy vg0/backup-web1-data", "has the snapshots"),
    ("sleep 1000 < /dev/vg0/web1-data > /dev/null 2>&1 & echo $! > /root/pid", "kill $(cat /root/pid)", "(sleep)"),
    ("lvchange -q --deltag nobloat.guest=web1 vg0/web1-data", "lvchange -q --addtag nobloat.guest=web1 vg0/web1-data", "is no leg"),
])
def test_what_is_used_or_not_ours_is_refused(node: Node, use: str, end: str, words: str) -> None:
    node.sh(use)
    try:
        before = node.volumes()
        for options in ({"state": "absent"}, {"state": "kept"}):
            for check in (True, False):
                found = node.machines.module("node1", "leg", check=check, name="web1-data", vg="vg0", guest="web1", disk="data", **options)
                assert found["failed"] and words in found["msg"], found
        assert node.volumes() == before
    finally:
        node.sh(end)


def test_what_a_removed_leg_had_cannot_be_read(node: Node) -> None:
    """Its room is zeroed in the background, and the next leg gets it without any zeroing."""
    node.write("web1-data")
    assert node.leg(state="absent")["changed"]
    assert list(node.volumes()) == list(node.spares()) and not node.leg(state="absent")["changed"]
    until(node.clean, 120, "the spare volumes are clean")
    assert all(node.zeros(name) for name in node.spares())
    assert node.machines.module("node1", "mirror_info")["wipes"] == []
    node.sh("systemctl mask --runtime nobloat-wipe 2>&1")
    begin = time.monotonic()
    made = node.leg("web2-data", size=str(SIZE))
    print(f"a leg of {SIZE >> 20} MiB from clean room: {time.monotonic() - begin:.1f} s")
    assert made["changed"] and not made["failed"], made
    node.sh("systemctl unmask --runtime nobloat-wipe 2>&1")
    assert node.zeros("web2-data") and node.clean() and sum(node.spares().values()) == 64 * MIB


def test_a_kept_leg_is_removed_later(node: Node) -> None:
    node.write("web2-data")
    before = node.sum("web2-data", SIZE)
    assert node.leg("web2-data", state="kept")["leg"]["name"] == "moved-web2-data"
    assert node.volumes()["moved-web2-data"] == "nobloat.kept" and node.sum("moved-web2-data", SIZE) == before
    assert not node.leg("web2-data", state="kept")["changed"]
    assert node.machines.module("node1", "leg", name="moved-web2-data", vg="vg0", state="absent")["changed"]
    until(node.clean, 120, "it is zeroed")
    assert not [name for name in node.volumes() if not name.startswith("spare-")]


def test_a_power_cut_costs_seconds(node: Node) -> None:
    """And nothing is offered before all of it is zeroed."""
    assert node.leg("web3-data", size=str(SIZE))["changed"]
    node.write("web3-data")
    node.sh(SLOW)
    others = set(node.spares())
    assert node.leg("web3-data", state="absent")["changed"]
    (name,) = set(node.spares()) - others
    done = until(lambda: node.spares()[name] > 40 * MIB and node.spares()[name], 60, "some of it is zeroed")
    (wipe,) = node.machines.module("node1", "mirror_info")["wipes"]
    assert wipe["name"] == name and 0 < wipe["percent"] < 100 and wipe["size"] == SIZE
    node.lab.kill(["node1"])
    node.lab.start(["node1"])
    assert node.spares()[name] >= done
    late = node.leg("web4-data", size=str(900 * MIB), wait_timeout=1)
    assert late["failed"] and "is zeroed first: " in late["msg"] and "web4-data" not in node.volumes(), late
    node.sh(FAST)
    until(node.clean, 120, "it is zeroed")
    assert all(node.zeros(name) for name in node.spares())


def test_a_controller_that_is_killed_leaves_nothing_half_made(node: Node) -> None:
    """The next run goes on where it was; all room that there is can be had."""
    free = node.machines.module("node1", "mirror_info")["vgs"][0]
    assert free["free"] == free["size"] == free["free_striped"] and free["spare"] > 0
    node.sh("lvremove -qfy vg0; lvcreate -qy -Wn -Zn -i2 -l 100%FREE -n x vg0")
    node.write("x")
    node.sh("lvremove -qfy vg0")
    node.sh(SLOW)
    command, environment = node.machines.command("node1", "leg", name="web5-data", vg="vg0", guest="web5", disk="data", size=str(SIZE))
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        until(lambda: any(done > 16 * MIB for done in node.spares().values()), 60, "zeroing has begun")
        running.kill()
    node.sh("pkill -9 -f AnsiballZ_leg", check=False)
    assert "web5-data" not in node.volumes()
    done = max(node.spares().values())
    node.sh(FAST)
    assert node.leg("web5-data", size=str(SIZE))["changed"] and done > 0
    assert node.zeros("web5-data") and node.spares() == {}
    assert node.leg("web6-data", size=str(free["free"] - SIZE))["changed"] and node.zeros("web6-data")
    assert "too little room" in node.leg("web7-data", size=str(SIZE))["msg"]
    assert node.leg("web6-data", state="absent")["changed"]
    until(node.clean, 120, "it is zeroed")
    assert node.machines.module("node1", "leg", release=["vg0"])["changed"]
    assert list(node.volumes()) == ["web5-data"]
