# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VDI: create, destroy, resize, forget, introduce, and the setters that go through the storage manager."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..db import new_uuid
from ..errors import XapiError
from ..registry import message, refresh
from . import shelf, space
from .backend import fault
from .forwarding import assert_plugged, forward_sr
from .sm import has_feature
from .vdi_rules import assert_allowed

if TYPE_CHECKING:
    from ..db import Row
    from ..pool import Pool
    from ..registry import Context

Strings = dict[str, str]
_UUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")


def build_vdi(pool: Pool, sr: Row, size: int, **fields: Any) -> Row:
    """A VDI record with a blank disk of `size` bytes (rounded up as the driver does). No checks of room or host."""
    uuid = fields.pop("uuid", None) or new_uuid()
    size = space.rounded(sr, size, raw=space.is_raw(fields.get("sm_config", {})))
    pool.disks.create(uuid, size)
    return add_record(pool, sr, uuid, size, fields)


def add_record(pool: Pool, sr: Row, uuid: str, size: int, fields: dict[str, Any]) -> Row:
    """The record of a disk that exists in pool.disks; keeps the SR's figures."""
    values = {"type": "user", "location": uuid, "managed": True, **fields}
    vdi = pool.db.create("VDI", uuid=uuid, SR=sr, virtual_size=size, **values)
    space.account(pool, sr, vdi)
    refresh(vdi)
    return vdi


@message("VDI.create")
def create(ctx: Context, record: dict[str, Any]) -> Row:
    """A blank VDI. SR_OPERATION_NOT_SUPPORTED, SR_HAS_NO_PBDS, SR_BACKEND_FAILURE_44 and _79 as in real life."""
    sr = ctx.db.row("SR", record["SR"])
    if record["type"] == "cbt_metadata":
        raise XapiError("VDI_INCOMPATIBLE_TYPE", "OpaqueRef:NULL", record["type"])
    assert_sr_allows(ctx, sr, "VDI_CREATE")
    forward_sr(ctx, sr)
    size = space.rounded(sr, record["virtual_size"], raw=space.is_raw(record.get("sm_config") or {}))
    space.assert_room(ctx.pool, sr, size)
    taken = ("name_label", "name_description", "type", "sharable", "read_only", "other_config", "xenstore_data", "tags")
    fields = {name: record[name] for name in taken if name in record}
    if record.get("sm_config"):
        fields["sm_config"] = record["sm_config"]
    return build_vdi(ctx.pool, sr, size, **fields)


def assert_sr_allows(ctx: Context, sr: Row, feature: str) -> None:
    """SR_OPERATION_NOT_SUPPORTED [sr] when the driver lacks the feature, or for changes of the tools SR."""
    if not has_feature(ctx.db, sr, feature) or (sr.is_tools_sr and feature in ("VDI_CREATE", "VDI_DELETE")):
        raise XapiError("SR_OPERATION_NOT_SUPPORTED", sr)


def assert_managed(vdi: Row) -> None:
    """VDI_NOT_MANAGED [vdi] for what the storage manager keeps for itself."""
    if not vdi.managed:
        raise XapiError("VDI_NOT_MANAGED", vdi)


def destroy_vdi(ctx: Context, vdi: Row) -> None:
    """Delete a VDI with its bytes, its VBDs, and every mention of it as suspend image."""
    db = ctx.db
    sr = db.row("SR", vdi.SR)
    vbds = db.rows("VBD", VDI=vdi)
    space.account(ctx.pool, sr, vdi, sign=-1)
    if vdi.uuid in ctx.pool.disks:
        ctx.pool.disks.delete(vdi.uuid)
    db.destroy(vdi)
    for vbd in vbds:
        db.destroy(vbd)
    for vm in db.rows("VM", suspend_VDI=vdi.ref):
        vm.suspend_VDI = "OpaqueRef:NULL"


@message("VDI.destroy")
def destroy(ctx: Context, vdi: Row) -> None:
    assert_allowed(ctx.db, vdi, "destroy")
    forward_sr(ctx, ctx.db.row("SR", vdi.SR))
    assert_managed(vdi)
    destroy_vdi(ctx, vdi)


def drop_record(ctx: Context, vdi: Row) -> None:
    """Forget a VDI: its bytes stay on the medium. What xapi's garbage collection does to its VBDs is done at once."""
    sr = ctx.db.row("SR", vdi.SR)
    shelf.put(ctx.pool, sr, vdi)
    for vbd in ctx.db.rows("VBD", VDI=vdi):
        if vbd.type == "CD":
            vbd.VDI = "OpaqueRef:NULL"
            vbd.empty = True
        else:
            ctx.db.destroy(vbd)
    ctx.db.destroy(vdi)


@message("VDI.forget", "VDI.db_forget")
def forget(ctx: Context, vdi: Row) -> None:
    assert_allowed(ctx.db, vdi, "forget")
    drop_record(ctx, vdi)


@message("VDI.update")
def update(ctx: Context, vdi: Row) -> None:
    assert_allowed(ctx.db, vdi, "update")
    sr = ctx.db.row("SR", vdi.SR)
    forward_sr(ctx, sr)
    vdi.physical_utilisation = space.footprint(ctx.pool, sr, vdi)


def _resize(ctx: Context, vdi: Row, size: int, op: str) -> None:
    assert_allowed(ctx.db, vdi, op)
    sr = ctx.db.row("SR", vdi.SR)
    forward_sr(ctx, sr)
    assert_managed(vdi)
    if size < vdi.virtual_size:
        raise fault("VDISize", "shrinking not allowed")
    size = space.rounded(sr, size, raw=space.is_raw(vdi.sm_config))
    if size > vdi.virtual_size:
        space.assert_room(ctx.pool, sr, size - vdi.virtual_size)
        with ctx.operation(vdi, op):
            space.account(ctx.pool, sr, vdi, sign=-1)
            if vdi.uuid in ctx.pool.disks:
                ctx.pool.disks.resize(vdi.uuid, size)
            vdi.virtual_size = size
            space.account(ctx.pool, sr, vdi)


@message("VDI.resize")
def resize(ctx: Context, vdi: Row, size: int) -> None:
    _resize(ctx, vdi, size, "resize")


@message("VDI.resize_online")
def resize_online(ctx: Context, vdi: Row, size: int) -> None:
    _resize(ctx, vdi, size, "resize_online")


@message("VDI.introduce")
def introduce(
    ctx: Context,
    uuid: str,
    name_label: str,
    name_description: str,
    sr_ref: str,
    vdi_type: str,
    sharable: bool,
    read_only: bool,
    other_config: Strings,
    location: str,
    xenstore_data: Strings,
    sm_config: Strings,
    *_ignored: Any,
) -> Row:
    """A record for what lies at `location` already; the size and the rest come from the medium."""
    sr = ctx.db.row("SR", sr_ref)
    assert_sr_allows(ctx, sr, "VDI_INTRODUCE")
    forward_sr(ctx, sr)
    if any(vdi.location == location and vdi.uuid != uuid for vdi in ctx.db.rows("VDI", SR=sr)):
        raise XapiError("LOCATION_NOT_UNIQUE", sr, location)
    if not _UUID.match(uuid):
        raise XapiError("UUID_INVALID", "VDI", uuid)
    kept = shelf.shelves(ctx.pool).get(sr.uuid)
    fields = kept.vdis.pop(location, {}) if kept is not None else {}
    fields.update(uuid=uuid, location=location, type=vdi_type, sharable=sharable, sm_config=sm_config)
    fields.update(other_config=other_config, xenstore_data=xenstore_data)
    for name, value in (("name_label", name_label), ("name_description", name_description)):
        if value:
            fields[name] = value
    return find_again(ctx, sr, fields)


def find_again(ctx: Context, sr: Row, fields: dict[str, Any]) -> Row:
    """The record of something that a scan or an introduce met on the medium."""
    uuid = fields.pop("uuid", None) or new_uuid()
    size = fields.pop("virtual_size", 1 << 30)
    if uuid not in ctx.pool.disks:
        ctx.pool.disks.create(uuid, size)
    return add_record(ctx.pool, sr, uuid, size, fields)


def _via_manager(ctx: Context, vdi: Row, field: str, value: Any) -> None:
    sr = ctx.db.row("SR", vdi.SR)
    assert_plugged(ctx.db, sr)
    forward_sr(ctx, sr)
    setattr(vdi, field, value)


@message("VDI.set_name_label")
def set_name_label(ctx: Context, vdi: Row, value: str) -> None:
    _via_manager(ctx, vdi, "name_label", value)


@message("VDI.set_name_description")
def set_name_description(ctx: Context, vdi: Row, value: str) -> None:
    _via_manager(ctx, vdi, "name_description", value)


@message("VDI.set_on_boot")
def set_on_boot(ctx: Context, vdi: Row, value: str) -> None:
    assert_allowed(ctx.db, vdi, "set_on_boot")
    _via_manager(ctx, vdi, "on_boot", value)
    refresh(vdi)


@message("VDI.set_allow_caching")
def set_allow_caching(ctx: Context, vdi: Row, value: bool) -> None:
    vdi.allow_caching = value


@message("VDI.set_sharable", "VDI.set_read_only", "VDI.set_managed")
def internal_setter(ctx: Context, vdi: Row, value: bool) -> None:
    """For the storage manager only (measured on a real xapi: more facts, 9)."""
    raise XapiError("PERMISSION_DENIED", "")
