# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses of its hosts a network lets through: a switch that lacks a VLAN cuts a host off.

As a real xapi does (xapi_mgmt_iface.ml), a host serves its API at all its addresses, as long as it has a management
interface; the other hosts of the pool use `host.address` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .db import Row
    from .pool import HostRuntime, Pool

DELAY = 0.2  # seconds until a change can be felt: the client still gets its answer
LOOPBACK = "127."  # only such addresses are real ones


@dataclass(frozen=True)
class Cut:
    """What does not get through: frames of a network (its reference) or of a VLAN, on all hosts or on one (its reference).

    `clients`: the hosts of the pool still reach each other. `management`: only what is the management interface is cut,
    as by a route that leads nowhere once the default gateway has moved.
    """

    network: str = ""
    vlan: int | None = None
    host: str = ""
    clients: bool = False
    management: bool = False

    def hits(self, pif: Row, *, from_client: bool) -> bool:
        """Whether it concerns what goes over a PIF, from a client or from another host."""
        return (
            self.network in ("", pif.network)
            and self.vlan in (None, pif.VLAN)
            and self.host in ("", pif.host)
            and (from_client or not self.clients)
            and (pif.management or not self.management)
        )


def passes(pool: Pool, pif: Row, *, from_client: bool) -> bool:
    """Whether a PIF is up and not cut off."""
    return pif.currently_attached and not any(cut.hits(pif, from_client=from_client) for cut in pool.faults.cuts)


def served(pool: Pool, runtime: HostRuntime) -> set[str]:
    """The addresses at which clients find a host."""
    pifs = pool.db.rows("PIF", host=runtime.row)
    if not any(pif.management for pif in pifs):
        return {runtime.address}
    found = {pif.IP for pif in pifs if pif.IP.startswith(LOOPBACK) and passes(pool, pif, from_client=True)}
    management = next(pif for pif in pifs if pif.management)
    if not management.IP.startswith(LOOPBACK) and passes(pool, management, from_client=True):
        found.add(runtime.address)  # an address that this machine does not have: its stand-in is
    return found


def settle(pool: Pool) -> None:
    """Let all hosts listen where they can be found now. Call with the pool lock held."""
    for runtime in pool.hosts.values():
        if not runtime.row.exists:
            continue
        management = [pif for pif in pool.db.rows("PIF", host=runtime.row) if pif.management]
        runtime.cut_off = not all(passes(pool, pif, from_client=False) for pif in management)
        runtime.addresses = served(pool, runtime)
        if runtime.alive and not runtime.isolated:
            runtime.listen()
    pool.lock.notify_all()


def changed(pool: Pool) -> None:
    """An interface has changed: settle soon."""
    pool.clock.later(DELAY, lambda: settle(pool))
