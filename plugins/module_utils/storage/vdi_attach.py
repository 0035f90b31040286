# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attaching a VDI to a guest and detaching it, while the guest runs if it does."""
from __future__ import annotations

from itertools import count
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.storage.vdi import Disk, Record, attached_view
from ansible_collections.nobloat.xen.plugins.module_utils.vm.disks import CD_DEVICE, MAX_DEVICE, VBD_FIELDS
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import SNAPSHOT, device_number, kind
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.refusal import refuse


def check_guest(guest: Record, title: str) -> None:
    """Raise ValueError where disks can be neither plugged nor just noted."""
    if guest["power_state"] not in ("Running", "Halted"):
        raise ValueError(
            f"{title}: guest {guest['name_label']} is {guest['power_state'].lower()}. Start it or shut it down first."
        )


def plan_attach(module: XapiModule, changes: ChangeSet, disk: Disk, guest: Record, vdi: dict[str, str]) -> None:
    """Plan that the wanted guest has the VDI, whose reference is in `vdi` when the steps run."""
    own = [vbd for vbd in disk.own() if vbd["VM"] == guest["ref"]]
    if own:
        _converge(module, changes, disk, guest, own[0])
        return
    params, call, run = module.params, module.xapi.call, module.run
    check_guest(guest, changes.title)
    if disk.sr and disk.sr["content_type"] == "iso":
        raise ValueError(f"{changes.title} is a disc; insert it with option cdrom of module vm.")
    mode = params["mode"] or ("ro" if changes.after["read_only"] else "rw")
    if mode == "rw" and changes.after["read_only"]:
        raise ValueError(f"{changes.title} is read-only; attach it with mode ro.")
    _refuse_second_writer(changes, disk, mode)
    device = _position(changes, disk, guest, params["device"], module.noted)
    bootable = bool(params["bootable"])
    running = guest["power_state"] == "Running"
    where = f"{changes.title} to guest {guest['name_label']}"
    made: dict[str, str] = {}
    changes.making |= {changes.title if not disk.vdi else f"VDI {disk.vdi['uuid']}", f"guest {guest['uuid']}"}

    def create() -> None:
        made["ref"] = call("VBD.create", {
            "VM": guest["ref"], "VDI": vdi["ref"], "userdevice": str(device), "bootable": bootable, "mode": mode.upper(),
            "type": "Disk", "unpluggable": True, "empty": False, "other_config": {}, "qos_algorithm_type": "",
            "qos_algorithm_params": {},
        })

    changes.step(f"attach {where}", create, undo=lambda: call("VBD.destroy", made["ref"]), leaves=f"VBD of {where}")
    if running:
        changes.step(
            f"plug {where}", lambda: ignore(run("VBD.plug", made["ref"])), undo=lambda: run("VBD.unplug", made["ref"])
        )
    view = {"vm": guest["name_label"], "device": device, "mode": mode, "bootable": bootable, "plugged": running}
    changes.after["attached"] = sorted([*changes.after["attached"], view], key=lambda item: (item["vm"], item["device"]))


def _refuse_second_writer(changes: ChangeSet, disk: Disk, mode: str) -> None:
    """Two guests that write to one disk destroy its file system. XAPI would notice when the second one starts."""
    if changes.after["sharable"]:
        return
    others = [
        vbd for vbd in disk.own()
        if (mode == "rw" or vbd["mode"] == "RW") and vbd["VM"] in disk.vms and kind(disk.vms[vbd["VM"]]) != SNAPSHOT
    ]
    if others:
        names = ", ".join(sorted({disk.name(vbd) for vbd in others}))
        raise ValueError(
            f"{changes.title} is attached to {names} already, and it is not sharable. Detach it there first (state detached)."
        )


def _position(changes: ChangeSet, disk: Disk, guest: Record, wanted: int | None, noted: set[Any]) -> int:
    taken = {device_number(vbd) for vbd in disk.vbds.values() if vbd["VM"] == guest["ref"]}
    taken |= {device for vm, device in noted if vm == guest["ref"]}  # for others of the list
    if wanted is None:
        wanted = next(number for number in count() if number not in taken | {CD_DEVICE})
    if not 0 <= wanted <= MAX_DEVICE:
        raise ValueError(f"device {wanted} is out of range; positions go from 0 to {MAX_DEVICE}.")
    if wanted in taken:
        raise ValueError(f"{changes.title}: guest {guest['name_label']} has something else at device {wanted}.")
    noted.add((guest["ref"], wanted))
    return wanted


def _converge(module: XapiModule, changes: ChangeSet, disk: Disk, guest: Record, vbd: Record) -> None:
    params, call = module.params, module.xapi.call
    device, halted = device_number(vbd), guest["power_state"] == "Halted"
    where = f"{changes.title} on guest {guest['name_label']}"
    after: dict[str, Any] = dict(vbd)
    if params["device"] not in (None, device):
        raise ValueError(f"{where} is at device {device}, not {params['device']}. Detach it first.")
    if params["mode"] not in (None, vbd["mode"].lower()):
        if not halted:
            raise ValueError(f"{where} has mode {vbd['mode'].lower()}, which changes only while the guest is halted.")
        after["mode"] = params["mode"].upper()
        changes.step(f"set mode of {where}", lambda: ignore(call("VBD.set_mode", vbd["ref"], after["mode"])),
                     undo=lambda: call("VBD.set_mode", vbd["ref"], vbd["mode"]))
    if params["bootable"] not in (None, vbd["bootable"]):
        after["bootable"] = params["bootable"]
        changes.step(f"set bootable of {where}", lambda: ignore(call("VBD.set_bootable", vbd["ref"], after["bootable"])),
                     undo=lambda: call("VBD.set_bootable", vbd["ref"], vbd["bootable"]))
    if guest["power_state"] == "Running" and not vbd["currently_attached"]:
        after["currently_attached"] = True
        changes.making.add(f"guest {guest['uuid']}")
        changes.step(f"plug {where}", lambda: ignore(module.run("VBD.plug", vbd["ref"])),
                     undo=lambda: module.run("VBD.unplug", vbd["ref"]))
    changes.after["attached"] = attached_view([after if item["ref"] == vbd["ref"] else item for item in disk.own()], disk)


def plan_detach(module: XapiModule, changes: ChangeSet, disk: Disk) -> None:
    """Plan that the wanted guest does not have the VDI, or if none is given, that nobody has. Snapshots keep theirs."""
    call, run = module.xapi.call, module.run
    kept = []
    for vbd in disk.own():
        vm = disk.vms.get(vbd["VM"])
        if (disk.guest and vbd["VM"] != disk.guest["ref"]) or (vm and kind(vm) == SNAPSHOT):
            kept.append(vbd)
            continue
        where = f"{changes.title} from {disk.name(vbd)}"
        again = {"ref": vbd["ref"]}  # another one, once the detaching was taken back
        if vbd["currently_attached"]:
            check_guest(vm or {"name_label": "?", "power_state": "unknown"}, changes.title)
            if not vbd["unpluggable"]:
                raise ValueError(f"{changes.title} cannot be unplugged while guest {disk.name(vbd)} runs. Shut it down first.")
            refuse(vbd, "unplug", f"{changes.title} at {disk.name(vbd)}")
            changes.step(
                f"unplug {where}", lambda ref=vbd["ref"]: ignore(run("VBD.unplug", ref)),
                undo=lambda again=again: run("VBD.plug", again["ref"]),
            )
        fields = {field: vbd[field] for field in VBD_FIELDS}
        changes.step(f"detach {where}", lambda ref=vbd["ref"]: ignore(call("VBD.destroy", ref)),
                     undo=lambda again=again, fields=fields: again.update(ref=call("VBD.create", fields)))
    changes.after["attached"] = attached_view(kept, disk)
