# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that take their disks along when they change hosts, because no other host sees them: who, and where to.

XAPI moves all disks of a guest that its map names (VM.migrate_send), those of its snapshots with them, and wants every disk in
the map, also those that stay.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import GUEST, Record, Records, kind, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import NotFound
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

# SRs whose disks are devices or files of somebody else, which do not move.
FIXED = ("iso", "udev")


@dataclass
class Move:
    """A guest, the host that it goes to, and the SR of each of its disks afterwards, all by reference."""

    vm: Record
    host: str
    disks: dict[str, str]


@dataclass
class Room:
    """What hosts have for guests that come with disks. `srs`: of each host the SRs attached there, the best first."""

    memory: dict[str, int]
    srs: dict[str, list[str]]
    free: dict[str, int]


@dataclass
class Disks:
    """Guests and their disks, by reference."""

    vms: Records = field(default_factory=dict)
    vbds: Records = field(default_factory=dict)
    vdis: Records = field(default_factory=dict)

    def of(self, vm: str) -> list[Record]:
        return [self.vdis[vbd["VDI"]] for vbd in self.vbds.values() if vbd["VM"] == vm and vbd["VDI"] in self.vdis]


def local_srs(session: Session, host: str) -> Records:
    """The SRs that are attached to this host alone, and hold disks."""
    pbds = select(session, "PBD", host=[host])
    found = select(session, "SR", refs={pbd["SR"] for pbd in pbds.values()})
    return {ref: sr for ref, sr in found.items() if not sr["shared"] and sr["type"] not in FIXED and sr["content_type"] != "iso"}


def bound(session: Session, host: str) -> Disks:
    """The guests, running or not, with a disk or memory image that only this host sees, and all their disks."""
    srs = local_srs(session, host)
    here = select(session, "VDI", SR=srs)
    vbds = select(session, "VBD", VDI=here)
    owners = {vbd["VM"] for vbd in vbds.values() if vbd["type"] == "Disk"}
    vms = select(session, "VM", refs=owners, suspend_VDI=here)
    return read_disks(session, {ref: vm for ref, vm in vms.items() if kind(vm) == GUEST})


def read_disks(session: Session, vms: Records) -> Disks:
    vbds = {ref: vbd for ref, vbd in select(session, "VBD", VM=vms).items() if vbd["type"] == "Disk" and vbd["VDI"] != NULL}
    return Disks(vms, vbds, select(session, "VDI", refs={vbd["VDI"] for vbd in vbds.values()}))


def read_room(session: Session, hosts: Iterable[str]) -> Room:
    """What is free on the given hosts."""
    hosts = list(hosts)
    pbds = [pbd for pbd in select(session, "PBD", host=hosts).values() if pbd["currently_attached"]]
    srs = select(session, "SR", refs={pbd["SR"] for pbd in pbds})
    free = {ref: int(sr["physical_size"]) - int(sr["physical_utilisation"]) for ref, sr in srs.items()
            if sr["type"] not in FIXED and sr["content_type"] != "iso"}

    def rank(ref: str) -> tuple[bool, int]:
        return srs[ref]["shared"], -free[ref]

    attached = {host: sorted({pbd["SR"] for pbd in pbds if pbd["host"] == host and pbd["SR"] in free}, key=rank) for host in hosts}
    memory = {ref: int(session.call("host.compute_free_memory", ref)) for ref in hosts}
    return Room(memory, attached, free)


def place(disks: Disks, room: Room) -> tuple[list[Move], list[Record]]:
    """Where each guest goes, the largest first, to the host with the most room left; and those that fit nowhere."""
    moves, homeless = [], []
    for vm in sorted(disks.vms.values(), key=lambda vm: (-sum(int(vdi["virtual_size"]) for vdi in disks.of(vm["ref"])), vm["uuid"])):
        options = [move for host in room.srs for move in [fit(vm, disks.of(vm["ref"]), host, room)] if move]
        best = max(options, key=lambda move: sum(room.free[sr] for sr in set(move.disks.values()) if sr in room.free), default=None)
        if best is None:
            homeless.append(vm)
            continue
        moves.append(best)
        room.memory[best.host] -= memory_of(vm)
        for vdi in disks.of(vm["ref"]):
            if best.disks[vdi["ref"]] != vdi["SR"]:
                room.free[best.disks[vdi["ref"]]] -= int(vdi["virtual_size"])
    return moves, homeless


def memory_of(vm: Record) -> int:
    """Bytes that it needs on its new host."""
    return 0 if vm["power_state"] in ("Halted", "Suspended") else int(vm["memory_dynamic_max"]) + int(vm["memory_overhead"])


def fit(vm: Record, vdis: list[Record], host: str, room: Room) -> Move | None:
    """The move of a guest to a host, None where it does not fit. A disk that the host sees stays where it is."""
    if memory_of(vm) > room.memory[host]:
        return None
    free, chosen = dict(room.free), {}
    for vdi in vdis:
        size = int(vdi["virtual_size"])
        options = [vdi["SR"]] if vdi["SR"] in room.srs[host] else [sr for sr in room.srs[host] if free[sr] >= size]
        if not options:
            return None
        chosen[vdi["ref"]] = options[0]
        if options[0] != vdi["SR"]:
            free[options[0]] -= size
    return Move(vm, host, chosen)


def management_network(session: Session, host: str) -> str:
    """The network of a host's management interface."""
    for pif in select(session, "PIF", host=[host]).values():
        if pif["management"]:
            return str(pif["network"])
    raise NotFound("management interface of host", host)
