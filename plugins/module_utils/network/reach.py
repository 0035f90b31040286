# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host can be reached at an address: by a new connection, without sending anything that is secret.

xapi serves its API at all addresses of a host, whatever the management interface is (xapi_mgmt_iface.ml). So an address
can be tried before the management moves to it. Who answers is known by its certificate, which is the same everywhere.
"""
from __future__ import annotations

import hashlib
import ssl
import time
import xmlrpc.client
from urllib.parse import urlsplit

from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import (
    XapiError,
    XapiUnreachable,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.wire import (
    Wire,
    make_url,
    tls_context,
)

TRY = 5.0  # seconds for one attempt
PAUSE = 0.5
# Seconds after a change before what answers counts: at once, packets may still take the old way.
SETTLE = 1.5
ECHO = "nobloat.xen"


def probe(xapi: Session, address: str, timeout: float = TRY) -> str:
    """Ask who answers at `address`: the SHA-256 of its certificate, "" where there is no TLS. Raises XapiUnreachable."""
    parts = urlsplit(xapi.url)
    url = make_url(parts.scheme, address, parts.port)
    wire = Wire(url, tls_context(False, None) if parts.scheme == "https" else None, timeout)
    try:
        sock = wire.connect().sock
        shown = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else b""
        call = xmlrpc.client.dumps((ECHO,), f"system.isAlive:{ECHO}").encode()
        reply = wire.post("/RPC2", call, "text/xml")
        if reply.status != 200 or ECHO.encode() not in reply.body:
            raise XapiUnreachable("NOT_XAPI", f"{url} is not a XAPI host", "Does another machine have this address?")
        return hashlib.sha256(shown).hexdigest() if shown else ""
    finally:
        wire.close()


def try_address(xapi: Session, address: str, certificate: str | None, seconds: float) -> None:
    """Wait until the host with this certificate (None: whoever) answers at `address`; XapiError when it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            shown = probe(xapi, address, min(TRY, max(0.5, deadline - time.monotonic())))
        except XapiUnreachable:
            if time.monotonic() + PAUSE > deadline:
                raise
            time.sleep(PAUSE)
            continue
        if certificate is not None and shown != certificate:
            raise XapiError(
                "OTHER_HOST", (address,), f"another host than expected answers at {address}: its certificate is another one",
                "Two machines may have this address.",
            )
        return


def check_host(xapi: Session, host: str, address: str, certificate: str | None, seconds: float) -> None:
    """Wait until a host answers at its management address, to us and to its coordinator; XapiError when it does not in time."""
    time.sleep(SETTLE)
    try_address(xapi, address, certificate, seconds)
    xapi.call("host.get_servertime", host)  # the coordinator forwards it to the host


def certificate_of(xapi: Session, address: str) -> str | None:
    """What a host shows at its address now; None when we cannot get there, as from behind a NAT."""
    try:
        return probe(xapi, address) if address else None
    except XapiUnreachable:
        return None


def reachable(xapi: Session, address: str, certificate: str | None = None) -> bool:
    """Whether the host answers at `address` right now."""
    try:
        try_address(xapi, address, certificate, 0)
    except XapiError:
        return False
    return True
