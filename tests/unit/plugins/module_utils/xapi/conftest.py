# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scripted HTTP server that answers in XAPI's wire format: for the ways in which a pool can misbehave."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import xmlrpc.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), *[".."] * 5))


class Fail(Exception):
    """A scripted method raises this to answer with an error description."""

    def __init__(self, *details):
        self.details = list(details)


class Raw(Exception):
    """... to answer with a bare HTTP reply."""

    def __init__(self, status, body=b"<html>no</html>", headers=()):
        self.status, self.body, self.headers = status, body, headers


class Drop(Exception):
    """... to close the connection instead of answering."""


def xml(value):
    """A value in XAPI's own XML: integers and strings untyped, floats and booleans typed."""
    if isinstance(value, bool):
        return f"<value><boolean>{int(value)}</boolean></value>"
    if isinstance(value, float):
        return f"<value><double>{value:.16g}</double></value>"
    if isinstance(value, xmlrpc.client.DateTime):
        return f"<value><dateTime.iso8601>{value.value}</dateTime.iso8601></value>"
    if isinstance(value, dict):
        members = "".join(f"<member><name>{escape(k)}</name>{xml(v)}</member>" for k, v in value.items())
        return f"<value><struct>{members}</struct></value>"
    if isinstance(value, list):
        return f"<value><array><data>{''.join(map(xml, value))}</data></array></value>"
    return f"<value>{escape(str(value))}</value>"


class Server:
    """``methods``: name -> value, or function of the parameters. ``calls``: what was asked for, in order."""

    def __init__(self, host="127.0.0.1", port=0, context=None):
        self.methods = {"session.login_with_password": "OpaqueRef:session", "session.logout": ""}
        self.calls = []
        self.connections = 0
        self.sockets = []
        self.json = True
        self.http = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                server.connections += 1
                server.sockets.append(self.connection)

            def log_message(self, *args):
                pass

            def send(self, status, body, kind="text/xml", headers=()):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                server.http["GET"](self)

            def do_PUT(self):
                server.http["PUT"](self)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                wire = "json" if self.path == "/jsonrpc" else "xml"
                if wire == "json":
                    request = json.loads(body)
                    method, params = request["method"], request["params"]
                else:
                    params, method = xmlrpc.client.loads(body)
                try:
                    if wire == "json" and server.json is not True:
                        raise Raw(server.json)
                    server.calls.append((wire, method, list(params)))
                    answer = (
                        server.methods[method] if method in server.methods else Fail("MESSAGE_METHOD_UNKNOWN", method)
                    )
                    if isinstance(answer, Exception):
                        raise answer
                    result, failure = answer(*params) if callable(answer) else answer, None
                except Fail as error:
                    result, failure = None, error.details
                except Raw as error:
                    return self.send(error.status, error.body, "text/html", error.headers)
                except Drop:
                    self.close_connection = True
                    return None
                if wire == "json":
                    reply = {"jsonrpc": "2.0", "id": request["id"]}
                    if failure:
                        reply["error"] = {"code": 1, "message": failure[0], "data": failure[1:]}
                    else:
                        reply["result"] = result
                    data = json.dumps(reply, default=lambda value: value.value)
                    return self.send(200, data.encode(), "application/json")
                status = (
                    {"Status": "Failure", "ErrorDescription": failure}
                    if failure
                    else {"Status": "Success", "Value": result}
                )
                head, tail = (
                    '<?xml version="1.0"?><methodResponse><params><param>',
                    "</param></params></methodResponse>",
                )
                document = f"{head}{xml(status)}{tail}"
                return self.send(200, document.encode())

        class Http(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def handle_error(self, request, client_address):
                pass

        self.http_server = Http((host, port), Handler)
        if context:
            self.http_server.socket = context.wrap_socket(
                self.http_server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.host, self.port = self.http_server.server_address[:2]
        self.url = f"{'https' if context else 'http'}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        self.thread = threading.Thread(
            target=self.http_server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.thread.start()

    def names(self, wire=None):
        return [name for kind, name, _params in self.calls if wire in (None, kind)]

    def hang_up(self):
        """Close every connection, as a server does that ends idle ones."""
        for connection in self.sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.sockets = []

    def stop(self):
        if self.http_server:
            self.http_server.shutdown()
            self.hang_up()
            self.http_server.server_close()
            self.http_server = None


@pytest.fixture
def serve():
    """A factory of servers that end with the test."""
    servers = []

    def start(**options):
        servers.append(Server(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def wire():
    """The exceptions that a scripted method may raise."""
    return type("Wire", (), {"Fail": Fail, "Raw": Raw, "Drop": Drop, "xml": staticmethod(xml)})


@pytest.fixture
def tls(tmp_path):
    """A factory of (server context, CA file) for a certificate with the given names; it is left in leaf-NAME.crt."""
    trustme = pytest.importorskip("trustme")

    def make(*names):
        ca = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf = ca.issue_cert(*names)
        leaf.configure_cert(context)
        leaf.cert_chain_pems[0].write_to_path(str(tmp_path / f"leaf-{names[0]}.crt"))
        path = tmp_path / f"ca-{names[0]}.pem"
        ca.cert_pem.write_to_path(str(path))
        return context, str(path)

    return make


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def pool():
    """The first pool of a running xapisim: its line of JSON."""
    environment = {**os.environ, "PYTHONPATH": os.path.join(ROOT, "tests")}
    process = subprocess.Popen(
        [sys.executable, "-m", "xapisim"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    )
    deadline = time.monotonic() + 30
    line = process.stdout.readline()
    assert line, "xapisim did not start"
    assert time.monotonic() < deadline
    ready = json.loads(line)
    yield {**ready["pools"][0], "control": ready["control"]}
    process.stdin.close()
    process.wait(20)
