# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance of a host: emptied and disabled, with a note of the guests that have left it, so that they find back."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.hosts import along
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.evacuation import (
    Scene,
    check_network,
    live_hosts,
    obstacles,
    read_scene,
    resident,
)
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.legs import refuse_last
from ansible_collections.nobloat.xen.plugins.module_utils.module import Refused, XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, Records, pick, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import write_key

NOTE = "nobloat.xen.maintenance"  # in the host's other_config: uuids of the guests that left, separated by commas


def away(host: Record) -> list[str]:
    """uuids of the guests that left the host for its maintenance, as noted."""
    return [uuid for uuid in host["other_config"].get(NOTE, "").split(",") if uuid]


def names(vms: Iterable[Record]) -> list[str]:
    return sorted(vm["name_label"] for vm in vms)


def listing(told: Iterable[Record]) -> str:
    """Obstacles as lines of a message."""
    return "\n".join(f"{item['vm']}: {item['reason']}. {item['cure']}".strip() for item in told)


class Maintenance:
    """A host and its guests: those on it, and those that are noted as away."""

    def __init__(self, module: XapiModule) -> None:
        self.module, self.session = module, module.xapi
        self.hosts: Records = records.records(self.session, "host")
        self.host = pick(self.hosts, "host", module.params["name"])
        self.ref: str = self.host["ref"]
        self.live = live_hosts(self.session, self.hosts)
        self.vms = select(self.session, "VM", refs=self.host["resident_VMs"], uuid=away(self.host))
        self.guests = resident(self.host, self.vms)
        noted = set(away(self.host))
        self.away = [vm for vm in self.vms.values() if vm["uuid"] in noted and vm not in self.guests]
        # Those that leave together with their disks, also guests that do not run.
        self.bound = along.bound(self.session, self.ref) if module.params["move_disks"] else along.Disks()
        self.homeward: dict[str, along.Move] = {}
        self.network = module.params["network"] and records.find(self.session, "network", module.params["network"])
        self.changes = ChangeSet(f"maintenance of host {self.host['name_label']}", before=self.view())

    def view(self) -> Record:
        enabled = self.host["enabled"]
        return {
            "name": self.host["name_label"],
            "uuid": self.host["uuid"],
            "enabled": enabled,
            "maintenance": not enabled and not self.guests,
            "entered": NOTE in self.host["other_config"],
            "vms": names(self.guests),
            "vms_away": names(self.away),
        }

    # -- into it

    def enter(self) -> ChangeSet:
        """Plan to disable and empty the host; Refused where XAPI could not empty it."""
        if not self.host["enabled"] and not self.guests and not self.bound.vms:
            return self.changes
        if self.ref not in self.live:
            raise ValueError(f"Host {self.host['name_label']} is not alive, so nothing can leave it.")
        refuse_last(self.module, self.host, self.hosts)
        moves = self._check() if self.guests or self.bound.vms else []
        after = self.changes.after
        after.update(enabled=False, maintenance=True, entered=True, vms=[], vms_away=names(self._leaving().values()))
        self.changes.step("note the guests that leave", self._note, undo=self._renote)
        # XAPI moves the disks of a guest that does not run by an enabled host that sees them.
        idle = [move for move in moves if move.vm["power_state"] != "Running"]
        enabled = self.host["enabled"]
        if idle and not enabled:
            self.changes.step(f"enable host {self.host['name_label']} for its disks", self._enable, undo=self._disable)
        self._plan_carry(idle)
        if idle or enabled:
            self.changes.step(f"disable host {self.host['name_label']}", self._disable, undo=self._enable)
        self._plan_carry([move for move in moves if move not in idle])
        if any(vm["ref"] not in self.bound.vms for vm in self.guests):
            self.changes.step("move the other guests to other hosts", self._evacuate)
        return self.changes

    def _leaving(self) -> Records:
        """All that is away in the end."""
        return {vm["ref"]: vm for vm in [*self.guests, *self.away, *self.bound.vms.values()]}

    def _check(self) -> list[along.Move]:
        """Everything that would keep a guest here is told at once, before anything is changed. Who moves with disks, and where."""
        reasons = self.session.call("host.get_vms_which_prevent_evacuation", self.ref)
        scene = read_scene(self.session, self.host, self.hosts, self.live, reasons)
        moves, homeless = along.place(self.bound, along.read_room(self.session, [ref for ref in scene.targets if ref in self.live])) \
            if self.bound.vms else ([], [])
        carried = {vm["uuid"] for vm in self.bound.vms.values()}
        found = [item for item in obstacles(scene, reasons) if item["code"] != "VM_REQUIRES_SR" or item["uuid"] not in carried]
        found += [{
            "vm": vm["name_label"], "uuid": vm["uuid"], "code": "VM_REQUIRES_SR",
            "reason": "no other enabled host has room for its memory and its disks",
            "cure": "Make room on another host, enable one, or remove the guest.",
        } for vm in homeless if vm["uuid"] not in {item["uuid"] for item in found}]
        found += [{
            "vm": vm["name_label"], "uuid": vm["uuid"], "code": "OPERATION_BLOCKED",
            "reason": f"its move is blocked: {vm['blocked_operations']['migrate_send']}",
            "cure": "Remove migrate_send from its blocked_operations.",
        } for vm in self.bound.vms.values() if "migrate_send" in vm["blocked_operations"]]
        if found:
            raise Refused(
                f"Host {self.host['name_label']} cannot be emptied, {len(found)} of its "
                f"{len({*self.bound.vms, *(vm['ref'] for vm in self.guests)})} guests cannot leave.\n" + listing(found), obstacles=found,
            )
        if self.network:
            check_network(self.session, self.network, Scene(self.host, self.hosts, self.live, {}))
        return moves

    def _plan_carry(self, moves: list[along.Move]) -> None:
        for move in moves:
            self.changes.step(f"move {move.vm['name_label']} with its disks", lambda move=move: self._carry(move))

    def _carry(self, move: along.Move) -> None:
        """Move a guest with its disks; live where it runs."""
        self.module.progress(f"{move.vm['name_label']} moves with {len(move.disks)} disks")
        network = self.network["ref"] if self.network else along.management_network(self.session, move.host)
        token = self.session.call("host.migrate_receive", move.host, network, {})
        self.module.run("VM.migrate_send", move.vm["ref"], token, True, move.disks, {}, {})

    def _enable(self) -> None:
        self.session.call("host.enable", self.ref)

    def _disable(self) -> None:
        wanted = self.module.params["auto_enable"]
        self.session.call("host.disable", self.ref, *([] if wanted is None else [wanted]))

    def _note(self) -> None:
        uuids = sorted({*away(self.host), *(vm["uuid"] for vm in self._leaving().values())})
        self._write_note(",".join(uuids))

    def _renote(self) -> None:
        """After a failure: note only who has really left, so that the next run, or state=absent, knows."""
        vms = select(self.session, "VM", uuid={*away(self.host), *(vm["uuid"] for vm in self._leaving().values())})
        here = along.bound(self.session, self.ref).vms if self.bound.vms else {}
        gone = [vm for ref, vm in vms.items() if vm["resident_on"] != self.ref and ref not in here]
        self._write_note(",".join(sorted(vm["uuid"] for vm in gone)) if gone else None)
        if gone:
            self.module.warn(
                f"{', '.join(names(gone))} had left host {self.host['name_label']} already. "
                "Run again to go on, or with state=absent and return_vms=true to bring them back."
            )

    def _write_note(self, text: str | None) -> None:
        write_key(self.session.call, "host", "other_config", self.ref, NOTE, text)

    def _evacuate(self) -> None:
        # An older XAPI does not know the optional parameters, so only what is needed is sent.
        self.module.run("host.evacuate", self.ref, *([self.network["ref"]] if self.network else []), last=True)

    # -- out of it

    def leave(self) -> ChangeSet:
        """Plan to enable the host, and to bring its guests back where that is wanted."""
        noted = NOTE in self.host["other_config"]
        if self.host["enabled"] and not noted:
            return self.changes
        if self.ref not in self.live:
            raise ValueError(f"Host {self.host['name_label']} is not alive. Bring it back first.")
        returning = self._returning() if self.module.params["return_vms"] else []
        self.changes.after.update(
            enabled=True, maintenance=False, entered=False, vms_away=[],
            vms=names([*self.guests, *(vm for vm in returning if vm["power_state"] == "Running")]))
        if not self.host["enabled"]:
            self.changes.step(
                f"enable host {self.host['name_label']}", lambda: ignore(self.module.run("host.enable", self.ref)),
                leaves=f"host {self.host['name_label']} is enabled",
            )
        if returning:
            self.changes.step(f"bring {len(returning)} guests back", lambda: self._bring_back(returning))
        if noted:
            self.changes.step("forget which guests had left", lambda: self._write_note(None))
        return self.changes

    def _returning(self) -> list[Record]:
        """Those that are away and run; who was shut down meanwhile starts wherever it likes, once its disks are back."""
        running = {vm["ref"]: vm for vm in self.away if vm["power_state"] == "Running" and vm["resident_on"] != self.ref}
        if self.module.params["move_disks"]:
            self.homeward = self._homeward()
            running |= {move.vm["ref"]: move.vm for move in self.homeward.values()}
        return sorted(running.values(), key=lambda vm: str(vm["name_label"]))

    def _homeward(self) -> dict[str, along.Move]:
        """By reference, the guests whose disks have to come back with them, as this host does not see them."""
        disks = along.read_disks(self.session, {vm["ref"]: vm for vm in self.away})
        room = along.read_room(self.session, [self.ref])
        seen = set(room.srs[self.ref])
        far = {ref: vm for ref, vm in disks.vms.items() if any(vdi["SR"] not in seen for vdi in disks.of(ref))}
        moves, homeless = along.place(along.Disks(far, disks.vbds, disks.vdis), room)
        if homeless:
            raise ValueError(f"Host {self.host['name_label']} has no room for the memory and disks of {', '.join(names(homeless))}.")
        return {move.vm["ref"]: move for move in moves}

    def _bring_back(self, guests: list[Record]) -> None:
        """One after the other; one that fails stays noted and does not keep the others away."""
        options = {"live": "true", **({"network": self.network["ref"]} if self.network else {})}
        failed: dict[str, tuple[Record, XapiError]] = {}
        for number, vm in enumerate(guests, 1):
            self.module.progress(f"{vm['name_label']} comes back ({number} of {len(guests)})")
            try:
                if vm["ref"] in self.homeward:
                    self._carry(self.homeward[vm["ref"]])
                else:
                    self.module.run("VM.pool_migrate", vm["ref"], self.ref, options)
            except XapiError as error:
                failed[vm["uuid"]] = vm, records.name_refs(self.session, error)
        if failed:
            self._write_note(",".join(sorted(failed)))
            told: list[dict[str, Any]] = [
                {"vm": vm["name_label"], "uuid": uuid, "code": error.code, "reason": str(error), "cure": error.hint}
                for uuid, (vm, error) in failed.items()
            ]
            back = f"{len(guests) - len(failed)} of {len(guests)} guests are back on host {self.host['name_label']}.\n"
            raise Refused(back + listing(told), obstacles=told)
