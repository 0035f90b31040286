# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's network: one network namespace without a way out, with bridges for switches and a tap for each NIC.

svc: service network, NICs 0 and 1. san0 and san1: SAN, NICs 2 and 3, linked if they are switches. in<N>: from node number N to
the guests that run on it. oob: out of band. void: a bridge that is down, where a tap is that leads nowhere.

A cable is cut by moving its tap to void. Not by setting the tap down: UML's write fails then and its NIC is dead for ever.
Not by the state of the bridge port either: a machine that starts again gets its port forwarding.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from .description import MAX_MTU, NETWORK, OPERATOR, SAN_OPERATOR, Description, Machine
from .errors import LabError

INNER_NIC, CONSOLE_NIC = 4, 5
SWITCHES = ("svc", "svc", "san0", "san1")  # of NIC 0 to 3
BRIDGE = "type bridge forward_delay 0 mcast_snooping 0"
LACP = 4  # bit of 01-80-C2-00-00-02, which a bridge swallows unless its port is told not to


def tap(machine: Machine, nic: int) -> str:
    """Name of the tap of one NIC."""
    return f"m{machine.number}n{nic}"


class Network:
    """The namespace and what is in it."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def inside(self, *command: str) -> list[str]:
        """A command line that runs in the namespace."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def exists(self) -> bool:
        """Whether the namespace is there."""
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        return self.namespace in [line.split()[0] for line in listed.splitlines() if line.strip()]

    def up(self, description: Description) -> None:
        """Make the namespace, its bridges and the taps of all machines."""
        _run(["ip", "netns", "add", self.namespace])
        for key in ("all", "default"):
            _run(self.inside("sysctl", "-qw", f"net.ipv6.conf.{key}.disable_ipv6=1"), fatal=False)
        lines = ["link set lo up"]
        inner = [f"in{n.number}" for n in description.nodes]
        for bridge in ("svc", "san0", "san1", "oob", *inner):
            lines += [f"link add {bridge} {BRIDGE}", f"link set {bridge} mtu {MAX_MTU} up"]
        lines += [f"link add void {BRIDGE}"]
        if description.san.topology == "switches":
            lines += ["link add trunk0 mtu 9000 type veth peer name trunk1 mtu 9000"]
            lines += [f"link set trunk{n} master san{n} up" for n in (0, 1)]
        lines += [f"addr add {OPERATOR}/24 dev svc", f"addr add {NETWORK}.255.254/24 dev oob"]
        san = "san0"
        if description.san.vlan:
            san = f"san0.{description.san.vlan}"
            lines += [f"link add link san0 name {san} type vlan id {description.san.vlan}", f"link set {san} up"]
        lines += [f"addr add {SAN_OPERATOR}/24 dev {san}"]
        self._ip(lines)
        lines = []
        for machine in description.machines:
            for nic in (*range(len(SWITCHES)), INNER_NIC, CONSOLE_NIC):
                name = tap(machine, nic)
                lines += [f"tuntap add dev {name} mode tap", f"link set {name} mtu {MAX_MTU} up"]
                lines += self._plug(machine, nic, self._bridge(machine, nic))
        self._ip(lines)

    def down(self) -> None:
        """Remove the namespace and all that is in it."""
        if self.exists():
            _run(["ip", "netns", "delete", self.namespace])

    def processes(self) -> list[int]:
        """Ids of all processes in the namespace."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False)
        return [int(word) for word in listed.stdout.split()]

    def connect(self, machine: Machine, cut: Iterable[int]) -> None:
        """Plug the cables of NIC 0 to 3, without those that are cut."""
        lines = []
        for nic in range(len(SWITCHES)):
            lines += self._plug(machine, nic, "void" if nic in cut else self._bridge(machine, nic))
        self._ip(lines)

    def host(self, guest: Machine, node: Machine | None) -> None:
        """Connect a guest to the node that it runs on, or to none."""
        self._ip(self._plug(guest, INNER_NIC, f"in{node.number}" if node else "void"))

    @staticmethod
    def _bridge(machine: Machine, nic: int) -> str:
        if nic == CONSOLE_NIC:
            return "oob"
        if nic == INNER_NIC:
            return f"in{machine.number}" if machine.role == "node" else "void"
        return SWITCHES[nic]

    @staticmethod
    def _plug(machine: Machine, nic: int, bridge: str) -> list[str]:
        name = tap(machine, nic)
        lines = [f"link set {name} master {bridge}"]
        if bridge.startswith("san"):
            lines += [f"link set {name} type bridge_slave group_fwd_mask {LACP}"]
        return lines

    def _ip(self, lines: list[str]) -> None:
        _run(["ip", "-netns", self.namespace, "-batch", "-"], text="\n".join(lines) + "\n")


def _run(command: list[str], *, text: str = "", fatal: bool = True) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if fatal and done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
