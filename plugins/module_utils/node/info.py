# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module mirror_info tells of a node. Python 3.6 syntax."""

import json
import os
import shutil
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import PATHS, is_leg, path, zeroed
from ansible_collections.nobloat.xen.plugins.module_utils.node.exports import Exports
from ansible_collections.nobloat.xen.plugins.module_utils.node.imports import Imports
from ansible_collections.nobloat.xen.plugins.module_utils.node.iscsi import Initiator
from ansible_collections.nobloat.xen.plugins.module_utils.node.lease_tag import lease_of
from ansible_collections.nobloat.xen.plugins.module_utils.node.lio import saved
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Arrays
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import (
    SEARCH_PATH,
    NodeError,
    Result,
    names,
    read,
    run,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.wipe import problems

PV_FIELDS = "pv_name,pv_uuid,pv_size,pv_free,vg_name,vg_size,vg_free,vg_extent_size,pv_count"
SEGMENT_FIELDS = f"{PV_FIELDS},pvseg_size,lv_name,lv_tags"
FIELDS = "vg_name,lv_name,lv_uuid,lv_size,lv_tags,lv_attr,origin,stripes,stripe_size"
# Where LVM's settings are for those who change something: XCP-ng's dom0 has a folder of its own for them.
LVM_FOLDERS = ("etc/lvm/master", "etc/lvm")


class Node:
    """The node that the module runs on. `root` is another folder than / in tests, and `command` runs nothing there."""

    def __init__(self, root: str = "/", command: Callable[..., Result] = run) -> None:
        self.root = root
        self.run = command
        self.exports = Exports(root)
        self.imports = Imports(root, Initiator(root, command))
        self.arrays = Arrays(root, command)
        self.blocks = self.exports.blocks
        self.damaged = {}  # type: Dict[str, str]  # why saved exports will not come back

    def look(self, groups: Optional[List[str]], devices: Optional[List[str]] = None, halves: bool = False) -> Dict[str, Any]:
        """All that there is; of logical volumes, those of some volume groups if they are named. And block devices.

        With `halves`, legs have what the superblocks on them say.
        """
        legs = self.legs(groups, halves)
        return {
            "lvm_folder": next(f"/{path}" for path in LVM_FOLDERS if path == "etc/lvm" or os.path.isdir(os.path.join(self.root, path))),
            "disks": self.disks(devices or []),
            "boot_id": read(self.root, "proc/sys/kernel/random/boot_id"), "uptime": int(float(self._first("proc/uptime"))),
            "load": float(self._first("proc/loadavg")), "vgs": self.groups(groups),
            "initiator": self.imports.initiator.name() or None, "legs": legs, "wipes": self.wipes(legs), "exports": self.exported(),
            "imports": [self.imports.look(target) for target in self.imports.initiator.targets()],
            "arrays": [self.arrays.view(array) for array in self.arrays.all()], "names": self.names(),
        }

    def _first(self, file: str) -> str:
        """The first word of a file of the kernel."""
        return (read(self.root, file).split() or ["0"])[0]

    def _report(self, command: str, key: str, fields: str) -> List[Dict[str, str]]:
        """What a command of LVM reports, nothing where there is no LVM."""
        if self.run is run and not shutil.which(command, path=SEARCH_PATH):
            return []
        out = self.run(command, "--reportformat", "json", "--units", "b", "--nosuffix", "-o", fields).out
        return list(json.loads(out)["report"][0][key])

    def groups(self, wanted: Optional[List[str]]) -> List[Dict[str, Any]]:
        """The volume groups, sorted, and what one volume over all of a group's disks can have at most.

        Spare volumes are room that a leg can have.
        """
        found = {}  # type: Dict[str, Dict[str, Any]]
        for row in self._report("pvs", "pv", SEGMENT_FIELDS):
            name = row["vg_name"]
            if not name or (wanted and name not in wanted):
                continue
            group = found.setdefault(name, {
                "name": name, "size": int(row["vg_size"]), "free": int(row["vg_free"]), "spare": 0,
                "extent_size": int(row["vg_extent_size"]), "pv_count": int(row["pv_count"]), "pvs": {}})
            pv = group["pvs"].setdefault(row["pv_uuid"], {
                "device": row["pv_name"], "uuid": row["pv_uuid"], "size": int(row["pv_size"]), "free": int(row["pv_free"])})
            if zeroed({"name": row["lv_name"], "tags": row["lv_tags"].split(",")}) is not None:  # a row for each segment
                spare = int(row["pvseg_size"]) * group["extent_size"]
                pv["free"] += spare
                group["spare"] += spare
                group["free"] += spare
        for group in found.values():
            group["pvs"] = sorted(group["pvs"].values(), key=lambda pv: str(pv["device"]))
            group["free_striped"] = group["pv_count"] * min(pv["free"] for pv in group["pvs"])
        return sorted(found.values(), key=lambda group: str(group["name"]))

    def legs(self, groups: Optional[List[str]], halves: bool = False) -> List[Dict[str, Any]]:
        rows = self._report("lvs", "lv", FIELDS)
        opened = self.blocks.opened() if rows else {}
        found = {}  # type: Dict[str, Dict[str, Any]]
        for row in rows:
            if row["lv_uuid"] in found or (groups and row["vg_name"] not in groups):
                continue  # a volume has a row for each of its segments
            device = f"/dev/{row['vg_name']}/{row['lv_name']}"
            tags = sorted(filter(None, row["lv_tags"].split(",")))
            found[row["lv_uuid"]] = {
                "vg": row["vg_name"], "name": row["lv_name"], "device": device, "uuid": row["lv_uuid"], "size": int(row["lv_size"]),
                "tags": tags, "lease": lease_of(tags), "active": row["lv_attr"][4] == "a", "open": row["lv_attr"][5] == "o",
                "snapshot_of": row["origin"] or None, "stripes": int(row["stripes"] or 1), "stripe_size": int(row["stripe_size"] or 0),
                "identity": self.blocks.identity(device) or None, "users": self.blocks.users(device, opened),
            }
        for leg in found.values() if halves else ():
            if is_leg(leg):
                leg["half"] = self.half(leg)
        return sorted(found.values(), key=lambda leg: (leg["vg"], leg["name"]))

    def wipes(self, legs: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
        """The spare volumes that are not zeroed yet, and how far they are."""
        wrong = problems(self.root)
        found = []
        for leg in legs:
            done = zeroed(leg)
            if done is not None and done < leg["size"]:
                found.append({"vg": leg["vg"], "name": leg["name"], "size": leg["size"], "zeroed": done,
                              "percent": 100 * done // leg["size"], "problem": wrong.get(leg["device"], "")})
        return found

    def half(self, leg: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """What the superblock of a leg says, None where there is none, or it cannot be read."""
        try:
            half = self.arrays.half(leg["device"])
        except NodeError:
            return None
        return half.view() if half else None

    def disks(self, devices: List[str]) -> List[Dict[str, Any]]:
        """What is on block devices."""
        rows = self._report("pvs", "pv", PV_FIELDS) if devices else []
        groups = {self.blocks.number(row["pv_name"]): row["vg_name"] for row in rows}
        found = []
        for device in devices:
            number = self.blocks.number(device)
            content = self.arrays.dirt(device) if number and number not in groups else ""
            found.append({"device": device, "size": self.blocks.size(device) or None, "vg": groups.get(number) or None,
                          "users": self.blocks.users(device), "content": content})
        return found

    def exported(self) -> List[Dict[str, Any]]:
        """The exports of the kernel, and those that are saved and should be there."""
        known = saved(self.exports.folder, self.damaged)
        live = {os.path.basename(path) for path in self.exports.lio.backstores()}
        return [dict(self.exports.look(name) or self.exports.view(known[name]), saved=name in known)
                for name in sorted(live | set(known))]

    def names(self) -> List[Dict[str, Any]]:
        found = []
        for node in names(self.root, PATHS[1:]):
            for leg in names(self.root, PATHS[1:], node):
                place = path(node, leg)
                found.append({"node": node, "leg": leg, "path": place, "target": os.path.realpath(os.path.join(self.root, place[1:])),
                              "size": self.blocks.size(place) or None, "identity": self.blocks.identity(place) or None})
        return found
