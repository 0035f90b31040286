# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which host a call does its work, and what happens when that host cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import XapiError

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..registry import Context


def forward_to(ctx: Context, host: str) -> Row:
    """The host of a reference, ready to be called; a bad reference is HOST_OFFLINE [ref] as on a real coordinator."""
    row = ctx.db.maybe("host", host)
    if row is None:
        raise XapiError("HOST_OFFLINE", host)
    ctx.forward(row)
    return row


def plugged_pbds(db: Database, sr: Row) -> list[Row]:
    """The attached PBDs of an SR."""
    return [pbd for pbd in db.rows("PBD", SR=sr) if pbd.currently_attached]


def assert_plugged(db: Database, sr: Row) -> None:
    """SR_HAS_NO_PBDS [sr] unless some host has the SR attached."""
    if not plugged_pbds(db, sr):
        raise XapiError("SR_HAS_NO_PBDS", sr)


def forward_sr(ctx: Context, sr: Row) -> Row:
    """The host that works on an SR: the coordinator if it has the SR attached, else the first that has."""
    pbds = plugged_pbds(ctx.db, sr)
    if not pbds:
        raise XapiError("SR_HAS_NO_PBDS", sr)
    master = ctx.pool.master.ref
    chosen = next((pbd for pbd in pbds if pbd.host == master), pbds[0])
    host = ctx.db.row("host", chosen.host)
    ctx.forward(host)
    return host
