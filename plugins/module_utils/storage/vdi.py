# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VDIs as module vdi shows them, and how they are read: one call a class."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.common import common_view
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_text
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import GUEST, device_number, pick, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import column, find, quote
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

Record = dict[str, Any]
Records = dict[str, Record]


@dataclass
class Disk:
    """A VDI (None if there is none), its SR (None if it is not known yet), its VBDs and their VMs, and the wanted VM."""

    vdi: Record | None
    sr: Record | None
    guest: Record | None = None
    vbds: Records = field(default_factory=dict)
    vms: Records = field(default_factory=dict)

    def own(self) -> list[Record]:
        """The VBDs of the VDI, in a stable order."""
        ref = self.vdi["ref"] if self.vdi else None
        return sorted((vbd for vbd in self.vbds.values() if vbd["VDI"] == ref), key=lambda vbd: str(vbd["uuid"]))

    def name(self, vbd: Record) -> str:
        """The name of a VBD's VM."""
        return self.vms[vbd["VM"]]["name_label"] if vbd["VM"] in self.vms else "?"


def read_disk(session: Session, params: Mapping[str, Any]) -> Disk:
    """What the options `name`, `new_name`, `sr` and `vm` mean: at most five calls. Raises NotFound and Ambiguous."""
    sr = find(session, "SR", params["sr"]) if params["sr"] else None
    vdi = _find_vdi(session, params, sr)
    vms = select(session, "VM", names=[params["vm"]]) if params["vm"] else {}
    guest = pick(vms, GUEST, params["vm"], among=[GUEST]) if params["vm"] else None
    disk = Disk(vdi, sr, guest)
    if guest or (vdi and vdi["VBDs"]):
        links = {"VDI": [vdi["ref"]]} if vdi else {}
        disk.vbds = select(session, "VBD", **links, **({"VM": [guest["ref"]]} if guest else {}))
    others = {vbd["VM"] for vbd in disk.own()} - vms.keys()
    disk.vms = vms | select(session, "VM", refs=others)
    if vdi and not sr:
        disk.sr = next(iter(select(session, "SR", refs=[vdi["SR"]]).values()), None)
    return disk


def _find_vdi(session: Session, params: Mapping[str, Any], sr: Record | None) -> Record | None:
    old = _find(session, params["name"], sr)
    new_name = params["new_name"]
    if not new_name or (old and old["name_label"] == new_name):
        return old
    new = _find(session, new_name, sr)
    if old and new:
        raise ValueError(f"VDI {params['name']} cannot become {new_name}: there is one already ({new['uuid']}).")
    return old or new


def _find(session: Session, name: str, sr: Record | None) -> Record | None:
    """A VDI by name or uuid. Snapshots, and what a storage driver keeps for itself, answer to their uuid only."""
    where = f'(({column("VDI", "is_a_snapshot")}="false") and ({column("VDI", "managed")}="true"))'
    literal = quote(name)
    if literal:
        where = f"({where} or ({column('VDI', 'uuid')}={literal}))"
    if sr:
        where = f"({column('VDI', 'SR')}={quote(sr['ref'])}) and {where}"
    return find(session, "VDI", name, where=where, required=False)


def vdi_view(disk: Disk) -> Record:
    """A VDI in the terms of the options of module vdi, and the VMs that have it."""
    vdi = disk.vdi or {}
    return {
        **common_view(vdi),
        "sr": disk.sr["name_label"] if disk.sr else None,
        "size": to_text(vdi["virtual_size"]),
        "type": vdi["type"],
        "read_only": vdi["read_only"],
        "sharable": vdi["sharable"],
        "attached": attached_view(disk.own(), disk),
    }


def attached_view(vbds: list[Record], disk: Disk) -> list[Record]:
    """The VMs that have a VDI, each with the position, sorted by name."""
    views = [
        {
            "vm": disk.name(vbd), "device": device_number(vbd), "mode": vbd["mode"].lower(), "bootable": vbd["bootable"],
            "plugged": vbd["currently_attached"],
        }
        for vbd in vbds
    ]
    return sorted(views, key=lambda view: (view["vm"], view["device"]))
