# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirrored guests as module vm wants them, and which device each leg is inside of them. Plain functions on plain data."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import CONFIG_DRIVE, device, positions
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.recovery import identity, machine

Record = dict[str, Any]


def guest_plans(
    guests: Iterable[Mapping[str, Any]], legs: Iterable[Mapping[str, Any]], vms: Iterable[Mapping[str, Any]],
    vdis: Mapping[str, str], defaults: Mapping[str, Any],
) -> list[Record]:
    """What each described guest is to be: {name, uuid, ref, host, home, power, start, untagged, missing, vm, mirrors}.

    `legs`: leg records, home first. `vms`: those of module vm_info. `vdis`: uuids of legs' VDIs by path. `home` is the node of its
    first leg, "" if a leg is not known now; `start` is an entry for role mirror_guard; `power` and `uuid` are "" for a guest
    that is not there; `ref` is what modules are told: its name, or the uuid that its legs are tagged with where the pool has
    others of that name; `untagged` are {node, guest} for nodes on which a leg does not have the uuid yet, `guest` being an
    entry for guest_lease; `missing` lists paths of legs that have no VDI yet; `vm` is an entry for module vm. Each of `mirrors`
    is {name, devices, nodes, far, filesystem, mount}. No user data are in it: loops go over it, and show it. Raises ValueError.
    """
    known, there = list(legs), list(vms)
    uuids = identity(known)
    found = {guest["name"]: machine(there, guest["name"], uuids.get(guest["name"], "")) for guest in guests}
    names = [vm["name"] for vm in there]
    return [_plan(guest, known, found[guest["name"]], vdis, defaults, names.count(guest["name"]) > 1) for guest in guests]


def _plan(
    guest: Mapping[str, Any], legs: list[Mapping[str, Any]], found: list[Mapping[str, Any]], vdis: Mapping[str, str],
    defaults: Mapping[str, Any], namesakes: bool,
) -> Record:
    vm = found[0] if found else None
    name, uuid = guest["name"], str(found[0]["uuid"]) if len(found) == 1 else ""
    ref = uuid if namesakes and uuid else name
    options = {**defaults, **(guest.get("vm") or {})}
    if options.get("auto_poweron"):
        raise ValueError(f"Guest {name} is mirrored: it must not start by itself, as nobody would prove that it runs nowhere else.")
    own = [[leg for leg in legs if leg["guest"] == name and leg["disk"] == disk["name"]] for disk in guest["disks"]]
    paths = [leg["path"] for pair in own for leg in pair]
    missing = [path for path in paths if path not in vdis]
    at = _positions(name, paths, vm, vdis, options)
    disks = [{"device": at[path], "vdi": vdis[path], "mode": "rw"} for path in paths if path in vdis]
    mirrors = [
        {
            "name": disk["name"], "devices": [device(at[leg["path"]]) for leg in pair], "nodes": [leg["node"] for leg in pair],
            "far": [device(at[leg["path"]]) for leg in pair[1:]], "filesystem": disk.get("filesystem") or "",
            "mount": disk.get("mount") or "",
        }
        for disk, pair in zip(guest["disks"], own, strict=True)
    ]
    return {
        "name": name, "host": guest.get("host") or name, "home": own[0][0]["node"] if all(len(pair) == 2 for pair in own) else "",
        "power": vm["power_state"] if vm else "", "uuid": uuid, "ref": ref,
        "start": {"name": name, "uuid": uuid, "host": own[0][0]["node"] if own and own[0] else "", "order": int(guest.get("order") or 0)},
        "untagged": [{"node": node, "guest": {"name": name, "uuid": uuid}}
                     for node in sorted({leg["node"] for pair in own for leg in pair if not leg.get("uuid")}) if uuid],
        "missing": missing, "mirrors": mirrors,
        "vm": {**options, "name": ref, "auto_poweron": False, "disks": [*(options.get("disks") or []), *disks]},
    }


def _positions(
    name: str, paths: list[str], vm: Mapping[str, Any] | None, vdis: Mapping[str, str], options: Mapping[str, Any]
) -> dict[str, int]:
    """Where each leg is or will be, by path."""
    known = {path for path in paths if vdis.get(path)}
    held = {disk["vdi"]: disk["device"] for disk in vm["disks"] if disk["vdi"]} if vm else {}
    attached = {path: int(held[vdis[path]]) for path in known if vdis[path] in held}
    described = (disk["device"] for disk in options.get("disks") or () if disk.get("device") is not None)
    return positions(name, paths, attached, [CONFIG_DRIVE, *held.values(), *described])


def problems(
    plans: Iterable[Mapping[str, Any]], vms: Iterable[Mapping[str, Any]], vdis: Mapping[str, str], running: Iterable[str]
) -> list[str]:
    """What guests lack of their plans, in sentences. `running`: names of those that have to run; the rest is as in `guest_plans`."""
    by_uuid: dict[str, list[Mapping[str, Any]]] = {}
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for vm in vms:
        by_uuid.setdefault(vm["uuid"], []).append(vm)
        by_name.setdefault(vm["name"], []).append(vm)
    up, paths, found = set(running), {vdi: path for path, vdi in vdis.items()}, []
    for plan in plans:
        name = plan["name"]
        own = by_uuid.get(plan["uuid"], []) if plan["uuid"] else by_name.get(name, [])
        if len(own) != 1:
            found.append(f"There are {len(own)} guests {name}." if own else f"Guest {name} is not there.")
            continue
        vm = own[0]
        if vm["auto_poweron"]:
            found.append(f"Guest {name} starts by itself (auto_poweron), though nobody would prove that it runs nowhere else.")
        if name in up and vm["power_state"] != "running":
            found.append(f"Guest {name} is {vm['power_state']}.")
        there = {disk["vdi"] for disk in vm["disks"]}
        gone = [paths[disk["vdi"]] for disk in plan["vm"]["disks"] if disk.get("vdi") in paths and disk["vdi"] not in there]
        if gone:
            found.append(f"Guest {name} is without {', '.join(gone)}, which was older than the other leg or not there when the guest was "
                         "started. Playbook nobloat.xen.node_return, for the leg's node, gives it the leg again.")
    return found
