# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that tests ask for through the control port."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import XapiError
from .paths import Cut


@dataclass
class _Rule:
    method: str
    times: int
    error: list[str] | None = None
    seconds: float = 0.0


class Faults:
    """The faults of one pool. `sr_full` and `sr_lost` hold SR references and are consulted by the behaviours.

    `cuts` are the ways through its networks that are closed (paths.py).
    """

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self.sr_full: set[str] = set()
        self.sr_lost: set[str] = set()
        self.cuts: list[Cut] = []

    def fail(self, method: str, times: int, error: list[str]) -> None:
        """Let the next calls of a method (`VM.start`, also when asynchronous) fail; times 0 = until cleared."""
        self._rules.append(_Rule(method, times, error=error))

    def delay(self, method: str, times: int, seconds: float) -> None:
        """Let the next calls of a method take so many simulated seconds more; times 0 = until cleared."""
        self._rules.append(_Rule(method, times, seconds=seconds))

    def clear(self) -> None:
        """Forget all faults."""
        self._rules.clear()
        self.sr_full.clear()
        self.sr_lost.clear()
        self.cuts.clear()

    def delay_for(self, method: str) -> float:
        """Seconds that this call shall wait first; counts it."""
        return sum(rule.seconds for rule in self._take(method, failing=False))

    def check(self, method: str) -> None:
        """Raise the error that this call shall fail with, if any; counts it."""
        for rule in self._take(method, failing=True):
            error = rule.error or ["INTERNAL_ERROR", "xapisim"]
            raise XapiError(error[0], *error[1:])

    def _take(self, method: str, *, failing: bool) -> list[_Rule]:
        if not self._rules:
            return []
        hits = [r for r in self._rules if r.method == method and (r.error is not None) == failing]
        if failing:
            hits = hits[:1]
        for rule in hits:
            if rule.times:
                rule.times -= 1
                if not rule.times:
                    self._rules.remove(rule)
        return hits
