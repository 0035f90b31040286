# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM: migration within the pool, with its disks where they are or along with them (xapi_vm_migrate.ml)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import XapiError, internal
from ..registry import NULL, message, refresh
from . import vm_agent
from .pbd import attach_pbd
from .placement import assert_can_boot, assert_compatible, choose_host, reserved, sees_sr
from .vdi_copy import assert_can_move, move_vdi
from .vm_power import told
from .vm_rules import is_live, is_true, vm_operation
from .vm_state import refresh_devices, settle

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context

Map = dict[str, str]
MAX_STORAGE_MIGRATIONS = 3
_DATA = "VM.pool_migrate:data"  # scenario `durations`: seconds that the memory takes to travel


def _address_on(ctx: Context, network: str, host: Row) -> None:
    """The destination's interface on the migration network must be up and have an address."""
    pifs = [pif for pif in ctx.db.rows("PIF", network=network) if pif.host == host.ref]
    if not pifs:
        raise XapiError("PIF_NOT_PRESENT", host, network)
    if not pifs[0].currently_attached:
        raise XapiError("REQUIRED_PIF_IS_UNPLUGGED", pifs[0])
    if not pifs[0].IP:
        raise XapiError("INTERFACE_HAS_NO_IP", pifs[0])


def _travel(ctx: Context, vm: Row, host: Row) -> None:
    """The memory moves: the VM has a domain at the destination, and none at the source."""
    ctx.forward(ctx.db.row("host", vm.resident_on))
    ctx.forward(host)
    ctx.wait(ctx.pool.durations.get(_DATA, 0.0))
    ctx.forward(host)
    settle(ctx.pool, vm, host, vm.power_state)
    vm_agent.expect_agent(ctx.pool, vm)


def _moved(ctx: Context, vm: Row, source: Row, host: Row) -> None:
    refresh_devices(ctx.db, vm)
    name = "host '{0.name_label}' (uuid: {0.uuid})".format
    told(ctx, "VM_MIGRATED", vm, f"migrated from {name(source)} to {name(host)}")


@message("VM.pool_migrate")
def pool_migrate(ctx: Context, vm: Row, host_ref: str, options: Map) -> None:
    """Live, between hosts that see the same storage; also to the host where it is."""
    force = is_true(options, "force")
    if not force and vm.power_state != "Halted":
        assert_compatible(ctx.db, vm, ctx.db.row("host", host_ref))
    with vm_operation(ctx, vm, "pool_migrate", strict=not force):
        source = ctx.db.row("host", vm.resident_on)
        assert_can_boot(ctx.db, vm, host_ref)
        host = ctx.db.row("host", host_ref)
        with reserved(ctx, vm, host, "vm_migrate"):
            if "network" in options:
                _address_on(ctx, options["network"], host)
            _travel(ctx, vm, host)
    _moved(ctx, vm, source, host)


# -- with disks


def _destination(ctx: Context, dest: Map) -> Row:
    """The host that a map from host.migrate_receive names."""
    if "host" not in dest:
        raise internal("Not_found")
    host = ctx.db.maybe("host", dest["host"])
    if host is None:
        raise XapiError("NOT_IMPLEMENTED", "VM.migrate_send to another pool")
    return host


def _disks(ctx: Context, vm: Row) -> list[Row]:
    return [ctx.db.row("VDI", v.VDI) for v in ctx.db.rows("VBD", VM=vm) if not v.empty and v.type != "CD"]


def _assert_can_migrate(ctx: Context, vm: Row, host: Row, vdi_map: Map, vif_map: Map, options: Map) -> None:
    db = ctx.db
    for vdi in _disks(ctx, vm):
        if vdi.ref not in vdi_map:
            raise XapiError("VDI_NOT_IN_MAP", vdi)
    moving = [(db.row("VDI", v), db.row("SR", sr)) for v, sr in vdi_map.items() if sr != db.row("VDI", v).SR]
    for vdi, sr in moving:
        assert_can_move(ctx, vdi, sr)
    assert_can_boot(db, vm, host.ref, srs=False, cpuid=not is_true(options, "force"))
    if vif_map:
        text = "VIF mapping is not allowed for intra-pool migration -all VIFs must be on the same network"
        raise XapiError("OPERATION_NOT_ALLOWED", text)
    for vdi, _sr in moving:
        if vdi.cbt_enabled:
            raise XapiError("VDI_CBT_ENABLED", vdi)


@message("VM.assert_can_migrate")
def assert_can_migrate(
    ctx: Context, vm: Row, dest: Map, live: bool, vdi_map: Map, vif_map: Map, options: Map, vgpu_map: Map
) -> None:
    _assert_can_migrate(ctx, vm, _destination(ctx, dest), vdi_map, vif_map, options)


def _complete(ctx: Context, vm: Row, host: Row, vdi_map: Map) -> list[tuple[Row, Row]]:
    """All VDIs that have to move, with those of snapshots and memory images, and where to: smallest first."""
    db = ctx.db
    chosen = dict(vdi_map)
    default = ctx.pool.pool_row.default_SR
    family = [vm, *(snap for snap in (db.maybe("VM", ref) for ref in vm.snapshots) if snap is not None)]
    for each in family:
        extra = _disks(ctx, each) if each != vm else []
        image = db.maybe("VDI", each.suspend_VDI) if each.power_state == "Suspended" else None
        if image is not None and not sees_sr(db, host, db.row("SR", image.SR)):
            extra.append(image)
        for vdi in extra:
            target = chosen.get(vdi.ref) or chosen.get(vdi.snapshot_of)
            if target is None and vdi is image:
                suspend = ctx.pool.pool_row.suspend_image_SR
                target = suspend if suspend != NULL else host.suspend_image_sr
            if target in (None, NULL):
                target = default
            if target == NULL:
                raise XapiError("VDI_NOT_IN_MAP", vdi)
            chosen[vdi.ref] = target
    pairs = [(db.row("VDI", vdi), db.row("SR", sr)) for vdi, sr in chosen.items()]
    pairs = [(vdi, sr) for vdi, sr in pairs if sr.ref != vdi.SR]
    for vdi, _sr in pairs:
        if vdi.cbt_enabled:
            raise XapiError("VDI_CBT_ENABLED", vdi)
    return sorted(pairs, key=lambda pair: (pair[0].virtual_size, pair[0].snapshot_time))


def _plug(ctx: Context, sr: Row, host: Row) -> None:
    """The destination and the coordinator get the SR attached if they only lack the plug."""
    for each in (host, ctx.pool.master):
        for pbd in ctx.db.rows("PBD", SR=sr):
            if pbd.host == each.ref and not pbd.currently_attached:
                attach_pbd(ctx, pbd)


def _eject_cds(ctx: Context, vm: Row, vdi_map: Map) -> None:
    if vm.power_state == "Suspended":
        return
    for vbd in ctx.db.rows("VBD", VM=vm):
        vdi = ctx.db.maybe("VDI", vbd.VDI) if vbd.type == "CD" else None
        if vdi is not None and vdi_map.get(vdi.ref) != vdi.SR:
            ctx.call("VBD.eject", vbd)


def _move_disks(ctx: Context, vm: Row, host: Row, vdi_map: Map, options: Map) -> None:
    if is_true(options, "copy"):
        text = (
            "Copy mode is disallowed on intra pool storage migration, try efficient alternatives, "
            "for example, VM.copy/clone."
        )
        raise XapiError("OPERATION_NOT_ALLOWED", text)
    for vdi in _disks(ctx, vm):
        if vdi.on_boot == "reset":
            raise XapiError("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION", vdi)
    pairs = _complete(ctx, vm, host, vdi_map)
    under_way: list[str] = ctx.pool.__dict__.setdefault("storage_migrations", [])
    if len(under_way) >= MAX_STORAGE_MIGRATIONS:
        raise XapiError("TOO_MANY_STORAGE_MIGRATES", MAX_STORAGE_MIGRATIONS)
    under_way.append(vm.ref)
    try:
        _eject_cds(ctx, vm, vdi_map)
        for number, (vdi, sr) in enumerate(pairs):
            _plug(ctx, sr, host)
            move_vdi(ctx, vdi, sr)
            ctx.progress((number + 1) / (len(pairs) + 1))
    finally:
        under_way.remove(vm.ref)
    suspend_sr = ctx.db.maybe("SR", vm.suspend_SR)
    if suspend_sr is not None and not sees_sr(ctx.db, host, suspend_sr):
        vm.suspend_SR = NULL


@message("VM.migrate_send")
def migrate_send(
    ctx: Context,
    vm: Row,
    dest: Map,
    live: bool,
    vdi_map: Map,
    vif_map: Map,
    options: Map,
    vgpu_map: Map,
    vdi_format_map: Map,
) -> Row:
    """With storage; within a pool the VM keeps its reference."""
    host = _destination(ctx, dest)
    source = ctx.db.maybe("host", vm.resident_on)
    with vm_operation(ctx, vm, "migrate_send"):
        _assert_can_migrate(ctx, vm, host, vdi_map, vif_map, options)
        if is_live(vm) and source is not None:
            with reserved(ctx, vm, host, "vm_migrate"):
                ctx.forward(source)
                _move_disks(ctx, vm, host, vdi_map, options)
                _travel(ctx, vm, host)
        else:
            ctx.forward(choose_host(ctx.db, vm))
            _move_disks(ctx, vm, host, vdi_map, options)
    refresh(vm)
    if source is not None:
        _moved(ctx, vm, source, host)
    return vm
