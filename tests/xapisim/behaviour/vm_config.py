# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM: the setters that do more than write a field, device numbers, and small odds and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import XapiError
from ..registry import NULL, message, refresh
from .vbd_rules import free_devices
from .vm import derived_domain_type, needed_platform_version
from .vm_power import GENERIC_BIOS
from .vm_rules import assert_operation_valid, is_true, vm_operation

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context

Strings = dict[str, str]
VIF_DEVICES = 16
_RESTART_PRIORITIES = ("restart", "best-effort", "")
_BIOS_LIMIT = 512
_SETTABLE_BIOS = {name for name in GENERIC_BIOS if not name.startswith(("hp-", "oem-"))}


# -- maps with setters of their own: platform, other_config, blocked_operations, NVRAM


def _no_check(ctx: Context, vm: Row) -> None:
    """Nothing to assert."""


def _may_change_nvram(ctx: Context, vm: Row) -> None:
    with vm_operation(ctx, vm, "changing_NVRAM"):
        pass


def _map_messages(field: str, check: Callable[[Context, Row], None]) -> None:
    """Register set_, add_to_ and remove_from_ of a map field."""

    def set_all(ctx: Context, vm: Row, value: Strings) -> None:
        check(ctx, vm)
        setattr(vm, field, value)
        refresh(vm)

    def add(ctx: Context, vm: Row, key: str, value: str) -> None:
        check(ctx, vm)
        current = getattr(vm, field)
        if key in current:
            raise XapiError("MAP_DUPLICATE_KEY", "VM", field, vm, key)
        setattr(vm, field, {**current, key: value})
        refresh(vm)

    def remove(ctx: Context, vm: Row, key: str) -> None:
        check(ctx, vm)
        setattr(vm, field, {k: v for k, v in getattr(vm, field).items() if k != key})
        refresh(vm)

    message(f"VM.set_{field}")(set_all)
    message(f"VM.add_to_{field}")(add)
    message(f"VM.remove_from_{field}")(remove)


for _field in ("platform", "other_config", "blocked_operations"):
    _map_messages(_field, _no_check)
_map_messages("NVRAM", _may_change_nvram)


# -- what a VM is


@message("VM.set_domain_type")
def set_domain_type(ctx: Context, vm: Row, value: str) -> None:
    """In any power state (more facts, 11)."""
    if value == "unspecified":
        raise XapiError("INVALID_VALUE", "domain_type", value)
    vm.domain_type = value
    vm.HVM_boot_policy = "BIOS order" if value == "hvm" else ""
    refresh(vm)


@message("VM.set_HVM_boot_policy")
def set_boot_policy(ctx: Context, vm: Row, value: str) -> None:
    vm.domain_type = derived_domain_type(value)
    vm.HVM_boot_policy = value
    refresh(vm)


@message("VM.set_has_vendor_device")
def set_has_vendor_device(ctx: Context, vm: Row, value: bool) -> None:
    if vm.power_state != "Halted":
        raise XapiError("VM_BAD_POWER_STATE", vm, "halted", vm.power_state.lower())
    vm.has_vendor_device = value
    vm.hardware_platform_version = needed_platform_version(vm)


@message("VM.set_actions_after_crash")
def set_actions_after_crash(ctx: Context, vm: Row, value: str) -> None:
    vm.actions_after_crash = value


@message("VM.set_bios_strings")
def set_bios_strings(ctx: Context, vm: Row, value: Strings) -> None:
    """Once, before the first start."""
    if vm.bios_strings:
        raise XapiError("VM_BIOS_STRINGS_ALREADY_SET")
    for key, text in value.items():
        if key not in _SETTABLE_BIOS:
            raise XapiError("INVALID_VALUE", key, "Unknown key")
        if not text:
            raise XapiError("INVALID_VALUE", key, "Value provided is empty")
        if len(text.encode()) > _BIOS_LIMIT:
            raise XapiError("INVALID_VALUE", key, f"{text} has length more than {_BIOS_LIMIT} characters")
        if any(not 32 <= ord(letter) < 127 for letter in text):
            raise XapiError("INVALID_VALUE", key, f"{text} has non-printable ASCII characters")
    vm.bios_strings = {**GENERIC_BIOS, **value}


@message("VM.copy_bios_strings")
def copy_bios_strings(ctx: Context, vm: Row, host_ref: str) -> None:
    """The host's, and the VM stays with it."""
    if vm.bios_strings:
        raise XapiError("VM_BIOS_STRINGS_ALREADY_SET")
    host = ctx.db.row("host", host_ref)
    vm.bios_strings = host.bios_strings
    vm.affinity = host


# -- start order and high availability


def _set_natural(vm: Row, field: str, value: int) -> None:
    if value < 0:
        raise XapiError("INVALID_VALUE", f"{field} must be non-negative", value)
    setattr(vm, field, value)


@message("VM.set_order")
def set_order(ctx: Context, vm: Row, value: int) -> None:
    _set_natural(vm, "order", value)


@message("VM.set_start_delay")
def set_start_delay(ctx: Context, vm: Row, value: int) -> None:
    _set_natural(vm, "start_delay", value)


@message("VM.set_shutdown_delay")
def set_shutdown_delay(ctx: Context, vm: Row, value: int) -> None:
    _set_natural(vm, "shutdown_delay", value)


@message("VM.set_ha_restart_priority")
def set_ha_restart_priority(ctx: Context, vm: Row, value: str) -> None:
    """A running VM is protected, or not, at once."""
    if value not in _RESTART_PRIORITIES:
        raise XapiError("INVALID_VALUE", "ha_restart_priority", value)
    if vm.ha_restart_priority != value:
        vm.ha_restart_priority = value
        if vm.power_state == "Running":
            vm.ha_always_run = value == "restart"


@message("VM.set_ha_always_run")
def set_ha_always_run(ctx: Context, vm: Row, value: bool) -> None:
    """A no-op that succeeds (more facts, 11)."""


def _assert_ordinary(vm: Row, text: str) -> None:
    if vm.is_control_domain or vm.is_a_template or vm.is_a_snapshot:
        raise XapiError("OPERATION_NOT_ALLOWED", text)


@message("VM.set_appliance")
def set_appliance(ctx: Context, vm: Row, value: str) -> None:
    """A dangling reference is stored, too (more facts, 2)."""
    _assert_ordinary(vm, "Control domains, templates and snapshots cannot be assigned to appliances.")
    vm.appliance = value
    refresh(vm)


@message("VM.set_groups")
def set_groups(ctx: Context, vm: Row, value: list[str]) -> None:
    _assert_ordinary(vm, "Control domains, templates, and snapshots cannot be added to VM groups.")
    if len(value) > 1:
        raise XapiError("TOO_MANY_GROUPS")
    vm.groups = value


@message("VM.set_snapshot_schedule")
def set_snapshot_schedule(ctx: Context, vm: Row, value: str) -> None:
    schedule = ctx.db.maybe("VMSS", value)
    if schedule is None and value not in (NULL, ""):
        raise XapiError("INVALID_VALUE", value)
    if schedule is not None:
        if vm.is_control_domain:
            raise XapiError("INVALID_VALUE", value)
        if vm.is_a_template:
            raise XapiError("VM_IS_TEMPLATE", vm)
    vm.snapshot_schedule = value or NULL
    refresh(vm)


# -- operations and devices


@message("VM.assert_operation_valid")
def assert_operation(ctx: Context, vm: Row, op: str) -> None:
    assert_operation_valid(ctx.db, vm, op)


@message("VM.update_allowed_operations")
def update_allowed_operations(ctx: Context, vm: Row) -> None:
    refresh(vm)


@message("VM.get_allowed_VBD_devices")
def get_allowed_vbd_devices(ctx: Context, vm: Row) -> list[str]:
    return free_devices(ctx.db, vm)


@message("VM.get_allowed_VIF_devices")
def get_allowed_vif_devices(ctx: Context, vm: Row) -> list[str]:
    used = {vif.device for vif in ctx.db.rows("VIF", VM=vm)}
    return [str(n) for n in range(VIF_DEVICES) if str(n) not in used]


@message("VM.get_boot_record")
def get_boot_record(ctx: Context, vm: Row) -> dict[str, Any]:
    with vm_operation(ctx, vm, "get_boot_record"):
        return vm.record()


# -- guests


@message("VM.call_plugin")
def call_plugin(ctx: Context, vm: Row, plugin: str, fn: str, args: Strings) -> str:
    """The guest agent's own plugin; other operations in progress make it fail at once."""
    with vm_operation(ctx, vm, "call_plugin", patience=0.0):
        ctx.forward(ctx.db.row("host", vm.resident_on))
        if plugin != "guest-agent-operation":
            raise XapiError("XENAPI_MISSING_PLUGIN", plugin)
        if fn not in ("request-rdp-on", "request-rdp-off"):
            text = f'The requested fn "{fn}" could not be found in plugin "{plugin}".'
            raise XapiError("XENAPI_PLUGIN_FAILURE", "failed to find fn", text, text)
        metrics = ctx.db.maybe("VM_guest_metrics", vm.guest_metrics)
        if metrics is None or metrics.other.get("feature-ts2", "0") in ("", "0"):
            text = (
                f'The requested fn "{fn}" of plugin "{plugin}" could not be executed '
                "for lack of guest agent control feature."
            )
            raise XapiError("XENAPI_PLUGIN_FAILURE", "failed to execute fn", text, text)
        return ""


@message("VM.send_sysrq")
def send_sysrq(ctx: Context, vm: Row, key: str) -> None:
    with vm_operation(ctx, vm, "send_sysrq"):
        raise XapiError("NOT_IMPLEMENTED", "send_sysrq")


@message("VM.send_trigger")
def send_trigger(ctx: Context, vm: Row, trigger: str) -> None:
    with vm_operation(ctx, vm, "send_trigger"):
        raise XapiError("NOT_IMPLEMENTED", "send_trigger")


@message("VM.query_services")
def query_services(ctx: Context, vm: Row) -> Strings:
    with vm_operation(ctx, vm, "query_services"):
        raise XapiError("NOT_IMPLEMENTED", "query_services")


@message("VM.restart_device_models")
def restart_device_models(ctx: Context, vm: Row) -> None:
    """A migration to where the VM is."""
    if vm.power_state != "Running":
        raise XapiError("VM_BAD_POWER_STATE", vm, "Running", vm.power_state)
    ctx.call("VM.pool_migrate", vm, vm.resident_on, {"live": "true"})


# -- secure boot


@message("VM.get_secureboot_readiness")
def get_secureboot_readiness(ctx: Context, vm: Row) -> str:
    if vm.HVM_boot_params.get("firmware") != "uefi":
        return "not_supported"
    if not is_true(vm.platform, "secureboot"):
        return "disabled"
    return "ready" if "EFI-variables" in vm.NVRAM else "first_boot"


@message("VM.update_secureboot_certificates_on_boot")
def update_secureboot_certificates_on_boot(ctx: Context, vm: Row, mark: bool) -> None:
    if vm.secureboot_certificates_state not in ("update_available", "update_on_boot"):
        verb = "set" if mark else "clear"
        text = f"Cannot {verb} update_on_boot: VM.secureboot_certificates_state is not in a valid state"
        raise XapiError("OPERATION_NOT_ALLOWED", text)
    vm.secureboot_certificates_state = "update_on_boot" if mark else "update_available"
