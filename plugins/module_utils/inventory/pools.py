# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several pools at once: how to reach them, and their states, from what was kept or from XAPI."""
from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.read import State, read
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

CONNECTION = ("hostname", "username", "password", "validate_certs", "ca_path", "timeout")
TEXTS = ("hostname", "username", "password", "ca_path")
MAX_THREADS = 16
Connection = dict[str, Any]
# By pool: {"read": seconds since the epoch, "state": text}.
Kept = dict[str, dict[str, Any]]


# What records that are not as XAPI makes them lead to: a damaged cache, a server that is no XAPI, or means harm.
_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Found(NamedTuple):
    """What was made of the pools that could be read, their states, errors of the others, and which of the states are new."""

    made: dict[str, Any]
    states: dict[str, State]
    errors: dict[str, XapiError]
    new: list[str]

    def keep(self, kept: Kept) -> Kept:
        """What is to be kept from now on, given what was."""
        now = time.time()
        return {**kept, **{pool: {"read": now, "state": self.states[pool].dump()} for pool in self.new}}


def connections(
    defaults: Mapping[str, Any], pools: Sequence[Any], folder: str, template: Callable[[str, Any], Any]
) -> tuple[list[Connection], dict[str, str]]:
    """Complete connection options of each pool, and what is wrong with those of others, by host name.

    `defaults` hold for what a pool omits; without pools they are the only one. Relative paths start at `folder`. `template`
    works out what stands in the file; `defaults` are worked out already, or come from the environment.
    """
    result, errors = [], {}
    for number, pool in enumerate(pools or [{"hostname": defaults["hostname"]}], 1):
        where = f"entry {number} of option pools" if pools else "this file"
        try:
            if not isinstance(pool, Mapping):
                raise ValueError("it must be a map of options")
            given = {key: template(key, value) for key, value in pool.items()} if pools else dict(pool)
            where = shown(given.get("hostname") or where)
            result.append(_connection(defaults, given, folder))
        except ValueError as error:
            errors[where] = str(error)
    return result, errors


def _connection(defaults: Mapping[str, Any], pool: Mapping[str, Any], folder: str) -> Connection:
    unknown = sorted(map(str, set(pool) - set(CONNECTION)))
    if unknown:
        raise ValueError(f"pools: there is no option {unknown[0]}; possible are {', '.join(CONNECTION)}")
    merged = {**defaults, "hostname": None, **{key: value for key, value in pool.items() if value is not None}}
    merged |= {key: str(merged[key]) for key in TEXTS if merged[key] is not None}  # YAML takes 12345 for a number
    for key, variable in (("hostname", "XENSERVER_HOST"), ("password", "XENSERVER_PASSWORD")):
        if not merged[key]:
            of = f" of {shown(merged['hostname'])}" if merged["hostname"] else ""
            raise ValueError(f"say which {key}{of}, by option {key} or the environment variable {variable}")
    if merged["ca_path"]:
        merged["ca_path"] = os.path.join(folder, os.path.expanduser(merged["ca_path"]))
    try:
        merged["validate_certs"] = boolean(merged["validate_certs"])
    except TypeError:
        raise ValueError("option validate_certs must be true or false") from None
    try:
        merged["timeout"] = int(merged["timeout"])
    except (TypeError, ValueError):
        raise ValueError("option timeout must be a number of seconds") from None
    return merged


def shown(hostname: Any) -> str:
    """A host name in a message, without the password that somebody may have written into it."""
    return re.sub(r"[^/]*@", "***@", str(hostname))


def look(
    wanted: Sequence[Connection], kept: Kept, max_age: float | None, make: Callable[[State, str], Any] = lambda _state, _host: None
) -> Found:
    """The states of all pools, read at the same time, in the order of `wanted` as far as they could be read.

    What was kept no more than `max_age` seconds ago is used as it is (0: however old; None: never); older states are
    brought up to date. `make` makes something of a state and the pool's host name. If it cannot, what was kept is damaged, and
    is read again; and a pool that it can make nothing of is an error of that pool alone.
    """
    now = time.time()
    made: dict[str, Any] = {}
    states: dict[str, State] = {}
    errors: dict[str, XapiError] = {}
    new: list[str] = []

    def one(connection: Connection) -> None:
        options = dict(connection)
        hostname, pool = options.pop("hostname"), _key(connection)
        state, age = _kept(kept.get(pool), now)
        try:
            if state and max_age is not None and (not max_age or 0 <= age < max_age):
                try:
                    states[pool], made[pool] = state, make(state, hostname)
                    return
                except _MALFORMED:
                    state = None
            with Session(hostname, **options) as session:
                states[pool], made[pool] = _fetch(session, state, lambda found: make(found, hostname))
            new.append(pool)
        except XapiError as error:
            errors[shown(hostname)] = error
        except _MALFORMED as error:
            errors[shown(hostname)] = XapiError("MALFORMED", (), f"its records are not such as XAPI makes ({error!r})", "Is it XAPI?")

    with ThreadPoolExecutor(max_workers=max(1, min(len(wanted), MAX_THREADS))) as workers:
        list(workers.map(one, wanted))
    read_ = {pool: states[pool] for pool in map(_key, wanted) if pool in made}
    return Found({pool: made[pool] for pool in read_}, read_, errors, new)


def _fetch(session: Session, known: State | None, make: Callable[[State], Any]) -> tuple[State, Any]:
    if known:
        try:
            state = read(session, known)
            return state, make(state)
        except _MALFORMED:
            pass  # what was kept is damaged
    state = read(session)
    return state, make(state)


def _kept(entry: Any, now: float) -> tuple[State | None, float]:
    """The state that a cache has of a pool, and how old it is."""
    try:
        return State.load(entry["state"]), now - entry["read"]
    except (KeyError, TypeError):
        return None, 0.0


def _key(connection: Connection) -> str:
    return f"{connection['username']}@{connection['hostname']}"
