# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pool: high availability, on and off, and the plan for failures of hosts (xapi_ha.ml, xapi_ha_vm_failover.ml).

What other calls refuse while it is on stands where they are. Nobody restarts the guests of dead hosts here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import XapiError
from ..registry import message, refresh
from .host_config import free_memory
from .vdi import build_vdi

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..registry import Context

STATEFILE, METADATA = 4 << 20, 256 << 20  # bytes


@message("pool.enable_ha")
def enable_ha(ctx: Context, heartbeat_srs: list[str], configuration: dict[str, str]) -> None:
    """The first SR holds the state file; without any, the pool takes one that can."""
    db, pool = ctx.db, ctx.pool.pool_row
    if pool.ha_enabled:
        raise XapiError("HA_IS_ENABLED")
    for host in db.rows("host"):
        metrics = db.maybe("host_metrics", host.metrics)
        if metrics is None or not metrics.live:
            raise XapiError("HOST_OFFLINE", host)
    loose = [pif for pif in db.rows("PIF") if (pif.management or pif.disallow_unplug) and not pif.currently_attached]
    if loose:
        raise XapiError("REQUIRED_PIF_IS_UNPLUGGED", *loose)
    sr = db.row("SR", heartbeat_srs[0]) if heartbeat_srs else _any_sr(ctx)
    ctx.call("SR.assert_can_host_ha_statefile", sr)
    state = build_vdi(ctx.pool, sr, STATEFILE, name_label="Statefile for HA", type="ha_statefile", sharable=True)
    build_vdi(ctx.pool, sr, METADATA, name_label="Metadata for HA", type="redo_log")
    pool.ha_statefiles = [state.ref]
    pool.ha_configuration = configuration
    pool.ha_cluster_stack = "xhad"
    pool.ha_enabled = True
    _plan(ctx)
    refresh(pool)


def _any_sr(ctx: Context) -> Row:
    for sr in ctx.db.rows("SR"):
        try:
            ctx.call("SR.assert_can_host_ha_statefile", sr)
        except XapiError:
            continue
        return sr
    raise XapiError("CANNOT_CREATE_STATE_FILE")


@message("pool.disable_ha")
def disable_ha(ctx: Context) -> None:
    """Its VDIs go with it; how many failures are to be survived stays, for the next time."""
    pool = ctx.pool.pool_row
    if not pool.ha_enabled:
        raise XapiError("HA_NOT_ENABLED")
    pool.ha_enabled = False
    for ref in pool.ha_statefiles:
        state = ctx.db.maybe("VDI", ref)
        if state is None:
            continue
        for vdi in ctx.db.rows("VDI", SR=state.SR):
            if vdi.type in ("ha_statefile", "redo_log"):
                refresh(vdi)
                ctx.call("VDI.destroy", vdi)
    pool.ha_statefiles, pool.ha_configuration = [], {}
    pool.ha_plan_exists_for, pool.ha_overcommitted = 0, False
    refresh(pool)


@message("pool.ha_prevent_restarts_for")
def ha_prevent_restarts_for(ctx: Context, seconds: int) -> None:
    if not ctx.pool.pool_row.ha_enabled:
        raise XapiError("HA_NOT_ENABLED")


# -- the plan


def survives(db: Database, failures: int) -> bool:
    """Whether the protected guests have room after the failure of the hosts with most of them."""
    hosts = [host for host in db.rows("host") if host.enabled]
    if failures >= len(hosts):
        return not _protected(db)
    hosts.sort(key=lambda host: -(free_memory(db, host) + sum(map(_memory, _protected(db, host)))))
    lost, left = hosts[:failures], [free_memory(db, host) for host in hosts[failures:]]
    for needed in sorted((_memory(vm) for host in lost for vm in _protected(db, host)), reverse=True):
        left.sort(reverse=True)
        if not left or left[0] < needed:
            return False
        left[0] -= needed
    return True


def _protected(db: Database, host: Row | None = None) -> list[Row]:
    return [
        vm for vm in db.rows("VM")
        if vm.ha_always_run and vm.ha_restart_priority == "restart" and (host is None or vm.resident_on == host.ref)
    ]  # fmt: skip


def _memory(vm: Row) -> int:
    return int(vm.memory_static_max + vm.memory_overhead)


def _maximum(db: Database) -> int:
    hosts = len(db.rows("host"))
    return next((count for count in range(hosts - 1, 0, -1) if survives(db, count)), 0)


def _plan(ctx: Context) -> None:
    pool = ctx.pool.pool_row
    wanted, possible = pool.ha_host_failures_to_tolerate, _maximum(ctx.db)
    pool.ha_plan_exists_for = min(wanted, possible)
    pool.ha_overcommitted = possible < wanted


@message("pool.ha_compute_max_host_failures_to_tolerate")
def compute_max(ctx: Context) -> int:
    return _maximum(ctx.db)


@message("pool.ha_failover_plan_exists")
def plan_exists(ctx: Context, n: int) -> bool:
    return survives(ctx.db, n)


@message("pool.set_ha_host_failures_to_tolerate")
def set_failures_to_tolerate(ctx: Context, pool: Row, value: int) -> None:
    if value < 0:
        raise XapiError("INVALID_VALUE", "ha_host_failures_to_tolerate", value)
    checked = pool.ha_enabled and not pool.ha_allow_overcommit
    if checked and survives(ctx.db, pool.ha_host_failures_to_tolerate) and not survives(ctx.db, value):
        raise XapiError("HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN")
    pool.ha_host_failures_to_tolerate = value
    if pool.ha_enabled:
        _plan(ctx)
