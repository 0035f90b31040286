# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool and its hosts while they run: what is not in the database."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from . import paths, schema
from .clock import Clock
from .db import Database, Row
from .faults import Faults
from .messages import Messages
from .registry import Context
from .schema import ROLES
from .sessions import Sessions, User
from .tasks import Tasks

if TYPE_CHECKING:
    from .disks import DiskStore
    from .installer import Netboot

ASSUMED_DEAD = 600.0  # seconds of silence after which the coordinator calls a host dead, xapi_globs.ml
COLLECT_EVERY = 300.0


class HostRuntime:
    """A host as the network sees it. `listen`, `hang_up` and `renew` (its TLS) are set by the HTTP server."""

    def __init__(self, row: Row, name: str, address: str) -> None:
        self.row = row
        self.name = name
        self.address = address
        self.addresses = {address}  # where clients find it, see paths.py
        self.alive = True
        self.isolated = False
        self.cut_off = False  # its management interface cannot be reached from the other hosts
        self.coordinator = ""  # where a slave looks for its coordinator; "": where that really is
        self.silent_since = 0.0  # simulated time of its last death
        self.booting = False  # answers HOST_STILL_BOOTING
        self.local_sessions: set[str] = set()
        self.certificate = self.private_key = ""  # what it presents to clients, PEM; leaf first
        self.listen: Callable[[], None] = lambda: None
        self.hang_up: Callable[[], None] = lambda: None
        self.renew: Callable[[], None] = lambda: None

    @property
    def reachable(self) -> bool:
        """Whether the other hosts and the clients can talk to it."""
        return self.alive and not self.isolated and not self.cut_off


class Site(Protocol):
    """All pools of the simulator, and the listeners of their hosts (see server.py)."""

    pools: dict[str, Pool]
    netboot: dict[str, Netboot]  # by address of the machine

    def open(self, pool: Pool, runtime: HostRuntime) -> None:
        """Listen at the address of a host that has come to a pool that is being served."""

    def adopt(self, pool: Pool) -> None:
        """Serve a new pool."""

    def retire(self, pool: Pool) -> None:
        """A pool is no more."""


class Pool:
    """One pool: its database, clock, disks, faults, sessions and hosts (by host uuid)."""

    def __init__(self, name: str, *, password: str = "simulator", folder: Path | None = None) -> None:
        self.name = name
        self.schema = schema.load()
        self.lock = threading.Condition(threading.RLock())
        self.clock = Clock(self.lock)
        self.db = Database(self.schema, self.lock_notify)
        self.faults = Faults()
        self.hosts: dict[str, HostRuntime] = {}
        self.tasks = Tasks(self)
        self.sessions = Sessions(self)
        self.messages = Messages(self)
        self.durations: dict[str, float] = {}
        self.calls: Counter[str] = Counter()
        self.backends: dict[str, Any] = {}  # what simulated storage servers offer, see behaviour/backend.py
        self.boots: dict[str, Callable[[], None]] = {}  # hosts (uuid) that are down and will boot
        self.verbose = False
        self.closing = False
        self.port = 0
        self.scheme = "http"
        self.site: Site | None = None
        self._folder = folder
        self._permissions: dict[str, list[str]] = {}
        self.sessions.users["root"] = User("root", password)
        with self.lock:
            self._add_roles()

    def lock_notify(self) -> None:
        """Wake whoever waits for a change; the lock is held by whoever changes."""
        self.lock.notify_all()

    # -- the records that stand for the pool

    @property
    def pool_row(self) -> Row:
        """The one row of class pool."""
        return next(iter(self.db.table("pool").values()))

    @property
    def master(self) -> Row:
        """The coordinator's host row."""
        return self.db.row("host", self.pool_row.master)

    def runtime(self, host: Row) -> HostRuntime:
        """The running side of a host."""
        return self.hosts[host.uuid]

    def enlist(self, row: Row, address: str) -> HostRuntime:
        """Make a host known; nobody listens at its address yet."""
        from .behaviour.host_certificate import provide

        runtime = self.hosts[row.uuid] = HostRuntime(row, row.name_label, address)
        provide(self, runtime)
        return runtime

    def add_host(self, row: Row, address: str) -> HostRuntime:
        """Make a host reachable: at once when the pool is being served, else when that begins."""
        runtime = self.enlist(row, address)
        if self.site is not None:
            self.site.open(self, runtime)
        return runtime

    @cached_property
    def disks(self) -> DiskStore:
        """The bytes of the VDIs, in a folder of their own that goes with the pool."""
        from .disks import DiskStore

        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"xapisim-{self.name}-"))
        return DiskStore(self._folder)

    def _add_roles(self) -> None:
        for role in ROLES:
            digest = hashlib.md5(
                role.encode(), usedforsecurity=False
            ).hexdigest()  # as xapi makes its static references
            uuid = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"
            self.db.create(
                "role", ref=f"OpaqueRef:{uuid}", uuid=uuid, name_label=role, is_internal=role == "client-cert"
            )

    def permissions(self, role: str) -> list[str]:
        """Names of all that a role may call, in lower case."""
        if role not in self._permissions:
            found = [m.wire.lower() for m in self.schema.messages.values() if role in m.roles]
            for cls in self.schema.classes.values():
                for field, keys in cls.key_roles.items():
                    for key, roles in keys:
                        if role in roles:
                            found += [
                                f"{cls.name}.{verb}_{field}/key:{key}".lower() for verb in ("add_to", "remove_from")
                            ]
            self._permissions[role] = sorted(found)
        return self._permissions[role]

    def log(self, *words: object) -> None:
        """A line on standard error, when asked for."""
        if self.verbose:
            print(f"xapisim[{self.name}]", *words, file=sys.stderr, flush=True)

    def context(self) -> Context:
        """A context for what the simulator does of its own accord, on the coordinator."""
        return Context(self, self.master)

    # -- life

    def start(self) -> None:
        """Start the thread that runs timers and collects garbage."""
        with self.lock:
            paths.settle(self)
        self.clock.later(COLLECT_EVERY, self._collect)
        threading.Thread(target=self._tick, name=f"ticker-{self.name}", daemon=True).start()

    def _tick(self) -> None:
        with self.lock:
            while not self.closing:
                self.lock.wait(self.clock.run_due())

    def _collect(self) -> None:
        self.tasks.collect()
        self.sessions.collect()
        self.clock.later(COLLECT_EVERY, self._collect)

    def close(self) -> None:
        """Stop waiting calls and remove the disks."""
        with self.lock:
            self.closing = True
            self.lock.notify_all()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- deaths of hosts (call with the lock held)

    def crash(self, host: Row) -> None:
        """A host dies: nobody answers at its address, its VMs stay Running in the database until somebody acts."""
        runtime = self.runtime(host)
        runtime.alive = False
        runtime.hang_up()
        if host == self.master:
            self.sessions.close_all()
        self.lock.notify_all()
        self._fall_silent(runtime)

    def isolate(self, host: Row) -> None:
        """A host loses its management network, its VMs run on."""
        runtime = self.runtime(host)
        runtime.isolated = True
        runtime.hang_up()
        self._fall_silent(runtime)

    def _fall_silent(self, runtime: HostRuntime) -> None:
        """The coordinator calls the host dead after a while, unless it is heard of meanwhile."""
        since = runtime.silent_since = self.clock.now()

        def assume_dead() -> None:
            coordinator = self.runtime(self.master)
            silent = not runtime.reachable and runtime.silent_since == since
            if silent and runtime.row.exists and runtime is not coordinator and coordinator.reachable:
                self.set_live(runtime.row, False)

        self.clock.later(ASSUMED_DEAD, assume_dead)

    def set_live(self, host: Row, live: bool) -> None:
        """Write host_metrics.live."""
        metrics = self.db.maybe("host_metrics", host.metrics)
        if metrics is not None:
            metrics.live = live
            if live:
                metrics.last_updated = self.clock.datetime()

    def restore(self, host: Row) -> None:
        """A crashed host boots, an isolated one gets its network back. What ran on a crashed one is Halted then."""
        runtime = self.runtime(host)
        crashed = not runtime.alive
        runtime.alive, runtime.isolated = True, False
        runtime.listen()
        self.set_live(host, True)
        if crashed:
            from .behaviour.host import agent_started
            from .behaviour.vm_state import host_restarted

            agent_started(self, host, booted=True)
            host_restarted(self, host)
        self.lock.notify_all()
