# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XAPI's types: parsing of their notation, defaults, and decoding of wire values.

A wire value ("rpc value") is what both decoders produce: None, bool, int, float, str, WireDate, list or dict.
Messages of decoding errors are those of ocaml-rpc, printed by xapi inside INTERNAL_ERROR.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from functools import cache
from typing import Any

from .errors import internal

NULL = "OpaqueRef:NULL"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class WireDate(str):
    """Text of a dateTime.iso8601 element."""

    __slots__ = ()


class Type:
    """One type. kind: string int bool float datetime void any ref record enum set map option batch."""

    __slots__ = ("fields", "item", "key", "kind", "name", "text", "values", "xml")

    def __init__(self, kind: str, text: str, name: str = "", item: Type | None = None, key: Type | None = None) -> None:
        self.kind = kind
        self.text = text
        self.name = name  # class of a ref or record, name of an enum
        self.item = item  # element of a set or option, value of a map
        self.key = key
        self.values: tuple[str, ...] = ()  # of an enum, filled in by the schema
        self.fields: dict[str, Type] | None = None  # of a record that is no row of the database, by the schema
        self.xml: Any = None  # encoder, built on first use by xmlrpc.py

    def __repr__(self) -> str:
        return f"Type({self.text})"

    def zero(self) -> Any:
        """Value of a field that nobody has set and that has no default."""
        kind = self.kind
        if kind in ("string", "void", "any"):
            return ""
        if kind == "int":
            return 0
        if kind == "float":
            return 0.0
        if kind == "bool":
            return False
        if kind == "datetime":
            return EPOCH
        if kind == "ref":
            return NULL
        if kind == "enum":
            return self.values[0]
        if kind == "map":
            return {}
        if kind == "option":
            return None
        return []

    def literal(self, text: str) -> Any:
        """Python value of a default as the tables write it."""
        kind = self.kind
        if kind in ("set", "map"):
            inner = text.strip("{}").strip()
            if not inner or text == "Null":
                return self.zero()
            parts = [p.strip() for p in inner.split(",")]
            if kind == "set":
                return [self.item.literal(p) for p in parts]  # type: ignore[union-attr]
            pairs = [p.split("->") for p in parts]
            return {self.key.literal(k.strip()): self.item.literal(v.strip()) for k, v in pairs}  # type: ignore[union-attr]
        if text == "Null":
            return self.zero()
        if kind == "string":
            return text[1:-1] if text.startswith('"') else text
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        if kind == "bool":
            return text == "true"
        if kind == "datetime":
            return parse_date(text)
        return text

    def decode(self, value: Any) -> Any:
        """Python value of a wire value, or the INTERNAL_ERROR that xapi gives."""
        return _DECODERS[self.kind](self, value)

    def plain(self, value: Any) -> Any:
        """The result of a behaviour with every Row replaced by its reference, and options by sets of at most one."""
        kind = self.kind
        if kind == "ref":
            return NULL if value is None else value if isinstance(value, str) else value.ref
        if kind == "set":
            return [self.item.plain(v) for v in value]  # type: ignore[union-attr]
        if kind == "map":
            return {self.key.plain(k): self.item.plain(v) for k, v in value.items()}  # type: ignore[union-attr]
        if kind == "void":
            return ""
        if kind == "option":
            return [] if value is None else [self.item.plain(value)]  # type: ignore[union-attr]
        if kind == "record":
            if not isinstance(value, dict):
                return value.record()
            if self.fields is not None:
                return {name: type_.plain(value[name]) for name, type_ in self.fields.items()}
        return value


def describe(value: Any) -> str:
    """A wire value as ocaml-rpc's Rpc.to_string prints it."""
    if value is None:
        return "N"
    if isinstance(value, bool):
        return f"B({'true' if value else 'false'})"
    if isinstance(value, int):
        return f"I({value})"
    if isinstance(value, float):
        return f"F({value:.12g})"
    if isinstance(value, WireDate):
        return f"D({value})"
    if isinstance(value, str):
        return f"S({value})"
    if isinstance(value, (bytes, bytearray)):
        return f"B64({value.decode('latin-1')})"
    if isinstance(value, list):
        return "[" + ";".join(describe(v) for v in value) + "]"
    return "{" + ";".join(f"{k}:{describe(v)}" for k, v in value.items()) + "}"


def _expected(what: str, value: Any) -> Exception:
    return internal(f"Failure(\"Expected {what}, got '{describe(value)}'\")")


def _string(_type: Type, value: Any) -> str:
    if isinstance(value, str) and not isinstance(value, WireDate):
        return value
    raise _expected("string", value)


_INT = re.compile(r"^(-?)(?:0[uU])?(0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*)$")


def _int(_type: Type, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        found = _INT.match(value)
        if found:
            digits = found.group(2).replace("_", "").lower()
            number = int(digits, 0 if digits[:2] in ("0x", "0o", "0b") else 10)
            number = -number if found.group(1) else number
            if -(2**63) <= number < 2**63:
                return number
            if digits.startswith("0x") and number < 2**64:  # OCaml lets hexadecimal wrap round
                return number - 2**64
        raise internal('Failure("Int64.of_string")')
    raise _expected("int64", value)


def _float(_type: Type, value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value.replace("_", ""))
        except ValueError:
            raise internal('Failure("float_of_string")') from None
    raise _expected("float", value)


def _bool(_type: Type, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _expected("bool", value)


def _datetime(_type: Type, value: Any) -> datetime:
    if not isinstance(value, str):
        raise _expected("DateTime", value)
    try:
        return parse_date(value)
    except ValueError:
        raise internal(f'Invalid_argument("Date.of_iso8601: {value}")') from None


def _enum(type_: Type, value: Any) -> str:
    if isinstance(value, str):
        if value in type_.values:
            return value
        folded = value.lower()
        for known in type_.values:
            if known.lower() == folded:
                return known
    raise internal('Failure("Unknown tag/contents")')


def _set(type_: Type, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise internal(f"Failure(\"Expecting Rpc.Enum, but found '{describe(value)}'\")")
    item = type_.item
    return [item.decode(v) for v in value]  # type: ignore[union-attr]


def _map(type_: Type, value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise internal(f"Failure(\"Expecting Rpc.Dict, but found '{describe(value)}'\")")
    key, item = type_.key, type_.item
    return {key.decode(k): item.decode(v) for k, v in value.items()}  # type: ignore[union-attr]


def _record(_type: Type, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise internal(f"Failure(\"Expecting Rpc.Dict, but found '{describe(value)}'\")")
    return value


def _option(type_: Type, value: Any) -> Any:
    if not value:
        return None
    return type_.item.decode(value[0])  # type: ignore[union-attr]


_DECODERS = {
    "string": _string,
    "ref": _string,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "datetime": _datetime,
    "enum": _enum,
    "set": _set,
    "map": _map,
    "record": _record,
    "option": _option,
    "any": lambda _type, value: value,
    "void": lambda _type, value: value,
}

_DATE = re.compile(r"^(\d{4})-?(\d\d)-?(\d\d)(?:T(\d\d):?(\d\d)(?::?(\d\d)(?:\.(\d+))?)?)?(Z|[+-]\d\d(?::?\d\d)?)?$")


def parse_date(text: str) -> datetime:
    """An aware datetime from iso8601 with or without dashes and zone (no zone: UTC). ValueError when it is none."""
    found = _DATE.match(text)
    if not found:
        raise ValueError(text)
    year, month, day, hour, minute, second, _fraction, zone = found.groups()
    moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))
    if zone in (None, "Z"):
        return moment.replace(tzinfo=timezone.utc)
    return datetime.strptime(
        moment.strftime("%Y%m%dT%H%M%S") + (zone if len(zone) > 3 else zone + "00").replace(":", ""), "%Y%m%dT%H%M%S%z"
    ).astimezone(timezone.utc)


def format_date(moment: datetime) -> str:
    """XAPI's form of a date, `19700101T00:00:00Z`."""
    if moment is EPOCH:
        return "19700101T00:00:00Z"
    return moment.strftime("%Y%m%dT%H:%M:%SZ")


_TOKEN = re.compile(r"\s*(\(|\)|->|[^\s()]+)")


@cache
def parse_type(text: str) -> Type:
    """The Type of a notation such as `(string -> enum vm_operations) map` or `VM ref set`."""
    if text == "an event batch":
        return Type("batch", text)
    tokens = _TOKEN.findall(text)
    type_, rest = _parse(tokens, text)
    if rest:
        raise ValueError(f"type {text!r}: {rest} left over")
    return type_


_SIMPLE = {"string", "int", "bool", "float", "datetime", "void", "any"}


def _parse(tokens: list[str], text: str) -> tuple[Type, list[str]]:
    first, rest = tokens[0], tokens[1:]
    if first == "(":
        key, rest = _parse(rest, text)
        item, rest = _parse(rest[1:], text)
        type_ = parse_canonical("map", f"({key.text} -> {item.text}) map", item=item, key=key)
        rest = rest[2:]  # ")" and "map"
    elif first in _SIMPLE:
        type_ = parse_canonical(first, first)
    elif first == "enum":
        type_, rest = parse_canonical("enum", f"enum {rest[0]}", name=rest[0]), rest[1:]
    elif rest and rest[0] in ("ref", "record"):
        type_, rest = parse_canonical(rest[0], f"{first} {rest[0]}", name=first), rest[1:]
    else:
        raise ValueError(f"type {text!r}: {first!r}")
    while rest and rest[0] in ("set", "option"):
        type_, rest = parse_canonical(rest[0], f"{type_.text} {rest[0]}", item=type_), rest[1:]
    return type_, rest


_CANONICAL: dict[str, Type] = {}


def parse_canonical(kind: str, text: str, name: str = "", item: Type | None = None, key: Type | None = None) -> Type:
    """One object per distinct type, so that enum values and encoders are attached once."""
    known = _CANONICAL.get(text)
    if known is None:
        known = _CANONICAL[text] = Type(kind, text, name, item, key)
    return known
