# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where-expressions, held against records that were read already, as XAPI does (xen-api: ocaml/database/db_filter_parse.mly)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Holds = Callable[[Mapping[str, Any]], bool]

_TOKEN = re.compile(r'\s*(?:(?P<word>\(|\)|and\b|or\b|true\b|false\b)|field\s*"(?P<field>\w+)"\s*=\s*"(?P<value>[^"]*)")')


class _Unknown(Exception):
    """Something that only XAPI can answer."""


def condition(text: str) -> Holds | None:
    """Whether a raw record (with its reference as `_ref`) fulfils an expression. None for what is more than fields of one value."""
    tokens, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if not match:
            return None
        tokens.append(match)
        place = match.end()
    try:
        holds = _either(tokens)
    except _Unknown:
        return None
    return None if tokens else holds


def _either(tokens: list[re.Match[str]]) -> Holds:
    """Terms with "and" and "or" between them, which have the same precedence, from left to right."""
    holds = _term(tokens)
    while tokens and tokens[0]["word"] in ("and", "or"):
        holds = _joined(tokens.pop(0)["word"], holds, _term(tokens))
    return holds


def _joined(word: str, left: Holds, right: Holds) -> Holds:
    if word == "and":
        return lambda record: left(record) and right(record)
    return lambda record: left(record) or right(record)


def _term(tokens: list[re.Match[str]]) -> Holds:
    if not tokens:
        raise _Unknown
    token = tokens.pop(0)
    if token["word"] == "(":
        holds = _either(tokens)
        if not tokens or tokens.pop(0)["word"] != ")":
            raise _Unknown
        return holds
    if token["word"] in ("true", "false"):
        answer = token["word"] == "true"
        return lambda record: answer
    if token["word"]:
        raise _Unknown
    name, value = token["field"].replace("__", "_"), token["value"]
    return lambda record: _text(record.get(name)) == value


def _text(value: Any) -> str | None:
    """A value as the database has it; None for sets and maps, which nobody compares so, and for what is not there."""
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None or isinstance(value, (list, dict)) else str(value)
