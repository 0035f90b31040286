# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bulk data over XAPI's HTTP handlers (/export, /import, /export_raw_vdi ...), each tracked by a task.

XAPI sends "200 OK" before it starts, so only the task tells whether a transfer succeeded. A host that does not see the
storage answers with a redirect to one that does; an upload is then sent again from where it began.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO
from urllib.parse import urlencode, urljoin, urlsplit

from . import tasks
from .errors import XapiError, XapiUnreachable
from .session import Session
from .wire import Connection, TooLarge, body, normal_url

Counter = Callable[[int], None]

ONE_HOUR = 3600.0
_CHUNK = 1 << 20
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_HOPS = 3
_EARLY = 0.5  # seconds


def get(
    session: Session,
    path: str,
    query: Mapping[str, object],
    target: BinaryIO,
    *,
    limit: int,
    timeout: float = ONE_HOUR,
    on_bytes: Counter | None = None,
) -> int:
    """Download ``path`` (``/export``) into ``target``, ``limit`` bytes at most; returns the number of bytes.

    ``timeout``: seconds for all of it, XAPI's task included. ``on_bytes`` gets the running total.
    """

    def exchange(connection: Connection, address: str, cookie: str) -> tuple[http.client.HTTPResponse, int]:
        connection.request("GET", address, headers={"Cookie": cookie})
        response = connection.getresponse()
        total = 0

        def take(chunk: bytes) -> None:
            nonlocal total
            target.write(chunk)
            total += len(chunk)
            if on_bytes:
                on_bytes(total)

        if response.status == 200:
            body(response, limit, take)
        return response, total

    return _transfer(session, "GET", path, query, exchange, timeout)[0]


def put(
    session: Session,
    path: str,
    query: Mapping[str, object],
    source: BinaryIO,
    size: int,
    *,
    timeout: float = ONE_HOUR,
    on_bytes: Counter | None = None,
) -> Any:
    """Upload ``size`` bytes of the seekable ``source`` to ``path`` (``/import``); returns the task's result.

    ``timeout``: seconds for all of it, XAPI's task included.
    """
    start = source.tell()

    def exchange(connection: Connection, address: str, cookie: str) -> tuple[http.client.HTTPResponse, int]:
        source.seek(start)
        connection.putrequest("PUT", address)
        connection.putheader("Cookie", cookie)
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(size))  # XAPI refuses chunked encoding
        connection.endheaders()
        # The response object is made first: it holds what arrives while the body is still being sent. XAPI says
        # "200 OK" or redirects before it reads the body, so a short wait spares sending it to the wrong host.
        response = connection.response(method="PUT")
        begun = _answered(connection, response, _EARLY)
        if begun:
            response.begin()
        total = 0
        while total < size and not (begun and response.status != 200):
            chunk = source.read(min(_CHUNK, size - total))
            if not chunk:
                raise XapiError("SOURCE_TOO_SHORT", (size, total), f"only {total} of {size} bytes could be read")
            try:
                connection.send(chunk)
            except TimeoutError:
                raise
            except OSError:
                if begun:
                    raise
                break  # the reply may say why
            total += len(chunk)
            if on_bytes:
                on_bytes(total)
            if not begun and total < size and _answered(connection, response, 0):
                response.begin()
                begun = True
        if not begun:
            response.begin()
        return response, total

    return _transfer(session, "PUT", path, query, exchange, timeout)[1]


def _answered(connection: Connection, response: http.client.HTTPResponse, seconds: float) -> bool:
    """Whether the beginning of a reply is there, or comes within some seconds."""
    deadline = time.monotonic() + seconds
    while select.select([connection.sock], [], [], max(0.0, deadline - time.monotonic()))[0]:
        connection.looking = True
        try:
            # Bytes on the socket may also be TLS's own; only bytes of the reply count. An end counts too.
            response.fp.peek(1)
            return True
        except (BlockingIOError, ssl.SSLWantReadError):
            continue
        except OSError:
            return True
        finally:
            connection.looking = False
    return False


def _transfer(
    session: Session,
    method: str,
    path: str,
    query: Mapping[str, object],
    exchange: Callable[[Connection, str, str], tuple[http.client.HTTPResponse, int]],
    timeout: float,
) -> tuple[int, Any]:
    deadline = time.monotonic() + timeout
    task = session.call("task.create", f"{method} {path}", "")
    # The session is a secret and travels as a cookie: queries end up in logs.
    address = f"{session.url}{path}?{urlencode({**query, 'task_id': task})}"
    # Connections stay open until the task has ended: closing one with unread data would reset it.
    with contextlib.ExitStack() as wires:
        try:
            for _hop in range(_MAX_HOPS + 1):
                parts = urlsplit(address)
                if session.url.startswith("https:") and parts.scheme != "https":
                    raise XapiError("INSECURE_REDIRECT", (address,), f"{path} was redirected away from TLS")
                wire = session.wire_to(normal_url(f"{parts.scheme}://{parts.netloc}"))
                wires.callback(wire.close)
                connection = wire.connect()
                connection.end_by(deadline, session.timeout)
                try:
                    response, total = exchange(connection, f"{parts.path}?{parts.query}", f"session_id={session.reference}")
                except TimeoutError as error:
                    _raise_task_error(session, task)
                    raise XapiUnreachable(
                        "TIMEOUT", f"the transfer with {wire.url} was not done within {timeout:g} seconds, or stood still for "
                        f"{session.timeout:g}", "Check the network and the storage, or allow more time.", sent=True,
                    ) from error
                except TooLarge as error:
                    raise XapiError("ANSWER_TOO_LARGE", (path,), f"{wire.url} sends more for {path} than it can be") from error
                except (OSError, http.client.HTTPException) as error:
                    _raise_task_error(session, task)
                    raise XapiUnreachable(
                        "UNREACHABLE", f"the transfer with {wire.url} broke: {error or type(error).__name__}", sent=True
                    ) from error
                location = response.getheader("Location", "")
                if response.status not in _REDIRECTS or not location:
                    break
                address = urljoin(address, location)
            if response.status != 200:
                _raise_task_error(session, task)
                raise XapiError(
                    "HTTP_ERROR",
                    (path, response.status),
                    f"{wire.url} refused {method} {path} with HTTP {response.status}",
                )
        except BaseException:
            with contextlib.suppress(XapiError):
                session.call("task.destroy", task)
            raise
        return total, tasks.wait(session, task, what=f"{method} {path}", timeout=max(1.0, round(deadline - time.monotonic())))


def _raise_task_error(session: Session, task: str) -> None:
    """XAPI's own reason, which only the task tells."""
    record = session.call("task.get_record", task)
    if record["status"] == "failure":
        raise XapiError.from_failure(record["error_info"])
