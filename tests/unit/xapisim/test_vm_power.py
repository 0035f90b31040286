# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power states: what changes with each, messages, guests that answer and guests that do not, deaths of hosts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

NULL = "OpaqueRef:NULL"


def messages(sim: Any, vm: str) -> list[tuple[str, int]]:
    uuid = sim.call("VM.get_uuid", vm)
    return [(m["name"], m["priority"]) for m in sim.call("message.get_all_records").values() if m["obj_uuid"] == uuid]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def finished(sim: Any, task: str) -> dict[str, Any]:
    until(lambda: sim.call("task.get_status", task) != "pending")
    record: dict[str, Any] = sim.call("task.get_record", task)
    return record


def test_a_life(sim: Any, guests: Any) -> None:
    vm = guests.new("life", tools=True)
    vdi, vbd = guests.disk(vm)
    cd = guests.attach(vm, NULL, userdevice="3")
    vif = guests.nic(vm)
    sim.call("VM.start", vm, True, False)
    record = sim.call("VM.get_record", vm)
    assert record["power_state"] == "Paused"
    assert record["resident_on"] in sim.call("host.get_all")
    assert vm in sim.call("host.get_resident_VMs", record["resident_on"])
    assert record["domid"] > 0
    assert record["scheduled_to_be_resident_on"] == NULL
    assert record["bios_strings"]["bios-vendor"] == "Xen"
    assert record["platform"]["device-model"] == "qemu-upstream-compat"
    assert len(record["consoles"]) == 1
    assert sim.call("VBD.get_currently_attached", vbd)
    assert sim.call("VBD.get_device", vbd) == "xvda"
    assert sim.call("VBD.get_currently_attached", cd)
    assert sim.call("VIF.get_currently_attached", vif)
    sim.call("VM.unpause", vm)
    sim.call("VM.pause", vm)
    sim.call("VM.unpause", vm)
    sim.pool.clock.advance(2)
    sim.call("VM.suspend", vm)
    record = sim.call("VM.get_record", vm)
    assert (record["power_state"], record["resident_on"], record["domid"]) == ("Suspended", NULL, -1)
    image = sim.call("VDI.get_record", record["suspend_VDI"])
    assert (image["type"], image["name_label"]) == ("suspend", "Suspend image")
    assert image["virtual_size"] >= (1 << 30) * 1.26
    assert sim.call("VBD.get_currently_attached", vbd)
    sim.call("VM.resume", vm, False, False)
    assert guests.state(vm) == "Running"
    assert guests.get(vm, "suspend_VDI") == NULL
    assert sim.refused("VDI.get_uuid", record["suspend_VDI"])[0] == "HANDLE_INVALID"
    domid = guests.get(vm, "domid")
    sim.call("VM.clean_reboot", vm)
    assert guests.get(vm, "domid") != domid
    sim.pool.clock.advance(2)
    sim.call("VM.clean_shutdown", vm)
    record = sim.call("VM.get_record", vm)
    assert (record["power_state"], record["resident_on"], record["domid"]) == ("Halted", NULL, -1)
    assert record["consoles"] == []
    assert not sim.call("VBD.get_currently_attached", vbd)
    assert not sim.call("VIF.get_currently_attached", vif)
    assert sim.call("VDI.get_uuid", vdi)
    names = "STARTED UNPAUSED PAUSED UNPAUSED SUSPENDED RESUMED REBOOTED SHUTDOWN".split(" ")
    assert messages(sim, vm) == [(f"VM_{name}", 5) for name in names]


def test_message_text(sim: Any, guests: Any) -> None:
    vm = guests.running("said", tools=False)
    host = sim.call("host.get_record", guests.get(vm, "resident_on"))
    uuid = guests.get(vm, "uuid")
    said = [m["body"] for m in sim.call("message.get_all_records").values() if m["obj_uuid"] == uuid]
    assert said == [f"VM 'said' (uuid: {uuid}) started on host: {host['name_label']} (uuid: {host['uuid']})"]
    sim.call("VM.hard_shutdown", vm)


def test_guest_metrics(sim: Any, guests: Any) -> None:
    vm = guests.new("agent", tools=True)
    guests.nic(vm, MAC="0e:00:00:01:02:03")
    sim.call("VM.start", vm, False, False)
    assert guests.get(vm, "guest_metrics") == NULL
    sim.pool.clock.advance(2)
    metrics = sim.call("VM_guest_metrics.get_record", guests.get(vm, "guest_metrics"))
    assert metrics["networks"]["0/ip"] == metrics["networks"]["0/ipv4/0"] == "10.1.2.4"
    assert metrics["networks"]["0/ipv6/0"] == "fe80::c00:ff:fe01:203"
    assert metrics["PV_drivers_detected"]
    assert metrics["can_use_hotplug_vbd"] == "yes"
    assert metrics["other"]["feature-suspend"] == "1"
    running = sim.call("VM_metrics.get_record", guests.get(vm, "metrics"))
    assert running["current_domain_type"] == "hvm"
    assert running["start_time"] > "20260101"
    assert running["memory_actual"] == 1 << 30
    sim.call("VM.hard_reboot", vm)
    assert guests.get(vm, "guest_metrics") == NULL
    sim.pool.clock.advance(2)
    assert guests.get(vm, "guest_metrics") != NULL
    sim.call("VM.hard_shutdown", vm)
    sim.call("VM.start", vm, False, False)
    assert guests.get(vm, "guest_metrics") == NULL
    sim.call("VM.hard_shutdown", vm)
    sim.pool.clock.advance(2)
    assert guests.get(vm, "guest_metrics") == NULL
    assert sim.call("VM_metrics.get_current_domain_type", guests.get(vm, "metrics")) == "unspecified"


def test_tools_come_with_templates(sim: Any, guests: Any) -> None:
    template = guests.new("Debian 12 custom", is_a_template=True)
    for other, reports in (({}, True), ({"xapisim_tools": "false"}, False)):
        vm = sim.call("VM.clone", template, "from template")
        sim.call("VM.set_is_a_template", vm, False)
        for key, value in other.items():
            sim.call("VM.add_to_other_config", vm, key, value)
        sim.call("VM.start", vm, False, False)
        sim.pool.clock.advance(2)
        assert (guests.get(vm, "guest_metrics") != NULL) is reports
        if reports:
            os_version = sim.call("VM_guest_metrics.get_os_version", guests.get(vm, "guest_metrics"))
            assert (os_version["distro"], os_version["major"]) == ("debian", "12")
        sim.call("VM.hard_shutdown", vm)


def test_a_guest_that_ignores_a_shutdown(sim: Any, guests: Any) -> None:
    vm = guests.running("stubborn", other_config={"xapisim_ignore_shutdown": "true"})
    task = sim.call("Async.VM.clean_shutdown", vm)
    until(lambda: list(guests.get(vm, "current_operations").values()) == ["clean_shutdown"])
    assert guests.get(vm, "allowed_operations") == ["hard_reboot", "hard_shutdown"]
    sim.pool.clock.advance(1201)
    record = finished(sim, task)
    assert (record["status"], record["error_info"]) == ("failure", ["VM_SHUTDOWN_TIMEOUT", vm, "1200."])
    assert guests.state(vm) == "Running"
    assert guests.get(vm, "current_operations") == {}
    # a hard shutdown cancels a clean one
    task = sim.call("Async.VM.clean_shutdown", vm)
    until(lambda: guests.get(vm, "current_operations") != {})
    sim.call("VM.hard_shutdown", vm)
    assert finished(sim, task)["status"] == "cancelled"
    assert guests.state(vm) == "Halted"


def test_shutdown_tries_both(sim: Any, guests: Any) -> None:
    vm = guests.running("both", other_config={"xapisim_ignore_shutdown": "true"})
    sim.call("VM.set_shutdown_delay", vm, 30)
    task = sim.call("Async.VM.shutdown", vm)
    until(lambda: guests.get(vm, "current_operations") != {})
    sim.pool.clock.advance(31)
    until(lambda: guests.state(vm) == "Halted")
    sim.pool.clock.advance(31)
    assert finished(sim, task)["status"] == "success"


def test_a_cancelled_shutdown(sim: Any, guests: Any) -> None:
    vm = guests.running("kept", other_config={"xapisim_ignore_shutdown": "true"})
    task = sim.call("Async.VM.clean_shutdown", vm)
    until(lambda: guests.get(vm, "current_operations") != {})
    sim.call("task.cancel", task)
    record = finished(sim, task)
    assert (record["status"], record["error_info"]) == ("cancelled", ["TASK_CANCELLED", task])
    assert guests.state(vm) == "Running"
    sim.call("VM.hard_shutdown", vm)


def test_operations_queue(sim: Any, guests: Any) -> None:
    """Like xapi, a call waits for the operation in its way instead of failing."""
    vm = guests.running("queue", other_config={"xapisim_ignore_shutdown": "true"})
    first = sim.call("Async.VM.clean_shutdown", vm)
    until(lambda: guests.get(vm, "current_operations") != {})
    second = sim.call("Async.VM.pause", vm)
    time.sleep(0.1)
    assert sim.call("task.get_status", second) == "pending"
    sim.call("task.cancel", first)
    assert finished(sim, second)["status"] == "success"
    assert guests.state(vm) == "Paused"
    sim.call("VM.hard_shutdown", vm)


def test_start_delay(sim: Any, guests: Any) -> None:
    vm = guests.new("slow")
    sim.call("VM.set_start_delay", vm, 60)
    task = sim.call("Async.VM.start", vm, False, False)
    until(lambda: guests.state(vm) == "Running")
    assert sim.call("task.get_status", task) == "pending"
    sim.pool.clock.advance(61)
    assert finished(sim, task)["status"] == "success"
    sim.call("VM.hard_shutdown", vm)


def test_no_suspend_sr(sim: Any, guests: Any) -> None:
    vm = guests.running("homeless")
    host = guests.get(vm, "resident_on")
    pool = sim.call("pool.get_all")[0]
    kept = sim.call("pool.get_suspend_image_SR", pool), sim.call("host.get_suspend_image_sr", host)
    sim.call("pool.set_suspend_image_SR", pool, NULL)
    sim.call("host.set_suspend_image_sr", host, NULL)
    assert sim.refused("VM.suspend", vm) == ["VM_NO_SUSPEND_SR", vm]
    sim.call("VM.set_suspend_SR", vm, guests.sr())
    sim.pool.faults.sr_full.add(guests.sr())
    assert sim.refused("VM.suspend", vm) == ["SR_SUSPEND_SPACE_INSUFFICIENT", guests.sr()]
    assert guests.state(vm) == "Running"
    sim.pool.faults.clear()
    sim.call("VM.suspend", vm)
    image = guests.get(vm, "suspend_VDI")
    sim.call("pool.set_suspend_image_SR", pool, kept[0])
    sim.call("host.set_suspend_image_sr", host, kept[1])
    sim.call("VM.hard_shutdown", vm)
    assert guests.state(vm) == "Halted"
    assert sim.refused("VDI.get_uuid", image)[0] == "HANDLE_INVALID"


def test_lost_memory_image(sim: Any, guests: Any) -> None:
    vm = guests.running("amnesia")
    sim.call("VM.suspend", vm)
    sim.call("VDI.destroy", guests.get(vm, "suspend_VDI"))
    assert sim.refused("VM.resume", vm, False, False) == ["VM_HAS_NO_SUSPEND_VDI", "VM", vm]
    assert guests.state(vm) == "Halted"


def test_a_disk_in_use_elsewhere(sim: Any, guests: Any) -> None:
    first, second = guests.new("first"), guests.new("second")
    vdi, _vbd = guests.disk(first)
    guests.attach(second, vdi)
    sim.call("VM.start", first, False, False)
    assert sim.refused("VM.start", second, False, False) == ["VDI_IN_USE", vdi]
    assert guests.state(second) == "Halted"
    sim.call("VM.hard_shutdown", first)
    sim.call("VM.start", second, False, False)
    sim.call("VM.hard_shutdown", second)


def test_a_start_that_fails_leaves_nothing(sim: Any, guests: Any) -> None:
    vm = guests.new("cut off")
    vdi, vbd = guests.disk(vm)
    sim.pool.faults.sr_lost.add(sim.call("VDI.get_SR", vdi))
    error = sim.refused("VM.start", vm, False, False)
    sim.pool.faults.clear()
    assert error[0] == "SR_BACKEND_FAILURE_46"
    record = sim.call("VM.get_record", vm)
    assert (record["power_state"], record["resident_on"], record["current_operations"]) == ("Halted", NULL, {})
    assert not sim.call("VBD.get_currently_attached", vbd)
    assert all(not host["current_operations"] for host in sim.call("host.get_all_records").values())


def test_bad_hosts(sim: Any, guests: Any) -> None:
    """More facts, 1: each call errs in its own way."""
    vm = guests.new("lost")
    bad = "OpaqueRef:nosuch"
    assert sim.refused("VM.start_on", vm, bad, False, False) == ["HANDLE_INVALID", "host", bad]
    assert sim.refused("VM.assert_can_boot_here", vm, bad) == ["HOST_NOT_LIVE"]
    sim.call("VM.start", vm, False, False)
    assert sim.refused("VM.pool_migrate", vm, bad, {}) == ["HANDLE_INVALID", "host", bad]
    sim.call("VM.hard_shutdown", vm)
    suspended = guests.running("asleep")
    sim.call("VM.suspend", suspended)
    assert sim.refused("VM.resume_on", suspended, bad, False, False) == ["HOST_NOT_LIVE"]
    sim.call("VM.hard_shutdown", suspended)


def test_ha_flags_follow(sim: Any, guests: Any) -> None:
    vm = guests.new("protected", tools=True)
    sim.call("VM.set_ha_restart_priority", vm, "restart")
    assert not guests.get(vm, "ha_always_run")
    sim.call("VM.start", vm, False, False)
    assert guests.get(vm, "ha_always_run")
    sim.call("VM.set_ha_restart_priority", vm, "best-effort")
    assert not guests.get(vm, "ha_always_run")
    sim.call("VM.set_ha_restart_priority", vm, "restart")
    sim.call("VM.hard_shutdown", vm)
    assert not guests.get(vm, "ha_always_run")
    assert sim.refused("VM.set_ha_restart_priority", vm, "often") == ["INVALID_VALUE", "ha_restart_priority", "often"]
    sim.call("VM.set_ha_always_run", vm, True)
    assert not guests.get(vm, "ha_always_run")


def test_death_of_a_host(start: Any, guests: Any) -> None:
    sim = start()
    guests = type(guests)(sim)
    pool = sim.pool
    host = next(h for h in pool.db.rows("host") if h != pool.master)
    vm, at_home = guests.new("victim"), guests.new("at home")
    sim.call("VM.start_on", vm, host.ref, False, False)
    sim.call("VM.start_on", at_home, pool.master.ref, False, False)
    assert sim.refused("VM.power_state_reset", vm) == ["HOST_IS_LIVE", host.ref]
    assert sim.refused("VM.power_state_reset", at_home) == ["DOMAIN_EXISTS", at_home]
    with pool.lock:
        pool.crash(host)
    assert sim.call("VM.get_power_state", vm) == "Running"
    assert sim.refused("VM.hard_shutdown", vm) == ["CANNOT_CONTACT_HOST", host.ref]
    pool.clock.advance(601)
    assert sim.refused("VM.hard_shutdown", vm) == ["HOST_OFFLINE", host.ref]
    assert sim.refused("VM.start_on", at_home, host.ref, False, False)[0] == "VM_BAD_POWER_STATE"
    sim.call("VM.power_state_reset", vm)
    assert sim.refused("VM.start_on", vm, host.ref, False, False) == ["HOST_NOT_LIVE"]
    sim.call("VM.start", vm, False, False)
    assert sim.call("VM.get_resident_on", vm) == pool.master.ref


def test_many_at_once(sim: Any, guests: Any) -> None:
    """Parallel starts share the memory of the hosts without overbooking it."""
    made = [guests.new(f"crowd {n}", memory_static_max=4 << 30, memory_dynamic_max=4 << 30,
                       memory_dynamic_min=4 << 30) for n in range(8)]  # fmt: skip
    tasks = [sim.call("Async.VM.start", vm, False, False) for vm in made]
    assert {finished(sim, task)["status"] for task in tasks} == {"success"}
    on = [guests.get(vm, "resident_on") for vm in made]
    assert sorted(on.count(host) for host in set(on)) == [4, 4]
    threads = [threading.Thread(target=sim.call, args=("VM.hard_shutdown", vm)) for vm in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {guests.state(vm) for vm in made} == {"Halted"}


@pytest.mark.parametrize("op", ["VM.start", "VM.resume"])
def test_no_host(sim: Any, guests: Any, op: str) -> None:
    vm = guests.new("nowhere") if op == "VM.start" else guests.running("nowhere")
    if op == "VM.resume":
        sim.call("VM.suspend", vm)
    hosts = sim.call("host.get_all")
    for host in hosts:
        sim.call("host.disable", host)
    assert sim.refused(op, vm, False, False) == ["NO_HOSTS_AVAILABLE"]
    assert sim.call("VM.get_possible_hosts", vm) == []
    for host in hosts:
        sim.call("host.enable", host)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"platform": {"cores-per-socket": "2"}, "VCPUs_max": 5}, ["VCPU_MAX_NOT_CORES_PER_SOCKET_MULTIPLE", "5", "2"]),
        ({"platform": {"cores-per-socket": "0"}}, ["VCPU_MAX_NOT_CORES_PER_SOCKET_MULTIPLE", "1", "0"]),
        ({"platform": {"cores-per-socket": "two"}}, ["INVALID_VALUE", "platform:cores-per-socket", "two"]),
        ({"platform": {"device-model": "qemu-upstream-uefi"}},
         ["INVALID_VALUE", "platform:device-model", "BIOS boot is not supported with qemu-upstream-uefi"]),
        ({"platform": {"device-model": "qemu-trad"}, "HVM_boot_params": {"firmware": "uefi"}},
         ["INVALID_VALUE", "platform:device-model", "UEFI boot is not supported with qemu-trad"]),
    ],
)  # fmt: skip
def test_a_platform_that_cannot_start(sim: Any, guests: Any, fields: dict[str, Any], error: list[str]) -> None:
    vm = guests.new(**fields)
    assert sim.error("VM.start", sim.session, vm, False, False) == error
    assert sim.call("VM.get_power_state", vm) == "Halted"


def test_whole_sockets_start(sim: Any, guests: Any) -> None:
    sim.call("VM.start", guests.new(platform={"cores-per-socket": "2"}, VCPUs_max=4), False, False)
    pv = guests.new(platform={"cores-per-socket": "2"}, VCPUs_max=3, HVM_boot_policy="", PV_bootloader="pygrub")
    sim.call("VM.start", pv, False, False)


def test_memory_that_no_host_has(sim: Any, guests: Any) -> None:
    size = 1 << 44
    vm = guests.new(memory_static_max=size, memory_dynamic_max=size, memory_dynamic_min=size)
    assert sim.error("VM.start", sim.session, vm, False, False)[0] == "HOST_NOT_ENOUGH_FREE_MEMORY"


@pytest.mark.parametrize(
    ("operation", "method", "args", "state"),
    [
        ("start", "VM.start", (False, False), "Halted"),
        ("destroy", "VM.destroy", (), "Halted"),
        ("changing_memory_limits", "VM.set_memory", (2 << 30,), "Halted"),
        ("changing_VCPUs", "VM.set_VCPUs_max", (2,), "Halted"),
        ("clone", "VM.clone", ("x",), "Halted"),
        ("copy", "VM.copy", ("x", NULL), "Halted"),
        ("snapshot", "VM.snapshot", ("x", []), "Halted"),
        ("clean_shutdown", "VM.clean_shutdown", (), "Running"),
        ("hard_shutdown", "VM.hard_shutdown", (), "Running"),
        ("clean_reboot", "VM.clean_reboot", (), "Running"),
        ("hard_reboot", "VM.hard_reboot", (), "Running"),
        ("suspend", "VM.suspend", (), "Running"),
        ("pause", "VM.pause", (), "Running"),
        ("changing_dynamic_range", "VM.set_memory_dynamic_range", (1 << 29, 1 << 30), "Running"),
        ("changing_VCPUs_live", "VM.set_VCPUs_number_live", (1,), "Running"),
    ],
)
def test_what_is_blocked_is_refused(
    sim: Any, guests: Any, operation: str, method: str, args: tuple[Any, ...], state: str
) -> None:
    vm = guests.new(tools=True)
    if state == "Running":
        sim.call("VM.start", vm, False, False)
        sim.pool.clock.advance(5)
    sim.call("VM.add_to_blocked_operations", vm, operation, "ask Ann")
    assert operation not in sim.call("VM.get_allowed_operations", vm)
    assert sim.error(method, sim.session, vm, *args) == ["OPERATION_BLOCKED", vm, "ask Ann"]
    assert sim.call("VM.get_power_state", vm) == state
