# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One kept-alive HTTP(S) connection to one XAPI host, and what can go wrong on it in plain words.

The standard library's own XML-RPC transport silently sends a request again when a kept-alive connection breaks, which
must not happen to `VM.start`; so requests go through here, and `XapiUnreachable.sent` tells what is safe to repeat.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import math
import os
import re
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .errors import XapiError, XapiUnreachable
from .silence import nobody_there

_HINT_CERTIFICATE = (
    "Give ca_path (a file or directory with the CA, or the host's own certificate), "
    "use the host name that the certificate was made for, or set validate_certs: false."
)
PORTS = {"https": 443, "http": 80}
# Bytes of an answer at most. All objects of a pool of 10,000 guests are a quarter of that.
ANSWER_LIMIT = 256 << 20
_CHUNK = 1 << 20
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
# Certificates in a directory: by name, or by the hash of their subject, as OpenSSL looks them up.
_CERTIFICATE = re.compile(r".+\.(pem|crt)")
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")


class Reply(NamedTuple):
    """A complete HTTP reply."""

    status: int
    location: str
    body: bytes


def is_host(text: str) -> bool:
    """Whether a text is an IP address or a host name, and nothing else."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        name = text.encode("idna").decode("ascii").removesuffix(".")
    except UnicodeError:
        return False
    # A last label of digits is that of an address, which this would have been.
    return all(map(_LABEL.fullmatch, name.split("."))) and not name.rpartition(".")[2].isdigit()


def normal_url(url: str) -> str:
    """``https://host[:port]`` from a URL or a bare host name or address (IPv6 too); without a scheme it is https."""
    text = url.strip()
    if "@" in text:  # it may be a password, so it is not told
        raise XapiError("INVALID_URL", (), "the address of a XAPI host holds no user", "Use https://host[:port]; the user is username.")
    if "://" not in text:
        if text.count(":") > 1 and not text.startswith("["):
            text = f"[{text}]"
        text = f"https://{text}"
    try:
        if not text.isprintable():  # urlsplit would leave some of it out
            raise ValueError
        parts = urlsplit(text)
        if parts.scheme not in PORTS:
            raise ValueError
        return make_url(parts.scheme, parts.hostname or "", parts.port)
    except (ValueError, XapiError):
        raise _invalid(url) from None


def make_url(scheme: str, host: str, port: int | None) -> str:
    """Put a URL together, with brackets around an IPv6 address. Raises XapiError where there is neither address nor host name."""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not is_host(host):
        raise _invalid(host)
    if ":" in host:
        host = str(ipaddress.ip_address(host))  # its one form, as addresses are compared
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"


def place(url: str) -> str:
    """The host that a URL, or a bare host name or address, leads to; the same one has the same text."""
    return (urlsplit(normal_url(url)).hostname or "").removesuffix(".")


def _invalid(url: str) -> XapiError:
    return XapiError("INVALID_URL", (url,), f"{url!r} is not the address of a XAPI host", "Use https://host[:port].")


def tls_context(validate_certs: bool, ca_path: str | None) -> ssl.SSLContext:
    """The TLS rules of a session; ``ca_path`` is a PEM file or a directory of ``*.pem`` and ``*.crt`` files.

    It is then the only authority: those of the operating system are not loaded.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # XAPI's self-signed host certificates lack the extensions that Python 3.13 demands; trusting one of them directly
    # is what users of small pools do.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_path:
        try:
            _trust(context, ca_path)
        except OSError as error:
            reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise XapiError(
                "CA_PATH_INVALID", (ca_path,), f"ca_path '{ca_path}' cannot be used: {reason}", "Check ca_path."
            ) from error
    else:
        context.load_default_certs()
    return context


def _trust(context: ssl.SSLContext, ca_path: str) -> None:
    if not os.path.isdir(ca_path):
        context.load_verify_locations(ca_path)
        return
    names = sorted(os.listdir(ca_path))
    if not any(_CERTIFICATE.fullmatch(name) or _HASHED.fullmatch(name) for name in names):
        raise ssl.SSLError
    context.load_verify_locations(capath=ca_path)
    for name in names:
        if _CERTIFICATE.fullmatch(name):
            context.load_verify_locations(os.path.join(ca_path, name))


def distrust(client: ssl.SSLContext, server: ssl.SSLContext, server_name: str) -> str:
    """Why a client with these rules would not accept this server; "" if it would. They shake hands in memory."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=server_name)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    while True:
        try:
            here.do_handshake()
            return ""
        except ssl.SSLWantReadError:
            with contextlib.suppress(ssl.SSLWantReadError):
                there.do_handshake()
        except ssl.SSLCertVerificationError as error:
            return error.verify_message


class TooLarge(Exception):
    """More bytes came than are taken."""


class _Stream(io.RawIOBase):
    """What comes from a socket. Each read gets what is left of the time of the whole exchange, not a time of its own."""

    def __init__(self, sock: socket.socket, left: Callable[[], float]) -> None:
        self._sock, self._left = sock, left
        self._raw: Any = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class Connection(http.client.HTTPConnection):
    """HTTP or HTTPS to a host, where everything ends at a deadline that the user sets (``end_by``).

    The certificate is checked against ``server_name``. Not by the standard library's own class: that one takes the end of an IPv6
    address for a port, and gives each address of a name, and each read, the whole time anew.
    """

    sock: Any
    response_class: Any
    auto_open = 0

    def __init__(self, url: str, context: ssl.SSLContext | None, server_name: str) -> None:
        parts = urlsplit(url)
        if (parts.scheme == "https") != bool(context):
            raise ValueError(f"{url} does not go with these TLS rules")
        self.default_port = PORTS[parts.scheme]
        super().__init__(parts.hostname or "", parts.port or self.default_port)
        self._tls = context
        # The zone of a link-local address is our own affair.
        self._server_name = (server_name or parts.hostname or "").partition("%")[0]
        self._end, self._stall = math.inf, math.inf
        self.looking = False  # reads do not wait
        self.response_class = self.response  # called as a class would be

    def end_by(self, deadline: float, stall: float = math.inf) -> None:
        """Until when (``time.monotonic``) all has to be done, and how many seconds may pass without a byte."""
        self._end, self._stall = deadline, stall

    def left(self) -> float:
        """The seconds that the next read or write has."""
        if self.looking:
            return 0.0
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return min(left, self._stall)

    def connect(self) -> None:
        self.sock = self._dial()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._tls:
            self.sock.settimeout(self.left())
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)

    def _dial(self) -> socket.socket:
        """To the first address that takes us; each gets its share of the time that is left."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        failures: list[OSError] = []
        for number, (family, kind, protocol, _name, address) in enumerate(found):
            sock = None
            try:
                sock = socket.socket(family, kind, protocol)
                sock.settimeout(self.left() / (len(found) - number))
                sock.connect(address)
                return sock
            except OSError as error:
                failures.append(error)
                if sock:
                    sock.close()
        raise next((error for error in failures if not nobody_there(error)), failures[-1])

    def send(self, data: Any) -> None:
        self.sock.settimeout(self.left())
        super().send(data)

    def response(self, *_sock: Any, **options: Any) -> http.client.HTTPResponse:
        """What the next reply is read with."""
        source: Any = self
        return http.client.HTTPResponse(source, **options)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Stream(self.sock, self.left))


def body(response: http.client.HTTPResponse, limit: int, take: Callable[[bytes], Any]) -> None:
    """Hand the body of a reply on in pieces. Raises TooLarge, or IncompleteRead where it ends too early."""
    total = 0
    if (response.length or 0) > limit:
        raise TooLarge
    while chunk := response.read(_CHUNK):
        total += len(chunk)
        if total > limit:
            raise TooLarge
        take(chunk)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)


class Wire:
    """A kept-alive connection to the host in ``url``. Not for use by several threads.

    ``server_name`` is what its certificate is checked against, if not the host in ``url``. ``timeout``: seconds to connect, and
    for a whole exchange.
    """

    def __init__(self, url: str, context: ssl.SSLContext | None, timeout: float, server_name: str = "") -> None:
        self.url = url
        self.timeout = timeout
        self._server_name = server_name
        self._context = context if url.startswith("https:") else None
        self._connection: Connection | None = None

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def connect(self) -> Connection:
        """A connection that is open as far as one can see."""
        connection = self._connection
        if connection and connection.sock and not select.select([connection.sock], [], [], 0)[0]:
            return connection
        # No connection yet, or the server has closed (or spoiled) it while it was idle.
        self.close()
        connection = Connection(self.url, self._context, self._server_name)
        connection.end_by(time.monotonic() + self.timeout)
        try:
            connection.connect()
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that IDNA cannot encode
            explained = self._explain(error)
            explained.silent = not connection.sock and nobody_there(error)  # there is a socket once somebody has taken it
            connection.close()
            raise explained from error
        self._connection = connection
        return connection

    def post(self, path: str, content: bytes, content_type: str, timeout: float | None = None) -> Reply:
        """Send one request and read its reply; ``timeout`` in seconds for all of it replaces the usual one."""
        patience = timeout or self.timeout
        deadline = time.monotonic() + patience
        connection = self.connect()
        connection.end_by(deadline)
        pieces: list[bytes] = []
        try:
            connection.request("POST", path, content, {"Content-Type": content_type, "User-Agent": "nobloat.xen"})
            response = connection.getresponse()
            body(response, ANSWER_LIMIT, pieces.append)
            return Reply(response.status, response.getheader("Location", ""), b"".join(pieces))
        except TimeoutError as error:
            self.close()
            raise XapiUnreachable(
                "TIMEOUT",
                f"{self.url} took the request but did not answer within {patience:g} seconds",
                "What was asked for may still be going on. Look at the pool's tasks, or allow more time.",
                sent=True,
            ) from error
        except TooLarge as error:
            self.close()
            raise XapiUnreachable(
                "ANSWER_TOO_LARGE", f"{self.url} answers with more than {ANSWER_LIMIT >> 20} MiB", "Check that it is a XAPI host.",
                sent=True,
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise XapiUnreachable(
                "UNREACHABLE",
                f"the connection to {self.url} broke before the answer came: {error or type(error).__name__}",
                "What was asked for may have happened. Check the host, then run again.",
                sent=True,
            ) from error
        except BaseException:
            with contextlib.suppress(Exception):
                self.close()  # half a reply must not be taken for the next one
            raise

    def _explain(self, error: Exception) -> XapiUnreachable:
        address = self.url
        if isinstance(error, ssl.SSLCertVerificationError):
            return XapiUnreachable(
                "CERTIFICATE_INVALID",
                f"the certificate of {address} is not trusted: {error.verify_message}",
                _HINT_CERTIFICATE,
            )
        if isinstance(error, ssl.SSLError) and error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return XapiUnreachable("UNREACHABLE", f"{address} does not speak TLS", "Check the port, or use http://.")
        if isinstance(error, (socket.gaierror, UnicodeError)):
            return XapiUnreachable(
                "UNREACHABLE", f"the host name in {address} cannot be resolved", "Check hostname and DNS."
            )
        if isinstance(error, TimeoutError):
            return XapiUnreachable(
                "TIMEOUT",
                f"{address} did not answer within {self.timeout:g} seconds",
                "Check that the host is up and that no firewall is in the way.",
            )
        if isinstance(error, ConnectionRefusedError):
            reason, hint = "refuses the connection", "Check address and port, and that XAPI runs there."
        else:
            reason = f"cannot be reached: {getattr(error, 'strerror', None) or error}"
            hint = "Check address, network and firewall."
        return XapiUnreachable("UNREACHABLE", f"{address} {reason}", hint)
