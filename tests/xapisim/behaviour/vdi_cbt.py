# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changed block tracking, and where a VDI can be read by NBD."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from ..disks import BLOCK
from ..errors import XapiError
from ..registry import message, refresh
from . import space
from .backend import fault
from .forwarding import forward_sr, plugged_pbds
from .vdi_rules import assert_allowed

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context

NBD_PORT = 10809


@message("VDI.enable_cbt")
def enable_cbt(ctx: Context, vdi: Row) -> None:
    _switch(ctx, vdi, "enable_cbt", True)


@message("VDI.disable_cbt")
def disable_cbt(ctx: Context, vdi: Row) -> None:
    _switch(ctx, vdi, "disable_cbt", False)


def _switch(ctx: Context, vdi: Row, op: str, value: bool) -> None:
    assert_allowed(ctx.db, vdi, op)
    forward_sr(ctx, ctx.db.row("SR", vdi.SR))
    vdi.cbt_enabled = value
    refresh(vdi)


@message("VDI.data_destroy")
def data_destroy(ctx: Context, vdi: Row) -> None:
    """Keep a snapshot's changed-block data only; its VBDs must go within 4 s (xapi_vdi.ml data_destroy)."""
    assert_allowed(ctx.db, vdi, "data_destroy")
    sr = ctx.db.row("SR", vdi.SR)
    forward_sr(ctx, sr)
    if vdi.type == "cbt_metadata":
        return
    if not ctx.wait_until(lambda: not ctx.db.rows("VBD", VDI=vdi), 4.0):
        raise XapiError("VDI_IN_USE", vdi, "data_destroy")
    vdi.type = "cbt_metadata"
    space.measure(ctx.pool, sr)
    refresh(vdi)


@message("VDI.list_changed_blocks")
def list_changed_blocks(ctx: Context, vdi_from: Row, vdi_to: str) -> str:
    """Base64 of a bitmap, one bit for 64 KiB, most significant first."""
    later = ctx.db.row("VDI", vdi_to)
    for vdi in (vdi_from, later):
        assert_allowed(ctx.db, vdi, "list_changed_blocks")
        forward_sr(ctx, ctx.db.row("SR", vdi.SR))
    if not vdi_from.cbt_enabled or vdi_from.SR != later.SR:
        raise fault("CBTChangedBlocksError", "Source and target VDI are unrelated")
    size = max(vdi_from.virtual_size, later.virtual_size)
    blocks = -(-size // BLOCK)
    bitmap = bytearray(-(-blocks // 8))
    for block in ctx.pool.disks.changed_blocks(vdi_from.uuid, later.uuid):
        bitmap[block // 8] |= 0x80 >> (block % 8)
    return base64.b64encode(bytes(bitmap)).decode()


@message("VDI.get_nbd_info")
def get_nbd_info(ctx: Context, vdi: Row) -> list[dict[str, Any]]:
    """One entry for each address, on a network with an NBD purpose, of each host that has the SR attached."""
    if vdi.type == "cbt_metadata":
        raise XapiError("VDI_INCOMPATIBLE_TYPE", vdi, vdi.type)
    db = ctx.db
    found = []
    for pbd in plugged_pbds(db, db.row("SR", vdi.SR)):
        host = db.row("host", pbd.host)
        for pif in db.rows("PIF", host=host):
            network = db.row("network", pif.network)
            if pif.currently_attached and pif.IP and {"nbd", "insecure_nbd"} & set(network.purpose):
                session = ctx.session.ref if ctx.session is not None else ""
                found.append(
                    {
                        "exportname": f"/{vdi.uuid}?session_id={session}",
                        "address": pif.IP,
                        "port": NBD_PORT,
                        "cert": "",
                        "subject": host.hostname,
                    }
                )
    return found
