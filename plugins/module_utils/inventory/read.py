# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory needs of a pool, in four calls; and the next time, in one call, what has changed since.

``event.from`` with an empty token returns every object of the small classes, and the token from which the next call
returns the changes of all classes. The large classes follow by ``get_all_records``, which costs a pool less than an event
for each object, over two connections: one answer is decoded while the pool works on the next one. They are read after the
token was given out, so whatever changes meanwhile is told again the next time.
"""
from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ansible_collections.nobloat.xen.plugins.module_utils.vm.addresses import addresses_by_index
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import GUEST, kind
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.events import Batch, EventStream
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import typed
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session, undisturbed

Record = dict[str, Any]
# By class and reference. None stands for an object that is there and of no interest: templates, snapshots, dom0.
Objects = dict[str, dict[str, "Record | None"]]

FIELDS: dict[str, tuple[str, ...]] = {
    "pool": ("name_label", "master"),
    "host": (
        "uuid", "name_label", "name_description", "tags", "other_config", "address", "enabled", "metrics", "cpu_info",
        "software_version",
    ),
    "host_metrics": ("live", "memory_total"),
    "VM": (
        "uuid", "name_label", "name_description", "tags", "other_config", "power_state", "resident_on", "guest_metrics",
        "memory_dynamic_max", "VCPUs_at_startup",
    ),
    "VM_guest_metrics": ("networks", "os_version", "PV_drivers_detected"),
    "VIF": ("VM", "network", "device", "MAC"),
    "network": ("uuid", "name_label"),
}
LARGE = ("VM", "VM_guest_metrics", "VIF")
_KINDS = ("is_a_template", "is_a_snapshot", "is_control_domain")
_READ = {**FIELDS, "VM": (*FIELDS["VM"], *_KINDS)}


class State(NamedTuple):
    """A pool as it was when XAPI gave out ``token``."""

    token: str
    objects: Objects

    def coordinator(self) -> str:
        """Reference of the coordinator's host record."""
        return next((str(pool["master"]) for pool in self.objects["pool"].values() if pool), "")

    def dump(self) -> str:
        """As text, for a cache. Text, because cache plugins take long to write nested data."""
        return json.dumps(self, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> State | None:
        """What ``dump`` made; None if this is something else."""
        try:
            token, objects = json.loads(text)
        except (TypeError, ValueError):
            return None
        return cls(token, objects) if isinstance(objects, dict) and set(objects) == set(FIELDS) else None


def read(session: Session, known: State | None = None) -> State:
    """The pool as it is: by its changes since ``known``, where those can be trusted, else from scratch.

    The changes cannot be trusted when XAPI no longer understands the token, when the coordinator is another one
    or was restarted (it then forgets what was deleted), when its database is older than the token (it was restored), or
    when the number of objects is not what it should be.
    """
    with undisturbed():
        if known:
            try:
                now = merge(known, EventStream(session, FIELDS, known.token, _READ).poll(0))
            except XapiError as error:
                if not error.code.startswith("EVENT"):
                    raise
            else:
                if now:
                    return now
        return _read_all(session)


def _read_all(session: Session) -> State:
    batch = EventStream(session, [cls for cls in FIELDS if cls not in LARGE], fields=_READ).poll(0)
    objects = _apply({cls: {} for cls in FIELDS}, batch)
    with session.fork() as second, ThreadPoolExecutor(max_workers=1) as worker:
        rest = worker.submit(lambda: {cls: _all_of(second, cls) for cls in LARGE[1:]})
        objects[LARGE[0]] = _all_of(session, LARGE[0])
        objects.update(rest.result())
    return State(batch.token, objects)


def _all_of(session: Session, cls: str) -> dict[str, Record | None]:
    found = {}
    for ref, record in session.bulk(f"{cls}.get_all_records").items():
        wanted = {field: record[field] for field in _READ[cls] if field in record}
        found[ref] = _keep(cls, typed(cls, ref, wanted))
    return found


def merge(known: State, batch: Batch) -> State | None:
    """``known`` after a batch of changes; None if the batch does not follow from it."""
    now = State(batch.token, _apply({cls: dict(objects) for cls, objects in known.objects.items()}, batch))
    # Tokens are numbers of a fixed width: generations of the database and of messages.
    follows = batch.token >= known.token and _incarnation(now) == _incarnation(known)
    complete = all(len(objects) == batch.counts.get(cls, 0) for cls, objects in now.objects.items())
    return now if follows and complete else None


def _apply(objects: Objects, batch: Batch) -> Objects:
    for cls, _operation, ref, record in batch.events:
        if record is None:
            objects[cls].pop(ref, None)
        else:
            objects[cls][ref] = _keep(cls, record)
    return objects


def _keep(cls: str, record: Record) -> Record | None:
    """A record without what only tells what it is; None if it is of no interest.

    Addresses are worked out here: the pool works on a larger answer meanwhile, and a cache has them done.
    """
    if cls == "VM":
        if kind(record) != GUEST:
            return None
        for field in _KINDS:
            del record[field]
    elif cls == "VM_guest_metrics":
        record["addresses"] = [list(entry) for entry in addresses_by_index(record).items()]
        del record["networks"]
    del record["ref"]
    return record


def _incarnation(state: State) -> tuple[str, str]:
    """Which coordinator it is, and when its xapi was started."""
    host = state.objects["host"].get(state.coordinator()) or {}
    return state.coordinator(), host.get("other_config", {}).get("agent_start_time", "")
