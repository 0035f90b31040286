# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SR.probe finds: targets, LUNs, exports, and SRs that are there already.

A driver that misses a key of device_config fails, and the failure carries an XML document with the choices for that key
(xapi-behaviour.md 2.5; xapi-project/sm, drivers/LVHDoISCSISR.py and devscan.py). So a whole discovery is a walk of failures.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError

Record = dict[str, Any]
Config = dict[str, str]
Probe = Callable[[Config], str]

DEPTHS = ("targets", "luns", "srs")
# Root of the document -> its items.
_ITEMS = {"iscsi-target-iqns": "TGT", "iscsi-target": "LUN", "Devlist": "BlockDevice", "nfs-exports": "Export", "SRlist": "SR"}


def decode(text: str) -> tuple[str, list[dict[str, str]]] | None:
    """The root's tag and the items of a driver's document, as {tag: text}; None where it is none."""
    start = text.find("<")
    if start < 0:
        return None
    try:
        root = ElementTree.fromstring(text[start:].strip())
    except ElementTree.ParseError:
        return None
    if root.tag not in _ITEMS:
        return None
    return root.tag, [
        {child.tag: (child.text or "").strip() for child in item} for item in root.iter(_ITEMS[root.tag])
    ]


def choices(probe: Probe, config: Config) -> tuple[str, list[dict[str, str]]]:
    """One probe: what it finds, or what there is to choose from. Any other failure is raised."""
    try:
        text = probe(config)
    except XapiError as error:
        if error.code.startswith("SR_BACKEND_FAILURE"):
            for param in reversed(error.params):
                found = decode(param)
                if found:
                    return found
        raise
    return decode(text) or ("SRlist", [])


class Discovery:
    """A walk from what the user gave to what is there. `names`: of the SRs that the pool knows, by uuid."""

    def __init__(self, sr_type: str, probe: Probe, names: Mapping[str, str], depth: str) -> None:
        self.type, self.probe, self.names = sr_type, probe, names
        self.depth = DEPTHS.index(depth)

    def run(self, config: Config) -> Record:
        """`targets` of lvmoiscsi, `luns` of lvmohba, `exports` of nfs, `srs` of what is complete."""
        tag, items = choices(self.probe, config)
        if tag == "iscsi-target-iqns":
            return {"targets": self._targets(config, items)}
        if tag == "iscsi-target":
            target = self._target(config["targetIQN"], [{"address": a, "port": int(config.get("port", "3260"))}
                                                        for a in config["target"].split(",")])
            target["luns"] = self._luns(config, items)
            return {"targets": [target]}
        if tag == "Devlist":
            return {"luns": self._luns(config, items)}
        if tag == "nfs-exports":
            return {"exports": self._exports(config, items)}
        return {"srs": self._srs(items)}

    @staticmethod
    def _target(iqn: str, portals: list[Record]) -> Record:
        return {"iqn": iqn, "portals": portals, "luns": [], "error": None}

    def _targets(self, config: Config, items: Iterable[Mapping[str, str]]) -> list[Record]:
        """Targets by name; one that is shown through several portals is one target. A trailing "*" entry stands for all."""
        found: dict[str, Record] = {}
        for item in items:
            iqn = item["TargetIQN"]
            if iqn == "*":
                continue
            portal = {"address": item["IPAddress"], "port": int(str(item.get("Port") or config.get("port", "3260")))}
            target = found.setdefault(iqn, self._target(iqn, []))
            if portal not in target["portals"]:
                target["portals"].append(portal)
        for iqn, target in found.items():
            if self.depth >= 1:
                addresses = ",".join(dict.fromkeys(portal["address"] for portal in target["portals"]))
                one = {**config, "target": addresses, "targetIQN": iqn}
                try:
                    tag, luns = choices(self.probe, one)
                except XapiError as error:  # a target that lets nobody in does not hide the others
                    target["error"] = str(error)
                    continue
                target["luns"] = self._luns(one, luns) if tag == "iscsi-target" else []
        return sorted(found.values(), key=lambda target: str(target["iqn"]))

    def _luns(self, config: Config, items: Iterable[Mapping[str, str]]) -> list[Record]:
        found: dict[str, Record] = {}
        for item in items:
            scsi_id = item.get("SCSIid", "")
            if not scsi_id or scsi_id in found:  # the same LUN by another path
                continue
            chosen = {**config, "SCSIid": scsi_id}
            found[scsi_id] = {
                "scsi_id": scsi_id,
                "lun": _number(item.get("LUNid") or item.get("lun")),
                "size": _size(item.get("size")),
                "vendor": item.get("vendor", ""),
                "serial": item.get("serial", ""),
                "device": item.get("path", ""),
                "device_config": {key: value for key, value in chosen.items() if "password" not in key},
                **self._inside(chosen),
            }
        return sorted(found.values(), key=lambda lun: (-1 if lun["lun"] is None else lun["lun"], lun["scsi_id"]))

    def _exports(self, config: Config, items: Iterable[Mapping[str, str]]) -> list[Record]:
        found = []
        for item in items:
            chosen = {**config, "serverpath": item["Path"]}
            found.append({"path": item["Path"], "access": item.get("Accesslist", ""), "device_config": chosen, **self._inside(chosen)})
        return sorted(found, key=lambda export: str(export["path"]))

    def _inside(self, config: Config) -> Record:
        """The SRs on a medium, if the walk goes that far."""
        if self.depth < 2:
            return {"srs": None, "error": None}
        try:
            return {"srs": self._srs(choices(self.probe, config)[1]), "error": None}
        except XapiError as error:
            return {"srs": None, "error": str(error)}

    def _srs(self, items: Iterable[Mapping[str, str]]) -> list[Record]:
        uuids = dict.fromkeys(item["UUID"] for item in items if item.get("UUID"))
        return [{"uuid": uuid, "name": self.names.get(uuid), "known": uuid in self.names} for uuid in uuids]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _size(text: str | None) -> int | None:
    """Bytes; drivers write digits, devscan also digits with a unit's name behind."""
    match = re.match(r"\d+", text or "")
    return int(match[0]) if match else None
