# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""network: create with bridge names, destroy, purposes, default locking mode."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from ..errors import XapiError
from ..registry import message

if TYPE_CHECKING:
    from ..db import Row
    from ..pool import Pool
    from ..registry import Context

_RESERVED = ("xen", "xapi", "vif", "tap", "eth")
_LONGEST = 15
INTERNAL_MANAGEMENT = "is_host_internal_management_network"


def free_bridge(pool: Pool) -> str:
    """The next `xapiN`; as in xapi the counter never goes back while the pool runs."""
    numbers = pool.__dict__.setdefault("bridge_numbers", count(1))
    taken = {network.bridge for network in pool.db.rows("network")}
    return next(name for name in (f"xapi{n}" for n in numbers) if name not in taken)


def build_network(pool: Pool, name_label: str, bridge: str = "", **fields: Any) -> Row:
    """A network; without bridge it gets the next free name."""
    return pool.db.create("network", name_label=name_label, bridge=bridge or free_bridge(pool), **fields)


def assert_managed(network: Row) -> None:
    """NETWORK_UNMANAGED [network] for a network that xapi does not configure."""
    if not network.managed:
        raise XapiError("NETWORK_UNMANAGED", network)


@message("network.create")
def create(ctx: Context, record: dict[str, Any]) -> Row:
    bridge = record.get("bridge", "")
    if bridge:
        if len(bridge) > _LONGEST or bridge.startswith(_RESERVED):
            raise XapiError("INVALID_VALUE", "bridge", bridge)
        if any(network.bridge == bridge for network in ctx.db.rows("network")):
            raise XapiError("BRIDGE_NAME_EXISTS", bridge)
    mtu = record["MTU"] if record.get("MTU", 0) > 0 else 1500
    taken = ("name_description", "other_config", "managed", "tags")
    fields = {name: record[name] for name in taken if name in record}
    return build_network(ctx.pool, record.get("name_label", ""), bridge, MTU=mtu, **fields)


@message("network.destroy")
def destroy(ctx: Context, network: Row) -> None:
    """Attached VIFs and PIFs prevent it; VIFs that are not attached go with the network."""
    vifs = ctx.db.rows("VIF", network=network)
    attached = [vif for vif in vifs if vif.currently_attached]
    if attached:
        raise XapiError("NETWORK_CONTAINS_VIF", *attached)
    pifs = ctx.db.rows("PIF", network=network)
    if pifs:
        raise XapiError("NETWORK_CONTAINS_PIF", *pifs)
    if network.other_config.get(INTERNAL_MANAGEMENT) == "true":
        raise XapiError("CANNOT_DESTROY_SYSTEM_NETWORK", network)
    for vif in vifs:
        ctx.db.destroy(vif)
    ctx.db.destroy(network)


@message("network.set_default_locking_mode")
def set_default_locking_mode(ctx: Context, network: Row, value: str) -> None:
    for vif in ctx.db.rows("VIF", network=network):
        if vif.currently_attached:
            raise XapiError("VIF_IN_USE", network, vif)
    network.default_locking_mode = value


@message("network.add_purpose")
def add_purpose(ctx: Context, network: Row, value: str) -> None:
    """`nbd` and `insecure_nbd` exclude each other in the whole pool."""
    assert_managed(network)
    if value in network.purpose:
        return
    conflicting = {"nbd": "insecure_nbd", "insecure_nbd": "nbd"}.get(value)
    if any(conflicting in other.purpose for other in ctx.db.rows("network")):
        raise XapiError("NETWORK_INCOMPATIBLE_PURPOSES", value, conflicting)
    network.purpose = [value, *network.purpose]


@message("network.remove_purpose")
def remove_purpose(ctx: Context, network: Row, value: str) -> None:
    network.purpose = [known for known in network.purpose if known != value]
