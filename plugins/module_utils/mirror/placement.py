# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which two nodes the legs of mirrored guests lie. Plain functions on plain data.

Legs that exist stay where they are. All disks of a guest lie on the same two nodes, the first of which is its home. A new
guest gets the two nodes that are most apart (failure domain), have most room left afterwards, and do least, in this order.
"""
from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.legs import called
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import MOST_DISKS, NO_LEGS, iqn, leg_name
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_bytes, to_text

Record = dict[str, Any]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MAX_NAME = 60  # of a leg; an IQN has 223 at most, an LV 127
_RESERVED = (*(start.rstrip("-") for start in NO_LEGS), "snapshot", "pvmove")  # the last two are LVM's own
_UNKNOWN = 1 << 60  # bytes of a volume group that is not there yet
_GROW = "playbook nobloat.xen.guest_grow"
_MOVE = "playbook nobloat.xen.guest_move"


@dataclass
class Node:
    """A node that may get legs. `free` and `size` of its volume group and `unit`, of which legs are multiples, in bytes."""

    name: str
    up: bool = False
    vg: str = ""
    free: int = 0
    size: int = 0
    unit: int = 1
    load: float = 0.0
    failure_domain: str = ""
    homes: int = 0  # guests that have their home here


@dataclass
class Disk:
    """A disk of the description; `legs` are those that exist."""

    guest: str
    name: str
    size: int
    legs: list[Record]

    @property
    def leg(self) -> str:
        """The name that its legs have."""
        return f"{self.guest}-{self.name}"


def place(
    guests: Iterable[Mapping[str, Any]], existing: Iterable[Mapping[str, Any]], nodes: Mapping[str, Mapping[str, Any]],
    iqn_prefix: str, *, assume_room: bool = False,
) -> tuple[list[Record], list[str]]:
    """The legs of a pool, and remarks for the user.

    `guests`: as in mirror_guest_list. `existing`: leg records of what is there; those of guests or disks that are not described
    come back unchanged, and so does a guest whose other leg may be on a node that does not answer. `nodes`: by name, {up, vg, free,
    size, unit, load, failure_domain}. `assume_room`: a volume group that is not there yet has enough. Raises ValueError.
    """
    there = [dict(leg) for leg in existing]
    found = {name: _node(name, facts, assume_room) for name, facts in nodes.items()}
    described = [_guest(guest, there, found) for guest in guests]
    _check_names(described)
    remarks: list[str] = []
    for guest, disks in described:
        home = _home(guest, disks)
        if home:
            found[home].homes += 1
    placed: list[Record] = []
    known = {leg["name"] for _guest_, disks in described for disk in disks for leg in disk.legs}
    # The biggest first, as it is the hardest to place.
    for guest, disks in sorted(described, key=lambda item: (-sum(disk.size for disk in item[1]), item[0]["name"])):
        pair = _pair(guest, disks, found, remarks)
        for disk in disks:
            placed += _legs(disk, pair, found, iqn_prefix) if pair else disk.legs
    others = [leg for leg in there if leg["name"] not in known]
    others.sort(key=lambda leg: (leg.get("slot") is None, leg.get("slot"), leg["node"]))
    return sorted([*placed, *others], key=lambda leg: (leg["guest"], leg["disk"])), remarks


def node_facts(info: Mapping[str, Any] | None, *, vg: str, stripes: int = 0, failure_domain: str = "") -> Record:
    """What `place` wants to know of a node, from the result of module mirror_info (empty if the node does not answer).

    `stripes` 0 stands for all disks of the volume group.
    """
    known: Record = {"up": bool(info), "vg": vg, "failure_domain": failure_domain}
    group = next((group for group in info["vgs"] if group["name"] == vg), None) if info else None
    if group is None:
        return {**known, "free": None}
    whole = stripes in (0, group["pv_count"])
    unit = group["extent_size"] * (stripes or group["pv_count"])
    return {
        **known, "free": group["free_striped" if whole else "free"] // unit * unit, "size": group["size"], "unit": unit,
        "load": (info or {}).get("load", 0),
    }


def _node(name: str, facts: Mapping[str, Any], assume_room: bool) -> Node:
    free = facts.get("free")
    if free is None and facts.get("up") and not assume_room:
        raise ValueError(f"Node {name} has no volume group {facts.get('vg')} for legs.")
    return Node(
        name, bool(facts.get("up")), str(facts.get("vg") or ""), int(free if free is not None else _UNKNOWN if assume_room else 0),
        int(facts.get("size") or _UNKNOWN), int(facts.get("unit") or 1), float(facts.get("load") or 0),
        str(facts.get("failure_domain") or name),
    )


# -- the description


def _guest(guest: Mapping[str, Any], there: list[Record], nodes: Mapping[str, Node]) -> tuple[Mapping[str, Any], list[Disk]]:
    name = str(guest.get("name", ""))
    _check_name("guest", name)
    if name.startswith(_RESERVED):
        raise ValueError(f"Guest {name}: names that begin with {', '.join(_RESERVED)} are not for guests.")
    if not guest.get("disks"):
        raise ValueError(f"Guest {name} has no disks to mirror.")
    if len(guest["disks"]) > MOST_DISKS:
        raise ValueError(f"Guest {name} has {len(guest['disks'])} disks to mirror; there is room for {MOST_DISKS}.")
    pins = guest.get("nodes") or []
    for pin in [*pins, *filter(None, [guest.get("home")])]:
        if pin not in nodes:
            raise ValueError(f"Guest {name}: there is no node {pin} in this pool; there are {', '.join(sorted(nodes)) or 'none'}.")
    twice = sorted({pin for pin in pins if pins.count(pin) > 1})
    if twice:
        raise ValueError(f"Guest {name}: node {twice[0]} comes twice in nodes. The two legs of a mirror need two different nodes.")
    if len(pins) == 1:
        raise ValueError(f"Guest {name}: nodes has only {pins[0]}. Name two different nodes at least, or leave nodes out.")
    if guest.get("home") and pins and guest["home"] not in pins:
        raise ValueError(f"Guest {name}: its home {guest['home']} is not among its nodes {', '.join(pins)}.")
    disks = [_disk(name, disk, there) for disk in guest["disks"]]
    for key, what in (("name", "two disks are called"), ("mount", "two disks are mounted at")):
        values = [disk.get(key) for disk in guest["disks"] if disk.get(key)]
        if len(set(values)) < len(values):
            raise ValueError(f"Guest {name}: {what} {next(value for value in values if values.count(value) > 1)}.")
    return guest, disks


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"'{name}' cannot be the name of a mirrored {what}: use lower case letters, digits and single hyphens, a letter first."
        )


def _disk(guest: str, disk: Mapping[str, Any], there: list[Record]) -> Disk:
    name = str(disk.get("name", ""))
    _check_name("disk", name)
    size = to_bytes(disk.get("size") or 0)
    if size <= 0:
        raise ValueError(f"Disk {name} of guest {guest} needs a size.")
    leg = leg_name(guest, name)
    if len(leg) > _MAX_NAME:
        raise ValueError(f"{leg} is too long for the name of a leg, {_MAX_NAME} characters are allowed.")
    mount = str(disk.get("mount") or "")
    if mount and (not re.fullmatch(r"(/[A-Za-z0-9._@+-]+)+", mount) or ".." in mount):
        raise ValueError(f"Disk {name} of guest {guest}: '{mount}' is no place to mount it at, write it as /srv or /var/lib/data.")
    return Disk(guest, name, size, [record for record in there if record["name"] == leg])


def _check_names(described: list[tuple[Mapping[str, Any], list[Disk]]]) -> None:
    owners: dict[str, Disk] = {}
    guests: set[str] = set()
    for guest, disks in described:
        if guest["name"] in guests:
            raise ValueError(f"Two mirrored guests are called {guest['name']}.")
        guests.add(guest["name"])
        for disk in disks:
            other = owners.setdefault(disk.leg, disk)
            if other is not disk:
                raise ValueError(
                    f"Disk {disk.name} of guest {disk.guest} and disk {other.name} of guest {other.guest} would both be called "
                    f"{disk.leg}. Choose other names."
                )


# -- the two nodes


def _home(guest: Mapping[str, Any], disks: list[Disk]) -> str | None:
    """The node that a guest with legs is at home on."""
    if guest.get("home"):
        return str(guest["home"])
    legs = sorted((leg for disk in disks for leg in disk.legs if leg.get("slot") is not None), key=lambda leg: leg["slot"])
    return str(legs[0]["node"]) if legs else None


def _pair(guest: Mapping[str, Any], disks: list[Disk], nodes: Mapping[str, Node], remarks: list[str]) -> list[str]:
    """Names of the guest's two nodes, home first, none if that cannot be said now; takes the room of new legs from what is free there."""
    name = guest["name"]
    for disk in disks:
        _check_legs(disk, guest, nodes)
    fixed = sorted({leg["node"] for disk in disks for leg in disk.legs})
    if len(fixed) > 2:
        raise ValueError(f"Guest {name} has legs on {', '.join(fixed)}, and should have two. Finish the move first ({_MOVE}).")
    if len(fixed) < 2:
        down = [node for node in guest.get("nodes") or sorted(nodes) if not nodes[node].up]
        if fixed and down:
            remarks.append(
                f"Guest {name} has a leg on {fixed[0]}; its other leg may be on {' or '.join(down)}, which does not answer. The guest "
                "is left as it is."
            )
            return []
        pair = _choose(guest, disks, fixed, nodes, remarks)
    else:
        pair = fixed
        _check_room(guest, disks, pair, nodes)
    for node in pair:
        nodes[node].free -= sum(_needs(disk, pair, nodes) for disk in disks if not any(leg["node"] == node for leg in disk.legs))
    home = _home(guest, disks)
    if home and home not in pair:
        raise ValueError(f"Guest {name}: its home {home} holds none of its legs, they are on {', '.join(pair)}. Move one first ({_MOVE}).")
    if not home:
        home = min(pair, key=lambda node: (nodes[node].homes, nodes[node].load, -nodes[node].free, node))
        nodes[home].homes += 1
    return sorted(pair, key=lambda node: (node != home, node))


def _check_legs(disk: Disk, guest: Mapping[str, Any], nodes: Mapping[str, Node]) -> None:
    where = [leg["node"] for leg in disk.legs]
    twice = sorted({node for node in where if where.count(node) > 1})
    if twice:
        raise ValueError(f"Node {twice[0]} has two volumes {disk.leg}; a node has one leg of a mirror at most.")
    pins = guest.get("nodes")
    strangers = sorted(node for node in where if node not in nodes or (pins and node not in pins))
    if strangers:
        raise ValueError(
            f"Leg {disk.leg} is on {strangers[0]}, where guest {disk.guest} is not to be. Change its nodes, or move it first ({_MOVE})."
        )
    sizes = {leg["size"] for leg in disk.legs}
    if len(sizes) > 1:
        listed = ", ".join(f"{to_text(leg['size'])} on {leg['node']}" for leg in disk.legs)
        raise ValueError(f"The legs of {disk.leg} have different sizes ({listed}). Finish growing it first ({_GROW}).")
    if not sizes:
        return
    size, wanted = sizes.pop(), _rounded(disk.size, where, nodes)
    if wanted < size:
        raise ValueError(f"Disk {disk.name} of guest {disk.guest} has {to_text(size)}, it cannot shrink to {to_text(disk.size)}.")
    if wanted > size:
        raise ValueError(f"Disk {disk.name} of guest {disk.guest} has {to_text(size)}; to grow it to {to_text(disk.size)}, run {_GROW}.")


def _rounded(size: int, pair: Iterable[str], nodes: Mapping[str, Node]) -> int:
    """A size that all these nodes can make exactly."""
    unit = math.lcm(*(nodes[node].unit for node in pair))
    return -(-size // unit) * unit


def _needs(disk: Disk, pair: Iterable[str], nodes: Mapping[str, Node]) -> int:
    return disk.legs[0]["size"] if disk.legs else _rounded(disk.size, pair, nodes)


def _wanted(disks: list[Disk], node: str, pair: Iterable[str], nodes: Mapping[str, Node]) -> int:
    """Bytes of the new legs on a node of a pair."""
    return sum(_needs(disk, pair, nodes) for disk in disks if all(leg["node"] != node for leg in disk.legs))


def _fits(disks: list[Disk], pair: Iterable[str], nodes: Mapping[str, Node]) -> bool:
    pair = list(pair)
    return all(_wanted(disks, node, pair, nodes) <= nodes[node].free for node in pair)


def _check_room(guest: Mapping[str, Any], disks: list[Disk], pair: list[str], nodes: Mapping[str, Node]) -> None:
    lacking = [node for node in pair if _wanted(disks, node, pair, nodes)]
    down = [node for node in lacking if not nodes[node].up]
    if down:
        raise ValueError(f"Guest {guest['name']} gets a new leg on {down[0]}, which does not answer.")
    if not _fits(disks, pair, nodes):
        raise _no_room(guest, disks, lacking, nodes)


def _no_room(guest: Mapping[str, Any], disks: list[Disk], names: Iterable[str], nodes: Mapping[str, Node]) -> ValueError:
    listed = ", ".join(f"{name} {to_text(nodes[name].free)}" for name in sorted(names))
    needed = to_text(sum(disk.size for disk in disks if len(disk.legs) < 2))
    return ValueError(f"There is not enough space for guest {guest['name']}, which needs {needed} on each of two nodes. Free: {listed}.")


def _choose(
    guest: Mapping[str, Any], disks: list[Disk], fixed: list[str], nodes: Mapping[str, Node], remarks: list[str]
) -> list[str]:
    allowed = [nodes[name] for name in guest.get("nodes") or sorted(nodes)]
    up = [node.name for node in allowed if node.up]
    if len(up) < 2 or not set(fixed) <= set(up):
        down = ", ".join(sorted(node.name for node in allowed if not node.up))
        raise ValueError(
            f"Guest {guest['name']} needs two nodes for its legs, and there are {len(up)} ({', '.join(up) or 'none'}) that answer"
            + (f"; {down} does not." if down else ". Add nodes to the pool first.")
        )
    pairs = [list(pair) for pair in itertools.combinations(up, 2) if set(fixed) <= set(pair)]
    if guest.get("home"):
        pairs = [pair for pair in pairs if guest["home"] in pair]
    fitting = [pair for pair in pairs if _fits(disks, pair, nodes)]
    if not fitting:
        raise _no_room(guest, disks, up, nodes)
    best = min(fitting, key=lambda pair: _rank(disks, pair, nodes))
    if len({nodes[name].failure_domain for name in best}) < 2:
        remarks.append(
            f"Both legs of guest {guest['name']} lie in failure domain {nodes[best[0]].failure_domain}, as no pair of nodes apart has room."
        )
    return best


def _rank(disks: list[Disk], pair: list[str], nodes: Mapping[str, Node]) -> tuple[Any, ...]:
    """The less, the better: same domain, tenths of the fuller group in use afterwards, load, bytes left, names."""
    left = {name: nodes[name].free - _wanted(disks, name, pair, nodes) for name in pair}
    used = max(1 - left[name] / max(nodes[name].size, 1) for name in pair)
    same = len({nodes[name].failure_domain for name in pair}) < 2
    return same, round(used * 10), sum(nodes[name].load for name in pair), -min(left.values()), pair


# -- the records


def _legs(disk: Disk, pair: list[str], nodes: Mapping[str, Node], iqn_prefix: str) -> list[Record]:
    """The two leg records of a disk, home first; what exists is told as it is."""
    there = {leg["node"]: leg for leg in disk.legs}
    size = _needs(disk, pair, nodes)
    return [
        {
            "guest": disk.guest, "disk": disk.name, "name": disk.leg, "node": node, "vg": nodes[node].vg, "size": size,
            "iqn": iqn(node, disk.leg, iqn_prefix), "portals": [], "initiators": [], **called(node, disk.leg), "lease": None,
            "exists": False,
            **there.get(node, {}), "slot": slot,
        }
        for slot, node in enumerate(pair)
    ]
