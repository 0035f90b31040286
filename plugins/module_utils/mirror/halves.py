# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which halves of mirrors are proven to have all data, and so which nodes can be done without. Plain functions on plain data.

It fails closed: of a half that cannot be looked at, or of a guest that cannot be asked, nothing is known, so that any other half
may be the last one.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.guard import misses

Leg = Mapping[str, Any]
# What a running guest says of a half that does not have its latest writes.
BEHIND = ("missing", "faulty", "resyncing")
# What is wrong with a half of a guest that runs, by the state of the leg.
WORDS = {
    "resyncing": "is still being copied to", "missing": "is not in the mirror", "faulty": "has failed",
    "unreachable": "cannot be looked at, as that node does not answer", "unknown": "cannot be looked at from inside of the guest",
}


def doubt(leg: Leg, disk: Mapping[str, Any]) -> str:
    """Why a half may lack data that another one of its disk has, in words; "" if it is proven to have all.

    If the guest runs, it says so itself; else the superblocks do, and the lease, which has what a human decided.
    """
    if leg["exists"] is None:
        return WORDS["unreachable"]
    if (leg["lease"] or {}).get("state") == "restoring":
        return "is being restored"
    if disk["power"] != "running":
        if leg["node"] in (disk["lease"] or {}).get("without", ()):
            return "was left out when the guest was started last"
        return _doubt_by_superblock(leg, [other for other in disk["legs"] if other is not leg])
    if leg["state"] != "complete":
        return WORDS.get(leg["state"], WORDS["unknown"])
    return "is being made the same as the other one" if disk["resync"] else ""


def _doubt_by_superblock(leg: Leg, others: Iterable[Leg]) -> str:
    """Of a guest that does not run: what its halves say of each other."""
    half = leg["half"]
    if not half:
        return "has no superblock that can be read: the guest was never started, or the half is being restored"
    if half["incomplete"]:
        return "was being copied to, or lacks blocks"
    for other in others:
        its = other["half"]
        if not its:
            # One that was the last one of its mirror was written to after all others.
            if half["members"].count("A") != 1:
                return f"may be older than the one on {other['node']}, which cannot be looked at"
        elif its["uuid"] != half["uuid"]:
            return f"belongs to another mirror than the one on {other['node']}"
        # Counts that differ by one are the same: the power went while superblocks were written.
        elif misses(its, half) or its["events"] > half["events"] + 1:
            return f"is older than the one on {other['node']}"
    return ""


def last_on(disks: Iterable[Mapping[str, Any]], node: str) -> list[dict[str, Any]]:
    """Disks that would lose their last half that is proven to have all data if a node went: {pool, guest, disk, why}.

    Those of which nothing is known are among them.
    """
    found = []
    for disk in disks:
        others = [leg for leg in disk["legs"] if leg["node"] != node]
        if len(others) == len(disk["legs"]) or any(not leg["doubt"] for leg in others):
            continue
        why = ", and ".join(f"that on {leg['node']} {leg['doubt']}" for leg in others) or "no node that answers has another half"
        found.append({"pool": disk["pool"], "guest": disk["guest"], "disk": disk["disk"], "why": why})
    return found


def missing(mirrors: Iterable[Mapping[str, Any]], arrays: Iterable[Mapping[str, Any]]) -> list[str]:
    """Nodes whose halves a guest does without, as it says itself (`arrays`). Nothing is known of an array that is not there.

    `mirrors`: {name, or disk if that is another, devices, nodes}, the two in the same order.
    """
    wanted = [(mirror.get("disk") or mirror["name"], mirror["devices"], mirror["nodes"]) for mirror in mirrors]
    found = {array["name"]: {member["device"] for member in array["members"]
                             if member["state"] == "active" and not member.get("bad_blocks")} for array in arrays}
    return sorted({node for name, devices, nodes in wanted if found.get(name)
                   for device, node in zip(devices, nodes, strict=True) if device not in found[name]})


def behind(disks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Guests that run without a half that its node still has, as they say themselves: {pool, guest, nodes}."""
    found: dict[tuple[str, str], set[str]] = {}
    for disk in disks:
        if any(leg["state"] == "complete" for leg in disk["legs"]):
            nodes = {leg["node"] for leg in disk["legs"] if leg["state"] in BEHIND and leg["exists"]}
            if nodes:
                found.setdefault((disk["pool"], disk["guest"]), set()).update(nodes)
    return [{"pool": pool, "guest": guest, "nodes": sorted(nodes)} for (pool, guest), nodes in sorted(found.items())]


def legs_on(found: Mapping[str, Any], node: str) -> list[str]:
    """The names of the legs that a node has."""
    return sorted(leg["name"] for disk in found["disks"] for leg in disk["legs"] if leg["node"] == node)


def lacking(found: Mapping[str, Any]) -> list[str]:
    """What keeps the mirrors from being whole: nodes that do not answer or export, and halves that may lack data."""
    reasons = [f"{node['name']} does not answer" for node in found["nodes"] if not node["reachable"]]
    reasons += [f"{node['name']}: {trouble}" for node in found["nodes"] for trouble in node["troubles"]]
    for disk in found["disks"]:
        title = f"{disk['guest']}, disk {disk['disk']}"
        reasons += [f"{title}: the half on {leg['node']} {leg['doubt']}" for leg in disk["legs"] if leg["doubt"]]
        if len(disk["legs"]) < 2:
            reasons.append(f"{title}: no node that answers has another half than the one on {disk['legs'][0]['node']}")
    return reasons
