# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node knows of a guest: whether it may run here, who uses its legs, how old they are. Python 3.6 syntax."""

import json
import os
import shutil
import time
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import (
    GUEST,
    NO_LEGS,
    PATHS,
    UUID,
    path,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import BETWEEN, exporter, lock_path, locked
from ansible_collections.nobloat.xen.plugins.module_utils.node.iscsi import Initiator
from ansible_collections.nobloat.xen.plugins.module_utils.node.lio import Lio
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Arrays
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import (
    SEARCH_PATH,
    NodeError,
    Result,
    names,
    read,
    run,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.superblock import restoring

BOOT_DIGITS = 8
Command = Callable[..., Result]


def restore_lock(root: str, guest: str) -> str:
    """The file that whoever restores a disk of a guest has locked for as long as he writes."""
    return lock_path(root, f"restore-{guest}")


class Witness:
    """The node that the module runs on. `root` is another folder than / in tests, and `command` runs nothing there."""

    def __init__(self, name: str, uuid: str = "", vg: str = "", legs: Optional[List[str]] = None, root: str = "/",
                 command: Command = run, pause: Callable[[float], None] = time.sleep) -> None:
        """`legs`: names of the guest's legs, on any node. If None, they are found here by their tag."""
        self.name, self.uuid, self.vg, self.wanted = name, uuid, vg, legs
        self.root, self.run, self.pause = root, command, pause
        self.arrays = Arrays(root, command)
        self.blocks = self.arrays.blocks
        self.lio = Lio(root)

    def volumes(self, ask: Optional[Command] = None) -> List[Dict[str, Any]]:
        """The legs that lie on this node, by volume group and name: vg, name, device, active, tags. In the order of `legs`."""
        if self.run is run and not shutil.which("lvs", path=SEARCH_PATH):
            return []
        said = (ask or self.run)("lvs", "--reportformat", "json", "-o", "vg_name,lv_name,lv_tags,lv_attr").out
        rows = json.loads(said)["report"][0]["lv"]
        found = {}  # type: Dict[str, Dict[str, Any]]
        for row in rows:
            tags = sorted(filter(None, row["lv_tags"].split(",")))
            known = GUEST + self.name in tags if self.wanted is None else row["lv_name"] in self.wanted
            if known and row["vg_name"] == (self.vg or row["vg_name"]) and not row["lv_name"].startswith(NO_LEGS):
                device = f"/dev/{row['vg_name']}/{row['lv_name']}"
                found[device] = {"vg": row["vg_name"], "name": row["lv_name"], "device": device, "tags": tags,
                                 "uuid": next((tag[len(UUID):] for tag in tags if tag.startswith(UUID)), ""),
                                 "active": row["lv_attr"][4] == "a"}
        order = self.wanted or []
        return sorted(found.values(), key=lambda leg: (
            order.index(leg["name"]) if leg["name"] in order else 0, leg["name"], leg["vg"]))

    def look(self) -> Dict[str, Any]:
        """Everything. Takes about a second."""
        return look([self])[0]

    def begin(self, ask: Command) -> Callable[[], Dict[str, Any]]:
        """The first half of a look; what is returned is its second half, a moment later."""
        volumes = self.volumes(ask)
        legs = {leg["name"] for leg in volumes} | set(self.wanted or [])
        imports = [path(node, leg) for node in names(self.root, PATHS[1:]) for leg in names(self.root, PATHS[1:], node)
                   if leg in legs]
        local = {self.blocks.number(leg["device"]) for leg in volumes}
        imports = [path for path in imports if self.blocks.number(path) and self.blocks.number(path) not in local]
        devices = [leg["device"] for leg in volumes] + imports
        before = {path: (self.users(path), self.writes(path)) for path in devices}
        domains = self.domains(ask)
        exports = {leg["device"]: self.export(leg["device"]) for leg in volumes}
        halves = {leg["device"]: self.half(leg) for leg in volumes}

        def end() -> Dict[str, Any]:
            after = {path: (self.users(path), self.writes(path)) for path in devices}
            users = {path: sorted(set(before[path][0]) & set(after[path][0])) for path in devices}
            return dict(
                domains, initiator=Initiator(self.root, self.run).name(), boot=self.boot(),
                restores=locked(restore_lock(self.root, self.name)),
                legs=[dict({key: leg[key] for key in ("vg", "name", "uuid", "device", "active")}, users=users[leg["device"]],
                           writes=after[leg["device"]][1] - before[leg["device"]][1], **exports[leg["device"]], **halves[leg["device"]])
                      for leg in volumes],
                imports=[{"path": path, "users": users[path]} for path in imports],
            )

        return end

    def domains(self, ask: Optional[Command] = None) -> Dict[str, Any]:
        """Domains with the guest's name or uuid, and whether that can be known: it can by xl, or where there is no Xen."""
        if self.run is not run or shutil.which("xl", path=SEARCH_PATH):
            try:
                lines = (ask or self.run)("xl", "vm-list").out.splitlines()[1:]
            except NodeError as error:
                return {"domains": [], "domains_known": False, "domains_error": str(error)}
            found = [line.split(None, 2) for line in lines]
            mine = [{"uuid": words[0], "id": words[1], "name": words[2].strip()} for words in found
                    if len(words) == 3 and (words[2].strip() == self.name or words[0] == (self.uuid or None))]
            return {"domains": mine, "domains_known": True}
        xen = read(self.root, "sys/hypervisor/type") == "xen" or os.path.exists(os.path.join(self.root, "proc/xen/capabilities"))
        return {"domains": [], "domains_known": not xen, **({"domains_error": "there is no xl on it"} if xen else {})}

    def users(self, path: str) -> List[str]:
        return self.blocks.users(path)

    def writes(self, path: str) -> int:
        """Writes that the device has taken since boot, whoever they came from (Documentation/block/stat.rst, field 5)."""
        fields = read(self.blocks.folder(path), "stat").split()
        return int(fields[4]) if len(fields) > 4 else 0

    def export(self, device: str) -> Dict[str, Any]:
        """Whether a leg is exported, and to whom right now."""
        name = exporter(self.blocks, device)
        return {"exported": bool(name), "sessions": self.lio.read(name)["sessions"] if name else []}

    def half(self, leg: Dict[str, Any]) -> Dict[str, Any]:
        """The superblock of a leg: `half` is None where it has none, and `unreadable` says why that is not known.

        `restoring`: a backup was written to it, and that has not ended.
        """
        if not self.blocks.name(leg["device"]):
            return {"half": None, "restoring": False, "unreadable": "it is not active"}
        try:
            half = self.arrays.half(leg["device"])
            branded = not half and restoring(leg["device"], self.blocks.size(leg["device"]))
            half = half or (None if branded else self.arrays.displaced(leg["device"]))
        except (NodeError, OSError) as error:
            return {"half": None, "restoring": False, "unreadable": str(error)}
        return {"unreadable": "", "restoring": branded, "half": half and half.view()}

    def boot(self) -> str:
        """What tells this life of the node from its others."""
        boot = read(self.root, "proc/sys/kernel/random/boot_id")[:BOOT_DIGITS]
        if not boot:
            raise NodeError("The kernel does not tell its boot id (/proc/sys/kernel/random/boot_id).")
        return boot


def look(witnesses: List[Witness]) -> List[Dict[str, Any]]:
    """Everything that the node knows of each of these guests. Takes about a second in all: they are looked at side by side."""
    answers = {}  # type: Dict[Any, Result]

    def ask(*argv: str) -> Result:
        if argv not in answers:
            answers[argv] = witnesses[0].run(*argv)
        return answers[argv]

    ends = [witness.begin(ask) for witness in witnesses]
    if ends:
        witnesses[0].pause(BETWEEN)
    return [end() for end in ends]
