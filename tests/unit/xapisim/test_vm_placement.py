# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where VMs can run, which host is chosen, and how they move."""

from __future__ import annotations

from typing import Any

import pytest

GIB = 1 << 30
NULL = "OpaqueRef:NULL"


@pytest.fixture
def hosts(sim: Any) -> list[str]:
    """The coordinator and the other host."""
    master = sim.pool.master.ref
    return [master, next(ref for ref in sim.call("host.get_all") if ref != master)]


def on(sim: Any, guests: Any, host: str, **fields: Any) -> str:
    """A VM that runs on a host, with tools."""
    vm = guests.new("mover", tools=True, **fields)
    sim.call("VM.start_on", vm, host, False, False)
    sim.pool.clock.advance(2)
    return str(vm)


def local_sr(sim: Any, host: str) -> str:
    for ref, pbd in sim.call("PBD.get_all_records").items():
        if pbd["host"] == host and sim.call("SR.get_name_label", pbd["SR"]) == "Local storage":
            assert ref
            return str(pbd["SR"])
    raise AssertionError(host)


def test_order_of_checks(sim: Any, guests: Any, hosts: list[str]) -> None:
    """Each obstacle is reported only when those before it are gone."""
    here, there = hosts
    vm = guests.new(
        "obstacles",
        VCPUs_max=0,
        VCPUs_at_startup=0,
        memory_static_min=8 * GIB,
        HVM_shadow_multiplier=0.5,
        hardware_platform_version=9,
        actions_after_crash="coredump_and_restart",
    )
    guests.disk(vm, sr=local_sr(sim, here))
    lonely = sim.call(
        "network.create", {"name_label": "internal", "name_description": "", "MTU": 1500, "other_config": {}, "tags": []}
    )
    neighbour = guests.new("neighbour")
    guests.nic(neighbour, lonely)
    sim.call("VM.start_on", neighbour, here, False, False)
    guests.nic(vm, lonely)

    def obstacle() -> list[str]:
        error: list[str] = sim.refused("VM.assert_can_boot_here", vm, there)
        return error

    def change(**fields: Any) -> None:
        with sim.pool.lock:
            for name, value in fields.items():
                setattr(sim.pool.db.row("VM", vm), name, value)

    assert obstacle() == ["INVALID_VALUE", "VCPUs_max", "0"]
    change(VCPUs_max=1)
    assert obstacle() == ["INVALID_VALUE", "VCPUs-at-startup", "0"]
    change(VCPUs_at_startup=2)
    assert obstacle() == ["VALUE_NOT_SUPPORTED", "VCPUs-at-startup", "2", "value greater than VCPUs-max"]
    change(VCPUs_max=64)
    assert obstacle() == ["MEMORY_CONSTRAINT_VIOLATION"]
    change(memory_static_min=GIB)
    assert obstacle() == ["INVALID_VALUE", "HVM_shadow_multiplier", "0.5"]
    change(HVM_shadow_multiplier=1.0)
    assert obstacle()[:3] == ["VALUE_NOT_SUPPORTED", "VM.actions_after_crash", "coredump_and_restart"]
    change(actions_after_crash="restart")
    with sim.pool.lock:
        sim.pool.set_live(sim.pool.db.row("host", there), False)
    assert obstacle() == ["HOST_NOT_LIVE"]
    with sim.pool.lock:
        sim.pool.set_live(sim.pool.db.row("host", there), True)
    sim.call("host.disable", there)
    assert obstacle() == ["HOST_DISABLED", there]
    sim.call("host.enable", there)
    assert obstacle() == [
        "VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION", there, "[0; 1; 2]", vm, "9",
    ]  # fmt: skip
    change(hardware_platform_version=2)
    assert obstacle() == ["VM_REQUIRES_SR", vm, local_sr(sim, here)]
    sim.call("VBD.destroy", guests.get(vm, "VBDs")[0])
    assert obstacle() == ["VM_REQUIRES_NETWORK", vm, lonely]
    sim.call("network.add_to_other_config", lonely, "assume_network_is_shared", "true")
    with sim.pool.lock:
        kept, sim.pool.db.row("host", there).capabilities = sim.pool.db.row("host", there).capabilities, []
    assert obstacle() == ["VM_HVM_REQUIRED", vm]
    with sim.pool.lock:
        sim.pool.db.row("host", there).capabilities = kept
    change(memory_static_max=900 * GIB, memory_dynamic_max=900 * GIB, memory_dynamic_min=900 * GIB)
    code, needed, free = obstacle()
    assert code == "HOST_NOT_ENOUGH_FREE_MEMORY"
    assert int(needed) == 900 * GIB + sim.call("VM.compute_memory_overhead", vm)
    assert int(free) == sim.call("host.compute_free_memory", there)
    change(memory_static_max=GIB, memory_dynamic_max=GIB, memory_dynamic_min=GIB)
    assert obstacle() == ["HOST_NOT_ENOUGH_PCPUS", "64", "16"]
    sim.call("VM.add_to_platform", vm, "vcpu-unrestricted", "true")
    sim.call("VM.assert_can_boot_here", vm, there)
    sim.call("VM.hard_shutdown", neighbour)


def test_specific_errors_of_start_on(sim: Any, guests: Any, hosts: list[str]) -> None:
    here, there = hosts
    vm = guests.new("picky")
    sr = local_sr(sim, here)
    guests.disk(vm, sr=sr)
    assert sim.refused("VM.start_on", vm, there, False, False) == ["VM_REQUIRES_SR", vm, sr]
    assert sim.call("VM.get_possible_hosts", vm) == [here]
    sim.call("VM.start", vm, False, False)
    assert guests.get(vm, "resident_on") == here
    assert sim.refused("VM.pool_migrate", vm, there, {"force": "true"}) == ["VM_REQUIRES_SR", vm, sr]
    sim.call("VM.hard_shutdown", vm)
    with sim.pool.lock:
        sim.pool.db.row("host", there).current_operations = {"OpaqueRef:t": "evacuate"}
    assert sim.refused("VM.start_on", vm, there, False, False) == ["HOST_EVACUATE_IN_PROGRESS", there]
    with sim.pool.lock:
        sim.pool.db.row("host", there).current_operations = {}


def test_no_memory_anywhere(sim: Any, guests: Any) -> None:
    """xapi tries some host all the same, so the reason shows."""
    size = 500 * GIB
    vm = guests.new("huge", memory_static_max=size, memory_dynamic_max=size, memory_dynamic_min=size)
    assert sim.refused("VM.start", vm, False, False)[0] == "HOST_NOT_ENOUGH_FREE_MEMORY"
    assert sim.call("VM.get_possible_hosts", vm) == []


def test_choice(sim: Any, guests: Any, hosts: list[str]) -> None:
    names = {host: sim.call("host.get_name_label", host) for host in hosts}
    first, second = sorted(hosts, key=lambda host: names[host])
    made = []
    for number, expected in enumerate((first, second, first)):
        made.append(guests.new(f"choice {number}"))
        sim.call("VM.start", made[-1], False, False)
        assert guests.get(made[-1], "resident_on") == expected
    vm = guests.new("at home", affinity=first)
    sim.call("VM.start", vm, False, False)
    assert guests.get(vm, "resident_on") == first
    group = sim.call("VM_group.create", {"name_label": "apart", "name_description": "", "placement": "anti_affinity"})
    apart = [guests.new(f"apart {n}") for n in range(2)]
    for each in apart:
        sim.call("VM.set_groups", each, [group])
        sim.call("VM.start", each, False, False)
    assert {guests.get(each, "resident_on") for each in apart} == set(hosts)
    for each in [*made, vm, *apart]:
        sim.call("VM.hard_shutdown", each)


def test_free_memory(sim: Any, guests: Any, hosts: list[str]) -> None:
    before = sim.call("host.compute_free_memory", hosts[0])
    vm = on(sim, guests, hosts[0], memory_dynamic_min=GIB // 2)
    overhead = guests.get(vm, "memory_overhead")
    assert sim.call("host.compute_free_memory", hosts[0]) == before - GIB // 2 - overhead
    sim.call("VM.hard_shutdown", vm)
    assert sim.call("host.compute_free_memory", hosts[0]) == before


def test_agile(sim: Any, guests: Any, hosts: list[str]) -> None:
    vm = guests.new("agile")
    guests.disk(vm)
    guests.nic(vm)
    sim.call("VM.assert_agile", vm)
    sr = local_sr(sim, hosts[0])
    guests.disk(vm, sr=sr)
    assert sim.refused("VM.assert_agile", vm) == ["HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", sr]


# -- migration


def test_pool_migrate(sim: Any, guests: Any, hosts: list[str]) -> None:
    here, there = hosts
    vm = on(sim, guests, here)
    guests.disk(vm)
    metrics = guests.get(vm, "guest_metrics")
    assert metrics != NULL
    sim.call("VM.pool_migrate", vm, there, {"live": "true"})
    record = sim.call("VM.get_record", vm)
    assert (record["power_state"], record["resident_on"]) == ("Running", there)
    assert (record["guest_metrics"], record["current_operations"]) == (metrics, {})
    assert record["scheduled_to_be_resident_on"] == NULL
    assert [c["current_operations"] for c in sim.call("host.get_all_records").values()] == [{}, {}]
    sim.call("VM.pool_migrate", vm, there, {})  # to where it is
    uuid = record["uuid"]
    bodies = [m["body"] for m in sim.call("message.get_all_records").values() if m["name"] == "VM_MIGRATED"]
    name = "host '{name_label}' (uuid: {uuid})".format
    records = [sim.call("host.get_record", host) for host in hosts]
    expected = f"VM 'mover' (uuid: {uuid}) migrated from {name(**records[0])} to {name(**records[1])}"
    assert expected in bodies
    network = sim.call("network.get_by_name_label", "Pool-wide network associated with eth1")[0]
    assert sim.refused("VM.pool_migrate", vm, here, {"network": network})[0] == "INTERFACE_HAS_NO_IP"
    assert guests.get(vm, "resident_on") == there
    sim.call("VM.hard_shutdown", vm)


def test_cpu_compatibility(sim: Any, guests: Any, hosts: list[str]) -> None:
    here, there = hosts
    vm = on(sim, guests, here)
    row = sim.pool.db.row("host", there)
    with sim.pool.lock:
        kept = row.cpu_info
        row.cpu_info = {**kept, "vendor": "AuthenticAMD"}
    text = "VM last booted on a host which had a CPU from a different vendor."
    error = ["VM_INCOMPATIBLE_WITH_THIS_HOST", vm, there, text]
    assert sim.refused("VM.pool_migrate", vm, there, {}) == error
    assert sim.refused("VM.assert_can_boot_here", vm, there) == error
    with sim.pool.lock:
        row.cpu_info = {**kept, "features_hvm_host": "00000000-00000000"}
    assert sim.refused("VM.pool_migrate", vm, there, {})[3].startswith("VM last booted on a CPU with features")
    with sim.pool.lock:
        row.cpu_info = kept
    sim.call("VM.pool_migrate", vm, there, {})
    sim.call("VM.hard_shutdown", vm)


def receive(sim: Any, host: str) -> Any:
    network = sim.call("network.get_by_name_label", "Pool-wide network associated with eth0")[0]
    return sim.call("host.migrate_receive", host, network, {})


def test_migrate_send(sim: Any, guests: Any, hosts: list[str]) -> None:
    here, there = hosts
    vm = on(sim, guests, here)
    vdi, vbd = guests.disk(vm, sr=local_sr(sim, here))
    sim.call("VBD.plug", vbd)
    sim.pool.disks.write(sim.call("VDI.get_uuid", vdi), 0, b"data")
    snap = sim.call("VM.snapshot", vm, "before")
    dest, target = receive(sim, there), local_sr(sim, there)
    args = (dest, True, {}, {}, {})
    assert sim.refused("VM.migrate_send", vm, *args) == ["VDI_NOT_IN_MAP", vdi]
    assert sim.refused("VM.assert_can_migrate", vm, *args) == ["VDI_NOT_IN_MAP", vdi]
    mapped = {vdi: target}
    vif = guests.nic(vm)
    network = sim.call("VIF.get_network", vif)
    assert sim.refused("VM.migrate_send", vm, dest, True, mapped, {vif: network}, {})[0] == "OPERATION_NOT_ALLOWED"
    assert sim.refused("VM.migrate_send", vm, dest, True, mapped, {}, {"copy": "true"})[0] == "OPERATION_NOT_ALLOWED"
    sim.call("VDI.enable_cbt", vdi)
    assert sim.refused("VM.migrate_send", vm, dest, True, mapped, {}, {}) == ["VDI_CBT_ENABLED", vdi]
    sim.call("VDI.disable_cbt", vdi)
    assert sim.call("VM.migrate_send", vm, dest, True, mapped, {}, {}) == vm
    assert (guests.state(vm), guests.get(vm, "resident_on")) == ("Running", there)
    moved = sim.call("VBD.get_VDI", vbd)
    assert moved != vdi
    assert sim.call("VDI.get_SR", moved) == target
    assert sim.pool.disks.read(sim.call("VDI.get_uuid", moved), 0, 4) == b"data"
    assert sim.refused("VDI.get_uuid", vdi)[0] == "HANDLE_INVALID"
    snapped = sim.call("VBD.get_VDI", guests.get(snap, "VBDs")[0])
    assert (sim.call("VDI.get_SR", snapped), sim.call("VDI.get_snapshot_of", snapped)) == (target, moved)
    sim.call("VM.revert", snap)
    assert guests.state(vm) == "Halted"
    # a halted VM: only its disks move
    (disk,) = [sim.call("VBD.get_VDI", v) for v in guests.get(vm, "VBDs")]
    sim.call("VM.migrate_send", vm, dest, False, {disk: guests.sr()}, {}, {})
    (disk,) = [sim.call("VBD.get_VDI", v) for v in guests.get(vm, "VBDs")]
    assert sim.call("VDI.get_SR", disk) == guests.sr()


def test_srs_that_cannot_mirror(sim: Any, guests: Any, hosts: list[str]) -> None:
    device = {"target": "10.0.0.9", "targetIQN": "iqn.test:luns"}
    luns = sim.call("SR.create", hosts[0], device, 0, "luns", "", "iscsi", "user", True, {})
    vm = on(sim, guests, hosts[0])
    vdi, _vbd = guests.disk(vm)
    error = sim.refused("VM.migrate_send", vm, receive(sim, hosts[1]), True, {vdi: luns}, {}, {})
    assert error == ["SR_DOES_NOT_SUPPORT_MIGRATION", luns, "VDI_SNAPSHOT;VDI_MIRROR"]
    sim.call("VM.hard_shutdown", vm)


def test_evacuation(sim: Any, guests: Any, hosts: list[str]) -> None:
    here, there = hosts
    made = [on(sim, guests, here) for _unused in range(3)]
    sim.call("host.disable", here)
    sim.call("host.evacuate", here)
    assert {guests.get(vm, "resident_on") for vm in made} == {there}
    sim.call("host.enable", here)
    for vm in made:
        sim.call("VM.hard_shutdown", vm)
