# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VBD: create, destroy, plug, unplug, CDs, and attaching for VMs that start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import XapiError
from ..registry import NULL, message, refresh
from .backend import assert_device, fault, real_devices
from .forwarding import plugged_pbds
from .vbd_rules import assert_allowed, device_name, free_devices, interpretations, is_hvm, used_devices, valid_device

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..pool import Pool
    from ..registry import Context

_VDI_TYPES = ("system", "user", "ephemeral", "suspend", "crashdump", "metadata", "rrd", "pvs_cache")
_FIELDS = [
    "bootable",
    "mode",
    "type",
    "unpluggable",
    "empty",
    "other_config",
    "qos_algorithm_type",
    "qos_algorithm_params",
    "VDI",
    "userdevice",
]


def build_vbd(pool: Pool, vm: Row, **fields: Any) -> Row:
    """A VBD without any check. Without VDI it is an empty CD drive; without userdevice it gets the first free one."""
    vdi = fields.get("VDI", NULL)
    empty = vdi in (NULL, None)
    values = {"type": "CD" if empty else "Disk", "empty": empty, "userdevice": "autodetect", **fields}
    values.setdefault("mode", "RO" if values["type"] == "CD" else "RW")
    if values["userdevice"] == "autodetect":
        values["userdevice"] = free_devices(pool.db, vm)[0]
    vbd = pool.db.create("VBD", VM=vm, **values)
    refresh(vbd)
    return vbd


def _assert_agile(ctx: Context, vm: Row, vdi: Row) -> None:
    """HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED [sr] when a protected VM would get a disk that only some hosts see."""
    pool = ctx.pool.pool_row
    protected = vm.ha_always_run and vm.ha_restart_priority == "restart"
    if not pool.ha_enabled or pool.ha_allow_overcommit or not protected:
        return
    sr = ctx.db.row("SR", vdi.SR)
    seeing = {pbd.host for pbd in plugged_pbds(ctx.db, sr)}
    if not sr.shared or any(host.enabled and host.ref not in seeing for host in ctx.db.rows("host")):
        raise XapiError("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", sr)


def assert_not_migrating(vm: Row) -> None:
    """OTHER_OPERATION_IN_PROGRESS while the VM moves."""
    for task, op in vm.current_operations.items():
        if op in ("migrate_send", "pool_migrate"):
            raise XapiError("OTHER_OPERATION_IN_PROGRESS", "VM", vm, op, task)


@message("VBD.create")
def create(ctx: Context, record: dict[str, Any]) -> Row:
    """The record alone: nothing is plugged."""
    db = ctx.db
    vm = db.row("VM", record["VM"])
    empty, kind, mode = record["empty"], record["type"], record["mode"]
    vdi = None if empty else db.row("VDI", record["VDI"])
    if vdi is not None and vdi.type not in _VDI_TYPES:
        raise XapiError("VDI_INCOMPATIBLE_TYPE", vdi, vdi.type)
    if kind == "CD" and mode != "RO":
        raise XapiError("VBD_CDS_MUST_BE_READONLY")
    if kind != "CD" and empty:
        raise XapiError("VBD_NOT_REMOVABLE_MEDIA", "in constructor")
    if mode == "RW" and vdi is not None and vdi.read_only:
        raise XapiError("VDI_READONLY", vdi)
    assert_not_migrating(vm)
    userdevice = record["userdevice"]
    if not valid_device(userdevice):
        raise XapiError("INVALID_DEVICE", userdevice)
    if userdevice == "autodetect":
        free = free_devices(db, vm)
        if not free:
            raise XapiError("INVALID_DEVICE", userdevice)
        userdevice = free[0]
    if interpretations(userdevice) & used_devices(db, vm):
        raise XapiError("DEVICE_ALREADY_EXISTS", userdevice)
    if vdi is not None:
        _assert_agile(ctx, vm, vdi)
    fields = {name: record[name] for name in _FIELDS if name in record}
    fields.update(userdevice=userdevice, VDI=vdi if vdi is not None else NULL)
    if vm.power_state == "Suspended":
        fields.update(device=record.get("device", ""), currently_attached=record.get("currently_attached", False))
    vbd = build_vbd(ctx.pool, vm, **fields)
    if vdi is not None:
        refresh(vdi)
    refresh(vm)
    return vbd


@message("VBD.destroy")
def destroy(ctx: Context, vbd: Row) -> None:
    vm = ctx.db.maybe("VM", vbd.VM)
    if vbd.currently_attached and vm is not None:
        raise XapiError("OPERATION_NOT_ALLOWED", f"VBD '{vbd.uuid}' still attached to '{vm.uuid}'")
    vdi = ctx.db.maybe("VDI", vbd.VDI)
    ctx.db.destroy(vbd)
    if vdi is not None:
        refresh(vdi)
    if vm is not None:
        refresh(vm)


def _refresh(db: Database, vbd: Row) -> None:
    refresh(vbd)
    vdi = db.maybe("VDI", vbd.VDI)
    if vdi is not None:
        refresh(vdi)


def attach(ctx: Context, vbd: Row, host: Row) -> None:
    """Attach for a VM that starts, resumes or hotplugs on a host; an empty drive is attached, too.

    Raises what the sharing rules say, and SR_BACKEND_FAILURE_46 when the path to the SR is lost or the device missing.
    """
    if not vbd.currently_attached:
        assert_allowed(ctx.db, vbd, "attach")
    vdi = None if vbd.empty else ctx.db.maybe("VDI", vbd.VDI)
    if vdi is not None and vdi.SR in ctx.pool.faults.sr_lost:
        raise fault("VDIUnavailable", f"VDI {vdi.uuid} cannot be opened")
    if vdi is not None and real_devices(ctx.pool) and ctx.db.row("SR", vdi.SR).type == "udev":
        pbds = ctx.db.rows("PBD", SR=vdi.SR, host=host.ref)
        with ctx.operation(vbd, "attach"):
            assert_device(ctx, host, pbds[0].device_config, vdi.location)
    vbd.device = device_name(vbd.userdevice)
    vbd.currently_attached = True
    _refresh(ctx.db, vbd)


def detach(ctx: Context, vbd: Row) -> None:
    """The VM has let go of the device."""
    vbd.currently_attached = False
    _refresh(ctx.db, vbd)


@message("VBD.plug")
def plug(ctx: Context, vbd: Row) -> None:
    assert_allowed(ctx.db, vbd, "plug")
    vm = ctx.db.row("VM", vbd.VM)
    host = ctx.db.row("host", vm.resident_on)
    ctx.forward(host)
    vdi = None if vbd.empty else ctx.db.row("VDI", vbd.VDI)
    if vdi is not None:
        sr = ctx.db.row("SR", vdi.SR)
        if host.ref not in {pbd.host for pbd in plugged_pbds(ctx.db, sr)}:
            raise XapiError("SR_NOT_ATTACHED", sr)
    if is_hvm(vm) and vbd.type != "CD" and vbd.mode == "RO":
        raise XapiError("DISK_VBD_MUST_BE_READWRITE_FOR_HVM", vbd)
    attach(ctx, vbd, host)


def _unplug(ctx: Context, vbd: Row, op: str) -> None:
    assert_allowed(ctx.db, vbd, op)
    ctx.forward(ctx.db.row("host", ctx.db.row("VM", vbd.VM).resident_on))
    with ctx.operation(vbd, op):
        detach(ctx, vbd)
    _refresh(ctx.db, vbd)  # the VDI was busy until now


@message("VBD.unplug")
def unplug(ctx: Context, vbd: Row) -> None:
    _unplug(ctx, vbd, "unplug")


@message("VBD.unplug_force", "VBD.unplug_force_no_safety_check")
def unplug_force(ctx: Context, vbd: Row) -> None:
    _unplug(ctx, vbd, "unplug_force")


@message("VBD.insert")
def insert(ctx: Context, vbd: Row, vdi_ref: str) -> None:
    """Any managed VDI may go in, from whatever SR (more facts, 8)."""
    db = ctx.db
    assert_allowed(db, vbd, "insert")
    vdi = db.row("VDI", vdi_ref)
    if not vdi.managed:
        raise XapiError("VDI_NOT_MANAGED", vdi)
    vm = db.row("VM", vbd.VM)
    _assert_agile(ctx, vm, vdi)
    if vm.power_state in ("Running", "Paused"):
        ctx.forward(db.row("host", vm.resident_on))
        if vdi.SR in ctx.pool.faults.sr_lost:
            raise fault("VDIUnavailable", f"VDI {vdi.uuid} cannot be opened")
    vbd.VDI = vdi
    vbd.empty = False
    _refresh(db, vbd)


@message("VBD.eject")
def eject(ctx: Context, vbd: Row) -> None:
    assert_allowed(ctx.db, vbd, "eject")
    vdi = ctx.db.maybe("VDI", vbd.VDI)
    vbd.VDI = NULL
    vbd.empty = True
    refresh(vbd)
    if vdi is not None:
        refresh(vdi)


@message("VBD.set_mode")
def set_mode(ctx: Context, vbd: Row, value: str) -> None:
    """Halted VMs only; RW on a CD is not refused (more facts, 8)."""
    vm = ctx.db.row("VM", vbd.VM)
    if vm.power_state != "Halted":
        raise XapiError("VM_BAD_POWER_STATE", vm, "halted", vm.power_state.lower())
    vbd.mode = value


@message("VBD.assert_attachable")
def assert_attachable(ctx: Context, vbd: Row) -> None:
    assert_allowed(ctx.db, vbd, "attach")


@message("VBD.pause", "VBD.unpause")
def pause(ctx: Context, vbd: Row) -> None:
    """A real xapi answers thus, whatever the SR."""
    vdi = ctx.db.row("VDI", vbd.VDI)
    raise XapiError("SR_OPERATION_NOT_SUPPORTED", vdi.SR)
