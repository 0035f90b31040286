# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database of one pool: rows by class, relations kept at both ends, generations for events.

Values are plain Python values (see types.py); references are strings. The "many" end of a relation is computed here and
never written by hand. All access happens with the pool lock held.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .errors import XapiError
from .schema import Schema
from .types import NULL

DELETED_KEPT = 20000  # deletions remembered for event.from; older tokens learn of them by valid_ref_counts only

_random = random.SystemRandom()
_fast = random.Random(_random.getrandbits(128))


def new_uuid() -> str:
    """A random (version 4) uuid. Not from the operating system each time: ten thousand VMs need a hundred thousand."""
    bits = _fast.getrandbits(128) & ~(0xF << 76) & ~(0x3 << 62) | (0x4 << 76) | (0x2 << 62)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_ref() -> str:
    """A fresh OpaqueRef."""
    return f"OpaqueRef:{new_uuid()}"


class Row:
    """Handle on one record. Attributes are its fields; assigning one goes through Database.set."""

    __slots__ = ("_created", "_db", "_modified", "_values", "cls", "ref", "xml_cache")

    def __init__(self, db: Database, cls: str, ref: str, values: dict[str, Any]) -> None:
        put = object.__setattr__
        put(self, "_db", db)
        put(self, "cls", cls)
        put(self, "ref", ref)
        put(self, "_values", values)
        put(self, "_created", 0)
        put(self, "_modified", 0)
        put(self, "xml_cache", None)

    def __getattr__(self, name: str) -> Any:
        try:
            value = self._values[name]
        except KeyError:
            raise AttributeError(f"{self.cls} has no field {name}") from None
        if type(value) in (list, dict):
            return value.copy()
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        self._db.set(self, name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and other.cls == self.cls and other.ref == self.ref

    def __hash__(self) -> int:
        return hash(self.ref)

    def __repr__(self) -> str:
        return f"Row({self.cls} {self._values.get('name_label') or self._values.get('uuid', '')} {self.ref})"

    @property
    def exists(self) -> bool:
        """False once the record has been destroyed."""
        return self._db.maybe(self.cls, self.ref) is self

    def record(self) -> dict[str, Any]:
        """A copy of all fields."""
        return {k: v.copy() if type(v) in (list, dict) else v for k, v in self._values.items()}


_SCALARS = {str, int, bool, float, type(None)}


def _plain(value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Row):
        return value.ref
    if isinstance(value, (list, tuple, set)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, datetime):
        return value.replace(microsecond=0)
    return value


class Database:
    """Rows of all classes of one pool. `changed` is called after each change of generation."""

    def __init__(self, schema: Schema, changed: Callable[[], None] = lambda: None) -> None:
        self.schema = schema
        self.generation = 1
        self.deleted: deque[tuple[int, int, str, str]] = deque(maxlen=DELETED_KEPT)  # generation, created, class, ref
        self._changed = changed
        self._tables: dict[str, dict[str, Row]] = {c.name: {} for c in schema.classes.values() if c.in_db}
        self._uuids: dict[str, dict[str, Row]] = {name: {} for name in self._tables}
        self._recent: dict[str, Row] = {}  # by reference, least recently modified first
        self._fresh: dict[str, tuple[dict[str, Any], list[str]]] = {}
        for name in self._tables:
            defaults = {f.name: f.default for f in schema.classes[name].fields.values()}
            containers = [n for n, v in defaults.items() if isinstance(v, (list, dict))]
            self._fresh[name] = (defaults, containers)
        self._relations: dict[str, dict[str, tuple[str, str, str]]] = {name: {} for name in self._tables}
        for (cls, field), other in schema.relations.items():
            self._relations[cls][field] = other

    # -- reading

    def row(self, cls: str, ref: str) -> Row:
        """The row of a reference; HANDLE_INVALID when there is none."""
        try:
            return self._tables[cls][ref]
        except KeyError:
            raise XapiError("HANDLE_INVALID", cls, ref) from None

    def maybe(self, cls: str, ref: str) -> Row | None:
        """The row of a reference, None for NULL or a dangling one."""
        return self._tables[cls].get(ref)

    def by_uuid(self, cls: str, uuid: str) -> Row:
        """The row of a uuid; UUID_INVALID when there is none."""
        try:
            return self._uuids[cls][uuid]
        except KeyError:
            raise XapiError("UUID_INVALID", cls, uuid) from None

    def rows(self, cls: str, **equal: Any) -> list[Row]:
        """All rows of a class whose fields equal the given values (Row or reference for a ref field)."""
        table = self._tables[cls]
        if not equal:
            return list(table.values())
        wanted = {k: _plain(v) for k, v in equal.items()}
        candidates: Any = table.values()
        for name, value in wanted.items():
            other = self._relations[cls].get(name)
            if other is not None and other[2] == "one" and isinstance(value, str):
                parent = self._tables[other[0]].get(value)
                if parent is not None:  # the other end lists exactly the candidates
                    candidates = [table[r] for r in parent._values[other[1]] if r in table]
                    break
        for name, value in wanted.items():
            candidates = [row for row in candidates if row._values[name] == value]
        return candidates

    def table(self, cls: str) -> dict[str, Row]:
        """The rows of a class by reference, not to be changed."""
        return self._tables[cls]

    def values(self, row: Row) -> dict[str, Any]:
        """The live values of a row, not to be changed: for encoders that copy nothing."""
        return row._values

    def counts(self) -> dict[str, int]:
        """Number of records of each class."""
        return {name: len(table) for name, table in self._tables.items()}

    def modified_since(self, generation: int) -> list[tuple[Row, bool]]:
        """Rows changed after a generation, oldest change first, with whether they were created after it."""
        found = []
        for row in reversed(self._recent.values()):
            if row._modified <= generation:
                break
            found.append((row, row._created > generation))
        found.reverse()
        return found

    def modified_at(self, row: Row) -> int:
        """Generation of the row's last change."""
        return row._modified

    # -- writing

    def create(self, cls: str, /, ref: str | None = None, **fields: Any) -> Row:
        """A new record: given fields, table defaults for the rest, fresh uuid and reference. Unknown: KeyError."""
        defaults, containers = self._fresh[cls]
        values = defaults.copy()
        for name in containers:
            values[name] = values[name].copy()
        relations = self._relations[cls]
        many = {}
        for name, value in fields.items():
            if name not in defaults:
                raise KeyError(f"{cls} has no field {name}")
            value = _plain(value)
            other = relations.get(name)
            if other is not None and other[2] == "many":
                if self.schema.relations[other[:2]][2] == "one" and value:
                    raise ValueError(f"{cls}.{name} is kept by the database: set {other[0]}.{other[1]} instead")
                many[name] = value
                continue
            values[name] = value
        if "uuid" in defaults and not values["uuid"]:
            values["uuid"] = new_uuid()
        row = Row(self, cls, ref or new_ref(), values)
        self._tables[cls][row.ref] = row
        if "uuid" in defaults:
            self._uuids[cls][values["uuid"]] = row
        self._touch(row)
        object.__setattr__(row, "_created", self.generation)
        for name, other in relations.items():
            if other[2] == "one" and values[name] != NULL:
                self._link(other, values[name], row.ref)
        for name, value in many.items():
            self.set(row, name, value)
        return row

    def destroy(self, row: Row) -> None:
        """Delete a record and take it out of the other ends of its relations."""
        if self._tables[row.cls].pop(row.ref, None) is None:
            raise XapiError("HANDLE_INVALID", row.cls, row.ref)
        self._uuids[row.cls].pop(row._values.get("uuid", ""), None)
        self._recent.pop(row.ref, None)
        self.generation += 1
        if self.schema.classes[row.cls].events:
            self.deleted.append((self.generation, row._created, row.cls, row.ref))
        for name, other in self._relations[row.cls].items():
            value = row._values[name]
            if other[2] == "one":
                if value != NULL:
                    self._unlink(other, value, row.ref)
            elif self.schema.relations[other[:2]][2] == "many":
                for ref in value:
                    self._unlink(other, ref, row.ref)
        self._changed()

    def set(self, row: Row, field: str, value: Any) -> None:
        """Write one field. An equal value is no change and makes no event."""
        values = row._values
        value = _plain(value)
        if field not in values:
            raise KeyError(f"{row.cls} has no field {field}")
        old = values[field]
        if old == value and type(old) is type(value):
            return
        if row.ref not in self._tables[row.cls]:
            raise XapiError("HANDLE_INVALID", row.cls, row.ref)
        other = self._relations[row.cls].get(field)
        if other is not None and other[2] == "many":
            if self.schema.relations[other[:2]][2] == "one":
                raise ValueError(f"{row.cls}.{field} is kept by the database: set {other[0]}.{other[1]} instead")
            for ref in [r for r in old if r not in value]:
                self._unlink(other, ref, row.ref)
            for ref in [r for r in value if r not in old]:
                self._link(other, ref, row.ref)
        if field == "uuid":
            self._uuids[row.cls].pop(old, None)
            self._uuids[row.cls][value] = row
        values[field] = value
        self._touch(row)
        if other is not None and other[2] == "one":
            if old != NULL:
                self._unlink(other, old, row.ref)
            if value != NULL:
                self._link(other, value, row.ref)

    def touch(self, row: Row) -> int:
        """Make a change event without a change (event.inject); the new generation."""
        self._touch(row)
        return self.generation

    def _touch(self, row: Row) -> None:
        self.generation += 1
        put = object.__setattr__
        put(row, "_modified", self.generation)
        put(row, "xml_cache", None)
        if self.schema.classes[row.cls].events:
            self._recent.pop(row.ref, None)
            self._recent[row.ref] = row
        self._changed()

    def _link(self, end: tuple[str, str, str], parent: str, child: str) -> None:
        row = self._tables[end[0]].get(parent)
        if row is None:
            return
        children = row._values[end[1]]
        if end[2] == "many" and child in children:  # a "one" end is linked once, and looking costs with 10,000 VIFs
            return
        children.append(child)
        self._touch(row)

    def _unlink(self, end: tuple[str, str, str], parent: str, child: str) -> None:
        row = self._tables[end[0]].get(parent)
        if row is not None and child in row._values[end[1]]:
            row._values[end[1]].remove(child)
            self._touch(row)
