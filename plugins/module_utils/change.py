# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The change set: what separates an object's live state from the desired one, and the steps that close the gap.

A module computes one change set (or one per object of a list) and nothing else: `changed`, `diff`, check mode and the
returned object are all read off it, so they cannot disagree.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

Facts = Mapping[str, Any]


@dataclass
class Step:
    """One call (or a few that belong together) that makes a planned change real.

    `do` may return facts that only exist afterwards (a uuid); they are merged into `ChangeSet.after`.
    `undo` takes the step back when a later one fails; `leaves` names what stays when it cannot be.
    """

    text: str
    do: Callable[[], Facts | None]
    undo: Callable[[], Any] | None = None
    leaves: str = ""


class ApplyError(Exception):
    """A step failed: `cause` says why, `leftovers` names what was made and could not be taken back."""

    def __init__(self, step: Step, cause: Exception, leftovers: list[str]) -> None:
        super().__init__(f"{step.text}: {cause}")
        self.step = step
        self.cause = cause
        self.leftovers = leftovers


@dataclass
class ChangeSet:
    """Live state, desired state and steps of one object.

    `before` and `after` are views in the terms of the module's options ({} where the object does not exist), made of
    plain JSON types. `title` names the object in diffs and messages ("network storage").
    """

    title: str
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(init=False)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.after = deepcopy(self.before)

    @property
    def changed(self) -> bool:
        return bool(self.steps)

    def step(self, text: str, do: Callable[[], Facts | None], **options: Any) -> None:
        """Plan a call; `options` are those of Step (undo, leaves)."""
        self.steps.append(Step(text, do, **options))

    def create(self, view: Facts, do: Callable[[], Facts | None], **options: Any) -> None:
        """Plan the making of an object that is not there; `view` is what it will look like."""
        self.after = deepcopy(dict(view))
        self.step(f"create {self.title}", do, **options)

    def delete(self, do: Callable[[], Any]) -> None:
        """Plan the removal of the object."""
        self.after = {}
        self.step(f"remove {self.title}", lambda: ignore(do()))

    def set(self, name: str, desired: Any, do: Callable[[Any], Any], *, text: str = "") -> bool:
        """Plan `name` := `desired` by do(desired). None means that the user left it alone; equal plans nothing."""
        if desired is None or self.after.get(name) == desired:
            return False
        self.after[name] = deepcopy(desired)
        self.step(text or f"set {name} of {self.title}", lambda: ignore(do(desired)))
        return True

    def merge(self, name: str, desired: Any, do: Callable[[Any], Any], *, purge: bool = False) -> bool:
        """Like `set`, for a map or a list of strings: what is desired is added to what is live, or replaces it (`purge`)."""
        return self.set(name, merged(self.after.get(name), desired, purge=purge), do)

    def apply(self, progress: Callable[[str], None] = lambda text: None) -> None:
        """Run the steps in order. When one fails, take back the earlier ones, newest first, and raise ApplyError."""
        done: list[Step] = []
        for step in self.steps:
            progress(step.text)
            try:
                self.after.update(step.do() or {})
            except Exception as cause:
                raise ApplyError(step, cause, self._undo(done)) from cause
            done.append(step)

    @staticmethod
    def _undo(done: Sequence[Step]) -> list[str]:
        leftovers = []
        for step in reversed(done):
            try:
                if step.undo:
                    step.undo()
                elif step.leaves:
                    leftovers.append(step.leaves)
            except Exception as error:  # noqa: BLE001 - what cannot be undone is named, and the rest still undone
                leftovers.append(f"{step.leaves or step.text} ({error})")
        return leftovers

    def diff(self) -> dict[str, Any]:
        """What `--diff` prints: {before, after, before_header, after_header}."""
        return {"before": self.before, "after": self.after, "before_header": self.title, "after_header": self.title}


def merged(live: Any, desired: Any, *, purge: bool = False) -> Any:
    """The value that a map or a list of strings has to get.

    None (option omitted) stays None; an empty value clears; `purge` makes exact; else desired is laid over live. In a map
    a null value removes its key, and other values become strings, as XAPI stores them. Lists come back sorted, unique.
    """
    if desired is None:
        return None
    exact = purge or not desired
    if isinstance(desired, Mapping):
        result = {} if exact else dict(live or {})
        for key, value in desired.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = xapi_text(value)
        return result
    return sorted({*(() if exact else live or ()), *desired})


def xapi_text(value: Any) -> str:
    """A value as XAPI writes it in its string maps: booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def ignore(_result: Any) -> None:
    """Drop a call's result, so that it is not taken for facts."""
