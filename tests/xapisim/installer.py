# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines, which outlive what is installed on them: a boot server that has a machine installed when it boots next.

Once only, as a PXE server with a flag for one installation does. What is installed is a host of its own with another uuid,
empty disks, the same NICs, and the root password of its answer file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .db import Row
    from .pool import Pool


@dataclass
class Netboot:
    """What waits for the machine with a certain address. `state`: armed, started, complete, failed, or "" after disarming."""

    password: str
    seconds: float = 1.0
    fails: bool = False
    state: str = "armed"
    count: int = 0  # how often it was installed so far


def machine(pool: Pool, host: Row) -> dict[str, Any]:
    """A host as its hardware is, in the terms of a scenario."""
    cards = []
    for pif in pool.db.rows("PIF", host=host):
        if pif.physical:
            cards.append({"device": pif.device, "mac": pif.MAC, "management": False})
    cards.sort(key=lambda card: str(card["device"]))
    return {
        "name": host.name_label,
        "address": pool.runtime(host).address,
        "cpus": int(host.cpu_info["cpu_count"]),
        "memory": pool.db.row("host_metrics", host.metrics).memory_total,
        "nics": cards,
    }


def rise(pool: Pool, described: dict[str, Any], password: str) -> None:
    """A machine that belonged to `pool` comes up as a pool of its own, on the same port."""
    from . import scenario

    if pool.site is None:
        return
    description = {
        "name": described["name"], "password": password, "port": pool.port, "hosts": [described], "srs": [],
        "durations": pool.durations,
    }  # fmt: skip
    (fresh,) = scenario.build({"pools": [description]})
    with fresh.lock:
        fresh.pool_row.name_label = ""
    fresh.verbose = pool.verbose
    pool.site.adopt(fresh)


def takes(pool: Pool, host: Row, seconds: float) -> bool:
    """Whether the host that goes down now boots into the installer; it has its boot time, and the installation, before it."""
    wanted = pool.site.netboot.get(pool.runtime(host).address) if pool.site is not None else None
    if wanted is None or wanted.state != "armed":
        return False
    described, runtime = machine(pool, host), pool.runtime(host)
    fresh = {**described, "nics": [{**card, "management": at == 0} for at, card in enumerate(described["nics"])]}

    def started() -> None:
        if wanted.state == "armed":
            wanted.state = "started"
        pool.clock.later(wanted.seconds, done)

    def done() -> None:
        runtime.hang_up()
        if wanted.fails:
            wanted.state = "failed"
            return
        site, alone = pool.site, len(pool.db.rows("host")) == 1 and host.exists
        if alone and site is not None:
            site.retire(pool)
        rise(pool, fresh, wanted.password)
        wanted.state, wanted.count = "complete", wanted.count + 1

    pool.clock.later(seconds, started)
    return True
