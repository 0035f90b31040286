# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes hold a current half of which disk, and which halves a guest goes on without. Plain functions on plain data.

They take disks as status.py tells them. Whatever is not known to be current is not.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# What a running guest says of a half that does not have its latest writes.
BEHIND = ("missing", "faulty", "resyncing")


def holders(disk: Mapping[str, Any]) -> list[str]:
    """Nodes whose halves have all that was written to a disk.

    If the guest runs, it says so itself. Else the leases do: complete when it was last seen, and no start missed since.
    """
    newest = (disk["lease"] or {}).get("generation", 0)
    return [leg["node"] for leg in disk["legs"]
            if leg["state"] == "complete" or (leg["state"] == "idle" and _trusted(leg, newest))]


def last_on(disks: Iterable[Mapping[str, Any]], node: str) -> list[dict[str, Any]]:
    """Disks that would lose their last half that is known to be current if a node went: {pool, guest, disk, why}.

    Those of which nothing is known are among them.
    """
    found = []
    for disk in disks:
        if node not in [leg["node"] for leg in disk["legs"]] or set(holders(disk)) - {node}:
            continue
        why = "it has the only current half" if node in holders(disk) else f"no half is known to be current ({disk['words']})"
        found.append({"pool": disk["pool"], "guest": disk["guest"], "disk": disk["disk"], "why": why})
    return found


def behind(disks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Guests that run without a half that its node still has, as they say themselves: {pool, guest, nodes}."""
    found: dict[tuple[str, str], set[str]] = {}
    for disk in disks:
        if any(leg["state"] == "complete" for leg in disk["legs"]):
            nodes = {leg["node"] for leg in disk["legs"] if leg["state"] in BEHIND and leg["exists"]}
            if nodes:
                found.setdefault((disk["pool"], disk["guest"]), set()).update(nodes)
    return [{"pool": pool, "guest": guest, "nodes": sorted(nodes)} for (pool, guest), nodes in sorted(found.items())]


def _trusted(leg: Mapping[str, Any], newest: int) -> bool:
    lease = leg["lease"] or {}
    return bool(lease.get("synced")) and lease["generation"] == newest and leg["node"] not in lease.get("without", {})
