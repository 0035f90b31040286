# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM: starting, pausing, stopping, rebooting, and forgetting what a dead host ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import XapiError
from ..registry import NULL, message, refresh
from . import vbd_rules, vif, vm_agent
from .placement import (
    assert_can_boot,
    assert_control_domain_affinity,
    assert_enough_memory,
    choose_host,
    host_seeing,
    required_srs,
    reserved,
)
from .vdi import destroy_vdi
from .vm import derived_domain_type, needed_platform_version
from .vm_memory import assert_pinned, limits_of, ocaml_float, overhead
from .vm_rules import is_live, is_true, vm_operation
from .vm_state import attach_devices, next_domid, refresh_devices, reset_state, settle

if TYPE_CHECKING:
    from ..db import Row
    from ..pool import Pool
    from ..registry import Context

SHUTDOWN_TIMEOUT = 1200.0  # seconds that a guest has for a clean shutdown, xapi_globs.ml
GENERIC_BIOS = {
    "bios-vendor": "Xen",
    "bios-version": "",
    "system-manufacturer": "Xen",
    "system-product-name": "HVM domU",
    "system-version": "",
    "system-serial-number": "",
    "baseboard-manufacturer": "",
    "baseboard-product-name": "",
    "baseboard-version": "",
    "baseboard-serial-number": "",
    "baseboard-asset-tag": "",
    "baseboard-location-in-chassis": "",
    "enclosure-asset-tag": "",
    "hp-rombios": "",
    "oem-1": "Xen",
    "oem-2": "MS_VM_CERT/SHA1/bdbeb6e0a816d43fa6d3fe8aaef04c2bad9d3e3d",
}


def told(ctx: Context, name: str, vm: Row, text: str) -> None:
    """The message that xapi leaves after an operation: "VM 'web' (uuid: ...) started on ..."."""
    ctx.announce(name, vm, f"VM '{vm.name_label}' (uuid: {vm.uuid}) {text}")


def on_host(host: Row) -> str:
    """A host as it stands in messages."""
    return f"host: {host.name_label} (uuid: {host.uuid})"


def home(ctx: Context, vm: Row) -> Row:
    """The host that the VM runs on, ready to be called."""
    host = ctx.db.row("host", vm.resident_on)
    ctx.forward(host)
    return host


# -- start


def assert_attachable(ctx: Context, vm: Row, *, with_vifs: bool = True) -> None:
    """The checks of all devices that come before the choice of a host."""
    for each in ctx.db.rows("VBD", VM=vm):
        vbd_rules.assert_allowed(ctx.db, each, "attach")
    for each in ctx.db.rows("VIF", VM=vm) if with_vifs else ():
        vif.assert_allowed(ctx.db, each, "attach")


def _prepare(vm: Row) -> None:
    if vm.domain_type == "unspecified":
        vm.domain_type = derived_domain_type(vm.HVM_boot_policy)
    vm.memory_overhead = overhead(vm)
    if not vm.bios_strings:
        vm.bios_strings = GENERIC_BIOS


def _completed(pool: Row, vm: Row) -> dict[str, str]:
    """What XAPI makes of a VM's platform when it starts (xapi_vm.ml)."""
    platform: dict[str, str] = vm.platform
    if platform.get("secureboot") == "auto":
        platform["secureboot"] = "true" if pool.custom_uefi_certificates or pool.uefi_certificates else "false"
    if vm.domain_type == "hvm" and "device-model" not in platform:
        uefi = vm.HVM_boot_params.get("firmware") == "uefi"
        return {"device-model": "qemu-upstream-uefi" if uefi else "qemu-upstream-compat", **platform}
    return platform


def assert_platform(vm: Row) -> None:
    """What only the host that starts a VM looks at (vm_platform.ml)."""
    uefi, model = vm.HVM_boot_params.get("firmware") == "uefi", vm.platform.get("device-model")
    if model == "qemu-trad" and uefi:
        raise XapiError("INVALID_VALUE", "platform:device-model", "UEFI boot is not supported with qemu-trad")
    if model == "qemu-upstream-uefi" and not uefi:
        raise XapiError("INVALID_VALUE", "platform:device-model", "BIOS boot is not supported with qemu-upstream-uefi")
    text = vm.platform.get("cores-per-socket")
    if text is None or vm.domain_type == "pv":
        return
    try:
        cores = int(text)
    except ValueError:
        raise XapiError("INVALID_VALUE", "platform:cores-per-socket", text) from None
    if cores < 1 or vm.VCPUs_max % cores:
        raise XapiError("VCPU_MAX_NOT_CORES_PER_SOCKET_MULTIPLE", vm.VCPUs_max, text)


def boot(ctx: Context, vm: Row, host: Row, *, paused: bool, force: bool) -> None:
    """What the host does: build the domain with its devices. Nothing is left of it when that fails."""
    ctx.forward(host)
    if vm.ha_restart_priority == "restart":
        vm.ha_always_run = True
    vm.platform = _completed(ctx.pool.pool_row, vm)
    assert_platform(vm)
    if not force and is_true(vm.platform, "nested-virt"):
        assert_pinned(limits_of(vm), "nested virt")
    vm_agent.drop_guest_metrics(ctx.db, vm)
    vm.hardware_platform_version = needed_platform_version(vm)
    try:
        attach_devices(ctx, vm, host)
    except XapiError:
        reset_state(ctx.db, vm, "Halted")
        raise
    cpu = ctx.pool.pool_row.cpu_info or host.cpu_info
    kind = "pv" if vm.domain_type == "pv" else "hvm"
    vm.last_boot_CPU_flags = {"vendor": cpu.get("vendor", ""), "features": cpu.get(f"features_{kind}", "")}
    run(ctx.pool, vm, host, "Paused" if paused else "Running")


def run(pool: Pool, vm: Row, host: Row, state: str) -> None:
    """A new domain on a host, no questions asked: metrics, residence, and in a while the agent."""
    vm_agent.booted(pool, vm)
    settle(pool, vm, host, state)
    vm_agent.expect_agent(pool, vm)


def _start_on(ctx: Context, vm: Row, host: Row, *, paused: bool, force: bool) -> None:
    with reserved(ctx, vm, host, "vm_start"):
        boot(ctx, vm, host, paused=paused, force=force)
    ctx.wait(vm.start_delay)


@message("VM.start")
def start(ctx: Context, vm: Row, start_paused: bool, force: bool) -> None:
    with vm_operation(ctx, vm, "start"):
        assert_attachable(ctx, vm)
        _prepare(vm)
        host = choose_host(ctx.db, vm)
        assert_enough_memory(ctx.db, vm, host)
        _start_on(ctx, vm, host, paused=start_paused, force=force)
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_STARTED", vm, f"started on {on_host(host)}")


@message("VM.start_on")
def start_on(ctx: Context, vm: Row, host_ref: str, start_paused: bool, force: bool) -> None:
    assert_control_domain_affinity(vm, host_ref)
    host = ctx.db.row("host", host_ref)
    if "evacuate" in host.current_operations.values():
        raise XapiError("HOST_EVACUATE_IN_PROGRESS", host)
    with vm_operation(ctx, vm, "start_on"):
        assert_attachable(ctx, vm)
        _prepare(vm)
        assert_can_boot(ctx.db, vm, host_ref)
        _start_on(ctx, vm, host, paused=start_paused, force=force)
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_STARTED", vm, f"started on {on_host(host)}")


@message("VM.pause")
def pause(ctx: Context, vm: Row) -> None:
    with vm_operation(ctx, vm, "pause"):
        home(ctx, vm)
        vm.power_state = "Paused"
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_PAUSED", vm, "paused")


@message("VM.unpause")
def unpause(ctx: Context, vm: Row) -> None:
    with vm_operation(ctx, vm, "unpause"):
        home(ctx, vm)
        vm.power_state = "Running"
        vm_agent.expect_agent(ctx.pool, vm)
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_UNPAUSED", vm, "unpaused")


# -- stop


def drop_suspend_image(ctx: Context, vm: Row) -> None:
    """A VM that does not come back needs no memory image."""
    vdi = ctx.db.maybe("VDI", vm.suspend_VDI)
    vm.suspend_VDI = NULL
    if vdi is not None:
        destroy_vdi(ctx, vdi)


def power_off(ctx: Context, vm: Row) -> None:
    """Stop a VM at once, wherever it is; no checks of its operations."""
    vm.ha_always_run = False
    if vm.power_state == "Suspended":
        ctx.forward(host_seeing(ctx.db, required_srs(ctx.db, vm, suspend=False)))
        drop_suspend_image(ctx, vm)
        reset_state(ctx.db, vm, "Halted")
    elif is_live(vm):
        home(ctx, vm)
        reset_state(ctx.db, vm, "Halted")
        ctx.wait(vm.shutdown_delay)


def _ask_guest(ctx: Context, vm: Row, timeout: float) -> None:
    """Let the guest shut itself down; VM_SHUTDOWN_TIMEOUT [vm; seconds] when it does not care to."""
    home(ctx, vm)

    def ignores() -> bool:
        return vm_agent.setting(vm, "xapisim_ignore_shutdown") == "true"

    if not ctx.wait_until(lambda: not ignores() or not is_live(vm), timeout if ignores() else 0.0):
        raise XapiError("VM_SHUTDOWN_TIMEOUT", vm, ocaml_float(timeout))
    if vm.exists and is_live(vm):
        home(ctx, vm)


def _clean_shutdown(ctx: Context, vm: Row, timeout: float) -> None:
    vm.ha_always_run = False
    _ask_guest(ctx, vm, timeout)
    reset_state(ctx.db, vm, "Halted")
    ctx.wait(vm.shutdown_delay)


@message("VM.clean_shutdown")
def clean_shutdown(ctx: Context, vm: Row) -> None:
    with vm_operation(ctx, vm, "clean_shutdown"):
        _clean_shutdown(ctx, vm, SHUTDOWN_TIMEOUT)
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_SHUTDOWN", vm, "shutdown")


@message("VM.shutdown")
def shutdown(ctx: Context, vm: Row) -> None:
    """Cleanly if the guest does it, else by force."""
    with vm_operation(ctx, vm, "shutdown"):
        if vm.power_state == "Suspended":
            power_off(ctx, vm)
        else:
            try:
                _clean_shutdown(ctx, vm, float(vm.shutdown_delay) or SHUTDOWN_TIMEOUT)
            except XapiError as error:
                if error.code == "TASK_CANCELLED":
                    raise
                power_off(ctx, vm)
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_SHUTDOWN", vm, "shutdown")


def _cancel(ctx: Context, vm: Row, operations: tuple[str, ...]) -> None:
    """Cancel what is under way and wait until it has ended."""

    def left() -> list[str]:
        return [task for task, op in vm.current_operations.items() if op in operations]

    for ref in left():
        task = ctx.db.maybe("task", ref)
        if task is not None:
            ctx.pool.tasks.cancel(task)
    ctx.wait_until(lambda: not left(), 60.0)


@message("VM.hard_shutdown")
def hard_shutdown(ctx: Context, vm: Row) -> None:
    others = ("clean_shutdown", "clean_reboot", "hard_reboot", "pool_migrate", "call_plugin", "shutdown", "suspend")
    with vm_operation(ctx, vm, "hard_shutdown"):
        _cancel(ctx, vm, others)
        power_off(ctx, vm)
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_SHUTDOWN", vm, "shutdown forcibly")


# -- reboot


def _restart(ctx: Context, vm: Row) -> None:
    """A new domain on the same host; what the agent said is stale."""
    vm_agent.drop_guest_metrics(ctx.db, vm)
    vm_agent.booted(ctx.pool, vm)
    vm.domid = next_domid(ctx.pool)
    vm.requires_reboot = False
    vm.power_state = "Running"
    refresh(vm)
    vm_agent.expect_agent(ctx.pool, vm)


@message("VM.clean_reboot")
def clean_reboot(ctx: Context, vm: Row) -> None:
    with vm_operation(ctx, vm, "clean_reboot"):
        assert_attachable(ctx, vm)
        vm.hardware_platform_version = needed_platform_version(vm)
        _ask_guest(ctx, vm, SHUTDOWN_TIMEOUT)
        _restart(ctx, vm)
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_REBOOTED", vm, "rebooted cleanly")


@message("VM.hard_reboot")
def hard_reboot(ctx: Context, vm: Row) -> None:
    with vm_operation(ctx, vm, "hard_reboot"):
        host = vm.resident_on
        _cancel(ctx, vm, ("clean_shutdown", "clean_reboot", "pool_migrate", "call_plugin", "suspend"))
        assert_attachable(ctx, vm)
        if is_live(vm):
            home(ctx, vm)
            _restart(ctx, vm)
        else:  # what was cancelled had shut it down already
            boot(ctx, vm, ctx.db.row("host", host), paused=False, force=False)
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_REBOOTED", vm, "rebooted forcibly")


# -- after the death of a host


@message("VM.power_state_reset")
def power_state_reset(ctx: Context, vm: Row) -> None:
    """Halted by decree. A host that is known to be dead is believed to be so, one that answers forbids it."""
    if vm.is_control_domain:
        raise XapiError("CANNOT_RESET_CONTROL_DOMAIN", vm)
    if is_live(vm):
        host = ctx.db.maybe("host", vm.resident_on)
        if host is not None and host == ctx.pool.master:
            raise XapiError("DOMAIN_EXISTS", vm)
        if host is not None:
            try:
                ctx.forward(host)
            except XapiError:
                pass
            else:
                raise XapiError("HOST_IS_LIVE", host)
    vm.current_operations = {}
    reset_state(ctx.db, vm, "Halted")
