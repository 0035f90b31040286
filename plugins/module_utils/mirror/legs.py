# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Legs of mirrored guests, as nodes have them. Plain functions on plain data."""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import (
    CHAP_PATH,
    CHAP_USER,
    IQN_PREFIX,
    PATHS,
    SR_HOST,
    iqn,
    is_leg,
    path,
    sr_name,
    tags,
    vdi_name,
)
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_text

CHAP = {"username": CHAP_USER, "path": CHAP_PATH}  # the secret that the roles make


def called(node: str, name: str) -> dict[str, str]:
    """What a leg is called elsewhere: its path on every node, and in the pool its VDI and the SR of that."""
    return {"path": path(node, name), "sr": sr_name(node), "vdi": vdi_name(node, name)}


def legs(nodes: Mapping[str, Mapping[str, Any]], iqn_prefix: str = IQN_PREFIX) -> list[dict[str, Any]]:
    """The legs in the results of mirror_info of some nodes, sorted by guest, disk and slot."""
    found = [_leg(node, volume, info, iqn_prefix)
             for node, info in nodes.items() if info for volume in info["legs"] if is_leg(volume)]
    return sorted(found, key=lambda leg: (
        leg["guest"], leg["disk"], leg["slot"] is None, leg["slot"] or 0, leg["node"]))


def _leg(node: str, volume: Mapping[str, Any], info: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    name, own = volume["name"], tags(volume)
    exports: Iterable[Mapping[str, Any]] = info["exports"]
    export = next((each for each in exports if each["name"] == name), None) or {}
    return {
        "guest": own["guest"], "disk": own["disk"], "slot": int(own["slot"]) if own.get("slot", "").isdigit() else None,
        "name": name, "node": node, "vg": volume["vg"], "size": volume["size"], **called(node, name),
        "lease": volume["lease"], "uuid": own.get("uuid", ""), "iqn": export.get("iqn") or iqn(node, name, prefix),
        "portals": list(export.get("portals", [])),
        "initiators": list(export.get("initiators", [])), "exists": True,
    }


def volumes(legs_of_all: Iterable[Mapping[str, Any]], nodes: Mapping[str, Mapping[str, Any]], node: str, stripes: int = 0,
            iqn_prefix: str = IQN_PREFIX, own: Iterable[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """What a node has to do for its legs: volumes to `make` and to `grow`, `exports`, names of those that are `secured` by our own
    secret (`chap`), and `troubles` of all nodes in words.

    `nodes` is what they say; `stripes` 0 stands for all disks of a volume group; `own` are the legs of the node, if they are
    not those of `legs_of_all`. The legs of a disk get the same size, also on volume groups whose extents or numbers of disks
    differ.
    """
    wanted = list(legs_of_all)
    if own is not None:
        mine = {leg["name"]: leg for leg in own}
        wanted = [mine.pop(leg["name"]) if leg["node"] == node else leg
                  for leg in wanted if leg["node"] != node or leg["name"] in mine] + list(mine.values())
    found: dict[str, Any] = {"make": [], "grow": [], "exports": [], "secured": [], "troubles": [], "chap": CHAP}
    needed: dict[tuple[str, str], int] = {}
    for leg in wanted:
        if sum((other["node"], other["name"]) == (leg["node"], leg["name"]) for other in wanted) > 1:
            found["troubles"].append(f"{leg['name']} is wanted more than once on {leg['node']}; its two legs need two nodes.")
        if leg["node"] == node:
            found["exports"].append({"name": leg["name"], "iqn": leg.get("iqn") or iqn(node, leg["name"], iqn_prefix),
                                     "device": f"/dev/{leg['vg']}/{leg['name']}"})
            if _secured(found["exports"][-1], node, nodes):
                found["secured"].append(leg["name"])
        info = nodes.get(leg["node"])
        if not info:
            if not leg["exists"]:
                found["troubles"].append(f"{leg['node']} does not answer, so {leg['name']} cannot be made there.")
            continue
        group = _group(leg, nodes)
        volume = next((each for each in info["legs"] if (each["vg"], each["name"]) == (leg["vg"], leg["name"])), None)
        size = _rounded(leg, [other for other in wanted if _disk(other) == _disk(leg)], nodes, stripes)
        if not group:
            found["troubles"].append(f"{leg['node']} has no volume group {leg['vg']} for {leg['name']}.")
        elif volume and (tags(volume).get("guest"), tags(volume).get("disk")) != _disk(leg):
            found["troubles"].append(f"{leg['node']} has a volume {leg['vg']}/{leg['name']} already that is no leg of the disk "
                                     f"{leg['disk']} of {leg['guest']}: it lacks the tags nobloat.guest and nobloat.disk.")
        elif stripes > group["pv_count"]:
            found["troubles"].append(f"{leg['node']} cannot make {stripes} stripes: {leg['vg']} has {group['pv_count']} disks.")
        elif not volume or volume["size"] < size:
            if volume and _restoring(leg["guest"], nodes):
                # Its superblocks lie where the end was, and a restore would not find them any more.
                found["troubles"].append(f"{leg['node']}/{leg['name']} cannot grow: a restore of a disk of {leg['guest']} has not ended. "
                                         "Wait for it, or run it again (playbook nobloat.xen.restore).")
                continue
            grown = size - (volume["size"] if volume else 0)
            needed[leg["node"], leg["vg"]] = needed.get((leg["node"], leg["vg"]), 0) + grown
            if leg["node"] == node:
                slot = leg.get("slot")
                slot = _slot(leg, wanted) if slot is None else slot
                found["grow" if volume else "make"].append({
                    "name": leg["name"], "vg": leg["vg"], "size": size, "stripes": stripes or group["pv_count"],
                    "guest": leg["guest"], "disk": leg["disk"], "slot": slot})
    for (where, name), size in sorted(needed.items()):
        group = next(each for each in nodes[where]["vgs"] if each["name"] == name)
        free = group["free_striped"] if stripes in (0, group["pv_count"]) else group["free"]
        if size > free:
            found["troubles"].append(f"{where} has too little free space: its legs need {size >> 20} MiB of {name}, and it has "
                                     f"{free >> 20} MiB for volumes with {stripes or group['pv_count']} stripes.")
    return found


def _secured(export: Mapping[str, Any], node: str, nodes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an export has the secret that the roles make, or, if it is not there yet, shall have it. Who is logged in to a lost export
    without one, or will be when it is back, could not log in again; a node that does not answer may be such a one."""
    here = nodes.get(node) or {}
    users = [each["chap_username"] for each in here.get("exports", []) if each["name"] == export["name"]] or [
        each["chap_username"] for info in nodes.values() if info for each in info.get("imports", []) if each["iqn"] == export["iqn"]]
    if not users and not all(nodes.values()):
        return all(volume["name"] != export["name"] for volume in here.get("legs", []))  # a leg that is new was never exported
    return all(user == CHAP_USER for user in users)


def imports(wanted: Iterable[Mapping[str, Any]], nodes: Mapping[str, Mapping[str, Any]], node: str) -> dict[str, Any]:
    """The legs of other nodes as `imports` of a node, and the names of those that nobody can import yet (`waiting`). In `logins` they are
    by node, and by whether the roles have made the secret (`chap`).

    Where to find a leg is what its node says; legs of nodes that do not answer stay as they are.
    """
    found: dict[str, Any] = {"imports": [], "waiting": [], "chap": CHAP}
    logins: dict[tuple[str, bool], list[Any]] = {}
    for leg in wanted:
        info = nodes.get(leg["node"])
        if leg["node"] == node or not info:
            continue
        export = next((each for each in info["exports"] if each["name"] == leg["name"] and each["enabled"]), None)
        if export:
            found["imports"].append({"iqn": export["iqn"], "portals": list(export["portals"]), "multipath": len(export["portals"]) > 1})
            logins.setdefault((leg["node"], export["chap_username"] == CHAP_USER), []).append(found["imports"][-1])
        else:
            found["waiting"].append(f"{leg['node']}/{leg['name']}")
    found["logins"] = [{"node": other, "secured": secured, "imports": each} for (other, secured), each in logins.items()]
    return found


def srs(
    wanted: Iterable[Mapping[str, Any]], *, sizes: bool = False, hosts: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The SRs that have legs as VDIs, as options of module sr. With `sizes`, each VDI has to have the size of its leg.

    `hosts`: what XAPI calls nodes, where that is another name. It is noted, so that who takes a host away knows what is lost.
    """
    found: dict[str, dict[str, Any]] = {}
    for leg in wanted:
        sr = found.setdefault(leg["node"], {
            "name": leg["sr"], "description": f"Legs of mirrored disks on {leg['node']}", "type": "udev", "shared": True,
            "device_config": {"location": f"{PATHS}/{leg['node']}"}, "vdis": [],
            "other_config": {SR_HOST: (hosts or {}).get(leg["node"]) or leg["node"]}})
        sr["vdis"].append({"location": leg["path"], "name": leg["vdi"], **({"size": to_text(leg["size"])} if sizes else {})})
    return [found[node] for node in sorted(found)]


def names(nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How what lies below /dev/mirror differs on nodes: a table as lines of text, nothing if it does not.

    Every node has to have each leg of the nodes that answer, with the size and the identity that it has where it lies.
    """
    nodes = {node: info for node, info in nodes.items() if info}
    seen = {node: {(name["node"], name["leg"]): name for name in info["names"]} for node, info in nodes.items()}
    real = {(leg["node"], leg["name"]): next(
        volume for volume in nodes[leg["node"]]["legs"] if (volume["vg"], volume["name"]) == (leg["vg"], leg["name"]))
        for leg in legs(nodes)}
    foreign = {key for node, found in seen.items() for key in found if key[0] in nodes and key[0] != node}
    rows = []
    for key in sorted(set(real) | foreign):
        leg = real.get(key)
        cells = [_cell(seen[node].get(key), leg) for node in nodes]
        if not leg or any(cells):
            rows.append([path(*key), _words(leg) if leg else f"{key[0]} has no such leg", *(cell or "the same" for cell in cells)])
    if not rows:
        return []
    table = [["name", "where it lies", *nodes], *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _cell(name: Mapping[str, Any] | None, leg: Mapping[str, Any] | None) -> str:
    """What is wrong with a name on a node, "" if nothing is."""
    if not name:
        return "missing" if leg else ""
    if name["size"] is None:
        return "leads nowhere"
    return "" if leg and (name["size"], name["identity"]) == (leg["size"], leg["identity"]) else _words(name)


def _words(found: Mapping[str, Any]) -> str:
    return f"{found['size']} bytes, {found['identity']}"


def _restoring(guest: str, nodes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a lease says that a disk of a guest is being restored, or was when that was broken off."""
    return any(volume["lease"] and volume["lease"]["state"] == "restoring" and tags(volume).get("guest") == guest
               for info in nodes.values() if info for volume in info["legs"])


def _disk(leg: Mapping[str, Any]) -> tuple[str, str]:
    return leg["guest"], leg["disk"]


def _slot(leg: Mapping[str, Any], wanted: Iterable[Mapping[str, Any]]) -> int:
    """The place of a leg among those of its disk."""
    return [other["node"] for other in wanted if _disk(other) == _disk(leg)].index(leg["node"])


def _group(leg: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    groups: Iterable[Mapping[str, Any]] = (nodes.get(leg["node"]) or {}).get("vgs", [])
    return next((group for group in groups if group["name"] == leg["vg"]), {})


def _rounded(leg: Mapping[str, Any], both: Iterable[Mapping[str, Any]], nodes: Mapping[str, Mapping[str, Any]], stripes: int) -> int:
    """The size of a leg in bytes, a whole number of stripes on the nodes of both."""
    groups = filter(None, (_group(each, nodes) for each in both))
    unit = math.lcm(*(group["extent_size"] * (stripes or group["pv_count"]) for group in groups))
    return -(-int(leg["size"]) // unit) * unit
