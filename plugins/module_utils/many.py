# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One object of a pool or a list of them in one run: the pool is read once, each has its own outcome.

    def main() -> None:
        ListModule(SPEC, "networks", ["name"]).converge_each("network", plan_network)
"""
from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError, ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.discreet import checker
from ansible_collections.nobloat.xen.plugins.module_utils.lists import (
    Item,
    Options,
    entries,
    entry_spec,
    outcome,
    side_by_side,
)
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule, run_task
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.where import condition

PlanOne = Callable[[Item], ChangeSet]
Look = Callable[[Sequence[Item]], PlanOne]

# Rules of options that hold for each entry. The module's options alone need not keep them.
RULES = ("mutually_exclusive", "required_together", "required_one_of", "required_if", "required_by")
# Classes with few records, which are read as a whole for a list; and those that are, too, when the list is long.
FEW = frozenset({"pool", "host", "host_metrics", "network", "PIF", "Bond", "tunnel", "SR", "PBD"})
MANY = FEW | {"VM", "VDI", "VBD"}
LONG = 10


class Lanes:
    """A module's session for its main thread, and a fork of it for every other thread that makes calls."""

    def __init__(self, module: XapiModule) -> None:
        self.module = module
        self._main = threading.get_ident()
        self._forks = threading.local()

    def session(self) -> Session:
        if threading.get_ident() == self._main:
            return self.module.xapi
        if not hasattr(self._forks, "session"):
            self._forks.session = self.module.xapi.fork()
        return self._forks.session

    def call(self, method: str, *args: Any) -> Any:
        return self.session().call(method, *args)

    def run(self, method: str, *args: Any, last: bool = False) -> Any:
        """Run a long operation as a task, see XapiModule.run."""
        return run_task(self.module, self.session(), method, *args, last=last)


class Sight:
    """The pool's session as plans have it. While they look, what one has read, the next one gets without a call: classes of `whole`
    are read as a whole. Their steps speak to the pool itself."""

    def __init__(self, lanes: Lanes, whole: frozenset[str]) -> None:
        self._lanes, self._whole = lanes, whole
        self._known: dict[tuple[str, ...], Any] = {}
        self._looking = False
        self.noted: set[Any] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lanes.session(), name)

    def call(self, method: str, *args: Any) -> Any:
        """Of whichever thread it is when it is called: plans keep it for their steps."""
        return self._lanes.session().call(method, *args)

    @contextmanager
    def looking(self) -> Iterator[None]:
        self._looking = True
        try:
            yield
        finally:
            self._looking = False

    def bulk(self, method: str, *args: Any) -> Any:
        if not (self._looking and ".get_all_records" in method):
            return self._lanes.session().bulk(method, *args)
        cls = method.partition(".")[0]
        holds = condition(args[0]) if args and cls in self._whole else None
        if not holds:
            return _copies(self._read(method, *args))
        rows = self._read(f"{cls}.get_all_records")
        return _copies({ref: raw for ref, raw in rows.items() if holds({**raw, "_ref": ref})})

    def _read(self, *asked: str) -> Any:
        if asked not in self._known:
            self._known[asked] = self._lanes.session().bulk(*asked)
        return self._known[asked]


def _copies(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Whoever reads records gives their fields other types, in place."""
    return {ref: dict(raw) for ref, raw in rows.items()}


class One:
    """A module as the plan of one object has it: with the options of that one, and a session for whichever thread its steps run in."""

    def __init__(self, module: XapiModule, params: Options, lanes: Lanes, xapi: Any) -> None:
        self._module, self._lanes = module, lanes
        self.params, self.xapi, self.noted = params, xapi, xapi.noted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def run(self, method: str, *args: Any, last: bool = False) -> Any:
        return self._lanes.run(method, *args, last=last)


class ListModule(XapiModule):
    """A module that takes one object by its own options, or several as the option `items`, whose entries have the same options.

    `identity`: the options that say which object it is. `parallel`: entries may be changed side by side.
    """

    _total, _ended = 0, itertools.count(1)  # how many are changed, and how many have been

    def __init__(
        self, spec: Mapping[str, Mapping[str, Any]], items: str, identity: Sequence[str], *, parallel: bool = False, noun: str = "",
        apart: Sequence[Sequence[str]] = (), **rules: Any
    ) -> None:
        own = {rule: rules.pop(rule) for rule in RULES if rule in rules}
        secret = [option for option, rule in spec.items() if rule.get("no_log")]
        named = [option for option in identity if len(identity) == 1 or spec[option].get("required")]
        super().__init__(
            {**{option: {key: value for key, value in rule.items() if key != "required"} for option, rule in spec.items()},
             items: {"type": "list", "elements": "dict"}, **({"parallel": {"type": "int", "default": 10}} if parallel else {})},
            secret=secret, required_one_of=[(option, items) for option in named],
            mutually_exclusive=[(option, items) for option in named], **rules,
        )
        self.items, self.identity, self.noun = items, identity, noun
        try:
            found = entries(
                self.params, spec, items, identity, checker(entry_spec(spec, identity), **own),
                apart=[*own.get("mutually_exclusive", ()), *apart],
            )
        except ValueError as error:
            self.fail(error)
        self.wanted: list[Options] = found
        self.listed = self.params[items] is not None
        self.lanes = Lanes(self)

    def converge_each(
        self, key: str, plan: Callable[[Any], ChangeSet], group: Callable[[Options], Hashable] | None = None
    ) -> None:
        """As `converge`, for each object. `group` says of its options what only one of a time may be done to: groups are changed side
        by side, what is in one, one after the other; without it, all is. Each is planned anew when another of its group has changed
        something."""

        def look(items: Sequence[Item]) -> PlanOne:
            whole = frozenset() if len(items) < 2 else FEW if len(items) < LONG else MANY
            sight = Sight(self.lanes, whole)

            def plan_one(item: Item) -> ChangeSet:
                with sight.looking():
                    return plan(One(self, item.options, self.lanes, sight))

            return plan_one

        self.perform(lambda _module: self._result(key, self._in_groups(look, group)))

    def converge_together(
        self, key: str, look: Look, finish: Callable[[list[Item]], None], same: Callable[[Sequence[Item]], bool]
    ) -> None:
        """As `converge_each`, where none is in another's way: all are claimed at once and changed side by side, and `finish` looks at
        all that did not fail once more. `look` reads the pool and returns what plans one; `same` as in `alone`."""

        def work(_module: XapiModule) -> dict[str, Any]:
            items = [Item(options, self.identity) for options in self.wanted]

            def again() -> Sequence[Item]:
                return self._plan(items, look(items))

            with self.alone(again, lambda planned: [item.changes for item in planned], same) as (_items, claim):
                self._check(items)
                if not self.check_mode:
                    tell = self.telling(claim)
                    self._begin(items)
                    side_by_side(lambda item: self._apply(item, tell), [item for item in items if item.changed], self._parallel())
                    behind = [item for item in items if isinstance(item.error, ApplyError) and claim.note(item.error)]
                    if behind:
                        self._plan(behind, look(behind))
                        side_by_side(lambda item: self._apply(item, tell), [item for item in behind if item.changed], self._parallel())
                    self._check(items)
                    finish([item for item in items if not item.error])
                    self._check(items)
            return self._result(key, items)

        self.perform(work)

    def _parallel(self) -> int:
        return int(self.params.get("parallel") or 1)

    @staticmethod
    def _plan(items: Sequence[Item], plan: PlanOne) -> Sequence[Item]:
        """Plan each; what keeps one from it becomes its outcome."""
        for item in items:
            item.changes, item.error = ChangeSet(""), None
            try:
                item.changes = plan(item)
            except Exception as error:  # noqa: BLE001 - the others are planned
                item.error = error
        return items

    def _apply(self, item: Item, tell: Callable[[str], None]) -> None:
        try:
            item.changes.apply(tell)
        except ApplyError as error:
            item.error = error
        self._tell(item)

    def _begin(self, items: Sequence[Item]) -> None:
        self._total, self._ended = sum(item.changed for item in items), itertools.count(1)

    def _tell(self, item: Item) -> None:
        """Tell how far a list is."""
        if self._total > 1:
            ended = "has failed" if item.error else "is done"
            self.progress(f"{item.changes.title or item.name} {ended} ({next(self._ended)} of {self._total})")

    def _in_groups(self, look: Look, group: Callable[[Options], Hashable] | None) -> list[Item]:
        items = [Item(options, self.identity) for options in self.wanted]
        plan = look(items)
        self._plan(items, plan)
        if self.check_mode:
            return items
        self._begin(items)
        groups: dict[Hashable, list[Item]] = {}
        for item in items:
            groups.setdefault(group(item.options) if group else "", []).append(item)
        side_by_side(lambda members: self._in_order(members, look), list(groups.values()), self._parallel())
        return items

    def _in_order(self, items: list[Item], look: Look) -> None:
        """Change one after the other. What was planned holds until one of them has changed something."""
        planned, plan = True, None
        for place, item in enumerate(items):
            if not planned:
                plan = plan or look(items[place:])
                self._plan([item], plan)
            if item.changed:
                self._alone(item, look)
                self._tell(item)
                planned, plan = False, None

    def _alone(self, item: Item, look: Look) -> None:
        """Change one, as XapiModule.converge does."""
        first = [True]

        def again() -> ChangeSet:
            if not first:
                item.changes = look([item])(item)
            first.clear()
            return item.changes

        try:
            with self.alone(again, lambda changes: [changes]) as (_changes, claim):
                tell = self.telling(claim)
                try:
                    item.changes.apply(tell)
                except ApplyError as error:
                    if not claim.note(error):
                        raise
                    again().apply(tell)
        except Exception as error:  # noqa: BLE001 - the others are changed
            item.error = error

    def _check(self, items: Sequence[Item]) -> None:
        """What fails alone, fails at once."""
        if not self.listed and items[0].error:
            raise items[0].error

    def _result(self, key: str, items: list[Item]) -> dict[str, Any]:
        """The result; exits with a failure that tells each, if there is any in a list."""
        self._check(items)
        if not self.listed:
            changes = items[0].changes
            return {"changed": changes.changed, "diff": changes.diff(), key: changes.after, **changes.facts, **self._task_result()}
        result = {**outcome(items, self.items, key, self.explain, self.noun), **({"tasks": list(self.detached)} if self.detached else {})}
        if result.pop("failed", False):
            self.fail_json(**result)
        return result
