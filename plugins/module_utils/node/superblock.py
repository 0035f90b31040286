# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Superblocks of metadata 1.0 that nobody finds: of devices that have grown, and of disks that are being restored. Python 3.6 syntax.

Metadata 1.0 lie at the end of a device. When the device grows, the kernel moves them once it is told; if the power goes
before that, they are where the end was. While a disk is restored from a backup, its superblocks carry a brand: another magic number,
which only we know. Nothing assembles such a half, and it is not blank either. Only its first sector changes, so the brand is there or
not, whatever happens. The layout is struct mdp_superblock_1 in the kernel's include/uapi/linux/raid/md_p.h.
"""

import os
import struct
import uuid
from typing import Optional

from ansible_collections.nobloat.xen.plugins.module_utils.node.held import Direct, Held

MAGIC = struct.pack("<II", 0xA92B4EFC, 1)
# In place of the first four bytes. The data are as they were, and the brand can be taken back; or they are being written, and only a
# restore that is complete takes it away.
HELD, WRITTEN = b"nbRh", b"nbRs"
BRANDS = (HELD, WRITTEN)
STEP = 4096  # superblocks start at multiples of this
CHUNK = 1024 * 1024
SECTOR = 512
FIXED = 256  # bytes before the roles of the devices
BITMAP, BAD_BLOCKS = 1, 8
OFFSETS = {
    "feature_map": ("<I", 8), "level": ("<i", 72), "size": ("<Q", 80), "raid_disks": ("<I", 92), "bitmap_offset": ("<i", 96),
    "data_size": ("<Q", 136), "super_offset": ("<Q", 144), "dev_number": ("<I", 160), "events": ("<Q", 200), "csum": ("<I", 216),
    "max_dev": ("<I", 220),
}


class Superblock(object):
    """The bytes of a superblock, and its fields."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def get(self, field: str) -> int:
        layout, offset = OFFSETS[field]
        return int(struct.unpack_from(layout, self.data, offset)[0])

    def set(self, field: str, value: int) -> None:
        layout, offset = OFFSETS[field]
        struct.pack_into(layout, self.data, offset, value)

    def checksum(self) -> int:
        """As the kernel's calc_sb_1_csum."""
        size = FIXED + self.get("max_dev") * 2
        data = bytearray(self.data[:size])
        struct.pack_into("<I", data, OFFSETS["csum"][1], 0)
        total = sum(struct.unpack_from(f"<{size // 4}I", data))
        if size % 4:
            total += struct.unpack_from("<H", data, size - 2)[0]
        return ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF

    def valid(self, offset: int) -> bool:
        """Whether this is a superblock that belongs to where it lies (bytes), and no copy within a guest's files."""
        return (bytes(self.data[:8]) == MAGIC and self.get("super_offset") * SECTOR == offset
                and self.get("max_dev") * 2 + FIXED <= len(self.data) and self.get("csum") == self.checksum())

    def examined(self) -> str:
        """What `mdadm --examine` would say of it, as far as class Half reads it."""
        count = self.get("max_dev")
        roles = struct.unpack_from(f"<{count}H", self.data, FIXED)
        number = self.get("dev_number")
        role = roles[number] if number < count else 0xFFFF
        words = {
            "Array UUID": ":".join(uuid.UUID(bytes=bytes(self.data[16:32])).hex[start:start + 8] for start in range(0, 32, 8)),
            "Name": bytes(self.data[32:64]).split(b"\0")[0].decode("utf-8", "replace"), "Version": "1.0",
            "Raid Level": f"raid{self.get('level')}", "Raid Devices": self.get("raid_disks"), "Events": self.get("events"),
            "Feature Map": hex(self.get("feature_map")),
            "Device Role": f"Active device {role}" if role < 0xFFFD else "spare",
            "Array State": "".join("A" if slot in roles else "." for slot in range(self.get("raid_disks"))),
        }
        return "\n".join(f"{key} : {value}" for key, value in words.items())

    def moved(self, size: int) -> "Superblock":
        """The same for a device of another size (bytes). Its bitmap stays behind: all is resynchronised, if need be."""
        fresh = Superblock(bytes(self.data))
        fresh.set("super_offset", place(size) // SECTOR)
        fresh.set("feature_map", fresh.get("feature_map") & ~BITMAP)
        fresh.set("bitmap_offset", 0)
        fresh.set("csum", fresh.checksum())
        return fresh


def place(size: int) -> int:
    """Where metadata 1.0 lie on a device, both in bytes."""
    return ((size // SECTOR - 16) & ~7) * SECTOR


def room(size: int) -> int:
    """What the kernel lets data have of a device with metadata 1.0, both in bytes (super_1_rdev_size_change in drivers/md/md.c)."""
    gib = 1 << 30
    bitmap = 128 * 1024 if size >= 200 * gib + 64 * 1024 else 64 * 1024 if size > 8 * gib + 4096 else 4096
    return place(size) - bitmap - 4096


def displaced(path: str, size: int) -> Optional[Superblock]:
    """The superblock that was the end of a device before it grew to its size (bytes); None if there is none.

    It is looked for from the end, so that one of an earlier size, which may lie in the data still, is not taken for it.
    """
    with open(path, "rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # md writes past what is cached of the device
        end = place(size)
        while end > 0:
            start = max(0, end - CHUNK)
            stream.seek(start)
            data = stream.read(end - start + STEP)
            at = data.rfind(MAGIC)
            while at >= 0:
                found = Superblock(data[at:at + STEP])
                if at % STEP == 0 and len(found.data) == STEP and found.valid(start + at):
                    return found if start + at != place(size) and not found.get("feature_map") & BAD_BLOCKS else None
                at = data.rfind(MAGIC, 0, at + len(MAGIC) - 1)
            end = start
    return None


def unbranded(data: bytes) -> Optional[Superblock]:
    """A superblock with a brand as it was without; None for what has none."""
    found = Superblock(MAGIC + data[len(MAGIC):])
    known = data[:4] in BRANDS and data[4:len(MAGIC)] == MAGIC[4:] and found.get("max_dev") * 2 + FIXED <= len(data)
    return found if known else None


def restoring(path: str, size: int) -> bool:
    """Whether a restore of a half of some bytes has not ended. Raises OSError."""
    if place(size) < 0:
        return False
    with Direct(path) as device:
        return unbranded(device.read(place(size), STEP)) is not None


def put(device: Held, size: int, found: Superblock) -> None:
    """Write a displaced superblock to where it belongs now."""
    device.write(place(size), bytes(found.moved(size).data))
