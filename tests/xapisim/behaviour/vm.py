# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM: the builder that everything makes VMs with, create and destroy, templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..db import new_uuid
from ..errors import XapiError
from ..registry import NULL, message, refresh
from . import vm_agent
from .vm_memory import overhead
from .vm_rules import is_true, vm_operation

if TYPE_CHECKING:
    from ..db import Row
    from ..pool import Pool
    from ..registry import Context

VENDOR_DEVICE_PLATFORM = 2  # hardware_platform_version that a vendor device needs, xapi_globs.ml
_IGNORED = ("blocked_operations", "protection_policy", "snapshot_schedule", "is_vmss_snapshot", "is_snapshot_from_vmpp")
_WHEN_SUSPENDED = ("suspend_VDI", "last_boot_CPU_flags", "last_booted_record")
# what a description may leave out although VM.create wants it
_USUAL = {
    "user_version": 1,
    "actions_after_shutdown": "destroy",
    "actions_after_reboot": "restart",
    "actions_after_crash": "restart",
    "VCPUs_max": 1,
    "VCPUs_at_startup": 1,
    **{f"memory_{kind}": 1 << 30 for kind in ("static_max", "dynamic_max", "dynamic_min")},
    "memory_static_min": 1 << 29,
    "HVM_boot_policy": "BIOS order",
}


def derived_domain_type(boot_policy: str) -> str:
    """The type of a VM whose client knows HVM_boot_policy only."""
    return "pv" if boot_policy == "" else "hvm"


def needed_platform_version(vm: Row) -> int:
    """hardware_platform_version, raised to what the VM's devices need."""
    return max(int(vm.hardware_platform_version), VENDOR_DEVICE_PLATFORM if vm.has_vendor_device else 0)


def build_vm(pool: Pool, record: dict[str, Any]) -> Row:
    """A VM without any check, with all that xapi adds to a record. Fields that are not given are usual ones."""
    values = {**_USUAL, **record}
    values.setdefault("other_config", {})
    if "mac_seed" not in values["other_config"]:
        values["other_config"] = {"mac_seed": new_uuid(), **values["other_config"]}
    if values.get("domain_type", "unspecified") == "unspecified":
        values["domain_type"] = derived_domain_type(values["HVM_boot_policy"])
    if "metrics" not in values:
        suspended = values.get("power_state") == "Suspended"
        kind = values["domain_type"] if suspended else "unspecified"
        values["metrics"] = vm_agent.fresh_metrics(pool.db, current_domain_type=kind)
    values.setdefault("domid", -1)
    vm = pool.db.create("VM", **values)
    vm.hardware_platform_version = needed_platform_version(vm)
    vm.memory_overhead = overhead(vm)
    refresh(vm)
    return vm


@message("VM.create")
def create(ctx: Context, record: dict[str, Any]) -> Row:
    """A record only: hardly anything is checked before the first start (more facts, 3)."""
    values = {name: value for name, value in record.items() if name not in _IGNORED}
    state = values.pop("power_state", "Halted")
    if state == "Suspended":
        if not all(values.get(name) not in (None, "", NULL, {}) for name in _WHEN_SUSPENDED):
            raise XapiError("VM_BAD_POWER_STATE", f"OpaqueRef:{new_uuid()}", "halted", "suspended")
        values["power_state"] = state
    else:
        for name in _WHEN_SUSPENDED:
            values.pop(name, None)
    return build_vm(ctx.pool, values)


def destroy_vm(ctx: Context, vm: Row) -> None:
    """Delete the record with its VBDs, VIFs and other devices; the VDIs stay, snapshots dangle."""
    db = ctx.db
    for child in [db.maybe("VM", ref) for ref in vm.children]:
        if child is not None:
            child.parent = vm.parent
    if is_true(vm.other_config, "default_template"):
        raise XapiError("VM_CANNOT_DELETE_DEFAULT_TEMPLATE")
    vdis = []
    for vbd in db.rows("VBD", VM=vm):
        vdis.append(db.maybe("VDI", vbd.VDI))
        db.destroy(vbd)
    for cls in ("VIF", "VGPU", "VUSB", "VTPM", "console"):
        for device in db.rows(cls, VM=vm):
            db.destroy(device)
    for cls, ref in (("VM_metrics", vm.metrics), ("VM_guest_metrics", vm.guest_metrics)):
        metrics = db.maybe(cls, ref)
        if metrics is not None:
            db.destroy(metrics)
    db.destroy(vm)
    for vdi in vdis:
        if vdi is not None:
            refresh(vdi)


@message("VM.destroy")
def destroy(ctx: Context, vm: Row) -> None:
    with vm_operation(ctx, vm, "destroy"):
        destroy_vm(ctx, vm)


def installed(ctx: Context, vm: Row) -> None:
    """`set_is_a_template(false)` is what xapi calls install time."""
    metrics = ctx.db.maybe("VM_metrics", vm.metrics)
    if metrics is not None:
        metrics.install_time = ctx.pool.clock.datetime()
    vm.is_a_template = False
    refresh(vm)


def _templatise(ctx: Context, vm: Row) -> None:
    protected = vm.ha_always_run and vm.ha_restart_priority == "restart"
    if ctx.pool.pool_row.ha_enabled and protected:
        raise XapiError("VM_IS_PROTECTED", vm)
    vm.ha_always_run = False
    for vusb in ctx.db.rows("VUSB", VM=vm):
        ctx.db.destroy(vusb)
    vm.groups = []
    metrics = ctx.db.maybe("VM_metrics", vm.metrics)
    vm.metrics = NULL
    if metrics is not None:
        ctx.db.destroy(metrics)
    vm.is_a_template = True


@message("VM.set_is_a_template")
def set_is_a_template(ctx: Context, vm: Row, value: bool) -> None:
    if not value:
        installed(ctx, vm)
        return
    with vm_operation(ctx, vm, "make_into_template"):
        _templatise(ctx, vm)


@message("VM.set_is_default_template")
def set_is_default_template(ctx: Context, vm: Row, value: bool) -> None:
    if value and not vm.is_a_template:
        set_is_a_template(ctx, vm, True)
    vm.other_config = {**vm.other_config, "default_template": "true" if value else "false"}
    vm.is_default_template = value
    refresh(vm)
