# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where guests go that take their disks along."""
from __future__ import annotations

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.hosts.along import Disks, Room, place

GIB = 1 << 30


def guest(name: str, memory: int = 1, state: str = "Running") -> dict[str, Any]:
    return {"ref": name, "uuid": name, "name_label": name, "power_state": state,
            "memory_dynamic_max": str(memory * GIB), "memory_overhead": "0"}


def disks(sizes: dict[str, dict[str, tuple[str, int]]], **guests: dict[str, Any]) -> Disks:
    """{guest: {disk: (SR, GiB)}} as Disks."""
    found = Disks({name: guests.get(name) or guest(name) for name in sizes})
    for name, theirs in sizes.items():
        for disk, (sr, size) in theirs.items():
            found.vdis[disk] = {"ref": disk, "SR": sr, "virtual_size": str(size * GIB)}
            found.vbds[f"vbd-{disk}"] = {"VM": name, "VDI": disk}
    return found


def room(memory: dict[str, int], srs: dict[str, list[str]], free: dict[str, int]) -> Room:
    return Room({host: size * GIB for host, size in memory.items()}, srs, {sr: size * GIB for sr, size in free.items()})


def test_the_largest_goes_where_most_room_is_and_the_next_one_elsewhere() -> None:
    moves, homeless = place(
        disks({"small": {"s": ("here", 10)}, "large": {"l": ("here", 80)}}),
        room({"h1": 8, "h2": 8}, {"h1": ["local1"], "h2": ["local2"]}, {"local1": 50, "local2": 100}))
    assert not homeless
    assert [(move.vm["ref"], move.host, move.disks) for move in moves] == [
        ("large", "h2", {"l": "local2"}), ("small", "h1", {"s": "local1"})]


def test_a_disk_that_the_other_host_sees_stays() -> None:
    moves, _homeless = place(
        disks({"web": {"root": ("here", 10), "data": ("nas", 500)}}),
        room({"h1": 8}, {"h1": ["local1", "nas"]}, {"local1": 50, "nas": 0}))
    assert moves[0].disks == {"root": "local1", "data": "nas"}


def test_memory_counts_for_who_runs_and_room_is_used_up() -> None:
    moves, homeless = place(
        disks({"a": {"x": ("here", 30)}, "b": {"y": ("here", 30)}, "c": {"z": ("here", 5)}},
              a=guest("a", 64), b=guest("b", 64, "Halted"), c=guest("c", 1)),
        room({"h1": 8}, {"h1": ["local1"]}, {"local1": 32}))
    assert [move.vm["ref"] for move in moves] == ["b"]
    assert [vm["ref"] for vm in homeless] == ["a", "c"]
