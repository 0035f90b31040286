# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP of one host: XML-RPC and JSON-RPC, and the table of other handlers.

One thread a connection, HTTP/1.1 with keep-alive. Statuses and headers are those of a real xapi.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from . import dispatch, jsonrpc, xmlrpc
from .db import Row
from .errors import XapiError
from .pool import HostRuntime, Pool
from .schema import roles_from
from .sessions import Login

LIMIT = 300 * 1024  # bytes of a remote procedure call, xapi-consts http_limit_max_rpc_size
REASONS = {
    200: "OK",
    204: "No Content",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorised",
    403: "Forbidden",
    404: "Not Found",
    413: "Request Entity Too Large",
    500: "Internal Server Error",
    501: "Method Not Implemented",
}
_CORS = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: X-Requested-With\r\n"


@dataclass
class Request:
    """One request. `body` is read only for remote procedure calls; handlers read `stream` themselves."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    stream: Any
    pool: Pool
    runtime: HostRuntime
    cookies: dict[str, str] = field(default_factory=dict)
    target: str = ""  # path and query as they came
    login: Login | None = None

    @property
    def task(self) -> Row | None:
        """The task of `task_id`. Call with the pool lock held."""
        return self.pool.db.maybe("task", self.query.get("task_id", ""))

    @property
    def length(self) -> int:
        """Bytes of the body as announced."""
        text = self.headers.get("content-length", "0")
        return int(text) if text.isdigit() else 0


@dataclass
class Response:
    """A whole reply; or its head, with `transfer`, which then sends and reads whatever it likes until the end."""

    status: int
    body: bytes = b""
    content_type: str = "text/html"
    headers: dict[str, str] = field(default_factory=dict)
    transfer: Callable[[Callable[[bytes], None]], None] | None = None


Handler = Callable[[Request], Response]
HANDLERS: dict[tuple[str, str], tuple[str, str, Handler]] = {}


def handler(method: str, path: str, realm: str, role: str = "") -> Callable[[Handler], Handler]:
    """Register an HTTP handler that wants a session (cookie or session_id=, or basic authentication).

    `role`: the weakest role that may use it, by default any.
    """

    def register(function: Handler) -> Handler:
        HANDLERS[method, path] = realm, role, function
        return function

    return register


def found(request: Request) -> tuple[str, str, Handler] | None:
    """The handler with the longest path that the request's begins with (http_svr.ml, Radix_tree.longest_prefix)."""
    paths = [path for method, path in HANDLERS if method == request.method and request.path.startswith(path)]
    return HANDLERS[request.method, max(paths, key=len)] if paths else None


def page(status: int, title: str, text: str) -> Response:
    """A page of HTML as xapi makes it for an error."""
    body = f"<html><body><h1>HTTP {status} {title}</h1>{text}</body></html>"
    return Response(status, body.encode(), headers={"cache-control": "no-cache, no-store"})


def _not_here(request: Request) -> Response:
    return page(501, "not implemented", f"xapisim has no {request.method} {request.path} yet.")


# the transfers that xapi has and xapisim does not (yet): they ask for authentication and then say so
for _method, _path, _realm in (
    ("GET", "/export", "get_export"),
    ("GET", "/export_metadata", "get_export_metadata"),
    ("PUT", "/import", "put_import"),
    ("PUT", "/import_metadata", "put_import_metadata"),
    ("GET", "/rrd_updates", "rrd_updates"),
    ("GET", "/host_rrd", "get_host_rrd"),
    ("GET", "/vm_rrd", "get_vm_rrd"),
    ("GET", "/sr_rrd", "get_sr_rrd"),
    ("GET", "/host_backup", "get_host_backup"),
    ("PUT", "/host_restore", "put_host_restore"),
    ("GET", "/pool/xmldbdump", "get_pool_xml_db_sync"),
    ("GET", "/system-status", "get_system_status"),
    ("GET", "/updates", "get_updates"),
):
    handler(_method, _path, _realm)(_not_here)


def _tls_of(runtime: HostRuntime) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # only its owner can read it
        file.write(runtime.private_key + runtime.certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context


class HostServer:
    """The listeners of one host, one at each of its addresses; hang_up() makes it unreachable, listen() brings it back."""

    def __init__(self, pool: Pool, runtime: HostRuntime, port: int, *, tls: bool = False) -> None:
        self._pool = pool
        self._runtime = runtime
        self._secure, self._tls = tls, _tls_of(runtime) if tls else None
        self.port = port
        self._listeners: dict[str, socket.socket] = {}  # by address
        self._connections: dict[socket.socket, str] = {}  # to the address that it came to
        runtime.listen, runtime.hang_up, runtime.renew = self.listen, self.hang_up, self.renew

    def listen(self) -> None:
        """Bind all addresses (port 0: a free one) and accept; let go of those that the host no longer has.

        OSError when the port is taken at its own address. Another one that is taken is a conflict of addresses: whoever
        had it first, has it.
        """
        wanted = self._runtime.addresses
        self._drop(set(self._listeners) - wanted)
        for address in sorted(wanted - set(self._listeners), key=lambda address: address != self._runtime.address):
            try:
                self._bind(address)
            except OSError:
                if address == self._runtime.address:
                    raise

    def _bind(self, address: str) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, self.port))
            listener.listen(256)
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        self._listeners[address] = listener
        name = f"http-{self._runtime.name}"
        threading.Thread(target=self._accept, args=(address, listener), name=name, daemon=True).start()

    def hang_up(self) -> None:
        """Refuse connections and cut those there are."""
        self._drop(set(self._listeners))

    def renew(self) -> None:
        """Serve TLS with the certificate that the host has now; the connections that there are end."""
        self._tls = _tls_of(self._runtime) if self._secure else None
        self._cut(set(self._listeners))

    def _cut(self, addresses: set[str]) -> None:
        for sock in [sock for sock, at in list(self._connections.items()) if at in addresses]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _drop(self, addresses: set[str]) -> None:
        listeners = [self._listeners.pop(address) for address in addresses]
        for listener in listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
        self._cut(addresses)
        for listener in listeners:
            listener.close()

    def _accept(self, address: str, listener: socket.socket) -> None:
        while True:
            try:
                sock, _peer = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(address, sock), daemon=True).start()

    def _serve(self, address: str, sock: socket.socket) -> None:
        self._connections[sock] = address
        plain = sock
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._connections.pop(plain, None)
                self._connections[sock] = address
            stream = sock.makefile("rb", 65536)
            while address in self._listeners and self._one(sock, stream):
                pass
        except (OSError, ValueError):
            pass  # the client has gone, or does not trust our certificate, or speaks no HTTP
        finally:
            self._connections.pop(plain, None)
            self._connections.pop(sock, None)
            # A traceback may still hold the stream, with which the connection would stay open.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                sock.close()

    def _one(self, sock: socket.socket, stream: Any) -> bool:
        """Read and answer one request; whether to keep the connection."""
        line = stream.readline(65536)
        if not line.strip():
            return False
        method, target, version = line.decode("latin-1").split()
        headers: dict[str, str] = {}
        while (line := stream.readline(65536)) not in (b"\r\n", b"\n", b""):
            name, _unused, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        url = urlsplit(target)
        request = Request(
            method,
            url.path,
            dict(parse_qsl(url.query, keep_blank_values=True)),
            headers,
            stream,
            self._pool,
            self._runtime,
            target=target,
        )
        if headers.get("expect", "").lower() == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection = headers.get("connection", "").lower()
        keep = connection != "close" if version == "HTTP/1.1" else connection == "keep-alive"
        response = _answer(request)
        if request.method not in ("GET", "POST", "OPTIONS"):
            keep = False  # whatever body there was has not been read
        if response.transfer is not None:
            head = f"{version} {response.status} {REASONS[response.status]}\r\nconnection: close\r\n"
            head += "".join(f"{k}: {v}\r\n" for k, v in response.headers.items())
            sock.sendall(f"{head}content-type: {response.content_type}\r\n\r\n".encode("latin-1"))
            response.transfer(sock.sendall)
            return False
        extra = "".join(f"{k}: {v}\r\n" for k, v in response.headers.items())
        if response.content_type in ("text/xml", "application/json"):
            extra = "cache-control: no-cache, no-store\r\n" + extra
        head = (
            f"{version} {response.status} {REASONS[response.status]}\r\ncontent-length: {len(response.body)}\r\n"
            f"connection: {'keep-alive' if keep else 'close'}\r\n{extra}content-type: {response.content_type}\r\n\r\n"
        )
        if response.content_type in ("text/xml", "application/json"):
            head = head[:-2] + _CORS + "\r\n"
        sock.sendall(head.encode("latin-1") + response.body if method != "HEAD" else head.encode("latin-1"))
        return keep


def _answer(request: Request) -> Response:
    if request.method == "POST":
        return _post(request)
    if request.method == "OPTIONS":
        return Response(
            200,
            headers={
                "Access-Control-Allow-Origin": "*",
                "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
                "Access-Control-Allow-Headers": "X-Requested-With, Content-Type",
            },
        )
    known = found(request)
    if known is not None:
        return _handle(request, *known)
    if request.method == "GET":
        return page(403, "forbidden", "Access to the requested resource is forbidden.")
    return page(501, "not implemented", "The request method is not implemented.")


def _post(request: Request) -> Response:
    if request.length > LIMIT:
        return page(413, "request entity too large", "The request is larger than 300 KiB.")
    body = request.stream.read(request.length)
    originator = request.headers.get("user-agent", "")
    codec: Any
    try:
        if request.path.startswith("/json"):  # also /jsonrpc
            codec, method, params = jsonrpc.decode_call(body)
        else:  # at / and /RPC2, and whatever begins with them
            codec = xmlrpc.XmlCodec()
            method, params = xmlrpc.decode_call(body)
    except xmlrpc.Malformed as error:
        return _internal_error(str(error))
    reply = dispatch.call(request.pool, request.runtime, method, params, codec, originator)
    return Response(200, reply, codec.content_type)


def _internal_error(text: str) -> Response:
    return page(
        500,
        "internal server error",
        "An unexpected error occurred; please wait a while and try again. If the problem persists, please contact your "
        f"support representative.<h1> Additional information </h1>{xmlrpc.escape(text).replace('&quot;', chr(34))}",
    )


def _handle(request: Request, realm: str, role: str, function: Handler) -> Response:
    pool = request.pool
    with pool.lock:
        request.login, temporary = _log_in(request)
        if request.login is None:
            _fail(request, XapiError("SESSION_AUTHENTICATION_FAILED"))
            refusal = page(401, "unauthorised", "You need to be authenticated.")
            refusal.headers["WWW-Authenticate"] = f'Basic realm="{realm}"'
            return refusal
        roles = roles_from(role) if role else ()
        if role and request.login.roles is not None and request.login.roles.isdisjoint(roles):
            text = f"No permission in user session. (Roles with this permission: {', '.join(roles)})"
            _fail(request, XapiError("RBAC_PERMISSION_DENIED", f"http/{realm}", text))
            return page(403, "forbidden", "Access to the requested resource is forbidden.")
    try:
        return function(request)
    except XapiError as error:
        with pool.lock:
            _fail(request, error)
        return _internal_error(str(error))
    finally:
        if temporary:
            with pool.lock:
                pool.sessions.close(request.login.row)


def _fail(request: Request, error: XapiError) -> None:
    """The client's task, if it named one, tells why."""
    task = request.task
    if task is not None:
        request.pool.tasks.fail(task, error)


def _log_in(request: Request) -> tuple[Login | None, bool]:
    """Who asks: cookies win over the query, basic authentication is a session for this request alone."""
    sessions = request.pool.sessions
    cookie = dict(p.strip().partition("=")[::2] for p in request.headers.get("cookie", "").split(";"))
    ref = cookie.get("session_id") or request.query.get("session_id")
    scheme, _unused, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        if ref:
            return sessions.find(ref), False
        if scheme.lower() == "basic":
            name, _unused, password = base64.b64decode(encoded).decode().partition(":")
            user = sessions.authenticate(name, password)
            return sessions.find(sessions.open(user, request.runtime.row, "http").ref), True
    except (XapiError, ValueError):
        pass
    return None, False
