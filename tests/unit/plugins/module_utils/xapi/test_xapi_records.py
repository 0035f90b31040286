# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: types whatever the wire, and finding."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timezone
from xmlrpc.client import DateTime

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import (
    Ambiguous,
    NotFound,
    XapiError,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

ROOT = os.path.join(os.path.dirname(__file__), *[".."] * 5)
DATAMODEL = os.path.join(ROOT, "..", "shared", "reference", "xapi-datamodel.json")
TABLES = os.path.join(ROOT, "tests", "xapisim", "tables")
NUMBER = re.compile(r"(?:\(.* -> )?(int|float|datetime)(?:\) map| set)?")


def number_type(text):
    """The type that matters for conversion: of a field, of the members of its set, of the values of its map."""
    match = NUMBER.fullmatch(text)
    return match and match[1]


def kinds():
    """``{class: {field: type}}`` of what the code converts."""
    names = {int: "int", float: "float"}
    return {
        cls: {field: names.get(convert, "datetime") for field, convert in fields.items()}
        for cls, fields in records.TYPES.items()
    }


@pytest.mark.skipif(not os.path.exists(DATAMODEL), reason="no ../shared/reference")
def test_types_against_the_data_model():
    with open(DATAMODEL, encoding="utf-8") as stream:
        model = json.load(stream)
    expected = {
        cls: {field["name"]: number_type(field["type"]) for field in entry["fields"] if number_type(field["type"])}
        for cls, entry in model["classes"].items()
    }
    expected["event"] = {}  # not a record
    assert kinds() == expected
    named = {cls for cls, entry in model["classes"].items() if "name_label" in {f["name"] for f in entry["fields"]}}
    assert named == records.NAMED
    for cls, entry in model["classes"].items():
        spaces = ["name", *model["db_namespaces"].get(cls, [])]
        for field in (item["name"] for item in entry["fields"]):
            space = next((space for space in spaces if field.startswith(f"{space}_")), None)
            expected_column = f"{space}__{field[len(space) + 1 :]}" if space else field
            assert records.column(cls, field) == f'field "{expected_column}"'


def test_types_against_the_simulators_tables():
    seen = {}
    for name in os.listdir(TABLES):
        with open(os.path.join(TABLES, name), encoding="utf-8") as stream:
            for line in stream:
                if line.startswith("class "):
                    fields = seen.setdefault(line[6:].split(";")[0].strip(), {})
                elif line.startswith("field "):
                    field, _colon, rest = line[6:].partition(": ")
                    kind = number_type(rest.split(";")[0].strip())
                    if kind:
                        fields[field] = kind
    seen["event"] = {}
    assert len(seen) > 60
    assert kinds() == seen


VM = {
    "uuid": "5f1e", "name_label": "web <1> & ü", "power_state": "Running", "is_a_template": False,
    "memory_static_max": 2**34, "VCPUs_max": 2, "order": 0, "domid": -1, "HVM_shadow_multiplier": 1.0,
    "other_config": {"mac_seed": "1", "n": "12"}, "tags": ["a", "b"], "VIFs": [], "suspend_VDI": records.NULL,
    "snapshot_time": DateTime("20251121T01:02:03Z"),
}  # fmt: skip
METRICS = {
    "VCPUs_utilisation": {"0": 0.5, "1": 0.0},
    "VCPUs_CPU": {"0": 3},
    "last_updated": DateTime("19700101T00:00:00Z"),
}


def test_both_wires_give_equal_records(server):
    server.methods.update(
        {"VM.get_all_records": {"OpaqueRef:1": VM}, "VM_metrics.get_all_records": {"OpaqueRef:2": METRICS}}
    )
    session = Session(server.url, reference="OpaqueRef:s")
    by_json = {cls: records.records(session, cls) for cls in ("VM", "VM_metrics")}
    server.json = 404
    by_xml = {cls: records.records(session.fork(), cls) for cls in ("VM", "VM_metrics")}
    assert {kind for kind, _name, _params in server.calls} == {"json", "xml"}
    assert by_json == by_xml
    vm = by_xml["VM"]["OpaqueRef:1"]
    assert vm == {**VM, "snapshot_time": datetime(2025, 11, 21, 1, 2, 3, tzinfo=timezone.utc), "ref": "OpaqueRef:1"}
    kinds = {field: vm[field].__class__ for field in ("memory_static_max", "is_a_template", "HVM_shadow_multiplier")}
    assert kinds == {"memory_static_max": int, "is_a_template": bool, "HVM_shadow_multiplier": float}
    metrics = by_xml["VM_metrics"]["OpaqueRef:2"]
    assert metrics["VCPUs_CPU"] == {"0": 3}
    assert records.never(metrics["last_updated"])
    assert not records.never(vm["snapshot_time"])


@pytest.mark.parametrize("text", ["20251121T01:00:00Z", "2025-11-21T01:00:00Z", "20251121T01:00:00"])
def test_dates(text):
    assert records.date(text) == datetime(2025, 11, 21, 1, tzinfo=timezone.utc)


def test_where():
    assert records.where("VM") == "true"
    expression = records.where("VM", name_label="web", memory_static_max=5, is_a_template=False, uuid="x")
    assert expression.split(" and ") == [
        '(field "name__label"="web")',
        '(field "memory__static_max"="5")',
        '(field "is_a_template"="false")',
        '(field "uuid"="x")',
    ]
    assert records.quote('a"b') is None
    assert records.quote(True) == '"true"'
    with pytest.raises(ValueError, match="double quote"):
        records.where("VM", name_label='a"b')


@pytest.fixture
def session(pool):
    with Session(pool["url"], pool["username"], pool["password"]) as session:
        yield session


@pytest.fixture
def networks(session):
    """Three networks: two of the same name, one whose name is the uuid of the first."""

    def create(name):
        ref = session.call(
            "network.create",
            {
                "name_label": name,
                "name_description": "",
                "MTU": 1500,
                "other_config": {},
                "bridge": "",
                "managed": True,
                "tags": [],
            },
        )
        return records.record(session, "network", ref)

    made = [create("twin"), create("twin")]
    made.append(create(made[0]["uuid"]))
    made.append(create('quo"ted'))
    yield made
    for network in made:
        session.call("network.destroy", network["ref"])


def test_find_in_the_simulator(session, networks):
    first, second, shadow, quoted = networks
    assert records.find(session, "network", second["uuid"]) == second
    assert records.find(session, "network", first["uuid"])["ref"] == first["ref"], "the uuid wins over a name"
    assert records.find(session, "network", shadow["uuid"])["name_label"] == first["uuid"]
    assert records.find(session, "network", 'quo"ted')["ref"] == quoted["ref"]
    with pytest.raises(Ambiguous) as caught:
        records.find(session, "network", "twin")
    assert {item["uuid"] for item in caught.value.candidates} == {first["uuid"], second["uuid"]}
    only = records.where("network", bridge=second["bridge"])
    assert records.find(session, "network", "twin", where=only)["ref"] == second["ref"]
    assert records.find(session, "network", "none", required=False) is None
    with pytest.raises(NotFound):
        records.find(session, "network", "none")
    assert records.find(session, "PIF", "none", required=False) is None


def test_every_class_is_alike_on_both_wires(session):
    xml = session.fork()
    xml.bulk = xml.call
    for cls in ("pool", "host", "host_metrics", "network", "PIF", "PIF_metrics", "SR", "SM", "PBD", "VM", "VM_metrics"):
        ours, theirs = records.records(session, cls), records.records(xml, cls)
        for moving in ("last_updated",):
            for record in (*ours.values(), *theirs.values()):
                record.pop(moving, None)
        assert ours == theirs, cls
        assert ours, cls


def test_refused_search_in_the_simulator(session):
    with pytest.raises(XapiError) as caught:
        records.records(session, "VM", "garbage ((")
    assert caught.value.code == "INVALID_VALUE"
    with pytest.raises(XapiError) as caught:
        records.record(session, "VM", "OpaqueRef:none")
    assert (caught.value.code, caught.value.params) == ("HANDLE_INVALID", ["VM", "OpaqueRef:none"])


def test_names_in_messages(session):
    template = next(vm for vm in records.records(session, "VM").values() if vm["is_a_template"])
    with pytest.raises(XapiError) as caught:
        session.call("VM.start", template["ref"], False, False)
    assert caught.value.code == "VM_IS_TEMPLATE"
    assert template["ref"] in str(caught.value)
    assert str(records.name_refs(session, caught.value)) == f"'{template['name_label']}' is a template"
