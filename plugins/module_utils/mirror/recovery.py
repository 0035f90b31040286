# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which guests of a dead node have to be started elsewhere. Plain functions on plain data."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Record = Mapping[str, Any]


def identity(legs: Iterable[Record]) -> dict[str, str]:
    """The uuids that the legs of guests are tagged with, by the guest's name; "" where there is none, or not only one."""
    found: dict[str, set[str]] = {}
    for leg in legs:
        found.setdefault(leg["guest"], set()).update({leg.get("uuid", "")} - {""})
    return {guest: next(iter(uuids)) if len(uuids) == 1 else "" for guest, uuids in found.items()}


def machine(vms: Iterable[Record], name: str, uuid: str) -> list[Record]:
    """The guests of a pool that are called so; if a uuid is known, the one that has it."""
    return [vm for vm in vms if (vm["uuid"] == uuid if uuid else vm["name"] == name)]


def machines(legs: Iterable[Record], vms: Iterable[Record]) -> dict[str, Record]:
    """The guests that legs belong to, by the name that the legs have; where namesakes cannot be told apart, one that runs."""
    known = list(vms)
    found = {guest: machine(known, guest, uuid) for guest, uuid in identity(legs).items()}
    return {guest: max(own, key=lambda vm: vm["power_state"] == "running") for guest, own in found.items() if own}


def recovery(
    legs: Iterable[Record], vms: Iterable[Record], node: str, host: str = "", described: Iterable[Record] = (), only: Iterable[str] = (),
) -> dict[str, Any]:
    """What is to be done for the guests of a dead node.

    `legs`: those of all nodes that answer. `vms`: what the pool has. `host`: what it calls the node. `described`: guests of the
    inventory in the order in which they start, each with name, and order and host (its own name there) if they are said.
    `only`: names or uuids; if empty, all.

    `guests`: to start, each with name, inside (its own name in the inventory), disks (names), and start: name, uuid, order and host
    (where). They are those that the pool believes to be running on the node, and those that an earlier run has begun with and that are
    halted: the pool does not call them running any more. `done`: those that it has begun with and that run, as guest_lease is
    told by node: only the lease does not say so yet. `others`: names of what ran on the node and is not mirrored. `unknown`:
    what `only` names and is no mirrored guest.
    """
    legs, vms, wanted = list(legs), list(vms), set(only)
    uuids = identity(legs)
    found: dict[str, Any] = {"guests": [], "done": {}, "others": [], "unknown": []}
    mirrored = set()
    told = {guest["name"]: guest for guest in described}
    waves = {name: guest.get("order") or 0 for name, guest in told.items()}
    ranks = {name: rank for rank, name in enumerate(told)}
    for guest in sorted(uuids, key=lambda name: (waves.get(name, 0), ranks.get(name, len(ranks)), name)):
        known = machine(vms, guest, uuids[guest])
        mirrored |= {vm["uuid"] for vm in known}
        if wanted and not wanted & {guest, uuids[guest], *(vm["uuid"] for vm in known)}:
            continue
        own = [leg for leg in legs if leg["guest"] == guest]
        begun = [leg["lease"] for leg in own if leg["lease"] and _begun(leg["lease"], node)]
        resident = any(vm["host"] == (host or node) for vm in known)
        if resident or (begun and any(vm["power_state"] == "halted" for vm in known)):
            elsewhere = [leg["node"] for leg in own if leg["node"] != node]
            found["guests"].append({
                "name": guest, "inside": told.get(guest, {}).get("host") or guest, "disks": sorted({leg["disk"] for leg in own}),
                "start": {"name": guest, "uuid": uuids[guest], "order": int(waves.get(guest, 0)), "host": next(iter(elsewhere), "")}})
        elif begun and any(vm["power_state"] == "running" for vm in known):
            for leg in own:
                if leg["lease"] in begun:
                    found["done"].setdefault(leg["node"], []).append({
                        "name": guest, "legs": sorted({each["name"] for each in own}), "owner": leg["lease"]["owner"],
                        "generation": leg["lease"]["generation"]})
    found["others"] = sorted(vm["name"] for vm in vms if vm["host"] == (host or node) and vm["uuid"] not in mirrored)
    found["unknown"] = sorted(wanted - set(uuids) - set(uuids.values()) - mirrored)
    return found


def _begun(lease: Record, node: str) -> bool:
    """Whether the guest was to be started because that node was dead, and nobody knows that it was."""
    return bool(lease.get("recovering") == node or (lease["state"] == "starting" and node in lease["assumed_dead"]))
