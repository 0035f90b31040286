# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How all mirrors of all pools are, from what nodes, pools and guests say. Plain functions on plain data.

A node that does not answer tells nothing, but its legs are known all the same: other nodes have names for them, and VMs have
disks on them.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.halves import behind, doubt, lacking, last_on
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import (
    device,
    disk_name,
    from_vdi,
    is_leg,
    leg_name,
    tags,
    vdi_name,
)
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.recovery import machines

# What is said of a leg and of a mirror: a sign that does not depend on colour, and words.
LEG_WORDS = {
    "complete": ("✓", "complete"),
    "resyncing": ("↻", "takes over data"),
    "missing": ("○", "not in the mirror"),
    "faulty": ("✕", "failed"),
    "unreachable": ("✕", "node does not answer"),
    "idle": ("■", "not in use"),
    "unknown": ("?", "unknown"),
}
# The worst first.
MIRROR_WORDS = {
    "alone": ("✕", "leg without partner"),
    "failed": ("✕", "no mirror in the guest"),
    "degraded": ("○", "degraded"),
    "unknown": ("?", "guest cannot be asked"),
    "resyncing": ("↻", "resyncing"),
    "stopped": ("■", "guest is stopped"),
    "healthy": ("✓", "healthy"),
}
# Whatever else is there, these need somebody.
TROUBLE = ("alone", "failed", "degraded", "unknown")
COLUMNS = ("guest", "disk", "size", "legs", "state", "runs on", "lease")
# Measures of the picture, in units of its viewBox.
GUTTER, BOX, LEG, ROW, HEAD, GAP = 150, 190, 166, 44, 48, 50


def status(
    nodes: Iterable[Mapping[str, Any]],
    vms: Iterable[Mapping[str, Any]] = (),
    guests: Mapping[str, Mapping[str, Any] | None] | None = None,
    time: float = 0,
) -> dict[str, Any]:
    """How the mirrors are, or were at the `time` (seconds since 1970) when all that was asked.

    `nodes`: {name, pool, host (its name in XAPI), info (result of module mirror_info; without legs, the node does not answer)}.
    `vms`: those of module vm_info, each with `pool`. `guests`: by pool/name of the VM, what mirror_info says inside of it; one
    that is not there could not be asked.
    """
    known = sorted(_answering(nodes), key=lambda node: (str(node.get("pool")), node["name"]))
    known_vms = _machines(known, vms)
    hosts = {(node.get("pool"), node.get("host") or node["name"]): node["name"] for node in known}
    disks = []
    for (pool, guest, disk), legs in sorted(_legs(known, known_vms).items(), key=lambda item: item[0]):
        vm = known_vms.get((pool, guest))
        asked = (guests or {}).get(f"{pool}/{guest}")
        disks.append(_disk(pool, guest, disk, legs, vm, asked, hosts))
    _share_leases(disks)
    for each in disks:
        for leg in each["legs"]:
            leg["doubt"] = doubt(leg, each)
    for each in disks:
        each.update(size_text=size_text(each["size"]), lease_text=lease_text(each["lease"]))
    order = list(MIRROR_WORDS)
    worst = min((disk["state"] for disk in disks), key=order.index, default="healthy")
    silent = [node["name"] for node in known if not node.get("info")]
    found: dict[str, Any] = {
        "healthy": worst in ("healthy", "stopped") and not silent,
        "worst": worst,
        "counts": {state: sum(disk["state"] == state for disk in disks) for state in order
                   if any(disk["state"] == state for disk in disks)},
        "nodes": [{
            "name": node["name"], "pool": node.get("pool"), "host": node.get("host") or node["name"], "reachable": bool(node.get("info")),
            "troubles": _troubles(node.get("info") or {}),
            "legs": sum(leg["node"] == node["name"] and bool(leg["exists"]) for disk in disks for leg in disk["legs"]),
            "runs": sorted({disk["guest"] for disk in disks if disk["runs_on"] == node["name"]}),
        } for node in known],
        "disks": disks,
        "last_on": {node["name"]: last_on(disks, node["name"]) for node in known},
        "behind": behind(disks),
        "wiping": [text for node in known for text in wiping(node["name"], (node.get("info") or {}).get("wipes", []))],
        "time": time,
    }
    found["lacking"] = lacking(found)
    found["summary"] = summary(found)
    found["table"] = table(disks)
    found["picture"] = picture(found["nodes"], disks)
    return found


def _answering(nodes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The nodes, without `info` where there is no answer in it, or the same machine has answered for two of them."""
    found: list[dict[str, Any]] = [{**node, "info": node.get("info") or {}} for node in nodes]
    boots = Counter(node["info"].get("boot_id") or node["name"] for node in found)
    for node in found:
        if "legs" not in node["info"] or boots[node["info"].get("boot_id") or node["name"]] > 1:
            node["info"] = None
    return list(found)


def _troubles(info: Mapping[str, Any]) -> list[str]:
    """What of a node's exports and imports is not at work, in words."""
    return [f"{export['name']} is not exported" for export in info.get("exports", ()) if export.get("saved") and not export["enabled"]] + [
        f"no session with {target['iqn']}" for target in info.get("imports", ())
        if not any(session["state"] == "LOGGED_IN" for session in target["sessions"])]


# ---- legs


def _machines(nodes: Iterable[Mapping[str, Any]], vms: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """{(pool, guest): VM}. Guests are called as their legs call them, which know them by uuid."""
    pools: dict[str, list[Mapping[str, Any]]] = {}
    for vm in vms:
        pools.setdefault(vm["pool"], []).append(vm)
    found: dict[tuple[str, str], Mapping[str, Any] | None] = {(pool, vm["name"]): vm for pool, there in pools.items() for vm in there}
    for pool, there in pools.items():
        legs = [tags(volume) for node in nodes if node.get("pool") == pool for volume in (node.get("info") or {}).get("legs", [])
                if is_leg(volume)]
        own = machines(legs, there)
        found.update(((pool, leg["guest"]), own.get(leg["guest"])) for leg in legs)
    return {name: vm for name, vm in found.items() if vm}


def _legs(
    nodes: list[Mapping[str, Any]], vms: Mapping[tuple[str, str], Mapping[str, Any]]
) -> dict[tuple[str, str, str], dict[str, dict[str, Any]]]:
    """{(pool, guest, disk): {node: leg}}. A leg of a node that does not answer has exists None."""
    found: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    whose: dict[tuple[str, str], tuple[str, str]] = {}  # (pool, name of the leg) -> guest, disk
    for node in nodes:
        info = node.get("info") or {}
        exports = {export["name"]: export for export in info.get("exports", [])}
        for volume in info.get("legs", []):
            if not is_leg(volume):
                continue
            pool, own = str(node.get("pool")), tags(volume)
            guest, disk = own["guest"], own["disk"]
            whose[pool, volume["name"]] = guest, disk
            export = exports.get(volume["name"], {})
            found.setdefault((pool, guest, disk), {})[node["name"]] = {
                "node": node["name"], "name": volume["name"], "exists": True, "size": volume["size"],
                "exported": bool(export.get("enabled")), "lease": volume["lease"], "half": volume.get("half"),
            }
    silent = {node["name"]: str(node.get("pool")) for node in nodes if not node.get("info")}
    hints = {(entry["node"], entry["leg"]) for node in nodes for entry in (node.get("info") or {}).get("names", [])}
    for (_pool, name), vm in vms.items():
        for disk in vm["disks"]:
            node_name, leg = from_vdi(str(disk["name"])) or ("", "")
            if leg.startswith(leg_name(name, "")) and node_name in silent:
                hints.add((node_name, leg))
                whose.setdefault((silent[node_name], leg), (name, disk_name(name, leg)))
    for node_name, leg in sorted(hints):
        if node_name in silent and (silent[node_name], leg) in whose:
            pool = silent[node_name]
            found.setdefault((pool, *whose[pool, leg]), {}).setdefault(node_name, {
                "node": node_name, "name": leg, "exists": None, "size": None, "exported": None, "lease": None, "half": None})
    return found


# ---- mirrors


def _disk(
    pool: str, guest: str, disk: str, legs: dict[str, dict[str, Any]], vm: Mapping[str, Any] | None,
    asked: Mapping[str, Any] | None, hosts: Mapping[tuple[Any, Any], str],
) -> dict[str, Any]:
    power = str(vm["power_state"]) if vm else "unknown"
    running = power == "running"
    array = next((each for each in (asked or {}).get("arrays", []) if each["name"] == disk), None) if running else None
    devices = {device(int(each["device"])): str(each["name"]) for each in (vm or {}).get("disks", [])}
    members = {devices[member["device"]]: member for member in (array or {}).get("members", []) if member["device"] in devices}
    progress = array["progress"] if array else None
    found = []
    for node, leg in sorted(legs.items()):
        member = members.get(vdi_name(node, leg["name"]))
        state = _leg_state(leg, member, array is not None, power)
        sign, words = LEG_WORDS[state]
        found.append({
            **leg, "state": state, "sign": sign, "words": words, "progress": progress if state == "resyncing" else None,
            "runs_here": bool(running and vm and hosts.get((pool, vm["host"])) == node),
        })
    state = _state(found, array, power, asked is not None)
    sign, words = MIRROR_WORDS[state]
    if vm is None:
        words = "no VM in the pool" if state == "stopped" else words
    busy = array["sync_action"] if array else "idle"
    return {
        "pool": pool, "guest": guest, "disk": disk, "state": state, "sign": sign, "trouble": state in TROUBLE,
        "words": words + (f", {busy} {progress:g} %" if progress is not None and busy not in ("recover", "resync") else
                          f" {progress:g} %" if progress is not None else ""),
        "resync": busy == "resync", "progress": progress, "power": power,
        "runs_on": hosts.get((pool, vm["host"]), vm["host"]) if vm and running else None,
        "size": array["size"] if array else next((leg["size"] for leg in found if leg["size"]), None),
        "legs": found,
        "lease": max((leg["lease"] for leg in found if leg["lease"]), key=lambda each: each["generation"], default=None),
    }


def _leg_state(leg: Mapping[str, Any], member: Mapping[str, Any] | None, array: bool, power: str) -> str:
    if member and member["state"] == "active":
        return "faulty" if member.get("bad_blocks") else "complete"
    if leg["exists"] is None:
        return "unreachable"
    if member:
        return "faulty" if member["state"] == "faulty" else "resyncing"
    if array:
        return "missing"
    return "unknown" if power == "running" else "idle"


def _state(legs: list[dict[str, Any]], array: Mapping[str, Any] | None, power: str, asked: bool) -> str:
    if len(legs) < 2:
        return "alone"
    if power != "running":
        return "stopped"
    if array is None:
        return "failed" if asked else "unknown"
    if any(leg["state"] == "resyncing" for leg in legs):
        return "resyncing"
    if array["degraded"] or sum(leg["state"] == "complete" for leg in legs) < 2:
        return "degraded"
    return "resyncing" if array["sync_action"] in ("resync", "recover") else "healthy"


def _share_leases(disks: list[dict[str, Any]]) -> None:
    """The lease is kept with the first disk of each node, and is that of the guest."""
    newest: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for disk in disks:
        for leg in disk["legs"]:
            for key in ((disk["pool"], disk["guest"]), (disk["pool"], disk["guest"], leg["node"])):
                if leg["lease"] and leg["lease"]["generation"] >= newest.get(key, leg["lease"])["generation"]:
                    newest[key] = leg["lease"]
    for disk in disks:
        disk["lease"] = newest.get((disk["pool"], disk["guest"]))
        for leg in disk["legs"]:
            leg["lease"] = newest.get((disk["pool"], disk["guest"], leg["node"]))


# ---- words


def size_text(size: int | None) -> str:
    """Bytes as a person reads them, rounded: 1.5 GiB."""
    if not size:
        return "?"
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"


def lease_text(found: Mapping[str, Any] | None) -> str:
    return f"{found['owner'] or 'nobody'}, {found['state']} ({found['generation']})" if found else "none"


def summary(found: Mapping[str, Any]) -> str:
    """One sentence."""
    count = len(found["disks"])
    parts = [f"{number} {MIRROR_WORDS[state][1]}" for state, number in found["counts"].items()]
    silent = [node["name"] for node in found["nodes"] if not node["reachable"]]
    text = f"{count} mirrored {'disk' if count == 1 else 'disks'}" + (f": {', '.join(parts)}" if parts else "")
    return text + (f". No answer from {', '.join(silent)}" if silent else "") + "."


def wiping(node: str, wipes: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a node zeroes: one sentence, and one for each problem."""
    todo = list(wipes)
    if not todo:
        return []
    size, done = sum(wipe["size"] for wipe in todo), sum(wipe["zeroed"] for wipe in todo)
    text = (f"{node} zeroes what removed legs have left, or room for new ones: {size_text(done) if done else '0 B'} of {size_text(size)} "
            f"({100 * done // size} %).")
    return [text, *(f"{node} cannot go on with {wipe['name']}: {wipe['problem']}" for wipe in todo if wipe["problem"])]


def row(disk: Mapping[str, Any]) -> list[str]:
    legs = " ".join(f"{leg['sign']} {leg['node']}" for leg in disk["legs"])
    return [disk["guest"], disk["disk"], disk["size_text"], legs, f"{disk['sign']} {disk['words']}", disk["runs_on"] or "-",
            disk["lease_text"]]


def table(disks: list[dict[str, Any]]) -> list[str]:
    """Lines of a table with aligned columns."""
    rows = [list(COLUMNS), *map(row, disks)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


# ---- picture


def picture(nodes: list[dict[str, Any]], disks: list[dict[str, Any]]) -> dict[str, Any]:
    """A box for each node, a row for each mirror, and a line between the legs of a mirror. All numbers are whole."""
    column = {node["name"]: GUTTER + index * (BOX + GAP) for index, node in enumerate(nodes)}
    inner = (BOX - LEG) // 2
    height = HEAD + max(1, len(disks)) * ROW + 12
    legs, lines, labels, marks = [], [], [], []
    for index, disk in enumerate(disks):
        top = HEAD + index * ROW + 10
        labels.append({"x": 12, "y": top + 20, "text": _short(f"{disk['guest']} {disk['disk']}", 16), "state": disk["state"],
                       "sign": disk["sign"]})
        places = sorted(column[leg["node"]] for leg in disk["legs"])
        for left, right in pairwise(places):
            lines.append({
                "x1": left + inner + LEG, "x2": right + inner, "y": top + 18, "state": disk["state"],
                "text": f"{disk['guest']} {disk['disk']}: {disk['words']}",
            })
        for leg in disk["legs"]:
            x = column[leg["node"]] + inner
            note = f"{leg['progress']:g} %" if leg["progress"] is not None else leg["words"]
            legs.append({
                "x": x, "y": top, "width": LEG, "height": ROW - 8, "state": leg["state"], "sign": leg["sign"], "note": note,
                "name": _short(leg["name"], 19) + (" ▶" if leg["runs_here"] else ""), "done": int(LEG * (leg["progress"] or 0) / 100),
                "text": f"{leg['name']} on {leg['node']}: {leg['words']}"
                        + (f", {note}" if leg["progress"] is not None else "") + (", the guest runs here" if leg["runs_here"] else ""),
            })
        if disk["runs_on"] in column and not any(leg["runs_here"] for leg in disk["legs"]):
            marks.append({"x": column[disk["runs_on"]] + inner, "y": top + 11, "text": f"▶ {_short(disk['guest'], 14)} runs here"})
    return {
        "width": GUTTER + len(nodes) * (BOX + GAP), "height": height,
        "boxes": [{**node, "x": column[node["name"]], "y": 4, "width": BOX, "height": height - 8} for node in nodes],
        "legs": legs, "lines": lines, "labels": labels, "marks": marks,
    }


def _short(text: str, length: int) -> str:
    """What fits; the whole is in a title nearby, and in the table."""
    return text if len(text) <= length else f"{text[:length - 1]}…"
