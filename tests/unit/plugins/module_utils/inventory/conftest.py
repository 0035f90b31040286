# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool that answers bulk reads, for those who read inventories."""
from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.read import FIELDS
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError


def token(generation: int) -> str:
    return f"{generation:020d},{0:020d}"


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


class FakePool:
    """Records by class and reference; remembers when each changed, and can lose its memory as a restarted xapi does."""

    def __init__(self) -> None:
        self.generation = 100
        self.rows: dict[str, dict[str, dict[str, Any]]] = {cls: {} for cls in FIELDS}
        self.changed: dict[tuple[str, str], tuple[int, int]] = {}  # (created, modified)
        self.gone: list[tuple[int, str, str]] = []
        self.calls: list[str] = []
        self.put("host", "h1", uuid=uuid(1), name_label="alpha-1", name_description="", tags=[], address="192.0.2.1",
                 enabled=True, metrics="hm1", cpu_info={"cpu_count": "16"}, software_version={"product_version": "8.3.0"},
                 other_config={"agent_start_time": "1000."})
        self.put("host_metrics", "hm1", live=True, memory_total=2**36)
        self.put("pool", "p", name_label="alpha", master="h1")
        self.put("network", "n0", uuid=uuid(2), name_label="management")
        self.put("network", "n1", uuid=uuid(3), name_label="storage")

    def put(self, cls: str, ref: str, **fields: Any) -> None:
        self.generation += 1
        created = self.changed.get((cls, ref), (self.generation, 0))[0]
        self.rows[cls].setdefault(ref, {}).update(fields)
        self.changed[cls, ref] = (created, self.generation)

    def remove(self, cls: str, ref: str) -> None:
        self.generation += 1
        del self.rows[cls][ref], self.changed[cls, ref]
        self.gone.append((self.generation, cls, ref))

    def add_vm(self, number: int, name: str, *, networks: dict[str, str] | None = None, **fields: Any) -> str:
        ref = f"vm{number}"
        self.put("VM", ref, **{
            "uuid": uuid(number), "name_label": name, "name_description": "", "tags": [], "other_config": {},
            "power_state": "Running" if networks else "Halted", "resident_on": "h1" if networks else "OpaqueRef:NULL",
            "guest_metrics": f"gm{number}", "memory_dynamic_max": 2**30, "VCPUs_at_startup": 2,
            "is_a_template": False, "is_a_snapshot": False, "is_control_domain": False, **fields,
        })
        if networks:
            self.put("VM_guest_metrics", f"gm{number}", networks=networks, os_version={"distro": "debian"},
                     PV_drivers_detected=True)
        for device, network in (("1", "n1"), ("0", "n0")):
            self.put("VIF", f"vif{number}-{device}", VM=ref, network=network, device=device, MAC=f"02:00:00:00:0A:0{device}")
        return ref

    def fork(self) -> Any:
        return contextlib.nullcontext(self)

    def bulk(self, method: str, *args: Any) -> Any:
        if method.endswith(".get_all_records"):
            self.calls.append(method)
            return copy.deepcopy(self.rows[method.split(".")[0]])
        assert method == "event.from"
        classes, since_token, timeout = args
        assert timeout == 0.0
        self.calls.append(since_token)
        if since_token == "unreadable":
            raise XapiError("EVENT_FROM_TOKEN_PARSE_FAILURE", [since_token])
        since = int(since_token.split(",")[0]) if since_token else 0
        events = [
            {"class": cls.lower(), "operation": "add" if created > since else "mod", "ref": ref,
             "snapshot": copy.deepcopy(self.rows[cls][ref])}
            for (cls, ref), (created, modified) in self.changed.items() if modified > since and cls in classes
        ]
        events += [{"class": cls.lower(), "operation": "del", "ref": ref} for number, cls, ref in self.gone if number > since]
        counts = {cls.lower(): len(rows) for cls, rows in self.rows.items()}
        return {"events": events, "valid_ref_counts": {**counts, "sr": 3}, "token": token(self.generation)}


@pytest.fixture
def pool() -> FakePool:
    return FakePool()
