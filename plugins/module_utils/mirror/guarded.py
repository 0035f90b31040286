# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirrored guests that are to be started together: what is asked for them, what is decided on each, and what follows. Plain functions on
plain data; guard.py has the decision itself.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.guard import Case, judge
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import disk_name, from_path, lacking
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.recovery import identity

Record = Mapping[str, Any]
LEG = ("disk", "name", "node", "path")


def guarded(guests: Iterable[Record], legs: Iterable[Record]) -> dict[str, list[dict[str, Any]]]:
    """What modules are told of guests, by their legs on the nodes that have answered.

    `guests`: each with name, and uuid, host, start_from and order if they are known. `legs`: leg records of any guests; one with
    `exists: false` is only planned. `judged`: for guest_guard; `asked`: for guest_lease.
    """
    known = [leg for leg in legs if leg.get("exists", True)]
    found: dict[str, list[dict[str, Any]]] = {"judged": [], "asked": []}
    for guest, mine in _with_legs(guests, known):
        name = guest["name"]
        uuid = guest.get("uuid") or identity(mine).get(name, "")
        options = {option: guest[option] for option in ("host", "start_from", "order") if guest.get(option) is not None}
        found["judged"].append({"name": name, "uuid": uuid, "legs": [{key: leg[key] for key in LEG} for leg in mine], **options})
        found["asked"].append({"name": name, "uuid": uuid, "legs": list(dict.fromkeys(leg["name"] for leg in mine))})
    return found


def caught_up(guests: Iterable[Record], legs: Iterable[Record], nodes: Mapping[str, Record]) -> dict[str, list[dict[str, Any]]]:
    """For guest_lease, by node: legs of guests are complete, and have caught up with the latest start that any lease knows of.

    `legs`: as above, those that were made since, too. `nodes`: {node: what guest_lease said of these guests}.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for guest, mine in _with_legs(guests, legs):
        name = guest["name"]
        leases = [said(known, name).get("lease") or {} for known in nodes.values()]
        generation = max([0, *(lease.get("generation", 0) for lease in leases)])
        entry = {"name": name, "uuid": guest.get("uuid") or identity(mine).get(name, ""), "generation": generation,
                 "legs": list(dict.fromkeys(leg["name"] for leg in mine))}
        for node in sorted({leg["node"] for leg in mine}):
            found.setdefault(node, []).append(dict(entry))
    return found


def _with_legs(guests: Iterable[Record], legs: Iterable[Record]) -> list[tuple[Record, list[Record]]]:
    own: dict[str, list[Record]] = {}
    for leg in legs:
        own.setdefault(leg["guest"], []).append(leg)
    return [(guest, own.get(guest["name"], [])) for guest in guests]


def said(known: Record | None, name: str) -> Record:
    """What module guest_lease said on a node of one guest; {} if it was unreachable."""
    known = known or {}
    if known.get("unreachable"):
        return {}
    return next((guest for guest in known.get("guests") or () if guest["name"] == name), known)


def uuid_of(entry: Record, nodes: Mapping[str, Record]) -> str:
    """The uuid that was told, or that all tags of its legs have; "" if there is none."""
    evidence = [said(known, entry["name"]).get("evidence") or {} for known in nodes.values()]
    tags = {leg.get("uuid") for known in evidence for leg in known.get("legs", ())} - {"", None}
    return str(entry.get("uuid") or (tags.pop() if len(tags) == 1 else ""))


@dataclass
class Inquiry:
    """What all have said, of all guests. `disks`: legs of guests in the pool, and the positions that are taken, by uuid; `shared`: what
    is the same for each Case; the rest is as there."""

    nodes: Mapping[str, Record]
    pools: Mapping[str, Record | None]
    alive: Mapping[str, str]
    deaf: Mapping[str, str]
    disks: Mapping[str, tuple[list[dict[str, Any]], set[int]]]
    shared: Mapping[str, Any] = field(default_factory=dict)

    def pools_for(self, name: str, uuid: str) -> dict[str, Record | None]:
        """Only the guests of this name or uuid."""
        return {pool: known and {**known, "vms": [vm for vm in known["vms"] if name == vm["name"] or (uuid and uuid == vm["uuid"])]}
                for pool, known in self.pools.items()}


def decide(
    inquiry: Inquiry, entry: Record, uuid: str, taken: Mapping[str, Sequence[Record]], lost: str, generation: int = 0
) -> dict[str, Any]:
    """{name, failed, msg, guard}: whether one guest may be started. `lost`: why its lease was not to be had."""
    name = entry["name"]
    known = {node: said(told, name) for node, told in inquiry.nodes.items()}
    disks, positions = inquiry.disks.get(uuid, ([], set()))
    generations = [lease["generation"] for leases in taken.values() for lease in leases if lease["name"] == name]
    case = Case(
        **inquiry.shared, name=name, uuid=uuid, legs=all_legs(name, entry.get("legs") or (), disks), host=entry.get("host") or "",
        start_from=entry.get("start_from") or "", pools=inquiry.pools_for(name, uuid), alive=inquiry.alive, deaf=inquiry.deaf,
        nodes={node: told if told.get("evidence") else None for node, told in known.items()},
        errors={node: str(told["msg"]) for node, told in known.items() if told.get("msg") and not told.get("evidence")},
        generation=max([generation, *generations]),
    )
    verdict = judge(case)
    try:
        attach = lacking(name, verdict.legs, disks, positions) if uuid in inquiry.disks else []
    except ValueError as error:
        verdict.reasons.append(str(error))
    if lost:
        verdict.reasons = [lost]
    return {
        "name": name, "failed": bool(verdict.reasons),
        "msg": f"{name} must not be started. {' '.join(verdict.reasons)}" if verdict.reasons else "",
        "guard": {"allowed": not verdict.reasons, "uuid": uuid, **asdict(verdict), "attach": [] if verdict.reasons else attach,
                  "detach": [disk for disk in disks if disk["path"] in verdict.leave_out]},
    }


def all_legs(name: str, known: Sequence[Record], disks: Iterable[Record]) -> list[Record]:
    """The legs that nodes have, and those that only the pool knows."""
    found = list(known)
    for disk in disks:
        place = from_path(disk["path"])
        if place and disk["path"] not in [leg["path"] for leg in found]:
            node, leg = place
            called = [other["disk"] for other in known if other["name"] == leg]
            found.append({"disk": called[0] if called else disk_name(name, leg), "name": leg, "node": node, "path": disk["path"]})
    return found


def following(
    inquiry: Inquiry, entries: Sequence[Record], decided: Sequence[Record], taken: bool, pretend: bool = False
) -> dict[str, Any]:
    """What is to be done with the guests that may be started: their leases, and how they are started. See module guest_guard.

    `pretend`: in check mode, the pool is not told that their hosts are dead.
    """
    leases: dict[str, list[dict[str, Any]]] = {}
    start: dict[str, list[Any]] = {"reset": [], "attach": [], "detach": [], "waves": []}
    ready = [(entry, guest["guard"]) for entry, guest in zip(entries, decided, strict=True) if not guest["failed"]]
    for entry, guard in ready:
        names = list(dict.fromkeys(leg["name"] for leg in guard["legs"]))
        for node, seen in guard["seen"].items():
            # A half that the guest is going to see alone has all that there is.
            synced = node in guard["sole" if taken else "complete"]
            leases.setdefault(node, []).append({
                "name": entry["name"], "uuid": guard["uuid"], "legs": names, "seen": seen, "generation": guard["generation"],
                "without": guard["without"], "synced": synced, "host": entry.get("host") or ""})
        start["reset"] += [{"name": guard["uuid"]}] if guard["reset"] else []
        for kind in ("attach", "detach"):
            start[kind] += [{**disk, "vm": guard["uuid"]} for disk in guard[kind]]
    hosts = inquiry.shared.get("hosts") or {}

    def order(pair: tuple[Record, Record]) -> int:
        return pair[0].get("order") or 0

    def power(entry: Record, guard: Record) -> dict[str, Any]:
        host = {"host": hosts.get(entry["host"], entry["host"])} if entry.get("host") else {}
        return {"name": guard["uuid"], **host, **({"assume_dead": True} if pretend and guard["reset"] else {})}

    start["waves"] = [[power(*pair) for pair in wave] for _order, wave in groupby(sorted(ready, key=order), key=order)]
    return {"leases": leases, "start": start}
