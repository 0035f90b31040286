# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated time: real time plus what a test has advanced."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone


class Clock:
    """The clock of one pool. Timers run in the pool's ticker thread, holding the pool lock."""

    def __init__(self, lock: threading.Condition) -> None:
        self._lock = lock
        self._offset = 0.0
        self._count = itertools.count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> float:
        """Seconds since the epoch, simulated."""
        return time.time() + self._offset

    def datetime(self) -> datetime:
        """Now as XAPI stores it: aware, UTC, whole seconds."""
        return datetime.fromtimestamp(int(self.now()), timezone.utc)

    def advance(self, seconds: float) -> None:
        """Jump forward; everything that waits for simulated time looks again. Due timers run before this returns."""
        with self._lock:
            target = self.now() + seconds
            while self._timers and self._timers[0][0] <= target:
                self._offset += max(0.0, self._timers[0][0] - self.now())
                self.run_due()
            self._offset += max(0.0, target - self.now())
            self._lock.notify_all()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Run action() in so many simulated seconds, with the pool lock held."""
        with self._lock:
            heapq.heappush(self._timers, (self.now() + seconds, next(self._count), action))
            self._lock.notify_all()

    def run_due(self) -> float | None:
        """Run the timers that are due; seconds until the next one, or None. Call with the pool lock held."""
        while self._timers and self._timers[0][0] <= self.now():
            heapq.heappop(self._timers)[2]()
        return self._timers[0][0] - self.now() if self._timers else None
