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
import os
import select
import socket
import ssl
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .errors import XapiError, XapiUnreachable
from .silence import nobody_there

_HINT_CERTIFICATE = (
    "Give ca_path (a file or directory with the CA, or the host's own certificate), "
    "use the host name that the certificate was made for, or set validate_certs: false."
)


class Reply(NamedTuple):
    """A complete HTTP reply."""

    status: int
    location: str
    body: bytes


def normal_url(url: str) -> str:
    """``https://host[:port]`` from a URL or a bare host name or address (IPv6 too); without a scheme it is https."""
    text = url.strip()
    if "://" not in text:
        if text.count(":") > 1 and not text.startswith("["):
            text = f"[{text}]"
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("http", "https") or not host:
        raise XapiError("INVALID_URL", (url,), f"'{url}' is not the address of a XAPI host", "Use https://host[:port].")
    return make_url(parts.scheme, host, port)


def make_url(scheme: str, host: str, port: int | None) -> str:
    """Put a URL together, with brackets around an IPv6 address."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"


def tls_context(validate_certs: bool, ca_path: str | None) -> ssl.SSLContext:
    """The TLS rules of a session; ``ca_path`` is a PEM file or a directory of ``*.pem`` and ``*.crt`` files."""
    context = ssl.create_default_context()
    # XAPI's self-signed host certificates lack the extensions that Python 3.13 demands; trusting one of them directly
    # is what users of small pools do.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_path:
        try:
            if os.path.isdir(ca_path):
                context.load_verify_locations(capath=ca_path)
                for name in sorted(os.listdir(ca_path)):
                    if name.endswith((".pem", ".crt")):
                        context.load_verify_locations(os.path.join(ca_path, name))
            else:
                context.load_verify_locations(ca_path)
        except OSError as error:
            reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise XapiError(
                "CA_PATH_INVALID", (ca_path,), f"ca_path '{ca_path}' cannot be used: {reason}", "Check ca_path."
            ) from error
    return context


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


class _NamedHTTPSConnection(http.client.HTTPSConnection):
    """HTTPS to an address that is not in the certificate: the name that it is checked against is another one."""

    def __init__(self, *args: Any, server_name: str, context: ssl.SSLContext | None, **options: Any) -> None:
        super().__init__(*args, context=context, **options)
        self._server_name, self._tls_context = server_name, context or ssl.create_default_context()

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls_context.wrap_socket(self.sock, server_hostname=self._server_name)


class Wire:
    """A kept-alive connection to the host in ``url``. Not for use by several threads.

    ``server_name`` is what its certificate is checked against, if not the host in ``url``.
    """

    def __init__(self, url: str, context: ssl.SSLContext | None, timeout: float, server_name: str = "") -> None:
        parts = urlsplit(url)
        self._server_name = server_name
        self.url = url
        self.timeout = timeout
        self._host, self._port, self._tls = parts.hostname or "", parts.port, parts.scheme == "https"
        self._context = context
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is open as far as one can see."""
        connection = self._connection
        if connection and connection.sock and not select.select([connection.sock], [], [], 0)[0]:
            return connection
        # No connection yet, or the server has closed (or spoiled) it while it was idle.
        self.close()
        if self._tls:
            connection = _NamedHTTPSConnection(
                self._host, self._port, timeout=self.timeout, context=self._context,
                server_name=self._server_name or self._host,
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self.timeout)
        try:
            connection.connect()
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that IDNA cannot encode
            explained = self._explain(error)
            explained.silent = not connection.sock and nobody_there(error)  # there is a socket once somebody has taken it
            connection.close()
            raise explained from error
        self._connection = connection
        return connection

    def post(self, path: str, body: bytes, content_type: str, timeout: float | None = None) -> Reply:
        """Send one request and read its reply; ``timeout`` in seconds replaces the usual one for this reply."""
        connection = self.connect()
        connection.sock.settimeout(timeout or self.timeout)
        try:
            connection.request("POST", path, body, {"Content-Type": content_type, "User-Agent": "nobloat.xen"})
            response = connection.getresponse()
            reply = Reply(response.status, response.getheader("Location", ""), response.read())
            if connection.sock:
                connection.sock.settimeout(self.timeout)
            return reply
        except TimeoutError as error:
            self.close()
            raise XapiUnreachable(
                "TIMEOUT",
                f"{self.url} took the request but did not answer within {timeout or self.timeout:g} seconds",
                "What was asked for may still be going on. Look at the pool's tasks, or allow more time.",
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
