# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VLAN: create and destroy, also for whole pools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import XapiError
from ..registry import NULL, message
from . import network as networks
from . import pif_rules as rules

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..registry import Context


def new_vlan(db: Database, tagged: Row, tag: int, network: Row) -> tuple[Row, Row]:
    """A VLAN and its untagged PIF, which is down and shares the metrics of the base. No checks."""
    untagged = rules.new_pif(
        db,
        tagged.host,
        network,
        device=tagged.device,
        MAC=rules.VLAN_MAC,
        MTU=tagged.MTU,
        VLAN=tag,
        metrics=tagged.metrics,
        primary_address_type=tagged.primary_address_type,
        IPv6=[""],
    )
    vlan = db.create("VLAN", tagged_PIF=tagged, untagged_PIF=untagged, tag=tag)
    untagged.VLAN_master_of = vlan
    return vlan, untagged


@message("VLAN.create")
def create(ctx: Context, tagged_ref: str, tag: int, network_ref: str) -> Row:
    """The order of the checks is that of xapi_vlan.ml: the network comes before the tag."""
    db = ctx.db
    tagged = db.row("PIF", tagged_ref)
    network = db.row("network", network_ref)
    rules.forward_pif(ctx, tagged)
    networks.assert_managed(network)
    rules.assert_no_other_local_pif(db, tagged.host, network)
    rules.assert_managed(tagged)
    if tagged.bond_slave_of != NULL:
        raise XapiError("CANNOT_ADD_VLAN_TO_BOND_SLAVE", tagged)
    if rules.kind(tagged) == "vlan":
        raise XapiError("PIF_IS_VLAN", tagged)
    if rules.kind(tagged) == "tunnel":
        raise XapiError("IS_TUNNEL_ACCESS_PIF", tagged)
    if not 0 <= tag <= 4094:
        raise XapiError("VLAN_TAG_INVALID", tag)
    if any(vlan.tag == tag for vlan in db.rows("VLAN", tagged_PIF=tagged)):
        raise XapiError("PIF_VLAN_EXISTS", tagged.device)
    if any(vif.trunks for vif in db.rows("VIF", network=network)):
        raise XapiError("NETWORK_INCOMPATIBLE_WITH_TRUNKS", network)
    vlan, untagged = new_vlan(db, tagged, tag, network)
    rules.plug_pif(ctx, untagged)
    return vlan


@message("VLAN.destroy")
def destroy(ctx: Context, vlan: Row) -> None:
    db = ctx.db
    untagged = db.maybe("PIF", vlan.untagged_PIF)
    if untagged is None:
        db.destroy(vlan)
        return
    rules.forward_pif(ctx, untagged)
    rules.assert_not_in_bond(untagged)
    if untagged.VLAN < 0:
        raise XapiError("PIF_IS_PHYSICAL")
    rules.unplug_pif(ctx, untagged)
    db.destroy(vlan)
    db.destroy(untagged)


@message("pool.create_VLAN_from_PIF")
def create_from_pif(ctx: Context, pif_ref: str, network: str, tag: int) -> list[str]:
    """A VLAN on each live host that has a PIF on the network of `pif`; all or none."""
    db = ctx.db
    base = db.row("PIF", pif_ref)
    tagged = []
    for pif in db.rows("PIF", network=base.network):
        metrics = db.maybe("host_metrics", db.row("host", pif.host).metrics)
        if metrics is not None and metrics.live:
            tagged.append(pif)
    return _all_or_none(ctx, tagged, network, tag)


@message("pool.create_VLAN")
def create_by_device(ctx: Context, device: str, network: str, tag: int) -> list[str]:
    """A VLAN on the device of that name of every host; all or none."""
    tagged = []
    for host in ctx.db.rows("host"):
        found = [pif for pif in ctx.db.rows("PIF", host=host) if pif.device == device and pif.VLAN == -1]
        if not found:
            raise XapiError("INVALID_VALUE", "device", device)
        tagged.append(found[0])
    return _all_or_none(ctx, tagged, network, tag)


def _all_or_none(ctx: Context, tagged: list[Row], network: str, tag: int) -> list[str]:
    made: list[Row] = []
    try:
        for pif in tagged:
            made.append(create(ctx, pif.ref, tag, network))
    except XapiError:
        for vlan in made:
            destroy(ctx, vlan)
        raise
    return [vlan.untagged_PIF for vlan in made]
