# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared tables against the facts that were extracted from xapi's own data model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xapisim import schema
from xapisim.schema import Message, Schema

FACTS = Path(__file__).resolve().parents[4] / "shared/reference/xapi-datamodel.json"


@pytest.fixture(scope="module")
def tables() -> Schema:
    return schema.load()


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    if not FACTS.exists():
        pytest.skip(f"the facts are not here: no {FACTS}")
    return json.loads(FACTS.read_text(encoding="utf-8"))


def test_classes_and_their_flags(tables: Schema, facts: dict[str, Any]) -> None:
    ours = {c.name: (c.state, c.in_db, c.events) for c in tables.classes.values()}
    theirs = {
        name: (c.get("state"), c.get("in_db", True), c.get("events", True) and c.get("in_db", True))
        for name, c in facts["classes"].items()
    }
    # message has events, which do not come from the database
    assert ours == {**theirs, "message": (None, False, False)}


def test_fields(tables: Schema, facts: dict[str, Any]) -> None:
    for name, cls in facts["classes"].items():
        ours = [
            (f.name, f.type.text, f.qualifier, f.default_text if f.has_default else None, f.state)
            for f in tables.classes[name].fields.values()
        ]
        theirs = [(f["name"], f["type"], f["qualifier"], f.get("default"), f.get("state")) for f in cls["fields"]]
        assert ours == theirs, name


def _ours(message: Message) -> dict[str, Any]:
    return {
        "params": [(p.name, p.type.text, p.required) for p in message.params],
        "result": message.result.text,
        "implicit": message.implicit,
        "async": message.is_async,
        "session": message.session,
        "state": message.state,
        "errors": message.errors,
        "roles": message.roles,
    }


def _theirs(message: dict[str, Any], roles: list[list[str]]) -> dict[str, Any]:
    return {
        "params": [(p["name"], p["type"], p["required"]) for p in message["params"]],
        "result": message["result"],
        "implicit": message["implicit"],
        "async": message.get("async", False),
        "session": message.get("session", True),
        "state": message.get("state"),
        "errors": tuple(message.get("errors", ())),
        "roles": tuple(roles[message.get("roles", 0)]),
    }


def test_messages(tables: Schema, facts: dict[str, Any]) -> None:
    for name, cls in facts["classes"].items():
        messages = tables.classes[name].messages
        ours = {m.name: _ours(m) for m in messages.values() if not m.hidden}
        theirs = {m["name"]: _theirs(m, facts["roles"]) for m in cls["messages"]}
        assert ours.keys() == theirs.keys(), name
        for key, value in theirs.items():
            assert ours[key] == value, f"{name}.{key}"


def test_hidden_and_internal_messages(tables: Schema, facts: dict[str, Any]) -> None:
    for name, cls in facts["classes"].items():
        messages = tables.classes[name].messages
        queries = {"get_all_where", "get_all_records_where"}
        ours = {
            m.name: ([p.name for p in m.params], m.is_async)
            for m in messages.values()
            if m.hidden and not m.internal and m.name not in queries
        }
        assert ours == {h["name"]: (h["params"], h.get("async", False)) for h in cls.get("hidden", [])}, name
        assert {m.name for m in messages.values() if m.internal} == set(cls.get("pool_internal", [])), name


def test_queries_exist_where_get_all_records_does(tables: Schema, facts: dict[str, Any]) -> None:
    for cls in tables.classes.values():
        wanted = "get_all_records" in cls.messages
        assert ("get_all_records_where" in cls.messages) is wanted, cls.name
        assert ("get_all_where" in cls.messages) is wanted, cls.name


def test_enums_errors_and_numbers(tables: Schema, facts: dict[str, Any]) -> None:
    assert {k: list(v) for k, v in tables.enums.items()} == facts["enums"]
    assert {c.name: c.enums for c in tables.classes.values() if c.enums} == {
        name: c["enums"] for name, c in facts["classes"].items() if c.get("enums")
    }
    undeclared = dict.fromkeys(facts["errors_undeclared_params"])
    assert tables.errors == {**{k: tuple(v) for k, v in facts["errors"].items()}, **undeclared}
    assert tables.sm_errors == facts["sm_errors"]
    assert tables.alerts == facts["alert_message_names"]


def test_relations_and_columns(tables: Schema, facts: dict[str, Any]) -> None:
    assert [list(p) for p in tables.pairs] == facts["relations"]
    spaces = facts["db_namespaces"]
    for cls in tables.classes.values():
        for field in cls.fields.values():
            known = [*spaces["*"], *spaces.get(cls.name, [])]
            space = next((s for s in known if field.name.startswith(f"{s}_")), None)
            column = f"{space}__{field.name[len(space) + 1 :]}" if space else field.name
            assert field.column == column, f"{cls.name}.{field.name}"


def test_roles_of_map_keys(tables: Schema, facts: dict[str, Any]) -> None:
    weakest = {"_R_VM_OP": "vm-operator", "_R_POOL_ADMIN": "pool-admin"}
    for name, cls in facts["classes"].items():
        theirs = {
            field: [(key, schema.roles_from(weakest[role])) for key, role in keys]
            for field, keys in (cls.get("map_key_roles") or {}).items()
        }
        assert tables.classes[name].key_roles == theirs, name
