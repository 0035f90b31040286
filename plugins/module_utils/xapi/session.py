# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A XAPI session that survives what happens to pools.

Calls go through the XenAPI SDK as XML-RPC; bulk reads as JSON-RPC, which Python decodes many times faster. Both travel
on one kept-alive connection, use one session reference and meet one set of rules (``Session._attempt``):

* a host that is not the coordinator is left for the coordinator, with the same scheme and port, twice at most;
* an invalid session is renewed once when user name and password are known;
* a host that is still booting is waited for; and so is a host that cannot be reached, if this session reached it
  before (a restart of the coordinator), for ``retry_for`` seconds;
* a request that may have arrived is never sent again, unless it only reads.
"""

from __future__ import annotations

import contextlib
import gc
import json
import ssl
import threading
import time
import traceback
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

from .errors import XapiError, XapiUnreachable
from .fingerprint import Pinned, pinned, shown_by
from .texts import check_text
from .wire import Reply, Wire, distrust, make_url, normal_url, place, tls_context

try:
    import XenAPI
except ImportError:
    HAS_XENAPI = False
    XENAPI_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_XENAPI = True
    XENAPI_IMPORT_ERROR = None

LOGIN = "session.login_with_password"
LOCAL_LOGIN = "session.slave_local_login_with_password"
LOGINS = (LOGIN, LOCAL_LOGIN)
ORIGINATOR = "nobloat.xen"  # XAPI counts and limits sessions by originator
_MAX_HOPS = 2
_INT32 = 2**31
# What Python's XML-RPC raises for what is none; the latter ones for XML that is put together in a way that it does not expect.
_UNREADABLE = (ExpatError, xmlrpc.client.Error, ValueError, LookupError, TypeError, AttributeError)


def encode(value: Any) -> Any:
    """A Python value as XAPI takes it: big integers as text, dates as text in UTC, sets and tuples as lists.

    XML-RPC has no integers above 2^31 - 1, and XAPI reads digits in a string as an integer wherever it expects one.
    """
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if -_INT32 <= value < _INT32 else str(value)
    if isinstance(value, str):
        return check_text(str.__str__(value))  # a plain one: subclasses, of which Ansible has many, are not marshalled
    if isinstance(value, datetime):
        moment = value.astimezone(timezone.utc) if value.tzinfo else value
        return xmlrpc.client.DateTime(moment.strftime("%Y%m%dT%H:%M:%SZ"))
    if isinstance(value, Mapping):
        return {check_text(str(key)): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [encode(item) for item in value]
    return value


def _not_xapi(url: str, reply: str) -> XapiUnreachable:
    return XapiUnreachable("NOT_XAPI", f"{url} is not a XAPI host: {reply}", "Check address and port.", sent=True)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection meanwhile: decoding makes many objects and no garbage (10,000 VMs: 0.3 s, not 0.5 s)."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Transport(xmlrpc.client.Transport):
    """The SDK's XML-RPC on our connection."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def request(self, host: Any, handler: str, request_body: Any, verbose: bool = False) -> Any:
        reply = self._session._post("/RPC2", request_body, "text/xml")
        if reply.status != 200:
            where = f" (it points to {reply.location})" if reply.location else ""
            raise _not_xapi(self._session.url, f"it answers HTTP {reply.status}{where}")
        parser, unmarshaller = self.getparser()
        try:
            parser.feed(reply.body)
            parser.close()
            return unmarshaller.close()
        except _UNREADABLE as error:
            raise _not_xapi(self._session.url, "its answer is not XML-RPC") from error


class _Login:
    """What a session and its forks share: who we are, where the coordinator is, what it can do."""

    def __init__(self, url: str, username: str, password: str, reference: str | None) -> None:
        self.url, self.username, self.password, self.reference = url, username, password, reference
        self.lock = threading.Lock()
        self.reached = reference is not None  # some answer has come from there
        self.json = True  # until proven otherwise
        self.server_name = ""  # what the coordinator's certificate is checked against; "": the host in the URL


class Session:
    """A session with the coordinator of a pool.

    ``url``: ``https://host[:port]``, ``http://...``, or a bare host (https); any host of the pool will do.
    ``reference``: join this session instead of logging in; leaving the context then does not log it out.
    ``server_name``: what the certificate is checked against, if not the host in ``url``.
    ``fingerprint``: that of the only certificate that is trusted, without any authority.
    ``timeout``: seconds for a call, from the connection to the end of the answer. ``retry_for``: seconds to wait for a booting or
    restarting coordinator. Errors are ``XapiError`` and ``XapiUnreachable``.

    An object is for one thread; ``fork`` gives others to other threads.
    """

    def __init__(
        self,
        url: str,
        username: str = "",
        password: str = "",
        *,
        validate_certs: bool = True,
        ca_path: str | None = None,
        timeout: float = 60.0,
        reference: str | None = None,
        retry_for: float = 60.0,
        server_name: str = "",
        fingerprint: str = "",
    ) -> None:
        if not HAS_XENAPI:
            raise XapiError("XENAPI_MISSING", (), "the Python library XenAPI is not installed", "pip install XenAPI")
        for option, text in (("username", username), ("password", password)):
            check_text(text, option)
        self._login = _Login(normal_url(url), username, password, reference)
        self._login.server_name = server_name
        self._tls_rules = (validate_certs, ca_path)
        self._context: ssl.SSLContext | None = None
        if self._login.url.startswith("https:"):
            self._context = pinned(fingerprint) if fingerprint else tls_context(*self._tls_rules)
        self.timeout, self.retry_for = float(timeout), float(retry_for)
        self._owned = reference is None
        self._wire: Wire | None = None
        self._sdk: Any = None
        self._reply_timeout: float | None = None
        self._serial = 0

    @property
    def url(self) -> str:
        """Where the coordinator is: the address that was given, or the one that a host pointed to."""
        return self._login.url

    @property
    def server_name(self) -> str:
        """The name that the coordinator's certificate is checked against."""
        return self._login.server_name or urlsplit(self._login.url).hostname or ""

    def go_to(self, address: str) -> None:
        """Talk to the coordinator at another address of it from now on, in the same session.

        Its certificate stays the one that it is, and is checked against the name that it was known by.
        """
        self._login.server_name = self.server_name
        self._move(address)

    def peer(self) -> str:
        """The IP address that this session is connected to."""
        return str(self._connected().connect().sock.getpeername()[0])

    @property
    def verifies(self) -> bool:
        """Whether it only talks to a coordinator whose certificate it trusts."""
        return self._context is not None and (self._context.verify_mode != ssl.CERT_NONE or isinstance(self._context, Pinned))

    @property
    def fingerprint(self) -> str:
        """That of the certificate which the other side shows; "" without TLS. Nothing is sent to it."""
        return shown_by(self._connected().connect().sock) if self._context else ""

    def distrusts(self, server: ssl.SSLContext) -> str:
        """Why it would not talk to a coordinator that presents itself so; "" if it would."""
        return distrust(self._context, server, self.server_name) if self._context else ""

    @property
    def reference(self) -> str | None:
        """XAPI's reference of this session, a secret; None before the login."""
        return self._login.reference

    def login(self) -> Session:
        """Log in, or check nothing when joined by ``reference``; returns itself."""
        if not self._login.reference:
            self._relogin(None)
        return self

    def login_locally(self) -> Session:
        """Log in to this host alone, as root, for emergency calls that need no coordinator; returns itself."""
        self._login.reference = self._attempt(self._send_xmlrpc, LOCAL_LOGIN, (self._login.username, self._login.password))
        return self

    def logout(self) -> None:
        """End the session in XAPI and close the connection. Never fails: a lost session ends by itself."""
        if self._login.reference:
            with contextlib.suppress(XapiError):
                self._send_xmlrpc("session.logout", (self._login.reference,))
            self._login.reference = None
        self.close()

    def close(self) -> None:
        """Close the connection only."""
        if self._wire:
            self._wire.close()

    def fork(self) -> Session:
        """The same login on a connection of its own, for another thread. Close it, or leave its context."""
        twin = object.__new__(Session)
        twin.__dict__.update(self.__dict__)
        twin._wire = twin._sdk = None
        twin._owned = False
        return twin

    def __enter__(self) -> Session:
        return self.login()

    def __exit__(self, *exc: object) -> None:
        if self._owned:
            self.logout()
        else:
            self.close()

    def call(self, method: str, *args: Any) -> Any:
        """Call ``method`` (``VM.get_record``) and return what XML-RPC made of it; integers come as text."""
        return self._attempt(self._send_xmlrpc, method, args)

    def bulk(self, method: str, *args: Any) -> Any:
        """Call ``method`` by JSON-RPC (integers come as integers), or as ``call`` does where there is none."""
        return self._attempt(self._send_json, method, args)

    def wire_to(self, url: str) -> Wire:
        """A connection of its own to a host of the pool, with the session's TLS rules (for transfers)."""
        if self._context is None and url.startswith("https:"):
            self._context = tls_context(*self._tls_rules)
        own = place(url) == place(self._login.url)
        return Wire(url, self._context, self.timeout, self._login.server_name if own else "")

    # one attempt, and what follows from its outcome

    def _attempt(self, send: Callable[[str, tuple[Any, ...]], Any], method: str, args: tuple[Any, ...]) -> Any:
        reads = method.rpartition(".")[2].startswith("get_") or method in ("event.from", *LOGINS)
        arguments = tuple(encode(arg) for arg in args)
        deadline = time.monotonic() + self.retry_for
        hops, renewed, delay = 0, False, 0.2
        while True:
            if method not in LOGINS and not self._login.reference:
                self.login()
            used = self._login.reference
            try:
                result = send(method, arguments if method in LOGINS else (used, *arguments))
                self._login.reached = True
                return result
            except XapiUnreachable as error:
                again = (reads and error.code == "UNREACHABLE") if error.sent else error.code != "CERTIFICATE_INVALID"
                if not (again and self._login.reached):
                    raise
                failure: XapiError = error
            except XapiError as error:
                self._login.reached = True
                if error.code == "HOST_IS_SLAVE" and error.params and hops < _MAX_HOPS:
                    hops += 1
                    self._follow(error)
                    continue
                if error.code == "SESSION_INVALID" and method not in LOGINS and not renewed and self._login.password:
                    renewed = True
                    self._relogin(used)
                    continue
                if error.code != "HOST_STILL_BOOTING":
                    raise
                failure = error
            if time.monotonic() + delay > deadline:
                raise failure
            time.sleep(delay)
            delay = min(delay * 2, 5.0)

    def _move(self, address: str) -> None:
        parts = urlsplit(self._login.url)
        self._login.url = make_url(parts.scheme, address, parts.port)

    def _follow(self, error: XapiError) -> None:
        """Go where a host says that the coordinator is: an address or a name, and nothing else."""
        try:
            self._move(error.params[0])
        except XapiError:
            raise XapiError(
                error.code, error.params, f"{self.url} points to the coordinator {error.params[0]!r}, which is neither an address nor a "
                "host name", "Look at /etc/xensource/pool.conf on that host, or name the coordinator.",
            ) from None
        self._login.server_name = ""

    def _relogin(self, stale: str | None) -> None:
        """Log in unless another thread has replaced the ``stale`` reference meanwhile."""
        login = self._login
        with login.lock:
            if login.reference == stale:
                login.reference = None
                login.reference = self._attempt(
                    self._send_xmlrpc, LOGIN, (login.username, login.password, "1.0", ORIGINATOR)
                )

    # the two encodings

    def _connected(self) -> Wire:
        if self._wire is None or self._wire.url != self._login.url:
            self.close()
            self._wire = Wire(self._login.url, self._context, self.timeout, self._login.server_name)
        return self._wire

    def _post(self, path: str, body: bytes, content_type: str) -> Reply:
        return self._connected().post(path, body, content_type, self._reply_timeout)

    def _wait_for(self, method: str, arguments: tuple[Any, ...]) -> None:
        # event.from(session, classes, token, seconds) answers after that many seconds when nothing happens.
        self._reply_timeout = self.timeout + float(arguments[3]) if method == "event.from" else None

    def _send_xmlrpc(self, method: str, arguments: tuple[Any, ...]) -> Any:
        if self._sdk is None:
            self._sdk = XenAPI.Session(self._login.url, transport=_Transport(self))
        self._wait_for(method, arguments)
        url = self._login.url
        # Not through the SDK's `xenapi` attribute: that one renews sessions and repeats calls by rules of its own.
        answer = getattr(self._sdk, method)(*arguments)
        if not isinstance(answer, dict) or "Status" not in answer:
            raise _not_xapi(url, "its answer has no status")
        if answer["Status"] != "Success":
            raise XapiError.from_failure(answer.get("ErrorDescription") or [])
        return answer.get("Value", "")

    def _send_json(self, method: str, arguments: tuple[Any, ...]) -> Any:
        if not self._login.json:
            return self._send_xmlrpc(method, arguments)
        self._wait_for(method, arguments)
        self._serial += 1
        request = {"jsonrpc": "2.0", "method": method, "params": arguments, "id": self._serial}
        reply = self._post("/jsonrpc", json.dumps(request, default=str).encode(), "application/json")
        answer: Any = None
        if reply.status == 200:
            with contextlib.suppress(ValueError, RecursionError), undisturbed():
                answer = json.loads(reply.body)
        if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
            # An old XAPI, or a proxy that lets /RPC2 through only.
            self._login.json = False
            return self._send_xmlrpc(method, arguments)
        error = answer.get("error")
        if isinstance(error, dict):  # version 2
            raise XapiError.from_failure([error.get("message", ""), *(error.get("data") or [])])
        if error:  # version 1
            raise XapiError.from_failure(error)
        return answer["result"]
