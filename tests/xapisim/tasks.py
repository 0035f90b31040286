# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Task records: their life, cancelling and garbage collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .db import Row
from .errors import XapiError
from .types import EPOCH

if TYPE_CHECKING:
    from .pool import Pool

KEEP_FINISHED = 65 * 60.0  # seconds that a completed task stays, as xapi_globs.ml has it
KEEP_FINISHED_COUNT = 200
KEEP_PENDING = 24 * 3600.0
DONE = ("success", "failure", "cancelled")


class Tasks:
    """The tasks of one pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._cancelled: set[str] = set()
        self._owners: dict[str, str] = {}  # task -> session
        self._running: set[str] = set()

    def start(self, name: str, session: Row | None, host: Row, description: str = "", *, running: bool = True) -> Row:
        """A new pending task. `running` when a call of ours works on it (not one made by task.create)."""
        task = self._pool.db.create(
            "task",
            name_label=name,
            name_description=description,
            created=self._pool.clock.datetime(),
            finished=EPOCH,
            status="pending",
            resident_on=host,
            type="<none/>",
            allowed_operations=["cancel"] if running else [],
        )
        if session is not None:
            self._owners[task.ref] = session.ref
        if running:
            self._running.add(task.ref)
        return task

    def adopt(self, task: Row) -> None:
        """A task of a client, on which we work from now on."""
        self._running.add(task.ref)
        task.allowed_operations = ["cancel"]

    def succeed(self, task: Row, result: str) -> None:
        """Complete a task with its XML result; the status changes last, as clients rely on."""
        if task.exists:
            task.allowed_operations = []
            task.finished = self._pool.clock.datetime()
            task.progress = 1.0
            task.result = result
            task.status = "success"
        self._ended(task)

    def fail(self, task: Row, error: XapiError) -> None:
        """Complete a task with an error; TASK_CANCELLED of this very task makes it cancelled."""
        if task.exists:
            cancelled = error.code == "TASK_CANCELLED" and task.ref in error.params
            task.allowed_operations = []
            task.progress = 1.0
            task.error_info = error.description
            task.finished = self._pool.clock.datetime()
            task.status = "cancelled" if cancelled else "failure"
        self._ended(task)

    def drop(self, task: Row) -> None:
        """Remove the task of a synchronous call."""
        self._running.discard(task.ref)
        self._cancelled.discard(task.ref)
        self._owners.pop(task.ref, None)
        if task.exists:
            self._pool.db.destroy(task)

    def _ended(self, task: Row) -> None:
        self._running.discard(task.ref)
        self._cancelled.discard(task.ref)
        if task.exists and "destroy" in task.current_operations.values():
            self.drop(task)

    def owner(self, task: Row) -> str:
        """Reference of the session that started a task, or ""."""
        return self._owners.get(task.ref, "")

    def is_cancelled(self, task: Row) -> bool:
        """True once somebody has asked for it."""
        return task.ref in self._cancelled

    def cancel(self, task: Row) -> None:
        """Ask a task to stop; it does so where it waits. Nothing happens to a completed one."""
        if task.status in DONE:
            return
        task.current_operations = {**task.current_operations, f"cancel/{task.uuid}": "cancel"}
        if task.ref in self._running:
            self._cancelled.add(task.ref)
            self._pool.lock.notify_all()
        else:  # made by task.create: there is nobody to notice
            task.status = "cancelling"

    def destroy(self, task: Row) -> None:
        """task.destroy: at once when completed, else when the call that runs it ends."""
        if task.status in DONE or task.ref not in self._running:
            self.drop(task)
        else:
            task.current_operations = {**task.current_operations, f"destroy/{task.uuid}": "destroy"}

    def collect(self) -> None:
        """Remove what xapi's garbage collector removes: old completed tasks, and pending ones nobody works on."""
        now = self._pool.clock.now()
        done = sorted((t for t in self._pool.db.rows("task") if t.status in DONE), key=lambda t: t.finished)
        surplus = len(done) - KEEP_FINISHED_COUNT
        for at, task in enumerate(done):
            if at < surplus or now - task.finished.timestamp() > KEEP_FINISHED:
                self.drop(task)
        for task in self._pool.db.rows("task", status="pending"):
            if task.ref not in self._running and now - task.created.timestamp() > KEEP_PENDING:
                self.drop(task)
