# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance of a host: emptied and disabled, with a note of the guests that have left it, so that they find back."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.evacuation import (
    Scene,
    check_network,
    live_hosts,
    obstacles,
    read_scene,
    resident,
)
from ansible_collections.nobloat.xen.plugins.module_utils.module import Refused, XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, Records, pick, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError

NOTE = "nobloat.xen.maintenance"  # in the host's other_config: uuids of the guests that left, separated by commas


def away(host: Record) -> list[str]:
    """uuids of the guests that left the host for its maintenance, as noted."""
    return [uuid for uuid in host["other_config"].get(NOTE, "").split(",") if uuid]


def names(vms: Iterable[Record]) -> list[str]:
    return sorted(vm["name_label"] for vm in vms)


def listing(told: Iterable[Record]) -> str:
    """Obstacles as lines of a message."""
    return "\n".join(f"{item['guest']}: {item['reason']}. {item['cure']}".strip() for item in told)


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
            "guests": names(self.guests),
            "guests_away": names(self.away),
        }

    # -- into it

    def enter(self) -> ChangeSet:
        """Plan to disable and empty the host; Refused where XAPI could not empty it."""
        if not self.host["enabled"] and not self.guests:
            return self.changes
        if self.ref not in self.live:
            raise ValueError(f"Host {self.host['name_label']} is not alive, so nothing can leave it.")
        if self.guests:
            self._check()
        after = self.changes.after
        after.update(enabled=False, maintenance=True, entered=True, guests=[], guests_away=names([*self.guests, *self.away]))
        if self.host["enabled"]:
            self.changes.step(
                f"disable host {self.host['name_label']}", self._disable,
                undo=lambda: self.session.call("host.enable", self.ref),
            )
        self.changes.step("note the guests that leave", self._note, undo=self._renote)
        if self.guests:
            self.changes.step(f"move {len(self.guests)} guests to other hosts", self._evacuate)
        return self.changes

    def _check(self) -> None:
        """Everything that would keep a guest here is told at once, before anything is changed."""
        reasons = self.session.call("host.get_vms_which_prevent_evacuation", self.ref)
        scene = read_scene(self.session, self.host, self.hosts, self.live, reasons)
        found = obstacles(scene, reasons)
        if found:
            raise Refused(
                f"Host {self.host['name_label']} cannot be emptied, {len(found)} of its {len(self.guests)} guests cannot leave.\n"
                + listing(found), obstacles=found,
            )
        if self.network:
            check_network(self.session, self.network, Scene(self.host, self.hosts, self.live, {}))

    def _disable(self) -> None:
        wanted = self.module.params["auto_enable"]
        self.session.call("host.disable", self.ref, *([] if wanted is None else [wanted]))

    def _note(self) -> None:
        uuids = sorted({*away(self.host), *(vm["uuid"] for vm in self.guests)})
        self._write_note(",".join(uuids))

    def _renote(self) -> None:
        """After a failure: note only who has really left, so that the next run, or state=absent, knows."""
        vms = select(self.session, "VM", uuid={*away(self.host), *(vm["uuid"] for vm in self.guests)})
        gone = [vm for vm in vms.values() if vm["resident_on"] != self.ref]
        self._write_note(",".join(sorted(vm["uuid"] for vm in gone)) if gone else None)
        if gone:
            self.module.warn(
                f"{', '.join(names(gone))} had left host {self.host['name_label']} already. "
                "Run again to go on, or with state=absent and return_guests=true to bring them back."
            )

    def _write_note(self, text: str | None) -> None:
        self.session.call("host.remove_from_other_config", self.ref, NOTE)
        if text is not None:
            self.session.call("host.add_to_other_config", self.ref, NOTE, text)

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
        returning = self._returning() if self.module.params["return_guests"] else []
        self.changes.after.update(
            enabled=True, maintenance=False, entered=False, guests=names([*self.guests, *returning]), guests_away=[])
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
        """Those that are away and run; who was shut down meanwhile starts wherever it likes."""
        return [vm for vm in sorted(self.away, key=lambda vm: str(vm["name_label"]))
                if vm["power_state"] == "Running" and vm["resident_on"] != self.ref]

    def _bring_back(self, guests: list[Record]) -> None:
        """One after the other; one that fails stays noted and does not keep the others away."""
        options = {"live": "true", **({"network": self.network["ref"]} if self.network else {})}
        failed: dict[str, tuple[Record, XapiError]] = {}
        for number, vm in enumerate(guests, 1):
            self.module.progress(f"{vm['name_label']} comes back ({number} of {len(guests)})")
            try:
                self.module.run("VM.pool_migrate", vm["ref"], self.ref, options)
            except XapiError as error:
                failed[vm["uuid"]] = vm, records.name_refs(self.session, error)
        if failed:
            self._write_note(",".join(sorted(failed)))
            told: list[dict[str, Any]] = [
                {"guest": vm["name_label"], "uuid": uuid, "code": error.code, "reason": str(error), "cure": error.hint}
                for uuid, (vm, error) in failed.items()
            ]
            back = f"{len(guests) - len(failed)} of {len(guests)} guests are back on host {self.host['name_label']}.\n"
            raise Refused(back + listing(told), obstacles=told)
