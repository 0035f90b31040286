# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab consists of: read from YAML or from a dict as README.md describes it, checked key by key, with addresses."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import LabError

MIB = 1 << 20
UNITS = {"": 1, "KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30, "TiB": 1 << 40}
NETWORK = "10.66"  # of every lab: each has a network namespace of its own
NODE_NICS = (0, 1, 2, 3)
SAN_NICS = (2, 3)
MAX_DISKS = 8
MAX_MTU = 9000
OPERATOR = f"{NETWORK}.0.254"  # the lab's own address in the service network
SAN_OPERATOR = f"{NETWORK}.2.254"  # and in the SAN: something that always answers there, for ARP monitoring
GATEWAY = f"{NETWORK}.4.254"  # a node's address on the wire to the guests that run on it


@dataclass
class Machine:
    """One UML machine. Sizes in bytes."""

    name: str
    role: str  # node or guest
    number: int  # last byte of its addresses: nodes from 1, guests from 101
    memory: int
    disks: list[int] = field(default_factory=list)
    host: str = ""  # of a guest: the node that it runs on when nobody says otherwise
    initiator: str = ""  # of a node: its iSCSI initiator name, which its guests have, too
    vars: dict[str, Any] = field(default_factory=dict)  # more for the inventory

    @property
    def address(self) -> str:
        """In the service network, on eth0."""
        return f"{NETWORK}.0.{self.number}"

    @property
    def san_addresses(self) -> list[str]:
        """In the SAN: the first on the bond; or one on each SAN NIC where there are two paths."""
        return [f"{NETWORK}.{nic}.{self.number}" for nic in SAN_NICS]

    @property
    def inner(self) -> str:
        """On the wire between a node and its guests."""
        return GATEWAY if self.role == "node" else f"{NETWORK}.4.{self.number}"

    @property
    def console(self) -> str:
        """Out of band."""
        return f"{NETWORK}.255.{self.number}"

    def mac(self, nic: int) -> str:
        """Of eth<nic>."""
        return f"02:66:00:00:{self.number:02x}:{nic:02x}"


@dataclass
class San:
    """The storage network. switches: two, linked; wires: two separate ones, for LACP and round robin between two machines."""

    topology: str = "switches"
    guests: str = "bond"  # how guests use it: bond (one address) or paths (one on each NIC)
    vlan: int = 0
    mtu: int = 1500


@dataclass
class Description:
    """A whole lab. `xapi` is None for a lab without xapisim, else {"pool", "tls", "scenario", "pools"}."""

    machines: list[Machine]
    san: San
    xapi: dict[str, Any] | None

    @property
    def nodes(self) -> list[Machine]:
        """In order of number."""
        return [m for m in self.machines if m.role == "node"]

    @property
    def guests(self) -> list[Machine]:
        """In order of number."""
        return [m for m in self.machines if m.role == "guest"]

    def machine(self, name: str) -> Machine:
        """LabError if there is none of this name."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise LabError(f"no machine {name!r}, there are: {', '.join(m.name for m in self.machines)}")

    def local_addresses(self, node: Machine) -> list[str]:
        """The SAN addresses of a node that its own guests reach without the SAN."""
        return node.san_addresses if self.san.guests == "paths" else node.san_addresses[:1]

    def saved(self) -> dict[str, Any]:
        """For `restored`."""
        return asdict(self)


def restored(content: dict[str, Any]) -> Description:
    """What `saved` gave."""
    return Description([Machine(**m) for m in content["machines"]], San(**content["san"]), content["xapi"])


def load(path: Path) -> Description:
    """From a YAML file."""
    import yaml

    try:
        return parse(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, LabError) as error:
        raise LabError(f"{path}: {' '.join(str(error).split())}") from None


def parse(content: Any) -> Description:
    """From YAML's content. LabError says what is wrong and where."""
    top = _keys(content or {}, "lab", "nodes guests san xapi")
    nodes = _machines(top.get("nodes", 2), "nodes", "node", 1, "name memory disks initiator vars")
    guests = _machines(top.get("guests", 0), "guests", "guest", 101, "name memory disks host vars")
    if not nodes:
        raise LabError("nodes: there is none")
    names = [m.name for m in nodes + guests]
    for name in names:
        if names.count(name) > 1:
            raise LabError(f"two machines are called {name}")
    for at, guest in enumerate(guests):
        guest.host = guest.host or nodes[at % len(nodes)].name
        if guest.host not in [n.name for n in nodes]:
            raise LabError(f"{guest.name}: there is no node {guest.host!r} that it could run on")
    return Description(nodes + guests, _san(top.get("san") or {}), _xapi(top.get("xapi", True)))


def size(value: Any, where: str) -> int:
    """Bytes: a number, or text like 2GiB."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"(\d+) ?([KMGT]iB|)", str(value))
    if not match:
        raise LabError(f"{where}: {value!r} is no size; write 512MiB, 2GiB")
    return int(match[1]) * UNITS[match[2]]


def _keys(content: Any, where: str, known: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise LabError(f"{where}: a mapping is wanted, not {content!r}")
    for key in content:
        if key not in known.split():
            raise LabError(f"{where}: unknown key {key!r}, known: {known.replace(' ', ', ')}")
    return content


def _machines(content: Any, where: str, role: str, first: int, known: str) -> list[Machine]:
    if isinstance(content, int):
        content = [{"name": f"{role}{n + 1}"} for n in range(content)]
    if not isinstance(content, list):
        raise LabError(f"{where}: a number or a list is wanted")
    if len(content) > 99:
        raise LabError(f"{where}: at most 99")
    made = []
    for at, each in enumerate(content):
        here = f"{where}[{at}]"
        wanted = _keys({"name": each} if isinstance(each, str) else each, here, known)
        name = str(wanted.get("name") or f"{role}{at + 1}")
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name):
            raise LabError(f"{here}: {name!r} is no host name of small letters, digits and dashes")
        disks = wanted.get("disks", ["2GiB", "2GiB"] if role == "node" else [])
        disks = [size(d, f"{here}.disks[{n}]") for n, d in enumerate(disks)]
        if len(disks) > MAX_DISKS or any(d < MIB or d % 512 for d in disks):
            raise LabError(f"{here}.disks: at most {MAX_DISKS}, of whole sectors, from 1MiB")
        memory = size(wanted.get("memory", "384MiB"), f"{here}.memory")
        if memory < 128 * MIB:
            raise LabError(f"{here}.memory: a machine does not boot with less than 128MiB")
        machine = Machine(name, role, first + at, memory, disks, vars=wanted.get("vars") or {})
        if role == "node":
            machine.initiator = str(wanted.get("initiator") or f"iqn.2026-11.test.nobloat:{name}")
        machine.host = str(wanted.get("host") or "")
        made.append(machine)
    return made


def _san(content: Any) -> San:
    wanted = _keys(content, "san", "topology guests vlan mtu")
    san = San(**wanted)
    if san.topology not in ("switches", "wires"):
        raise LabError(f"san.topology: {san.topology!r}, known: switches, wires")
    if san.guests not in ("bond", "paths"):
        raise LabError(f"san.guests: {san.guests!r}, known: bond, paths")
    if not isinstance(san.vlan, int) or not 0 <= san.vlan < 4095:
        raise LabError(f"san.vlan: {san.vlan!r} is no VLAN")
    if not isinstance(san.mtu, int) or not 1280 <= san.mtu <= MAX_MTU:
        raise LabError(f"san.mtu: from 1280 to {MAX_MTU}")
    return san


def _xapi(content: Any) -> dict[str, Any] | None:
    if content in (None, False):
        return None
    wanted = _keys({} if content is True else content, "xapi", "pool tls scenario pools")
    return {
        "pool": str(wanted.get("pool", "lab")),
        "tls": bool(wanted.get("tls", True)),
        "scenario": dict(wanted.get("scenario") or {}),
        "pools": list(wanted.get("pools") or []),
    }
