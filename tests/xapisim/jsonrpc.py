# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON-RPC, versions 1 and 2, as xapi speaks it at /jsonrpc."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from .db import Row
from .types import Type, format_date
from .xmlrpc import Malformed, Records


def _default(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_date(value)
    if isinstance(value, Records):
        return value.plain()
    if isinstance(value, Row):
        return value._values
    raise TypeError(f"{value!r} on the wire")


_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=_default).encode


class JsonCodec:
    """Replies to one request: they carry its version and its id."""

    content_type = "application/json"

    def __init__(self, version: int, request_id: Any) -> None:
        self._v2 = version == 2
        self._id = _encode(request_id)

    def success(self, type_: Type, content: Any) -> bytes:
        """The result: integers and floats are numbers, dates and references strings, void is ""."""
        body = _encode("" if type_.kind == "void" else content)
        if self._v2:
            return f'{{"jsonrpc":"2.0","result":{body},"id":{self._id}}}'.encode()
        return f'{{"result":{body},"error":null,"id":{self._id}}}'.encode()

    def failure(self, error: list[str]) -> bytes:
        """An error: an object with code, message and data in version 2, a list in version 1."""
        if self._v2:
            fault = _encode({"code": 1, "message": error[0], "data": error[1:]})
            return f'{{"jsonrpc":"2.0","error":{fault},"id":{self._id}}}'.encode()
        return f'{{"result":null,"error":{_encode(error)},"id":{self._id}}}'.encode()

    def bare(self, type_: Type, content: Any) -> bytes:
        """JSON knows no difference."""
        return self.success(type_, content)


def decode_call(body: bytes) -> tuple[JsonCodec, str, list[Any]]:
    """The codec for the reply, the method and the parameters. Malformed when it is no such request (or a batch)."""
    try:
        request = json.loads(body)
    except ValueError:
        raise Malformed('Jsonrpc.Malformed_method_request("{jsonrpc=...,method=...,params=...,id=...}")') from None
    if not isinstance(request, dict):
        raise Malformed("Jsonrpc.Malformed_method_request(\"Invalid field 'id' in request body\")")
    request_id = request.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, (int, str)):
        raise Malformed("Jsonrpc.Malformed_method_request(\"Invalid field 'id' in request body\")")
    version = 2 if request.get("jsonrpc") == "2.0" else 1
    method = request.get("method")
    if not isinstance(method, str):
        raise Malformed("Jsonrpc.Malformed_method_request(\"Invalid field 'method' in request body\")")
    params = request.get("params", [])
    if version == 2 and isinstance(params, dict):
        params = [params]
    if not isinstance(params, list):
        raise Malformed("Jsonrpc.Malformed_method_request(\"Invalid field 'params' in request body\")")
    return JsonCodec(version, request_id), method, params
