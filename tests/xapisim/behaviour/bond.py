# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bond: create and destroy, with all that moves to the bond and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import XapiError
from ..registry import NULL, message
from . import network as networks
from . import pif_rules as rules
from .tunnel import new_tunnel
from .vif import valid_mac
from .vlan import new_vlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..db import Database, Row
    from ..registry import Context

Strings = dict[str, str]


def _is_number(text: str) -> bool:
    try:
        int(text, 0)
    except ValueError:
        return False
    return True


# key: (default or None, test); only LACP has properties
_LACP: dict[str, tuple[str | None, Callable[[str], bool]]] = {
    "hashing_algorithm": ("tcpudp_ports", lambda value: value in ("src_mac", "tcpudp_ports")),
    "lacp-time": ("slow", lambda value: value in ("fast", "slow")),
    "lacp-aggregation-key": (None, _is_number),
    "lacp-fallback-ab": ("true", lambda value: value in ("true", "false")),
}


def _requirements(mode: str) -> dict[str, tuple[str | None, Callable[[str], bool]]]:
    return _LACP if mode == "lacp" else {}


def _valid(mode: str, key: str, value: str) -> bool:
    known = _requirements(mode).get(key)
    return known is not None and known[1](value)


def _assert_property(mode: str, key: str, value: str) -> None:
    if not _valid(mode, key, value):
        raise XapiError("INVALID_VALUE", "properties", f"{key} = {value}")


def _with_defaults(mode: str, properties: Strings) -> Strings:
    defaults = {key: default for key, (default, _test) in _requirements(mode).items() if default is not None}
    return {**defaults, **properties}


# -- what moves


def _local_vifs(ctx: Context, host: str, networks_used: list[str]) -> list[Row]:
    """VIFs of VMs that run on the host, or do not run and could start there only, or nowhere."""
    db = ctx.db
    found: list[Row] = []
    local: dict[str, bool] = {}
    for network in dict.fromkeys(networks_used):
        for vif in db.rows("VIF", network=network):
            vm = db.maybe("VM", vif.VM)
            if vm is None:
                continue
            if vm.ref not in local:
                local[vm.ref] = _is_local(ctx, vm, host)
            if local[vm.ref]:
                found.append(vif)
    return found


def _is_local(ctx: Context, vm: Row, host: str) -> bool:
    if vm.resident_on != NULL:
        return bool(vm.resident_on == host)
    possible = {getattr(each, "ref", each) for each in ctx.call("VM.get_possible_hosts", vm)}
    return not possible or possible == {host}


def _move_vlan(ctx: Context, target: Row, vlan: Row) -> None:
    """The VLAN gets new VLAN and PIF objects on the target; if the tag is there already, its VIFs join that one."""
    db = ctx.db
    old = db.row("PIF", vlan.untagged_PIF)
    network = db.row("network", old.network)
    plugged, management = old.currently_attached, old.management
    same = [other for other in db.rows("VLAN", tagged_PIF=target) if other.tag == vlan.tag]
    if same:
        new = db.row("PIF", same[0].untagged_PIF)
        for vif in _local_vifs(ctx, target.host, [network.ref]):
            vif.network = new.network
    else:
        _unused, new = new_vlan(db, target, vlan.tag, network)
    rules.move_configuration(old, new)
    db.destroy(vlan)
    db.destroy(old)
    if plugged and management:
        rules.move_management(ctx, new)
    elif plugged:
        rules.bring_up(ctx, new)


def _move_tunnel(ctx: Context, target: Row, tunnel: Row) -> None:
    db = ctx.db
    old = db.row("PIF", tunnel.access_PIF)
    plugged = old.currently_attached
    _unused, new = new_tunnel(db, target, db.row("network", old.network), tunnel.protocol)
    db.destroy(tunnel)
    db.destroy(old)
    if plugged:
        rules.bring_up(ctx, new)


def _move_children(ctx: Context, sources: list[Row], target: Row) -> None:
    for source in sources:
        for vlan in ctx.db.rows("VLAN", tagged_PIF=source):
            _move_vlan(ctx, target, vlan)
    for source in sources:
        for tunnel in ctx.db.rows("tunnel", transport_PIF=source):
            _move_tunnel(ctx, target, tunnel)


# -- create


def _configured(pif: Row) -> bool:
    field = "ip_configuration_mode" if pif.primary_address_type == "IPv4" else "ipv6_configuration_mode"
    return bool(getattr(pif, field) != "None")


def _primary(members: list[Row]) -> Row:
    """The management PIF, else the first member with an address, else the first."""
    for good in (lambda pif: pif.management, _configured):
        for pif in members:
            if good(pif):
                return pif
    return members[0]


def _assert_members(ctx: Context, members: list[Row], primary: Row) -> None:
    for pif in members:
        if pif.primary_address_type != primary.primary_address_type:
            raise XapiError("PIF_INCOMPATIBLE_PRIMARY_ADDRESS_TYPE", pif)
    for pif in members:
        rules.assert_managed(pif)
        if rules.kind(pif) == "physical" and pif.bond_slave_of != NULL:
            raise XapiError("PIF_ALREADY_BONDED", pif)
        if rules.kind(pif) == "vlan":
            raise XapiError("PIF_VLAN_EXISTS", pif.device)
        if rules.kind(pif) == "tunnel":
            raise XapiError("IS_TUNNEL_ACCESS_PIF", pif)
        if ctx.pool.pool_row.ha_enabled and pif.management:
            raise XapiError("HA_CANNOT_CHANGE_BOND_STATUS_OF_MGMT_IFACE")
    if len({pif.host for pif in members}) > 1:
        raise XapiError("PIF_CANNOT_BOND_CROSS_HOST")
    if any(pif.properties != members[0].properties for pif in members):
        raise XapiError("INCOMPATIBLE_PIF_PROPERTIES")
    if sum(_configured(pif) for pif in members) > 1:
        raise XapiError("PIF_BOND_MORE_THAN_ONE_IP")


def _free_name(db: Database, host: str) -> str:
    used = {pif.device for pif in db.rows("PIF", host=host) if pif.bond_master_of}
    return next(name for name in (f"bond{n}" for n in range(len(used) + 1)) if name not in used)


@message("Bond.create")
def create(ctx: Context, network_ref: str, member_refs: list[str], mac: str, mode: str, properties: Strings) -> Row:
    """One member is enough (more facts, 13). Address, management, VLANs, tunnels and local VIFs move to the bond."""
    db = ctx.db
    if not member_refs:
        raise XapiError("PIF_BOND_NEEDS_MORE_MEMBERS")
    network = db.row("network", network_ref)
    members = [db.row("PIF", ref) for ref in dict.fromkeys(member_refs)]
    host = members[0].host
    rules.forward_pif(ctx, members[0])
    networks.assert_managed(network)
    rules.assert_no_other_local_pif(db, host, network)
    if mac and not valid_mac(mac):
        raise XapiError("MAC_INVALID", mac)
    for key, value in properties.items():
        _assert_property(mode, key, value)
    primary = _primary(members)
    _assert_members(ctx, members, primary)
    management = next((pif for pif in members if pif.management), None)
    local_vifs = _local_vifs(ctx, host, [pif.network for pif in members])
    device = _free_name(db, host)
    master = rules.new_pif(
        db,
        host,
        network,
        device=device,
        MAC=mac or primary.MAC,
        MTU=-1,
        metrics=rules.new_metrics(ctx.pool, device),
        primary_address_type=primary.primary_address_type,
        properties=primary.properties,
        IPv6=[""],
    )
    bond = db.create(
        "Bond",
        master=master,
        primary_slave=primary,
        mode=mode,
        properties=_with_defaults(mode, properties),
        auto_update_mac=not mac,
    )
    for pif in members:
        pif.bond_slave_of = bond
    rules.move_configuration(primary, master)
    if management is not None:
        rules.move_management(ctx, master)
    else:
        rules.bring_up(ctx, master)
    _move_children(ctx, members, master)
    for vif in local_vifs:
        vif.network = network
    if any(pif.disallow_unplug for pif in members):
        master.disallow_unplug = True
        for pif in members:
            pif.disallow_unplug = False
    return bond


@message("Bond.destroy")
def destroy(ctx: Context, bond: Row) -> None:
    """Everything goes back to the primary member, the VLANs under new objects again."""
    db = ctx.db
    master = db.row("PIF", bond.master)
    primary = db.row("PIF", bond.primary_slave)
    members = db.rows("PIF", bond_slave_of=bond)
    rules.forward_pif(ctx, master)
    local_vifs = _local_vifs(ctx, master.host, [master.network])
    if ctx.pool.pool_row.ha_enabled and master.management:
        raise XapiError("HA_CANNOT_CHANGE_BOND_STATUS_OF_MGMT_IFACE")
    plugged, management = master.currently_attached, master.management
    rules.move_configuration(master, primary)
    if management:
        rules.move_management(ctx, primary)
    if management or plugged:
        for pif in members:
            rules.bring_up(ctx, pif)
    _move_children(ctx, [master], primary)
    for vif in local_vifs:
        vif.network = primary.network
    if master.disallow_unplug:
        primary.disallow_unplug = True
    metrics: Any = db.maybe("PIF_metrics", master.metrics)
    for pif in members:
        pif.bond_slave_of = NULL
    db.destroy(bond)
    db.destroy(master)
    if metrics is not None:
        db.destroy(metrics)


@message("Bond.set_mode")
def set_mode(ctx: Context, bond: Row, value: str) -> None:
    """Properties that the new mode does not know are dropped, its defaults added."""
    bond.mode = value
    kept = {key: text for key, text in bond.properties.items() if _valid(value, key, text)}
    bond.properties = _with_defaults(value, kept)
    rules.bring_up(ctx, ctx.db.row("PIF", bond.master))


@message("Bond.set_property")
def set_property(ctx: Context, bond: Row, name: str, value: str) -> None:
    _assert_property(bond.mode, name, value)
    bond.properties = {**bond.properties, name: value}
    rules.bring_up(ctx, ctx.db.row("PIF", bond.master))
