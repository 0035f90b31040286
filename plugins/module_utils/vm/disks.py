# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's disks and its CD drive. Nothing here destroys a VDI that held anything."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_text
from ansible_collections.nobloat.xen.plugins.module_utils.storage.rounding import rounded, same_size, wanted_size
from ansible_collections.nobloat.xen.plugins.module_utils.vm.guest import Guest
from ansible_collections.nobloat.xen.plugins.module_utils.vm.hardware import void
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, device_number, pick
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import NotFound
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.marks import MARK, marked

CD_DEVICE = 3  # where CD drives are by convention
# What makes a VBD again as it was.
VBD_FIELDS = ("VM", "VDI", "userdevice", "bootable", "mode", "type", "unpluggable", "empty", "other_config", "qos_algorithm_type",
              "qos_algorithm_params")
MAX_DEVICE = 254  # xapi-behaviour.md 2.4


@dataclass(frozen=True)
class Disk:
    """A disk as the user wants it, with what its names mean."""

    device: int
    name: str | None
    size: int | None
    sr: Record | None
    vdi: Record | None
    mode: str | None
    bootable: bool | None


def wanted_disks(guest: Guest) -> list[Disk] | None:
    """The option `disks` with positions, records and bytes; None if it was omitted. Raises ValueError where it makes no sense."""
    if guest.params["disks"] is None:
        return None
    drives = guest.devices("VBD")
    others = {device_number(vbd) for vbd in drives if vbd["type"] != "Disk"}
    at = {vbd["VDI"]: device_number(vbd) for vbd in drives if vbd["type"] == "Disk"}
    skip = others | ({CD_DEVICE} - set(at.values()))
    positions = (number for number in count() if number not in skip)
    disks = []
    for entry in guest.params["disks"]:
        position = next(positions)
        vdi = find_vdi(guest, entry["vdi"]) if entry["vdi"] else None
        device = entry["device"]
        if device is None:
            device = at.get(vdi["ref"], position) if vdi else position
        if device in others or not 0 <= device <= MAX_DEVICE:
            taken = "its CD drive is there" if device in others else f"positions go from 0 to {MAX_DEVICE}"
            raise ValueError(f"{guest.title} cannot have a disk at device {device}: {taken}.")
        sr = pick(guest.world.srs, "SR", entry["sr"]) if entry["sr"] else None
        if sr and sr["content_type"] == "iso":
            raise ValueError(f"{guest.title}: SR {sr['name_label']} holds ISO images, it cannot hold disk {device}.")
        size = wanted_size(f"disk {device} of {guest.title}", entry["size"])
        disks.append(Disk(device, entry["name"], size, sr, vdi, entry["mode"], entry["bootable"]))
    once(guest, "disks", (disk.device for disk in disks))
    return disks


def once(guest: Guest, option: str, devices: Iterable[int]) -> None:
    """Raise ValueError where a position comes twice in a list of the user's."""
    seen: set[int] = set()
    for device in devices:
        if device in seen:
            raise ValueError(f"{guest.title}: {option} has two entries for device {device}.")
        seen.add(device)


def find_vdi(guest: Guest, name: str) -> Record:
    """A VDI to attach, by name or uuid. A snapshot answers to its uuid only."""
    vdis = guest.world.vdis
    return pick({ref: vdi for ref, vdi in vdis.items() if vdi["uuid"] == name or not vdi["is_a_snapshot"]}, "VDI", name)


def plan_disks(guest: Guest, changes: ChangeSet, disks: list[Disk] | None) -> None:
    """Merge the wanted disks into what is there, by position; detach the others if there are to be no others."""
    if disks is None:
        return
    live = {device_number(vbd): vbd for vbd in guest.devices("VBD") if vbd["type"] == "Disk"}
    view = {item["device"]: item for item in changes.after["disks"]}
    for disk in disks:
        if disk.device in live:
            converge_disk(guest, changes, view[disk.device], disk, live[disk.device])
        else:
            view[disk.device] = add_disk(guest, changes, disk)
    if guest.params["purge"] or not disks:
        for device in sorted(live.keys() - {disk.device for disk in disks}):
            del view[device]
            detach_disk(guest, changes, live[device])
    changes.after["disks"] = [view[device] for device in sorted(view)]


def converge_disk(guest: Guest, changes: ChangeSet, item: dict[str, Any], disk: Disk, vbd: Record) -> None:
    """Change a disk that is there. `item` is its view."""
    what = f"disk {disk.device} of {guest.title}"
    vdi = guest.world.vdis.get(vbd["VDI"])
    if vdi is None:
        raise ValueError(f"{what} has lost its VDI; detach it (purge) or repair its SR first.")
    if disk.vdi and disk.vdi["ref"] != vdi["ref"]:
        raise ValueError(
            f"{what} is VDI {vdi['name_label']} ({vdi['uuid']}), not {disk.vdi['name_label']} ({disk.vdi['uuid']}): "
            "detach it first, or choose another device."
        )
    if disk.sr and disk.sr["name_label"] != item["sr"]:
        raise ValueError(f"{what} is on SR {item['sr']}; this module does not move it to {disk.sr['name_label']}.")
    live: int = vdi["virtual_size"]
    size = live if disk.size is None or same_size(live, disk.size) else rounded(disk.size)
    if size < live:
        raise ValueError(f"{what} has {to_text(live)}, it cannot shrink to {to_text(disk.size or 0)}.")
    name = default_name(guest, disk.device) if not disk.name and vdi["name_label"] == own_mark(guest) else disk.name
    if name not in (None, item["name"]):
        item["name"] = name
        changes.step(f"rename {what}", lambda: void(guest.call("VDI.set_name_label", _vdi(guest, disk.device), name)),
                     undo=guest.back(lambda: guest.call("VDI.set_name_label", vdi["ref"], vdi["name_label"])))
    if size > live:
        online = guest.power != "halted" and "resize_online" in vdi["allowed_operations"]
        if not online:
            guest.need_stop("disks (size)")
        method = "VDI.resize_online" if online else "VDI.resize"
        item["size"] = to_text(size)
        changes.step(f"grow {what}", lambda: void(guest.run(method, _vdi(guest, disk.device), size)),
                     leaves="" if guest.fresh else f"{what}, which has grown to {item['size']}")
    mode = disk.mode
    if mode and mode != item["mode"]:
        guest.need_stop("disks (mode)")
        item["mode"] = mode
        changes.step(f"set mode of {what}", lambda: void(guest.call("VBD.set_mode", _vbd(guest, disk.device), mode.upper())),
                     undo=guest.back(lambda: guest.call("VBD.set_mode", vbd["ref"], vbd["mode"])))
    if disk.bootable not in (None, item["bootable"]):
        item["bootable"] = disk.bootable
        changes.step(
            f"set bootable of {what}", lambda: void(guest.call("VBD.set_bootable", _vbd(guest, disk.device), disk.bootable)),
            undo=guest.back(lambda: guest.call("VBD.set_bootable", vbd["ref"], vbd["bootable"])),
        )
    finish_plug(guest, changes, "VBD", vbd, what)


def plan_plug(guest: Guest, changes: ChangeSet, cls: str, made: Mapping[str, str], what: str) -> None:
    """Plan to plug a VBD or VIF that was made with a mark (`plug_mark`), which a run that is broken off leaves on it."""
    changes.step(f"plug {what}", lambda: void(guest.run(f"{cls}.plug", made[cls])), undo=lambda: guest.run(f"{cls}.unplug", made[cls]))
    changes.step(f"plugged {what}", lambda: void(guest.call(f"{cls}.remove_from_other_config", made[cls], MARK)))


def plug_mark(guest: Guest) -> dict[str, str]:
    """What the other_config of a new VBD or VIF says as long as it is not plugged into its running guest."""
    return {MARK: "to be plugged"} if guest.hotplugs() else {}


def finish_plug(guest: Guest, changes: ChangeSet, cls: str, device: Record, what: str) -> None:
    """Go on where a run was broken off. What somebody has unplugged has no mark, and stays unplugged."""
    if MARK not in device["other_config"]:
        return
    changes.making.add(guest.claim)
    changes.half_made = True
    if guest.hotplugs() and not device["currently_attached"]:
        plan_plug(guest, changes, cls, {cls: device["ref"]}, what)
    else:
        changes.step(f"plugged {what}", lambda: void(guest.call(f"{cls}.remove_from_other_config", device["ref"], MARK)))


def _vbd(guest: Guest, device: int) -> str:
    return guest.device("VBD", device)["ref"]


def _vdi(guest: Guest, device: int) -> str:
    return guest.device("VBD", device)["VDI"]


def add_disk(guest: Guest, changes: ChangeSet, disk: Disk) -> dict[str, Any]:
    """Plan a disk at a free position, made or attached; returns its view."""
    what = f"disk {disk.device} of {guest.title}"
    mode, bootable = disk.mode or "rw", bool(disk.bootable)
    made: dict[str, str] = {}
    guest.reaches["SR"].add(disk.vdi["SR"] if disk.vdi else (disk.sr or guest.default_sr())["ref"])
    if disk.vdi:
        vdi, sr_name = disk.vdi, guest.world.name("SR", disk.vdi["SR"])
        if disk.sr and disk.sr["ref"] != vdi["SR"]:
            raise ValueError(f"{what}: VDI {vdi['name_label']} is on SR {sr_name}, not on {disk.sr['name_label']}.")
        made["VDI"] = vdi["ref"]
        guest.borrowed.add(vdi["ref"])
        view = {"device": disk.device, "name": vdi["name_label"], "size": to_text(vdi["virtual_size"]), "sr": sr_name,
                "vdi": vdi["uuid"], "mode": mode, "bootable": bootable}
    else:
        if not disk.size:
            raise ValueError(f"{what} is not there; give the size of the disk to make, or the vdi to attach.")
        size = rounded(disk.size)
        sr = disk.sr or guest.default_sr()
        view = {"device": disk.device, "name": disk.name or default_name(guest, disk.device), "size": to_text(size),
                "sr": sr["name_label"], "mode": mode, "bootable": bootable}
        plan_vdi(guest, changes, what, made, view, sr, size)
    changes.making.add(guest.claim)
    other_config = ({} if disk.vdi else {"owner": ""}) | plug_mark(guest)

    def attach() -> None:
        made["VBD"] = guest.call("VBD.create", {
            "VM": guest.ref, "VDI": made["VDI"], "userdevice": str(disk.device), "bootable": bootable, "mode": mode.upper(),
            "type": "Disk", "unpluggable": True, "empty": False, "other_config": other_config,
            "qos_algorithm_type": "", "qos_algorithm_params": {},
        })

    changes.step(f"attach {what}", attach, undo=lambda: guest.call("VBD.destroy", made["VBD"]), leaves=f"VBD of {what}")
    if not disk.vdi:
        changes.step(f"name {what}", lambda: void(guest.call("VDI.set_name_label", made["VDI"], view["name"])),
                     undo=(lambda: guest.call("VDI.set_name_label", made["VDI"], own_mark(guest))) if made else None)
    if guest.hotplugs():
        plan_plug(guest, changes, "VBD", made, what)
    else:
        guest.need_stop("disks")
    if disk.vdi:
        grown = replace(disk, mode=None, bootable=None)
        _converge_borrowed(guest, changes, view, grown)
    return view


def plan_vdi(
    guest: Guest, changes: ChangeSet, what: str, made: dict[str, str], view: Mapping[str, Any], sr: Record, size: int
) -> None:
    """Plan a VDI, or go on with one that a run which was broken off has made and not attached; it gets its name in the end."""
    left = [vdi for vdi in guest.world.vdis.values() if vdi["name_label"] == own_mark(guest) and not vdi["VBDs"]
            and vdi["SR"] == sr["ref"] and vdi["ref"] not in guest.borrowed
            and (vdi["virtual_size"] < size or same_size(vdi["virtual_size"], size))]
    if not left:
        changes.step(
            f"create {what}", lambda: made.update(VDI=guest.run("VDI.create", new_vdi(own_mark(guest), sr["ref"], size))),
            undo=lambda: guest.run("VDI.destroy", made["VDI"]), leaves=f"VDI {own_mark(guest)} on SR {sr['name_label']}",
        )
        return
    changes.half_made, made["VDI"] = True, left[0]["ref"]
    guest.borrowed.add(left[0]["ref"])
    if not same_size(left[0]["virtual_size"], size):
        changes.step(f"grow {what}", lambda: void(guest.run("VDI.resize", made["VDI"], size)))


def own_mark(guest: Guest) -> str:
    """What the VDIs of a guest's disks are called until they are attached."""
    return disk_mark(guest.name if guest.fresh else guest.record["uuid"])


def disk_mark(guest: str) -> str:
    """The same, by the uuid of the guest, or the name of a new one."""
    return marked(f"disk of {guest}")


def _converge_borrowed(guest: Guest, changes: ChangeSet, view: dict[str, Any], disk: Disk) -> None:
    """Rename an existing VDI that is being attached; it has to have the wanted size."""
    vdi = disk.vdi or {}
    if disk.size is not None and not same_size(vdi["virtual_size"], disk.size):
        raise ValueError(
            f"disk {disk.device} of {guest.title}: VDI {vdi['name_label']} has {view['size']}, not {to_text(disk.size)}; "
            "grow it with module vdi, or leave size out."
        )
    if disk.name not in (None, vdi["name_label"]):
        view["name"] = disk.name
        changes.step(f"rename VDI {vdi['name_label']}", lambda: void(guest.call("VDI.set_name_label", vdi["ref"], disk.name)),
                     undo=lambda: guest.call("VDI.set_name_label", vdi["ref"], vdi["name_label"]))


def default_name(guest: Guest, device: int) -> str:
    """What a disk is called that the user gave no name."""
    return f"{guest.name} disk {device}"


def new_vdi(name: str, sr: str, size: int) -> dict[str, Any]:
    """The record of a plain VDI for VDI.create."""
    return {"name_label": name, "name_description": "", "SR": sr, "virtual_size": size, "type": "user", "sharable": False,
            "read_only": False, "other_config": {}}


def detach_disk(guest: Guest, changes: ChangeSet, vbd: Record) -> None:
    """Plan the end of a VBD. Its VDI stays, unless this very run made it by cloning a template."""
    device = device_number(vbd)
    what = f"disk {device} of {guest.title}"
    again = {"VBD": vbd["ref"]}  # another one, once the detaching was taken back
    if vbd["currently_attached"] and guest.power != "halted":
        if guest.hotplugs() and vbd["unpluggable"]:
            changes.step(f"unplug {what}", lambda: void(guest.run("VBD.unplug", vbd["ref"])),
                         undo=lambda: guest.run("VBD.plug", again["VBD"]))
        else:
            guest.need_stop("disks")

    def destroy() -> None:
        live = guest.device("VBD", device)
        guest.call("VBD.destroy", live["ref"])
        if guest.fresh:
            guest.run("VDI.destroy", live["VDI"])

    changes.step(f"detach {what}", destroy, undo=guest.back(
        lambda: again.update(VBD=guest.call("VBD.create", {field: vbd[field] for field in VBD_FIELDS}))))


def plan_cdrom(guest: Guest, changes: ChangeSet) -> None:
    """Insert or eject a disc; a guest without a drive gets one, which needs it halted."""
    wanted = guest.params["cdrom"]
    if wanted is None:
        return
    disc = find_iso(guest, wanted) if wanted else None
    drives = guest.devices("VBD")
    drive = next((vbd for vbd in drives if vbd["type"] == "CD"), None)
    inside = None if not drive or drive["empty"] else drive["VDI"]
    if disc is None:
        if drive and inside:
            number = device_number(drive)
            changes.after["cdrom"] = ""
            changes.step(f"eject the disc of {guest.title}", lambda: void(guest.run("VBD.eject", _vbd(guest, number))),
                         undo=guest.back(lambda: guest.run("VBD.insert", _vbd(guest, number), inside)))
        return
    if inside == disc["ref"]:
        return
    changes.after["cdrom"] = disc["name_label"]
    if drive:
        number = device_number(drive)
        if inside:
            changes.step(f"eject the disc of {guest.title}", lambda: void(guest.run("VBD.eject", _vbd(guest, number))),
                         undo=lambda: guest.run("VBD.insert", _vbd(guest, number), inside))
        changes.step(f"insert {disc['name_label']} into {guest.title}",
                     lambda: void(guest.run("VBD.insert", _vbd(guest, number), disc["ref"])),
                     undo=guest.back(lambda: guest.run("VBD.eject", _vbd(guest, number))))
        return
    guest.need_stop("cdrom")
    taken = {device_number(vbd) for vbd in drives} | {item["device"] for item in changes.after["disks"]}
    number = CD_DEVICE if CD_DEVICE not in taken else next(number for number in count() if number not in taken)
    made: dict[str, str] = {}
    changes.making.add(guest.claim)
    changes.step(f"add a CD drive to {guest.title}", lambda: made.update(VBD=guest.call("VBD.create", {
        "VM": guest.ref, "VDI": disc["ref"], "userdevice": str(number), "bootable": False, "mode": "RO", "type": "CD",
        "unpluggable": True, "empty": False, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {},
    })), undo=guest.back(lambda: guest.call("VBD.destroy", made["VBD"])))


def find_iso(guest: Guest, name: str) -> Record:
    """A VDI in an ISO SR, by name or uuid."""
    world = guest.world
    named = {ref: vdi for ref, vdi in world.vdis.items() if name in (vdi["uuid"], vdi["name_label"])}
    isos = {ref: vdi for ref, vdi in named.items() if world.srs.get(vdi["SR"], {}).get("content_type") == "iso"}
    try:
        return pick(isos, "ISO image", name)
    except NotFound as error:
        if named:
            raise ValueError(f"{guest.title}: VDI {name} is not in an ISO SR, so it is no disc.") from error
        raise
