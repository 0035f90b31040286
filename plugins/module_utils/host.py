# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as modules host and host_info show them: plain functions on plain records."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.common import common_view
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.certificate import (
    presents,
    view,
)
from ansible_collections.nobloat.xen.plugins.module_utils.network.addresses import pif_view

Record = dict[str, Any]


def host_view(record: Record) -> Record:
    """A host in the terms of the options of module host."""
    return {
        **common_view(record),
        "enabled": record["enabled"],
        "iscsi_iqn": record["iscsi_iqn"],
        "address": record["address"],
        "hostname": record["hostname"],
    }


def host_facts(
    record: Record, metrics: Record | None, pifs: Iterable[Record], networks: Mapping[str, Record], coordinator: str,
    certificates: Iterable[Record] = (),
) -> Record:
    """A host with its facts. `pifs`, `certificates`: at least its own; `networks`: by reference; `coordinator`: a host's."""
    own = [pif for pif in pifs if pif["host"] == record["ref"]]
    shown = [{**pif_view(pif), "mtu": pif["MTU"], "network": networks.get(pif["network"], {}).get("name_label", "")} for pif in own]
    guests = set(record["resident_VMs"]) - {record["control_domain"]}
    return {
        **host_view(record),
        "coordinator": record["ref"] == coordinator,
        "live": bool(metrics and metrics["live"]),
        "multipathing": record["multipathing"],
        "memory": memory(record, metrics),
        "cpu": cpu(record["cpu_info"]),
        "software_version": dict(record["software_version"]),
        "api_version": f"{record['API_version_major']}.{record['API_version_minor']}",
        "edition": record["edition"],
        "certificate": next((view(each) for each in certificates if presents(each, record["ref"])), None),
        "pending_guidances": sorted(record.get("pending_guidances", ())),
        "vm_count": len(guests),
        "pifs": sorted(shown, key=lambda pif: (pif["device"], -1 if pif["vlan"] is None else pif["vlan"])),
    }


def memory(record: Record, metrics: Record | None) -> Record:
    """Memory in bytes; what a host does not report is None."""
    metrics = metrics or {}
    return {
        "total": metrics.get("memory_total") or None,
        "free": metrics.get("memory_free") or None,
        "overhead": record["memory_overhead"],
    }


def cpu(info: Mapping[str, str]) -> Record:
    """The parts of cpu_info that people ask for; what a host does not report is None."""
    count, sockets = info.get("cpu_count"), info.get("socket_count")
    return {
        "count": int(count) if count else None,
        "sockets": int(sockets) if sockets else None,
        "vendor": info.get("vendor"),
        "model": info.get("modelname"),
        "speed_mhz": float(info["speed"]) if info.get("speed") else None,
    }
