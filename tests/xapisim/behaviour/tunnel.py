# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tunnel: create and destroy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..db import new_uuid
from ..errors import XapiError
from ..registry import NULL, message
from . import network as networks
from . import pif_rules as rules
from .vif import generated_mac

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..registry import Context


def new_tunnel(db: Database, transport: Row, network: Row, protocol: str) -> tuple[Row, Row]:
    """A tunnel and its access PIF, which is down. No checks."""
    used = {pif.device for pif in db.rows("PIF", host=transport.host) if pif.tunnel_access_PIF_of}
    device = next(name for name in (f"tunnel{n}" for n in range(len(used) + 1)) if name not in used)
    access = rules.new_pif(
        db,
        transport.host,
        network,
        device=device,
        MAC=generated_mac(0, new_uuid()),
        MTU=-1,
        metrics=transport.metrics,
        primary_address_type=transport.primary_address_type,
        IPv6=[""],
    )
    tunnel = db.create("tunnel", access_PIF=access, transport_PIF=transport, protocol=protocol)
    return tunnel, access


@message("tunnel.create")
def create(ctx: Context, transport_ref: str, network_ref: str, protocol: str) -> Row:
    """When the transport PIF has no address the plug fails, and the records stay (more facts, 14)."""
    db = ctx.db
    transport = db.row("PIF", transport_ref)
    network = db.row("network", network_ref)
    rules.forward_pif(ctx, transport)
    networks.assert_managed(network)
    rules.assert_no_other_local_pif(db, transport.host, network)
    rules.assert_managed(transport)
    if transport.bond_slave_of != NULL:
        raise XapiError("CANNOT_ADD_TUNNEL_TO_BOND_SLAVE", transport)
    if rules.kind(transport) == "tunnel":
        raise XapiError("IS_TUNNEL_ACCESS_PIF", transport)
    if any(host.software_version.get("network_backend") != "openvswitch" for host in db.rows("host")):
        raise XapiError("OPENVSWITCH_NOT_ACTIVE")
    tunnel, access = new_tunnel(db, transport, network, protocol)
    rules.plug_pif(ctx, access)
    return tunnel


@message("tunnel.destroy")
def destroy(ctx: Context, tunnel: Row) -> None:
    access = ctx.db.row("PIF", tunnel.access_PIF)
    rules.forward_pif(ctx, access)
    rules.unplug_pif(ctx, access)
    ctx.db.destroy(tunnel)
    ctx.db.destroy(access)
