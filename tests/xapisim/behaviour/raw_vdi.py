# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GET /export_raw_vdi and PUT /import_raw_vdi, in the format "raw" (X/export_raw_vdi.ml, X/import_raw_vdi.ml).

As in xapi, "200 OK" comes before the work, and only the task tells how that ended. The VDI is attached to the control
domain meanwhile.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .. import xmlrpc
from ..errors import XapiError, internal
from ..http import Request, Response, handler, page
from ..registry import Context
from ..types import parse_type
from . import vbd as vbds
from .backend import fault, real_devices
from .forwarding import assert_plugged, plugged_pbds

if TYPE_CHECKING:
    from ..db import Database, Row

Send = Callable[[bytes], None]
_CHUNK = 1 << 20
_FORMATS = ("raw", "vhd", "qcow2", "tar")
_VDI_REF = parse_type("VDI ref")


@handler("GET", "/export_raw_vdi", "get_export_raw_vdi", role="vm-admin")
def export_raw_vdi(request: Request) -> Response:
    """The bytes of the VDI `vdi`; no content-length, the connection's end is the end."""
    pool = request.pool
    with pool.lock:
        ctx = _context(request, "Exporting raw VDI")
        vdi = _find(pool.db, request.query.get("vdi", ""))
        if vdi is None:
            return _fails(ctx, XapiError("VDI_MISSING"), 400)
        other = _redirect(ctx, request, pool.db.row("SR", vdi.SR)) or _wrong_format(ctx, request)
    if other is not None:
        return other

    def copy(send: Send) -> None:
        size = vdi.virtual_size
        for offset in range(0, size, _CHUNK):
            send(pool.disks.read(vdi.uuid, offset, min(_CHUNK, size - offset)))
            _go_on(ctx, offset / size)

    headers = {"content-disposition": f'attachment; filename="{vdi.uuid}.raw"', "task-id": ctx.task.ref}
    transfer = partial(_attached, ctx, vdi, "RO", copy)
    return Response(200, content_type="application/octet-stream", headers=headers, transfer=transfer)


@handler("PUT", "/import_raw_vdi", "put_import_raw_vdi", role="vm-admin")
def import_raw_vdi(request: Request) -> Response:
    """Write the body over the beginning of the VDI `vdi`, or over a new one in `sr_id` or `sr_uuid`.

    The task's result is the VDI.
    """
    pool = request.pool
    with pool.lock:
        ctx = _context(request, "Importing raw VDI")
        if request.headers.get("transfer-encoding"):
            return _fails(ctx, internal("Chunked encoding is not supported"), 404)
        refused = _wrong_format(ctx, request)
        if refused is not None:
            return refused
        vdi, sr = _find(pool.db, request.query.get("vdi", "")), _find_sr(pool.db, request.query)
        if vdi is None and sr is None:
            return _fails(ctx, XapiError("VDI_MISSING"), 400)
        where = sr if vdi is None else pool.db.row("SR", vdi.SR)
        other = _redirect(ctx, request, where) if where is not None else None
        if other is not None:
            return other
        if vdi is None:
            described = {"name_label": "Imported VDI", "SR": sr, "virtual_size": request.length, "type": "user"}
            vdi = ctx.call("VDI.create", {**described, "sharable": False, "read_only": False, "other_config": {}})
    target = vdi

    def copy(_send: Send) -> None:
        length = request.length if "content-length" in request.headers else None
        offset = 0
        while length is None or offset < length:
            data = request.stream.read(_CHUNK if length is None else min(_CHUNK, length - offset))
            if not data and length is None:
                break
            if not data or offset + len(data) > target.virtual_size:
                raise _io_error()
            pool.disks.write(target.uuid, offset, data)
            offset += len(data)
            _go_on(ctx, offset / (length or target.virtual_size))

    transfer = partial(_attached, ctx, target, "RW", copy)
    return Response(200, content_type="text/plain", headers={"task-id": ctx.task.ref}, transfer=transfer)


def _context(request: Request, name: str) -> Context:
    """The call with its task: the client's, or one of our own."""
    pool = request.pool
    session = request.login.row if request.login is not None else None
    task = request.task
    if task is None:
        task = pool.tasks.start(name, session, request.runtime.row)
    else:
        pool.tasks.adopt(task)
    return Context(pool, request.runtime.row, session, task)


def _find(db: Database, name: str) -> Row | None:
    """A VDI by reference or uuid."""
    found = db.maybe("VDI", name)
    return found or next(iter(db.rows("VDI", uuid=name)), None)


def _find_sr(db: Database, query: dict[str, str]) -> Row | None:
    found = db.maybe("SR", query.get("sr_id", ""))
    return found or next(iter(db.rows("SR", uuid=query.get("sr_uuid", ""))), None)


def _fails(ctx: Context, error: XapiError, status: int) -> Response:
    ctx.pool.tasks.fail(ctx.task, error)
    return page(status, "error", str(error))


def _wrong_format(ctx: Context, request: Request) -> Response | None:
    wanted = request.query.get("format", "raw")
    if wanted not in _FORMATS:
        return _fails(ctx, internal(f"Unknown format {wanted}"), 404)
    if wanted != "raw":
        return _fails(ctx, XapiError("NOT_IMPLEMENTED", f"xapisim has no format {wanted} yet"), 501)
    return None


def _redirect(ctx: Context, request: Request, sr: Row) -> Response | None:
    """To a host that sees the SR, when this one does not."""
    db, pool = ctx.db, ctx.pool
    assert_plugged(db, sr)
    hosts = [pbd.host for pbd in plugged_pbds(db, sr)]
    if ctx.host.ref in hosts:
        return None
    address = pool.runtime(db.row("host", hosts[0])).address
    return Response(302, headers={"Location": f"{pool.scheme}://{address}:{pool.port}{request.target}"})


def _attached(ctx: Context, vdi: Row, mode: str, copy: Callable[[Send], None], send: Send) -> None:
    """Copy while the VDI is attached to the control domain; the task ends with that."""
    pool = ctx.pool
    vbd: Row | None = None
    try:
        with pool.lock:
            vbd = _attach(ctx, vdi, mode)
        copy(send)
        with pool.lock:
            _detach(ctx, vbd)
            pool.tasks.succeed(ctx.task, xmlrpc.value(_VDI_REF, vdi.ref) if mode == "RW" else "")
    except Exception as error:  # noqa: BLE001 - the client waits for the task
        with pool.lock:
            if vbd is not None and vbd.exists:
                _detach(ctx, vbd)
            pool.tasks.fail(ctx.task, _reason(error))


def _io_error() -> XapiError:
    """vhd-tool, which copies, has failed, for whatever reason: too few bytes, too many, nobody who reads (vhd_tool_wrapper.ml)."""
    return XapiError("VDI_IO_ERROR", "Device I/O errors")


def _reason(error: Exception) -> XapiError:
    if isinstance(error, XapiError):
        return error
    if isinstance(error, OSError):
        return _io_error()
    traceback.print_exc()
    return internal(f"xapisim: {error!r}")


def _attach(ctx: Context, vdi: Row, mode: str) -> Row:
    db, pool = ctx.db, ctx.pool
    if db.row("SR", vdi.SR).type == "udev" and real_devices(pool):
        raise XapiError("NOT_IMPLEMENTED", "xapisim does not read or write real devices")
    if mode == "RW" and vdi.read_only:
        raise XapiError("VDI_READONLY", vdi)
    active = [other for other in db.rows("VBD", VDI=vdi) if other.currently_attached]
    if any(other.mode == "RW" or mode == "RW" for other in active):  # a control domain passes xapi's check, not SM's
        raise fault("VDIUnavailable", f"VDI {vdi.uuid} is in use")
    (control_domain,) = db.rows("VM", is_control_domain=True, resident_on=ctx.host.ref)
    vbd = vbds.build_vbd(pool, control_domain, VDI=vdi, type="Disk", mode=mode, empty=False)
    try:
        vbds.attach(ctx, vbd, ctx.host)
    except XapiError:
        db.destroy(vbd)
        raise
    return vbd


def _detach(ctx: Context, vbd: Row) -> None:
    vbds.detach(ctx, vbd)
    ctx.call("VBD.destroy", vbd)


def _go_on(ctx: Context, fraction: float) -> None:
    with ctx.pool.lock:
        ctx.check_cancelled()
        ctx.progress(min(fraction, 1.0))
