# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fresh VM looks like, which operations it lists, and the order of errors."""

from __future__ import annotations

from typing import Any

import pytest

NULL = "OpaqueRef:NULL"
# as captured from a real xapi: the order of the enumeration, backwards
FRESH = (
    "create_vtpm destroy metadata_export export make_into_template changing_NVRAM changing_shadow_memory "
    "changing_static_range changing_dynamic_range migrate_send start_on start copy clone snapshot"
)
RUNNING = (
    "sysprep metadata_export changing_VCPUs_live changing_dynamic_range migrate_send pool_migrate suspend hard_reboot "
    "hard_shutdown clean_reboot clean_shutdown pause checkpoint snapshot"
)


def test_fresh_vm(sim: Any, guests: Any) -> None:
    vm = guests.new("fresh", VCPUs_max=1, memory_static_max=1 << 30)
    record = sim.call("VM.get_record", vm)
    expected = {
        "power_state": "Halted",
        "memory_overhead": 12582912,
        "HVM_shadow_multiplier": 1.0,
        "domid": -1,
        "guest_metrics": NULL,
        "domain_type": "hvm",
        "hardware_platform_version": 2,
        "has_vendor_device": True,
        "version": 0,
        "generation_id": "0:0",
        "actions_after_softreboot": "soft_reboot",
        "start_delay": 0,
        "shutdown_delay": 0,
        "order": 0,
        "snapshot_time": "19700101T00:00:00Z",
        "NVRAM": {},
        "bios_strings": {},
        "secureboot_certificates_state": "ok",
        "groups": [],
        "pending_guidances": [],
        "last_booted_record": "",
        "domarch": "",
        "suspend_SR": NULL,
        "current_operations": {},
        "resident_on": NULL,
    }
    assert {name: record[name] for name in expected} == expected
    assert record["allowed_operations"] == FRESH.split()
    assert list(record["other_config"]) == ["mac_seed"]
    assert len(record["other_config"]["mac_seed"]) == 36
    assert sim.call("VM_metrics.get_uuid", record["metrics"])


def test_create_validates_nothing(sim: Any, guests: Any) -> None:
    """More facts, 3: only a start finds out."""
    vm = guests.new(
        "odd",
        memory_static_min=8 << 30,
        VCPUs_max=0,
        VCPUs_at_startup=0,
        ha_restart_priority="bogus",
        power_state="Running",
        blocked_operations={"start": "no"},
    )
    assert guests.state(vm) == "Halted"
    assert guests.get(vm, "blocked_operations") == {}
    assert guests.get(vm, "ha_restart_priority") == "bogus"
    assert sim.refused("VM.start", vm, False, False) == ["NO_HOSTS_AVAILABLE"]
    host = sim.call("host.get_all")[0]
    assert sim.refused("VM.start_on", vm, host, False, False) == ["INVALID_VALUE", "VCPUs_max", "0"]


@pytest.mark.parametrize(
    ("fields", "type_"), [({"HVM_boot_policy": ""}, "pv"), ({"HVM_boot_policy": "", "domain_type": "pvh"}, "pvh")]
)
def test_domain_type_from_boot_policy(guests: Any, fields: dict[str, str], type_: str) -> None:
    assert guests.get(guests.new(**fields), "domain_type") == type_


def test_dangling_references_are_stored(sim: Any, guests: Any) -> None:
    """More facts, 2."""
    vm = guests.new(affinity="OpaqueRef:nosuch", appliance="OpaqueRef:gone")
    assert guests.get(vm, "affinity") == "OpaqueRef:nosuch"
    assert guests.get(vm, "appliance") == "OpaqueRef:gone"
    sim.call("VM.set_affinity", vm, "OpaqueRef:other")
    sim.call("VM.set_groups", vm, ["OpaqueRef:group"])
    assert guests.get(vm, "groups") == ["OpaqueRef:group"]
    sim.call("VM.start", vm, False, False)
    assert guests.state(vm) == "Running"
    sim.call("VM.hard_shutdown", vm)


def test_suspended_constructor(sim: Any, guests: Any) -> None:
    code, _ref, *rest = sim.refused("VM.create", {**guests.MINIMAL, "power_state": "Suspended"})
    assert [code, *rest] == ["VM_BAD_POWER_STATE", "halted", "suspended"]


def test_allowed_operations_of_a_running_guest(sim: Any, guests: Any) -> None:
    vm = guests.running("talkative")
    assert guests.get(vm, "allowed_operations") == RUNNING.split()
    sim.call("VM.hard_shutdown", vm)
    assert guests.get(vm, "allowed_operations") == FRESH.split()


def test_a_guest_without_tools_promises_nothing(sim: Any, guests: Any) -> None:
    vm = guests.running("mute", tools=False)
    missing = set(RUNNING.split()) - set(guests.get(vm, "allowed_operations"))
    assert missing == {
        "clean_shutdown", "clean_reboot", "suspend", "checkpoint", "pool_migrate", "migrate_send", "changing_VCPUs_live",
    }  # fmt: skip
    for op in ("clean_shutdown", "clean_reboot", "suspend"):
        assert sim.refused(f"VM.{op}", vm) == ["VM_LACKS_FEATURE", vm]
    assert guests.state(vm) == "Running"
    sim.call("VM.hard_shutdown", vm)


STATES = {
    "Halted": {
        "unpause": "paused", "pause": "running", "hard_shutdown": "paused, suspended, running",
        "clean_shutdown": "running", "clean_reboot": "running", "hard_reboot": "paused, running",
        "suspend": "running", "shutdown": "paused, suspended, running",
    },
    "Paused": {"pause": "running", "clean_shutdown": "running", "suspend": "running", "destroy": "halted, suspended"},
    "Running": {"unpause": "paused", "destroy": "halted, suspended"},
    "Suspended": {"pause": "running", "unpause": "paused", "hard_reboot": "paused, running", "suspend": "running"},
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_bad_power_state(sim: Any, guests: Any, state: str) -> None:
    vm = guests.new(state) if state == "Halted" else guests.running(state)
    if state == "Paused":
        sim.call("VM.pause", vm)
    if state == "Suspended":
        sim.call("VM.suspend", vm)
    assert guests.state(vm) == state
    for op, expected in STATES[state].items():
        assert sim.refused(f"VM.{op}", vm) == ["VM_BAD_POWER_STATE", vm, expected, state.lower()]
    if state != "Halted":
        assert sim.refused("VM.start", vm, False, False) == ["VM_BAD_POWER_STATE", vm, "halted", state.lower()]
        sim.call("VM.hard_shutdown", vm)


def test_templates(sim: Any, guests: Any) -> None:
    default = next(
        ref for ref, vm in sim.call("VM.get_all_records").items() if vm["other_config"].get("default_template") == "true"
    )
    own = guests.new("own template", is_a_template=True)
    assert sim.refused("VM.start", default, False, False) == ["VM_IS_TEMPLATE", default, "start"]
    assert sim.refused("VM.destroy", default) == ["VM_IS_TEMPLATE", default, "destroy"]
    assert sim.refused("VM.snapshot", own, "no") == ["VM_IS_TEMPLATE", own, "snapshot"]
    assert sim.refused("VM.start_on", own, sim.call("host.get_all")[0], False, False) == ["VM_IS_TEMPLATE", own, "start_on"]
    listed = set(guests.get(own, "allowed_operations"))
    assert {"clone", "copy", "provision", "destroy", "export", "migrate_send"} <= listed
    assert not listed & {"start", "start_on", "snapshot", "make_into_template"}
    assert not set(guests.get(default, "allowed_operations")) & {"destroy", "migrate_send"}
    sim.call("VM.destroy", own)
    assert sim.refused("VM.get_record", own) == ["HANDLE_INVALID", "VM", own]


def test_order_of_errors(sim: Any, guests: Any) -> None:
    """Blocked, then power state, then operations in progress, then what the VM is."""
    vm = guests.new("ordered", is_a_template=True)
    assert sim.refused("VM.assert_operation_valid", vm, "pause") == ["VM_BAD_POWER_STATE", vm, "running", "halted"]
    assert sim.refused("VM.assert_operation_valid", vm, "start") == ["VM_IS_TEMPLATE", vm, "start"]
    row = sim.pool.db.row("VM", vm)
    with sim.pool.lock:
        row.current_operations = {"OpaqueRef:task": "clone"}
    busy = ["OTHER_OPERATION_IN_PROGRESS", "VM", vm, "clone", "OpaqueRef:task"]
    assert sim.refused("VM.assert_operation_valid", vm, "start") == busy
    assert sim.refused("VM.assert_operation_valid", vm, "pause") == ["VM_BAD_POWER_STATE", vm, "running", "halted"]
    sim.call("VM.assert_operation_valid", vm, "copy")  # clones and copies go together
    with sim.pool.lock:
        row.current_operations = {}
    sim.call("VM.add_to_blocked_operations", vm, "pause", "not now")
    assert sim.refused("VM.assert_operation_valid", vm, "pause") == ["OPERATION_BLOCKED", vm, "not now"]


def test_blocked_operations(sim: Any, guests: Any) -> None:
    vm = guests.new("blocked")
    sim.call("VM.add_to_blocked_operations", vm, "start", "ask Joe")
    assert sim.refused("VM.add_to_blocked_operations", vm, "start", "x") == [
        "MAP_DUPLICATE_KEY", "VM", "blocked_operations", vm, "start",
    ]  # fmt: skip
    assert "start" not in guests.get(vm, "allowed_operations")
    assert sim.refused("VM.start", vm, False, False) == ["OPERATION_BLOCKED", vm, "ask Joe"]
    sim.call("VM.start_on", vm, sim.call("host.get_all")[0], False, False)  # more facts, 11
    sim.call("VM.hard_shutdown", vm)
    sim.call("VM.remove_from_blocked_operations", vm, "start")
    assert "start" in guests.get(vm, "allowed_operations")


@pytest.mark.parametrize(
    ("op", "error"),
    [("provision", ["PROVISION_ONLY_ALLOWED_ON_TEMPLATE"]), ("revert", ["REVERT_ONLY_ALLOWED_ON_SNAPSHOT"])],
)
def test_for_templates_and_snapshots_only(sim: Any, guests: Any, op: str, error: list[str]) -> None:
    assert sim.refused("VM.assert_operation_valid", guests.new(), op) == error


def test_immobile(sim: Any, guests: Any) -> None:
    vm = guests.running("nested", platform={"nested-virt": "true"})
    for op in ("suspend", "pool_migrate", "checkpoint"):
        assert sim.refused("VM.assert_operation_valid", vm, op) == ["VM_IS_IMMOBILE", vm]
    assert sim.refused("VM.assert_operation_valid", vm, "changing_dynamic_range") == ["VM_IS_USING_NESTED_VIRT", vm]
    sim.call("VM.hard_shutdown", vm)


def test_on_boot_reset(sim: Any, guests: Any) -> None:
    vm = guests.new("kiosk", tools=True)
    vdi, _vbd = guests.disk(vm)
    sim.call("VDI.set_on_boot", vdi, "reset")
    sim.call("VM.start", vm, False, False)
    sim.pool.clock.advance(2)
    for op in ("snapshot", "checkpoint", "suspend"):
        assert sim.refused("VM.assert_operation_valid", vm, op) == ["VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION"]
    sim.call("VM.hard_shutdown", vm)


def test_control_domain(sim: Any) -> None:
    dom0 = next(ref for ref, vm in sim.call("VM.get_all_records").items() if vm["is_control_domain"])
    text = "This operation is not allowed on a control domain"
    assert sim.refused("VM.clean_shutdown", dom0) == ["OPERATION_NOT_ALLOWED", text]
    assert sim.refused("VM.power_state_reset", dom0) == ["CANNOT_RESET_CONTROL_DOMAIN", dom0]
