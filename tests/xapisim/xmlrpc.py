# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XML-RPC as ocaml-rpc writes and reads it, byte for byte.

Integers and strings go out untyped, <i4> only for counts of events. An encoder is built once for each type.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import Any
from xml.parsers import expat

from . import schema
from .db import Row
from .types import NULL, Type, WireDate, format_date, parse_type

Encoder = Callable[[Any], str]


class BadText(str):
    """A string parameter that was not UTF-8."""

    __slots__ = ()


class Malformed(Exception):
    """The request is not XML-RPC."""


class Records:
    """All fields of some rows of a class, to be encoded without a copy."""

    __slots__ = ("rows",)

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = rows

    def plain(self) -> dict[str, dict[str, Any]]:
        """The live values by reference, not to be changed."""
        return {row.ref: row._values for row in self.rows}


# -- encoding

_SPECIAL = re.compile(r"[&<>\"\x00-\x08\x0b\x0c\x0e-\x1f]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def escape(text: str) -> str:
    """Text with the four special characters as entities; control characters are dropped."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found.group(), ""), text)


def _string(value: Any) -> str:
    return f"<value>{escape(value)}</value>" if value else "<value></value>"


def _bool(value: Any) -> str:
    return "<value><boolean>1</boolean></value>" if value else "<value><boolean>0</boolean></value>"


def _ref(value: Any) -> str:
    return f"<value>{value or NULL}</value>" if isinstance(value, str) else f"<value>{value.ref}</value>"


_LEAVES: dict[str, Encoder] = {
    "string": _string,
    "any": _string,
    "enum": lambda value: f"<value>{value}</value>",
    "ref": _ref,
    "int": lambda value: f"<value>{value}</value>",
    "bool": _bool,
    "float": lambda value: f"<value><double>{value:.16g}</double></value>",
    "datetime": lambda value: f"<value><dateTime.iso8601>{format_date(value)}</dateTime.iso8601></value>",
    "void": lambda value: "<value></value>",
}


def encoder(type_: Type) -> Encoder:
    """The function that writes a <value> of a type."""
    if type_.xml is None:
        type_.xml = _LEAVES.get(type_.kind) or _COMPOUND[type_.kind](type_)
    return type_.xml


def value(type_: Type, content: Any) -> str:
    """One <value> element."""
    return encoder(type_)(content)


def _set(type_: Type) -> Encoder:
    item = encoder(type_.item)  # type: ignore[arg-type]

    def encode(content: Any) -> str:
        if not content:
            return "<value><array><data></data></array></value>"
        return f"<value><array><data>{''.join([item(v) for v in content])}</data></array></value>"

    return encode


def _map(type_: Type) -> Encoder:
    item = encoder(type_.item)  # type: ignore[arg-type]

    def encode(content: Any) -> str:
        if isinstance(content, Records):
            members = [f"<member><name>{row.ref}</name>{_row(row)}</member>" for row in content.rows]
        elif content:
            members = [f"<member><name>{escape(str(k))}</name>{item(v)}</member>" for k, v in content.items()]
        else:
            return "<value><struct></struct></value>"
        return f"<value><struct>{''.join(members)}</struct></value>"

    return encode


def _row(row: Row) -> str:
    if row.xml_cache is None:
        text = encoder(parse_type(f"{row.cls} record"))(row._values)
        object.__setattr__(row, "xml_cache", text)
    return row.xml_cache


def _record(type_: Type) -> Encoder:
    if type_.name == "event":
        return _event
    fields = [
        (f.name, f"<member><name>{f.name}</name>", encoder(f.type))
        for f in schema.load().classes[type_.name].fields.values()
    ]

    def encode(content: Any) -> str:
        members = "".join([f"{start}{write(content[name])}</member>" for name, start, write in fields])
        return f"<value><struct>{members}</struct></value>"

    return encode


def _member(name: str, content: str) -> str:
    return f"<member><name>{name}</name>{content}</member>"


def _event(event: dict[str, Any]) -> str:
    """One event: id, timestamp, class, operation, ref and, unless it was a deletion, snapshot."""
    text = "".join(
        _member(k, f"<value>{escape(str(event[k]))}</value>") for k in ("id", "timestamp", "class", "operation", "ref")
    )
    if "snapshot" in event:
        content = event["snapshot"]
        text += _member("snapshot", _row(content) if isinstance(content, Row) else _plain_snapshot(content))
    return f"<value><struct>{text}</struct></value>"


def _plain_snapshot(content: dict[str, Any]) -> str:
    return value(parse_type("message record"), content)  # the only class with events that is not in the database


def _batch(type_: Type) -> Encoder:
    def encode(content: dict[str, Any]) -> str:
        events = "".join(map(_event, content["events"]))
        counts = "".join(_member(k, f"<value><i4>{v}</i4></value>") for k, v in content["valid_ref_counts"].items())
        return (
            "<value><struct>"
            + _member("events", f"<value><array><data>{events}</data></array></value>")
            + _member("valid_ref_counts", f"<value><struct>{counts}</struct></value>")
            + _member("token", f"<value>{content['token']}</value>")
            + "</struct></value>"
        )

    return encode


_COMPOUND: dict[str, Callable[[Type], Encoder]] = {
    "set": _set,
    "map": _map,
    "record": _record,
    "option": _set,  # none or one
    "batch": _batch,
}

_HEAD = '<?xml version="1.0"?><methodResponse><params><param>'
_TAIL = "</param></params></methodResponse>"
_SUCCESS = f"{_HEAD}<value><struct><member><name>Status</name><value>Success</value></member><member><name>Value</name>"
_FAILURE = (
    f"{_HEAD}<value><struct><member><name>Status</name><value>Failure</value></member>"
    "<member><name>ErrorDescription</name><value><array><data>"
)
_END = f"</member></struct></value>{_TAIL}"


class XmlCodec:
    """Replies in XML-RPC."""

    content_type = "text/xml"

    def success(self, type_: Type, content: Any) -> bytes:
        """Status Success."""
        return f"{_SUCCESS}{encoder(type_)(content)}{_END}".encode()

    def failure(self, error: list[str]) -> bytes:
        """Status Failure with the error's code and parameters."""
        return f"{_FAILURE}{''.join(map(_string, error))}</data></array></value>{_END}".encode()

    def bare(self, type_: Type, content: Any) -> bytes:
        """A value without the Status envelope (system.listMethods)."""
        return f"{_HEAD}{encoder(type_)(content)}{_TAIL}".encode()


# -- decoding


class _Reader:
    """Expat handlers that build the parameters of a methodCall."""

    def __init__(self, encoding: str | None) -> None:
        self.method = ""
        self.params: list[Any] = []
        self._text: list[str] = []
        self._stack: list[Any] = []  # open arrays (list) and structs (dict with pending name)
        self._names: list[str] = []
        self._value: Any = None
        self._typed = False
        self._encoding = encoding
        parser = self.parser = expat.ParserCreate(encoding)
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append

    def _start(self, tag: str, _attributes: dict[str, str]) -> None:
        self._text.clear()
        if tag == "value":
            self._typed = False
        elif tag == "array":
            self._stack.append([])
        elif tag == "struct":
            self._stack.append({})

    def _string(self, text: str) -> str:
        if self._encoding is None:
            return text
        raw = text.encode("latin-1")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return BadText(raw.decode(errors="replace"))

    def _end(self, tag: str) -> None:
        text = "".join(self._text)
        if tag == "value":
            if not self._typed:
                self._value = self._string(text)
            self._typed = True
            if self._stack and isinstance(self._stack[-1], list):
                self._stack[-1].append(self._value)
        elif tag == "methodName":
            self.method = text.strip()
        elif tag == "param":
            self.params.append(self._value)
        elif tag == "name":
            self._names.append(self._string(text))
        elif tag == "member":
            self._stack[-1][self._names.pop()] = self._value
        elif tag in ("array", "struct"):
            self._value, self._typed = self._stack.pop(), True
        elif tag in _SCALARS:
            self._value, self._typed = _SCALARS[tag](text), True
        elif tag == "string":
            self._value, self._typed = self._string(text), True
        self._text.clear()


_SCALARS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "i4": int,
    "i8": int,
    "boolean": lambda text: text.strip() == "1",
    "double": float,
    "dateTime.iso8601": WireDate,
    "base64": b64decode,
    "nil": lambda text: None,
}


def decode_call(body: bytes) -> tuple[str, list[Any]]:
    """Method name and parameters of a methodCall. Malformed when it is none."""
    try:
        body.decode()
        reader = _Reader(None)
    except UnicodeDecodeError:
        reader = _Reader("iso-8859-1")
    try:
        reader.parser.Parse(body, True)
    except (expat.ExpatError, ValueError, IndexError, AttributeError, TypeError) as error:
        at = f"{getattr(error, 'lineno', 1)}:{getattr(error, 'offset', 0) + 1}"
        raise Malformed(f'Xmlm.Error({at}, "expected root element")') from None
    if not reader.method:
        raise Malformed('Failure("Xmlrpc.call_of_string")')
    return reader.method, reader.params
