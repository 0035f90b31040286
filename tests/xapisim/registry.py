# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What behaviours are written with: @message, @refresher and the Context of a call.

A behaviour is a plain function in behaviour/<class>.py that runs holding the pool lock:

    @message("VM.start")
    def start(ctx: Context, vm: Row, start_paused: bool, force: bool) -> None: ...

* The first parameter is a Row when it is a reference to the message's own class (HANDLE_INVALID was checked); every
  other reference arrives as the string that the client sent. Optional parameters that were not sent have their table
  default.
* `Class.create` of an implicit constructor gets one dict of Python values, complete with defaults; `ctx.given` is the
  set of the names that the client really sent.
* It returns Python values (a Row where a reference is due), None for void.
* What waits uses ctx.wait / ctx.wait_until, which release the lock; nothing else does.
* `ctx.forward(host)` comes first in what a real coordinator would forward to that host: it raises CANNOT_CONTACT_HOST
  or HOST_OFFLINE when the host is dead or cut off.
* `ctx.announce("VM_STARTED", vm)` creates the `message` object that xapi creates then.
"""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import schema
from .db import Database, Row, new_uuid
from .errors import XapiError
from .types import NULL

if TYPE_CHECKING:
    from .pool import Pool

__all__ = ["NULL", "Context", "Row", "XapiError", "message", "refresh", "refresher"]

HANDLERS: dict[str, Callable[..., Any]] = {}
REFRESHERS: dict[str, Callable[[Database, Row], list[str]]] = {}


def message(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the behaviour of messages, which must be declared in the tables."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        known = schema.load().messages
        for name in names:
            if name not in known:
                raise KeyError(f"{name} is not in the tables")
            if name in HANDLERS and HANDLERS[name].__module__ != function.__module__:
                raise KeyError(f"{name} has a behaviour in {HANDLERS[name].__module__} already")
            HANDLERS[name] = function
        return function

    return register


def refresher(cls: str) -> Callable[[Callable[[Database, Row], list[str]]], Callable[[Database, Row], list[str]]]:
    """Register a function that computes allowed_operations of a class."""

    def register(function: Callable[[Database, Row], list[str]]) -> Callable[[Database, Row], list[str]]:
        REFRESHERS[cls] = function
        return function

    return register


_postponed = threading.local()  # pools that run meanwhile go on refreshing at once


@contextmanager
def refreshing_once() -> Iterator[None]:
    """Within the block refresh() only remembers the rows; each is refreshed once at its end. For building scenarios."""
    rows: dict[Row, None] = {}
    _postponed.rows = rows
    try:
        yield
    finally:
        del _postponed.rows
        for row in rows:
            refresh(row)


def refresh(row: Row) -> None:
    """Store allowed_operations anew, if the row's class computes them and the row still exists."""
    function = REFRESHERS.get(row.cls)
    if function is None:
        return
    rows = getattr(_postponed, "rows", None)
    if rows is not None:
        rows[row] = None
    elif row.exists:
        row.allowed_operations = function(row._db, row)


def load_behaviours() -> None:
    """Import every module of behaviour/."""
    from . import behaviour

    for found in pkgutil.iter_modules(behaviour.__path__):
        importlib.import_module(f"{behaviour.__name__}.{found.name}")


def _raise(error: Exception) -> None:
    raise error


class Context:
    """One call: who makes it, on which pool, and what it may do to time and to its task."""

    def __init__(self, pool: Pool, host: Row, session: Row | None = None, task: Row | None = None) -> None:
        self.pool = pool
        self.db: Database = pool.db
        self.host = host
        self.session = session
        self.task: Row = task  # type: ignore[assignment]  # None for calls that XAPI runs without a task
        self.given: set[str] = set()

    # -- time

    def wait(self, seconds: float) -> None:
        """Let simulated time pass with the pool lock released. TASK_CANCELLED when the task is cancelled meanwhile."""
        self.wait_until(lambda: False, seconds)

    def wait_until(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Wait until predicate() or for timeout simulated seconds; what predicate says at the end."""
        pool = self.pool
        deadline = pool.clock.now() + timeout
        while True:
            self.check_cancelled()
            if predicate():
                return True
            left = deadline - pool.clock.now()
            if left <= 0:
                return False
            pool.lock.wait(min(left, 3600.0))

    def outside(self, function: Callable[[], Any]) -> Any:
        """What function() returns or raises, called with the pool lock released: for what takes real time."""
        done: list[Callable[[], Any]] = []

        def work() -> None:
            try:
                result = function()
                done.append(lambda: result)
            except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
                problem = error
                done.append(lambda: _raise(problem))
            with self.pool.lock:
                self.pool.lock.notify_all()

        threading.Thread(target=work, name="outside", daemon=True).start()
        while not self.wait_until(lambda: bool(done), 60.0):
            pass
        return done[0]()

    def check_cancelled(self) -> None:
        """TASK_CANCELLED when the client has cancelled this call's task or its coordinator has died."""
        task = self.task
        if task is not None and (self.pool.tasks.is_cancelled(task) or self.pool.closing or not self._alive()):
            raise XapiError("TASK_CANCELLED", task)

    def _alive(self) -> bool:
        runtime = self.pool.hosts.get(self.host.uuid)
        return runtime is None or runtime.alive

    def duration(self, method: str) -> float:
        """Simulated seconds that the scenario gives to a message, 0.0 by default."""
        return self.pool.durations.get(method, 0.0)

    # -- task and operations

    def progress(self, fraction: float) -> None:
        """Show progress, 0.0 to 1.0, in the task."""
        if self.task is not None and self.task.exists:
            self.task.progress = float(fraction)

    @contextmanager
    def operation(self, row: Row, op: str) -> Iterator[None]:
        """current_operations of the row has this call for as long as the block runs."""
        key = self.task.ref if self.task is not None else f"DummyRef:|{new_uuid()}|{op}"
        row.current_operations = {**row.current_operations, key: op}
        refresh(row)
        try:
            yield
        finally:
            if row.exists:
                row.current_operations = {k: v for k, v in row.current_operations.items() if k != key}
                refresh(row)

    # -- other calls, other hosts

    def call(self, method: str, *args: Any) -> Any:
        """Run another message inside this call: Python values in and out, no check of roles, no new task."""
        from .dispatch import call_inside

        return call_inside(self, method, args)

    def forward(self, host: Row) -> None:
        """What the coordinator finds when it forwards a call to a host.

        HOST_OFFLINE [host] when the host is known to be dead (its metrics are not live), CANNOT_CONTACT_HOST [host]
        when it does not answer.
        """
        metrics = self.db.maybe("host_metrics", host.metrics)
        if metrics is not None and not metrics.live:
            raise XapiError("HOST_OFFLINE", host)
        runtime = self.pool.hosts.get(host.uuid)
        if runtime is not None and not runtime.reachable and (host != self.pool.master or not runtime.alive):
            raise XapiError("CANNOT_CONTACT_HOST", host)  # the coordinator reaches itself without a network

    def announce(self, name: str, row: Row, body: str = "", priority: int | None = None) -> str:
        """Create a `message` about an object (VM, host, SR, pool, VDI ...); its reference."""
        if priority is None:
            priority = self.pool.db.schema.alerts.get(name, 5)
        return self.pool.messages.add(name, priority, row.cls, row.uuid, body)
