# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a host from joining a pool: XAPI names the first reason only, and in the middle of the join."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, Records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL, records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session


@dataclass
class Side:
    """A pool, as far as joining depends on it; each class by reference."""

    pool: Record
    hosts: Records
    pifs: Records
    vms: Records = field(default_factory=dict)
    srs: Records = field(default_factory=dict)
    bonds: Records = field(default_factory=dict)
    tunnels: Records = field(default_factory=dict)

    @property
    def coordinator(self) -> Record:
        return self.hosts[self.pool["master"]]

    @property
    def management(self) -> Record:
        """The coordinator's management interface."""
        own = (pif for pif in self.pifs.values() if pif["host"] == self.pool["master"] and pif["management"])
        return next(own, {"VLAN": -1})


def read_side(session: Session, *, joining: bool) -> Side:
    """Read a pool; of one that is to be joined, only what is compared."""
    side = Side(next(iter(records(session, "pool").values())), records(session, "host"), records(session, "PIF"))
    if joining:
        side.vms = records(session, "VM")
        side.srs = records(session, "SR", 'field "shared"="true"')
        side.bonds, side.tunnels = records(session, "Bond"), records(session, "tunnel")
    return side


def obstacles(host: Side, pool: Side, *, force: bool = False) -> list[Record]:
    """All that XAPI would refuse: {reason, cure}. `force`: different CPUs and software of the same version may be."""
    found = [*_itself(host, pool), *_versions(host.coordinator, pool.coordinator, force), *_networks(host, pool)]
    return [{"reason": reason, "cure": cure} for reason, cure in found]


def _itself(host: Side, pool: Side) -> list[tuple[str, str]]:
    found = []
    if host.pool["ha_enabled"] or pool.pool["ha_enabled"]:
        where = "pool" if pool.pool["ha_enabled"] else "host"
        found.append((f"high availability is on in the {where}", "Disable it until the host has joined."))
    if len(host.hosts) > 1:
        others = sorted(item["name_label"] for ref, item in host.hosts.items() if ref != host.pool["master"])
        found.append((f"it has members of its own: {', '.join(others)}", "Eject them first."))
    guests = [vm for vm in host.vms.values() if not vm["is_control_domain"]]
    running = sorted(vm["name_label"] for vm in guests if vm["power_state"] in ("Running", "Paused"))
    if running:
        found.append((f"guests run on it: {', '.join(running)}", "Shut them down."))
    busy = sorted(vm["name_label"] for vm in guests if vm["current_operations"])
    if busy:
        found.append((f"operations are in progress on {', '.join(busy)}", "Wait until they are done."))
    shared = sorted(sr["name_label"] for sr in host.srs.values() if not sr["is_tools_sr"])
    if shared:
        found.append((f"it has shared SRs: {', '.join(shared)}", "Forget them there (module nobloat.xen.sr); their data stays."))
    mine, theirs = host.coordinator, pool.coordinator
    if any(mine[key] != theirs[key] for key in ("external_auth_type", "external_auth_service_name")):
        found.append((
            f"its directory service is {_service(mine)}, that of the pool {_service(theirs)}",
            "Give the host the same one, or disable it on both until the host has joined.",
        ))
    if mine["edition"] != theirs["edition"]:
        found.append((f"its edition is '{mine['edition']}', that of the pool '{theirs['edition']}'", "Give it the pool's licence."))
    return found


def _service(host: Record) -> str:
    return f"{host['external_auth_type']} {host['external_auth_service_name']}" if host["external_auth_type"] else "none"


def _versions(mine: Record, theirs: Record, force: bool) -> list[tuple[str, str]]:
    ours, pools = mine["software_version"], theirs["software_version"]
    found = []
    keys = ["product_brand", "platform_version", "db_schema", *(() if force else ("build_number", "xapi_build", "xen", "linux"))]
    differing = [f"{key} {ours.get(key)} and {pools.get(key)}" for key in keys if ours.get(key) != pools.get(key)]
    versions = [f"{host['API_version_major']}.{host['API_version_minor']}" for host in (mine, theirs)]
    if versions[0] != versions[1]:
        differing.append(f"API {versions[0]} and {versions[1]}")
    if differing:
        found.append((
            f"its software is not the pool's: {', '.join(differing)}",
            "Bring both to the same version with the same updates, and reboot what was updated.",
        ))
    vendors = [host["cpu_info"].get("vendor", "") for host in (mine, theirs)]
    if vendors[0] != vendors[1] and not force:
        found.append((f"its CPUs are of {vendors[0]}, those of the pool of {vendors[1]}",
                      "Guests could not be migrated between them; force=true joins it nevertheless."))
    backends = [version.get("network_backend", "bridge") for version in (ours, pools)]
    if backends[0] != backends[1]:
        found.append((f"its network backend is {backends[0]}, that of the pool {backends[1]}",
                      f"Switch it with xe-switch-network-backend {backends[1]}, and reboot it."))
    return found


def _networks(host: Side, pool: Side) -> list[tuple[str, str]]:
    def devices(pifs: list[Any]) -> str:
        return ", ".join(sorted(f"{pif['device']} VLAN {pif['VLAN']}" if pif["VLAN"] >= 0 else str(pif["device"]) for pif in pifs))

    found = []
    if host.bonds:
        masters = [host.pifs[bond["master"]] for bond in host.bonds.values() if bond["master"] in host.pifs]
        found.append((f"it has bonds: {devices(masters)}", "Remove them; it gets those of the pool when it joins."))
    if host.tunnels:
        found.append((f"it has {len(host.tunnels)} tunnels", "Remove them."))
    sriov = [pif for pif in host.pifs.values() if pif.get("sriov_logical_PIF_of")]
    if sriov:
        found.append((f"it has SR-IOV networks: {devices(sriov)}", "Remove them."))
    vlans = [pif for pif in host.pifs.values() if pif["VLAN"] >= 0 and not pif["management"] and pif not in sriov]
    if vlans:
        found.append((f"it has VLANs: {devices(vlans)}", "Remove them; it gets those of the pool when it joins."))
    tags = [side.management["VLAN"] for side in (host, pool)]
    if tags[0] != tags[1]:
        named = [f"VLAN {tag}" if tag >= 0 else "no VLAN" for tag in tags]
        found.append((f"its management interface is on {named[0]}, those of the pool are on {named[1]}", "Make them the same."))
    return found


def precious(host: Record, srs: Records, pbds: Records, vdis: Records, vms: Records, vbds: Records) -> list[Record]:
    """The local SRs of a member that would be wiped with what is on them: {sr, uuid, vdis, vms}; without ISO libraries."""
    found = []
    for sr in srs.values():
        places = [pbd["host"] for pbd in pbds.values() if pbd["SR"] == sr["ref"]]
        if sr["shared"] or places != [host["ref"]] or sr["content_type"] == "iso":
            continue
        disks = [vdi for vdi in vdis.values() if vdi["SR"] == sr["ref"] and vdi["managed"] and vdi["type"] != "rrd"]
        if not disks:
            continue
        used = {vbd["VM"] for vbd in vbds.values() for vdi in disks if vbd["VDI"] == vdi["ref"] and vbd["VM"] != NULL}
        guests = sorted(vms[ref]["name_label"] for ref in used if ref in vms and not vms[ref]["is_a_snapshot"])
        found.append({"sr": sr["name_label"], "uuid": sr["uuid"], "vdis": len(disks), "vms": guests})
    return sorted(found, key=lambda item: (item["sr"], item["uuid"]))
