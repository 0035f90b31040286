# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests follow their VMs, and die with their nodes."""

from __future__ import annotations

import pytest

from lab.lab import Lab
from lab_tests.helpers import Xapi, until


@pytest.fixture(scope="module")
def xapi(lab: Lab) -> Xapi:
    return Xapi(lab)


@pytest.fixture(scope="module")
def vm(xapi: Xapi) -> str:
    template = next(r for r, t in xapi("VM.get_all_records").items() if t["name_label"] == "Other install media")
    made = xapi("VM.clone", template, "mirrored")
    xapi("VM.provision", made)
    xapi("VM.add_to_other_config", made, "lab_guest", "guest1")
    return made


def start(lab: Lab, xapi: Xapi, vm: str, node: str) -> None:
    xapi("VM.start_on", vm, xapi.hosts[node], False, False)
    until(lambda: lab.box("guest1").run("true", check=False, timeout=10).returncode == 0, 60, "the guest is up")


def initiator(lab: Lab) -> str:
    return lab.box("guest1").run("cat /etc/iscsi/initiatorname.iscsi").stdout.strip()


def test_the_hosts_are_the_nodes(xapi: Xapi) -> None:
    assert sorted(xapi.hosts) == ["node1", "node2"]
    assert xapi("host.get_iscsi_iqn", xapi.hosts["node2"]) == "iqn.2026-11.test.nobloat:node2"


def test_a_guest_starts_with_its_vm_under_the_name_of_its_host(lab: Lab, xapi: Xapi, vm: str) -> None:
    start(lab, xapi, vm, "node2")
    guest = lab.box("guest1")
    assert guest.status.host == "node2"
    assert initiator(lab) == "InitiatorName=iqn.2026-11.test.nobloat:node2"
    metrics = until(
        lambda: (ref := xapi("VM.get_guest_metrics", vm)) != "OpaqueRef:NULL" and ref, 20, "the agent reports"
    )
    until(lambda: xapi("VM_guest_metrics.get_networks", metrics).get("0/ip") == "10.66.0.101", 20, "the address")
    # The node's SAN is set up by hand; its own guest reaches it without cables, a node elsewhere does not.
    lab.box("node2").run("ip addr add 10.66.2.2/24 dev eth2; ip link set eth2 up")
    until(lambda: guest.run("ping -c1 -W1 10.66.2.254", check=False).returncode == 0, 10, "the guest's SAN works")
    lab.link("node2", [2, 3], "pull")
    guest.run("ping -c3 -W2 10.66.2.2")
    assert guest.run("ping -c1 -W1 10.66.2.254", check=False).returncode, "its node's cables are its own"
    lab.link("node2", [2, 3], "plug")
    until(lambda: guest.run("ping -c1 -W1 10.66.2.254", check=False).returncode == 0, 10, "the guest's SAN works again")


def test_a_clean_shutdown_is_one(lab: Lab, xapi: Xapi, vm: str) -> None:
    lab.box("guest1").run("echo unsynced >/root/late")
    xapi("VM.clean_shutdown", vm)
    assert not lab.box("guest1").running(), "the call waits for it"
    start(lab, xapi, vm, "node1")
    assert lab.box("guest1").run("cat /root/late").stdout == "unsynced\n"
    assert initiator(lab) == "InitiatorName=iqn.2026-11.test.nobloat:node1"


def test_a_node_reboots_with_its_host(lab: Lab, xapi: Xapi, vm: str) -> None:
    """Empty, as XAPI makes it before; the guest has moved to the other one and runs on."""
    before, here = (lab.box(name).run("cat /proc/sys/kernel/random/boot_id").stdout for name in ("node1", "guest1"))
    node = xapi.hosts["node1"]
    xapi("host.disable", node)
    xapi("host.evacuate", node)
    xapi("host.reboot", node)
    until(lambda: lab.box("node1").run("cat /proc/sys/kernel/random/boot_id").stdout != before, 120, "the node has booted")
    again = Xapi(lab)  # it was the coordinator
    until(lambda: again("host.get_enabled", node), 60, "the host is back")
    assert lab.box("guest1").status.host == "node2" and again("VM.get_resident_on", vm) == xapi.hosts["node2"]
    assert lab.box("guest1").run("cat /proc/sys/kernel/random/boot_id").stdout == here
    xapi.calls.log_in()


def test_a_guest_dies_with_its_node_and_starts_on_the_other(lab: Lab, xapi: Xapi, vm: str) -> None:
    xapi("VM.hard_shutdown", vm)
    until(lambda: not lab.box("guest1").running(), 10, "no power")
    start(lab, xapi, vm, "node2")
    lab.kill(["node2"])
    assert not lab.box("guest1").running()
    assert xapi("VM.get_power_state", vm) == "Running", "the pool does not know yet"
    xapi("VM.power_state_reset", vm)
    start(lab, xapi, vm, "node1")
    lab.start(["node2"])
    assert xapi("VM.get_power_state", vm) == "Running" and lab.box("guest1").running()
    assert lab.incidents == []


def test_a_guest_on_an_isolated_node_runs_on(lab: Lab, xapi: Xapi, vm: str) -> None:
    xapi("VM.hard_shutdown", vm)
    until(lambda: not lab.box("guest1").running(), 10, "no power")
    start(lab, xapi, vm, "node2")
    lab.isolate("node2")
    xapi("VM.power_state_reset", vm)
    xapi("VM.start_on", vm, xapi.hosts["node1"], False, False)
    until(lambda: lab.incidents, 10, "the incident is told")
    assert lab.incidents == ["guest1 was started on node1 while it runs on node2"]
    assert lab.box("guest1").running() and lab.box("guest1").status.host == "node2"
    lab.kill(["guest1"])
    lab.rejoin("node2")
