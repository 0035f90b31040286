# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XapiModule: what every module that speaks XAPI has in common.

A state module is an argument spec and a `plan` function:

    def plan(module: XapiModule) -> ChangeSet: ...
    def main() -> None:
        XapiModule(SPEC).converge("network", plan)

An information module hands a function that returns its result to `report`. Login, check mode, diff, the returned object
and every error are dealt with here, once.
"""
from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from ansible.module_utils.basic import env_fallback, missing_required_lib
from ansible_collections.nobloat.xen.plugins.module_utils.change import (
    ApplyError,
    ChangeSet,
    with_gone,
)
from ansible_collections.nobloat.xen.plugins.module_utils.discreet import DiscreetModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records, tasks
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.marks import Claim
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.saved import load_session
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import (
    HAS_XENAPI,
    XENAPI_IMPORT_ERROR,
    Session,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.texts import check_options

CONNECTION_SPEC: dict[str, dict[str, Any]] = {
    "hostname": {"type": "str", "fallback": (env_fallback, ["XENSERVER_HOST"])},
    "username": {"type": "str", "default": "root", "fallback": (env_fallback, ["XENSERVER_USER"])},
    "password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["XENSERVER_PASSWORD"])},
    "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["XENSERVER_VALIDATE_CERTS"])},
    "ca_path": {"type": "path"},
    "session": {"type": "str"},
    "timeout": {"type": "int", "default": 60},
}

WAIT_SPEC: dict[str, dict[str, Any]] = {
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 900},
}

Plan = TypeVar("Plan")

# Options that XAPI is never sent as they are.
UNSENT = frozenset({"session", "ca_path", "path", "user_data", "meta_data", "network_config"})

# The action plugin shows at -v what a module writes to the file that this variable names.
PROGRESS_VARIABLE = "NOBLOAT_XEN_PROGRESS"


class Refused(ValueError):
    """What was asked for cannot be done now; `facts` go to the result beside `msg`, for whoever wants to act on them."""

    def __init__(self, text: str, **facts: Any) -> None:
        super().__init__(text)
        self.facts = facts


class XapiModule(DiscreetModule):
    """A module with an open XAPI session (`self.xapi`) while `converge` or `report` runs."""

    xapi: Session

    def __init__(self, spec: Mapping[str, Any], *, waits: bool = False, **rules: Any) -> None:
        """`spec`: the module's own options; `waits`: it starts long operations; `rules`: those of DiscreetModule."""
        super().__init__(
            argument_spec={**CONNECTION_SPEC, **(WAIT_SPEC if waits else {}), **spec}, supports_check_mode=True, **rules
        )
        self.detached: list[str] = []
        self.noted: set[Any] = set()  # what the plan of one object has taken for it, so that the next one's does not take it, too
        if not HAS_XENAPI:
            self.fail_json(msg=missing_required_lib("XenAPI"), exception=XENAPI_IMPORT_ERROR)

    def converge(self, key: str, plan: Callable[[XapiModule], ChangeSet]) -> None:
        """Plan, apply unless in check mode, and exit with the object as it is now (or would be) under `key`."""

        def work() -> dict[str, Any]:
            with self.alone(lambda: plan(self), lambda planned: [planned]) as (changes, claim):
                if not self.check_mode:
                    try:
                        changes.apply(self.telling(claim))
                    except ApplyError as error:
                        if not claim.note(error):
                            raise
                        changes = plan(self)
                        changes.apply(self.telling(claim))
            return {"changed": changes.changed, "diff": changes.diff(), key: changes.after, **self._task_result()}

        self._guard(work)

    @contextmanager
    def alone(
        self, look: Callable[[], Plan], sets: Callable[[Plan], Iterable[ChangeSet]], same: Callable[[Plan], bool] = lambda planned: False
    ) -> Iterator[tuple[Plan, Claim]]:
        """What `look` plans (`sets`: the change sets in it), and the claim under which no other run makes the same things.

        Where something is to be made, it is planned anew when that is claimed: another run may have been faster. `same`: a
        cheaper way to see that none was. Check mode looks only.
        """
        planned, watch = look(), False
        names: set[str] = set()
        while True:
            with self._claim(names) as claim:
                if names:
                    claim.take(watch=watch)
                    if not (claim.alone and same(planned)):
                        planned = look()
                changes = list(sets(planned))
                wanted = set() if self.check_mode else {name for each in changes for name in each.making}
                half_made = bool(wanted) and any(each.half_made for each in changes)
                if wanted <= names and (claim.watched or not half_made):
                    yield planned, claim
                    return
                names, watch = names | wanted, half_made

    def _claim(self, names: Iterable[str]) -> Claim:
        by = f"{os.environ.get('USER') or os.getuid()}@{socket.gethostname()}"
        return Claim(self.xapi, names, by, self.params.get("wait_timeout") or WAIT_SPEC["wait_timeout"]["default"], self.progress)

    def telling(self, claim: Claim) -> Callable[[str], None]:
        """What is called before each step: it tells the user, and makes sure that the claim still holds."""

        def tell(text: str) -> None:
            claim.hold()
            self.progress(text)

        return tell

    def report(self, look: Callable[[XapiModule], dict[str, Any]]) -> None:
        """Exit with what `look` found; nothing is changed."""
        self._guard(lambda: {"changed": False, **look(self)})

    def perform(self, work: Callable[[XapiModule], dict[str, Any]]) -> None:
        """Exit with the result that `work` returns, for a module that plans and applies several change sets itself."""
        self._guard(lambda: work(self))

    def run(self, method: str, *args: Any, last: bool = False) -> Any:
        """Run a long operation as a XAPI task and return its result, within `wait_timeout`.

        `last`: nothing depends on its result, so with `wait: false` it is only started.
        """
        return run_task(self, self.xapi, method, *args, last=last)

    def progress(self, text: str) -> None:
        """Tell the user, at -v, what is going on."""
        path = os.environ.get(PROGRESS_VARIABLE)
        if path:
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(text + "\n")

    def _task_result(self) -> dict[str, Any]:
        return {"task": self.detached[-1]} if self.detached else {}

    def _guard(self, work: Callable[[], dict[str, Any]]) -> None:
        """The one place where errors become fail_json; XapiError, ApplyError and our own mistakes alike."""
        try:
            check_options(self.params, spared=UNSENT)
            self.xapi = self.open_session()
            try:
                result = work()
            except (XapiError, ApplyError) as error:
                cause = error.cause if isinstance(error, ApplyError) else error
                if isinstance(cause, XapiError):
                    records.name_refs(self.xapi, cause)
                raise
            finally:
                if not self.params["session"]:
                    self.xapi.logout()
        except Exception as error:  # noqa: BLE001 - no traceback reaches a user
            self.fail(error)
        else:
            self.exit_json(**result)

    def fail(self, error: Exception) -> None:
        """Exit with an error in plain words."""
        self.fail_json(**_told(error, ""))

    def explain(self, error: Exception) -> dict[str, Any]:
        """What became of one entry of a list that failed: `msg`, which names the step, and what goes with it."""
        step = f"{error.step.text}: " if isinstance(error, ApplyError) else ""
        cause = error.cause if isinstance(error, ApplyError) else error
        if isinstance(cause, XapiError):
            records.name_refs(self.xapi, cause)
        return _told(error, step)

    def open_session(self) -> Session:
        """Log in, or join the session that module `session` opened."""
        if self.params["session"]:
            return load_session(self.params["session"], self.params["timeout"])
        for name, variable in (("hostname", "XENSERVER_HOST"), ("password", "XENSERVER_PASSWORD")):
            if not self.params[name]:
                raise ValueError(f"Say which pool: {name} (or the environment variable {variable}), or session.")
        session = Session(
            self.params["hostname"], self.params["username"], self.params["password"],
            validate_certs=self.params["validate_certs"], ca_path=self.params["ca_path"], timeout=self.params["timeout"],
        )
        session.login()
        return session


def _told(error: Exception, step: str) -> dict[str, Any]:
    """An error in plain words, `step` before it, and what goes with it: `leftovers`, what was half made and is still there, and `gone`,
    what is not."""
    failure = error if isinstance(error, ApplyError) else None
    cause = failure.cause if failure else error
    told: dict[str, Any] = {**failure.remains} if failure else {}
    text = with_gone(f"{step}{cause}", failure.gone if failure else ())
    if isinstance(cause, XapiError):
        hint = {"hint": cause.hint} if cause.hint else {}
        return {**told, "msg": text, "xapi_error": {"code": cause.code, "params": cause.params, "not_yet": cause.not_yet}, **hint}
    if isinstance(cause, ValueError):
        return {**told, "msg": text, **getattr(cause, "facts", {})}
    trace = "".join(traceback.format_exception(error))
    return {**told, "msg": f"This is a defect of nobloat.xen, please report it: {type(cause).__name__}: {text}", "exception": trace}


def run_task(module: XapiModule, session: Session, method: str, *args: Any, last: bool = False) -> Any:
    """XapiModule.run for a session of one's own (a thread that works on one object of a list)."""
    if last and not module.params.get("wait", True):
        module.detached.append(session.call(f"Async.{method}", *args))
        return None
    return tasks.run(
        session, method, *args, timeout=module.params.get("wait_timeout"),
        on_progress=lambda fraction: module.progress(f"{method}: {fraction:.0%}"),
    )
