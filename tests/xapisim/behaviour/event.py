# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""event: what has changed, by token (event.from) or by registration (the legacy calls)."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ..registry import Context, Row, XapiError, message
from ..sessions import Login

BATCH = 0.05  # seconds that xapi waits for more events before it answers somebody who was blocked
_TOKEN = re.compile(r"^(\d+),(\d+)$")
LEGACY_WAIT = 365 * 24 * 3600.0


class Subscription:
    """What a list of `*`, `vm` and `VM/OpaqueRef:...` asks for. Classes that do not exist never match."""

    def __init__(self, names: list[str]) -> None:
        self._everything = "*" in names
        self._classes: set[str] = set()
        self._objects: set[tuple[str, str]] = set()
        for name in names:
            cls, slash, ref = name.partition("/")
            if slash:
                self._objects.add((cls.lower(), ref))
            else:
                self._classes.add(cls.lower())

    def wants(self, cls: str, ref: str) -> bool:
        """Whether an object of a class (lower case) is meant."""
        return self._everything or cls in self._classes or (cls, ref) in self._objects

    def wants_messages(self) -> bool:
        """Whether any message object may be meant."""
        return self._everything or "message" in self._classes or any(cls == "message" for cls, _unused in self._objects)

    def only_tasks(self) -> bool:
        """Whether nothing but tasks is meant: those are told without delay."""
        return not self._everything and self._classes <= {"task"} and all(cls == "task" for cls, _unused in self._objects)


def _event(number: int, cls: str, operation: str, ref: str, snapshot: object = None) -> dict[str, Any]:
    event = {"id": number, "timestamp": "0.0", "class": cls, "operation": operation, "ref": ref}
    if snapshot is not None:
        event["snapshot"] = snapshot
    return event


def collect(ctx: Context, wanted: Subscription, since: int, messages_since: int) -> list[dict[str, Any]]:
    """All events after two generations: of messages, then additions, modifications and deletions."""
    db = ctx.db
    found: list[dict[str, Any]] = []
    if wanted.wants_messages():
        added, removed = ctx.pool.messages.since(messages_since)
        number = db.generation
        for ref in added:
            if wanted.wants("message", ref):
                found.append(_event(number, "message", "add", ref, ctx.pool.messages.records[ref]))
        found += [_event(number, "message", "del", ref) for ref in removed if wanted.wants("message", ref)]
    adds: list[dict[str, Any]] = []
    mods: list[dict[str, Any]] = []
    for row, is_new in db.modified_since(since):
        cls = row.cls.lower()
        if wanted.wants(cls, row.ref):
            (adds if is_new else mods).append(
                _event(db.modified_at(row), cls, "add" if is_new else "mod", row.ref, row)
            )
    dels = []
    for number, created, name, ref in reversed(db.deleted):
        if number <= since:
            break
        if created <= since and wanted.wants(name.lower(), ref):
            dels.append(_event(number, name.lower(), "del", ref))
    return found + adds + mods + dels[::-1]


def make_token(ctx: Context) -> str:
    """The token of now."""
    return f"{ctx.db.generation:020d},{ctx.pool.messages.generation:020d}"


@message("event.from")
def from_(ctx: Context, classes: list[str], token: str, timeout: float) -> dict[str, Any]:
    """Events after a token ("" = everything there is); blocks until there are some or for timeout seconds."""
    since = messages_since = 0
    if token:
        found = _TOKEN.match(token)
        if not found:
            raise XapiError("EVENT_FROM_TOKEN_PARSE_FAILURE", token)
        since, messages_since = int(found.group(1)), int(found.group(2))
    wanted = Subscription(classes)
    events = _wait_for_events(ctx, wanted, since, messages_since, timeout)
    counts = {name.lower(): 0 for name in ctx.db.schema.classes}
    counts.update((name.lower(), count) for name, count in ctx.db.counts().items())
    return {"events": events, "valid_ref_counts": counts, "token": make_token(ctx)}


def _wait_for_events(
    ctx: Context, wanted: Subscription, since: int, messages_since: int, timeout: float
) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    seen = (-1, -1)

    def there_are_some() -> bool:
        nonlocal seen
        _check_session(ctx)
        now = (ctx.db.generation, ctx.pool.messages.generation)
        if now != seen:
            seen = now
            events[:] = collect(ctx, wanted, since, messages_since)
        return bool(events)

    if there_are_some():
        return events
    if ctx.wait_until(there_are_some, timeout) and not wanted.only_tasks():
        ctx.pool.lock.wait_for(lambda: ctx.pool.closing, BATCH)
        _check_session(ctx)
        return collect(ctx, wanted, since, messages_since)
    return events


def _check_session(ctx: Context) -> None:
    if (ctx.session is not None and not ctx.session.exists) or ctx.pool.closing:
        raise XapiError("SESSION_INVALID", ctx.session)


@message("event.inject")
def inject(ctx: Context, cls: str, ref: str) -> str:
    """Make a change event of an object; the token that later ones will have reached."""
    name = ctx.db.schema.by_lower.get(cls.lower(), "")
    if name not in ctx.db.counts():
        raise XapiError("HANDLE_INVALID", cls, ref)
    ctx.db.touch(ctx.db.row(name, ref))
    return make_token(ctx)


@message("event.get_current_id")
def get_current_id(ctx: Context) -> int:
    """Number of the latest event."""
    return ctx.db.generation


def _login(ctx: Context) -> Login:
    return ctx.pool.sessions.find(ctx.session.ref)  # type: ignore[union-attr]


@message("event.register")
def register(ctx: Context, classes: list[str]) -> None:
    """Legacy: let event.next tell of these classes from now on."""
    login = _login(ctx)
    if not login.registered:
        login.registered, login.token, login.messages_token = True, ctx.db.generation, ctx.pool.messages.generation
    login.subscribed.update(dict.fromkeys(classes))


@message("event.unregister")
def unregister(ctx: Context, classes: list[str]) -> None:
    """Legacy: no more of these classes; none left ends the registration."""
    login = _login(ctx)
    for name in classes:
        login.subscribed.pop(name, None)
    login.registered = bool(login.subscribed)
    ctx.pool.lock.notify_all()


@message("event.next")
def next_(ctx: Context) -> list[dict[str, Any]]:
    """Legacy: block until something registered has changed."""
    login = _login(ctx)
    _check_registered(login)
    wanted = Subscription(list(login.subscribed))
    events: list[dict[str, Any]] = []

    def there_are_some() -> bool:
        _check_session(ctx)
        _check_registered(login)
        events[:] = collect(ctx, wanted, login.token, login.messages_token)
        return bool(events)

    ctx.wait_until(there_are_some, LEGACY_WAIT)
    login.token, login.messages_token = ctx.db.generation, ctx.pool.messages.generation
    for event in events:
        snapshot = event.get("snapshot")
        event["obj_uuid"] = snapshot.uuid if isinstance(snapshot, Row) else ""
    return events


def _check_registered(login: Login) -> None:
    if not login.registered:
        track = hashlib.md5(login.row.ref.encode(), usedforsecurity=False).hexdigest()
        raise XapiError("SESSION_NOT_REGISTERED", f"trackid={track}")
