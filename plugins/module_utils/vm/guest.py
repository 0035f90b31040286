# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One guest while it is planned and changed."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.many import Lanes
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, World, device_number, pick
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import Keys
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import records, where


class Guest:
    """A guest, there or yet to be made, with the options that the user gave for it.

    `record` is what XAPI holds; for a guest yet to be made, what its clone will hold, and `ref` is only known to steps
    that run after the one that clones. `power` is the state that the steps will find it in, in lower case.
    `needs` collects the options that only a halted guest can get. `fresh` guests are those yet to be made. `planned` is the
    record that it starts with next, as far as plans change it: memory, VCPUs, platform.
    """

    def __init__(self, params: Mapping[str, Any], lanes: Lanes, world: World, record: Record, *, fresh: bool = False) -> None:
        self.params, self.lanes, self.world, self.record, self.fresh = params, lanes, world, record, fresh
        self.name: str = record["name_label"]
        self.power: str = record["power_state"].lower()
        self.ref: str = "" if fresh else record["ref"]
        self.needs: list[str] = []
        self.planned: Record = dict(record)
        self.reaches: dict[str, set[str]] = {"SR": set(), "network": set()}  # what new disks and NICs are on
        self.borrowed: set[str] = set()  # VDIs that were there before this guest: never destroyed with it
        self._made: dict[str, list[Record]] = {}

    @property
    def title(self) -> str:
        return f"guest {self.name}"

    @property
    def claim(self) -> str:
        """What a run claims that makes something of this guest (xapi/marks.py)."""
        return self.title if self.fresh else f"guest {self.record['uuid']}"

    def changes(self, before: dict[str, Any] | None = None) -> ChangeSet:
        return ChangeSet(self.title, before or {})

    def set(self, field: str, value: Any) -> Any:
        """Set a field of the VM; for steps."""
        return self.lanes.call(f"VM.set_{field}", self.ref, value)

    def keys(self, field: str, live: Any = None) -> Keys:
        """What writes a map or a set of strings of the VM key by key; `live`: what is there, if not what its record says."""
        return Keys(self.call, "VM", field, lambda: self.ref, self.record[field] if live is None else live)

    def call(self, method: str, *args: Any) -> Any:
        return self.lanes.call(method, *args)

    def run(self, method: str, *args: Any, last: bool = False) -> Any:
        return self.lanes.run(method, *args, last=last)

    def back(self, undo: Callable[[], Any]) -> Callable[[], Any] | None:
        """The way back of a setter, for a step's `undo`; a guest that is made in this run needs none: it goes as a whole."""
        return None if self.fresh else undo

    def devices(self, cls: str) -> list[Record]:
        """VBDs or VIFs for the plan: those of the guest, or those that its clone will get from its source."""
        return self.world.devices(cls, self.record["ref"])

    def device(self, cls: str, number: int) -> Record:
        """The VBD or VIF at a position, for steps: read once from a guest that has just been made."""
        if not self.fresh:
            found = self.devices(cls)
        else:
            if cls not in self._made:
                self._made[cls] = list(records(self.lanes.session(), cls, where(cls, VM=self.ref)).values())
            found = self._made[cls]
        return next(device for device in found if device_number(device) == number)

    def hotplugs(self) -> bool:
        """Whether devices can be plugged and unplugged while it runs: a fully virtualised guest needs its drivers for that."""
        if self.power != "running":
            return False
        metrics = self.world.guest_metrics.get(self.record["guest_metrics"])
        return self.record["domain_type"] in ("pv", "pvh", "pv_in_pvh") or bool(metrics and metrics["PV_drivers_detected"])

    def need_stop(self, what: str) -> None:
        """Note that `what` can only be changed in a halted guest."""
        if self.power != "halted" and what not in self.needs:
            self.needs.append(what)

    def default_sr(self) -> Record:
        """The SR for disks that name none: option `sr`, else the pool's default SR."""
        if self.params["sr"]:
            return pick(self.world.srs, "SR", self.params["sr"])
        sr = self.world.srs.get(self.world.pool["default_SR"]) if self.world.pool else None
        if not sr:
            raise ValueError(f"{self.title}: the pool has no default SR; say with sr where its disks shall be.")
        return sr
