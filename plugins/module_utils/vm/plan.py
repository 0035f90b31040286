# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module vm does to one guest: make it, converge it (with a restart where that is allowed), or remove it."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.lists import Item
from ansible_collections.nobloat.xen.plugins.module_utils.many import Lanes
from ansible_collections.nobloat.xen.plugins.module_utils.vm.create import (
    new_guest,
    plan_clearance,
    plan_create,
    plan_name,
    template_disks,
)
from ansible_collections.nobloat.xen.plugins.module_utils.vm.disks import (
    Disk,
    disk_mark,
    plan_cdrom,
    plan_disks,
    wanted_disks,
)
from ansible_collections.nobloat.xen.plugins.module_utils.vm.guest import Guest
from ansible_collections.nobloat.xen.plugins.module_utils.vm.hardware import (
    check_topology,
    plan_affinity,
    plan_boot,
    plan_memory,
    plan_texts,
    plan_vcpus,
    void,
)
from ansible_collections.nobloat.xen.plugins.module_utils.vm.nics import plan_nics, wanted_nics
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import (
    GUEST,
    TEMPLATE,
    Mentioned,
    Record,
    Records,
    World,
    kind,
    read_world,
    seek,
    select,
)
from ansible_collections.nobloat.xen.plugins.module_utils.vm.restart import refuse_restart
from ansible_collections.nobloat.xen.plugins.module_utils.vm.view import vm_view
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.marks import MARK, marked
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.refusal import refuse
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

Entry = Mapping[str, Any]


def read_for(session: Session, entries: Iterable[Entry]) -> World:
    """Everything that the entries (sets of options of module vm) are about, in a handful of calls whatever their number."""
    entries = list(entries)
    names = {entry[option] for entry in entries for option in ("name", "template", "snapshot") if entry[option]}
    vms = select(session, "VM", names=names, labels={marked(entry["name"]) for entry in entries})
    vms.update(select(session, "VM", refs=lost_snapshots(vms, entries)))
    # Only guests that are there, and sources of those that are not, matter from here on.
    present = {item[key] for item in vms.values() if kind(item) == GUEST for key in ("name_label", "uuid")}
    sources = {entry[option] for entry in entries for option in ("template", "snapshot")
               if entry[option] and entry["name"] not in present and entry["state"] == "present"}
    relevant = {ref: item for ref, item in vms.items()
                if kind(item) == GUEST or item["name_label"].startswith(MARK)
                or sources & {item["name_label"], item["uuid"]} or item["snapshot_of"] in vms}
    running = any(item["power_state"] == "Running" for item in relevant.values() if kind(item) == GUEST)
    return read_world(session, relevant, mentioned(entries, relevant, present), running=running)


def lost_snapshots(vms: Records, entries: Iterable[Entry]) -> set[str]:
    """Snapshots that go with guests that are to be removed with their disks."""
    doomed = {entry["name"] for entry in entries if entry["state"] == "absent" and entry["delete_disks"]}
    guests = (item for item in vms.values() if kind(item) == GUEST and doomed & {item["name_label"], item["uuid"]})
    return {ref for item in guests for ref in item["snapshots"]}


def mentioned(entries: Iterable[Entry], vms: Records, present: set[str]) -> Mentioned:
    """Names in the options that have to be looked up."""
    found = Mentioned()
    found.marks = {disk_mark(item["uuid"]) for item in vms.values() if kind(item) == GUEST}
    found.marks |= {disk_mark(entry["name"]) for entry in entries if entry["state"] == "present" and entry["name"] not in present}
    for source in vms.values():
        found.srs |= {disk["sr"] for disk in template_disks(source) if disk.get("sr")}
    for entry in entries:
        if entry["state"] == "absent":
            found.pbds |= entry["delete_disks"]
            continue
        found.srs |= {entry["sr"]} if entry["sr"] else set()
        found.hosts |= {entry["affinity"]} if entry["affinity"] else set()
        found.vdis |= {entry["cdrom"]} if entry["cdrom"] else set()
        for disk in entry["disks"] or ():
            found.srs |= {disk["sr"]} if disk["sr"] else set()
            found.vdis |= {disk["vdi"]} if disk["vdi"] else set()
        found.networks |= {nic["network"] for nic in entry["nics"] or () if nic["network"]}
        made = any(disk["size"] and not disk["sr"] for disk in entry["disks"] or ())
        found.pool |= (not entry["sr"] and (made or entry["name"] not in present)) or bool(entry["auto_poweron"])
    return found


def plan_vm(entry: Entry, lanes: Lanes, world: World) -> tuple[ChangeSet, Guest | None]:
    """The change set of one entry, and the guest that it is about (None where there is none and shall be none)."""
    record = seek(world.vms, GUEST, entry["name"], among=(GUEST,))
    clearance = ChangeSet("")
    plan_clearance(entry["name"], lanes, world, clearance)
    changes, guest = plan_guest(entry, lanes, world, record)
    changes.steps[:0] = clearance.steps
    changes.making |= clearance.making
    changes.half_made |= clearance.half_made
    return changes, guest


def plan_guest(entry: Entry, lanes: Lanes, world: World, record: Record | None) -> tuple[ChangeSet, Guest | None]:
    """The same, whatever a run that was broken off may have left."""
    if entry["state"] == "absent":
        if record is None:
            return ChangeSet(f"guest {entry['name']}"), None
        guest = Guest(entry, lanes, world, record)
        return plan_absent(guest), guest
    if record is None:
        guest = new_guest(entry, lanes, world)
        disks, nics = wanted_disks(guest), wanted_nics(guest)
        changes = guest.changes()
        converge(guest, changes, plan_create(guest, changes, disks), nics)
        plan_name(guest, changes)
        return changes, guest
    guest = Guest(entry, lanes, world, record)
    return plan_change(guest), guest


def plan_change(guest: Guest) -> ChangeSet:
    """Converge a guest that is there; what needs it halted is wrapped in a shutdown and a start, where that is allowed."""
    disks, nics = wanted_disks(guest), wanted_nics(guest)
    before = vm_view(guest.record, guest.world)
    changes = guest.changes(before)
    converge(guest, changes, disks, nics)
    if not guest.needs:
        return changes
    what = ", ".join(guest.needs)
    if guest.power != "running":
        raise ValueError(f"{guest.title} is {guest.power}; to change {what} it has to be halted. Shut it down first, or resume it.")
    if not guest.params["allow_restart"]:
        raise ValueError(f"{guest.title} is running; to change {what} it has to be halted. With allow_restart: true it is "
                         "shut down gently, changed and started again.")
    guest.power, guest.needs = "halted", []
    restart = guest.changes(before)

    def start() -> None:
        guest.run("VM.start", guest.ref, False, False)  # never left to itself: if it fails, everything is taken back

    restart.step(f"shut down {guest.title}", lambda: void(guest.run("VM.clean_shutdown", guest.ref)),
                 undo=start, leaves=f"{guest.title} is halted")
    converge(guest, restart, disks, nics)
    refuse_restart(guest)
    restart.step(f"start {guest.title}", start)
    return restart


def converge(guest: Guest, changes: ChangeSet, disks: list[Disk] | None, nics: list[dict[str, Any]] | None) -> None:
    """Plan all that a guest is to be, as far as the options say."""
    plan_texts(guest, changes)
    plan_memory(guest, changes)
    plan_vcpus(guest, changes)
    plan_boot(guest, changes)
    check_topology(guest)
    plan_affinity(guest, changes)
    plan_disks(guest, changes, disks)
    plan_nics(guest, changes, nics)
    plan_cdrom(guest, changes)


def plan_absent(guest: Guest) -> ChangeSet:
    """Remove a guest; its disks and snapshots only with delete_disks. What XAPI would refuse is refused before any of it."""
    changes = guest.changes(vm_view(guest.record, guest.world))
    if guest.power != "halted":
        if not guest.params["force"]:
            raise ValueError(f"{guest.title} is {guest.power}. Halt it first, or let force: true pull its plug before it is removed.")
        refuse(guest.record, "hard_shutdown", guest.title)
        changes.step(f"power off {guest.title}", lambda: void(guest.run("VM.hard_shutdown", guest.ref)),
                     gone=f"the memory of {guest.title}" if guest.power == "suspended" else "", leaves=f"{guest.title}, powered off")
    refuse(guest.record, "destroy", guest.title, now=guest.power == "halted")
    if guest.params["delete_disks"]:
        snapshots = [item for item in guest.world.vms.values() if item["snapshot_of"] == guest.ref]
        plan_disks_away(guest, changes, snapshots, own_vdis(guest, [guest.ref, *(item["ref"] for item in snapshots)]))
    changes.delete(lambda: guest.call("VM.destroy", guest.ref))
    return changes


def plan_disks_away(guest: Guest, changes: ChangeSet, snapshots: list[Record], vdis: list[str]) -> None:
    """Destroy disks and snapshots of a guest."""
    world = guest.world
    for snapshot in snapshots:
        title = f"snapshot {snapshot['name_label']} of {guest.title}"
        refuse(snapshot, "destroy", title)
        if snapshot["power_state"] == "Suspended":  # its disks count as attached, and its memory goes with this
            refuse(snapshot, "hard_shutdown", title)
            changes.step(f"drop the memory of {title}", lambda ref=snapshot["ref"]: void(guest.run("VM.hard_shutdown", ref)),
                         gone=f"the memory of {title}")
    attached = {vbd["VDI"] for vbd in world.vbds.values() if vbd["currently_attached"]}
    reachable = {pbd["SR"] for pbd in world.pbds.values() if pbd["currently_attached"]}
    # Disks first: should one fail, the rest can still be found by the guest's name.
    for ref in vdis:
        vdi = world.vdis[ref]
        title = f"disk {vdi['name_label']} of {guest.title}"
        refuse(vdi, "destroy", title, now=ref not in attached)
        if vdi["SR"] not in reachable:
            raise ValueError(f"{title} is on SR {world.name('SR', vdi['SR'])}, which no host has attached. Attach it first (module sr).")
        changes.step(f"destroy {title}", lambda ref=ref: void(guest.run("VDI.destroy", ref)), gone=title)
    for snapshot in snapshots:
        title = f"snapshot {snapshot['name_label']} of {guest.title}"
        changes.step(f"remove {title}", lambda ref=snapshot["ref"]: void(guest.call("VM.destroy", ref)), gone=title)


def own_vdis(guest: Guest, vms: list[str]) -> list[str]:
    """Writable disks of these VMs that no other VM uses, newest first: snapshots hang on what they were taken of."""
    world = guest.world
    vbds = {vbd["ref"]: vbd["VDI"] for vm in vms for vbd in world.devices("VBD", vm)
            if vbd["type"] == "Disk" and vbd["mode"] == "RW" and vbd["VDI"] in world.vdis}
    return sorted(
        {vdi for vdi in vbds.values() if set(world.vdis[vdi]["VBDs"]) <= vbds.keys()},
        key=lambda vdi: (not world.vdis[vdi]["is_a_snapshot"], vdi),
    )


def refresh(session: Session, items: Iterable[Item]) -> None:
    """Put what is there now into the change sets of guests whose devices were made: XAPI picks uuids and MACs. Five calls."""
    changed = {
        item.thing.ref: item for item in items if item.thing and item.changed and item.changes.after
        and (item.thing.fresh or any(item.changes.after[key] != item.changes.before[key] for key in ("disks", "nics")))
    }
    if not changed:
        return
    vms = select(session, "VM", refs=changed)
    world = read_world(session, vms)
    for ref, vm in vms.items():
        changed[ref].changes.after = vm_view(vm, world)


def still_none(items: Sequence[Item]) -> bool:
    """Whether all that is to be made are guests of which there is nothing in the pool, as was planned. One call."""
    makers = [item for item in items if item.changes.making]
    guests: list[Guest] = [item.thing for item in makers if item.thing and item.thing.fresh and not item.changes.half_made]
    if len(guests) < len(makers):
        return False
    names = [label for item in makers for label in (item.options["name"], marked(item.options["name"]))]
    return not any(kind(vm) in (GUEST, TEMPLATE) for vm in select(guests[0].lanes.session(), "VM", labels=names).values())
