# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes on the wire, as captured from a real xapi (xapi-captured.md)."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import xmlrpc.client
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from xapisim import types
from xapisim import xmlrpc as xml
from xapisim.launcher import TESTS, launch
from xapisim.types import WireDate, parse_type

HEAD = '<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>'
TAIL = "</member></struct></value></param></params></methodResponse>"


def _xml(sim: Any, method: str, *params: Any, path: str = "/") -> tuple[int, dict[str, str], str]:
    status, headers, body = sim.post(path, xmlrpc.client.dumps(params, method).encode())
    return status, headers, body.decode()


def _success(value: str) -> str:
    return f"{HEAD}Success</value></member><member><name>Value</name>{value}{TAIL}"


@pytest.fixture(scope="module")
def network(sim: Any) -> str:
    record = {"name_label": "n<&>\"'é", "name_description": "", "MTU": 1500, "other_config": {"k": "v"}, "tags": []}
    return sim.call("network.create", record)


@pytest.mark.parametrize("path", ["/", "/RPC2"])
def test_a_failure_byte_for_byte(sim: Any, path: str) -> None:
    status, headers, body = _xml(sim, "VM.get_record", sim.session, "OpaqueRef:bogus", path=path)
    assert status == 200
    assert body == (
        f"{HEAD}Failure</value></member><member><name>ErrorDescription</name><value><array><data>"
        "<value>HANDLE_INVALID</value><value>VM</value><value>OpaqueRef:bogus</value>"
        f"</data></array></value>{TAIL}"
    )
    assert headers == {
        "content-length": str(len(body)),
        "connection": "keep-alive",
        "cache-control": "no-cache, no-store",
        "content-type": "text/xml",
        "access-control-allow-origin": "*",
        "access-control-allow-headers": "X-Requested-With",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("MTU", "<value>1500</value>"),
        ("managed", "<value><boolean>1</boolean></value>"),
        ("name_label", "<value>n&lt;&amp;&gt;&quot;'é</value>"),
        ("name_description", "<value></value>"),
        ("tags", "<value><array><data></data></array></value>"),
        ("blobs", "<value><struct></struct></value>"),
        ("other_config", "<value><struct><member><name>k</name><value>v</value></member></struct></value>"),
    ],
)
def test_values_byte_for_byte(sim: Any, network: str, field: str, value: str) -> None:
    assert _xml(sim, f"network.get_{field}", sim.session, network)[2] == _success(value)


def test_void_is_an_empty_value(sim: Any, network: str) -> None:
    body = _xml(sim, "network.set_name_description", sim.session, network, "")[2]
    assert body == _success("<value></value>")


def test_floats_and_dates() -> None:
    assert xml.value(parse_type("float"), 0.1) == "<value><double>0.1</double></value>"
    assert xml.value(parse_type("float"), 1.0) == "<value><double>1</double></value>"
    moment = datetime(2026, 11, 21, 1, 2, 3, tzinfo=timezone.utc)
    text = "<value><dateTime.iso8601>20261121T01:02:03Z</dateTime.iso8601></value>"
    assert xml.value(parse_type("datetime"), moment) == text
    assert xml.value(parse_type("datetime"), types.EPOCH) == text.replace("20261121T01:02:03", "19700101T00:00:00")


def test_control_characters_are_dropped() -> None:
    assert xml.value(parse_type("string"), "a\x00b\x1fc\t\n") == "<value>abc\t\n</value>"


@pytest.mark.parametrize(
    "text", ["20261121T01:02:03Z", "2026-11-21T01:02:03Z", "20261121T01:02:03", "20261121T02:02:03+01:00"]
)
def test_dates_come_in_many_forms(text: str) -> None:
    assert types.parse_date(text) == datetime(2026, 11, 21, 1, 2, 3, tzinfo=timezone.utc)


def test_a_batch_of_events(sim: Any, network: str) -> None:
    token = sim.call("event.from", ["nothing"], "", 0.0)["token"]
    sim.call("event.inject", "network", network)
    body = _xml(sim, "event.from", sim.session, ["network"], token, 5.0)[2]
    record = _xml(sim, "network.get_record", sim.session, network)[2]
    snapshot = record[record.index("<name>Value</name>") + len("<name>Value</name>") : -len(TAIL)]
    event = (
        "<value><struct><member><name>id</name><value>NUMBER</value></member>"
        "<member><name>timestamp</name><value>0.0</value></member>"
        "<member><name>class</name><value>network</value></member>"
        "<member><name>operation</name><value>mod</value></member>"
        f"<member><name>ref</name><value>{network}</value></member>"
        f"<member><name>snapshot</name>{snapshot}</member></struct></value>"
    )
    head = "<value><struct><member><name>events</name><value><array><data>EVENT</data></array></value></member>"
    counts = "<member><name>valid_ref_counts</name><value><struct><member><name>[a-z_]+</name><value><i4>[0-9]+</i4>"
    text = body.replace(event.replace("NUMBER", re.search(r"<name>id</name><value>(\d+)<", body)[1]), "EVENT")
    assert re.match(re.escape(_success("")[: -len(TAIL)] + head) + counts, text)
    assert re.search(
        r"<member><name>token</name><value>\d{20},\d{20}</value></member></struct></value>" + TAIL + "$", text
    )


def test_list_methods_has_no_status(sim: Any) -> None:
    body = _xml(sim, "system.listMethods")[2]
    assert body.startswith('<?xml version="1.0"?><methodResponse><params><param><value><array><data><value>')


def test_decoding_of_all_types() -> None:
    body = xmlrpc.client.dumps(
        (1, True, "x", 1.5, [1, ["a"]], {"k": {"l": False}}, xmlrpc.client.DateTime("20261121T01:02:03Z")), "m"
    )
    method, params = xml.decode_call(body.replace("<string>x</string>", "x").encode())
    assert (method, params[:-1]) == ("m", [1, True, "x", 1.5, [1, ["a"]], {"k": {"l": False}}])
    assert (params[-1], type(params[-1])) == ("20261121T01:02:03Z", WireDate)


def test_malformed_xml(sim: Any) -> None:
    status, _headers, body = sim.post("/", b"no xml")
    assert status == 500
    assert body.endswith(b'<h1> Additional information </h1>Xmlm.Error(1:1, "expected root element")</body></html>')


def test_text_that_is_not_utf8(sim: Any) -> None:
    body = xmlrpc.client.dumps((sim.session, "BAD"), "VM.get_by_name_label").encode().replace(b"BAD", b"\xff\xfe")
    reply = sim.post("/", body)[2].decode()
    assert "<value>INVALID_VALUE</value><value>Invalid UTF-8 string in parameter</value>" in reply


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ({"jsonrpc": "2.0", "id": 7}, '{"jsonrpc":"2.0","result":"%s","id":7}'),
        ({"id": "a"}, '{"result":"%s","error":null,"id":"a"}'),
    ],
)
def test_json_success(sim: Any, network: str, request_: dict[str, Any], reply: str) -> None:
    request = {**request_, "method": "network.get_uuid", "params": [sim.session, network]}
    status, _headers, body = sim.post("/jsonrpc", json.dumps(request).encode())
    assert status == 200
    assert body.decode() == reply % sim.call("network.get_uuid", network)


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (
            {"jsonrpc": "2.0", "id": 8},
            '{"jsonrpc":"2.0","error":{"code":1,"message":"HANDLE_INVALID","data":["VM","OpaqueRef:bogus"]},"id":8}',
        ),
        ({"id": 8}, '{"result":null,"error":["HANDLE_INVALID","VM","OpaqueRef:bogus"],"id":8}'),
    ],
)
def test_json_failure(sim: Any, request_: dict[str, Any], reply: str) -> None:
    request = {**request_, "method": "VM.get_record", "params": [sim.session, "OpaqueRef:bogus"]}
    assert sim.post("/json", json.dumps(request).encode())[2].decode() == reply


@pytest.mark.parametrize("body", [b'{"jsonrpc":"2.0","method":"x","params":[]}', b"[]", b"nonsense"])
def test_malformed_json(sim: Any, body: bytes) -> None:
    status, _headers, reply = sim.post("/jsonrpc", body)
    assert status == 500
    assert b"Jsonrpc.Malformed_method_request(" in reply


def test_named_parameters_are_one_parameter(sim: Any) -> None:
    body = {"jsonrpc": "2.0", "method": "VM.get_all", "params": {"session_id": "x"}, "id": 1}
    reply = json.loads(sim.post("/jsonrpc", json.dumps(body).encode())[2])
    assert reply["error"]["data"] == ["Failure(\"Expected string, got '{session_id:S(x)}'\")"]


def test_json_numbers(sim: Any, network: str) -> None:
    record = sim.call("network.get_record", network)
    assert (record["MTU"], record["managed"], record["other_config"]) == (1500, True, {"k": "v"})


@pytest.mark.parametrize(
    ("method", "path", "status", "authenticate"),
    [
        ("GET", "/", 403, None),
        ("GET", "/nowhere", 403, None),
        ("HEAD", "/", 501, None),
        ("DELETE", "/", 501, None),
        ("POST", "/nowhere", 500, None),
        ("GET", "/export", 401, 'Basic realm="get_export"'),
        ("GET", "/rrd_updates", 401, 'Basic realm="rrd_updates"'),
        ("GET", "/export?session_id=OpaqueRef:nosuch", 401, 'Basic realm="get_export"'),
        ("OPTIONS", "/jsonrpc", 200, None),
    ],
)
def test_statuses(sim: Any, method: str, path: str, status: int, authenticate: str | None) -> None:
    got, headers, _body = sim.post(path, b"", method)
    assert (got, headers.get("www-authenticate")) == (status, authenticate)


def test_a_handler_that_is_not_there_says_so(sim: Any) -> None:
    assert sim.post(f"/export?session_id={sim.session}", b"", "GET")[0] == 501


def test_too_large_a_call(sim: Any) -> None:
    assert sim.post("/", b" " * (300 * 1024 + 1))[0] == 413


def test_a_connection_is_kept(sim: Any) -> None:
    parts = urlsplit(sim.url)
    call = xmlrpc.client.dumps((), "system.listMethods").encode()
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(call), call)
    with socket.create_connection((parts.hostname, parts.port), 10) as sock:
        stream = sock.makefile("rb")
        for _unused in range(3):
            sock.sendall(request)
            length = 0
            while (line := stream.readline()) != b"\r\n":
                found = re.match(rb"content-length: (\d+)", line)
                length = int(found[1]) if found else length
            assert stream.read(length).endswith(b"</methodResponse>")


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xapisim", *arguments],
        env={"PYTHONPATH": str(TESTS), "PATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("pools: [", "while parsing"),
        ("pools: []", "pools: there is none"),
        ("pools: [{name: a, hots: []}]", "pools[0]: unknown key 'hots'"),
        ("pools: [{name: a, vms: [{name: v, memory: much}]}]", "'much' is no size"),
        ("pools: [{name: a, vms: [{name: v, template: Nope}]}]", "0 VM named 'Nope'"),
        ("pools: [{name: a}, {name: a}]", "two pools are called a"),
        ("pools: [{name: a, durations: {VM.nope: 1}}]", "no message VM.nope"),
        ("pools: [{name: a, hosts: [{name: h, address: 192.0.2.1}]}]", "192.0.2.1"),
    ],
)
def test_a_wrong_scenario_is_one_line_and_code_2(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "scenario.yml"
    path.write_text(content)
    done = _run("--scenario", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert done.stderr.startswith("xapisim: ")
    assert done.stderr.count("\n") == 1


def test_a_port_in_use(sim: Any, tmp_path: Path) -> None:
    parts = urlsplit(sim.url)
    path = tmp_path / "scenario.yml"
    path.write_text(f"pools: [{{name: b, port: {parts.port}, hosts: [{{name: h, address: {parts.hostname}}}]}}]")
    done = _run("--scenario", str(path))
    assert done.returncode == 2
    assert "Address already in use" in done.stderr


def test_it_runs_as_a_process_with_tls_and_ends_with_its_input() -> None:
    import ssl

    with launch(tls=True) as info:
        pool = info["pools"][0]
        assert pool["url"].startswith("https://")
        trusting = ssl.create_default_context(cafile=info["ca"])
        for host in pool["hosts"]:
            proxy = xmlrpc.client.ServerProxy(host["url"], context=trusting)
            assert "VM.start" in proxy.system.listMethods()
        with pytest.raises(ssl.SSLCertVerificationError):
            xmlrpc.client.ServerProxy(pool["url"]).system.listMethods()
    with pytest.raises(OSError, match="refused"):
        xmlrpc.client.ServerProxy(pool["url"], context=trusting).system.listMethods()
    assert not Path(info["ca"]).exists()


def test_calls_at_a_longer_path(sim: Any) -> None:
    """POST goes to the handler whose path the request's begins with: /xmlrpc is / (http_svr.ml)."""
    assert _xml(sim, "host.get_all", sim.session, path="/xmlrpc") == _xml(sim, "host.get_all", sim.session)
    request = json.dumps({"jsonrpc": "2.0", "method": "session.get_all_subject_identifiers", "params": [sim.session], "id": 1})
    assert json.loads(sim.post("/jsonrpc/", request.encode())[2])["result"] == []
