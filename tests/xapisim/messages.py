# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The `message` class: objects that xapi keeps outside its database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .db import new_ref, new_uuid
from .errors import XapiError

if TYPE_CHECKING:
    from .pool import Pool

LIMIT = 10000
# class of the data model -> its name in message.cls
CLASSES = {"VM": "VM", "host": "Host", "SR": "SR", "pool": "Pool", "VMPP": "VMPP", "VMSS": "VMSS", "VDI": "VDI"}
CLASSES |= {"PVS_proxy": "PVS_proxy", "Certificate": "Certificate"}
TABLES = {name: cls for cls, name in CLASSES.items()}


class Messages:
    """All messages of one pool, oldest first, with a generation of their own for event.from."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.generation = 0
        self.records: dict[str, dict[str, Any]] = {}
        self._added: dict[str, int] = {}
        self._deleted: list[tuple[int, str]] = []

    def add(self, name: str, priority: int, cls: str, obj_uuid: str, body: str) -> str:
        """A new message about the object of a class (`VM` or `Host`, either spelling); its reference."""
        ref = new_ref()
        self.generation += 1
        self.records[ref] = {
            "uuid": new_uuid(),
            "name": name,
            "priority": priority,
            "cls": CLASSES.get(cls, cls),
            "obj_uuid": obj_uuid,
            "timestamp": self._pool.clock.datetime(),
            "body": body,
        }
        self._added[ref] = self.generation
        while len(self.records) > LIMIT:
            self.remove(next(iter(self.records)))
        self._pool.lock.notify_all()
        return ref

    def remove(self, ref: str) -> None:
        """Delete one; HANDLE_INVALID when there is none."""
        if self.records.pop(ref, None) is None:
            raise XapiError("HANDLE_INVALID", "message", ref)
        self.generation += 1
        self._added.pop(ref, None)
        self._deleted.append((self.generation, ref))
        del self._deleted[:-LIMIT]
        self._pool.lock.notify_all()

    def record(self, ref: str) -> dict[str, Any]:
        """The record of a reference; HANDLE_INVALID when there is none."""
        try:
            return self.records[ref]
        except KeyError:
            raise XapiError("HANDLE_INVALID", "message", ref) from None

    def since(self, generation: int) -> tuple[list[str], list[str]]:
        """References added and deleted after a generation."""
        if generation >= self.generation:
            return [], []
        return (
            [ref for ref, at in self._added.items() if at > generation],
            [ref for at, ref in self._deleted if at > generation],
        )
