# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The change set: what separates an object's live state from the desired one, and the steps that close the gap.

A module computes one change set (or one per object of a list) and nothing else: `changed`, `diff`, check mode and the
returned object are all read off it, so they cannot disagree. Python 3.6 syntax and the standard library alone: it runs on
nodes, too.
"""

import copy
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set


class Step(NamedTuple):
    """One call (or a few that belong together) that makes a planned change real.

    `do` may return a dictionary of facts that only exist afterwards (a uuid); they are merged into `ChangeSet.after`.
    `undo` takes the step back when a later one fails; `leaves` names what stays when it cannot be. `gone` names what the
    step destroys for good: it has no way back, and who reads of a later failure has to know.
    """

    text: str
    do: Callable[[], Any]
    undo: Optional[Callable[[], Any]] = None
    leaves: str = ""
    gone: str = ""


class ApplyError(Exception):
    """A step failed: `cause` says why, `leftovers` names what was made or changed and could not be taken back, `gone` what
    the steps before it destroyed."""

    def __init__(self, step: Step, cause: Exception, leftovers: List[str], gone: Sequence[str] = ()) -> None:
        super().__init__(with_gone(f"{step.text}: {cause}", gone))
        self.step = step
        self.cause = cause
        self.leftovers = leftovers
        self.gone = list(gone)

    @property
    def remains(self) -> Dict[str, List[str]]:
        """What the result tells beside `msg`: leftovers and gone, as far as there are any."""
        return {key: found for key, found in (("leftovers", self.leftovers), ("gone", self.gone)) if found}


class ChangeSet:
    """Live state, desired state and steps of one object.

    `before` and `after` are views in the terms of the module's options ({} where the object does not exist), made of
    plain JSON types. `title` names the object in diffs and messages ("network storage").
    """

    def __init__(self, title: str, before: Optional[Dict[str, Any]] = None, after: Optional[Mapping[str, Any]] = None) -> None:
        self.title = title
        self.before = {} if before is None else before
        self.after = copy.deepcopy(dict(self.before if after is None else after))
        self.steps: List[Step] = []
        self.warnings: List[str] = []
        self.facts: Dict[str, Any] = {}  # what the result tells besides the object
        # What is going to be made, and whether a run that was broken off has left some of it: see xapi/marks.py.
        self.making: Set[str] = set()
        self.half_made = False

    @property
    def changed(self) -> bool:
        return bool(self.steps)

    def step(self, text: str, do: Callable[[], Any], undo: Optional[Callable[[], Any]] = None, *, leaves: str = "", gone: str = "") -> None:
        """Plan a call, see Step."""
        self.steps.append(Step(text, do, undo, leaves, gone))

    def create(self, view: Mapping[str, Any], do: Callable[[], Any], **options: Any) -> None:
        """Plan the making of an object that is not there; `view` is what it will look like."""
        self.after = copy.deepcopy(dict(view))
        self.making.add(self.title)
        self.step(f"create {self.title}", do, **options)

    def delete(self, do: Callable[[], Any]) -> None:
        """Plan the removal of the object."""
        self.after = {}
        self.step(f"remove {self.title}", lambda: ignore(do()), gone=self.title)

    def set(self, name: str, desired: Any, do: Callable[[Any], Any], *, text: str = "", undo: Optional[Callable[[], Any]] = None) -> bool:
        """Plan `name` := `desired` by do(desired). None means that the user left it alone; equal plans nothing.

        The way back is do(the value of now), or `undo`. What is made in this run (nothing was there before) needs none:
        it goes as a whole.
        """
        if desired is None or self.after.get(name) == desired:
            return False
        if undo is None and self.before:
            undo = partial(do, copy.deepcopy(self.after.get(name)))
        self.after[name] = copy.deepcopy(desired)
        self.step(text or f"set {name} of {self.title}", lambda: ignore(do(desired)), undo)
        return True

    def merge(
        self, name: str, desired: Any, do: Callable[[Any], Any], *, purge: bool = False, undo: Optional[Callable[[], Any]] = None
    ) -> bool:
        """Like `set`, for a map or a list of strings: what is desired is added to what is live, or replaces it (`purge`)."""
        return self.set(name, merged(self.after.get(name), desired, purge=purge), do, undo=undo)

    def apply(self, progress: Callable[[str], Any] = lambda text: None) -> None:
        """Run the steps in order. When one fails, take back the earlier ones, newest first, and raise ApplyError."""
        done: List[Step] = []
        for step in self.steps:
            try:
                progress(step.text)
                facts = step.do()
            except Exception as cause:
                gone = [earlier.gone for earlier in done if earlier.gone]
                raise ApplyError(step, cause, take_back(done), gone) from cause
            if isinstance(facts, dict):
                self.after.update(facts)
            done.append(step)

    def diff(self) -> Any:
        """What `--diff` prints: {before, after, before_header, after_header}."""
        return {"before": self.before, "after": self.after, "before_header": self.title, "after_header": self.title}


def take_back(done: Sequence[Step]) -> List[str]:
    """Take steps back, newest first; returns what could not be."""
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


def with_gone(text: str, gone: Iterable[str]) -> str:
    """An error's text, and what was destroyed before it came to that."""
    names = ", ".join(gone)
    return f"{text.rstrip('.')}. Already gone: {names}." if names else text


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
