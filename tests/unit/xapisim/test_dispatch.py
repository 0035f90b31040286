# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals in xapi's order, with its codes and texts (reference: xapi-captured.md, xapi-behaviour.md section 1.1)."""

from __future__ import annotations

from typing import Any

import pytest

NULL = "OpaqueRef:NULL"
S = "<session>"


@pytest.fixture(scope="module")
def vm(sim: Any) -> str:
    template = next(r for r in sim.call("VM.get_all_records").values() if r["is_a_template"])
    record = {k: v for k, v in template.items() if k not in ("is_a_template", "name_label")}
    record["other_config"] = {}
    return sim.call("VM.create", {**record, "name_label": "vm1", "is_a_template": False})


@pytest.mark.parametrize(
    ("method", "params", "error"),
    [
        ("VM.nope", [S], ["MESSAGE_METHOD_UNKNOWN", "VM.nope"]),
        ("Foo.bar", [S], ["MESSAGE_METHOD_UNKNOWN", "Foo.bar"]),
        ("VM.set_uuid", [S, "vm", "x"], ["MESSAGE_METHOD_UNKNOWN", "VM.set_uuid"]),
        ("VM.nope", ["OpaqueRef:nosuch"], ["SESSION_INVALID", "OpaqueRef:nosuch"]),
        ("VM.nope", [], ["MESSAGE_METHOD_UNKNOWN", "VM.nope"]),
        ("VM.get_record", [S], ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.get_record", "1", "0"]),
        ("VM.get_record", [S, "vm", "x"], ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.get_record", "1", "2"]),
        ("VM.get_all", [], ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.get_all", "0", "-1"]),
        (
            "session.login_with_password",
            ["root"],
            ["MESSAGE_PARAMETER_COUNT_MISMATCH", "session.login_with_password", "2", "1"],
        ),
        ("VM.get_record", [S, "OpaqueRef:bogus"], ["HANDLE_INVALID", "VM", "OpaqueRef:bogus"]),
        ("VM.get_record", [S, NULL], ["HANDLE_INVALID", "VM", NULL]),
        ("VM.get_record", [S, ""], ["HANDLE_INVALID", "VM", ""]),
        ("VM.set_name_label", [S, "OpaqueRef:bogus", "x"], ["HANDLE_INVALID", "VM", "OpaqueRef:bogus"]),
        ("VM.get_by_uuid", [S, "deadbeef"], ["UUID_INVALID", "VM", "deadbeef"]),
        ("VM.get_all", ["OpaqueRef:nosuch"], ["SESSION_INVALID", "OpaqueRef:nosuch"]),
        ("VM.get_all", [""], ["SESSION_INVALID", ""]),
        ("VM.get_all", [5], ["INTERNAL_ERROR", "Failure(\"Expected string, got 'I(5)'\")"]),
        ("VM.get_record", [S, 5], ["INTERNAL_ERROR", "Failure(\"Expected string, got 'I(5)'\")"]),
        ("VM.set_name_label", [S, "vm", 5], ["INTERNAL_ERROR", "Failure(\"Expected string, got 'I(5)'\")"]),
        # decoding comes before the session
        ("VM.set_name_label", ["nosuch", "vm", 5], ["INTERNAL_ERROR", "Failure(\"Expected string, got 'I(5)'\")"]),
        ("VM.set_is_a_template", [S, "vm", "true"], ["INTERNAL_ERROR", "Failure(\"Expected bool, got 'S(true)'\")"]),
        ("VM.set_VCPUs_max", [S, "vm", "abc"], ["INTERNAL_ERROR", 'Failure("Int64.of_string")']),
        ("VM.set_VCPUs_max", [S, "vm", str(2**63)], ["INTERNAL_ERROR", 'Failure("Int64.of_string")']),
        ("VM.set_actions_after_crash", [S, "vm", "bogus"], ["INTERNAL_ERROR", 'Failure("Unknown tag/contents")']),
        (
            "VM.set_other_config",
            [S, "vm", []],
            ["INTERNAL_ERROR", "Failure(\"Expecting Rpc.Dict, but found '[]'\")"],
        ),
        ("VM.set_tags", [S, "vm", {}], ["INTERNAL_ERROR", "Failure(\"Expecting Rpc.Enum, but found '{}'\")"]),
        ("VM.set_tags", [S, "vm", "a"], ["INTERNAL_ERROR", "Failure(\"Expecting Rpc.Enum, but found 'S(a)'\")"]),
        ("VM.create", [S, {}], ["INTERNAL_ERROR", 'Server_helpers.Dispatcher_FieldNotFound("user_version")']),
        ("VMPP.get_all", [S], ["MESSAGE_REMOVED"]),
        ("VMPP.get_all", ["nosuch"], ["SESSION_INVALID", "nosuch"]),
        (
            "host.notify",
            [S],
            ["INTERNAL_ERROR", 'Internal API "host.notify" call attempted with non-pool (external) session'],
        ),
        ("Async.VM.get_record", [S, "vm"], ["Fault", "No async mode for this operation (rpc: VM.get_record)"]),
        (
            "session.login_with_password",
            ["root", "bad"],
            ["SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure"],
        ),
        (
            "VM.get_all_records_where",
            [S, "garbage (("],
            ["INVALID_VALUE", "garbage ((", 'Failure("lexing: empty token")'],
        ),
        ("event.from", [S, ["vm"], "xyz", 0.0], ["EVENT_FROM_TOKEN_PARSE_FAILURE", "xyz"]),
        ("event.inject", [S, "VM", "OpaqueRef:bogus"], ["HANDLE_INVALID", "VM", "OpaqueRef:bogus"]),
        ("task.get_record", [S, "OpaqueRef:bogus"], ["HANDLE_INVALID", "task", "OpaqueRef:bogus"]),
        ("message.create", [S, "x", 1, "VM", "deadbeef", ""], ["UUID_INVALID", "VM", "deadbeef"]),
        ("message.get_record", [S, "OpaqueRef:bogus"], ["HANDLE_INVALID", "message", "OpaqueRef:bogus"]),
        ("subject.create", [S, {"subject_identifier": "x"}], ["AUTH_IS_DISABLED"]),
    ],
)
def test_refusals(sim: Any, vm: str, method: str, params: list[Any], error: list[str]) -> None:
    known = {S: sim.session, "vm": vm}
    assert sim.error(method, *[known.get(p, p) if isinstance(p, str) else p for p in params]) == error


def test_surplus_arguments_are_ignored_only_after_optional_ones(sim: Any) -> None:
    password = sim.pool.sessions.users["root"].password
    assert sim.ok("session.login_with_password", "root", password, "2.0", "me", "surplus").startswith("OpaqueRef:")


def test_a_pool_reference_is_no_vm(sim: Any) -> None:
    pool = sim.call("pool.get_all")[0]
    assert sim.refused("VM.get_record", pool) == ["HANDLE_INVALID", "VM", pool]


def test_maps(sim: Any, vm: str) -> None:
    sim.call("VM.add_to_other_config", vm, "kk", "vv")
    assert sim.refused("VM.add_to_other_config", vm, "kk", "vv") == [
        "MAP_DUPLICATE_KEY",
        "VM",
        "other_config",
        vm,
        "kk",
    ]
    assert sim.call("VM.get_other_config", vm)["kk"] == "vv"
    sim.call("VM.remove_from_other_config", vm, "kk")
    sim.call("VM.remove_from_other_config", vm, "kk")
    assert "kk" not in sim.call("VM.get_other_config", vm)


def test_sets(sim: Any, vm: str) -> None:
    sim.call("VM.add_tags", vm, "a")
    sim.call("VM.add_tags", vm, "a")
    assert sim.call("VM.get_tags", vm) == ["a"]
    sim.call("VM.set_tags", vm, ["b", "b"])
    assert sim.call("VM.get_tags", vm) == ["b", "b"]
    sim.call("VM.remove_tags", vm, "b")
    assert sim.call("VM.get_tags", vm) == []


def test_lenient_input(sim: Any, vm: str) -> None:
    sim.call("VM.set_user_version", vm, "0x10")
    assert sim.call("VM.get_user_version", vm) == 16
    sim.call("VM.set_user_version", vm, 2**40)
    assert sim.call("VM.get_user_version", vm) == 2**40
    sim.call("VM.set_actions_after_crash", vm, "Destroy")
    assert sim.call("VM.get_actions_after_crash", vm) == "destroy"


def test_names_with_underscores_dispatch(sim: Any) -> None:
    assert sim.call("host_metrics_get_all") == sim.call("host_metrics.get_all")
    assert sim.call("VM_get_all") == sim.call("VM.get_all")


def test_every_class_with_records_answers(sim: Any) -> None:
    for cls in sim.pool.schema.classes.values():
        everything = cls.messages.get("get_all_records")
        if everything is not None and everything.state != "Removed":
            assert isinstance(sim.call(f"{cls.name}.get_all_records"), dict), cls.name


def test_the_methods_are_listed(sim: Any) -> None:
    assert {"VM.start", "event.from", "host.get_all_records"} <= set(sim.ok("system.listMethods"))


def test_a_slave_names_the_coordinator(sim: Any) -> None:
    coordinator, slave = sim.server.info["pools"][0]["hosts"]
    address = coordinator["url"].split("/")[2].split(":")[0]
    password = sim.pool.sessions.users["root"].password
    error = ["HOST_IS_SLAVE", address]
    assert sim.error("session.login_with_password", "root", password, url=slave["url"]) == error
    assert sim.error("VM.get_all", sim.session, url=slave["url"]) == error
    local = sim.ok("session.slave_local_login_with_password", "root", password, url=slave["url"])
    assert sim.error("VM.get_all", local, url=slave["url"]) == error
    assert sim.ok("session.local_logout", local, url=slave["url"]) == ""


def test_logout_ends_the_session(sim: Any) -> None:
    session = sim.ok("session.login_with_password", "root", sim.pool.sessions.users["root"].password)
    sim.ok("session.logout", session)
    assert sim.error("VM.get_all", session) == ["SESSION_INVALID", session]


# -- roles


@pytest.fixture(scope="module")
def guarded(start: Any) -> Any:
    users = [
        {"name": r, "password": "pw", "role": r} for r in ("read-only", "vm-operator", "vm-admin", "pool-operator")
    ]
    return start({"pools": [{"name": "guarded", "users": [*users, {"name": "nobody", "password": "pw"}]}]})


@pytest.fixture
def login(guarded: Any) -> Any:
    return lambda name: guarded.ok("session.login_with_password", name, "pw")


def test_reading_is_for_all(guarded: Any, login: Any) -> None:
    assert guarded.ok("VM.get_all_records", login("read-only"))


def test_who_has_no_role_cannot_log_in(guarded: Any) -> None:
    error = guarded.error("session.login_with_password", "nobody", "pw")
    assert error[:2] == ["RBAC_PERMISSION_DENIED", "session.login_with_password"]


def test_the_refusal_names_who_may(guarded: Any, login: Any) -> None:
    vm = guarded.call("VM.get_all")[0]
    assert guarded.error("VM.set_name_label", login("read-only"), vm, "x") == [
        "RBAC_PERMISSION_DENIED",
        "vm.set_name_label",
        "No permission in user session. (Roles with this permission: pool-admin, pool-operator, vm-power-admin, vm-admin)",
    ]


def test_roles_come_before_handles(guarded: Any, login: Any) -> None:
    error = guarded.error("VM.set_name_label", login("read-only"), "OpaqueRef:bogus", "x")
    assert error[0] == "RBAC_PERMISSION_DENIED"


def test_some_map_keys_have_their_own_role(guarded: Any, login: Any) -> None:
    vm = guarded.call("VM.get_all")[0]
    operator = login("vm-operator")
    guarded.ok("VM.add_to_other_config", operator, vm, "folder", "/x")
    guarded.ok("VM.add_to_other_config", operator, vm, "XenCenter.CustomFields.a", "/x")
    assert guarded.error("VM.add_to_other_config", operator, vm, "other", "x")[1] == "vm.add_to_other_config"
    error = guarded.error("VM.add_to_other_config", login("vm-admin"), vm, "pci", "x")
    assert error[1] == "vm.add_to_other_config/key:pci"


def test_an_asynchronous_call_fails_in_its_task(guarded: Any, login: Any) -> None:
    session = login("read-only")
    task = guarded.ok("Async.VM.destroy", session, guarded.call("VM.get_all")[0])
    guarded.ok("event.from", session, [f"task/{task}"], "", 5.0)
    record = guarded.call("task.get_record", task)
    assert record["status"] == "failure"
    assert record["error_info"][0] == "RBAC_PERMISSION_DENIED"
