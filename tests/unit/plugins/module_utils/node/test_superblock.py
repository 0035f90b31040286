# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Superblocks that are not where they belong any more."""
from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import Held
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Half
from ansible_collections.nobloat.xen.plugins.module_utils.node.superblock import (
    MAGIC,
    Superblock,
    displaced,
    place,
    put,
)

MIB = 1 << 20
pytestmark = pytest.mark.usefixtures("cached")


def superblock(offset: int, name: bytes = b"any:data") -> Superblock:
    """One of two halves, with a bitmap."""
    found = Superblock(MAGIC + bytes(4088))
    found.data[16:32] = bytes(range(16))
    found.data[32:32 + len(name)] = name
    for field, value in {"feature_map": 1, "level": 1, "raid_disks": 2, "bitmap_offset": -16, "data_size": 1000, "dev_number": 1,
                         "super_offset": offset // 512, "events": 17, "max_dev": 4}.items():
        found.set(field, value)
    struct.pack_into("<4H", found.data, 256, 0, 1, 0xFFFF, 0xFFFE)
    found.set("csum", found.checksum())
    return found


def disk(path: Path, size: int, *offsets: int) -> str:
    with path.open("wb") as stream:
        stream.truncate(size)
        for offset in offsets:
            os.pwrite(stream.fileno(), bytes(superblock(offset).data), offset)
    return str(path)


@pytest.mark.parametrize("grown", [4096, 64 * 1024, 5 * MIB + 4096])
def test_found_and_put_right(tmp_path: Path, grown: int) -> None:
    size = 4 * MIB
    path = disk(tmp_path / "half", size + grown, place(size))
    found = displaced(path, size + grown)
    assert found
    half = Half(found.examined())
    assert (half.name, half.events, half.role, half.members, half.raid_devices, half.level, half.metadata) == (
        "data", 17, 1, "AA", 2, "raid1", "1.0")
    assert half.uuid == "00010203:04050607:08090a0b:0c0d0e0f"
    with Held(path, Blocks(str(tmp_path))) as device:
        put(device, size + grown, found)
    moved = Superblock(Path(path).read_bytes()[place(size + grown):][:4096])
    assert moved.valid(place(size + grown))
    assert (moved.get("feature_map"), moved.get("bitmap_offset"), moved.get("events"), moved.get("data_size")) == (0, 0, 17, 1000)
    assert displaced(path, size + grown) is None  # it is where it belongs


def test_the_latest_is_taken(tmp_path: Path) -> None:
    path = disk(tmp_path / "half", 8 * MIB, place(2 * MIB), place(4 * MIB))
    found = displaced(path, 8 * MIB)
    assert found
    assert found.get("super_offset") * 512 == place(4 * MIB)


def test_what_is_no_superblock_of_this_device(tmp_path: Path) -> None:
    path = Path(disk(tmp_path / "half", 8 * MIB))
    with path.open("r+b") as stream:
        copy, broken, bad = superblock(MIB), superblock(3 * MIB), superblock(5 * MIB)
        broken.set("events", 18)
        bad.set("feature_map", 9)
        bad.set("csum", bad.checksum())
        os.pwrite(stream.fileno(), bytes(copy.data), 2 * MIB)  # in a file of the guest
        os.pwrite(stream.fileno(), bytes(broken.data), 3 * MIB)
        assert displaced(str(path), 8 * MIB) is None
        os.pwrite(stream.fileno(), bytes(bad.data), 5 * MIB)  # with a list of bad blocks
        assert displaced(str(path), 8 * MIB) is None
