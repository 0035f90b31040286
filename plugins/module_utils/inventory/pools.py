# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several pools at once: how to reach them, and their states, from what was kept or from XAPI."""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.read import State, read
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

CONNECTION = ("hostname", "username", "password", "validate_certs", "ca_path", "timeout")
MAX_THREADS = 16
Connection = dict[str, Any]
# By pool: {"read": seconds since the epoch, "state": text}.
Kept = dict[str, dict[str, Any]]


class Found(NamedTuple):
    """States of the pools that could be read, errors of the others, and which of the states are new."""

    states: dict[str, State]
    errors: dict[str, XapiError]
    new: list[str]

    def keep(self, kept: Kept) -> Kept:
        """What is to be kept from now on, given what was."""
        now = time.time()
        return {**kept, **{pool: {"read": now, "state": self.states[pool].dump()} for pool in self.new}}


def connections(
    defaults: Mapping[str, Any], pools: Sequence[Mapping[str, Any]], folder: str, template: Callable[[str], str]
) -> list[Connection]:
    """Complete connection options of each pool; ValueError if there is something missing or unknown.

    `defaults` hold for what a pool omits; without pools they are the only one. Relative paths start at `folder`.
    """
    result = []
    for pool in pools or [{"hostname": defaults["hostname"]}]:
        unknown = sorted(set(pool) - set(CONNECTION))
        if unknown:
            raise ValueError(f"pools: there is no option {unknown[0]}; possible are {', '.join(CONNECTION)}")
        given = {key: value for key, value in pool.items() if value is not None}
        merged = {**defaults, "hostname": None, **given}
        merged = {key: template(value) if isinstance(value, str) else value for key, value in merged.items()}
        for key, variable in (("hostname", "XENSERVER_HOST"), ("password", "XENSERVER_PASSWORD")):
            if not merged[key]:
                of = f" of {merged['hostname']}" if merged["hostname"] else ""
                raise ValueError(f"say which {key}{of}, by option {key} or the environment variable {variable}")
        if merged["ca_path"]:
            merged["ca_path"] = os.path.join(folder, os.path.expanduser(merged["ca_path"]))
        merged["validate_certs"] = boolean(merged["validate_certs"])
        merged["timeout"] = int(merged["timeout"])
        result.append(merged)
    return result


def look(wanted: Sequence[Connection], kept: Kept, max_age: float | None) -> Found:
    """The states of all pools, read at the same time, in the order of `wanted` as far as they could be read.

    What was kept no more than `max_age` seconds ago is used as it is (0: however old; None: never); older states are
    brought up to date.
    """
    now = time.time()
    states: dict[str, State] = {}
    errors: dict[str, XapiError] = {}
    new: list[str] = []

    def one(connection: Connection) -> None:
        options = dict(connection)
        hostname, pool = options.pop("hostname"), _key(connection)
        entry = kept.get(pool) or {}
        state = State.load(entry.get("state", ""))
        if state and max_age is not None and (not max_age or 0 <= now - entry["read"] < max_age):
            states[pool] = state
            return
        try:
            with Session(hostname, **options) as session:
                states[pool] = read(session, state)
        except XapiError as error:
            errors[hostname] = error
        else:
            new.append(pool)

    with ThreadPoolExecutor(max_workers=min(len(wanted), MAX_THREADS)) as workers:
        list(workers.map(one, wanted))
    ordered = {pool: states[pool] for pool in map(_key, wanted) if pool in states}
    return Found(ordered, errors, new)


def _key(connection: Connection) -> str:
    return f"{connection['username']}@{connection['hostname']}"
