# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PIF: addresses, plug and unplug, scan, introduce, forget, properties."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from ..errors import XapiError
from ..registry import NULL, message
from . import pif_rules as rules
from .forwarding import forward_to
from .network import build_network
from .vif import valid_mac

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..pool import Pool
    from ..registry import Context

_DEFAULT_PROPERTIES = {"gro": "on"}
_PROPERTIES = {"gro": ("on", "off")}


def network_for(pool: Pool, device: str) -> Row:
    """The pool-wide network of a physical device, made when it is missing: eth0 is on bridge xenbr0."""
    digits = device.removeprefix("eth")
    bridge = f"xenbr{digits}" if digits.isdigit() else f"br{device}"
    known = pool.db.rows("network", bridge=bridge)
    return known[0] if known else build_network(pool, f"Pool-wide network associated with {device}", bridge)


def introduce_device(pool: Pool, host: Row, device: str, mac: str, *, managed: bool = True) -> Row:
    """The PIF of a network card, down and without address."""
    return rules.new_pif(
        pool.db,
        host,
        network_for(pool, device),
        device=device,
        MAC=mac,
        physical=True,
        managed=managed,
        metrics=rules.new_metrics(pool, device),
        properties=_DEFAULT_PROPERTIES,
    )


@message("PIF.scan")
def scan(ctx: Context, host: str) -> None:
    """PIFs for the cards that have none."""
    row = forward_to(ctx, host)
    known = {pif.device for pif in ctx.db.rows("PIF", host=row) if pif.physical}
    for device, mac in rules.nics(ctx.pool).get(row.uuid, {}).items():
        if device not in known:
            introduce_device(ctx.pool, row, device, mac)


@message("PIF.introduce")
def introduce(ctx: Context, host: str, mac: str, device: str, managed: bool) -> Row:
    row = forward_to(ctx, host)
    cards = rules.nics(ctx.pool).get(row.uuid, {})
    mac = mac.lower() or cards.get(device, "")
    if not valid_mac(mac):
        raise XapiError("MAC_INVALID", mac)
    if any(pif.device == device and pif.physical for pif in ctx.db.rows("PIF", host=row)):
        raise XapiError("DUPLICATE_PIF_DEVICE_NAME", device)
    if cards.get(device) != mac:
        code = "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS"
        raise XapiError(code, device, mac)
    return introduce_device(ctx.pool, row, device, mac, managed=managed)


@message("PIF.forget")
def forget(ctx: Context, pif: Row) -> None:
    rules.forward_pif(ctx, pif)
    rules.assert_not_management(pif)
    rules.assert_not_in_bond(pif)
    rules.assert_no_vlans(pif)
    rules.assert_no_tunnels(pif)
    rules.assert_no_protection(ctx.pool, pif)
    drop(ctx.db, pif)


def drop(db: Database, pif: Row) -> None:
    """Delete the record, with its metrics when no other PIF shows them (VLANs share those of their base)."""
    metrics = db.maybe("PIF_metrics", pif.metrics)
    db.destroy(pif)
    if metrics is not None and not db.rows("PIF", metrics=metrics.ref):
        db.destroy(metrics)


@message("PIF.db_introduce", "PIF.pool_introduce")
def db_introduce(
    ctx: Context,
    device: str,
    network: str,
    host: str,
    mac: str,
    mtu: int,
    vlan: int,
    physical: bool,
    mode: str,
    ip: str,
    netmask: str,
    gateway: str,
    dns: str,
    bond_slave_of: str,
    vlan_master_of: str,
    management: bool,
    other_config: dict[str, str],
    disallow_unplug: bool = False,
    ipv6_mode: str = "None",
    ipv6: list[str] | None = None,
    ipv6_gateway: str = "",
    primary_address_type: str = "IPv4",
    managed: bool = True,
    properties: dict[str, str] | None = None,
) -> Row:
    """A record and nothing else; bond_slave_of is ignored, as in xapi_pif.ml."""
    return rules.new_pif(
        ctx.db,
        ctx.db.row("host", host),
        ctx.db.row("network", network),
        device=device,
        MAC=mac,
        MTU=mtu,
        VLAN=vlan,
        physical=physical,
        ip_configuration_mode=mode,
        IP=ip,
        netmask=netmask,
        gateway=gateway,
        DNS=dns,
        VLAN_master_of=vlan_master_of,
        management=management,
        other_config=other_config,
        disallow_unplug=disallow_unplug,
        ipv6_configuration_mode=ipv6_mode,
        IPv6=ipv6 or [],
        ipv6_gateway=ipv6_gateway,
        primary_address_type=primary_address_type,
        managed=managed,
        properties=_DEFAULT_PROPERTIES if properties is None else properties,
        metrics=rules.new_metrics(ctx.pool, device, carrier=False),
    )


@message("PIF.db_forget")
def db_forget(ctx: Context, pif: Row) -> None:
    ctx.db.destroy(pif)


@message("PIF.plug")
def plug(ctx: Context, pif: Row) -> None:
    rules.forward_pif(ctx, pif)
    rules.plug_pif(ctx, pif)


@message("PIF.unplug")
def unplug(ctx: Context, pif: Row) -> None:
    rules.forward_pif(ctx, pif)
    rules.unplug_pif(ctx, pif)


@message("PIF.destroy")
def destroy(ctx: Context, pif: Row) -> None:
    """Deprecated: destroys the VLAN that the PIF belongs to."""
    if pif.VLAN < 0:
        raise XapiError("PIF_IS_PHYSICAL")
    ctx.call("VLAN.destroy", pif.VLAN_master_of)


@message("PIF.create_VLAN")
def create_vlan(ctx: Context, device: str, network: str, host: str, tag: int) -> str:
    """Deprecated: VLAN.create by device name."""
    row = forward_to(ctx, host)
    for pif in ctx.db.rows("PIF", host=row):
        if pif.device == device and pif.VLAN == -1:
            vlan = ctx.call("VLAN.create", pif, tag, network)
            return str(ctx.db.row("VLAN", getattr(vlan, "ref", vlan)).untagged_PIF)
    raise XapiError("INVALID_VALUE", "device", device)


def is_address(text: str, family: int) -> bool:
    """True for a plain IPv4 or IPv6 address."""
    try:
        return ipaddress.ip_address(text).version == family
    except ValueError:
        return False


def _resolvers(text: str, family: int) -> list[str]:
    return [address for address in text.split(",") if is_address(address.strip(), family)]


@message("PIF.reconfigure_ip")
def reconfigure_ip(ctx: Context, pif: Row, mode: str, ip: str, netmask: str, gateway: str, dns: str) -> None:
    """A bond's member accepts it, too (more facts, 13)."""
    rules.forward_pif(ctx, pif)
    rules.assert_managed(pif)
    same = (pif.ip_configuration_mode, pif.IP, pif.netmask, pif.gateway) == (mode, ip, netmask, gateway)
    if mode != "Static" or not same:
        rules.assert_no_protection(ctx.pool, pif)
    for name, value in (("IP", ip), ("netmask", netmask), ("gateway", gateway)):
        needed = mode == "Static" and name != "gateway"
        if (value or needed) and not is_address(value, 4):
            raise XapiError("INVALID_IP_ADDRESS_SPECIFIED", name)
    if pif.management and mode == "None" and pif.primary_address_type == "IPv4":
        raise XapiError("PIF_IS_MANAGEMENT_INTERFACE", pif)
    pif.ip_configuration_mode = mode
    pif.IP, pif.netmask, pif.gateway = ip, netmask, gateway
    pif.DNS = ",".join([*_resolvers(dns, 4), *_resolvers(pif.DNS, 6)])
    if pif.currently_attached:
        rules.bring_up(ctx, pif)
        rules.follow_address(ctx, pif)


@message("PIF.reconfigure_ipv6")
def reconfigure_ipv6(ctx: Context, pif: Row, mode: str, ipv6: str, gateway: str, dns: str) -> None:
    rules.forward_pif(ctx, pif)
    rules.assert_managed(pif)
    same = (pif.ipv6_configuration_mode, pif.IPv6, pif.ipv6_gateway) == (mode, [ipv6], gateway)
    if mode != "Static" or not same:
        rules.assert_no_protection(ctx.pool, pif)
    if gateway and not is_address(gateway, 6):
        raise XapiError("INVALID_IP_ADDRESS_SPECIFIED", "gateway")
    address, _unused, prefix = ipv6.partition("/")
    if ipv6 and not (is_address(address, 6) and prefix.isdigit() and int(prefix) <= 128):
        raise XapiError("INVALID_CIDR_ADDRESS_SPECIFIED", "IPv6")
    if pif.management and mode == "None" and pif.primary_address_type == "IPv6":
        raise XapiError("PIF_IS_MANAGEMENT_INTERFACE", pif)
    pif.ipv6_configuration_mode, pif.ipv6_gateway, pif.IPv6 = mode, gateway, [ipv6]
    pif.DNS = ",".join([*_resolvers(dns, 6), *_resolvers(pif.DNS, 4)])


@message("PIF.set_primary_address_type")
def set_primary_address_type(ctx: Context, pif: Row, value: str) -> None:
    rules.assert_no_protection(ctx.pool, pif)
    rules.assert_not_management(pif)
    pif.primary_address_type = value


@message("PIF.set_disallow_unplug")
def set_disallow_unplug(ctx: Context, pif: Row, value: bool) -> None:
    pif.disallow_unplug = value


@message("PIF.set_property")
def set_property(ctx: Context, pif: Row, name: str, value: str) -> None:
    if value not in _PROPERTIES.get(name, ()):
        raise XapiError("INVALID_VALUE", "properties", f"{name} = {value}")
    if rules.kind(pif) not in ("bond", "physical") or pif.bond_slave_of != NULL:
        raise XapiError("CANNOT_CHANGE_PIF_PROPERTIES", pif)
    members: list[Any] = [pif]
    for bond in pif.bond_master_of:
        members += ctx.db.rows("PIF", bond_slave_of=bond)
    for each in members:
        each.properties = {**each.properties, name: value}
