# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks, the PIFs that carry them, and what VLANs are to be made where: plain functions on plain records."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.common import common_view
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL

Record = dict[str, Any]

# xapi_vlan.ml accepts 0 and 4094, and refuses 4095 with VLAN_TAG_INVALID.
VLAN_TAGS = range(4095)
# xapi_network.ml: at most 15 characters (IFNAMSIZ), and none of the prefixes that xapi and the kernel give out.
BRIDGE = re.compile(r"(?!xen|xapi|vif|tap|eth)[A-Za-z0-9_.-]{1,15}")
DEVICE = re.compile(r"[A-Za-z0-9_.:-]{1,15}")
# The least that IPv4 allows, and what fits the field of its header. XAPI itself stores any number.
MTUS = range(68, 65536)


def pif_kind(pif: Record) -> str:
    """What a PIF is: physical, bond, vlan, tunnel or sriov."""
    if pif["VLAN"] >= 0:
        return "vlan"
    if pif["bond_master_of"]:
        return "bond"
    if pif["tunnel_access_PIF_of"]:
        return "tunnel"
    return "sriov" if pif.get("sriov_logical_PIF_of") else "physical"


def network_view(record: Record, pifs: Iterable[Record], hosts: Mapping[str, Record]) -> Record:
    """A network in the terms of the options of module network. `pifs`: at least its own; `hosts`: by reference.

    `vlan` and `device` are None where there is none, or where the hosts differ.
    """
    own = [pif for pif in pifs if pif["network"] == record["ref"]]
    tag = _sole(pif["VLAN"] for pif in own)
    return {
        **common_view(record),
        "mtu": record["MTU"],
        "bridge": record["bridge"],
        "default_locking_mode": record["default_locking_mode"],
        "vlan": None if tag == -1 else tag,
        "device": _sole(pif["device"] for pif in own),
        "hosts": host_names(hosts, (pif["host"] for pif in own)),
    }


def _sole(values: Iterable[Any]) -> Any:
    """The value that all have in common, or None."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def host_names(hosts: Mapping[str, Record], refs: Iterable[str]) -> list[str]:
    """Sorted names of the hosts with these references, those of vanished ones left out."""
    return sorted(hosts[ref]["name_label"] for ref in refs if ref in hosts)


def check_options(params: Record) -> None:
    """Refuse what XAPI would refuse later, or would store although it cannot work. Raises ValueError."""
    vlan, mtu, bridge, device = (params[name] for name in ("vlan", "mtu", "bridge", "device"))
    if vlan is not None and vlan not in VLAN_TAGS:
        raise ValueError(f"vlan {vlan} is not a VLAN tag; tags go from 0 to {VLAN_TAGS[-1]}.")
    if mtu is not None and mtu not in MTUS:
        raise ValueError(f"mtu {mtu} is out of range; an MTU goes from {MTUS[0]} to {MTUS[-1]} bytes.")
    if bridge and not BRIDGE.fullmatch(bridge):
        raise ValueError(
            f"bridge {bridge} is no name for a bridge: at most 15 letters, digits, dots, dashes or underscores, "
            "and no xen, xapi, vif, tap or eth at the start."
        )
    if device is not None and not DEVICE.fullmatch(device):
        raise ValueError(f"device {device!r} is no name of a network device; one looks like eth1 or bond0.")


def choose_hosts(hosts: Mapping[str, Record], wanted: Sequence[str] | None) -> list[str]:
    """References of the hosts with these names or uuids, in the pool's order; all of them if `wanted` is None."""
    if wanted is None:
        return list(hosts)
    known = {host[key] for host in hosts.values() for key in ("uuid", "name_label")}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f"The pool has no host {', '.join(unknown)}; its hosts are {', '.join(host_names(hosts, hosts))}."
        )
    return [ref for ref, host in hosts.items() if host["uuid"] in wanted or host["name_label"] in wanted]


@dataclass
class VlanPlan:
    """What separates the VLANs of a network from the wanted ones; all are PIF records.

    `create`: the PIFs to lay a VLAN over; `replace`: VLANs with another tag or device, in the way of a new one;
    `surplus`: VLANs on hosts that are not wanted.
    """

    create: list[Record] = field(default_factory=list)
    replace: list[Record] = field(default_factory=list)
    surplus: list[Record] = field(default_factory=list)

    @property
    def touches(self) -> set[str]:
        """References of the hosts on which something is to be done."""
        return {pif["host"] for pif in (*self.create, *self.replace, *self.surplus)}


def plan_vlans(
    network: str | None,
    pifs: Sequence[Record],
    hosts: Mapping[str, Record],
    wanted: Sequence[str],
    tag: int,
    device: str,
) -> VlanPlan:
    """Compare the VLANs of a network with `tag` over `device` on the hosts `wanted`.

    `network` (None: yet to be made) and `wanted` are references; `pifs` are at least those of the network and those of
    the device. Raises ValueError where a VLAN cannot be made.
    """
    own = {pif["host"]: pif for pif in pifs if pif["network"] == network}
    other = [pif for pif in own.values() if pif_kind(pif) != "vlan"]
    if other:
        raise ValueError(
            f"This is the network of {describe(other[0])} on {', '.join(host_names(hosts, own))}; "
            "a VLAN needs a network of its own."
        )
    plan = VlanPlan(surplus=[pif for host, pif in own.items() if host not in wanted])
    lacking = []
    for host in wanted:
        there = own.get(host)
        if there and (there["VLAN"], there["device"]) == (tag, device):
            continue
        base = _base(pifs, hosts, host, tag, device)
        if base is None:
            lacking.append(host)
            continue
        plan.create.append(base)
        if there:
            plan.replace.append(there)
    if lacking:
        raise ValueError(
            f"There is no device {device} on {', '.join(host_names(hosts, lacking))}. "
            "Correct device, or name in hosts those that have it (nobloat.xen.host_info shows the devices)."
        )
    return plan


def _base(pifs: Sequence[Record], hosts: Mapping[str, Record], host: str, tag: int, device: str) -> Record | None:
    """The PIF of a host that a VLAN can be laid over; ValueError if it is not fit for it, None if there is none."""
    name = hosts[host]["name_label"]
    base = None
    for pif in pifs:
        if (pif["host"], pif["device"]) != (host, device):
            continue
        if pif["VLAN"] == tag:
            raise ValueError(f"VLAN {tag} over {device} of {name} is already in use by another network.")
        if pif_kind(pif) in ("physical", "bond"):
            base = pif
    if base and base["bond_slave_of"] not in ("", NULL):
        raise ValueError(f"{device} of {name} is a member of a bond; give the bond's device (bond0, ...) instead.")
    return base


def describe(pif: Record) -> str:
    """A PIF in words: eth0, bond bond0, VLAN 5 over eth0, tunnel tunnel1."""
    kind = pif_kind(pif)
    if kind == "vlan":
        return f"VLAN {pif['VLAN']} over {pif['device']}"
    return pif["device"] if kind == "physical" else f"{kind} {pif['device']}"
