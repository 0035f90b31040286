# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes in a pool, by ``event.from``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .records import class_name, typed
from .session import Session


class Event(NamedTuple):
    """One object appeared (``add``), changed (``mod``) or went away (``del``, then ``record`` is None)."""

    cls: str
    operation: str
    ref: str
    record: dict[str, Any] | None


class Batch(NamedTuple):
    """``events`` up to ``token``; ``counts`` says how many objects of each class there are then."""

    events: list[Event]
    token: str
    counts: dict[str, int]


class EventStream:
    """Follow ``classes`` (``VM``, ``*``, ``task/OpaqueRef:...``) from ``token`` on.

    With an empty token the first poll returns every object as ``add``. A token is text and may be kept for later; XAPI
    answers one that it cannot read with XapiError EVENT_FROM_TOKEN_PARSE_FAILURE. The coordinator's database may have
    been restored meanwhile: compare ``counts`` with what you hold.

    ``fields``: leave out all other fields of these classes, which spares the time to convert them.
    """

    def __init__(
        self,
        session: Session,
        classes: Iterable[str],
        token: str = "",
        fields: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.session = session
        self.classes = list(classes)
        self.token = token
        self.fields = {cls: tuple(names) for cls, names in (fields or {}).items()}

    def poll(self, timeout: float = 30.0) -> Batch:
        """Wait up to ``timeout`` seconds for something to happen; no events when nothing did. Advances the token."""
        raw = self.session.bulk("event.from", self.classes, self.token, float(timeout))
        self.token = raw["token"]
        events = []
        for item in raw["events"]:
            cls, snapshot = class_name(item["class"]), item.get("snapshot")
            if snapshot and cls in self.fields:
                snapshot = {name: snapshot[name] for name in self.fields[cls] if name in snapshot}
            record = typed(cls, item["ref"], snapshot) if snapshot and item["operation"] != "del" else None
            events.append(Event(cls, item["operation"], item["ref"], record))
        counts = {class_name(cls): int(number) for cls, number in raw["valid_ref_counts"].items()}
        return Batch(events, self.token, counts)
