# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""host: enabling, rebooting, shutting down, powering on, and the records of dead hosts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .. import installer
from ..errors import XapiError
from ..registry import message, refresh
from .host import agent_started, assert_allowed
from .pbd import attach_pbd
from .updates import booted

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..pool import Pool
    from ..registry import Context

SHUTDOWN_DELAY = 10.0  # seconds between the answer and the deed, xapi_host.ml
BOOT_TIME = 60.0  # simulated seconds until a booting host answers again


def _stays_disabled(pool: Pool) -> set[str]:
    """Hosts (uuid) that were disabled with auto_enable=false: a reboot does not enable them."""
    found: set[str] = pool.__dict__.setdefault("stays_disabled", set())
    return found


@message("host.disable")
def disable(ctx: Context, host: Row, auto_enable: bool) -> None:
    ctx.forward(host)
    if host.enabled:
        host.enabled = False
        if not auto_enable:
            _stays_disabled(ctx.pool).add(host.uuid)
        refresh(host)


@message("host.enable")
def enable(ctx: Context, host: Row) -> None:
    ctx.forward(host)
    if host.pending_guidances:
        raise XapiError("HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY", host)
    if not host.enabled:
        _stays_disabled(ctx.pool).discard(host.uuid)
        host.enabled = True
        refresh(host)


@message("host.reboot")
def reboot(ctx: Context, host: Row) -> None:
    """Answers at once; the host goes down 10 s later and comes back after its boot time."""
    _schedule(ctx, host, "reboot", returns=True)


@message("host.shutdown")
def shutdown(ctx: Context, host: Row) -> None:
    """Answers at once; the host goes down 10 s later."""
    _schedule(ctx, host, "shutdown", returns=False)


def _schedule(ctx: Context, host: Row, op: str, *, returns: bool) -> None:
    assert_allowed(ctx.db, host, op)
    ctx.forward(host)
    pool = ctx.pool
    key = ctx.task.ref if ctx.task is not None else op
    host.current_operations = {**host.current_operations, key: op}
    refresh(host)

    def down() -> None:
        threading.Thread(target=_go_down, args=(pool, host, key, returns), name=op, daemon=True).start()

    pool.clock.later(pool.durations.get("host.reboot:delay", SHUTDOWN_DELAY), down)


def _go_down(pool: Pool, host: Row, key: str, returns: bool) -> None:
    """In a thread of its own, because guests move away, and those that cannot are stopped (vm_evacuation.ml)."""
    with pool.lock:
        if not host.exists:
            return
        ctx = pool.context()
        try:
            ctx.call("host.evacuate", host)
        except XapiError as error:
            pool.log(f"{host.name_label} cannot be emptied before it goes down: {error}")
        for vm in pool.db.rows("VM", resident_on=host):
            if not vm.is_control_domain:
                try:
                    ctx.call("VM.hard_shutdown", vm)
                except XapiError as error:
                    pool.log(f"{vm.name_label} does not stop: {error}")
        for pbd in pool.db.rows("PBD", host=host):
            pbd.currently_attached = False
        for cls in ("SR", "VDI"):
            for row in pool.db.rows(cls):
                refresh(row)
        host.current_operations = {k: v for k, v in host.current_operations.items() if k != key}
        pool.crash(host)
        pool.set_live(host, False)
        refresh(host)
        if returns:
            boot_later(pool, host)


def boot_later(pool: Pool, host: Row) -> None:
    """The host answers again after its boot time, with its storage attached, and enabled unless told otherwise.

    Unless a boot server has it installed anew.
    """
    seconds = pool.durations.get("host.reboot:boot", BOOT_TIME)
    if installer.takes(pool, host, seconds):
        return

    def up() -> None:
        if not host.exists or pool.runtime(host).alive:
            return
        pool.boots.pop(host.uuid, None)
        pool.restore(host)
        ctx = pool.context()
        for pbd in pool.db.rows("PBD", host=host):
            try:
                attach_pbd(ctx, pbd)
            except XapiError as error:
                pool.log(f"PBD {pbd.uuid} stays unplugged: {error}")
        booted(host)
        host.enabled = host.uuid not in _stays_disabled(pool)
        agent_started(pool, host, booted=True)
        refresh(host)

    pool.boots[host.uuid] = up
    pool.clock.later(seconds, up)


@message("host.power_on")
def power_on(ctx: Context, host: Row) -> None:
    """By the host's power_on_mode; returns when it is live again."""
    assert_allowed(ctx.db, host, "power_on")
    boot_later(ctx.pool, host)
    if not ctx.wait_until(lambda: ctx.pool.runtime(host).reachable, 600.0):
        raise XapiError("INTERNAL_ERROR", 'Failure("The host failed to power on.")')


# -- the dead


def _assert_dead(ctx: Context, host: Row) -> None:
    metrics = ctx.db.maybe("host_metrics", host.metrics)
    runtime = ctx.pool.hosts.get(host.uuid)
    answers = metrics is not None and metrics.live and (runtime is None or runtime.reachable)
    if answers or host == ctx.pool.master:
        raise XapiError("HOST_IS_LIVE", host)


@message("host.declare_dead")
def declare_dead(ctx: Context, host: Row) -> None:
    """Power states of its guests are reset; that it is off is the caller's responsibility."""
    _assert_dead(ctx, host)
    ctx.pool.set_live(host, False)  # power_state_reset trusts this
    for vm in ctx.db.rows("VM", resident_on=host):
        if not vm.is_control_domain:
            ctx.call("VM.power_state_reset", vm)
    host.enabled = False
    refresh(host)


@message("host.destroy")
def destroy(ctx: Context, host: Row) -> None:
    _assert_dead(ctx, host)
    if ctx.pool.pool_row.ha_enabled:
        raise XapiError("HA_IS_ENABLED")
    if any(not vm.is_control_domain for vm in ctx.db.rows("VM", resident_on=host)):
        raise XapiError("HOST_HAS_RESIDENT_VMS", host)
    remove(ctx.pool, host)


def remove(pool: Pool, host: Row) -> None:
    """Delete a host's record and all that belongs to it alone, as xapi's garbage collection does."""
    db: Database = pool.db
    from .pbd import destroy_pbd

    for pbd in db.rows("PBD", host=host):
        destroy_pbd(db, pbd)
    for pif in db.rows("PIF", host=host):
        for cls, refs in (
            ("Bond", pif.bond_master_of),
            ("tunnel", pif.tunnel_access_PIF_of),
            ("VLAN", [pif.VLAN_master_of]),
        ):
            for ref in refs:
                row = db.maybe(cls, ref)
                if row is not None:
                    db.destroy(row)
    metrics = {pif.metrics for pif in db.rows("PIF", host=host)}
    for cls in ("PIF", "host_cpu", "Certificate"):
        for row in db.rows(cls, host=host):
            db.destroy(row)
    for ref in metrics:
        row = db.maybe("PIF_metrics", ref)
        if row is not None:
            db.destroy(row)
    for vm in db.rows("VM", resident_on=host):
        if vm.is_control_domain:
            own = db.maybe("VM_metrics", vm.metrics)
            if own is not None:
                db.destroy(own)
            db.destroy(vm)
    own = db.maybe("host_metrics", host.metrics)
    if own is not None:
        db.destroy(own)
    uuid = host.uuid
    db.destroy(host)
    runtime = pool.hosts.get(uuid)
    if runtime is not None:
        pool.clock.later(0.2, runtime.hang_up)
        runtime.alive = False
        del pool.hosts[uuid]
