# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PIF is, the assertions of xapi_pif.ml, and bringing interfaces up and down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import paths
from ..errors import XapiError
from ..registry import NULL
from .forwarding import forward_to

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..pool import Pool
    from ..registry import Context

VLAN_MAC = "fe:ff:ff:ff:ff:ff"
IP_FIELDS = ("ip_configuration_mode", "IP", "netmask", "gateway", "DNS")


def nics(pool: Pool) -> dict[str, dict[str, str]]:
    """The network cards that a host really has: device to MAC, by host uuid."""
    found: dict[str, dict[str, str]] = pool.__dict__.setdefault("nics", {})
    return found


def kind(pif: Row) -> str:
    """tunnel, vlan, bond or physical, in xapi's order of asking."""
    if pif.tunnel_access_PIF_of:
        return "tunnel"
    if pif.VLAN_master_of != NULL:
        return "vlan"
    if pif.bond_master_of:
        return "bond"
    return "physical"


def new_pif(db: Database, host: Row | str, network: Row, **fields: Any) -> Row:
    """A PIF record that is down and has no address."""
    values = {"VLAN": -1, "currently_attached": False, "managed": True, "MTU": 1500, **fields}
    return db.create("PIF", host=host, network=network, **values)


def new_metrics(pool: Pool, device: str, *, carrier: bool = True) -> Row:
    """Metrics of a 10 Gbit/s card."""
    return pool.db.create(
        "PIF_metrics",
        carrier=carrier,
        vendor_id="8086",
        vendor_name="Intel Corporation",
        device_id="1572",
        device_name="Ethernet Controller X710 for 10GbE SFP+",
        speed=10000 if carrier else 0,
        duplex=carrier,
        pci_bus_path=f"0000:3b:00.{device[-1]}" if device[-1:].isdigit() else "N/A",
        last_updated=pool.clock.datetime(),
    )


# -- assertions


def assert_managed(pif: Row) -> None:
    if not pif.managed:
        raise XapiError("PIF_UNMANAGED", pif)


def assert_not_management(pif: Row) -> None:
    if pif.management:
        raise XapiError("PIF_IS_MANAGEMENT_INTERFACE", pif)


def assert_not_in_bond(pif: Row) -> None:
    if pif.bond_slave_of != NULL or pif.bond_master_of:
        raise XapiError("PIF_ALREADY_BONDED", pif)


def assert_no_vlans(pif: Row) -> None:
    if pif.VLAN_slave_of or pif.VLAN != -1:
        raise XapiError("PIF_VLAN_STILL_EXISTS", pif)


def assert_no_tunnels(pif: Row) -> None:
    if pif.tunnel_transport_PIF_of or pif.tunnel_access_PIF_of:
        raise XapiError("PIF_TUNNEL_STILL_EXISTS", pif)


def assert_no_protection(pool: Pool, pif: Row) -> None:
    """HA_IS_ENABLED or REDO_LOG_IS_ENABLED for a PIF that is up."""
    if pif.currently_attached:
        if pool.pool_row.ha_enabled:
            raise XapiError("HA_IS_ENABLED")
        if pool.pool_row.redo_log_enabled:
            raise XapiError("REDO_LOG_IS_ENABLED")


def assert_no_other_local_pif(db: Database, host: str, network: Row) -> None:
    """NETWORK_ALREADY_CONNECTED [host; pif]: a host has one PIF on a network."""
    for pif in db.rows("PIF", network=network):
        if pif.host == host:
            raise XapiError("NETWORK_ALREADY_CONNECTED", host, pif)


def assert_usable_for_management(pif: Row) -> None:
    if pif.bond_slave_of != NULL:
        raise XapiError("CANNOT_PLUG_BOND_SLAVE", pif)
    if pif.primary_address_type == "IPv4" and pif.ip_configuration_mode == "None":
        raise XapiError("PIF_HAS_NO_NETWORK_CONFIGURATION", pif)
    if pif.primary_address_type == "IPv6" and pif.ipv6_configuration_mode == "None":
        raise XapiError("PIF_HAS_NO_V6_NETWORK_CONFIGURATION", pif)


def assert_no_vifs_in_use(db: Database, host: str, network: str) -> None:
    """VIF_IN_USE [network; vif] while a VM on the host uses the network."""
    for vif in db.rows("VIF", network=network):
        vm = db.maybe("VM", vif.VM)
        if vif.currently_attached and vm is not None and vm.resident_on == host and vm.power_state != "Suspended":
            raise XapiError("VIF_IN_USE", network, vif)


# -- up and down


def bring_up(ctx: Context, pif: Row) -> None:
    """Configure the interface as the record says."""
    db = ctx.db
    paths.changed(ctx.pool)
    network = db.row("network", pif.network)
    for ref in pif.bond_master_of:
        bond = db.row("Bond", ref)
        for member in db.rows("PIF", bond_slave_of=bond):
            member.currently_attached = False
            db.row("network", member.network).MTU = network.MTU
        bond.links_up = sum(_carrier(db, member) for member in db.rows("PIF", bond_slave_of=bond))
        if bond.auto_update_mac:
            pif.MAC = db.row("PIF", bond.primary_slave).MAC
    pif.currently_attached = True
    if pif.bond_slave_of != NULL:
        db.row("PIF", db.row("Bond", pif.bond_slave_of).master).currently_attached = False
    own = pif.other_config.get("mtu", "")  # determine_mtu in nm.ml
    if own.isdecimal() or network.MTU > 0:
        pif.MTU = int(own) if own.isdecimal() else network.MTU
    for ref in pif.tunnel_access_PIF_of:
        tunnel = db.row("tunnel", ref)
        tunnel.status = {**tunnel.status, "active": "true"}
    if pif.ip_configuration_mode == "DHCP" and not pif.IP:
        lease(ctx.pool, pif)


def _carrier(db: Database, pif: Row) -> bool:
    metrics = db.maybe("PIF_metrics", pif.metrics)
    return metrics is not None and bool(metrics.carrier)


def bring_down(db: Database, pif: Row) -> None:
    """Take the interface down."""
    pif.currently_attached = False
    for ref in pif.tunnel_access_PIF_of:
        tunnel = db.row("tunnel", ref)
        tunnel.status = {**tunnel.status, "active": "false"}


def lease(pool: Pool, pif: Row) -> None:
    """What the simulated DHCP server gives: the host's own address on the management interface, else one of 10/8."""
    db = pool.db
    host = db.row("host", pif.host)
    if pif.management:
        pif.IP, pif.netmask = host.address, "255.0.0.0"
        return
    number = list(db.table("network")).index(pif.network)
    position = [each.ref for each in db.rows("host")].index(pif.host)
    pif.IP = f"10.{number // 256}.{number % 256}.{position + 10}"
    pif.netmask, pif.gateway = "255.255.255.0", f"10.{number // 256}.{number % 256}.1"


def plug_pif(ctx: Context, pif: Row) -> None:
    """PIF.plug without forwarding."""
    db = ctx.db
    assert_managed(pif)
    what = kind(pif)
    if what == "tunnel":
        transport = db.row("PIF", db.row("tunnel", pif.tunnel_access_PIF_of[0]).transport_PIF)
        if transport.ip_configuration_mode == "None":
            raise XapiError("TRANSPORT_PIF_NOT_CONFIGURED", transport)
        plug_pif(ctx, transport)
    elif what == "physical" and pif.bond_slave_of != NULL:
        raise XapiError("CANNOT_PLUG_BOND_SLAVE", pif)
    bring_up(ctx, pif)


def unplug_pif(ctx: Context, pif: Row) -> None:
    """PIF.unplug without forwarding."""
    db = ctx.db
    assert_managed(pif)
    assert_no_protection(ctx.pool, pif)
    assert_not_management(pif)
    assert_no_vifs_in_use(db, pif.host, pif.network)
    if pif.disallow_unplug:
        raise XapiError("PIF_DOES_NOT_ALLOW_UNPLUG", pif)
    for ref in pif.tunnel_transport_PIF_of:
        unplug_pif(ctx, db.row("PIF", db.row("tunnel", ref).access_PIF))
    if pif.bond_slave_of == NULL:
        bring_down(db, pif)
        paths.changed(ctx.pool)


def move_configuration(source: Row, target: Row) -> None:
    """Take the IPv4 configuration from one PIF to another."""
    for field in IP_FIELDS:
        setattr(target, field, getattr(source, field))
        setattr(source, field, "None" if field == "ip_configuration_mode" else "")


def move_management(ctx: Context, target: Row) -> None:
    """Make a PIF its host's only management interface; the host's API moves to its address."""
    for pif in ctx.db.rows("PIF", host=target.host):
        if pif.management and pif != target:
            pif.management = False
    target.management = True
    bring_up(ctx, target)
    follow_address(ctx, target)


def follow_address(ctx: Context, pif: Row) -> None:
    """After a change of the management address: the pool finds the host there, its slaves once they are told."""
    host = ctx.db.row("host", pif.host)
    if not pif.management or not pif.IP or host.address == pif.IP:
        return
    host.address = pif.IP
    runtime = ctx.pool.hosts.get(host.uuid)
    if runtime is None or not pif.IP.startswith(paths.LOOPBACK):
        return
    if host == ctx.pool.master:
        for other in ctx.pool.hosts.values():
            if other is not runtime:
                other.coordinator = other.coordinator or runtime.address
    runtime.address = pif.IP
    paths.changed(ctx.pool)


def forward_pif(ctx: Context, pif: Row) -> None:
    """The call runs on the PIF's host."""
    forward_to(ctx, pif.host)
