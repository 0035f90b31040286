# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NodeModule: what every module that runs on a node has in common. Python 3.6 syntax."""

import traceback
from functools import partial
from typing import Any, Callable, Dict, Optional, Tuple

from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError, ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.discreet import DiscreetModule
from ansible_collections.nobloat.xen.plugins.module_utils.lists import Item, outcome
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError


class NodeModule(DiscreetModule):
    """A module that runs on a node: its plan or its report, and the one place where errors become fail_json."""

    def __init__(self, spec: Dict[str, Any], each: Tuple[str, str] = ("", ""), **rules: Any) -> None:
        """`each`: the option with several things to do, and the option in its entries that names one."""
        super().__init__(argument_spec=spec, supports_check_mode=True, **rules)
        self.items, self.identity = each
        # What an entry leaves out comes from the module.
        self.entries = [dict(self.params, **own) for own in self.own_entries(*each)] if self.params.get(self.items) is not None else None

    def converge(self, key: str, plan: Callable[["NodeModule"], ChangeSet],
                 afterwards: Optional[Callable[["NodeModule", ChangeSet], Dict[str, Any]]] = None) -> None:
        """Plan, apply unless in check mode, and exit with the object as it is now (or would be) under `key`.

        `afterwards` looks at the object again once all steps are done; what it returns is the object.
        """
        def work() -> Dict[str, Any]:
            planned = self._do(plan(self), partial(afterwards, self) if afterwards else None)
            return dict(planned.facts, changed=bool(planned.steps), diff=planned.diff(), **{key: planned.after})

        self._guard(work)

    def converge_each(self, key: str, plan: Callable[[Dict[str, Any]], ChangeSet],
                      look: Callable[[Dict[str, Any]], Dict[str, Any]]) -> None:
        """As `converge`, for each entry of the list (`each`), whose options `plan` and `look` are given, one after the other. An entry
        that fails does not keep the others from being done; the module then fails in the end. Without a list, for the one thing that
        the module's own options name.
        """
        entries, items, identity = self.entries, self.items, self.identity
        if entries is None:
            self.converge(key, lambda _module: plan(self.params), lambda _module, _planned: look(self.params))
            return

        def work() -> Dict[str, Any]:
            jobs = [Item(options, [identity]) for options in entries]
            for job in jobs:
                try:
                    job.changes = self._do(plan(job.options), lambda _planned, options=job.options: look(options))
                except Exception as error:  # noqa: BLE001 - the others are done
                    job.error = error
            return outcome(jobs, items, key, self._explain)

        self._guard(work)

    def _do(self, planned: ChangeSet, look: Optional[Callable[[ChangeSet], Dict[str, Any]]]) -> ChangeSet:
        """Apply a plan unless in check mode, and see what has come of it."""
        if not self.check_mode:
            planned.apply()
            if look:
                planned.after = look(planned)
        for text in planned.warnings:
            self.warn(text)
        return planned

    def report(self, look: Callable[["NodeModule"], Dict[str, Any]]) -> None:
        """Exit with what `look` found; nothing is changed."""
        self._guard(lambda: dict(look(self), changed=False))

    def _guard(self, work: Callable[[], Dict[str, Any]]) -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - no traceback reaches a user
            self.fail_json(**self._explain(error))
        else:
            (self.fail_json if result.pop("failed", False) else self.exit_json)(**result)

    @staticmethod
    def _explain(error: Exception) -> Dict[str, Any]:
        """An error's `msg`, and what the result tells beside it."""
        cause = error.cause if isinstance(error, ApplyError) else error
        told: Dict[str, Any] = dict(error.remains) if isinstance(error, ApplyError) else {}
        if isinstance(cause, (NodeError, OSError)):
            return dict(told, msg=str(error))
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        return dict(told, msg=f"This is a defect of nobloat.xen, please report it: {type(cause).__name__}: {error}", exception=trace)
