# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power states: which calls lead from one to another, and waiting until guests have an address."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.lists import Item
from ansible_collections.nobloat.xen.plugins.module_utils.many import Lanes
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.addresses import addresses, agent_report
from ansible_collections.nobloat.xen.plugins.module_utils.vm.guest import Guest
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import GUEST, Record, Records, World, pick, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import tasks
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.refusal import refuse_blocked
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.silence import signs_of_life

STATES = {"Running": "running", "Halted": "halted", "Suspended": "suspended", "Paused": "paused"}

# From XAPI's power state to the wanted one: calls, and "down" or "reboot" for what is done gently or, with force, at once.
_WAYS: dict[tuple[str, str], tuple[str, ...]] = {
    ("Halted", "running"): ("start",),
    ("Suspended", "running"): ("resume",),
    ("Paused", "running"): ("unpause",),
    ("Running", "halted"): ("down",),
    ("Paused", "halted"): ("unpause", "down"),
    ("Suspended", "halted"): ("resume", "down"),
    ("Running", "suspended"): ("suspend",),
    ("Paused", "suspended"): ("unpause", "suspend"),
    ("Running", "paused"): ("pause",),
    ("Halted", "paused"): ("start paused",),
    ("Suspended", "paused"): ("resume paused",),
    ("Running", "restarted"): ("reboot",),
    ("Paused", "restarted"): ("unpause", "reboot"),
    ("Suspended", "restarted"): ("resume", "reboot"),
    ("Halted", "restarted"): ("start",),
}
_FORCED: dict[tuple[str, str], tuple[str, ...]] = {
    ("Running", "halted"): ("hard down",),
    ("Paused", "halted"): ("hard down",),
    ("Suspended", "halted"): ("hard down",),
    ("Running", "restarted"): ("hard reboot",),
    ("Paused", "restarted"): ("hard reboot",),
    ("Suspended", "restarted"): ("hard down", "start"),
}
# What says that a guest cannot or does not shut down when asked (xapi-behaviour.md 2.1).
_DEAF = {"TIMEOUT", "VM_LACKS_FEATURE", "VM_LACKS_FEATURE_SHUTDOWN", "VM_MISSING_PV_DRIVERS", "VM_SHUTDOWN_TIMEOUT",
         "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT"}


def way(live: str, wanted: str, *, force: bool = False) -> tuple[str, ...]:
    """The operations that lead from XAPI's power state `live` to `wanted`; none where they are the same."""
    if STATES[live] == wanted:
        return ()
    if force and (live, wanted) in _FORCED:
        return _FORCED[live, wanted]
    try:
        return _WAYS[live, wanted]
    except KeyError:
        raise ValueError(f"it is {STATES[live]}, so it cannot become {wanted}; start it first.") from None


def read_power(session: Session, entries: Sequence[Mapping[str, Any]]) -> World:
    """The guests of the entries and their hosts: two calls, and the agents' reports where a restart is to outdate them."""
    vms = select(session, "VM", names={entry["name"] for entry in entries})
    world = World(vms=vms, hosts=_hosts(session, vms, {entry["host"] for entry in entries if entry["host"]}))
    awaited = {entry["name"] for entry in entries if entry["wait_for_ip"] and entry["state"] == "restarted"}
    reports = {vm["guest_metrics"] for vm in vms.values() if awaited & {vm["name_label"], vm["uuid"]}}
    world.guest_metrics = select(session, "VM_guest_metrics", refs=reports)
    return world


def _hosts(session: Session, vms: Records, names: set[str]) -> Records:
    return select(session, "host", refs={vm["resident_on"] for vm in vms.values()}, names=names)


def power_view(vm: Record, world: World) -> dict[str, Any]:
    """Name, uuid, power state and, while the guest is on one, host."""
    view = {"name": vm["name_label"], "uuid": vm["uuid"], "power_state": STATES[vm["power_state"]]}
    host = world.name("host", vm["resident_on"]) if vm["power_state"] in ("Running", "Paused") else None
    return view | ({"host": host} if host else {})


def plan_power(entry: Mapping[str, Any], lanes: Lanes, world: World) -> tuple[ChangeSet, Guest]:
    """The change set of one guest."""
    vm = pick(world.vms, GUEST, entry["name"], among=(GUEST,))
    guest = Guest(entry, lanes, world, vm)
    host = pick(world.hosts, "host", entry["host"]) if entry["host"] else None
    changes = guest.changes(power_view(vm, world))
    # Where it is on the host that it shall be on, an earlier run has brought it there.
    dead = entry["assume_dead"] and vm["power_state"] in ("Running", "Paused") and not (host and host["ref"] == vm["resident_on"])
    if dead:
        check_dead(guest)
    try:
        operations = (("reset",) if dead else ()) + way("Halted" if dead else vm["power_state"], entry["state"], force=entry["force"])
    except ValueError as error:
        raise ValueError(f"{guest.title}: {error}") from None
    if not operations:
        return changes, guest
    check_blocked(guest, operations, on=bool(host))
    for operation in operations:
        changes.step(f"{operation} {guest.title}", _call(guest, operation, host, last=operation == operations[-1]),
                     **_back(guest, operation))
    changes.after["power_state"] = "running" if entry["state"] == "restarted" else entry["state"]
    if entry["state"] == "restarted" and vm["power_state"] == "Running" and not dead:
        changes.before["restarted"], changes.after["restarted"] = False, True
    if entry["state"] in ("halted", "suspended"):
        changes.after.pop("host", None)
    elif host and operations[-1].startswith(("start", "resume")):
        changes.after["host"] = host["name_label"]
    elif dead:
        changes.after.pop("host", None)
    return changes, guest


def check_dead(guest: Guest) -> None:
    """Raise ValueError where the host of a guest shows that it lives: its guest would run twice."""
    host = guest.world.hosts.get(guest.record["resident_on"])
    sign = signs_of_life(guest.lanes.session().url, host["address"]) if host and host["address"] else ""
    if host and sign:
        raise ValueError(f"{guest.title}: its host {host['name_label']} must not be taken for dead, {sign}. Shut the guest down "
                         "there, with force if need be.")


def check_blocked(guest: Guest, operations: Sequence[str], *, on: bool = False) -> None:
    """Raise what XAPI would raise, before the first of several operations, where an administrator blocked one."""
    for operation in operations:
        refuse_blocked(guest.record, *{"down": ("clean_shutdown",), "hard down": ("hard_shutdown",), "reboot": ("clean_reboot",),
                                       "hard reboot": ("hard_reboot",), "reset": ("power_state_reset",),
                                       }.get(operation, (operation.split()[0],)))
        if on and operation.startswith(("start", "resume")):
            refuse_blocked(guest.record, f"{operation.split()[0]}_on")


def _back(guest: Guest, operation: str) -> dict[str, Any]:
    """How a first operation is taken back when the second one fails, or what it leaves and destroys."""
    if operation == "unpause":
        return {"undo": lambda: guest.run("VM.pause", guest.ref)}
    if operation == "resume":
        return {"undo": lambda: guest.run("VM.suspend", guest.ref)}
    if operation == "reset":
        return {"leaves": f"{guest.title}, which counts as shut down"}
    memory = guest.record["power_state"] == "Suspended" and operation == "hard down"
    return {"leaves": f"{guest.title}, shut down", "gone": f"the memory of {guest.title}"} if memory else {}


def _call(guest: Guest, operation: str, host: Record | None, *, last: bool) -> Callable[[], None]:
    paused = operation.endswith(" paused")
    plain: dict[str, Callable[[], Any]] = {
        "reset": lambda: guest.call("VM.power_state_reset", guest.ref),
        "unpause": lambda: guest.run("VM.unpause", guest.ref, last=last),
        "pause": lambda: guest.run("VM.pause", guest.ref, last=last),
        "suspend": lambda: guest.run("VM.suspend", guest.ref, last=last),
        "hard down": lambda: guest.run("VM.hard_shutdown", guest.ref, last=last),
        "hard reboot": lambda: guest.run("VM.hard_reboot", guest.ref, last=last),
        "down": lambda: gently(guest, "shutdown"),
        "reboot": lambda: gently(guest, "reboot"),
    }

    def run() -> None:
        if operation in plain:
            plain[operation]()
            return
        method = f"VM.{operation.split()[0]}"
        if host:
            guest.run(f"{method}_on", guest.ref, host["ref"], paused, False, last=last)
        else:
            guest.run(method, guest.ref, paused, False, last=last)

    return run


def gently(guest: Guest, what: str) -> None:
    """Ask a guest to shut down or reboot; do it hard when it cannot be asked, or has not done so in `shutdown_timeout`.

    With a `shutdown_timeout` of 0 it is never done hard: the error is raised.
    """
    patience = guest.params["shutdown_timeout"]
    module = guest.lanes.module
    try:
        tasks.run(guest.lanes.session(), f"VM.clean_{what}", guest.ref, timeout=patience or module.params["wait_timeout"])
    except XapiError as error:
        if error.code not in _DEAF or not patience:
            raise
        module.progress(f"{guest.title} does not {what} by itself ({error}), so it is done hard")
        live = guest.call("VM.get_power_state", guest.ref)
        if live != "Halted":
            guest.run(f"VM.hard_{what}", guest.ref)
        elif what == "reboot":
            guest.run("VM.start", guest.ref, False, False)


def look_again(module: XapiModule, items: Sequence[Item]) -> None:
    """Put what is there now into the change sets of guests that changed: two calls for all."""
    changed = {item.thing.ref: item for item in items if item.changed and item.thing}
    if not changed or module.detached:
        return
    vms = select(module.xapi, "VM", refs=changed)
    world = World(vms=vms, hosts=_hosts(module.xapi, vms, set()))
    for ref, item in changed.items():
        if ref in vms:
            restarted = {"restarted": True} if "restarted" in item.changes.after else {}
            item.changes.after = {**power_view(vms[ref], world), **restarted}


def await_addresses(module: XapiModule, items: Sequence[Item]) -> None:
    """Wait until the running guests that asked for it have an IP address, each at most its `ip_timeout`.

    The addresses go to the items' results; a guest that got none in time becomes a failed item. Two calls a look for all.
    """
    began = time.monotonic()
    waiting = {item.thing.ref: item for item in items
               if item.thing and item.thing.params["wait_for_ip"] and item.changes.after.get("power_state") == "running"}
    guests = {ref: item.thing for ref, item in waiting.items() if item.thing}
    pause = 0.5
    while waiting:
        vms = select(module.xapi, "VM", refs=waiting)
        reports = select(module.xapi, "VM_guest_metrics", refs={vm["guest_metrics"] for vm in vms.values()})
        for ref, item in list(waiting.items()):
            guest = guests[ref]
            report = agent_report(vms[ref], reports) if ref in vms else None
            found = addresses(report) if fresh_report(guest, report) else []
            limit = guest.params["ip_timeout"]
            if found:
                item.changes.facts["ip_addresses"] = found
            elif ref not in vms or vms[ref]["power_state"] != "Running":
                item.error = ValueError(f"{guest.title} stopped running while waiting for its IP address.")
            elif time.monotonic() - began > limit:
                item.error = ValueError(f"{guest.title} runs, but has reported no IP address within {limit} seconds (ip_timeout). "
                                        "Its guest agent may be missing, or its network without DHCP.")
            else:
                continue
            del waiting[ref]
        if waiting:
            time.sleep(pause)
            pause = min(pause * 1.5, 5.0)


def fresh_report(guest: Guest, report: Record | None) -> bool:
    """Whether the agent reported since this run began: what it said before a restart says nothing about the guest that comes up."""
    if report is None:
        return False
    old = guest.world.guest_metrics.get(report["ref"])
    return old is None or report["last_updated"] > old["last_updated"]
