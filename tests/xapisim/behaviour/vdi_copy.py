# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VDIs from VDIs: snapshot, clone, copy, revert, and moving to another SR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..db import new_uuid
from ..errors import XapiError
from ..registry import NULL, message, refresh
from . import space
from .forwarding import forward_sr, plugged_pbds
from .sm import has_feature
from .vdi import add_record, assert_managed, assert_sr_allows, build_vdi, destroy_vdi
from .vdi_rules import assert_allowed

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context

Strings = dict[str, str]
_INHERITED = ("name_label", "name_description", "type", "sharable", "other_config", "xenstore_data", "tags")
_ON_DISK = ("on_boot", "allow_caching", "read_only")


def _inherited(vdi: Row, *names: str) -> dict[str, Any]:
    return {name: getattr(vdi, name) for name in names}


def _duplicate(ctx: Context, vdi: Row, op: str, **fields: Any) -> Row:
    """A VDI of the same SR that shares its blocks with `vdi`."""
    sr = ctx.db.row("SR", vdi.SR)
    assert_allowed(ctx.db, vdi, op)
    forward_sr(ctx, sr)
    assert_managed(vdi)
    space.assert_room(ctx.pool, sr, 1)
    uuid = new_uuid()
    with ctx.operation(vdi, op):
        if vdi.uuid in ctx.pool.disks:
            ctx.pool.disks.snapshot(vdi.uuid, uuid)
        else:
            ctx.pool.disks.create(uuid, vdi.virtual_size)
        new = add_record(ctx.pool, sr, uuid, vdi.virtual_size, {**_inherited(vdi, *_INHERITED, *_ON_DISK), **fields})
    refresh(new)
    return new


def snapshot_vdi(ctx: Context, vdi: Row) -> Row:
    """A snapshot with the same name, `is_a_snapshot` and `snapshot_of` set."""
    return _duplicate(
        ctx,
        vdi,
        "snapshot",
        is_a_snapshot=True,
        snapshot_of=vdi,
        snapshot_time=ctx.pool.clock.datetime(),
        cbt_enabled=vdi.cbt_enabled,
    )


def clone_vdi(ctx: Context, vdi: Row) -> Row:
    """A writable duplicate in the same SR; a full copy where the driver cannot clone."""
    sr = ctx.db.row("SR", vdi.SR)
    if has_feature(ctx.db, sr, "VDI_CLONE"):
        return _duplicate(ctx, vdi, "clone")
    return copy_vdi(ctx, vdi, sr)


def copy_vdi(ctx: Context, vdi: Row, sr: Row) -> Row:
    """A full copy in an SR, writable whatever the source is."""
    assert_allowed(ctx.db, vdi, "copy")
    assert_managed(vdi)
    assert_sr_allows(ctx, sr, "VDI_CREATE")
    forward_sr(ctx, sr)
    size = space.rounded(sr, vdi.virtual_size)
    space.assert_room(ctx.pool, sr, size)
    with ctx.operation(vdi, "copy"):
        new = build_vdi(ctx.pool, sr, size, **_inherited(vdi, *_INHERITED), allow_caching=vdi.allow_caching)
        if vdi.on_boot == "reset" and has_feature(ctx.db, sr, "VDI_RESET_ON_BOOT"):
            new.on_boot = "reset"
        _pour(ctx, vdi, new)
    refresh(new)
    return new


def _pour(ctx: Context, source: Row, into: Row) -> None:
    """Copy the bytes."""
    if source.uuid in ctx.pool.disks:
        ctx.pool.disks.copy_into(source.uuid, into.uuid)
    sr = ctx.db.row("SR", into.SR)
    space.account(ctx.pool, sr, into, sign=-1)
    space.account(ctx.pool, sr, into)


@message("VDI.snapshot")
def snapshot(ctx: Context, vdi: Row, driver_params: Strings) -> Row:
    assert_sr_allows(ctx, ctx.db.row("SR", vdi.SR), "VDI_SNAPSHOT")
    return snapshot_vdi(ctx, vdi)


@message("VDI.clone")
def clone(ctx: Context, vdi: Row, driver_params: Strings) -> Row:
    return clone_vdi(ctx, vdi)


@message("VDI.revert")
def revert(ctx: Context, snapshot: Row) -> None:
    """No simulated driver has the feature VDI_REVERT, nor has one in the field yet."""
    sr = ctx.db.row("SR", snapshot.SR)
    raise XapiError("SR_OPERATION_NOT_SUPPORTED", sr)


@message("VDI.copy")
def copy(ctx: Context, vdi: Row, sr_ref: str, base_vdi: str, into_vdi: str) -> Row:
    """Copy to a new VDI of an SR, or over an existing one."""
    into = ctx.db.maybe("VDI", into_vdi)
    if into is None:
        return copy_vdi(ctx, vdi, ctx.db.row("SR", sr_ref))
    assert_allowed(ctx.db, vdi, "copy")
    assert_managed(vdi)
    if into.read_only:
        raise XapiError("VDI_READONLY", into)
    if into.virtual_size < vdi.virtual_size:
        raise XapiError("VDI_TOO_SMALL", into, vdi.virtual_size)
    forward_sr(ctx, ctx.db.row("SR", into.SR))
    with ctx.operation(vdi, "copy"):
        _pour(ctx, vdi, into)
    return into


def assert_can_move(ctx: Context, vdi: Row, target: Row) -> None:
    """SR_DOES_NOT_SUPPORT_MIGRATION [sr; features] when either SR cannot take part in a mirror."""
    for sr in (ctx.db.row("SR", vdi.SR), target):
        missing = [feature for feature in ("VDI_SNAPSHOT", "VDI_MIRROR") if not has_feature(ctx.db, sr, feature)]
        if missing:
            raise XapiError("SR_DOES_NOT_SUPPORT_MIGRATION", sr, ";".join(missing))


def move_vdi(ctx: Context, vdi: Row, target: Row) -> Row:
    """A VDI with the same content in another SR that takes the place of the old one; no checks but that of room."""
    db = ctx.db
    size = space.rounded(target, vdi.virtual_size)
    space.assert_room(ctx.pool, target, size)
    with ctx.operation(vdi, "mirror"):
        fields = {**_inherited(vdi, *_INHERITED, *_ON_DISK, "is_a_snapshot", "snapshot_of", "snapshot_time")}
        new = build_vdi(ctx.pool, target, size, **fields)
        try:
            _pour(ctx, vdi, new)
        except XapiError:
            destroy_vdi(ctx, new)
            raise
        for vbd in db.rows("VBD", VDI=vdi):
            vbd.VDI = new
        for child in db.rows("VDI", snapshot_of=vdi):
            child.snapshot_of = new
        for vm in db.rows("VM", suspend_VDI=vdi.ref):
            vm.suspend_VDI = new
        destroy_vdi(ctx, vdi)
    refresh(new)
    return new


@message("VDI.pool_migrate")
def pool_migrate(ctx: Context, vdi: Row, sr_ref: str, options: Strings) -> Row:
    """Move a VDI with its snapshots' ancestry to another SR; the VBDs follow. Returns the new VDI."""
    db = ctx.db
    vbds = db.rows("VBD", VDI=vdi)
    if not vbds:
        raise XapiError("VDI_NEEDS_VM_FOR_MIGRATE", vdi)
    target = db.row("SR", sr_ref)
    source = db.row("SR", vdi.SR)
    if vdi.cbt_enabled:
        raise XapiError("VDI_CBT_ENABLED", vdi)
    if vdi.on_boot == "reset":
        raise XapiError("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION")
    assert_can_move(ctx, vdi, target)
    vm = db.row("VM", vbds[0].VM)
    seeing = [{pbd.host for pbd in plugged_pbds(db, sr)} for sr in (source, target)]
    if vm.resident_on != NULL:
        for sr, hosts in zip((source, target), seeing, strict=True):
            if vm.resident_on not in hosts:
                raise XapiError("VM_REQUIRES_SR", vm, sr)
    elif not seeing[0] & seeing[1]:
        raise XapiError("SR_HAS_NO_PBDS", target if not seeing[1] else source)
    with ctx.operation(vm, "migrate_send"):
        return move_vdi(ctx, vdi, target)
