# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of a pool as an inventory shows them: plain functions on plain data.

Two steps, so that filters spare the second one: ``items`` knows what filters look at, ``facts`` works out the rest.
"""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from sys import maxsize
from typing import Any, NamedTuple

from ansible_collections.nobloat.xen.plugins.module_utils.inventory.read import Record, State
from ansible_collections.nobloat.xen.plugins.module_utils.vm.addresses import agent_report, reachable
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import device_number
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.marks import MARK

FILTERS = ("type", "name", "uuid", "pool", "host", "power_state", "tags", "other_config")
_PATTERNS = ("name", "pool", "host", "tags")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UNPLACED = {"device": maxsize, "network": "", "network_uuid": ""}
_CHOICES = {"type": ("vm", "host"), "power_state": ("running", "halted", "paused", "suspended")}


class Item(NamedTuple):
    """A guest (type ``vm``) or a host, with its record and its host variables so far."""

    ref: str
    record: Record
    variables: dict[str, Any]


class Preferences(NamedTuple):
    """Which address to connect to: of these networks (names or uuids, the first is best), and of which family."""

    networks: Sequence[str] = ()
    ipv6: bool = False


class World:
    """A pool's objects, and which belongs to which. `here`: it was reached over loopback, so its hosts may be there."""

    def __init__(self, state: State, *, here: bool = False) -> None:
        self.state, self.here = state, here
        self.hosts = _records(state, "host")
        self.networks = _records(state, "network")
        self.coordinator = state.coordinator()
        names = [pool["name_label"] for pool in _records(state, "pool").values() if pool["name_label"]]
        # A server that nobody made a pool of is a pool without a name.
        self.pool = names[0] if names else self.hosts.get(self.coordinator, {}).get("name_label", "")
        self.nics: dict[str, list[Record]] = {}
        for vif in _records(state, "VIF").values():
            self.nics.setdefault(vif["VM"], []).append(vif)

    def items(self) -> Iterator[Item]:
        """All guests and hosts, in no particular order."""
        for ref, host in self.hosts.items():
            yield Item(ref, host, {**self._common("host", host), "xapi_host": host["name_label"]})
        for ref, vm in _records(self.state, "VM").items():
            if vm["name_label"].startswith(MARK):
                continue  # half made
            resident = self.hosts.get(vm["resident_on"])
            variables = self._common("vm", vm)
            variables["xapi_host"] = resident["name_label"] if resident else ""
            variables["xapi_power_state"] = vm["power_state"].lower()
            yield Item(ref, vm, variables)

    def facts(self, item: Item, preferences: Preferences) -> dict[str, Any]:
        """All host variables of an item; ``ansible_host`` only where an address is known."""
        make = self._guest if item.variables["xapi_type"] == "vm" else self._host
        return {**item.variables, **make(item, preferences)}

    def _common(self, kind: str, record: Record) -> dict[str, Any]:
        if not _UUID.fullmatch(record["uuid"]):
            raise ValueError(f"{record['uuid']!r} is no uuid")
        return {
            "xapi_type": kind,
            "xapi_name": str.__str__(record["name_label"]),
            "xapi_uuid": record["uuid"],
            "xapi_pool": self.pool,
            "xapi_description": record["name_description"],
            "xapi_tags": sorted(record["tags"]),
            "xapi_other_config": record["other_config"],
        }

    def _guest(self, item: Item, preferences: Preferences) -> dict[str, Any]:
        vm = item.record
        metrics: Record = agent_report(vm, self.state.objects["VM_guest_metrics"]) or {}
        by_index: dict[int, list[str]] = dict(metrics.get("addresses", ()))
        nics = []
        for vif in sorted(self.nics.get(item.ref, ()), key=device_number):
            network = self.networks.get(vif["network"], {})
            device = device_number(vif)
            nics.append({
                "device": device,
                "network": network.get("name_label", ""),
                "network_uuid": network.get("uuid", ""),
                "mac": vif["MAC"].lower(),
                "ip_addresses": by_index.get(device, []),
            })
        facts = {
            "xapi_memory": vm["memory_dynamic_max"],
            "xapi_vcpus": vm["VCPUs_at_startup"],
            "xapi_nics": nics,
            "xapi_ip_addresses": [address for addresses in by_index.values() for address in addresses],
            "xapi_os": metrics.get("os_version", {}),
            "xapi_tools": bool(metrics.get("PV_drivers_detected")),
        }
        elsewhere = by_index.keys() - {nic["device"] for nic in nics}  # what no VIF belongs to comes last
        unplaced = [{**_UNPLACED, "ip_addresses": by_index[index]} for index in sorted(elsewhere)]
        address = best_address([*nics, *unplaced], preferences)
        return {**facts, "ansible_host": address} if address else facts

    def _host(self, item: Item, preferences: Preferences) -> dict[str, Any]:
        host = item.record
        metrics = self.state.objects["host_metrics"].get(host["metrics"]) or {}
        cpus = host["cpu_info"].get("cpu_count")
        address = str(reachable(host["address"], here=self.here) or "")
        facts = {
            "xapi_coordinator": item.ref == self.coordinator,
            "xapi_enabled": host["enabled"],
            "xapi_live": bool(metrics.get("live")),
            "xapi_memory": metrics.get("memory_total") or None,
            "xapi_cpus": int(cpus) if cpus else None,
            "xapi_version": host["software_version"].get("product_version", ""),
            "xapi_ip_addresses": [address] if address else [],
        }
        return {**facts, "ansible_host": address} if address else facts


def best_address(nics: Sequence[Mapping[str, Any]], preferences: Preferences) -> str:
    """The address to connect to: by network, then family, then device; empty where there is none."""
    best, address = None, ""
    for nic in nics:
        places = [preferences.networks.index(nic[key]) for key in ("network", "network_uuid")
                  if nic[key] in preferences.networks] if preferences.networks else ()
        place = min(places, default=len(preferences.networks))
        for candidate in nic["ip_addresses"]:
            rank = (place, (":" in candidate) != preferences.ipv6, nic["device"])
            if best is None or rank < best:
                best, address = rank, candidate
    return address


def matches(variables: Mapping[str, Any], conditions: Mapping[str, Any]) -> bool:
    """Whether all conditions hold; of several values one is enough. What an item has no variable for does not match."""
    for key, wanted in conditions.items():
        actual = variables.get(f"xapi_{key}")
        if key == "other_config":
            if not all((actual or {}).get(name) == str(value) for name, value in wanted.items()):
                return False
            continue
        have = actual if isinstance(actual, list) else [] if actual is None else [actual]
        patterns = _texts(key, wanted)
        if key in _PATTERNS:
            if not any(fnmatchcase(value, pattern) for value in have for pattern in patterns):
                return False
        elif not set(have) & set(patterns):
            return False
    return True


def check_conditions(option: str, conditions: Mapping[str, Any]) -> None:
    """ValueError in plain words for what ``matches`` would silently never find."""
    unknown = sorted(set(conditions) - set(FILTERS))
    if unknown:
        raise ValueError(f"{option}: there is no {unknown[0]}; possible are {', '.join(FILTERS)}")
    if not isinstance(conditions.get("other_config", {}), Mapping):
        raise ValueError(f"{option}: other_config must be a map of keys and values")
    for key, choices in _CHOICES.items():
        wrong = [value for value in _texts(key, conditions.get(key, [])) if value not in choices]
        if wrong:
            raise ValueError(f"{option}: {wrong[0]} is not a {key}; possible are {', '.join(choices)}")


def default_groups(variables: Mapping[str, Any], wanted: Sequence[str]) -> Iterator[str]:
    """Names of the groups that an item belongs to by itself (without prefix, and not made safe yet)."""
    guest = variables["xapi_type"] == "vm"
    if "type" in wanted:
        yield "vms" if guest else "hosts"
    if "pool" in wanted:
        yield f"pool_{variables['xapi_pool']}"
    if "host" in wanted and guest and variables["xapi_host"]:
        yield f"host_{variables['xapi_host']}"
    if "power_state" in wanted and guest:
        yield f"power_state_{variables['xapi_power_state']}"
    if "tag" in wanted:
        for tag in variables["xapi_tags"]:
            yield f"tag_{tag}"


def _texts(key: str, wanted: Any) -> list[str]:
    values = [str(value) for value in (wanted if isinstance(wanted, list) else [wanted])]
    return [value.lower() for value in values] if key in _CHOICES else values


def _records(state: State, cls: str) -> dict[str, Record]:
    return {ref: record for ref, record in state.objects[cls].items() if record is not None}
