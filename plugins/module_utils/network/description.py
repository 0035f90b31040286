# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The description of a pool's networks that role pool_network takes: what is wrong with it, and what follows for each host."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

try:
    import netaddr
except ImportError:
    HAS_NETADDR = False
else:
    HAS_NETADDR = True

Entry = Mapping[str, Any]
DHCP = "dhcp"
# Traffic that nothing else should share a network with.
KINDS = ("management", "san", "migration", "backup", "service", "guests")
# Storage must not lose its address while somebody tidies up.
HELD = ("san",)


def addresses(networks: Iterable[Entry]) -> list[dict[str, Any]]:
    """One entry for each address of a host: the options of module pif. What is not said is null."""
    return [
        {
            "network": network["name"],
            "host": host,
            **_mode(network, str(address)),
            "dns": network.get("dns") or None,
            "purpose": network.get("traffic") or None,
            "disallow_unplug": network.get("disallow_unplug", True if network.get("traffic") in HELD else None),
        }
        for network in networks for host, address in (network.get("addresses") or {}).items()
    ]


def management(networks: Iterable[Entry], last: str) -> list[dict[str, Any]]:
    """The interfaces that carry the management, as options of module pif, that of the host `last` at the end."""
    found = [{"network": network["name"], "host": host} for network in networks if network.get("management")
             for host in network.get("addresses") or {}]
    return sorted(found, key=lambda entry: entry["host"] == last)


def options(networks: Iterable[Entry], bonds: Iterable[Entry] = ()) -> list[dict[str, Any]]:
    """The networks themselves, as options of module network. `bonds`: what module bond says of its list, for those that lie over one:
    its device is the same on all hosts unless somebody has made bonds there in another order."""
    devices = {bond["name"]: next((host["device"] for host in bond["bond"]["hosts"].values()), None) for bond in bonds}
    return [
        {
            "name": network["name"],
            **{option: network.get(option) for option in ("description", "mtu", "tags", "vlan")},
            "device": network.get("device") or devices.get(network.get("bond")),
        }
        for network in networks
    ]


def _mode(network: Entry, address: str) -> dict[str, Any]:
    if address == DHCP:
        return {"ip_mode": DHCP, "ip": None, "gateway": None}
    length = str(network.get("subnet", "")).partition("/")[2]
    return {"ip_mode": "static", "ip": f"{address}/{length}", "gateway": network.get("gateway") or None}


def problems(
    networks: list[Entry], bonds: Iterable[Entry] = (), tunnels: Iterable[Entry] = (), own_carrier: Iterable[str] = ()
) -> list[str]:
    """What is wrong with a description, in plain words; nothing is asked of a pool. ImportError without netaddr."""
    bonds, tunnels = list(bonds), list(tunnels)
    found = [*_names(networks, bonds, tunnels), *_carriers(networks, bonds), *_kinds(networks, bonds, own_carrier)]
    if any(network.get(name) for network in networks for name in ("subnet", "addresses", "gateway")):
        if not HAS_NETADDR:
            raise ImportError("netaddr")
        found += [*_subnets(networks), *_addresses(networks), *_management(networks)]
    return found


def _repeated(values: Iterable[Any]) -> list[Any]:
    seen: set[Any] = set()
    return sorted({value for value in values if value in seen or seen.add(value)})


def _names(networks: list[Entry], bonds: list[Entry], tunnels: list[Entry]) -> Iterator[str]:
    for what, entries in (("networks", networks), ("bonds", bonds), ("tunnels", tunnels)):
        for name in _repeated(entry["name"] for entry in entries):
            yield f"Two {what} have the name {name}."
    with_vlan = {network["name"] for network in networks if network.get("vlan") is not None}
    for entry in bonds:
        if entry["name"] in with_vlan:
            yield f"{entry['name']} is a bond, and cannot be a VLAN too."
    for entry in tunnels:
        if entry["name"] in with_vlan | {bond["name"] for bond in bonds}:
            yield f"{entry['name']} is a tunnel, and cannot be a VLAN or a bond too."


def carrier(network: Entry) -> str | None:
    """What carries a VLAN: a device, or a bond by the name of its network."""
    return network.get("device") or (f"bond {network['bond']}" if network.get("bond") else None)


def _carriers(networks: list[Entry], bonds: list[Entry]) -> Iterator[str]:
    known = {bond["name"] for bond in bonds}
    for network in networks:
        name, vlan = network["name"], network.get("vlan")
        if network.get("device") and network.get("bond"):
            yield f"{name} has both device and bond."
        if vlan is not None and not carrier(network):
            yield f"{name} is a VLAN, and needs a device or a bond to lie over."
        if vlan is None and carrier(network):
            yield f"{name} has a {'device' if network.get('device') else 'bond'} and no vlan."
        if network.get("bond") and network["bond"] not in known:
            yield f"{name} lies over bond {network['bond']}, which is not described."
    tagged = [f"VLAN {network['vlan']} over {carrier(network)}" for network in networks if network.get("vlan") is not None]
    for what in _repeated(tagged):
        yield f"{what} is described twice."
    members = [member for bond in bonds for member in bond.get("members") or []]
    for member in _repeated(members):
        yield f"{member} is in two bonds."
    for network in networks:
        if network.get("device") in members:
            yield f"{network['name']} lies over {network['device']}, which is a member of a bond; name the bond instead."


def _kinds(networks: list[Entry], bonds: list[Entry], own_carrier: Iterable[str]) -> Iterator[str]:
    bonded = {bond["name"] for bond in bonds}
    carriers = {
        network["name"]: carrier(network) or ("bond " if network["name"] in bonded else "") + network["name"] for network in networks
    }
    for kind in own_carrier:
        mine = {carriers[network["name"]] for network in networks if network.get("traffic") == kind}
        for network in networks:
            shared = carriers[network["name"]]
            if shared in mine and network.get("traffic") != kind:
                yield f"{network['name']} shares {shared} with {kind} traffic, which is to have it alone."


def _subnet(network: Entry) -> netaddr.IPNetwork | None:
    try:
        return netaddr.IPNetwork(str(network["subnet"])) if "/" in str(network.get("subnet")) else None
    except (netaddr.AddrFormatError, ValueError):
        return None


def _subnets(networks: list[Entry]) -> Iterator[str]:
    known: list[tuple[str, netaddr.IPNetwork]] = []
    for network in networks:
        name = network["name"]
        static = any(str(address) != DHCP for address in (network.get("addresses") or {}).values())
        if not network.get("subnet"):
            if static or network.get("gateway"):
                yield f"{name} has addresses or a gateway, and no subnet."
            continue
        subnet = _subnet(network)
        if subnet is None:
            yield f"{name}: subnet {network['subnet']} is none; one looks like 10.20.0.0/24."
            continue
        if subnet.version != 4:
            yield f"{name}: subnet {subnet} is not one of IPv4."
            continue
        if subnet.ip != subnet.network:
            yield f"{name}: subnet {network['subnet']} has bits of a host; it is {subnet.cidr}."
        known += [(name, subnet)]
    for number, (name, subnet) in enumerate(known):
        for other, theirs in known[:number]:
            if subnet in theirs or theirs in subnet:
                yield f"The subnets of {other} ({theirs.cidr}) and {name} ({subnet.cidr}) overlap."


def _host_problem(subnet: netaddr.IPNetwork, text: str) -> str | None:
    try:
        address = netaddr.IPAddress(text)
    except (netaddr.AddrFormatError, ValueError):
        return "is no address"
    if address not in subnet:
        return f"is not in {subnet.cidr}"
    if subnet.prefixlen < 31 and address in (subnet.network, subnet.broadcast):
        return f"is the network or broadcast address of {subnet.cidr}"
    return None


def _addresses(networks: list[Entry]) -> Iterator[str]:
    taken: dict[str, str] = {}
    for network in networks:
        name, subnet, gateway = network["name"], _subnet(network), network.get("gateway")
        if subnet is None or subnet.version != 4:
            continue
        if gateway:
            problem = _host_problem(subnet, str(gateway))
            if problem:
                yield f"{name}: gateway {gateway} {problem}."
            else:
                taken.setdefault(str(gateway), f"the gateway of {name}")
        for host, address in (network.get("addresses") or {}).items():
            text = str(address)
            if text == DHCP:
                continue
            problem = _host_problem(subnet, text)
            if problem:
                yield f"{name}: address {text} of {host} {problem}."
            elif text in taken:
                yield f"{name}: address {text} of {host} is that of {taken[text]} already."
            else:
                taken[text] = f"{host} on {name}"


def _management(networks: list[Entry]) -> Iterator[str]:
    managing = [network for network in networks if network.get("management")]
    if len(managing) > 1:
        yield f"Only one network can carry the management: {', '.join(network['name'] for network in managing)}."
    for network in managing:
        hosts = set(network.get("addresses") or {})
        others = {host for other in networks for host in other.get("addresses") or {}} - hosts
        if not hosts:
            yield f"{network['name']} carries the management, and has no addresses."
        elif others:
            yield f"{network['name']} carries the management, and {', '.join(sorted(others))} has no address there."
