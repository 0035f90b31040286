# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Silence is proven, never assumed: what may be taken for a sign that a host is off, and what shows that it lives.

Silent is who refuses a connection, cannot be routed to, or does not take one in time. Whoever takes one lives, be it with a
certificate that nobody trusts, with an HTTP error, with a login that is refused, or without ever saying a word. What cannot
be found out (a name that is not resolved) proves nothing. Whoever concludes that something is dead asks here.
"""

from __future__ import annotations

import errno
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from .errors import XapiError, XapiUnreachable

# What connect(2) says when nobody has taken the connection.
_NOBODY = frozenset({
    errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EAFNOSUPPORT,
})  # fmt: skip
# Where XAPI listens (stunnel and xapi itself), whatever port leads to the coordinator.
PORTS = (443, 80)
# Long enough for three attempts of the kernel: after 0, 1 and 3 seconds.
PATIENCE = 5.0
# What ssh says only when a server has answered it ...
_SSH_REFUSED = re.compile(
    r"Permission denied|Host key verification failed|HOST IDENTIFICATION HAS CHANGED|Authentication fail|authentication failures"
    r"|Unable to negotiate"
)
# ... and when one has taken the connection and no more, which it names. A proxy's far end has no name, and the same words.
_SSH_CLOSED = re.compile(r"(closed|reset) by (?!UNKNOWN )\S+ port \d|Connection to (?!UNKNOWN )\S+ port \d+ timed out")
_SSH_PROXY = re.compile(r"UNKNOWN port|kex_exchange_identification|banner exchange")


def nobody_there(error: Exception) -> bool:
    """Whether a connection that could not be made so was taken by nobody."""
    return isinstance(error, TimeoutError) or (isinstance(error, OSError) and error.errno in _NOBODY)


def signs_of_life(url: str, address: str = "") -> str:
    """Why the host of a XAPI must not be taken for off, in words ("it takes connections at 192.0.2.11:443"), else "".

    Asked are the port in ``url`` and those that every XAPI has, at ``address`` (that in ``url``), all at once.
    """
    parts = urlsplit(url)
    host = (address or parts.hostname or "").strip("[]")
    ports = sorted({port for port in (parts.port, *PORTS) if port})
    try:
        found: set[Any] = {entry[4] for port in ports for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, ValueError):  # a name that is none, or does not exist
        return f"nobody can tell whether it is off: the name {host} cannot be resolved"
    with ThreadPoolExecutor(max_workers=len(found)) as workers:
        signs = sorted(filter(None, workers.map(_ask, sorted(found))), reverse=True)
    return signs[0][1] if signs else ""


def _ask(target: Any) -> tuple[bool, str] | None:
    """(it lives, why) of what is at an address; None for silence."""
    where = f"[{target[0]}]:{target[1]}" if ":" in target[0] else f"{target[0]}:{target[1]}"
    try:
        socket.create_connection(target[:2], PATIENCE).close()
    except OSError as error:
        if nobody_there(error):
            return None
        if isinstance(error, ConnectionError):
            return True, f"it takes connections at {where}"
        return False, f"nobody can tell whether it takes connections at {where}: {error.strerror or error}"
    return True, f"it takes connections at {where}"


def why_not_off(error: XapiError, url: str) -> str:
    """Why the host in ``url`` must not be taken for off, though this error came instead of an answer; "" if it is silent."""
    if isinstance(error, XapiUnreachable) and error.silent:
        return signs_of_life(url)
    return f"{error}" + (f" ({error.hint.rstrip('.')})" if error.hint else "")


def heard_by_ssh(message: str) -> bool:
    """Whether ssh, which could not log in to a node, was answered by it all the same."""
    return bool(_SSH_CLOSED.search(message) or (_SSH_REFUSED.search(message) and not _SSH_PROXY.search(message)))
