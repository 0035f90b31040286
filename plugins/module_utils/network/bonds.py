# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bonds on plain records: what is wanted of each host, and what XAPI itself moves when a bond comes and goes."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import xapi_text
from ansible_collections.nobloat.xen.plugins.module_utils.network.pifs import (
    Picture,
    configured,
    find_nic,
    is_member,
)
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import (
    Record,
    describe,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL

MODES = ("balance-slb", "active-backup", "lacp")
# xapi_bond.ml: only LACP has properties. {key: (default, values)}; None for no default, and for any number.
LACP: dict[str, tuple[str | None, tuple[str, ...] | None]] = {
    "hashing_algorithm": ("tcpudp_ports", ("src_mac", "tcpudp_ports")),
    "lacp-time": ("slow", ("fast", "slow")),
    "lacp-aggregation-key": (None, None),
    "lacp-fallback-ab": ("true", ("true", "false")),
}
MOVED = ("ip_configuration_mode", "IP", "netmask", "gateway", "DNS")


@dataclass
class Wish:
    """What the options want of one host. `nics`: PIF records; mac: "" for XAPI's choice."""

    host: str
    nics: list[Record]
    mac: str = ""

    @property
    def refs(self) -> set[str]:
        return {nic["ref"] for nic in self.nics}


def check_properties(mode: str | None, properties: Mapping[str, Any] | None) -> dict[str, str]:
    """The properties as XAPI writes them; ValueError for those that it does not know."""
    texts = {key: xapi_text(value) for key, value in (properties or {}).items()}
    if texts and mode is not None and mode != "lacp":
        raise ValueError(f"properties: a bond of mode {mode} has none, only one of mode lacp does.")
    for key, value in texts.items():
        if key not in LACP:
            raise ValueError(f"properties: there is no {key}; a bond of mode lacp has {', '.join(LACP)}.")
        values = LACP[key][1]
        if values is None and not value.isdigit():
            raise ValueError(f"properties: {key} has to be a number, not {value!r}.")
        if values is not None and value not in values:
            raise ValueError(f"properties: {key} can be {' or '.join(values)}, not {value!r}.")
    return texts


def all_properties(mode: str, properties: Mapping[str, str]) -> dict[str, str]:
    """With the defaults that XAPI adds, and without what the mode does not know."""
    if mode != "lacp":
        return {}
    defaults = {key: default for key, (default, _values) in LACP.items() if default is not None}
    return {**defaults, **{key: value for key, value in properties.items() if key in LACP}}


def wishes(picture: Picture, hosts: Iterable[str], members: Sequence[str], own: Mapping[str, Mapping[str, Any]]) -> list[Wish]:
    """The wanted NICs of each host; `own` holds what differs on a host: its members, its MAC. Raises ValueError."""
    found = []
    for host in hosts:
        entry = own.get(host, {})
        names = entry.get("members") or members
        if not names:
            raise ValueError(f"Say which NICs of {picture.name(host)} belong to the bond: members.")
        nics = [find_nic(picture, host, name) for name in names]
        found.append(Wish(host, list({nic["ref"]: nic for nic in nics}.values()), (entry.get("mac") or "").lower()))
    return found


def bond_on(picture: Picture, host: str, network: str | None) -> Record | None:
    """The bond that a host has on a network; ValueError when the network belongs to something else there."""
    for pif in picture.on(host):
        if pif["network"] == network:
            bond = picture.bond_of(pif)
            if bond is None:
                raise ValueError(
                    f"This is the network of {describe(pif)} on {picture.name(host)}; a bond needs a network of its own."
                )
            return bond
    return None


def check_members(picture: Picture, wish: Wish, network: str | None, ha: bool) -> None:
    """Refuse what XAPI would refuse, before the first step. Raises ValueError."""
    name = picture.name(wish.host)
    for nic in wish.nics:
        bond = picture.bonds.get(nic["bond_slave_of"]) if is_member(nic) else None
        if bond:
            master = picture.pifs[bond["master"]]
            if master["network"] != network:
                raise ValueError(f"{nic['device']} of {name} belongs to {master['device']} already. Remove that bond first.")
        if not nic["managed"]:
            raise ValueError(f"{nic['device']} of {name} is not managed by XAPI.")
        if ha and nic["management"]:
            raise ValueError(
                f"{nic['device']} is the management interface of {name}, which cannot join a bond while high availability "
                "is enabled. Disable it first."
            )
    addressed = [nic["device"] for nic in wish.nics if configured(nic)]
    if len(addressed) > 1:
        raise ValueError(
            f"{' and '.join(addressed)} of {name} have addresses, and a bond has one only. Take the others away first "
            "(nobloat.xen.pif, ip_mode: none)."
        )
    tags: dict[int, str] = {}
    for nic in wish.nics:
        for vlan in picture.vlans(nic):
            other = tags.setdefault(vlan["VLAN"], nic["device"])
            if other != nic["device"]:
                raise ValueError(
                    f"VLAN {vlan['VLAN']} of {name} lies over {other} and over {nic['device']}; over the bond there can be one "
                    "only. Remove the network of one of them from that host first."
                )


def primary(nics: Sequence[Record]) -> Record:
    """xapi_bond.ml: the member that all comes from and goes back to."""
    for good in (lambda pif: pif["management"], configured):
        for pif in nics:
            if good(pif):
                return pif
    return nics[0]


def free_device(picture: Picture, host: str, noted: Collection[tuple[str, str]]) -> str:
    """The lowest bondN that the host does not have, and none of those noted."""
    used = {pif["device"] for pif in picture.on(host) if pif["bond_master_of"]} | {device for where, device in noted if where == host}
    number = 0
    while f"bond{number}" in used:
        number += 1
    return f"bond{number}"


def burden(picture: Picture, base: Record) -> list[str]:
    """What an interface carries, in words."""
    found = [f"address {base['IP'] or 'by ' + base['ip_configuration_mode']}"] if configured(base) else []
    found += ["the management"] * bool(base["management"])
    found += [f"VLAN {vlan['VLAN']}" for vlan in picture.vlans(base)]
    return found + ["a tunnel"] * bool(picture.tunnels_over(base))


def draw_create(
    picture: Picture, wish: Wish, network: str, mode: str, properties: Mapping[str, str], noted: set[Any] | None = None
) -> Record:
    """Change the picture as Bond.create would: address, management, VLANs and tunnels move to the bond. `noted`: devices that others of
    a list will have."""
    nics = [picture.pifs[nic["ref"]] for nic in wish.nics]
    noted = set() if noted is None else noted
    first, device = primary(nics), free_device(picture, wish.host, noted)
    noted.add((wish.host, device))
    ref, master = f"new bond {wish.host} {device}", f"new PIF {wish.host} {device}"
    picture.pifs[master] = {
        **first, "ref": master, "device": device, "network": network, "bond_master_of": [ref], "bond_slave_of": NULL,
        "MAC": wish.mac or first["MAC"], "VLAN_slave_of": [], "tunnel_transport_PIF_of": [], "management": False,
        **{name: "None" if name == "ip_configuration_mode" else "" for name in MOVED},
    }
    picture.bonds[ref] = {
        "ref": ref, "master": master, "primary_slave": first["ref"], "mode": mode, "auto_update_mac": not wish.mac,
        "properties": all_properties(mode, properties),
    }
    for nic in nics:
        nic["bond_slave_of"] = ref
    _move(picture, first, picture.pifs[master])
    for nic in nics:
        _move_children(picture, nic, picture.pifs[master])
    return picture.bonds[ref]


def draw_destroy(picture: Picture, bond: Record) -> None:
    """Change the picture as Bond.destroy would: all goes back to the primary member."""
    master, first = picture.pifs[bond["master"]], picture.pifs[bond["primary_slave"]]
    for nic in picture.members(bond):
        nic["bond_slave_of"] = NULL
    _move(picture, master, first)
    _move_children(picture, master, first)
    del picture.pifs[master["ref"]], picture.bonds[bond["ref"]]


def _move(picture: Picture, source: Record, target: Record) -> None:
    for name in MOVED:
        target[name] = source[name]
        source[name] = "None" if name == "ip_configuration_mode" else ""
    target["management"], source["management"] = source["management"], False


def _move_children(picture: Picture, source: Record, target: Record) -> None:
    for vlan in picture.vlans(source):
        vlan["device"] = target["device"]
    for name in ("VLAN_slave_of", "tunnel_transport_PIF_of"):
        target[name] = [*target[name], *source[name]]
        source[name] = []


def bond_view(picture: Picture, bond: Record) -> dict[str, Any]:
    """One host's bond as the module shows it."""
    master = picture.pifs[bond["master"]]
    return {
        "device": master["device"],
        "mac": master["MAC"],
        "members": [nic["device"] for nic in picture.members(bond)],
        "primary": picture.pifs[bond["primary_slave"]]["device"],
        "mode": bond["mode"],
        "properties": dict(bond["properties"]),
    }


def bond_views(picture: Picture, network: str | None) -> dict[str, dict[str, Any]]:
    """{host: bond} for the bonds on a network."""
    found = {}
    for pif in picture.pifs.values():
        bond = picture.bond_of(pif)
        if network is not None and pif["network"] == network and bond:
            found[picture.name(pif["host"])] = bond_view(picture, bond)
    return dict(sorted(found.items()))


@dataclass
class BondPlan:
    """What separates the bonds from the wanted ones, host by host.

    `create`: where there is none; `recreate`: (bond, wish) where the members differ; `change`: (bond, mode, properties)
    where only these differ, both as they are to be set (None, {}: nothing); `destroy`: bonds that are not wanted.
    """

    create: list[Wish] = field(default_factory=list)
    recreate: list[tuple[Record, Wish]] = field(default_factory=list)
    change: list[tuple[Record, str | None, dict[str, str]]] = field(default_factory=list)
    destroy: list[Record] = field(default_factory=list)

    def hosts(self, picture: Picture) -> set[str]:
        """References of the hosts on which something is to be done."""
        bonds = [each[0] for each in self.recreate] + [each[0] for each in self.change] + self.destroy
        return {wish.host for wish in self.create} | {picture.pifs[bond["master"]]["host"] for bond in bonds}


def compare(
    picture: Picture, wanted: Iterable[Wish], network: str | None, mode: str | None, properties: Mapping[str, str], ha: bool
) -> BondPlan:
    """Compare the bonds on a network (None: yet to be made) with the wanted ones. Raises ValueError."""
    plan = BondPlan()
    for wish in wanted:
        bond = bond_on(picture, wish.host, network)
        check_members(picture, wish, network, ha)
        if bond is None:
            plan.create.append(wish)
            continue
        master = picture.pifs[bond["master"]]
        if wish.mac and wish.mac != master["MAC"].lower():
            raise ValueError(
                f"{master['device']} of {picture.name(wish.host)} has the MAC address {master['MAC']}, which cannot be changed. "
                "Leave mac out, or remove the bond first."
            )
        if wish.refs != {nic["ref"] for nic in picture.members(bond)}:
            _check_primary(picture, bond, wish, ha)
            bare = deepcopy(picture)
            draw_destroy(bare, bare.bonds[bond["ref"]])
            check_members(bare, Wish(wish.host, [bare.pifs[nic["ref"]] for nic in wish.nics]), network, ha)
            plan.recreate.append((bond, wish))
            continue
        target = mode or bond["mode"]
        if properties and target != "lacp":
            check_properties(target, properties)
        kept = all_properties(target, bond["properties"])
        differing = {key: value for key, value in properties.items() if kept.get(key) != value}
        if target != bond["mode"] or differing:
            plan.change.append((bond, target if target != bond["mode"] else None, differing))
    return plan


def _check_primary(picture: Picture, bond: Record, wish: Wish, ha: bool) -> None:
    """XAPI gives all that a bond carries back to its primary member: that one cannot leave with it."""
    master, first = picture.pifs[bond["master"]], picture.pifs[bond["primary_slave"]]
    name, load = picture.name(wish.host), burden(picture, master)
    if ha and master["management"]:
        raise ValueError(
            f"{master['device']} is the management interface of {name}; its members cannot change while high availability "
            "is enabled. Disable it first."
        )
    if first["ref"] not in wish.refs and load:
        raise ValueError(
            f"{first['device']} cannot leave {master['device']} of {name}: it is its primary member, to which XAPI gives back "
            f"{', '.join(load)} when the bond is made anew. Keep it, or move these elsewhere first."
        )
