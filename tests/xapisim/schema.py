# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared tables: classes, fields, messages, enums, relations, roles, error codes.

One text file a class under tables/ (its notation is described in README.md). Messages that XAPI derives from a field or
from the class itself (getters, setters, get_all_records, ...) are derived here as XAPI derives them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from .types import Type, parse_type

TABLES = Path(__file__).parent / "tables"
ROLES = ("pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator", "client-cert", "read-only")
_RANKS = [r for r in ROLES if r != "client-cert"]
STATES = ("Deprecated", "Removed", "Prototyped")


@dataclass(slots=True)
class Field:
    """A field of a class. `default` is a Python value; it counts only when `has_default`."""

    name: str
    type: Type
    qualifier: str  # RO/runtime, RO/constructor, RW
    column: str  # name in where-queries, with its namespace: name__label
    has_default: bool = False
    default: Any = None
    default_text: str = ""
    state: str | None = None
    setters: tuple[str, ...] = ROLES
    readers: tuple[str, ...] = ROLES


@dataclass(slots=True)
class Param:
    """A parameter of a message, without the session."""

    name: str
    type: Type
    required: bool = True
    default: Any = None


@dataclass(slots=True)
class Message:
    """A message. `kind` is "" for one with its own behaviour, else the generic thing that it does."""

    cls: str
    name: str
    params: list[Param]
    result: Type
    roles: tuple[str, ...] = ROLES
    is_async: bool = False
    session: bool = True
    state: str | None = None
    errors: tuple[str, ...] = ()
    implicit: bool = False
    hidden: bool = False
    internal: bool = False
    kind: str = ""
    field: Field | None = None
    required: int = 0
    optional: bool = False
    own_ref: bool = False  # the first parameter is a reference to the message's own class

    def __post_init__(self) -> None:
        self.required = sum(p.required for p in self.params)
        self.optional = self.required < len(self.params)
        first = self.params[0].type if self.params else None
        self.own_ref = first is not None and first.kind == "ref" and first.name == self.cls

    @property
    def wire(self) -> str:
        """Name on the wire, `VM.start`."""
        return f"{self.cls}.{self.name}"


@dataclass(slots=True)
class Class:
    """A class with its fields (in wire order) and messages."""

    name: str
    state: str | None = None
    in_db: bool = True
    events: bool = True
    fields: dict[str, Field] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    key_roles: dict[str, list[tuple[str, tuple[str, ...]]]] = field(default_factory=dict)
    columns: dict[str, Field] = field(default_factory=dict)
    enums: list[str] = field(default_factory=list)


class Schema:
    """All tables. `relations` maps (class, field) to (class, field, kind): kind is of THIS end, "one" or "many"."""

    def __init__(self) -> None:
        self.classes: dict[str, Class] = {}
        self.messages: dict[str, Message] = {}
        self.enums: dict[str, tuple[str, ...]] = {}
        self.relations: dict[tuple[str, str], tuple[str, str, str]] = {}
        self.pairs: list[tuple[str, str]] = []
        self.errors: dict[str, tuple[str, ...] | None] = {}
        self.sm_errors: dict[str, int] = {}
        self.alerts: dict[str, int] = {}
        self.by_lower: dict[str, str] = {}


def roles_from(text: str) -> tuple[str, ...]:
    """The roles that `by TEXT` stands for: the named one and all stronger; `+client-cert`, and `nobody` but root."""
    if not text:
        return ROLES
    if text == "nobody":
        return ()
    weakest, _unused, extra = text.partition("+")
    allowed = set(_RANKS[: _RANKS.index(weakest) + 1]) | ({extra} if extra else set())
    return tuple(r for r in ROLES if r in allowed)


@lru_cache(maxsize=1)
def load() -> Schema:
    """Read all tables (about 70 ms); the same Schema every time."""
    schema = Schema()
    for path in sorted(TABLES.glob("[!_]*.txt")):
        _read_class(schema, path)
    for name, values in schema.enums.items():
        parse_type(f"enum {name}").values = values
    for cls in schema.classes.values():
        _settle_defaults(cls)
        _derive(cls)
        for message in cls.messages.values():
            message.own_ref = message.own_ref and cls.in_db
            schema.messages[message.wire] = message
        schema.by_lower[cls.name.lower()] = cls.name
        if not cls.in_db and not cls.messages:
            parse_type(f"{cls.name} record").fields = {f.name: f.type for f in cls.fields.values()}
    for line in _lines(TABLES / "_relations.txt"):
        _relate(schema, *line.split(" - "))
    for line in _lines(TABLES / "_errors.txt"):
        code, _unused, names = line.partition(": ")
        schema.errors[code] = None if names == "?" else tuple(names.split(", ")) if names else ()
    for file, table in (("_sm_errors.txt", schema.sm_errors), ("_alerts.txt", schema.alerts)):
        for line in _lines(TABLES / file):
            name, number = line.split()
            table[name] = int(number)
    return schema


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def _relate(schema: Schema, left: str, right: str) -> None:
    schema.pairs.append((left, right))
    ends = []
    for end in (left, right):
        cls, name = end.split(".")
        if name not in schema.classes[cls].fields:
            return  # task.session, which the real database has and no client sees
        ends.append((cls, name, "many" if schema.classes[cls].fields[name].type.kind == "set" else "one"))
    if ends[0][:2] == ends[1][:2]:
        return  # declared so in the data model (subject.roles, role.subroles): there is no other end to keep
    schema.relations[ends[0][:2]] = (ends[1][0], ends[1][1], ends[0][2])
    schema.relations[ends[1][:2]] = (ends[0][0], ends[0][1], ends[1][2])


_SIGNATURE = re.compile(r"^(\w+)\((.*)\)(?: -> (.+))?$")


def _read_class(schema: Schema, path: Path) -> None:
    cls = Class("")
    spaces = ["name"]
    implicit: list[tuple[str, str]] = []
    last: Message | None = None
    for line in _lines(path):
        parts = line.split("; ")
        word, _unused, rest = parts[0].strip().partition(" ")
        flags = parts[1:]
        if word == "field":
            name, _unused, type_text = rest.partition(": ")
            cls.fields[name] = _field(name, type_text, flags, spaces)
        elif word in ("message", "hidden"):
            last = _message(cls.name, rest, flags, hidden=word == "hidden")
            cls.messages[last.name] = last
        elif word == "errors" and last is not None:
            last.errors = tuple(rest.split())
        elif word == "implicit":
            implicit.extend((name, _flag(flags, "by ")) for name in rest.split())
        elif word == "enum":
            name, _unused, values = rest.partition(": ")
            schema.enums[name] = tuple(values.split(" "))
            cls.enums.append(name)
        elif word == "columns":
            spaces += rest.split()
        elif word == "key":
            map_name, key = rest.split(" ")
            cls.key_roles.setdefault(map_name, []).append((key, roles_from(_flag(flags, "by "))))
        elif word == "internal":
            for name in rest.split():
                known = cls.messages.get(name)
                if known is None:
                    known = cls.messages[name] = Message(cls.name, name, [], parse_type("void"), hidden=True)
                known.internal = True
        elif word == "class":
            cls.name = rest
            cls.state = _state(flags)
            cls.in_db = "not-in-db" not in flags
            cls.events = cls.in_db and "no-events" not in flags
        else:
            raise ValueError(f"{path.name}: {line}")
    cls.columns = {f.column: f for f in cls.fields.values()}
    schema.classes[cls.name] = cls
    for name, by in implicit:
        cls.messages[name] = _lifecycle(cls, name, roles_from(by))


def _flag(flags: list[str], prefix: str) -> str:
    return next((f[len(prefix) :] for f in flags if f.startswith(prefix)), "")


def _state(flags: list[str]) -> str | None:
    return next((f for f in flags if f in STATES), None)


def _field(name: str, type_text: str, flags: list[str], spaces: list[str]) -> Field:
    space = next((s for s in spaces if name.startswith(s + "_")), "")
    default = next((f for f in flags if f.startswith("= ")), None)
    return Field(
        name,
        parse_type(type_text),
        flags[0],
        f"{space}__{name[len(space) + 1 :]}" if space else name,
        has_default=default is not None,
        default_text="" if default is None else default[2:],
        state=_state(flags),
        setters=roles_from(_flag(flags, "by ")),
        readers=roles_from(_flag(flags, "read by ")),
    )


def _split(text: str) -> list[str]:
    """Split parameters at the commas that are not inside parentheses."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [p.strip() for p in [*parts, text[start:]] if p.strip()]


def _message(cls: str, signature: str, flags: list[str], *, hidden: bool) -> Message:
    found = _SIGNATURE.match(signature)
    if not found:
        raise ValueError(f"{cls}: {signature}")
    params = []
    for part in _split(found.group(2)):
        name, _unused, rest = part.partition(": ")
        type_text, has_default, default = rest.partition(" = ")
        params.append(Param(name, parse_type(type_text), not has_default, default))
    return Message(
        cls,
        found.group(1),
        params,
        parse_type(found.group(3) or "any"),
        roles=roles_from(_flag(flags, "by ")),
        is_async="async" in flags,
        session="no session" not in flags,
        state=_state(flags),
        hidden=hidden,
    )


def _lifecycle(cls: Class, name: str, roles: tuple[str, ...]) -> Message:
    ref, record = parse_type(f"{cls.name} ref"), parse_type(f"{cls.name} record")
    params = {
        "get_record": [Param("self", ref)],
        "destroy": [Param("self", ref)],
        "get_by_uuid": [Param("uuid", parse_type("string"))],
        "get_by_name_label": [Param("label", parse_type("string"))],
        "create": [Param("args", record)],
    }.get(name, [])
    result = {
        "get_record": record,
        "get_by_uuid": ref,
        "create": ref,
        "destroy": parse_type("void"),
        "get_all": parse_type(f"{cls.name} ref set"),
        "get_by_name_label": parse_type(f"{cls.name} ref set"),
        "get_all_records": parse_type(f"({cls.name} ref -> {cls.name} record) map"),
    }[name]
    message = Message(cls.name, name, params, result, roles=roles, state=cls.state, implicit=True, kind=name)
    message.is_async = name in ("create", "destroy")
    return message


def _settle_defaults(cls: Class) -> None:
    """Turn default texts into values, now that the enums are known."""
    for item in cls.fields.values():
        item.default = item.type.literal(item.default_text) if item.has_default else item.type.zero()
    for message in cls.messages.values():
        for param in message.params:
            if not param.required:
                param.default = param.type.literal(param.default)


def _derive(cls: Class) -> None:
    """Add the messages that XAPI makes from the fields, and the where-queries that it hides."""
    if "get_record" not in cls.messages:
        return
    ref, void, text = parse_type(f"{cls.name} ref"), parse_type("void"), parse_type("string")

    def add(name: str, kind: str, params: list[Param], result: Type, item: Field, roles: tuple[str, ...]) -> None:
        if name not in cls.messages:
            cls.messages[name] = Message(
                cls.name, name, params, result, roles=roles, state=item.state, implicit=True, kind=kind, field=item
            )

    if cls.in_db:
        for item in cls.fields.values():
            self_ = Param("self", ref)
            add(f"get_{item.name}", "get_field", [self_], item.type, item, item.readers)
            if item.qualifier != "RW":
                continue
            add(f"set_{item.name}", "set_field", [self_, Param("value", item.type)], void, item, item.setters)
            if item.type.kind == "map":
                key, value = Param("key", item.type.key), Param("value", item.type.item)  # type: ignore[arg-type]
                add(f"add_to_{item.name}", "add_to", [self_, key, value], void, item, item.setters)
                add(f"remove_from_{item.name}", "remove_from", [self_, key], void, item, item.setters)
            elif item.type.kind == "set":
                value = Param("value", item.type.item)  # type: ignore[arg-type]
                add(f"add_{item.name}", "add", [self_, value], void, item, item.setters)
                add(f"remove_{item.name}", "remove", [self_, value], void, item, item.setters)
    everything = cls.messages.get("get_all_records")
    if everything is not None:
        for name, result in (
            ("get_all_where", f"{cls.name} ref set"),
            ("get_all_records_where", everything.result.text),
        ):
            if name not in cls.messages:
                cls.messages[name] = Message(
                    cls.name,
                    name,
                    [Param("expr", text)],
                    parse_type(result),
                    roles=everything.roles,
                    state=everything.state,
                    hidden=True,
                    kind=name if everything.implicit else "",
                )
