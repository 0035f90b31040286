# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of virtual disks: sparse files with block-level copy-on-write layers.

A disk is a chain of layers, newest first. A layer owns some 64 KiB blocks; a block that no layer of the
chain owns reads as zeros. Only a disk's own (newest) layer is ever written. A snapshot freezes that layer
and puts an empty one on top of it for either side, so that it costs nothing whatever the size.

A layer's file exists from its first written block on: ten thousand blank disks cost no file.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

BLOCK = 64 * 1024
_ZEROS = bytes(BLOCK)


@dataclass(eq=False)
class _Layer:
    """One file of blocks, at the offsets that they have in the disk."""

    path: Path
    parent: _Layer | None = None
    blocks: set[int] = field(default_factory=set)
    users: int = 0  # layers and disks that stand directly on this one


class DiskStore:
    """All virtual disks of a pool, by the uuid of their VDI. Sizes and offsets are in bytes.

    A missing uuid raises KeyError, a range outside the disk ValueError: both are bugs of the caller.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._disks: dict[str, tuple[_Layer, int]] = {}
        self._names = count()
        self._lock = threading.RLock()

    def __contains__(self, uuid: str) -> bool:
        return uuid in self._disks

    def create(self, uuid: str, size: int) -> None:
        """A blank disk."""
        with self._lock:
            if uuid in self._disks:
                raise ValueError(f"disk {uuid} exists")
            self._disks[uuid] = (self._stack(None), size)

    def snapshot(self, uuid: str, new_uuid: str) -> None:
        """A second disk with the same content; both are writable from then on and share what they had."""
        with self._lock:
            if new_uuid in self._disks:
                raise ValueError(f"disk {new_uuid} exists")
            layer, size = self._disks[uuid]
            if layer.blocks:  # an untouched top layer would only lengthen both chains
                base: _Layer | None = layer
                layer.users -= 1
                self._disks[uuid] = (self._stack(base), size)
            else:
                base = layer.parent
            self._disks[new_uuid] = (self._stack(base), size)

    clone = snapshot

    def copy(self, uuid: str, new_uuid: str) -> None:
        """A second disk with the same content that shares nothing with the first."""
        with self._lock:
            self.create(new_uuid, self.size(uuid))
            self.copy_into(uuid, new_uuid)

    def copy_into(self, uuid: str, into_uuid: str) -> None:
        """Write the whole content of one disk over another, which must be at least as large."""
        with self._lock:
            size = self.size(uuid)
            for block in sorted(self._owned(uuid) | self._owned(into_uuid)):
                offset = block * BLOCK
                if offset < size:
                    self.write(into_uuid, offset, self.read(uuid, offset, min(BLOCK, size - offset)))

    def resize(self, uuid: str, size: int) -> None:
        """Grow a disk; what is new reads as zeros."""
        with self._lock:
            layer, old = self._disks[uuid]
            if size < old:
                raise ValueError(f"disk {uuid} cannot shrink from {old} to {size} bytes")
            self._disks[uuid] = (layer, size)

    def delete(self, uuid: str) -> None:
        """Forget a disk and every layer that nothing else stands on."""
        with self._lock:
            layer: _Layer | None
            layer, _size = self._disks.pop(uuid)
            layer.users -= 1
            while layer is not None and layer.users == 0:
                layer.path.unlink(missing_ok=True)
                layer = layer.parent
                if layer is not None:
                    layer.users -= 1
            self._coalesce(layer)

    def size(self, uuid: str) -> int:
        """The size that a guest would see."""
        return self._disks[uuid][1]

    def allocated(self, uuid: str) -> int:
        """Bytes of the blocks in the disk's own layer, that is: written since its last snapshot."""
        return len(self._disks[uuid][0].blocks) * BLOCK

    def allocated_total(self, uuids: list[str]) -> int:
        """Bytes that these disks take together, shared layers counted once."""
        with self._lock:
            layers = {id(layer): layer for uuid in uuids for layer in self._chain(uuid)}
            return sum(len(layer.blocks) for layer in layers.values()) * BLOCK

    def changed_blocks(self, uuid_from: str, uuid_to: str) -> set[int]:
        """Numbers of the 64 KiB blocks that may differ between two disks of one family."""
        with self._lock:
            old, new = set(self._chain(uuid_from)), set(self._chain(uuid_to))
            return {block for layer in old ^ new for block in layer.blocks}

    def blocks(self, uuid: str) -> list[int]:
        """Numbers, ascending, of the 64 KiB blocks that some layer holds; all others are zeros."""
        with self._lock:
            return sorted(block for block in self._owned(uuid) if block * BLOCK < self.size(uuid))

    def read(self, uuid: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes."""
        with self._lock:
            self._check(uuid, offset, length)
            parts: list[bytes] = []
            for block, start, stop in _spans(offset, length):
                parts.append(self._read_block(self._disks[uuid][0], block)[start:stop])
            return b"".join(parts)

    def write(self, uuid: str, offset: int, data: bytes) -> None:
        """Overwrite a range. Zeros onto what already reads as zeros take no space."""
        with self._lock:
            self._check(uuid, offset, len(data))
            top = self._disks[uuid][0]
            done = 0
            for block, start, stop in _spans(offset, len(data)):
                piece = data[done : done + stop - start]
                done += stop - start
                before = self._read_block(top, block)
                after = before[:start] + piece + before[stop:]
                if after == before:
                    continue
                with open(top.path, "r+b" if top.blocks else "w+b") as file:
                    file.seek(block * BLOCK)
                    file.write(after)
                top.blocks.add(block)

    def _check(self, uuid: str, offset: int, length: int) -> None:
        size = self.size(uuid)
        if offset < 0 or length < 0 or offset + length > size:
            raise ValueError(f"range {offset}+{length} lies outside disk {uuid} of {size} bytes")

    def _stack(self, parent: _Layer | None) -> _Layer:
        if parent is not None:
            parent.users += 1
        return _Layer(self._folder / f"{next(self._names)}.layer", parent, users=1)

    def _chain(self, uuid: str) -> list[_Layer]:
        chain: list[_Layer] = []
        layer: _Layer | None = self._disks[uuid][0]
        while layer is not None:
            chain.append(layer)
            layer = layer.parent
        return chain

    def _owned(self, uuid: str) -> set[int]:
        return {block for layer in self._chain(uuid) for block in layer.blocks}

    @staticmethod
    def _read_block(layer: _Layer | None, block: int) -> bytes:
        while layer is not None:
            if block in layer.blocks:
                with open(layer.path, "rb") as file:
                    data = os.pread(file.fileno(), BLOCK, block * BLOCK)
                return data.ljust(BLOCK, b"\0")
            layer = layer.parent
        return _ZEROS

    def _coalesce(self, base: _Layer | None) -> None:
        """Merge a frozen layer into the only one that is left on it, so that chains do not grow for ever."""
        if base is None or base.users != 1:
            return
        children = {layer for uuid in self._disks for layer in self._chain(uuid) if layer.parent is base}
        if len(children) != 1:
            return
        (child,) = children
        if not child.blocks:
            child.path, child.blocks = base.path, base.blocks
        else:
            with open(child.path, "r+b") as file:
                for block in sorted(base.blocks - child.blocks):
                    os.pwrite(file.fileno(), self._read_block(base, block), block * BLOCK)
            child.blocks |= base.blocks
            base.path.unlink(missing_ok=True)
        child.parent = base.parent


def _spans(offset: int, length: int) -> list[tuple[int, int, int]]:
    """(block, first byte in it, end in it) of a range, in order."""
    spans = []
    end = offset + length
    while offset < end:
        block, start = divmod(offset, BLOCK)
        stop = min(BLOCK, start + end - offset)
        spans.append((block, start, stop))
        offset += stop - start
    return spans
