# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers: bytes arrive, redirects are followed, and the task has the last word."""

from __future__ import annotations

import io
import os
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import transfer
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

TASK = "OpaqueRef:task"
DATA = os.urandom(5_000_000)


@pytest.fixture
def coordinator(serve):
    """A server that knows tasks; ``outcome`` is the one task's."""
    return prepare(serve())


def prepare(server):
    server.outcome = {"status": "success", "result": "<value>OpaqueRef:new</value>", "error_info": [], "progress": 1.0}
    server.received = []

    def events(*_args):
        event = {"class": "task", "ref": TASK, "operation": "mod", "snapshot": server.outcome}
        return {"events": [event], "token": "t", "valid_ref_counts": {}}

    def download(handler):
        assert check(handler)
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        handler.wfile.write(DATA)

    def upload(handler):
        assert check(handler)
        server.received.append(handler.rfile.read(int(handler.headers["Content-Length"])))
        handler.send(200, b"")

    server.methods.update(
        {
            "task.create": TASK,
            "task.destroy": "",
            "event.from": events,
            "task.get_record": lambda *_args: server.outcome,
        }
    )
    server.http = {"GET": download, "PUT": upload}
    return server


def check(handler):
    """The query is there, the secret is not in it."""
    query = parse_qs(urlsplit(handler.path).query)
    assert query == {"uuid": ["a b&c"], "task_id": [TASK]}
    return handler.headers["Cookie"] == "session_id=OpaqueRef:s"


def redirect(target):
    def answer(handler):
        handler.send(302, b"", headers=[("Location", f"{target}{handler.path}")])
        handler.close_connection = True

    return answer


def open_session(server, **options):
    return Session(server.url, reference="OpaqueRef:s", timeout=5, **options)


def test_download(coordinator):
    target, counts = io.BytesIO(), []
    size = transfer.get(open_session(coordinator), "/export", {"uuid": "a b&c"}, target, limit=1 << 30, on_bytes=counts.append)
    assert target.getvalue() == DATA
    assert size == counts[-1] == len(DATA)
    assert coordinator.names()[-1] == "task.destroy"


def test_upload(coordinator):
    source = io.BytesIO(b"skipped" + DATA)
    source.seek(7)
    assert transfer.put(open_session(coordinator), "/import", {"uuid": "a b&c"}, source, len(DATA)) == "OpaqueRef:new"
    assert coordinator.received == [DATA]


def test_upload_that_is_accepted_before_the_body(coordinator):
    arrived = threading.Event()
    events = coordinator.methods["event.from"]
    coordinator.methods["event.from"] = lambda *args: arrived.wait(10) and events(*args)

    def upload(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.flush()
        coordinator.received.append(handler.rfile.read(int(handler.headers["Content-Length"])))
        handler.close_connection = True
        arrived.set()

    coordinator.http["PUT"] = upload
    big = DATA * 4
    assert transfer.put(open_session(coordinator), "/import", {}, io.BytesIO(big), len(big)) == "OpaqueRef:new"
    assert coordinator.received == [big]


@pytest.mark.parametrize("encrypted", [False, True])
def test_redirects(serve, tls, encrypted):
    context, ca = tls("127.0.0.1") if encrypted else (None, None)
    coordinator, other = prepare(serve(context=context)), prepare(serve(context=context))
    coordinator.http = {"GET": redirect(other.url), "PUT": redirect(other.url)}
    session = open_session(coordinator, ca_path=ca)
    target = io.BytesIO()
    transfer.get(session, "/export", {"uuid": "a b&c"}, target, limit=1 << 30)
    assert target.getvalue() == DATA
    # The redirect comes while the body is on its way; the whole body goes to the other host.
    big = DATA * 8
    assert transfer.put(session, "/import", {"uuid": "a b&c"}, io.BytesIO(big), len(big)) == "OpaqueRef:new"
    assert other.received == [big]
    assert coordinator.received == []


def test_redirect_away_from_tls_is_not_followed(serve, tls):
    context, ca = tls("127.0.0.1")
    coordinator, other = prepare(serve(context=context)), prepare(serve())
    coordinator.http["GET"] = redirect(other.url)
    with pytest.raises(XapiError) as caught:
        transfer.get(open_session(coordinator, ca_path=ca), "/export", {"uuid": "a b&c"}, io.BytesIO(), limit=1 << 30)
    assert caught.value.code == "INSECURE_REDIRECT"
    assert coordinator.names()[-1] == "task.destroy"


def test_only_the_task_knows(coordinator):
    coordinator.outcome = {
        "status": "failure",
        "error_info": ["IMPORT_ERROR_PREMATURE_EOF"],
        "result": "",
        "progress": 1.0,
    }
    with pytest.raises(XapiError) as caught:
        transfer.put(open_session(coordinator), "/import", {"uuid": "a b&c"}, io.BytesIO(DATA), len(DATA))
    assert caught.value.code == "IMPORT_ERROR_PREMATURE_EOF"


@pytest.mark.parametrize(("task_fails", "code"), [(True, "RBAC_PERMISSION_DENIED"), (False, "HTTP_ERROR")])
def test_refused(coordinator, task_fails, code):
    coordinator.http["PUT"] = lambda handler: handler.send(403, b"<html>") or setattr(handler, "close_connection", True)
    status = "failure" if task_fails else "pending"
    coordinator.outcome = {
        "status": status,
        "error_info": ["RBAC_PERMISSION_DENIED", "http/put_import", ""],
        "progress": 0.0,
    }
    with pytest.raises(XapiError) as caught:
        transfer.put(open_session(coordinator), "/import", {"uuid": "a b&c"}, io.BytesIO(DATA), len(DATA))
    assert caught.value.code == code
    assert coordinator.names()[-1] == "task.destroy"


def test_short_source(coordinator):
    with pytest.raises(XapiError) as caught:
        transfer.put(open_session(coordinator), "/import", {"uuid": "a b&c"}, io.BytesIO(b"x"), 10)
    assert caught.value.code == "SOURCE_TOO_SHORT"
