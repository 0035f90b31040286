# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SR: create, introduce, forget, destroy, scan, update, and its setters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..db import new_uuid
from ..errors import XapiError
from ..registry import message, refresh, refresher
from . import backend, shelf, space
from .forwarding import forward_sr, forward_to, plugged_pbds
from .pbd import attach_pbd, build_pbd, destroy_pbd
from .sm import DRIVERS, driver, has_feature
from .vdi import drop_record, find_again

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..pool import Pool
    from ..registry import Context

Strings = dict[str, str]
_LOCAL_DEVICE = ("lvm", "ext", "xfs", "largeblock", "zfs-vol")
_LUN = ("lvmoiscsi", "lvmohba")
_OPS = [
    "scan",
    "destroy",
    "forget",
    "plug",
    "unplug",
    "vdi_create",
    "vdi_destroy",
    "vdi_resize",
    "vdi_clone",
    "vdi_snapshot",
    "vdi_mirror",
    "vdi_enable_cbt",
    "vdi_disable_cbt",
    "vdi_data_destroy",
    "vdi_list_changed_blocks",
    "vdi_set_on_boot",
    "vdi_introduce",
    "vdi_revert",
    "update",
    "pbd_create",
    "pbd_destroy",
]
_NEEDS = {
    "vdi_create": "VDI_CREATE",
    "vdi_destroy": "VDI_DELETE",
    "vdi_resize": "VDI_RESIZE",
    "vdi_introduce": "VDI_INTRODUCE",
    "vdi_mirror": "VDI_MIRROR",
    "vdi_enable_cbt": "VDI_CONFIG_CBT",
    "vdi_disable_cbt": "VDI_CONFIG_CBT",
    "vdi_data_destroy": "VDI_CONFIG_CBT",
    "vdi_list_changed_blocks": "VDI_CONFIG_CBT",
    "vdi_set_on_boot": "VDI_RESET_ON_BOOT",
    "update": "SR_UPDATE",
    "vdi_revert": "VDI_REVERT",
    "vdi_snapshot": "VDI_SNAPSHOT",
}


def _error(db: Database, sr: Row, op: str) -> XapiError | None:
    """Why the operation is not possible (xapi_sr_operations.ml), None if it is."""
    needed = _NEEDS.get(op)
    if needed is not None:
        tools = sr.is_tools_sr and needed in ("VDI_CREATE", "VDI_DELETE")
        if tools or not has_feature(db, sr, needed):
            return XapiError("SR_OPERATION_NOT_SUPPORTED", sr)
    if op in ("destroy", "forget") and plugged_pbds(db, sr):
        return XapiError("SR_HAS_PBD", sr)
    if op == "destroy":
        if not sr.PBDs:
            return XapiError("SR_HAS_NO_PBDS", sr)
        if any(vdi.managed and vdi.type != "rrd" for vdi in db.rows("VDI", SR=sr)):
            return XapiError("SR_NOT_EMPTY")
    for task, current in sr.current_operations.items():
        if op != "plug" or current != "plug":
            return XapiError("OTHER_OPERATION_IN_PROGRESS", "SR", sr, current, task)
    return None


@refresher("SR")
def allowed_operations(db: Database, sr: Row) -> list[str]:
    """The operations that xapi lists for an SR."""
    return [op for op in _OPS if _error(db, sr, op) is None]


def assert_allowed(db: Database, sr: Row, op: str) -> None:
    """Raise why the operation is not possible now."""
    error = _error(db, sr, op)
    if error is not None:
        raise error


def _record(db: Database, sr_type: str, *, shared: bool, **fields: Any) -> Row:
    """The bare record: sizes are unknown (-1) until a PBD is attached."""
    values = {"content_type": "user", **fields}
    return db.create("SR", type=sr_type, shared=shared, physical_size=-1, physical_utilisation=-1, **values)


def build_sr(pool: Pool, host: Row | None, sr_type: str, device_config: Strings, shared: bool, **fields: Any) -> Row:
    """An SR with attached PBDs: on every host when shared, else on `host`. Fields may give physical_size."""
    size = fields.pop("physical_size", None)
    if "content_type" not in fields and sr_type == "iso":
        fields["content_type"] = "iso"
    sr = _record(pool.db, sr_type, shared=shared, **fields)
    hosts = pool.db.rows("host") if shared or host is None else [host]
    for each in hosts:
        build_pbd(pool.db, each, sr, device_config).currently_attached = True
    if size is not None:
        sr.physical_size = size
    space.measure(pool, sr)
    refresh(sr)
    return sr


def _assert_unused(db: Database, sr_type: str, device_config: Strings, hosts: list[Row]) -> None:
    """SR_DEVICE_IN_USE [] when another SR sits on the same device of the same host, or on the same LUN."""
    for pbd in db.rows("PBD"):
        other = db.maybe("SR", pbd.SR)
        if other is None:
            continue
        taken = pbd.device_config.get("device", "").split(",")
        wanted = device_config.get("device", "").split(",")
        local = sr_type in _LOCAL_DEVICE and other.type in _LOCAL_DEVICE and pbd.host in {host.ref for host in hosts}
        if local and set(taken) & set(wanted):
            raise XapiError("SR_DEVICE_IN_USE")
        if sr_type in _LUN and other.type in _LUN and device_config["SCSIid"] == pbd.device_config.get("SCSIid"):
            raise XapiError("SR_DEVICE_IN_USE")


@message("SR.create")
def create(
    ctx: Context,
    host: str,
    device_config: Strings,
    physical_size: int,
    name_label: str,
    name_description: str,
    sr_type: str,
    content_type: str,
    shared: bool,
    sm_config: Strings,
) -> Row:
    """Format a medium and attach it: on all hosts when shared, else on `host`. What fails to attach stays detached."""
    db = ctx.db
    chosen = forward_to(ctx, host)
    known = driver(sr_type)
    sr = _record(
        db,
        known.type,
        shared=shared,
        name_label=name_label,
        name_description=name_description,
        content_type=content_type,
        sm_config=sm_config,
    )
    others = [each for each in db.rows("host") if each.ref != ctx.pool.master.ref]
    hosts = [ctx.pool.master, *others] if shared else [chosen]
    pbds: list[Row] = []
    try:
        backend.check(ctx.pool, known.type, device_config)
        _assert_unused(db, known.type, device_config, hosts)
        for each in hosts:
            pbds.append(build_pbd(db, each, sr, device_config))
    except XapiError:
        for pbd in pbds:
            destroy_pbd(db, pbd)
        db.destroy(sr)
        raise
    for pbd in pbds:
        try:
            attach_pbd(ctx, pbd)
        except XapiError as error:
            ctx.pool.log(f"SR.create: PBD of {db.row('host', pbd.host).name_label} stays unplugged: {error}")
    refresh(sr)
    return sr


@message("SR.make")
def make(ctx: Context, *_ignored: Any) -> str:
    raise XapiError("MESSAGE_DEPRECATED")


@message("SR.introduce")
def introduce(
    ctx: Context,
    uuid: str,
    name_label: str,
    name_description: str,
    sr_type: str,
    content_type: str,
    shared: bool,
    sm_config: Strings,
) -> Row:
    """The record alone, of an SR that exists somewhere."""
    known = driver(sr_type)
    uuid = uuid or new_uuid()
    if any(sr.uuid == uuid for sr in ctx.db.rows("SR")):
        raise XapiError("SR_UUID_EXISTS", uuid)
    sr = _record(
        ctx.db,
        known.type,
        shared=shared,
        uuid=uuid,
        name_label=name_label,
        name_description=name_description,
        content_type=content_type,
        sm_config=sm_config,
    )
    refresh(sr)
    return sr


@message("SR.forget")
def forget(ctx: Context, sr: Row) -> None:
    """Drop the SR, its PBDs and its VDIs from the database; the data stays."""
    assert_allowed(ctx.db, sr, "forget")
    _assert_no_cache(ctx.db, sr)
    shelf.put(ctx.pool, sr)
    for vdi in ctx.db.rows("VDI", SR=sr):
        drop_record(ctx, vdi)
    for pbd in ctx.db.rows("PBD", SR=sr):
        destroy_pbd(ctx.db, pbd)
    ctx.db.destroy(sr)


def _assert_no_cache(db: Database, sr: Row) -> None:
    for host in db.rows("host", local_cache_sr=sr.ref):
        raise XapiError("SR_IS_CACHE_SR", host)


@message("SR.destroy")
def destroy(ctx: Context, sr: Row) -> None:
    """Wipe the medium and drop the records."""
    assert_allowed(ctx.db, sr, "destroy")
    if sr.other_config.get("indestructible") == "true":
        raise XapiError("SR_INDESTRUCTIBLE", sr)
    _assert_no_cache(ctx.db, sr)
    pbds = ctx.db.rows("PBD", SR=sr)
    master = [pbd for pbd in pbds if pbd.host == ctx.pool.master.ref]
    ctx.forward(ctx.db.row("host", (master or pbds)[0].host))
    for vdi in ctx.db.rows("VDI", SR=sr):
        drop_record(ctx, vdi)
    shelf.clear(ctx.pool, sr)
    for pbd in pbds:
        destroy_pbd(ctx.db, pbd)
    ctx.db.destroy(sr)


def scan_sr(ctx: Context, sr: Row) -> None:
    """Make the VDI records what the medium holds, and read the sizes."""
    if sr.ref in ctx.pool.faults.sr_lost:
        raise backend.fault("SRScan", "the path to the storage is lost")
    for fields in shelf.take(ctx.pool, sr):
        find_again(ctx, sr, fields)
    if sr.type in ("iso", "udev"):
        _scan_names(ctx, sr)
    else:  # drivers keep read_only nowhere: what VDI.create was told lasts until the next scan (sm: libs/sm/VDI.py, _db_update)
        for vdi in ctx.db.rows("VDI", SR=sr):
            if vdi.read_only and vdi.managed:
                vdi.read_only = False
    space.measure(ctx.pool, sr)


def _scan_names(ctx: Context, sr: Row) -> None:
    """An SR whose VDIs are files or devices of a directory, as the host that works on it sees them."""
    db = ctx.db
    pbds = plugged_pbds(db, sr)
    pbd = next((pbd for pbd in pbds if pbd.host == ctx.pool.master.ref), pbds[0])
    blank = not db.rows("VDI", SR=sr)
    present = backend.images(ctx, db.row("host", pbd.host), sr.type, pbd.device_config, blank=blank)
    known = {vdi.location: vdi for vdi in db.rows("VDI", SR=sr)}
    for location, size in present.items():
        if location not in known:
            fields = {"name_label": location, "location": location, "virtual_size": size}
            find_again(ctx, sr, {**fields, "physical_utilisation": size, "read_only": sr.type == "iso"})
        elif sr.type == "udev":
            _measure_device(ctx.pool, known[location], size)
    if sr.type == "udev" and location_is_described(ctx.pool, pbd.device_config):
        for location, vdi in known.items():
            if location not in present:
                drop_record(ctx, vdi)
                shelf.take(ctx.pool, sr)


def _measure_device(pool: Pool, vdi: Row, size: int) -> None:
    """A device may have another size than at the last scan, also while it is in use."""
    if vdi.uuid in pool.disks and pool.disks.size(vdi.uuid) < size:
        pool.disks.resize(vdi.uuid, size)
    vdi.virtual_size = size
    vdi.physical_utilisation = size


def location_is_described(pool: Pool, device_config: Strings) -> bool:
    """True when the scenario says which devices a udev directory has, so that absent ones are really gone."""
    return backend.real_devices(pool) or device_config.get("location", "") in backend.offered(pool, "udev")


@message("SR.scan")
def scan(ctx: Context, sr: Row) -> None:
    assert_allowed(ctx.db, sr, "scan")
    forward_sr(ctx, sr)
    with ctx.operation(sr, "scan"):
        scan_sr(ctx, sr)


@message("SR.update")
def update(ctx: Context, sr: Row) -> None:
    assert_allowed(ctx.db, sr, "update")
    forward_sr(ctx, sr)
    space.measure(ctx.pool, sr)


@message("SR.get_supported_types")
def get_supported_types(ctx: Context) -> list[str]:
    return list(DRIVERS)


@message("SR.set_shared")
def set_shared(ctx: Context, sr: Row, value: bool) -> None:
    if not value and len(sr.PBDs) > 1:
        raise XapiError("SR_HAS_MULTIPLE_PBDS", *sr.PBDs)
    sr.shared = value


@message("SR.set_name_label")
def set_name_label(ctx: Context, sr: Row, value: str) -> None:
    sr.name_label = value


@message("SR.set_name_description")
def set_name_description(ctx: Context, sr: Row, value: str) -> None:
    sr.name_description = value


@message("SR.set_physical_size")
def set_physical_size(ctx: Context, sr: Row, value: int) -> None:
    """For the storage manager only (measured on a real xapi: more facts, 9)."""
    raise XapiError("PERMISSION_DENIED", "")


@message("SR.assert_can_host_ha_statefile")
def assert_can_host_ha_statefile(ctx: Context, sr: Row) -> None:
    """A PBD attached on every host, and a driver whose VDIs can be attached without xapi."""
    hosts = {pbd.host for pbd in plugged_pbds(ctx.db, sr)}
    if any(host.ref not in hosts for host in ctx.db.rows("host")):
        raise XapiError("SR_HAS_NO_PBDS", sr)
    if not has_feature(ctx.db, sr, "VDI_GENERATE_CONFIG"):
        raise XapiError("SR_OPERATION_NOT_SUPPORTED", sr)
