# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GET and PUT /pool/xmldbdump: the database as XML (pool_db_backup.ml, db_xml.ml).

`<database><manifest><pair key= value=/></manifest><table name=><row ref= field= .../></table></database>`. A map is written
as (('key' 'value') ..), a set as ('a' 'b'), and white space as in xml_spaces.ml. A restored database comes to life with a
reboot of the coordinator.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ..errors import XapiError
from ..http import Request, Response, handler, page
from ..registry import NULL, refresh
from ..types import parse_date

if TYPE_CHECKING:
    from ..pool import Pool
    from ..types import Type

FUSE = 1.0  # simulated seconds until the reboot
SCHEMA = ("5", "784")
_NOT_KEPT = ("session", "task", "role")  # roles are static
_SPACES = {"%": "%%", " ": "%.", "\t": "%t", "\n": "%n", "\r": "%r"}
_TOKEN = re.compile(r"\(|\)|'((?:[^'\\]|\\.)*)'")


def _mapped(text: str) -> str:
    return "".join(_SPACES.get(c, c) for c in text)


def _unmapped(text: str) -> str:
    back = {value: key for key, value in _SPACES.items()}
    return re.sub(r"%.", lambda match: back.get(match[0], match[0]), text)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _text(type_: Type, value: Any) -> str:
    if type_.kind == "set":
        return "(" + " ".join(_quoted(_text(type_.item, v)) for v in value) + ")"  # type: ignore[arg-type]
    if type_.kind == "map":
        pairs = [f"({_quoted(_text(type_.key, k))} {_quoted(_text(type_.item, v))})" for k, v in value.items()]  # type: ignore[arg-type]
        return "(" + " ".join(pairs) + ")"
    if type_.kind == "bool":
        return "true" if value else "false"
    if type_.kind == "datetime":
        return f"{value:%Y%m%dT%H:%M:%SZ}"
    return str(value)


def _nested(text: str) -> list[Any]:
    stack: list[list[Any]] = [[]]
    for match in _TOKEN.finditer(text):
        if match[0] == "(":
            stack.append([])
        elif match[0] == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(re.sub(r"\\(.)", r"\1", match[1]))
    return list(stack[0][0]) if stack[0] else []


def _value(type_: Type, text: str) -> Any:
    if type_.kind == "set":
        return [_value(type_.item, item) for item in _nested(text)]  # type: ignore[arg-type]
    if type_.kind == "map":
        return {_value(type_.key, k): _value(type_.item, v) for k, v in _nested(text)}  # type: ignore[arg-type]
    if type_.kind == "bool":
        return text == "true"
    if type_.kind == "datetime":
        return parse_date(text)
    return int(text) if type_.kind == "int" else float(text) if type_.kind == "float" else text


def _kept(pool: Pool) -> list[str]:
    return [name for name, cls in pool.schema.classes.items() if cls.in_db and name not in _NOT_KEPT]


def dump(pool: Pool) -> bytes:
    """The whole database."""
    root = ElementTree.Element("database")
    manifest = ElementTree.SubElement(root, "manifest")
    for key, value in (
        ("schema_major_vsn", SCHEMA[0]), ("schema_minor_vsn", SCHEMA[1]), ("generation_count", str(pool.db.generation))
    ):  # fmt: skip
        ElementTree.SubElement(manifest, "pair", key=key, value=value)
    for name in _kept(pool):
        table = ElementTree.SubElement(root, "table", name=name)
        fields = pool.schema.classes[name].fields
        for row in pool.db.rows(name):
            values = pool.db.values(row)
            element = ElementTree.SubElement(table, "row", ref=row.ref)
            for field in fields.values():
                if field.name in values:
                    element.set(field.column, _mapped(_text(field.type, values[field.name])))
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _read(pool: Pool, data: bytes) -> dict[str, dict[str, dict[str, Any]]]:
    """{class: {reference: {field: value}}}; RESTORE_* where it does not fit."""
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise XapiError("INTERNAL_ERROR", f"Xmlm.Error({error})") from None
    found = {pair.get("key"): pair.get("value") for pair in root.iter("pair")}
    if (found.get("schema_major_vsn"), found.get("schema_minor_vsn")) != SCHEMA:
        raise XapiError("RESTORE_INCOMPATIBLE_VERSION")
    tables: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in _kept(pool)}
    for table in root.iter("table"):
        name = str(table.get("name"))
        if name not in tables:
            continue
        columns = pool.schema.classes[name].columns
        for row in table.iter("row"):
            known = [(columns[column], text) for column, text in row.items() if column in columns]
            tables[name][str(row.get("ref"))] = {f.name: _value(f.type, _unmapped(text)) for f, text in known}
    macs = {pif.MAC for pif in pool.db.rows("PIF", host=pool.master) if pif.physical}
    if not macs & {str(pif.get("MAC")) for pif in tables["PIF"].values()}:
        raise XapiError("RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP")
    return tables


def _restore(pool: Pool, tables: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Make the database what it was; links between rows last, when all rows are there."""
    db, relations = pool.db, pool.schema.relations
    for name, rows in tables.items():
        for row in db.rows(name):
            if row.ref not in rows:
                db.destroy(row)
    links = []
    for name, rows in tables.items():
        for ref, values in rows.items():
            mine = db.maybe(name, ref)
            plain = {k: v for k, v in values.items() if (name, k) not in relations}
            row = mine or db.create(name, ref=ref, **plain)
            if mine is not None:
                for key, value in plain.items():
                    db.set(row, key, value)
            links += [(row, k, v) for k, v in values.items() if (name, k) in relations]
    for row, key, value in links:
        cls, other, kind = relations[row.cls, key]
        if kind == "one":
            db.set(row, key, value if value in tables.get(cls, {}) else NULL)
        elif relations[cls, other][2] == "many":
            db.set(row, key, value)
    for name in tables:
        for row in db.rows(name):
            refresh(row)


@handler("GET", "/pool/xmldbdump", "get_pool_xml_db_sync", role="pool-admin")
def get_database(request: Request) -> Response:
    pool = request.pool
    with pool.lock:
        if request.task is not None:
            pool.tasks.succeed(request.task, "")
        return Response(200, dump(pool), "text/xml; charset=utf-8")


@handler("PUT", "/pool/xmldbdump", "put_pool_xml_db_sync", role="pool-admin")
def put_database(request: Request) -> Response:
    """With `dry_run` in the query it is only looked at. Else the coordinator reboots with it."""
    pool, data = request.pool, request.stream.read(request.length)
    with pool.lock:
        try:
            tables = _read(pool, data)
        except XapiError as error:
            if request.task is not None:
                pool.tasks.fail(request.task, error)
            return page(500, "internal server error", str(error))
        if request.task is not None:
            pool.tasks.succeed(request.task, "")
        if "dry_run" not in request.query:
            pool.clock.later(FUSE, lambda: _reboot(pool, tables))
    return Response(200)


def _reboot(pool: Pool, tables: dict[str, dict[str, dict[str, Any]]]) -> None:
    from .host_power import boot_later

    host = pool.master
    pool.crash(host)
    _restore(pool, tables)
    boot_later(pool, host)
