# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VDIs that an SR finds by itself (block devices of type udev): looked for, named, never made."""
from __future__ import annotations

from functools import partial
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_bytes, to_text
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr import Record
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import select

FINDERS = ("udev",)


def plan_vdis(module: XapiModule, changes: ChangeSet, sr: Record, sr_type: str) -> None:
    """Plan that the SR knows the VDIs of the option `vdis`, by scanning it if it does not, and that they have their names.

    `sr["ref"]` is there when the steps run, and now if the SR is.
    """
    wanted = module.params["vdis"]
    if wanted is None:
        return
    title = changes.title
    if sr_type not in FINDERS:
        raise ValueError(f"{title} is of type {sr_type}; vdis is for SRs that find block devices ({', '.join(FINDERS)}).")
    locations = [item["location"] for item in wanted]
    if len(set(locations)) < len(locations):
        raise ValueError(f"{title}: vdis has a location twice.")
    sizes = {item["location"]: to_bytes(item["size"]) for item in wanted if item["size"]}
    live = _look(module, sr) if sr.get("ref") else {}
    changes.before.update({"vdis": [_view(live[place]) for place in locations if place in live]} if live else {})
    stale = [
        place for place in locations
        if place not in live or sizes.get(place, live[place]["virtual_size"]) != live[place]["virtual_size"]
    ]
    after = [_planned(item, live.get(item["location"]), item["location"] in stale, sizes) for item in wanted]
    changes.after["vdis"] = after
    if stale:
        changes.step(f"scan {title}", lambda: _scan(module, title, sr, locations, sizes))
    for item in wanted:
        name = item["name"]
        if name and (item["location"] in stale or live[item["location"]]["name_label"] != name):
            old = live.get(item["location"])
            changes.step(f"name {item['location']} on {title}", lambda item=item: _rename(module, sr, item, locations),
                         undo=partial(module.xapi.call, "VDI.set_name_label", old["ref"], old["name_label"]) if old else None)


def _look(module: XapiModule, sr: Record) -> dict[str, Record]:
    return {vdi["location"]: vdi for vdi in select(module.xapi, "VDI", SR=[sr["ref"]]).values()}


def _view(vdi: Record) -> dict[str, Any]:
    return {"location": vdi["location"], "name": vdi["name_label"], "size": to_text(vdi["virtual_size"]), "uuid": vdi["uuid"]}


def _planned(item: dict[str, Any], vdi: Record | None, stale: bool, sizes: dict[str, int]) -> dict[str, Any]:
    """What is known beforehand of a VDI."""
    view: dict[str, Any] = _view(vdi) if vdi else {"location": item["location"]}
    if item["name"]:
        view["name"] = item["name"]
    if stale:
        view.pop("size", None)
        if item["location"] in sizes:
            view["size"] = to_text(sizes[item["location"]])
    return view


def _scan(module: XapiModule, title: str, sr: Record, locations: list[str], sizes: dict[str, int]) -> dict[str, Any]:
    module.run("SR.scan", sr["ref"])
    live = _look(module, sr)
    missing = [place for place in locations if place not in live]
    if missing:
        raise ValueError(f"{title} does not find {', '.join(missing)}. The host that scans it, the coordinator, has no such device.")
    for place, size in sizes.items():
        if live[place]["virtual_size"] != size:
            raise ValueError(f"{title}: {place} has {to_text(live[place]['virtual_size'])}, not {to_text(size)}.")
    return {"vdis": [_view(live[place]) for place in locations]}


def _rename(module: XapiModule, sr: Record, item: dict[str, Any], locations: list[str]) -> dict[str, Any]:
    live = _look(module, sr)
    vdi = live[item["location"]]
    if vdi["name_label"] != item["name"]:
        module.xapi.call("VDI.set_name_label", vdi["ref"], item["name"])
        vdi["name_label"] = item["name"]
    return {"vdis": [_view(live[place]) for place in locations]}
