# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bonds of all modes, and what they make of cables that are pulled, seen or unseen."""

from __future__ import annotations

import re
import subprocess
import time

import pytest

from lab.lab import Lab
from lab_tests.helpers import bond, booted, until


def ping(lab: Lab, seconds: float) -> subprocess.Popen[str]:
    """Ten times a second from node1 to node2 over the SAN."""
    box = lab.box("node1")
    command = box.ssh(f"ping -i 0.1 -W 1 -c {int(seconds * 10)} 10.66.2.2")
    return subprocess.Popen(command, cwd=box.folder, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def lost(pinging: subprocess.Popen[str]) -> int:
    """Packets that did not come back."""
    text = pinging.communicate(timeout=120)[0]
    counts = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    assert counts, text
    return int(counts[1]) - int(counts[2])


def connected(lab: Lab) -> None:
    until(lambda: lab.box("node1").run("ping -c1 -W1 10.66.2.2", check=False).returncode == 0, 20, "the SAN works")


def test_active_backup_survives_a_cable_that_is_pulled(lab: Lab) -> None:
    for name in ("node1", "node2"):
        bond(lab, name, "mode active-backup miimon 100")
    connected(lab)
    node, pinging = lab.box("node1"), ping(lab, 6)
    time.sleep(1)
    active = node.run("cat /sys/class/net/bond0/bonding/active_slave").stdout.strip()
    lab.link("node1", [int(active[-1])], "pull")
    assert node.run(f"cat /sys/class/net/{active}/carrier").stdout == "0\n"
    assert lost(pinging) <= 5, "100 ms until it is seen, and what a busy machine adds"
    assert node.run("cat /sys/class/net/bond0/bonding/active_slave").stdout.strip() != active
    lab.link("node1", [2, 3], "pull")
    assert node.run("ping -c1 -W1 10.66.2.2", check=False).returncode
    lab.link("node1", [2, 3], "plug")
    connected(lab)


def test_active_backup_with_arp_survives_a_silent_cut(lab: Lab) -> None:
    for name in ("node1", "node2"):
        bond(lab, name, "mode active-backup arp_interval 200 arp_ip_target 10.66.2.254")
    connected(lab)
    node, pinging = lab.box("node1"), ping(lab, 8)
    time.sleep(1)
    active = node.run("cat /sys/class/net/bond0/bonding/active_slave").stdout.strip()
    lab.link("node1", [int(active[-1])], "cut")
    assert node.run(f"cat /sys/class/net/{active}/carrier").stdout == "1\n", "nothing is seen"
    assert 0 < lost(pinging) <= 30, "half a second until it is noticed, and what a busy machine adds"
    assert node.run("cat /sys/class/net/bond0/bonding/active_slave").stdout.strip() != active
    lab.link("node1", [2, 3], "plug")


def test_a_cable_that_is_out_stays_out_when_the_machine_restarts(lab: Lab) -> None:
    lab.link("node2", [2], "pull")
    lab.link("node2", [3], "cut")
    lab.kill(["node2"])
    lab.start(["node2"])
    node = lab.box("node2")
    node.run("ip link set eth2 up; ip link set eth3 up")
    assert node.run("cat /sys/class/net/eth2/carrier").stdout == "0\n"
    until(lambda: node.run("cat /sys/class/net/eth3/carrier").stdout == "1\n", 5, "carrier")
    node.run("ip addr add 10.66.2.2/24 dev eth3")
    assert node.run("ping -c1 -W1 10.66.2.254", check=False).returncode
    lab.link("node2", [2, 3], "plug")
    node.run("ping -c3 -W2 10.66.2.254")
    node.run("ip addr flush dev eth3")


def test_a_node_without_service_network_can_still_be_looked_at(lab: Lab) -> None:
    lab.isolate("node2")
    assert lab.box("node1").run("ping -c1 -W1 10.66.0.2", check=False).returncode
    assert lab.box("node2").run("echo alive").stdout == "alive\n"
    lab.rejoin("node2")
    lab.box("node1").run("ping -c3 -W2 10.66.0.2")


@pytest.fixture(scope="module")
def wires() -> Lab:
    with booted("test-wires", nodes=2, xapi=False, san={"topology": "wires"}) as made:
        yield made


def survives(lab: Lab, mode: str, ends: list[str]) -> None:
    """A bond of a mode on both nodes works with two cables, with one and with two again."""
    for name in ("node1", "node2"):
        bond(lab, name, f"mode {mode} miimon 100")
    connected(lab)
    node = lab.box("node1")
    if mode.startswith("802.3ad"):
        until(lambda: "Number of ports: 2" in node.run("cat /proc/net/bonding/bond0").stdout, 10, "two ports")
        assert "Partner Mac Address: 00:00:00:00:00:00" not in node.run("cat /proc/net/bonding/bond0").stdout
    for name in ends:
        lab.link(name, [2], "pull")
    until(lambda: "MII Status: down" in node.run("cat /proc/net/bonding/bond0").stdout, 5, "the bond sees it")
    connected(lab)
    for name in ends:
        lab.link(name, [2], "plug")
    connected(lab)


@pytest.mark.parametrize("mode", ["balance-tlb", "balance-alb"])
def test_modes_for_a_switch(lab: Lab, mode: str) -> None:
    survives(lab, mode, ["node1"])


@pytest.mark.parametrize("mode", ["802.3ad lacp_rate fast", "balance-rr", "balance-xor", "broadcast"])
def test_modes_for_two_wires(wires: Lab, mode: str) -> None:
    survives(wires, mode, ["node1", "node2"])  # a wire has two ends
