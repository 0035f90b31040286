# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps and sets of strings of an object, written key by key: what other clients write meanwhile stays.

The plain setter of a field replaces the whole map. Whoever read it before, and writes it back with a key more, takes
away what came in between. So only single keys are added and removed here, as the xe command does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Union

from .errors import XapiError

Call = Callable[..., Any]
Value = Union[Mapping[str, str], Iterable[str]]  # noqa: UP007 - pylint does not know X | Y of these

# Another client that adds a key between our removing and adding it makes us begin again.
_ATTEMPTS = 10


def write_key(call: Call, cls: str, field: str, ref: str, key: str, value: str | None, *, there: bool = True) -> None:
    """Give one key of a map a value, or remove it (None). `there`: it may have a value already."""
    for attempt in range(_ATTEMPTS):
        if there or attempt or value is None:
            call(f"{cls}.remove_from_{field}", ref, key)  # XAPI does not mind if there is none
        if value is None:
            return
        try:
            call(f"{cls}.add_to_{field}", ref, key, value)
        except XapiError as error:
            if error.code != "MAP_DUPLICATE_KEY" or attempt + 1 == _ATTEMPTS:
                raise
        else:
            return


class Keys:
    """A map, or a set of strings, of an object: called with the value that it is to have, it writes what differs.

    It begins with what was read (`live`), and remembers what it wrote: called with the value of before, it takes just that
    back. Where it fails half way, it takes back what it did and raises. `ref` may be a function, for an object to be made.
    """

    def __init__(self, call: Call, cls: str, field: str, ref: str | Callable[[], str], live: Value) -> None:
        self.call, self.cls, self.field, self.ref = call, cls, field, ref
        self.now: dict[str, str] | set[str] = dict(live) if isinstance(live, Mapping) else set(live)

    def __call__(self, wanted: Value) -> None:
        before = self.now.copy()
        try:
            self._write(wanted)
        except Exception:
            with suppress(XapiError):  # the first error says why
                self._write(before)
            raise

    def _write(self, wanted: Value) -> None:
        ref = self.ref if isinstance(self.ref, str) else self.ref()
        now = self.now
        if isinstance(now, set):
            wanted = set(wanted)
            for text in sorted(wanted - now):
                self.call(f"{self.cls}.add_{self.field}", ref, text)
                now.add(text)
            for text in sorted(now - wanted):
                self.call(f"{self.cls}.remove_{self.field}", ref, text)
                now.remove(text)
            return
        target: dict[str, str] = dict(wanted)  # type: ignore[arg-type]
        for key in sorted(key for key in {*now, *target} if now.get(key) != target.get(key)):
            there, value = key in now, target.get(key)
            now.pop(key, None)
            write_key(self.call, self.cls, self.field, ref, key, value, there=there)
            if value is not None:
                now[key] = value
