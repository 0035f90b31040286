# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who makes what: so that two runs at once make one thing, and what a run that was broken off has left is found.

* Who is about to make something *claims* it: a task of XAPI's own that says what, who and since when. Every role may make one
  and read all of them (datamodel.ml), and XAPI forgets it when nobody cares for it any more (db_gc_util.ml: after a day, and
  when the coordinator starts anew). A living run renews its claim by another one; one that is not renewed has lost its owner.
  Whoever has claimed, and sees no other living claim to the same things, may make them: of two, at least one sees the other.
* What takes several calls to make is made under a *marked* name, and gets its own one last. What has a marked name while
  nobody claims it is half made, by a run that was broken off: the next one that wants it removes it, or finishes it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Protocol

from .errors import XapiError, XapiUnreachable
from .records import quote, records
from .session import Session

MARK = "nobloat.xen.making"

BEAT = 5.0  # seconds after which a claim is renewed
SILENCE = 30.0  # seconds without that after which its owner is gone: as whoever waits for it has watched
LONG_AGO = timedelta(minutes=10)  # ... or as the coordinator's clock has it

# What goes on in XAPI when the client that asked for it is gone: name_label of its task, with "Async." or without.
_MAKING = frozenset({
    "VM.clone", "VM.copy", "VM.provision", "VM.snapshot", "VM.checkpoint", "VDI.create", "VBD.create", "VBD.plug", "VBD.insert",
    "VIF.create", "VIF.plug", "network.create", "VLAN.create", "Bond.create", "tunnel.create", "SR.create", "SR.introduce",
    "PBD.create", "PBD.plug", "PUT /import_raw_vdi",
})

# What XAPI says when somebody else has made, taken or removed the same thing since we looked.
OVERTAKEN = frozenset({
    "HANDLE_INVALID", "UUID_INVALID", "MAP_DUPLICATE_KEY", "DEVICE_ALREADY_EXISTS", "DEVICE_ALREADY_ATTACHED", "BRIDGE_NAME_EXISTS",
    "PIF_VLAN_EXISTS", "PIF_ALREADY_BONDED", "NETWORK_ALREADY_CONNECTED", "PBD_EXISTS", "SR_UUID_EXISTS", "SUBJECT_ALREADY_EXISTS",
    "CERTIFICATE_ALREADY_EXISTS", "VM_BAD_POWER_STATE",
})

# Seconds that also pass while the machine sleeps, where there are such.
_now = partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic


def marked(name: str) -> str:
    """What a thing is called while it is made."""
    return f"{MARK}:{name}"


@dataclass
class _Told:
    """What the tasks of one run's claim say."""

    run: str
    names: set[str]
    by: str
    since: str
    renewed: datetime
    tasks: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        names = sorted(self.names)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"{', '.join(names[:3])}{more} ({self.by}, since {self.since})"


class ApplyFailure(Protocol):
    """What a change set that failed tells (change.ApplyError)."""

    cause: Exception
    leftovers: list[str]
    gone: list[str]


class Claim:
    """A run's claim to make the things called `names`. Leaving its context ends it.

    `by` tells people whose it is. `timeout`: seconds to wait for other runs. `tell` gets what there is to wait for.
    """

    def __init__(
        self, session: Session, names: Iterable[str], by: str, timeout: float, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        self.names, self.run = set(names), str(uuid.uuid4())
        self.alone = True  # whether nobody else was seen to claim any of it
        self.watched = False  # whether nobody else claimed any of it for so long that nobody lives who does
        self._session, self._timeout, self._tell = session.fork(), timeout, tell
        said = {"run": self.run, "names": sorted(self.names), "by": by, "since": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"}
        self._text = json.dumps(said)
        self._task, self._renewed, self._late, self._abandoned = "", 0.0, False, False
        self._seen: dict[str, tuple[set[str], float]] = {}  # {run: (tasks of its claim, since when they are the same)}
        self._gone: dict[str, _Told] = {}
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        if self._heart:
            self._heart.join(2.0)  # it may wait for a pool that does not answer
        if not self._abandoned:
            with contextlib.suppress(XapiError):
                self._withdraw()
        self._session.close()

    def take(self, *, watch: bool = False) -> None:
        """Wait until nobody else makes any of it, and until what dead runs have started has ended. Once.

        `watch`: things with marked names were seen, and nobody seems to claim them. That may be for the coordinator having
        started anew, so that their owners get the time to claim them again.
        XapiError BUSY tells who is at it when the time is up.
        """
        deadline = _now() + self._timeout
        quiet, pause = _now(), 0.1
        while True:
            self._keep()
            others = self._others()
            now = _now()
            if others:
                self._tell(f"waiting for another run: {others[0].text}")
                quiet = now
                if any(other.run < self.run for other in others):
                    self._withdraw()  # it is before us
            elif self._task and (not watch or now - quiet >= SILENCE):
                break
            if now > deadline:
                raise XapiError(
                    "BUSY", [other.text for other in others],
                    f"another run has been making {others[0].text if others else 'it'} for longer than {self._timeout:g} seconds",
                    "Wait for its end, and run again. If it was broken off, its claim ends by itself within a minute.",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)
        self.watched = watch or bool(self._gone)
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        self._await_tasks(deadline)

    def note(self, failure: ApplyFailure) -> bool:
        """Take note of a failed change set. True where another client was faster, so that it is worth to look again.

        What was started and may still go on is left claimed: the next run waits for it.
        """
        cause = failure.cause
        if isinstance(cause, XapiUnreachable) or getattr(cause, "code", "") == "TIMEOUT":
            self._abandoned = True
        return isinstance(cause, XapiError) and cause.code in OVERTAKEN and not failure.leftovers and not failure.gone

    def hold(self) -> None:
        """XapiError where this run stood still for so long that another one has gone on without it."""
        if not self._heart or (not self._late and _now() - self._renewed < SILENCE / 2):
            return
        with self._lock:
            self._late, others = False, self._others()
        if others:
            raise XapiError(
                "CLAIM_LOST", (), "this run stood still, or was cut off from the pool, for so long that another one goes on without it",
                "Run again.",
            )

    def _keep(self) -> None:
        """Make the claim, or renew it. Not while others are before us."""
        if self._task:
            if _now() - self._renewed >= BEAT:
                self._renew(self._session)
        elif self.alone or not self._others():
            self._renew(self._session)

    def _renew(self, session: Session) -> None:
        begun = _now()
        task = str(session.call("task.create", MARK, self._text))
        old, self._task = self._task, task
        if old:
            self._late = self._late or begun - self._renewed >= SILENCE / 2
            with contextlib.suppress(XapiError):
                session.call("task.destroy", old)
        self._renewed = begun

    def _withdraw(self) -> None:
        task, self._task = self._task, ""
        if task:
            self._session.call("task.destroy", task)

    def _beat(self) -> None:
        with self._session.fork() as session:
            while not self._ended.wait(BEAT):
                with contextlib.suppress(XapiError):  # the next one may succeed
                    self._renew(session)

    def _others(self) -> list[_Told]:
        """The claims of living runs to any of the names, by run."""
        begun = _now()
        told = self._read()
        now = _now()
        if now - begun > BEAT:
            self._seen.clear()  # the pool was silent itself, nobody could renew anything
        own = told.pop(self.run, None)
        living = []
        for run, other in sorted(told.items()):
            if not other.names & self.names:
                continue
            self.alone = False
            tasks, since = self._seen.get(run, (set(), now))
            if other.tasks - tasks:
                since = now  # it was renewed
            self._seen[run] = (other.tasks, since)
            if now - since >= SILENCE or (own and own.renewed - other.renewed > LONG_AGO):
                self._gone[run] = other
            else:
                self._gone.pop(run, None)
                living.append(other)
        return living

    def _read(self) -> dict[str, _Told]:
        found: dict[str, _Told] = {}
        for task in records(self._session, "task", f'field "name__label"={quote(MARK)}').values():
            try:
                said = json.loads(task["name_description"])
                told = _Told(str(said["run"]), {str(name) for name in said["names"]}, str(said["by"]), str(said["since"]), task["created"])
            except (ValueError, KeyError, TypeError):
                continue  # none of ours
            told = found.setdefault(told.run, told)
            told.tasks.add(task["ref"])
            told.renewed = max(told.renewed, task["created"])
        return found

    def _await_tasks(self, deadline: float) -> None:
        """Let end what dead runs have started; then their claims are of no use to anyone any more."""
        for other in self._gone.values():
            last = other.renewed + timedelta(seconds=SILENCE)
            pause = 0.1
            while True:
                pending = [
                    task["name_label"] for task in records(self._session, "task", 'field "status"="pending"').values()
                    if task["name_label"].replace("Async.", "", 1) in _MAKING and task["created"] <= last
                ]
                if not pending:
                    break
                if _now() > deadline:
                    raise XapiError(
                        "BUSY", pending, f"what another run has started, which was broken off, still goes on: {', '.join(pending)}",
                        "Look at the pool's tasks, and run again when they have ended.",
                    )
                self._tell(f"waiting for what another run has started: {', '.join(pending)}")
                time.sleep(pause)
                pause = min(pause * 1.5, 2.0)
            if other.names <= self.names:
                for task in other.tasks:
                    with contextlib.suppress(XapiError):  # a lesser role may not; then it lapses
                        self._session.call("task.destroy", task)
        self._gone.clear()
