# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""xapisim judged by the XenAPI SDK, and where bytes count by http.client: what a real xapi (API 2.23) answered to the same calls."""
from __future__ import annotations

import http.client
import json
import re
import xmlrpc.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import XenAPI

from xapisim.launcher import launch

NULL = "OpaqueRef:NULL"
GIB = 1 << 30
SCENARIO: dict[str, Any] = {
    "pools": [
        {
            "name": "judged",
            "vms": [
                {"name": "halted", "disks": [{"sr": "NFS storage", "size": "1GiB", "device": 0}]},
                {"name": "running", "power_state": "Running", "nics": ["Pool-wide network associated with eth0"]},
                {"name": "deaf", "power_state": "Running", "other_config": {"xapisim_tools": "false"}},
            ],
            "networks": [{"name": "tagged", "nic": "eth1", "vlan": 7}],
        },
        {"name": "bare", "srs": [], "local_sr": "none", "vms": [{"name": "running", "power_state": "Running"}]},
    ]
}
CREATE: dict[str, Any] = {
    "name_label": "made", "name_description": "", "user_version": 1, "is_a_template": False, "affinity": NULL,
    "memory_static_max": GIB, "memory_dynamic_max": GIB, "memory_dynamic_min": GIB, "memory_static_min": GIB // 2,
    "VCPUs_params": {}, "VCPUs_max": 1, "VCPUs_at_startup": 1, "actions_after_shutdown": "destroy",
    "actions_after_reboot": "restart", "actions_after_crash": "restart", "PV_bootloader": "", "PV_kernel": "",
    "PV_ramdisk": "", "PV_args": "", "PV_bootloader_args": "", "PV_legacy_args": "", "HVM_boot_policy": "BIOS order",
    "HVM_boot_params": {"order": "dc"}, "platform": {}, "PCI_bus": "", "other_config": {}, "recommendations": "",
    "hardware_platform_version": 2,
}  # fmt: skip
VBD = {
    "userdevice": "0", "bootable": False, "mode": "RW", "type": "Disk", "unpluggable": True, "empty": False,
    "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {},
}  # fmt: skip
VIF = {"device": "0", "MAC": "", "MTU": 1500, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}}


class Pool:
    """A pool as the SDK sees it, and the objects that the tables call by `<name>`."""

    def __init__(self, info: dict[str, Any]) -> None:
        self.url, self.info = info["url"], info
        self.sdk = XenAPI.Session(self.url)
        self.sdk.xenapi.login_with_password(info["username"], info["password"], "2.0", "conformance")
        self.api = self.sdk.xenapi
        self.known: dict[str, Any] = {"S": self.sdk._session}
        for cls in ("VM", "SR", "network"):
            for ref, record in getattr(self.api, cls).get_all_records().items():
                self.known.setdefault(record["name_label"], ref)
        self.known["pool"] = self.api.pool.get_all()[0]
        self.known["coordinator"] = self.api.pool.get_master(self.known["pool"])
        self.known["template"] = self.known["Debian Bookworm 12"]

    def raw(self, method: str, *params: Any) -> dict[str, Any]:
        """The struct that answers a call with exactly these parameters."""
        return getattr(self.sdk, method)(*params)

    def fill(self, value: Any) -> Any:
        """Put references in the place of `<name>`."""
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, str) and re.fullmatch(r"<.+>", value):
            return self.known[value[1:-1]]
        return value

    def error(self, method: str, *params: Any) -> list[str]:
        """ErrorDescription of a call that must fail."""
        reply = self.raw(method, *self.fill(list(params)))
        assert reply["Status"] == "Failure", reply
        return reply["ErrorDescription"]

    def http(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], str]:
        """One HTTP request: status, headers in lower case, body."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
        connection.request(method, path, body or None)
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, text


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, Pool]]:
    with launch(scenario=SCENARIO) as info:
        yield {pool["name"]: Pool(pool) for pool in info["pools"]}


@pytest.fixture(scope="module")
def pool(pools: dict[str, Pool]) -> Pool:
    pool = pools["judged"]
    api, known = pool.api, pool.known
    known["vbd"] = api.VM.get_VBDs(known["halted"])[0]
    known["vdi"] = api.VBD.get_VDI(known["vbd"])
    known["PIF"] = api.network.get_PIFs(known["Pool-wide network associated with eth1"])[0]
    known["host"] = api.PIF.get_host(known["PIF"])
    known["tagged PIF"] = next(p for p in api.network.get_PIFs(known["tagged"]) if api.PIF.get_host(p) == known["host"])
    known["vif"] = api.VM.get_VIFs(known["running"])[0]
    known["made"] = api.VM.create(CREATE)
    known["running vdi"] = api.VDI.create(
        {"name_label": "plugged", "SR": known["NFS storage"], "virtual_size": str(GIB), "type": "user", "sharable": False,
         "read_only": False, "other_config": {}})
    known["running vbd"] = api.VBD.create({**VBD, "VM": known["running"], "VDI": known["running vdi"]})
    api.VBD.plug(known["running vbd"])
    return pool


def internal(text: str) -> list[str]:
    return ["INTERNAL_ERROR", f"Failure({text})"]


EXPECTED_STRING = internal("\"Expected string, got 'I(5)'\"")
# One line a captured reply: method, its parameters, ErrorDescription. <name> is the reference of what has that name.
REFUSED: list[tuple[str, list[Any], list[str]]] = [
    # unknown methods and numbers of parameters
    ("VM.nope", ["<S>"], ["MESSAGE_METHOD_UNKNOWN", "VM.nope"]),
    ("Foo.bar", ["<S>"], ["MESSAGE_METHOD_UNKNOWN", "Foo.bar"]),
    ("VM.set_uuid", ["<S>", "<made>", "x"], ["MESSAGE_METHOD_UNKNOWN", "VM.set_uuid"]),
    ("VM.get_record", ["<S>"], ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.get_record", "1", "0"]),
    ("VM.get_record", ["<S>", "<made>", "x"], ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.get_record", "1", "2"]),
    ("VM.get_all", [], ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.get_all", "0", "-1"]),
    ("session.login_with_password", ["root"], ["MESSAGE_PARAMETER_COUNT_MISMATCH", "session.login_with_password", "2", "1"]),
    # handles, uuids, sessions
    ("VM.get_record", ["<S>", "OpaqueRef:bogus"], ["HANDLE_INVALID", "VM", "OpaqueRef:bogus"]),
    ("VM.get_record", ["<S>", NULL], ["HANDLE_INVALID", "VM", NULL]),
    ("VM.get_record", ["<S>", ""], ["HANDLE_INVALID", "VM", ""]),
    ("VM.get_record", ["<S>", "<pool>"], ["HANDLE_INVALID", "VM", "<pool>"]),
    ("VM.get_by_uuid", ["<S>", "deadbeef"], ["UUID_INVALID", "VM", "deadbeef"]),
    ("VM.get_all", ["OpaqueRef:nosuch"], ["SESSION_INVALID", "OpaqueRef:nosuch"]),
    ("VM.get_all", [""], ["SESSION_INVALID", ""]),
    ("session.login_with_password", ["root", "bad"], ["SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure"]),
    ("session.slave_local_login", ["<S>", "bad"], ["SESSION_AUTHENTICATION_FAILED", "localhost", "Pool credentials invalid"]),
    # types
    ("VM.get_all", [5], EXPECTED_STRING),
    ("VM.set_name_label", ["<S>", "<made>", 5], EXPECTED_STRING),
    ("VM.get_record", ["<S>", 5], EXPECTED_STRING),
    ("VM.set_is_a_template", ["<S>", "<made>", "true"], internal("\"Expected bool, got 'S(true)'\"")),
    ("VM.set_VCPUs_max", ["<S>", "<made>", "abc"], internal('"Int64.of_string"')),
    ("VM.set_VCPUs_max", ["<S>", "<made>", str(2**63)], internal('"Int64.of_string"')),
    ("VM.set_actions_after_crash", ["<S>", "<made>", "bogus"], internal('"Unknown tag/contents"')),
    ("VM.set_other_config", ["<S>", "<made>", []], internal("\"Expecting Rpc.Dict, but found '[]'\"")),
    ("VM.set_tags", ["<S>", "<made>", {}], internal("\"Expecting Rpc.Enum, but found '{}'\"")),
    ("VM.set_tags", ["<S>", "<made>", "a"], internal("\"Expecting Rpc.Enum, but found 'S(a)'\"")),
    ("VM.create", ["<S>", {}], ["INTERNAL_ERROR", 'Server_helpers.Dispatcher_FieldNotFound("user_version")']),
    # guests
    ("VM.unpause", ["<S>", "<made>"], ["VM_BAD_POWER_STATE", "<made>", "paused", "halted"]),
    ("VM.hard_shutdown", ["<S>", "<made>"], ["VM_BAD_POWER_STATE", "<made>", "paused, suspended, running", "halted"]),
    ("VM.clean_shutdown", ["<S>", "<made>"], ["VM_BAD_POWER_STATE", "<made>", "running", "halted"]),
    ("VM.start", ["<S>", "<template>", False, False], ["VM_IS_TEMPLATE", "<template>", "start"]),
    ("VM.destroy", ["<S>", "<template>"], ["VM_IS_TEMPLATE", "<template>", "destroy"]),
    ("VM.suspend", ["<S>", "<deaf>"], ["VM_LACKS_FEATURE", "<deaf>"]),
    ("VM.set_memory_limits", ["<S>", "<made>", GIB, GIB, GIB // 2, GIB], ["MEMORY_CONSTRAINT_VIOLATION_ORDER"]),
    ("VM.start_on", ["<S>", "<made>", "OpaqueRef:bogus", False, False], ["HANDLE_INVALID", "host", "OpaqueRef:bogus"]),
    ("VM.assert_can_boot_here", ["<S>", "<made>", "OpaqueRef:bogus"], ["HOST_NOT_LIVE"]),
    ("VM.set_order", ["<S>", "<made>", -1], ["INVALID_VALUE"]),
    # disks and NICs
    ("VDI.destroy", ["<S>", "<running vdi>"], ["VDI_IN_USE", "<running vdi>", "destroy"]),
    ("VBD.create", ["<S>", {**VBD, "VM": "<halted>", "VDI": "<running vdi>"}], ["DEVICE_ALREADY_EXISTS", "0"]),
    ("VIF.create", ["<S>", {**VIF, "VM": "<made>", "network": "<tagged>", "device": "autodetect"}], ["INVALID_DEVICE", "autodetect"]),
    ("VDI.set_read_only", ["<S>", "<vdi>", True], ["PERMISSION_DENIED", ""]),
    ("VDI.set_sharable", ["<S>", "<vdi>", True], ["PERMISSION_DENIED", ""]),
    ("VDI.set_managed", ["<S>", "<vdi>", True], ["PERMISSION_DENIED", ""]),
    ("SR.set_physical_size", ["<S>", "<NFS storage>", "1"], ["PERMISSION_DENIED", ""]),
    # networks, storage, hosts, pool
    ("VLAN.create", ["<S>", "<PIF>", 7, "<tagged>"], ["NETWORK_ALREADY_CONNECTED", "<host>", "<tagged PIF>"]),
    ("SR.destroy", ["<S>", "<NFS storage>"], ["SR_HAS_PBD", "<NFS storage>"]),
    ("PIF.scan", ["<S>", "OpaqueRef:bogus"], ["HOST_OFFLINE", "OpaqueRef:bogus"]),
    ("host.disable", ["<S>", "OpaqueRef:bogus"], ["HANDLE_INVALID", "host", "OpaqueRef:bogus"]),
    ("host.reboot", ["<S>", "<coordinator>"], ["HOST_NOT_DISABLED"]),
    ("host.call_plugin", ["<S>", "<coordinator>", "noplug", "x", {}], ["XENAPI_MISSING_PLUGIN", "noplug"]),
    ("pool.eject", ["<S>", "<coordinator>"], ["INTERNAL_ERROR", "Xapi_pool.Cannot_eject_master"]),
    ("pool.eject", ["<S>", "OpaqueRef:bogus"], ["HOST_OFFLINE", "OpaqueRef:bogus"]),
    ("VMPP.get_all", ["<S>"], ["MESSAGE_REMOVED"]),
    ("subject.create", ["<S>", {"subject_identifier": "x", "other_config": {}}], ["AUTH_IS_DISABLED"]),
    # queries and events
    ("VM.get_all_records_where", ["<S>", "garbage (("], ["INVALID_VALUE", "garbage ((", 'Failure("lexing: empty token")']),
    ("event.from", ["<S>", ["vm"], "xyz", 1.0], ["EVENT_FROM_TOKEN_PARSE_FAILURE", "xyz"]),
]  # fmt: skip


@pytest.mark.parametrize(("method", "params", "error"), REFUSED, ids=[f"{m}-{e[0]}" for m, _params, e in REFUSED])
def test_captured_refusals(pool: Pool, method: str, params: list[Any], error: list[str]) -> None:
    got = pool.error(method, *params)
    assert got[: len(error)] == pool.fill(error)
    assert len(got) == len(error) or method == "VM.set_order"


def test_refusals_of_a_network_in_use(pool: Pool) -> None:
    code, *pifs = pool.error("network.destroy", "<S>", "<tagged>")
    assert code == "NETWORK_CONTAINS_PIF"
    assert sorted(pifs) == sorted(pool.api.network.get_PIFs(pool.known["tagged"]))


def test_no_place_to_suspend_to(pools: dict[str, Pool]) -> None:
    bare = pools["bare"]
    assert bare.error("VM.suspend", "<S>", "<running>") == bare.fill(["VM_NO_SUSPEND_SR", "<running>"])


def test_events_want_a_registration(pool: Pool) -> None:
    code, track = pool.error("event.next", "<S>")
    assert code == "SESSION_NOT_REGISTERED"
    assert re.fullmatch(r"trackid=[0-9a-f]{32}", track)


def test_an_unknown_class_has_no_events(pool: Pool) -> None:
    assert pool.raw("event.from", pool.known["S"], ["nothing"], "", 0.1)["Value"]["events"] == []


def test_maps_and_sets(pool: Pool) -> None:
    vm, api = pool.known["made"], pool.api
    api.VM.add_to_other_config(vm, "kk", "1")
    assert pool.error("VM.add_to_other_config", "<S>", "<made>", "kk", "2") == ["MAP_DUPLICATE_KEY", "VM", "other_config", vm, "kk"]
    api.VM.remove_from_other_config(vm, "kk")
    api.VM.remove_from_other_config(vm, "kk")
    api.VM.add_tags(vm, "t")
    api.VM.add_tags(vm, "t")
    assert api.VM.get_tags(vm) == ["t"]
    api.VM.set_tags(vm, ["u", "u"])
    assert api.VM.get_tags(vm) == ["u", "u"]


def test_what_input_is_forgiven(pool: Pool) -> None:
    vm, api = pool.known["made"], pool.api
    api.VM.set_user_version(vm, "0x10")
    assert api.VM.get_user_version(vm) == "16"
    api.VM.set_user_version(vm, 2)
    assert api.VM.get_user_version(vm) == "2"
    api.VM.set_actions_after_crash(vm, "Destroy")
    assert api.VM.get_actions_after_crash(vm) == "destroy"
    api.VM.set_affinity(vm, "OpaqueRef:dangling")
    assert api.VM.get_affinity(vm) == "OpaqueRef:dangling"
    api.VM.set_ha_always_run(vm, True)
    api.network.set_MTU(pool.known["tagged"], -5)
    assert api.network.get_MTU(pool.known["tagged"]) == "-5"
    password = pool.info["password"]
    for surplus in ([], ["1.0"], ["1.0", "me"], ["1.0", "me", "surplus"]):
        reply = pool.raw("session.login_with_password", "root", password, *surplus)
        assert reply["Status"] == "Success"
        pool.raw("session.logout", reply["Value"])


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ('field "name__label"="halted"', {"halted"}),
        ('field "name__label"="halted" or field "name__label"="deaf"', {"halted", "deaf"}),
        # left to right: (halted or running) and halted; "not a and b" is "not (a and b)"
        ('field "name__label"="halted" or field "name__label"="running" and field "power_state"="Halted"', {"halted"}),
        ('not field "power_state"="Running" and field "name__label"="nobody"', None),
    ],
)
def test_queries(pool: Pool, query: str, names: set[str] | None) -> None:
    found = [record["name_label"] for record in pool.api.VM.get_all_records_where(query).values()]
    assert set(found) == names if names else len(found) == len(pool.api.VM.get_all())


def test_what_create_fills_in(pool: Pool) -> None:
    api = pool.api
    vm = api.VM.create({**CREATE, "power_state": "Running"})
    record = api.VM.get_record(vm)
    expected = {
        "power_state": "Halted", "memory_overhead": "12582912", "HVM_shadow_multiplier": 1.0, "domid": "-1", "guest_metrics": NULL,
        "domain_type": "hvm", "hardware_platform_version": "2", "has_vendor_device": True, "version": "0", "generation_id": "0:0",
        "actions_after_softreboot": "soft_reboot", "start_delay": "0", "shutdown_delay": "0", "order": "0", "NVRAM": {},
        "bios_strings": {}, "secureboot_certificates_state": "ok", "groups": [], "last_booted_record": "", "domarch": "",
        "suspend_SR": NULL, "current_operations": {},
    }  # fmt: skip
    assert {key: record[key] for key in expected} == expected
    assert str(record["snapshot_time"]) == "19700101T00:00:00Z"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", record["other_config"]["mac_seed"])
    assert api.VM_metrics.get_record(record["metrics"])
    assert set(record["allowed_operations"]) == set(
        "create_vtpm destroy metadata_export export make_into_template changing_NVRAM changing_shadow_memory changing_static_range "
        "changing_dynamic_range migrate_send start_on start copy clone snapshot".split()
    )
    api.VM.destroy(vm)
    network = api.network.create({"name_label": "fresh", "name_description": "", "MTU": 1500, "other_config": {}})
    record = api.network.get_record(network)
    assert re.fullmatch(r"xapi\d+", record["bridge"])
    assert (record["default_locking_mode"], record["purpose"]) == ("unlocked", [])
    api.network.destroy(network)
    assert set(api.VDI.get_allowed_operations(pool.known["vdi"])) >= {"copy", "clone", "snapshot", "resize"}


def test_provision_without_an_sr_has_already_made_a_guest(pool: Pool) -> None:
    api = pool.api
    vm = api.VM.clone(pool.known["template"], "unprovided")
    api.VM.remove_from_other_config(vm, "disks")
    disks = '<provision><disk device="0" size="1073741824" sr="" bootable="true" type="system"/></provision>'
    api.VM.add_to_other_config(vm, "disks", disks)
    assert pool.error("VM.provision", "<S>", vm) == ["UUID_INVALID", "sr", ""]
    assert api.VM.get_is_a_template(vm) is False
    api.VM.destroy(vm)


def test_an_asynchronous_failure(pool: Pool) -> None:
    task = pool.api.Async.VM.unpause(pool.known["made"])
    token = ""
    while pool.api.task.get_status(task) == "pending":
        token = pool.raw("event.from", pool.known["S"], [f"task/{task}"], token, 5.0)["Value"]["token"]
    record = pool.api.task.get_record(task)
    assert (record["name_label"], record["status"], record["type"]) == ("Async.VM.unpause", "failure", "<none/>")
    assert record["error_info"] == pool.error("VM.unpause", "<S>", "<made>")
    pool.api.task.cancel(task)  # of a task that has ended: nothing
    pool.api.task.destroy(task)


# bytes

HEAD = '<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>'
TAIL = "</member></struct></value></param></params></methodResponse>"
SUCCESS = HEAD + "Success</value></member><member><name>Value</name>"


def test_a_failure_byte_for_byte(pool: Pool) -> None:
    body = xmlrpc.client.dumps((pool.known["S"], "OpaqueRef:bogus"), "VM.get_record").encode()
    status, headers, text = pool.http("POST", "/", body)
    assert (status, headers) == (200, {
        "content-length": str(len(text)), "connection": "keep-alive", "cache-control": "no-cache, no-store",
        "content-type": "text/xml", "access-control-allow-origin": "*", "access-control-allow-headers": "X-Requested-With",
    })  # fmt: skip
    values = "".join(f"<value>{word}</value>" for word in ("HANDLE_INVALID", "VM", "OpaqueRef:bogus"))
    error = f"<value><array><data>{values}</data></array></value>"
    assert text == f"{HEAD}Failure</value></member><member><name>ErrorDescription</name>{error}{TAIL}"


@pytest.mark.parametrize(
    ("method", "args", "value"),
    [
        ("VM.get_name_label", [], "<value>made</value>"),
        ("VM.get_VCPUs_max", [], "<value>1</value>"),
        ("VM.get_is_a_snapshot", [], "<value><boolean>0</boolean></value>"),
        ("VM.get_blobs", [], "<value><struct></struct></value>"),
        ("VM.get_VBDs", [], "<value><array><data></data></array></value>"),
        ("VM.get_snapshot_time", [], "<value><dateTime.iso8601>19700101T00:00:00Z</dateTime.iso8601></value>"),
        ("VM.get_HVM_shadow_multiplier", [], "<value><double>1</double></value>"),
        ("VM.set_name_description", [""], "<value></value>"),
    ],
)
def test_values_byte_for_byte(pool: Pool, method: str, args: list[Any], value: str) -> None:
    body = xmlrpc.client.dumps((pool.known["S"], pool.known["made"], *args), method).encode()
    assert pool.http("POST", "/RPC2", body)[2] == SUCCESS + value + TAIL


def test_methods_are_listed_without_a_status(pool: Pool) -> None:
    assert "VM.start" in pool.sdk.system.listMethods()


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ({"jsonrpc": "2.0", "method": "VM.get_name_label", "id": 7}, '{"jsonrpc":"2.0","result":"made","id":7}'),
        ({"method": "VM.get_VCPUs_max", "id": 7}, '{"result":1,"error":null,"id":7}'),
        ({"jsonrpc": "2.0", "method": "VBD.get_VM", "id": 8},
         '{"jsonrpc":"2.0","error":{"code":1,"message":"HANDLE_INVALID","data":["VBD","%s"]},"id":8}'),
        ({"method": "VBD.get_VM", "id": 8}, '{"result":null,"error":["HANDLE_INVALID","VBD","%s"],"id":8}'),
    ],
)
def test_json_byte_for_byte(pool: Pool, request_: dict[str, Any], reply: str) -> None:
    vm = pool.known["made"]
    status, headers, text = pool.http("POST", "/jsonrpc", json.dumps({**request_, "params": [pool.known["S"], vm]}).encode())
    assert (status, headers["content-type"]) == (200, "application/json")
    assert text == (reply % vm if "%s" in reply else reply)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/", b"", 403, ""),
        ("GET", "/nowhere", b"", 403, ""),
        ("HEAD", "/", b"", 501, ""),
        ("DELETE", "/", b"", 501, ""),
        ("POST", "/nowhere", b"x", 500, ""),
        ("POST", "/", b"no xml", 500, 'Xmlm.Error(1:1, "expected root element")'),
        ("POST", "/jsonrpc", b'{"jsonrpc":"2.0","method":"VM.get_all","params":[]}', 500,
         "Jsonrpc.Malformed_method_request(\"Invalid field 'id' in request body\")"),
        ("POST", "/jsonrpc", b"[]", 500, "Jsonrpc.Malformed_method_request("),
        ("GET", "/export", b"", 401, 'Basic realm="get_export"'),
        ("GET", "/rrd_updates", b"", 401, 'Basic realm="rrd_updates"'),
    ],
)
def test_http_statuses(pool: Pool, method: str, path: str, body: bytes, status: int, says: str) -> None:
    got, headers, text = pool.http(method, path, body)
    assert got == status
    assert says in text + headers.get("www-authenticate", "")


def test_a_batch_of_events(pool: Pool) -> None:
    vm, session = pool.known["made"], pool.known["S"]
    first = pool.raw("event.from", session, [f"vm/{vm}"], "", 2.0)["Value"]
    assert list(first) == ["events", "valid_ref_counts", "token"]
    assert re.fullmatch(r"\d{20},\d{20}", first["token"])
    counts = first["valid_ref_counts"]
    assert all(name == name.lower() and isinstance(count, int) for name, count in counts.items())
    assert counts["vm"] == len(pool.api.VM.get_all())
    pool.api.VM.set_name_description(vm, "moved")
    pool.api.VM.set_name_description(vm, "moved")  # an equal value is no event
    then = pool.raw("event.from", session, [f"vm/{vm}"], first["token"], 2.0)["Value"]
    (event,) = then["events"]
    assert (event["class"], event["operation"], event["ref"], event["timestamp"]) == ("vm", "mod", vm, "0.0")
    assert event["snapshot"]["name_description"] == "moved"
    assert int(event["id"]) == int(then["token"].split(",")[0])


# a guest's life


def test_the_life_of_a_guest(pool: Pool) -> None:
    api, known = pool.api, pool.known
    vm = api.VM.clone(known["template"], "alive")
    api.VM.set_is_a_template(vm, False)
    api.VM.set_memory_limits(vm, str(GIB), str(4 * GIB), str(4 * GIB), str(4 * GIB))  # 2^32: no XML-RPC integer
    assert api.VM.get_memory_static_max(vm) == str(4 * GIB)
    api.VM.set_VCPUs_max(vm, 4)
    api.VM.set_VCPUs_at_startup(vm, 2)
    vif = api.VIF.create({**VIF, "VM": vm, "network": known["tagged"]})
    assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", api.VIF.get_MAC(vif))
    vdi = api.VDI.create(
        {"name_label": "root", "SR": known["NFS storage"], "virtual_size": str(3 * GIB), "type": "user", "sharable": False,
         "read_only": False, "other_config": {}})
    vbd = api.VBD.create({**VBD, "VM": vm, "VDI": vdi, "bootable": True})

    api.VM.start(vm, False, False)
    assert api.VM.get_power_state(vm) == "Running"
    assert api.VM.get_resident_on(vm) in api.host.get_all()
    assert api.VBD.get_currently_attached(vbd)
    assert api.VIF.get_currently_attached(vif)
    assert pool.error("VM.start", "<S>", vm, False, False) == ["VM_BAD_POWER_STATE", vm, "halted", "running"]
    assert pool.error("VM.destroy", "<S>", vm) == ["VM_BAD_POWER_STATE", vm, "halted, suspended", "running"]
    assert pool.error("VDI.destroy", "<S>", vdi) == ["VDI_IN_USE", vdi, "destroy"]

    snapshot = api.VM.snapshot(vm, "before")
    assert (api.VM.get_is_a_snapshot(snapshot), api.VM.get_snapshot_of(snapshot)) == (True, vm)
    assert api.VM.get_snapshots(vm) == [snapshot]
    api.VM.pause(vm)
    assert api.VM.get_power_state(vm) == "Paused"
    api.VM.unpause(vm)
    api.VM.hard_shutdown(vm)
    record = api.VM.get_record(vm)
    assert (record["power_state"], record["resident_on"], record["domid"]) == ("Halted", NULL, "-1")

    api.VDI.resize(vdi, str(5 * GIB))
    assert api.VDI.get_virtual_size(vdi) == str(5 * GIB)
    api.VM.revert(snapshot)
    (vbd_again,) = api.VM.get_VBDs(vm)
    vdi_again = api.VBD.get_VDI(vbd_again)
    assert vdi_again != vdi and vbd_again != vbd
    assert api.VDI.get_virtual_size(vdi_again) == str(3 * GIB)
    assert pool.error("VDI.get_uuid", "<S>", vdi) == ["HANDLE_INVALID", "VDI", vdi]

    disks = [api.VBD.get_VDI(item) for guest in (snapshot, vm) for item in api.VM.get_VBDs(guest)]
    for guest in (snapshot, vm):
        api.VM.destroy(guest)
    for disk in disks:
        api.VDI.destroy(disk)
    for method, ref in (("VM.get_uuid", vm), ("VIF.get_uuid", vif), ("VBD.get_uuid", vbd_again), ("VDI.get_uuid", vdi_again)):
        assert pool.error(method, "<S>", ref)[0] == "HANDLE_INVALID"


def test_a_guest_with_tools_suspends_and_shuts_down(pool: Pool) -> None:
    api, vm = pool.api, pool.known["running"]
    api.VM.suspend(vm)
    record = api.VM.get_record(vm)
    assert record["power_state"] == "Suspended"
    assert api.VDI.get_type(record["suspend_VDI"]) == "suspend"
    api.VM.resume(vm, False, False)
    assert api.VM.get_suspend_VDI(vm) == NULL
    api.VM.clean_shutdown(vm)
    assert api.VM.get_power_state(vm) == "Halted"


def test_the_sdk_follows_failures(pool: Pool) -> None:
    with pytest.raises(XenAPI.Failure) as failure:
        pool.api.VM.get_record("OpaqueRef:bogus")
    assert failure.value.details == ["HANDLE_INVALID", "VM", "OpaqueRef:bogus"]
    slave = XenAPI.Session(pool.info["hosts"][1]["url"])
    with pytest.raises(XenAPI.Failure) as failure:
        slave.xenapi.login_with_password("root", pool.info["password"])
    assert failure.value.details == ["HOST_IS_SLAVE", urlsplit(pool.url).hostname]
