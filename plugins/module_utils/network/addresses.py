# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of PIFs on plain records: what is wanted, whether it can be, and how XAPI is told."""
from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import Record, pif_kind

# The modes as the options say them, and as XAPI writes them.
MODES = {"none": "None", "dhcp": "DHCP", "static": "Static"}
MODES6 = {**MODES, "autoconf": "Autoconf"}


def canonical(text: str) -> str:
    """An address (and the length of its prefix) in its one form, as the kernel writes it: 2001:DB8:0::1/64 is 2001:db8::1/64.

    XAPI keeps what it was told, until a host that starts reports what its interface has.
    """
    try:
        return str(ipaddress.ip_interface(text) if "/" in text else ipaddress.ip_address(text))
    except ValueError:
        return text


def resolvers(text: str) -> list[str]:
    """Name servers of PIF.DNS, those of IPv4 first, as the module shows them."""
    found = [canonical(server.strip()) for server in text.split(",") if server.strip()]
    return sorted(found, key=lambda server: ":" in server)


def address_view(pif: Record) -> dict[str, Any]:
    """What a PIF has of addresses, in the terms of the options."""
    return {
        "ip_mode": pif["ip_configuration_mode"].lower(),
        "ip": pif["IP"],
        "netmask": pif["netmask"],
        "gateway": pif["gateway"],
        "dns": resolvers(pif["DNS"]),
        "ipv6_mode": pif["ipv6_configuration_mode"].lower(),
        "ipv6": next((canonical(address) for address in pif["IPv6"] if address), ""),
        "ipv6_gateway": canonical(pif["ipv6_gateway"]),
    }


def pif_view(pif: Record) -> dict[str, Any]:
    """A PIF as all modules show it."""
    return {
        "uuid": pif["uuid"],
        "device": pif["device"],
        "kind": pif_kind(pif),
        "vlan": pif["VLAN"] if pif["VLAN"] >= 0 else None,
        "mac": pif["MAC"],
        "attached": pif["currently_attached"],
        "management": pif["management"],
        **address_view(pif),
    }


def check_options(params: Mapping[str, Any]) -> None:
    """Refuse addresses that are none, or that do not go together. Raises ValueError."""
    for name in ("netmask", "gateway"):
        if params[name] and not _is_address(params[name], 4):
            raise ValueError(f"{name} {params[name]!r} is not an IPv4 address.")
    if params["ip"] and not _is_address(params["ip"].partition("/")[0], 4):
        raise ValueError(f"ip {params['ip']!r} is not an IPv4 address; one looks like 192.0.2.11/24.")
    for server in params["dns"] or []:
        if not _is_address(server, 4) and not _is_address(server, 6):
            raise ValueError(f"dns {server!r} is not an address of a name server.")
    if params["ipv6"]:
        try:
            ipaddress.IPv6Interface(params["ipv6"])
        except ValueError:
            raise ValueError(f"ipv6 {params['ipv6']!r} is not an IPv6 address; one looks like 2001:db8::11/64.") from None
        if "/" not in params["ipv6"]:
            raise ValueError(f"ipv6 {params['ipv6']!r} has no length of its prefix, such as /64.")
    if params["ipv6_gateway"] and not _is_address(params["ipv6_gateway"], 6):
        raise ValueError(f"ipv6_gateway {params['ipv6_gateway']!r} is not an IPv6 address.")


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def desired(live: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The address view that is wanted: options laid over what is there. Raises ValueError.

    ip, netmask and gateway are None where the DHCP server will say them.
    """
    wanted = dict(live)
    _desire_ipv4(wanted, live, params)
    _desire_ipv6(wanted, live, params)
    if params["dns"] is not None:
        wanted["dns"] = sorted(map(canonical, params["dns"]), key=lambda server: ":" in server)
    elif wanted["ip_mode"] == "none" and wanted["ipv6_mode"] == "none":
        wanted["dns"] = []
    return wanted


def _desire_ipv4(wanted: dict[str, Any], live: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    mode = wanted["ip_mode"] = params["ip_mode"] or ("static" if params["ip"] else live["ip_mode"])
    given = [name for name in ("ip", "netmask", "gateway") if params[name]]
    if mode != "static":
        if given:
            raise ValueError(f"{', '.join(given)}: only with ip_mode static, not {mode}.")
        if mode == "none" or live["ip_mode"] != "dhcp":
            wanted.update(dict.fromkeys(("ip", "netmask", "gateway"), "" if mode == "none" else None))
        return
    ip, _slash, length = (params["ip"] or "").partition("/")
    kept = live if live["ip_mode"] == "static" else {"ip": "", "netmask": "", "gateway": ""}
    netmask = params["netmask"] or kept["netmask"]
    if length:
        try:
            netmask = str(ipaddress.IPv4Network(f"0.0.0.0/{length}").netmask)
        except ValueError:
            raise ValueError(f"ip {params['ip']!r}: the length of a network goes from 0 to 32.") from None
        if params["netmask"] not in (None, netmask):
            raise ValueError(f"ip {params['ip']!r} and netmask {params['netmask']} contradict each other.")
    wanted.update(ip=ip or kept["ip"], netmask=netmask, gateway=kept["gateway"] if params["gateway"] is None else params["gateway"])
    if not wanted["ip"] or not wanted["netmask"]:
        raise ValueError("A static address needs ip and netmask, as in ip: 192.0.2.11/24.")
    check_ipv4(wanted["ip"], wanted["netmask"], wanted["gateway"])


def check_ipv4(ip: str, netmask: str, gateway: str) -> None:
    """Whether an address is one of a host in its subnet, and its gateway another one. Raises ValueError."""
    try:
        interface = ipaddress.IPv4Interface(f"{ip}/{netmask}")
    except ValueError:
        raise ValueError(f"netmask {netmask!r} is not the mask of a network, such as 255.255.255.0.") from None
    network = interface.network
    for name, text in (("ip", ip), ("gateway", gateway)):
        if not text:
            continue
        address = ipaddress.IPv4Address(text)
        if address not in network:
            raise ValueError(f"{name} {text} is not in {network}, the subnet of {ip}.")
        if network.prefixlen < 31 and address in (network.network_address, network.broadcast_address):
            raise ValueError(f"{name} {text} is no address of a host: it is the network or broadcast address of {network}.")
    if gateway == ip:
        raise ValueError(f"gateway {gateway} is the address of the host itself.")


def _desire_ipv6(wanted: dict[str, Any], live: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    mode = wanted["ipv6_mode"] = params["ipv6_mode"] or ("static" if params["ipv6"] else live["ipv6_mode"])
    given = [name for name in ("ipv6", "ipv6_gateway") if params[name]]
    if mode != "static":
        if given:
            raise ValueError(f"{', '.join(given)}: only with ipv6_mode static, not {mode}.")
        if mode == "none" or live["ipv6_mode"] != mode:
            wanted.update(dict.fromkeys(("ipv6", "ipv6_gateway"), "" if mode == "none" else None))
        return
    kept = live if live["ipv6_mode"] == "static" else {"ipv6": "", "ipv6_gateway": ""}
    gateway = kept["ipv6_gateway"] if params["ipv6_gateway"] is None else canonical(params["ipv6_gateway"])
    wanted.update(ipv6=canonical(params["ipv6"] or kept["ipv6"]), ipv6_gateway=gateway)
    if not wanted["ipv6"]:
        raise ValueError("A static IPv6 address needs ipv6, as in ipv6: 2001:db8::11/64.")


IPV4 = ("ip_mode", "ip", "netmask", "gateway")
IPV6 = ("ipv6_mode", "ipv6", "ipv6_gateway")


def ipv4_arguments(view: Mapping[str, Any]) -> list[str]:
    """The arguments of PIF.reconfigure_ip after the PIF: mode, IP, netmask, gateway, DNS."""
    static = view["ip_mode"] == "static"
    return [MODES[view["ip_mode"]], *(view[name] if static else "" for name in ("ip", "netmask", "gateway")), _dns(view, 4)]


def ipv6_arguments(view: Mapping[str, Any]) -> list[str]:
    """The arguments of PIF.reconfigure_ipv6 after the PIF: mode, IPv6, gateway, DNS."""
    static = view["ipv6_mode"] == "static"
    return [MODES6[view["ipv6_mode"]], *(view[name] if static else "" for name in ("ipv6", "ipv6_gateway")), _dns(view, 6)]


def _dns(view: Mapping[str, Any], version: int) -> str:
    return ",".join(server for server in view["dns"] if (":" in server) == (version == 6))


def differs(live: Mapping[str, Any], wanted: Mapping[str, Any], names: tuple[str, ...], version: int) -> bool:
    """Whether XAPI has to be told of the IPv4 or IPv6 part."""
    return any(live[name] != wanted[name] for name in names) or _dns(live, version) != _dns(wanted, version)


def moves(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether packets take another way: more than name servers changes."""
    return any(live[name] != wanted[name] for name in (*IPV4, *IPV6))


def same_subnet(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two PIFs (their records) have IPv4 addresses in one subnet."""
    try:
        subnet = ipaddress.IPv4Interface(f"{one['IP']}/{one['netmask']}").network
        return ipaddress.IPv4Address(other["IP"]) in subnet
    except ValueError:
        return False
