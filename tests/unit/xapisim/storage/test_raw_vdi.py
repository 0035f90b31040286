# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw VDIs over HTTP: 200 comes first, the task tells how it ended."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import xmlrpc.client
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from unit.xapisim.storage.records import MIB, read, vbd_record, vdi_record, write
from xapisim import http as server

DATA = os.urandom(3 * MIB + 5)


def http_call(sim: Any, method: str, path: str, body: bytes | None = None, **query: str) -> tuple[int, Any, bytes]:
    """Status, headers, body; the session travels as a cookie unless the query has one."""
    parts = urlsplit(query.pop("url", sim.url))
    headers = query.pop("headers", None) or {"Cookie": f"session_id={sim.session}"}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, f"{path}?{urlencode(query)}", body, headers)
        reply = connection.getresponse()
        try:
            return reply.status, reply.headers, reply.read()
        except ConnectionError:  # it has not read all of our body
            return reply.status, reply.headers, b""
    finally:
        connection.close()


def outcome(sim: Any, task: str) -> tuple[str, Any]:
    """Status, and result or error."""
    sim.pool.clock.advance(0)
    record = sim.call("task.get_record", task)
    with sim.pool.lock:
        sim.pool.lock.wait_for(lambda: sim.pool.db.row("task", task).status != "pending", 10)
    record = sim.call("task.get_record", task)
    return record["status"], record["result"] if record["status"] == "success" else record["error_info"]


@pytest.fixture
def task(sim: Any) -> str:
    return sim.call("task.create", "transfer", "")


def test_bytes_go_in_and_out(sim: Any, vdi: str, task: str) -> None:
    uuid = sim.call("VDI.get_uuid", vdi)
    write(sim, vdi, 4 * MIB, b"stays")
    assert http_call(sim, "PUT", "/import_raw_vdi", DATA, vdi=uuid, format="raw", task_id=task)[0] == 200
    assert outcome(sim, task) == ("success", f"<value>{vdi}</value>")
    assert read(sim, vdi, 0, len(DATA)) == DATA
    assert read(sim, vdi, 4 * MIB, 5) == b"stays"
    status, headers, body = http_call(sim, "GET", "/export_raw_vdi", vdi=vdi, format="raw")
    assert status == 200
    assert headers["Content-Type"] == "application/octet-stream"
    assert "Content-Length" not in headers
    assert body[: len(DATA)] == DATA
    assert len(body) == sim.call("VDI.get_virtual_size", vdi)
    assert outcome(sim, headers["task-id"])[0] == "success"
    assert sim.call("VDI.get_VBDs", vdi) == []


def test_a_new_vdi(sim: Any, sr: Any, task: str) -> None:
    assert http_call(sim, "PUT", "/import_raw_vdi", DATA, sr_id=sr("nfs"), task_id=task)[0] == 200
    status, result = outcome(sim, task)
    new = result.removeprefix("<value>").removesuffix("</value>")
    assert status == "success"
    assert sim.call("VDI.get_name_label", new) == "Imported VDI"
    assert read(sim, new, 0, len(DATA)) == DATA


@pytest.mark.parametrize(
    ("method", "query", "status", "error"),
    [
        ("PUT", {}, 400, ["VDI_MISSING"]),
        ("PUT", {"vdi": "nonsense"}, 400, ["VDI_MISSING"]),
        ("PUT", {"format": "floppy"}, 404, ["INTERNAL_ERROR", "Unknown format floppy"]),
        ("GET", {"vdi": "nonsense"}, 400, ["VDI_MISSING"]),
    ],
)
def test_refused_at_once(sim: Any, task: str, method: str, query: Any, status: int, error: list[str]) -> None:
    path = "/import_raw_vdi" if method == "PUT" else "/export_raw_vdi"
    assert http_call(sim, method, path, b"x" if method == "PUT" else None, task_id=task, **query)[0] == status
    assert outcome(sim, task) == ("failure", error)


def test_refused_by_the_task_alone(sim: Any, vdi: str, make_vm: Any, task: str) -> None:
    vbd = sim.call("VBD.create", vbd_record(make_vm(power_state="Running"), vdi))
    sim.call("VBD.plug", vbd)
    status, _headers, body = http_call(sim, "GET", "/export_raw_vdi", vdi=vdi, task_id=task)
    assert (status, body) == (200, b"")
    state, error = outcome(sim, task)
    assert (state, error[0]) == ("failure", "SR_BACKEND_FAILURE_46")
    assert sim.call("VDI.get_VBDs", vdi) == [vbd]


def test_a_disk_that_is_only_read_can_be_exported(sim: Any, vdi: str, make_vm: Any) -> None:
    sim.call("VBD.plug", sim.call("VBD.create", vbd_record(make_vm(power_state="Running"), vdi, mode="RO")))
    assert http_call(sim, "GET", "/export_raw_vdi", vdi=vdi)[2] == bytes(sim.call("VDI.get_virtual_size", vdi))
    second = sim.call("task.create", "write", "")
    http_call(sim, "PUT", "/import_raw_vdi", b"x", vdi=vdi, task_id=second)
    assert outcome(sim, second)[1][0] == "SR_BACKEND_FAILURE_46"


def test_too_much_and_too_little(sim: Any, sr: Any, task: str) -> None:
    small = sim.call("VDI.create", vdi_record(sr("dummy"), virtual_size=MIB))
    http_call(sim, "PUT", "/import_raw_vdi", DATA, vdi=small, task_id=task)
    assert outcome(sim, task) == ("failure", ["VDI_IO_ERROR", "Device I/O errors"])
    assert sim.call("VDI.get_VBDs", small) == []


@pytest.mark.parametrize("length", ["1000", "1125899906842624"])  # the real one; that of a client which does not know how much there is
def test_a_body_that_ends_early(sim: Any, sr: Any, length: str) -> None:
    small = sim.call("VDI.create", vdi_record(sr("dummy"), virtual_size=MIB))
    second = sim.call("task.create", "transfer", "")
    parts = urlsplit(sim.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.putrequest("PUT", f"/import_raw_vdi?vdi={small}&task_id={second}")
    connection.putheader("Cookie", f"session_id={sim.session}")
    connection.putheader("Content-Length", length)
    connection.endheaders()
    connection.send(b"short")
    connection.sock.shutdown(socket.SHUT_WR)  # closed both ways, the reply that nobody reads may reset the connection first
    connection.getresponse().read()
    connection.close()
    assert outcome(sim, second) == ("failure", ["VDI_IO_ERROR", "Device I/O errors"])
    assert sim.call("VDI.get_VBDs", small) == []


def test_paths_match_by_their_beginning(sim: Any, vdi: str, task: str) -> None:
    """As Xen Orchestra asks: an empty probe without a task, to see whether it is led elsewhere; then the bytes."""
    query = {"format": "raw", "vdi": vdi, "session_id": sim.session}
    assert http_call(sim, "PUT", "/import_raw_vdi/", b"", headers={"Content-Length": "0"}, **query)[0] == 200
    assert http_call(sim, "PUT", "/import_raw_vdi/", DATA, task_id=task, **query)[0] == 200
    assert outcome(sim, task)[0] == "success"
    assert http_call(sim, "GET", "/export_raw_vdi/", **query)[2][: len(DATA)] == DATA
    assert http_call(sim, "GET", "/export/", ref="x")[0] == 501  # not that of raw disks
    assert http_call(sim, "GET", "/nothing")[0] == 403


def test_an_export_over_a_connection_whose_call_failed_ends(sim: Any, vdi: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is that of the bytes, whoever still holds the request, as the traceback of a failure does."""
    parts, held = urlsplit(sim.url), []
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)

    def answer(request: server.Request) -> server.Response:
        held.append(request)
        return answered(request)

    answered = server._answer
    monkeypatch.setattr(server, "_answer", answer)
    try:
        connection.request("POST", "/", xmlrpc.client.dumps((sim.session, "OpaqueRef:none"), "VBD.unplug_force").encode())
        assert b"HANDLE_INVALID" in connection.getresponse().read()
        connection.request("GET", f"/export_raw_vdi?vdi={vdi}&session_id={sim.session}")
        assert len(connection.getresponse().read()) == int(sim.call("VDI.get_virtual_size", vdi))
    finally:
        connection.close()


def test_chunks_are_refused(sim: Any, vdi: str, task: str) -> None:
    headers = {"Cookie": f"session_id={sim.session}", "Transfer-Encoding": "chunked"}
    assert http_call(sim, "PUT", "/import_raw_vdi", None, vdi=vdi, task_id=task, headers=headers)[0] == 404
    assert outcome(sim, task)[1][0] == "INTERNAL_ERROR"


def test_another_host_is_asked(sim: Any, sr: Any, hosts: list[str]) -> None:
    local = sim.call("VDI.create", vdi_record(sr("dummy")))
    slave = sim.server.info["pools"][0]["hosts"][1]["url"]
    status, headers, _body = http_call(sim, "GET", "/export_raw_vdi", url=slave, vdi=local)
    assert status == 302
    assert headers["Location"] == f"{sim.url}/export_raw_vdi?vdi={local.replace(':', '%3A')}"
    shared = sim.call("VDI.create", vdi_record(sr("nfs")))
    assert http_call(sim, "GET", "/export_raw_vdi", url=slave, vdi=shared)[0] == 200


def test_who_may(start: Any) -> None:
    users = [{"name": "olga", "password": "secret", "role": "vm-operator"}]
    sim = start({"pools": [{"name": "alpha", "templates": "none", "users": users}]})
    vdi = sim.call("VDI.create", vdi_record(sim.call("SR.get_by_name_label", "NFS storage")[0]))
    tasks = [sim.call("task.create", "transfer", "") for _at in range(2)]
    assert http_call(sim, "GET", "/export_raw_vdi", vdi=vdi, task_id=tasks[0], headers={"Cookie": "a=b"})[0] == 401
    assert outcome(sim, tasks[0]) == ("failure", ["SESSION_AUTHENTICATION_FAILED"])
    basic = {"Authorization": "Basic " + base64.b64encode(b"olga:secret").decode()}
    assert http_call(sim, "GET", "/export_raw_vdi", vdi=vdi, task_id=tasks[1], headers=basic)[0] == 403
    assert outcome(sim, tasks[1])[1][:2] == ["RBAC_PERMISSION_DENIED", "http/get_export_raw_vdi"]
    root = {"Authorization": "Basic " + base64.b64encode(b"root:simulator").decode()}
    before = len(sim.pool.sessions.all())
    assert http_call(sim, "GET", "/export_raw_vdi", vdi=vdi, headers=root)[0] == 200
    assert len(sim.pool.sessions.all()) == before
