# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""where-queries: the expressions of get_all_where and get_all_records_where.

Grammar as xapi's parser has it: `and` and `or` share one precedence and associate to the left, `not` takes everything
to its right, strings are in double quotes without escapes, and the only comparison is `=`, of database strings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .db import Row
from .errors import XapiError, internal
from .schema import Class
from .types import Type, format_date

Predicate = Callable[[str, dict[str, Any]], bool]  # (reference, field values) -> matches
_TOKEN = re.compile(r'\s*(?:(field|and|or|not|true|false|=|\(|\))|"([^"]*)")')
_BLANK = re.compile(r"\s*$")


def db_string(type_: Type, value: Any) -> str:
    """A value as xapi's database stores it."""
    kind = type_.kind
    if kind == "bool":
        return "true" if value else "false"
    if kind == "datetime":
        return format_date(value)
    if kind == "float":
        return f"{value:.16g}"
    if kind == "set":
        return "(" + " ".join(_quoted(db_string(type_.item, v)) for v in value) + ")"  # type: ignore[arg-type]
    if kind == "map":
        pairs = (
            f"({_quoted(db_string(type_.key, k))} {_quoted(db_string(type_.item, v))})"  # type: ignore[arg-type]
            for k, v in value.items()
        )
        return "(" + " ".join(pairs) + ")"
    return str(value)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def select(cls: Class, rows: dict[str, Row], values: Callable[[Row], dict[str, Any]], text: str) -> list[Row]:
    """The rows that the expression matches. INVALID_VALUE [text, reason] when it does not parse."""
    matches = _Parser(cls, text).predicate
    return [row for ref, row in rows.items() if matches(ref, values(row))]


class _Parser:
    def __init__(self, cls: Class, text: str) -> None:
        self._cls = cls
        self._text = text
        self._tokens = self._scan()
        self.predicate = self._expression()
        if self._tokens:
            raise self._error()

    def _error(self, reason: str = "Stdlib.Parsing.Parse_error") -> XapiError:
        return XapiError("INVALID_VALUE", self._text, reason)

    def _scan(self) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        at = 0
        while not _BLANK.match(self._text, at):
            found = _TOKEN.match(self._text, at)
            if not found:
                raise self._error('Failure("lexing: empty token")')
            tokens.append(("word", found.group(1)) if found.group(1) else ("text", found.group(2)))
            at = found.end()
        tokens.reverse()  # so that the next one is popped from the end
        return tokens

    def _next(self) -> tuple[str, str]:
        if not self._tokens:
            raise self._error()
        return self._tokens.pop()

    def _peek(self) -> tuple[str, str]:
        return self._tokens[-1] if self._tokens else ("end", "")

    def _expression(self) -> Predicate:
        left = self._operand()
        while self._peek() in (("word", "and"), ("word", "or")):
            both = self._next()[1] == "and"
            left = _joined(left, self._operand(), both)
        return left

    def _operand(self) -> Predicate:
        token = self._peek()
        if token == ("word", "not"):
            self._next()
            inner = self._expression()
            return lambda ref, values: not inner(ref, values)
        if token == ("word", "("):
            self._next()
            inner = self._expression()
            if self._next() != ("word", ")"):
                raise self._error()
            return inner
        if token in (("word", "true"), ("word", "false")):
            answer = self._next()[1] == "true"
            return lambda ref, values: answer
        left = self._value()
        if self._next() != ("word", "="):
            raise self._error()
        right = self._value()
        return lambda ref, values: left(ref, values) == right(ref, values)

    def _value(self) -> Callable[[str, dict[str, Any]], str]:
        kind, text = self._next()
        if kind == "text":
            return lambda ref, values: text
        if (kind, text) != ("word", "field"):
            raise self._error()
        kind, column = self._next()
        if kind != "text":
            raise self._error()
        if column in ("_ref", "ref"):
            return lambda ref, values: ref
        field = self._cls.columns.get(column)
        if field is None:
            raise internal(f'Db_exn.DBCache_NotFound("missing column", "{self._cls.name}", "{column}")')
        name, type_ = field.name, field.type
        if type_.kind in ("string", "ref", "enum"):
            return lambda ref, values: values[name]
        return lambda ref, values: db_string(type_, values[name])


def _joined(left: Predicate, right: Predicate, both: bool) -> Predicate:
    if both:
        return lambda ref, values: left(ref, values) and right(ref, values)
    return lambda ref, values: left(ref, values) or right(ref, values)
