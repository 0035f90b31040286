# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a guest from a template or a snapshot: clone or copy it, provision its blank disks, then converge it as any other."""
from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any
from xml.etree import ElementTree

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.many import Lanes
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_text
from ansible_collections.nobloat.xen.plugins.module_utils.storage.rounding import rounded
from ansible_collections.nobloat.xen.plugins.module_utils.vm.disks import Disk, default_name
from ansible_collections.nobloat.xen.plugins.module_utils.vm.guest import Guest
from ansible_collections.nobloat.xen.plugins.module_utils.vm.hardware import void, wanted_other_config
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import (
    GUEST,
    SNAPSHOT,
    TEMPLATE,
    Record,
    World,
    kind,
    pick,
    select,
)
from ansible_collections.nobloat.xen.plugins.module_utils.vm.view import vm_view
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import NotFound
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.marks import marked
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Keys of other_config that do not outlive cloning (xen-api: ocaml/xapi/xapi_vm_clone.ml; a clone gets a mac_seed of its own), and
# those that do not outlive provisioning (xapi_templates.ml).
_NOT_CLONED = frozenset({"default_template", "xensource_internal", "mac_seed"})
_PROVISIONED = frozenset({"disks", "postinstall"})


@dataclass
class Blank:
    """A disk that VM.provision makes."""

    device: int
    size: int
    sr: Record
    bootable: bool
    type: str
    name: str


def find_source(params: Mapping[str, Any], world: World) -> Record:
    """The template or snapshot that a new guest is made from."""
    for option, among in (("template", (TEMPLATE,)), ("snapshot", (SNAPSHOT,))):
        if params[option]:
            return pick(world.vms, option, params[option], among=among)
    raise NotFound(GUEST, params["name"], "To make it, say from which template or snapshot.")


def template_disks(source: Record) -> list[dict[str, str]]:
    """The blank disks that a template wants: attributes device, size, sr (uuid, mostly empty), bootable, type."""
    text = source["other_config"].get("disks")
    if not text or kind(source) != TEMPLATE:
        return []
    try:
        return [dict(disk.attrib) for disk in ElementTree.fromstring(text).iter("disk")]
    except ElementTree.ParseError as error:
        raise ValueError(f"Template {source['name_label']} has a damaged list of disks in other_config: {error}") from error


def new_guest(params: Mapping[str, Any], lanes: Lanes, world: World) -> Guest:
    """A guest that is yet to be made, with the record that its clone will have."""
    if UUID.fullmatch(params["name"]):
        raise NotFound(GUEST, params["name"], "A uuid cannot be the name of a new guest.")
    source = find_source(params, world)
    if source["power_state"] != "Halted":
        raise ValueError(f"Snapshot {source['name_label']} holds memory, so it would run as a twin of its guest; "
                         "take one without memory, or revert to it.")
    record = deepcopy(source)
    record["name_label"] = params["name"]
    record["other_config"] = {key: value for key, value in cloned_config(source).items() if key not in _PROVISIONED}
    return Guest(params, lanes, world, record, fresh=True)


def cloned_config(source: Record) -> dict[str, str]:
    """The other_config that a clone has in the beginning, without its own mac_seed."""
    config = {key: value for key, value in source["other_config"].items() if key not in _NOT_CLONED}
    if kind(source) == TEMPLATE:
        config.setdefault("base_template_name", source["name_label"])
    return config


def plan_create(guest: Guest, changes: ChangeSet, disks: list[Disk] | None) -> list[Disk] | None:
    """Plan the clone and its blank disks. Returns the wanted disks that are not among these."""
    params, source = guest.params, find_source(guest.params, guest.world)
    blanks, others = blank_disks(guest, template_disks(source), disks)
    copy_sr = pick(guest.world.srs, "SR", params["sr"]) if params["sr"] and params["full_copy"] else None
    view = vm_view(guest.record, guest.world)
    del view["uuid"]
    for disk in view["disks"]:
        del disk["vdi"]
        if copy_sr:
            disk["sr"] = copy_sr["name_label"]
    for nic in view["nics"]:
        del nic["mac"]
    inherited = dict(view["other_config"])
    view["other_config"] = wanted_other_config(params, inherited)
    view["disks"] = sorted(view["disks"] + [_blank_view(blank) for blank in blanks], key=lambda disk: disk["device"])

    def clone() -> None:
        name = marked(guest.name)  # until it is whole
        if params["full_copy"]:
            guest.ref = guest.run("VM.copy", source["ref"], name, copy_sr["ref"] if copy_sr else NULL)
        elif guest.devices("VBD"):
            guest.ref = guest.run("VM.clone", source["ref"], name)
        else:
            guest.ref = guest.call("VM.clone", source["ref"], name)  # no disk to clone: a matter of milliseconds

    changes.create(view, clone, undo=lambda: destroy_made(guest), leaves=f"VM {guest.name} and its disks")
    cloned = cloned_config(source)
    written = {**view["other_config"], **({"disks": provision_xml(blanks)} if blanks else {})}
    if written != cloned:
        changes.step(f"set other_config of {guest.title}", partial(guest.keys("other_config", cloned), written))
    if blanks:
        changes.step(f"provision {guest.title}", lambda: void(guest.run("VM.provision", guest.ref)))
        changes.step(f"name the disks of {guest.title}", lambda: name_disks(guest, blanks))
    else:
        changes.step(f"make a guest of the clone {guest.name}", lambda: void(guest.set("is_a_template", False)))
    if not params["description"]:
        changes.set("description", "", lambda value: guest.set("name_description", value))
    return others


def plan_name(guest: Guest, changes: ChangeSet) -> None:
    """The last step of making a guest: it answers to its name when it is whole."""

    def give_name() -> None:
        # Only people and other programs can have made one meanwhile: runs of ours wait for each other.
        others = [ref for ref, vm in select(guest.lanes.session(), "VM", labels=[guest.name]).items() if kind(vm) == GUEST]
        if others:
            raise ValueError(f"somebody else has made a {guest.title} meanwhile. Run again to go on with that one")
        guest.set("name_label", guest.name)

    changes.step(f"name {guest.title}", give_name)


def half_made(world: World, name: str) -> list[Record]:
    """What a run that was broken off has left of a guest."""
    return [vm for vm in world.vms.values() if vm["name_label"] == marked(name) and kind(vm) in (GUEST, TEMPLATE)]


def plan_clearance(name: str, lanes: Lanes, world: World, changes: ChangeSet) -> None:
    """Remove what a run that was broken off has left of a guest, with the disks that were made for it."""
    for vm in half_made(world, name):
        if vm["power_state"] != "Halted":
            raise ValueError(
                f"guest {name} was half made by a run that was broken off, and now {vm['name_label']} ({vm['uuid']}) is "
                f"{vm['power_state'].lower()}. Shut it down, or give it another name if it is needed."
            )
        changes.half_made = True
        changes.making.add(f"guest {name}")
        vbds = [vbd for vbd in world.devices("VBD", vm["ref"]) if vbd["type"] == "Disk" and vbd["VDI"] in world.vdis]
        # XAPI and we note at the VBD that a disk was made for its guest: others were there before, and stay.
        disks = [vbd["VDI"] for vbd in vbds if "owner" in vbd["other_config"] and set(world.vdis[vbd["VDI"]]["VBDs"]) <= {vbd["ref"]}]
        for disk in disks:
            changes.step(f"remove a disk of what is half made of guest {name}", lambda ref=disk: void(lanes.run("VDI.destroy", ref)))
        # Last: it is what the next run finds, should this one be broken off, too.
        changes.step(f"remove what is half made of guest {name}", lambda ref=vm["ref"]: void(lanes.call("VM.destroy", ref)))


def blank_disks(
    guest: Guest, template: list[dict[str, str]], disks: list[Disk] | None
) -> tuple[list[Blank], list[Disk] | None]:
    """What VM.provision is to make: the template's disks as the user wants them and new ones; and the other wanted disks."""
    wanted = {disk.device: disk for disk in disks or ()}
    cloned = {item["device"] for item in vm_view(guest.record, guest.world)["disks"]}
    exact = disks is not None and (guest.params["purge"] or not disks)
    blanks = {}
    for attributes in template:
        device = int(attributes["device"])
        disk = wanted.get(device)
        if (exact and not disk) or (disk and disk.vdi):
            continue
        blanks[device] = Blank(
            device, rounded(disk.size if disk and disk.size else int(attributes["size"])),
            (disk.sr if disk else None) or _template_sr(guest, attributes.get("sr", "")) or guest.default_sr(),
            disk.bootable if disk and disk.bootable is not None else attributes.get("bootable") == "true",
            attributes.get("type", "system"), (disk.name if disk else None) or default_name(guest, device),
        )
    for device, disk in wanted.items():
        if device not in blanks and device not in cloned and disk.size and not disk.vdi and disk.mode != "ro":
            blanks[device] = Blank(device, rounded(disk.size), disk.sr or guest.default_sr(), bool(disk.bootable), "user",
                                   disk.name or default_name(guest, device))
    others = None if disks is None else [disk for disk in disks if disk.device not in blanks]
    # A disk list that is done with is not an empty one, which would detach everything.
    return [blanks[device] for device in sorted(blanks)], others if others or exact else None


def _template_sr(guest: Guest, sr_uuid: str) -> Record | None:
    if not sr_uuid or guest.params["sr"]:
        return None
    return next((sr for sr in guest.world.srs.values() if sr["uuid"] == sr_uuid), None)


def _blank_view(blank: Blank) -> dict[str, Any]:
    return {"device": blank.device, "name": blank.name, "size": to_text(blank.size), "sr": blank.sr["name_label"],
            "mode": "rw", "bootable": blank.bootable}


def provision_xml(blanks: list[Blank]) -> str:
    """The value of other_config:disks that VM.provision reads; it takes an SR by uuid only."""
    root = ElementTree.Element("provision")
    for blank in blanks:
        ElementTree.SubElement(root, "disk", {
            "device": str(blank.device), "size": str(blank.size), "sr": blank.sr["uuid"],
            "bootable": "true" if blank.bootable else "false", "type": blank.type,
        })
    return ElementTree.tostring(root, encoding="unicode")


def name_disks(guest: Guest, blanks: list[Blank]) -> None:
    """Name what VM.provision made: it calls a VDI by its device number."""
    for blank in blanks:
        guest.call("VDI.set_name_label", guest.device("VBD", blank.device)["VDI"], blank.name)


def destroy_made(guest: Guest) -> None:
    """Take back a clone with the disks that were made for it, and nothing else."""
    session = guest.lanes.session()
    vbds = session.bulk("VBD.get_all_records_where", f'field "VM"="{guest.ref}"')
    vdis = [vbd["VDI"] for vbd in vbds.values() if vbd["type"] == "Disk" and vbd["VDI"] not in guest.borrowed | {NULL}]
    for vdi in vdis:
        guest.run("VDI.destroy", vdi)
    guest.call("VM.destroy", guest.ref)  # last: it is what the next run finds, should this one be broken off now
