# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Legs of mirrored guests, as nodes have them. Plain functions on plain data."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

IQN_PREFIX = "iqn.2026-11.xen.nobloat"


def tags(volume: Mapping[str, Any]) -> dict[str, str]:
    """The tags nobloat.KEY=VALUE of a logical volume as {KEY: VALUE}."""
    pairs = (tag.partition("=") for tag in volume["tags"] if tag.startswith("nobloat."))
    return {key[len("nobloat."):]: value for key, _sign, value in pairs}


def path(node: str, name: str) -> str:
    """The path of a leg, which is the same on every node."""
    return f"/dev/mirror/{node}/{name}"


def legs(nodes: Mapping[str, Mapping[str, Any]], iqn_prefix: str = IQN_PREFIX) -> list[dict[str, Any]]:
    """The legs in the results of mirror_info of some nodes, sorted by guest, disk and slot."""
    found = [_leg(node, volume, told, info, iqn_prefix)
             for node, info in nodes.items() if info
             for volume in info["legs"] if not volume["snapshot_of"]
             for told in [tags(volume)] if told.get("guest") and told.get("disk")]
    return sorted(found, key=lambda leg: (
        leg["guest"], leg["disk"], leg["slot"] is None, leg["slot"] or 0, leg["node"]))


def _leg(node: str, volume: Mapping[str, Any], told: Mapping[str, str], info: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    name = volume["name"]
    exports: Iterable[Mapping[str, Any]] = info["exports"]
    export = next((each for each in exports if each["name"] == name), None) or {}
    return {
        "guest": told["guest"], "disk": told["disk"], "slot": int(told["slot"]) if told.get("slot", "").isdigit() else None,
        "name": name, "node": node, "vg": volume["vg"], "size": volume["size"], "path": path(node, name),
        "iqn": export.get("iqn") or f"{prefix}:{node}:{name}", "portals": list(export.get("portals", [])),
        "initiators": list(export.get("initiators", [])), "exists": True,
    }
