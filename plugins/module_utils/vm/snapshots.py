# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of guests: take, remove, go back to."""
from __future__ import annotations

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.hardware import void
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import (
    GUEST,
    SNAPSHOT,
    Record,
    Records,
    World,
    device_number,
    pick,
    seek,
    select,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import NotFound
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.marks import marked
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL, record
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.refusal import refuse


def snapshot_view(snapshot: Record, guest_name: str | None) -> dict[str, Any]:
    """A snapshot in the terms of the module's options. `vm` is null where the guest is gone."""
    return {
        "name": snapshot["name_label"],
        "uuid": snapshot["uuid"],
        "vm": guest_name,
        "description": snapshot["name_description"],
        "memory": snapshot["power_state"] == "Suspended",
        "time": snapshot["snapshot_time"].strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def plan_snapshot(module: XapiModule) -> ChangeSet:
    """The change set of module vm_snapshot: two or three calls to look."""
    params = module.params
    vms = select(module.xapi, "VM", names={params["name"], params["vm"]} - {None}, labels=[marked(params["name"])])
    # A guest that is not there has no snapshot either.
    look = seek if params["state"] == "absent" else pick
    guest = look(vms, GUEST, params["vm"], among=(GUEST,)) if params["vm"] else None
    snapshot = find_snapshot(vms, params["name"], guest)
    if snapshot and not guest:
        guest = select(module.xapi, "VM", refs=[snapshot["snapshot_of"]]).get(snapshot["snapshot_of"])
    title = f"snapshot {params['name']}" + (f" of guest {guest['name_label']}" if guest else "")
    changes = ChangeSet(title, snapshot_view(snapshot, guest["name_label"] if guest else None) if snapshot else {})
    for left in vms.values():
        if guest and left["snapshot_of"] == guest["ref"] and left["name_label"] == marked(params["name"]):
            clear(module, changes, left)
    if params["state"] == "absent":
        if snapshot:
            plan_removal(module, changes, snapshot)
    elif snapshot is None:
        if params["state"] == "reverted" or not guest:
            raise NotFound("snapshot" + (f" of guest {guest['name_label']}" if guest else ""), params["name"],
                           "" if guest else "Say with vm of which guest it is.")
        plan_taking(module, changes, guest)
    else:
        changes.set("description", params["description"],
                    lambda value: module.xapi.call("VM.set_name_description", snapshot["ref"], value))
        if params["state"] == "reverted":
            plan_revert(module, changes, snapshot, guest)
    return changes


def find_snapshot(vms: Records, name: str, guest: Record | None) -> Record | None:
    """The snapshot of a guest by name or uuid; without a guest, by uuid only. Raises Ambiguous."""
    mine = {ref: item for ref, item in vms.items() if (item["snapshot_of"] == guest["ref"] if guest else item["uuid"] == name)}
    return seek(mine, "snapshot", name, among=(SNAPSHOT,))


def plan_taking(module: XapiModule, changes: ChangeSet, guest: Record) -> None:
    """Take a snapshot, with the guest's memory where that is wanted."""
    params = module.params
    title = f"guest {guest['name_label']}"
    if params["memory"] and guest["power_state"] != "Running":
        raise ValueError(f"{title} is {guest['power_state'].lower()}; only a running guest has memory to take a snapshot of.")
    if params["memory"] and params["exclude_disks"]:
        raise ValueError("A snapshot with memory is of all disks: exclude_disks goes without memory only.")
    ignored = excluded(module, guest) if params["exclude_disks"] else []
    made: dict[str, str] = {}

    def take() -> dict[str, Any]:
        name = marked(params["name"])  # XAPI shows it before it is whole
        if params["memory"]:
            made["ref"] = module.run("VM.checkpoint", guest["ref"], name)
        else:
            made["ref"] = module.run("VM.snapshot", guest["ref"], name, *([ignored] if ignored else []))
        snapshot = record(module.xapi, "VM", made["ref"])
        return {"uuid": snapshot["uuid"], "time": snapshot_view(snapshot, None)["time"]}

    view = {"name": params["name"], "vm": guest["name_label"], "description": guest["name_description"], "memory": params["memory"]}
    changes.create(view, take, undo=lambda: drop(module, changes.title, made["ref"]), leaves=changes.title)
    changes.set("description", params["description"], lambda value: module.xapi.call("VM.set_name_description", made["ref"], value))
    changes.step(f"name {changes.title}", lambda: void(module.xapi.call("VM.set_name_label", made["ref"], params["name"])))


def clear(module: XapiModule, changes: ChangeSet, left: Record) -> None:
    """Remove what a run that was broken off has left of a snapshot."""
    clearance = ChangeSet(f"what is half made of {changes.title}")
    plan_removal(module, clearance, left)
    changes.steps[:0] = clearance.steps
    changes.making.add(changes.title)
    changes.half_made = True


def drop(module: XapiModule, title: str, ref: str) -> None:
    """Take back a snapshot that this run has taken."""
    changes = ChangeSet(title)
    plan_removal(module, changes, record(module.xapi, "VM", ref))
    changes.apply()


def excluded(module: XapiModule, guest: Record) -> list[str]:
    """VDIs of the disks that the snapshot is to leave out."""
    disks = {device_number(vbd): vbd["VDI"] for vbd in select(module.xapi, "VBD", VM=[guest["ref"]]).values() if vbd["type"] == "Disk"}
    for device in module.params["exclude_disks"]:
        if device not in disks:
            raise ValueError(f"guest {guest['name_label']} has no disk at device {device} to leave out.")
    return [disks[device] for device in module.params["exclude_disks"]]


def plan_removal(module: XapiModule, changes: ChangeSet, snapshot: Record) -> None:
    """Remove a snapshot with its disks and memory. Disks first: should one fail, the rest can still be found by its name."""
    world = World(vbds=select(module.xapi, "VBD", VM=[snapshot["ref"]]))
    disks = {vbd["VDI"] for vbd in world.vbds.values() if vbd["type"] == "Disk"} - {NULL}
    # A VDI that is no snapshot is a disk in use elsewhere: XAPI leaves those alone that it could not take one of.
    mine = {ref: vdi for ref, vdi in select(module.xapi, "VDI", refs=disks).items() if vdi["is_a_snapshot"]}
    refuse(snapshot, "destroy", changes.title)
    if snapshot["power_state"] == "Suspended":
        # Its disks count as attached, and its memory goes with this.
        refuse(snapshot, "hard_shutdown", changes.title)
        changes.step(f"drop the memory of {changes.title}", lambda: void(module.run("VM.hard_shutdown", snapshot["ref"])),
                     gone=f"the memory of {changes.title}")
    reachable = {pbd["SR"] for pbd in select(module.xapi, "PBD", SR={vdi["SR"] for vdi in mine.values()}).values()
                 if pbd["currently_attached"]}
    for ref, vdi in sorted(mine.items()):
        title = f"disk {vdi['name_label']} of {changes.title}"
        if set(vdi["VBDs"]) - world.vbds.keys():
            raise ValueError(f"{title} ({vdi['uuid']}) is attached to another VM, too. Detach it there first (module vdi).")
        refuse(vdi, "destroy", title, now=snapshot["power_state"] != "Suspended")
        if vdi["SR"] not in reachable:
            raise ValueError(f"{title} is on an SR that no host has attached. Attach it first (module sr).")
        changes.step(f"destroy {title}", lambda ref=ref: void(module.run("VDI.destroy", ref)), gone=title)
    changes.delete(lambda: module.xapi.call("VM.destroy", snapshot["ref"]))


def plan_revert(module: XapiModule, changes: ChangeSet, snapshot: Record, guest: Record | None) -> None:
    """Bring a guest back to a snapshot, which XAPI powers it off for; then start it if wanted."""
    changes.after["reverted"] = True
    changes.before["reverted"] = False
    if not guest:
        raise ValueError(f"The guest of {changes.title} is gone. Make a new one from it with module vm (snapshot: {snapshot['uuid']}).")
    refuse(snapshot, "revert", changes.title)
    refuse(guest, "reverting", f"guest {guest['name_label']}", now=False)
    start = module.params["start"]
    changes.step(f"revert to {changes.title}", lambda: void(module.run("VM.revert", snapshot["ref"], last=not start)),
                 gone=f"what the disks of guest {guest['name_label']} had become", leaves=f"guest {guest['name_label']}, not started")
    if start:
        method = "VM.resume" if snapshot["power_state"] == "Suspended" else "VM.start"
        changes.step(f"start guest {guest['name_label']}", lambda: void(module.run(method, guest["ref"], False, False, last=True)))
