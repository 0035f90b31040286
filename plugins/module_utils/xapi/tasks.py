# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long operations: start as a XAPI task, wait by events, decode the result, leave no task behind."""

from __future__ import annotations

import contextlib
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from typing import Any
from xml.parsers.expat import ExpatError

from .errors import XapiError, XapiUnreachable
from .session import Session

Progress = Callable[[float], None]

_SLICE = 30.0  # seconds that one event.from may block
_GRACE = 5.0  # seconds that a cancelled task gets to end


def run(
    session: Session, method: str, *args: Any, timeout: float | None = None, on_progress: Progress | None = None
) -> Any:
    """Run ``method`` (``VM.start``) as a task and return its result; only for methods that have an ``Async.`` form.

    ``timeout`` in seconds (None: no limit), after which the task is cancelled and XapiError ``TIMEOUT`` says whether
    it stopped. ``on_progress`` gets 0.0 to 1.0 whenever it changes. Failures are XapiError as of a plain call. The task
    record is destroyed in any case; an interrupt cancels the task first.
    """
    task = session.call(f"Async.{method}", *args)
    return wait(session, task, what=method, timeout=timeout, on_progress=on_progress)


def wait(
    session: Session,
    task: str,
    *,
    what: str = "the task",
    timeout: float | None = None,
    on_progress: Progress | None = None,
) -> Any:
    """Wait for a task that was started elsewhere (a transfer's), then destroy it; else as ``run``."""
    try:
        final = _follow(session, task, None if timeout is None else time.monotonic() + timeout, on_progress)
        late = final is None
        if late:
            _try(session, "task.cancel", task)
            final = _follow(session, task, time.monotonic() + _GRACE, None)
    except XapiUnreachable:
        raise  # nothing can be tidied up; XAPI forgets ended tasks after an hour
    except BaseException:
        _try(session, "task.cancel", task)
        _try(session, "task.destroy", task)
        raise
    _try(session, "task.destroy", task)
    if final is None:
        raise XapiError(
            "TIMEOUT",
            (what, f"{timeout:g}"),
            f"{what} did not end within {timeout:g} seconds and cannot be stopped: it may still be going on",
            "Look at the pool's tasks; allow more time if it was merely slow.",
        )
    if late and final["status"] == "cancelled":
        raise XapiError(
            "TIMEOUT",
            (what, f"{timeout:g}"),
            f"{what} did not end within {timeout:g} seconds and was cancelled",
            "Allow more time, or look for what holds it up.",
        )
    if final["status"] != "success":
        raise XapiError.from_failure(final["error_info"] or ["TASK_CANCELLED", task])
    return decode(final["result"])


def decode(result: str) -> Any:
    """The value in a task's ``result``: XML-RPC's ``<value>...</value>``, or text as it is."""
    if not result.startswith("<value>"):
        return result
    try:
        return xmlrpc.client.loads(f"<params><param>{result}</param></params>")[0][0]
    except (ExpatError, xmlrpc.client.Error):
        return result


def _try(session: Session, method: str, task: str) -> None:
    with contextlib.suppress(XapiError):
        session.call(method, task)


def _follow(session: Session, task: str, deadline: float | None, on_progress: Progress | None) -> dict[str, Any] | None:
    """The task's record once it has ended, None when the deadline came first."""
    progress = 0.0
    for record in _states(session, task, deadline):
        current = float(record["progress"])
        if on_progress and current != progress:
            on_progress(current)
        progress = current
        # "cancelling" and "pending" are the states on the way.
        if record["status"] in ("success", "failure", "cancelled"):
            return record
    return None


def _states(session: Session, task: str, deadline: float | None) -> Iterator[dict[str, Any]]:
    """The task's record now and after every change, until the deadline."""
    token = ""
    events = True
    pause = 0.2
    while True:
        left = _SLICE if deadline is None else min(_SLICE, deadline - time.monotonic())
        if token and left <= 0:
            return
        left = max(left, 0.0)
        if events:
            try:
                batch = session.bulk("event.from", [f"task/{task}"], token, left)
            except XapiUnreachable:
                raise
            except XapiError as error:
                if error.code in ("SESSION_INVALID", "RBAC_PERMISSION_DENIED"):
                    raise
                events = False
                continue
            token = batch["token"]
            for event in batch["events"]:
                if event["ref"] != task:
                    continue
                if event["operation"] == "del":
                    raise XapiError.from_failure(["HANDLE_INVALID", "task", task])
                yield event["snapshot"]
        else:
            token = "polling"
            yield session.call("task.get_record", task)
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 2.0)
