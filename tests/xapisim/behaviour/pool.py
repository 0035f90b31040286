# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pool: its record, its coordinator, ejecting hosts, and settings for all hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import XapiError, internal
from ..registry import message, refresh, refresher
from .forwarding import forward_to
from .host import FEATURES, RESTART, agent_started, cpu_info
from .host_config import move_management_to
from .host_power import BOOT_TIME, remove
from .network import INTERNAL_MANAGEMENT, build_network
from .pbd import detach_pbd
from .pif_rules import assert_usable_for_management
from .pool_join import reborn

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..pool import Pool
    from ..registry import Context


def build_pool(pool: Pool, name: str) -> Row:
    """The pool record, with the first host as coordinator, and the network of the guest installer."""
    db = pool.db
    master = db.rows("host")[0]
    internal_config = {INTERNAL_MANAGEMENT: "true", "is_guest_installer_network": "true"}
    build_network(
        pool,
        "Host internal management network",
        "xenapi",
        name_description="Network on which guests will be assigned a private link-local IP address which can be used "
        "to talk XenAPI",
        other_config={
            **internal_config,
            "ip_begin": "169.254.0.1",
            "ip_end": "169.254.255.254",
            "netmask": "255.255.0.0",
        },
    )
    cpus = sum(int(host.cpu_info["cpu_count"]) for host in db.rows("host"))
    row = db.create(
        "pool",
        name_label=name,
        master=master,
        ha_cluster_stack="xhad",
        cpu_info=cpu_info(cpus),
        tls_verification_enabled=True,
        restrictions={key: master.license_params[key] for key in FEATURES},
    )
    refresh(row)
    return row


@refresher("pool")
def allowed_operations(db: Database, pool: Row) -> list[str]:
    """The operations that xapi lists for a pool; one at a time."""
    if pool.current_operations:
        return []
    if pool.ha_enabled:
        return ["ha_disable"]
    return [
        "ha_enable",
        "cluster_create",
        "designate_new_master",
        "configure_repositories",
        "sync_updates",
        "apply_updates",
    ]


def _assert_no_ha(ctx: Context) -> None:
    if ctx.pool.pool_row.ha_enabled:
        raise XapiError("HA_IS_ENABLED")


# -- the coordinator


def _hand_over(pool: Pool, host: Row) -> None:
    """Make a host the coordinator: both toolstacks restart, all sessions end."""
    old = pool.runtime(pool.master)
    new = pool.runtime(host)
    pool.pool_row.master = host
    pool.sessions.close_all()
    for runtime in pool.hosts.values():
        runtime.coordinator = ""
    for runtime in {id(r): r for r in (old, new)}.values():
        runtime.booting = True

    def ready() -> None:
        old.booting = new.booting = False
        for runtime in (old, new):
            if runtime.alive and runtime.row.exists:
                agent_started(pool, runtime.row)
        pool.lock.notify_all()

    pool.clock.later(RESTART, ready)


@message("pool.designate_new_master")
def designate_new_master(ctx: Context, host: str) -> None:
    """Two-phase: any host that does not answer aborts it."""
    row = forward_to(ctx, host)
    _assert_no_ha(ctx)
    if row == ctx.pool.master:
        return
    for other in ctx.db.rows("host"):
        ctx.forward(other)
    ctx.pool.clock.later(0.5, lambda: _hand_over(ctx.pool, row))  # the client still gets its answer


@message("pool.emergency_transition_to_master")
def emergency_transition_to_master(ctx: Context) -> None:
    """On a slave that has lost its coordinator: asks nobody."""
    _assert_no_ha(ctx)
    if ctx.host != ctx.pool.master:
        _hand_over(ctx.pool, ctx.host)


@message("pool.emergency_reset_master")
def emergency_reset_master(ctx: Context, address: str) -> None:
    """On a slave: follow that coordinator. The simulated pool has one database, so there is nothing to follow."""
    _assert_no_ha(ctx)


@message("pool.recover_slaves")
def recover_slaves(ctx: Context) -> list[Row]:
    """The hosts that now follow this coordinator, at the address that it has now."""
    found = [host for host in ctx.db.rows("host") if host != ctx.pool.master and ctx.pool.runtime(host).reachable]
    for host in found:
        ctx.pool.runtime(host).coordinator = ""
    return found


@message("pool.sync_database")
def sync_database(ctx: Context) -> None:
    for host in ctx.db.rows("host"):
        ctx.forward(host)


# -- members


@message("pool.eject")
def eject(ctx: Context, host: str) -> None:
    """The host leaves: its local SRs are forgotten with it, its disks are wiped."""
    db = ctx.db
    row = forward_to(ctx, host)
    if row == ctx.pool.master:
        raise internal("Xapi_pool.Cannot_eject_master")
    _assert_no_ha(ctx)
    for vm in db.rows("VM", resident_on=row):
        if not vm.is_control_domain and vm.power_state != "Halted":
            raise XapiError("OPERATION_NOT_ALLOWED", "VM resident on host")
    for pbd in db.rows("PBD", host=row):
        detach_pbd(ctx, pbd)
    for pbd in db.rows("PBD", host=row):
        sr = db.row("SR", pbd.SR)
        if len(sr.PBDs) == 1:
            ctx.call("SR.forget", sr)
    reborn(ctx.pool, row, ctx.pool.durations.get("host.reboot:boot", BOOT_TIME))
    remove(ctx.pool, row)
    refresh(ctx.pool.pool_row)


@message("pool.management_reconfigure")
def management_reconfigure(ctx: Context, network_ref: str) -> None:
    """All hosts' management on one network; the coordinator's moves last."""
    db = ctx.db
    _assert_no_ha(ctx)
    network = db.row("network", network_ref)
    pifs = {pif.host: pif for pif in db.rows("PIF", network=network)}
    for host in db.rows("host"):
        if host.ref not in pifs:
            raise XapiError("PIF_NOT_PRESENT", host, network)
    for pif in pifs.values():
        assert_usable_for_management(pif)
    for ref, pif in sorted(pifs.items(), key=lambda item: item[0] == ctx.pool.master.ref):
        ctx.forward(db.row("host", ref))
        move_management_to(ctx, pif)
    ctx.call("pool.recover_slaves")


# -- settings


@message("pool.add_to_guest_agent_config")
def add_to_guest_agent_config(ctx: Context, pool: Row, key: str, value: str) -> None:
    if key in pool.guest_agent_config:
        raise XapiError("MAP_DUPLICATE_KEY", "pool", "guest_agent_config", pool, key)
    pool.guest_agent_config = {**pool.guest_agent_config, key: value}


@message("pool.remove_from_guest_agent_config")
def remove_from_guest_agent_config(ctx: Context, pool: Row, key: str) -> None:
    pool.guest_agent_config = {k: v for k, v in pool.guest_agent_config.items() if k != key}


@message("pool.set_igmp_snooping_enabled")
def set_igmp_snooping_enabled(ctx: Context, pool: Row, value: bool) -> None:
    if any(host.software_version.get("network_backend") != "openvswitch" for host in ctx.db.rows("host")):
        raise XapiError("OPENVSWITCH_NOT_ACTIVE")
    pool.igmp_snooping_enabled = value
    for pif in ctx.db.rows("PIF"):
        if pif.VLAN == -1:
            pif.igmp_snooping_status = "enabled" if value else "disabled"


@message("pool.get_license_state")
def get_license_state(ctx: Context, pool: Row) -> dict[str, str]:
    return {"edition": ctx.pool.master.edition, "expiry": "never"}


@message("pool.has_extension")
def has_extension(ctx: Context, pool: Row, name: str) -> bool:
    return False
