# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done to let a mirrored disk grow, or to have a leg on another node. Plain functions on plain data.

What is returned is where things have to get, not what is left to do, so that a run that was broken off is finished by the next.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import KEPT, device, positions
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.placement import node_facts, place
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.recovery import identity, machine, machines
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_bytes, to_text

Record = dict[str, Any]


def facts(
    nodes: Mapping[str, Mapping[str, Any]], *, vg: str = "vg0", vgs: Mapping[str, str] | None = None,
    failure_domains: Mapping[str, str] | None = None, stripes: int = 0,
) -> dict[str, Record]:
    """The nodes of a pool as `place` wants them, from results of module mirror_info (empty for those that do not answer)."""
    return {
        name: node_facts(info, vg=(vgs or {}).get(name) or vg, stripes=stripes, failure_domain=(failure_domains or {}).get(name) or "")
        for name, info in nodes.items()
    }


def _legs(legs: Iterable[Mapping[str, Any]], guest: str, disk: str | None) -> dict[str, list[Record]]:
    """The legs of a guest's disks (of one, if it is named), by disk. Raises ValueError if there are none."""
    own = [dict(leg) for leg in legs if leg["guest"] == guest]
    if not own:
        raise ValueError(f"No node that answers has a leg of a guest {guest}.")
    restoring = [leg["node"] for leg in own if leg["lease"] and leg["lease"]["state"] == "restoring"]
    if restoring:
        raise ValueError(f"A restore of a disk of {guest} has not ended (lease on {', '.join(restoring)}). Wait for it, or run it again "
                         "(playbook nobloat.xen.restore). Nothing was changed.")
    disks = sorted({leg["disk"] for leg in own})
    if disk and disk not in disks:
        raise ValueError(f"Guest {guest} has no mirrored disk {disk}; it has {', '.join(disks)}.")
    return {name: [leg for leg in own if leg["disk"] == name] for name in disks if not disk or name == disk}


def growth(
    legs: Iterable[Mapping[str, Any]], nodes: Mapping[str, Mapping[str, Any]], guest: str, disk: str | None, size: str | int
) -> list[Record]:
    """The two legs of a disk with the size that they have to get. Raises ValueError for what must not be begun."""
    found = _legs(legs, guest, disk)
    if len(found) > 1:
        raise ValueError(f"Guest {guest} has several mirrored disks, {', '.join(found)}: say which one (disk).")
    ((name, halves),) = found.items()
    where = [leg["node"] for leg in halves]
    if len(halves) < 2:
        raise ValueError(f"{guest}-{name} has its only leg that can be seen on {where[0]}. Bring the other one back first "
                         "(playbook nobloat.xen.node_return).")
    if len(halves) > 2:
        raise ValueError(f"{guest}-{name} has legs on {', '.join(where)}. Finish its move first (playbook nobloat.xen.guest_move).")
    wanted = to_bytes(size)
    if wanted <= 0:
        raise ValueError(f"'{size}' is no size; write it as 20GiB.")
    unit = math.lcm(*(int(nodes[node].get("unit") or 1) for node in where))
    rounded = -(-wanted // unit) * unit
    largest = max(leg["size"] for leg in halves)
    if rounded < largest:
        raise ValueError(f"{guest}-{name} has {to_text(largest)} already; it cannot shrink to {to_text(wanted)}.")
    for leg in halves:
        free = int(nodes[leg["node"]].get("free") or 0)
        if rounded - leg["size"] > free:
            raise ValueError(f"{leg['node']} has {to_text(free)} left in {leg['vg']}, and {to_text(rounded - leg['size'])} are needed "
                             f"for {guest}-{name} to grow to {to_text(rounded)}. Nothing was changed.")
    return [{**leg, "size": rounded} for leg in halves]


def moves(
    legs: Iterable[Mapping[str, Any]], nodes: Mapping[str, Mapping[str, Any]], guests: Iterable[Mapping[str, Any]], source: str, *,
    to: str | None = None, guest: str | None = None, disk: str | None = None, iqn_prefix: str, kept: Iterable[str] = (),
) -> list[Record]:
    """The disks that leave a node, and where to: {guest, disk, name, from, old (the leg that goes), legs (the two to be)}.

    Without `guest`, all that are on the node. Without `to`, where there is room. `nodes` as for `place`. `kept`: names of volumes on
    the node that old legs must not be renamed to. Raises ValueError for what must not be begun.
    """
    there = [dict(leg) for leg in legs]
    described = {each["name"]: each for each in guests}
    for node in filter(None, [source, to]):
        if node not in nodes:
            raise ValueError(f"There is no node {node} in this pool; there are {', '.join(sorted(nodes)) or 'none'}.")
    if to == source:
        raise ValueError(f"From {source} to {to} is no move.")
    if to and not nodes[to]["up"]:
        raise ValueError(f"{to} does not answer. Nothing was changed.")
    own = [leg for name in ([guest] if guest else sorted({leg["guest"] for leg in there}))
           for disk_legs in _legs(there, name, disk).values() for leg in disk_legs]
    going = {leg["name"]: leg for leg in own if leg["node"] == source}
    if not going:
        _check_done(own, guest, to, source)
        return []
    for name in going:
        if KEPT + name in kept:
            raise ValueError(f"{source} still has {KEPT}{name} of an earlier move. Remove it first, or use remove_old=true, which keeps "
                             "no copy this time.")
    staying = [leg for leg in there if not (leg["node"] == source and leg["name"] in going)]
    # A leg on a node that does not answer is seen by the guest, which is asked before anything is done.
    others = {name: node for name, node in nodes.items() if name != source and node["up"]}
    wanted = [_wanted(name, [leg for leg in going.values() if leg["guest"] == name], staying, described.get(name, {}), source, to)
              for name in sorted({leg["guest"] for leg in going.values()})]
    for each in wanted:
        if "nodes" in each:
            each["nodes"] = [name for name in each["nodes"] if name in others]
    placed, _remarks = place(wanted, staying, others, iqn_prefix)
    found = []
    for name, old in sorted(going.items()):
        slots = {leg["node"]: leg["slot"] for leg in staying if leg["name"] == name}
        halves = [{**leg, "slot": slots.get(leg["node"], old["slot"])} for leg in placed if leg["name"] == name]
        found.append({"guest": old["guest"], "disk": old["disk"], "name": name, "from": source, "old": old, "legs": halves})
    return found


def _check_done(own: list[Record], guest: str | None, to: str | None, source: str) -> None:
    """A move of which nothing is left on the node that it started from has to have arrived."""
    for leg in own if guest and to else ():
        nodes = sorted(other["node"] for other in own if other["name"] == leg["name"])
        if to not in nodes:
            raise ValueError(f"{leg['name']} has no leg on {source}; its legs are on {', '.join(nodes)}.")


def _wanted(
    guest: str, going: list[Record], staying: list[Record], described: Mapping[str, Any], source: str, to: str | None
) -> Record:
    """A guest as `place` wants it, with the disks that move, as large as they are."""
    kept = [leg for leg in staying if leg["name"] in {each["name"] for each in going}]
    for leg in going:
        partners = [other["node"] for other in kept if other["name"] == leg["name"]]
        if not partners:
            raise ValueError(f"{leg['name']} has its only leg that can be seen on {source}: there is nothing to mirror it with. "
                             "Bring the other one back first (playbook nobloat.xen.node_return).")
        if partners == [to]:
            raise ValueError(f"{leg['name']} has its other leg on {to}. The two legs of a mirror need two different nodes.")
        if len(partners) > 2 or (to and len(partners) == 2 and to not in partners):
            raise ValueError(f"{leg['name']} has legs on {', '.join(sorted([*partners, source]))}. Finish its other move first.")
    pins = described.get("nodes")
    if described.get("home") == source:
        raise ValueError(f"Guest {guest} has its home on {source}, by the inventory. Change that first.")
    if to and pins and to not in pins:
        raise ValueError(f"Guest {guest} is to have its legs on {', '.join(pins)} only, by the inventory. Change that first.")
    allowed = [node for node in pins or () if node != source]
    if to:
        allowed = sorted({to, *(leg["node"] for leg in kept)})
    disks = [{"name": leg["disk"], "size": max(each["size"] for each in [leg, *kept] if each["name"] == leg["name"])} for leg in going]
    return {"name": guest, "disks": disks, **({"nodes": allowed} if allowed else {})}


def returning(
    legs: Iterable[Mapping[str, Any]], vms: Iterable[Mapping[str, Any]], node: str, found: Mapping[str, Any] | None = None
) -> list[Record]:
    """The disks of guests that run with a leg on a node that is back: {guest, disk, name, legs}. `vms` as from module vm_info.

    With `found`, the result of `status`, also those with halves that may lack data, wherever they are. In the order of the halves that
    guests have left: freed positions are given back to those that had them.
    """
    doubtful = {(disk["guest"], disk["disk"]) for disk in (found or {}).get("disks", ()) if any(leg["doubt"] for leg in disk["legs"])}
    known = list(legs)
    running = {guest: {str(disk["name"]): int(disk["device"]) for disk in vm["disks"]}
               for guest, vm in machines(known, vms).items() if vm["power_state"] == "running"}
    disks: dict[tuple[str, str], list[Record]] = {}
    for leg in known:
        if leg["guest"] in running:
            disks.setdefault((leg["guest"], leg["disk"]), []).append(dict(leg))
    picked = [
        {"guest": guest, "disk": disk, "name": own[0]["name"], "legs": own}
        for (guest, disk), own in disks.items()
        if (guest, disk) in doubtful or any(leg["node"] == node for leg in own)
    ]

    def place(disk: Record) -> tuple[str, int]:
        there = running[disk["guest"]]
        return disk["guest"], min((there[leg["vdi"]] for leg in disk["legs"] if leg["vdi"] in there), default=99)

    return sorted(picked, key=place)


def devices(
    disks: Iterable[Mapping[str, Any]], vms: Iterable[Mapping[str, Any]], hosts: Mapping[str, str] | None = None
) -> list[Record]:
    """Disks of guests ({guest, name, legs}) with what their legs are in the guests.

    Adds `ref` (what modules are told: the guest's name, or its uuid where others have that name), `devices` (paths, in the order of
    legs) and their `nodes`, `far` (those of other nodes than that of the guest, if it has one at hand), `plug` (legs that the guest
    does not have yet: {vm, vdi, sr, position}), and `old_vdi`, if the old leg of a move is still plugged.
    `vms` as from module vm_info; `hosts`: node by name of the host. Raises ValueError for guests that cannot be changed.
    """
    known, wanted = list(vms), list(disks)
    uuids = identity(leg for disk in wanted for leg in disk["legs"])
    taken: dict[str, set[int]] = {}
    found = []
    for disk in wanted:
        vm = next(iter(machine(known, disk["guest"], uuids[disk["guest"]])), None)
        if vm is None or vm["power_state"] != "running":
            raise ValueError(f"Guest {disk['guest']} does not run, and only it can change its mirrors. Start it first.")
        there = {str(each["name"]): int(each["device"]) for each in vm["disks"]}
        places = positions(disk["guest"], [leg["vdi"] for leg in disk["legs"]], there, taken.setdefault(
            disk["guest"], {int(each["device"]) for each in vm["disks"]}))
        taken[disk["guest"]].update(places.values())
        ref = disk["guest"] if [each for each in known if each["name"] == disk["guest"]] == [vm] else vm["uuid"]
        paths = {leg["node"]: device(places[leg["vdi"]]) for leg in disk["legs"]}
        plug = [{"vdi": leg["vdi"], "sr": leg["sr"], "position": places[leg["vdi"]], "vm": ref}
                for leg in disk["legs"] if leg["vdi"] not in there]
        at = (hosts or {}).get(vm["host"], vm["host"])
        old = (disk.get("old") or {}).get("vdi", "")
        found.append({**disk, "ref": ref, "devices": list(paths.values()), "nodes": list(paths), "plug": plug,
                      "old_vdi": old if old in there else "",
                      "far": [path for node, path in paths.items() if node != at] if at in paths else [], "size": disk["legs"][0]["size"]})
    return found
