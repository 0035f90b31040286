# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory and VCPU limits, and the setters that check."""

from __future__ import annotations

from typing import Any

import pytest

MIB = 1 << 20
GIB = 1 << 30
ORDER = "VCPU values must satisfy: 0 < VCPUs_at_startup \N{LESS-THAN OR EQUAL TO} VCPUs_max"
CPUS = "VCPU values must satisfy: 0 < VCPUs \N{LESS-THAN OR EQUAL TO} VCPUs_max"


@pytest.mark.parametrize(
    ("fields", "mib"),
    [
        ({"VCPUs_max": 1, "memory_static_max": GIB}, 12),
        ({"VCPUs_max": 2, "memory_static_max": 2 * GIB}, 21),
        ({"VCPUs_max": 2, "memory_static_max": 2 * GIB, "HVM_shadow_multiplier": 2.0}, 39),
        ({"VCPUs_max": 16, "memory_static_max": 16 * GIB}, 149),
        ({"VCPUs_max": 1, "memory_static_max": GIB, "HVM_boot_policy": ""}, 11),
        ({"VCPUs_max": 1, "memory_static_max": GIB, "domain_type": "pv_in_pvh"}, 46),
    ],
)
def test_overhead(sim: Any, guests: Any, fields: dict[str, Any], mib: int) -> None:
    vm = guests.new(**fields)
    assert guests.get(vm, "memory_overhead") == mib * MIB
    assert sim.call("VM.compute_memory_overhead", vm) == mib * MIB


def limits(guests: Any, vm: str) -> list[int]:
    return [guests.get(vm, f"memory_{name}") // MIB for name in ("static_min", "dynamic_min", "dynamic_max", "static_max")]


def test_memory_of_a_halted_vm(sim: Any, guests: Any) -> None:
    vm = guests.new()
    sim.call("VM.set_memory", vm, 2 * GIB)
    assert limits(guests, vm) == [512, 2048, 2048, 2048]
    assert guests.get(vm, "memory_overhead") == 20 * MIB
    sim.call("VM.set_memory_limits", vm, GIB, 4 * GIB, 2 * GIB, 3 * GIB)
    assert limits(guests, vm) == [1024, 2048, 3072, 4096]
    sim.call("VM.set_memory_dynamic_range", vm, GIB, 4 * GIB)
    sim.call("VM.set_memory_static_range", vm, 512 * MIB, 8 * GIB)
    assert limits(guests, vm) == [512, 1024, 4096, 8192]
    sim.call("VM.set_memory_dynamic_min", vm, 2 * GIB)
    sim.call("VM.set_memory_dynamic_max", vm, 2 * GIB)
    sim.call("VM.set_memory_static_max", vm, 2 * GIB)
    sim.call("VM.set_memory_static_min", vm, 2 * GIB)
    assert limits(guests, vm) == [2048] * 4


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("set_memory_limits", (2 * GIB, GIB, GIB, GIB)),
        ("set_memory_limits", (GIB, 4 * GIB, 3 * GIB, 2 * GIB)),
        ("set_memory", (MIB,)),
        ("set_memory_static_range", (2 * GIB, 4 * GIB)),
        ("set_memory_dynamic_range", (GIB, 2 * GIB)),
        ("set_memory_static_max", (MIB,)),
    ],
)
def test_memory_out_of_order(sim: Any, guests: Any, method: str, values: tuple[int, ...]) -> None:
    vm = guests.new()
    before = limits(guests, vm)
    assert sim.refused(f"VM.{method}", vm, *values) == ["MEMORY_CONSTRAINT_VIOLATION_ORDER"]
    assert limits(guests, vm) == before


def test_memory_of_a_running_vm(sim: Any, guests: Any) -> None:
    vm = guests.running(memory_static_max=8 * GIB, memory_dynamic_max=2 * GIB, memory_dynamic_min=GIB)
    halted_only = ["VM_BAD_POWER_STATE", vm, "halted", "running"]
    assert sim.refused("VM.set_memory", vm, GIB) == halted_only
    assert sim.refused("VM.set_memory_limits", vm, GIB, GIB, GIB, GIB) == halted_only
    assert sim.refused("VM.set_memory_static_range", vm, GIB, GIB) == halted_only
    assert sim.refused("VM.set_VCPUs_max", vm, 2) == halted_only
    assert sim.refused("VM.set_has_vendor_device", vm, True) == halted_only
    assert sim.refused("VM.set_NVRAM", vm, {}) == halted_only
    assert sim.refused("VM.set_HVM_shadow_multiplier", vm, 2.0) == halted_only
    host = guests.get(vm, "resident_on")
    free = sim.call("host.compute_free_memory", host)
    sim.call("VM.set_memory_dynamic_range", vm, 4 * GIB, 6 * GIB)
    assert limits(guests, vm)[1:3] == [4096, 6144]
    assert sim.call("host.compute_free_memory", host) == free - 3 * GIB
    assert sim.call("VM_metrics.get_memory_actual", guests.get(vm, "metrics")) == 6 * GIB
    more = 4096 * GIB
    assert sim.refused("VM.set_memory_dynamic_range", vm, more, more) == [
        "HOST_NOT_ENOUGH_FREE_MEMORY",
        str((more - 4 * GIB) // 1024),
        str((free - 3 * GIB) // 1024),
    ]
    sim.call("VM.set_shadow_multiplier_live", vm, 2.0)
    sim.call("VM.hard_shutdown", vm)


def test_nested_virt_pins_memory(sim: Any, guests: Any) -> None:
    vm = guests.new(platform={"nested-virt": "true"}, memory_dynamic_min=GIB // 2)
    error = ["MEMORY_CONSTRAINT_VIOLATION_MAXPIN", "nested virt"]
    assert sim.refused("VM.start", vm, False, False) == error
    assert guests.state(vm) == "Halted"
    sim.call("VM.start", vm, False, True)  # force
    sim.call("VM.hard_shutdown", vm)


def test_vcpus(sim: Any, guests: Any) -> None:
    vm = guests.new(VCPUs_max=4, VCPUs_at_startup=2)
    assert sim.refused("VM.set_VCPUs_max", vm, 1) == ["INVALID_VALUE", ORDER, "1"]
    assert sim.refused("VM.set_VCPUs_at_startup", vm, 5) == ["INVALID_VALUE", ORDER, "5"]
    assert sim.refused("VM.set_VCPUs_at_startup", vm, 0) == ["INVALID_VALUE", ORDER, "0"]
    sim.call("VM.set_VCPUs_max", vm, 8)
    sim.call("VM.set_VCPUs_at_startup", vm, 8)
    sim.call("VM.set_VCPUs_at_startup", vm, 2)
    sim.call("VM.add_to_other_config", vm, "xapisim_tools", "true")
    sim.call("VM.start", vm, False, False)
    assert sim.refused("VM.set_VCPUs_number_live", vm, 4) == ["VM_LACKS_FEATURE", vm]
    sim.pool.clock.advance(2)
    sim.call("VM.set_VCPUs_number_live", vm, 4)
    assert guests.get(vm, "VCPUs_at_startup") == 4
    assert sim.call("VM_metrics.get_VCPUs_number", guests.get(vm, "metrics")) == 4
    assert sim.refused("VM.set_VCPUs_number_live", vm, 9) == ["INVALID_VALUE", CPUS, "9"]
    sim.call("VM.hard_shutdown", vm)


def test_what_a_running_vm_takes(sim: Any, guests: Any) -> None:
    """More facts, 11."""
    vm = guests.running(VCPUs_max=4)
    sim.call("VM.set_VCPUs_at_startup", vm, 3)
    sim.call("VM.set_hardware_platform_version", vm, 1)
    sim.call("VM.set_domain_type", vm, "pvh")
    assert guests.get(vm, "HVM_boot_policy") == ""
    sim.call("VM.set_HVM_boot_policy", vm, "BIOS order")
    assert guests.get(vm, "domain_type") == "hvm"
    assert sim.refused("VM.set_domain_type", vm, "unspecified") == ["INVALID_VALUE", "domain_type", "unspecified"]
    sim.call("VM.hard_shutdown", vm)


@pytest.mark.parametrize("field", ["order", "start_delay", "shutdown_delay"])
def test_naturals(sim: Any, guests: Any, field: str) -> None:
    vm = guests.new()
    assert sim.refused(f"VM.set_{field}", vm, -1) == ["INVALID_VALUE", f"{field} must be non-negative", "-1"]
    sim.call(f"VM.set_{field}", vm, 7)
    assert guests.get(vm, field) == 7


@pytest.mark.parametrize("field", ["platform", "other_config", "NVRAM"])
def test_maps(sim: Any, guests: Any, field: str) -> None:
    vm = guests.new()
    sim.call(f"VM.set_{field}", vm, {"a": "1"})
    assert sim.refused(f"VM.add_to_{field}", vm, "a", "1") == ["MAP_DUPLICATE_KEY", "VM", field, vm, "a"]
    sim.call(f"VM.add_to_{field}", vm, "b", "2")
    sim.call(f"VM.remove_from_{field}", vm, "a")
    sim.call(f"VM.remove_from_{field}", vm, "a")
    assert guests.get(vm, field) == {"b": "2"}


def test_shadow_multiplier(sim: Any, guests: Any) -> None:
    vm = guests.new()
    assert sim.refused("VM.set_HVM_shadow_multiplier", vm, 0.5) == ["INVALID_VALUE", "multiplier", "0.5"]
    sim.call("VM.set_HVM_shadow_multiplier", vm, 2.0)
    assert guests.get(vm, "memory_overhead") == 21 * MIB


def test_vendor_device_raises_the_platform(sim: Any, guests: Any) -> None:
    vm = guests.new(has_vendor_device=False)
    assert guests.get(vm, "hardware_platform_version") == 0
    sim.call("VM.set_has_vendor_device", vm, True)
    assert guests.get(vm, "hardware_platform_version") == 2


def test_bios_strings(sim: Any, guests: Any) -> None:
    vm = guests.new()
    assert sim.refused("VM.set_bios_strings", vm, {"nope": "x"}) == ["INVALID_VALUE", "nope", "Unknown key"]
    assert sim.refused("VM.set_bios_strings", vm, {"bios-vendor": ""}) == [
        "INVALID_VALUE", "bios-vendor", "Value provided is empty",
    ]  # fmt: skip
    sim.call("VM.set_bios_strings", vm, {"bios-vendor": "ACME"})
    strings = guests.get(vm, "bios_strings")
    assert (strings["bios-vendor"], strings["system-manufacturer"]) == ("ACME", "Xen")
    assert sim.refused("VM.set_bios_strings", vm, {}) == ["VM_BIOS_STRINGS_ALREADY_SET"]
    host = sim.call("host.get_all")[0]
    assert sim.refused("VM.copy_bios_strings", vm, host) == ["VM_BIOS_STRINGS_ALREADY_SET"]
    other = guests.new()
    sim.call("VM.copy_bios_strings", other, host)
    assert guests.get(other, "affinity") == host


def test_devices(sim: Any, guests: Any) -> None:
    vm = guests.new()
    assert sim.call("VM.get_allowed_VBD_devices", vm) == [str(n) for n in range(255)]
    assert sim.call("VM.get_allowed_VIF_devices", vm) == [str(n) for n in range(16)]
    guests.disk(vm, userdevice="xvda")
    guests.attach(vm, "OpaqueRef:NULL", userdevice="3")
    guests.nic(vm, device="1")
    assert sim.call("VM.get_allowed_VBD_devices", vm)[:3] == ["1", "2", "4"]
    assert sim.call("VM.get_allowed_VIF_devices", vm)[:2] == ["0", "2"]


def test_groups_and_appliances(sim: Any, guests: Any) -> None:
    vm, template = guests.new(), guests.new(is_a_template=True)
    groups = [
        sim.call("VM_group.create", {"name_label": n, "name_description": "", "placement": "anti_affinity"}) for n in "ab"
    ]
    assert sim.refused("VM.set_groups", vm, groups) == ["TOO_MANY_GROUPS"]
    sim.call("VM.set_groups", vm, groups[:1])
    assert sim.call("VM_group.get_VMs", groups[0]) == [vm]
    clone = sim.call("VM.clone", vm, "clone")
    assert guests.get(clone, "groups") == []
    assert sim.refused("VM.set_groups", template, []) == [
        "OPERATION_NOT_ALLOWED", "Control domains, templates, and snapshots cannot be added to VM groups.",
    ]  # fmt: skip
    assert sim.refused("VM.set_appliance", template, "OpaqueRef:x")[0] == "OPERATION_NOT_ALLOWED"
    appliance = sim.call("VM_appliance.create", {"name_label": "app", "name_description": ""})
    sim.call("VM.set_appliance", vm, appliance)
    assert sim.call("VM_appliance.get_VMs", appliance) == [vm]
    assert sim.refused("VM.set_is_a_template", vm, True) == ["VM_IS_PART_OF_AN_APPLIANCE", vm, appliance]


def test_maximise_memory(sim: Any, guests: Any) -> None:
    vm = guests.new()
    best = sim.call("VM.maximise_memory", vm, 4 * GIB, False)
    assert best % MIB == 0
    sim.call("VM.set_memory", vm, best)
    assert best + guests.get(vm, "memory_overhead") <= 4 * GIB
    sim.call("VM.set_memory", vm, best + MIB)
    assert best + MIB + guests.get(vm, "memory_overhead") > 4 * GIB
    assert sim.call("VM.maximise_memory", vm, 4 * GIB, True) < best


def test_plugins(sim: Any, guests: Any) -> None:
    vm = guests.running()
    assert sim.refused("VM.call_plugin", vm, "noplug", "fn", {}) == ["XENAPI_MISSING_PLUGIN", "noplug"]
    error = sim.refused("VM.call_plugin", vm, "guest-agent-operation", "nofn", {})
    assert error[:2] == ["XENAPI_PLUGIN_FAILURE", "failed to find fn"]
    assert sim.refused("VM.send_sysrq", vm, "h") == ["NOT_IMPLEMENTED", "send_sysrq"]
    sim.call("VM.hard_shutdown", vm)
