# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interfaces of a pool as one picture: what lies over what, and who carries which address. Plain functions."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import (
    Record,
    host_names,
    pif_kind,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session


@dataclass
class Picture:
    """Records by reference: all hosts, PIFs, bonds and tunnels of a pool."""

    hosts: dict[str, Record]
    pifs: dict[str, Record]
    bonds: dict[str, Record]
    tunnels: dict[str, Record]

    def on(self, host: str) -> list[Record]:
        """The PIFs of a host."""
        return [pif for pif in self.pifs.values() if pif["host"] == host]

    def name(self, host: str) -> str:
        """The name of a host."""
        return str(self.hosts[host]["name_label"])

    def bond_of(self, pif: Record) -> Record | None:
        """The bond that a PIF is the master of."""
        return next((self.bonds[ref] for ref in pif["bond_master_of"] if ref in self.bonds), None)

    def members(self, bond: Record) -> list[Record]:
        """The PIFs that a bond consists of, by device."""
        return sorted(
            (pif for pif in self.pifs.values() if pif["bond_slave_of"] == bond["ref"]), key=lambda pif: pif["device"]
        )

    def vlans(self, base: Record) -> list[Record]:
        """The PIFs of the VLANs over a PIF, by tag."""
        over = set(base["VLAN_slave_of"])
        return sorted(
            (pif for pif in self.pifs.values() if pif["VLAN_master_of"] in over), key=lambda pif: pif["VLAN"]
        )

    def tunnels_over(self, base: Record) -> list[Record]:
        """The access PIFs of the tunnels over a PIF."""
        over = set(base["tunnel_transport_PIF_of"])
        return [pif for pif in self.pifs.values() if over & set(pif["tunnel_access_PIF_of"])]

    def management(self, host: str) -> Record | None:
        """The PIF that a host's API is served on."""
        return next((pif for pif in self.on(host) if pif["management"]), None)


def read_picture(xapi: Session) -> Picture:
    """Four calls, however large the pool is."""
    return Picture(*(records.records(xapi, cls) for cls in ("host", "PIF", "Bond", "tunnel")))


def interfaces(picture: Picture) -> dict[str, dict[str, Any]]:
    """{host: {device: what it carries}} for the NICs and bonds of all hosts."""
    found: dict[str, dict[str, Any]] = {}
    for ref in sorted(picture.hosts, key=picture.name):
        found[picture.name(ref)] = {
            pif["device"]: _carried(picture, pif)
            for pif in sorted(picture.on(ref), key=lambda pif: pif["device"]) if pif_kind(pif) in ("physical", "bond")
        }
    return found


def _carried(picture: Picture, pif: Record) -> dict[str, Any]:
    bond = picture.bonds.get(pif["bond_slave_of"])
    master = picture.pifs.get(bond["master"]) if bond else None
    return {
        "member_of": master["device"] if master else None,
        "ip_mode": pif["ip_configuration_mode"].lower(),
        "ip": pif["IP"],
        "management": pif["management"],
        "vlans": [vlan["VLAN"] for vlan in picture.vlans(pif)],
        "tunnels": len(picture.tunnels_over(pif)),
    }


def find_nic(picture: Picture, host: str, name: str) -> Record:
    """The NIC of a host with this device name or MAC address. Raises ValueError, which lists what there is."""
    nics = [pif for pif in picture.on(host) if pif_kind(pif) == "physical"]
    for pif in nics:
        if name == pif["device"] or name.lower() == pif["MAC"].lower():
            return pif
    there = ", ".join(f"{pif['device']} ({pif['MAC']})" for pif in sorted(nics, key=lambda pif: pif["device"]))
    raise ValueError(f"Host {picture.name(host)} has no NIC {name}; it has {there or 'none'}.")


def is_member(pif: Record) -> bool:
    """Whether a PIF belongs to a bond."""
    return pif["bond_slave_of"] not in ("", NULL)


def configured(pif: Record) -> bool:
    """Whether a PIF has an address of its primary type, as Xapi_bond sees it."""
    field = "ip_configuration_mode" if pif["primary_address_type"] == "IPv4" else "ipv6_configuration_mode"
    return bool(pif[field] != "None")


def dead_hosts(xapi: Session, hosts: Mapping[str, Record], wanted: Iterable[str]) -> set[str]:
    """References of those of the wanted hosts that are not alive: XAPI would answer HOST_OFFLINE."""
    wanted = list(wanted)
    if not wanted:
        return set()
    metrics = records.records(xapi, "host_metrics")
    return {ref for ref in wanted if not metrics.get(hosts[ref]["metrics"], {}).get("live")}


def hosts_text(hosts: Mapping[str, Record], refs: Iterable[str]) -> str:
    """Names of hosts, for a message."""
    return ", ".join(host_names(hosts, refs))
