# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which legs are backed up, and where. Plain functions on plain data."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


def backup_legs(legs: Iterable[Mapping[str, Any]], running: Mapping[str, str], hosts: Mapping[str, str],
                guests: Iterable[str] = (), disks: Iterable[str] = ()) -> list[dict[str, Any]]:
    """All legs as {guest, disk, name, vg, node, halves, state, host}; `state` is present for one leg of each chosen disk.

    All disks of a guest are backed up on one node, so that their backups lie together: not that where the guest runs
    (`running`: guest -> node), whose disks and NICs have the guest's own load; of several, the one with the fewest bytes to back up so
    far, and then the one that is least its home. `hosts` are the inventory names of guests that can be asked. `guests` and
    `disks` choose; empty ones choose all. Raises ValueError for names that nothing has.
    """
    legs, guests, disks = list(legs), set(guests), set(disks)
    missing = guests - {leg["guest"] for leg in legs} or disks - {leg["disk"] for leg in legs}
    if missing:
        raise ValueError(f"There are no legs of {', '.join(sorted(missing))}.")
    chosen = [leg for leg in legs if (not guests or leg["guest"] in guests) and (not disks or leg["disk"] in disks)]
    load: Counter[str] = Counter()
    places = {}
    for guest in dict.fromkeys(leg["guest"] for leg in chosen):
        own = [leg for leg in chosen if leg["guest"] == guest]
        order = list(dict.fromkeys(leg["node"] for leg in own))
        wanted = {leg["disk"] for leg in own}
        whole = [node for node in order if {leg["disk"] for leg in own if leg["node"] == node} == wanted]
        for disk in sorted(wanted):
            able = whole or [leg["node"] for leg in own if leg["disk"] == disk]
            node = min(able, key=lambda node: (node == running.get(guest), load[node], -order.index(node)))
            places[guest, disk] = node
            if whole:
                whole = [node]
            load[node] += next(leg["size"] for leg in own if (leg["disk"], leg["node"]) == (disk, node))
    found = []
    for leg in legs:
        entry = {key: leg[key] for key in ("guest", "disk", "name", "vg", "node")}
        entry["halves"] = [other["path"] for other in legs if (other["guest"], other["disk"]) == (leg["guest"], leg["disk"])]
        entry["state"] = "present" if places.get((leg["guest"], leg["disk"])) == leg["node"] else "clean"
        if leg["guest"] in hosts:
            entry["host"] = hosts[leg["guest"]]
        found.append(entry)
    return found
