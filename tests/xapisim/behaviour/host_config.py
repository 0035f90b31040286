# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""host: settings, figures, plugins, and the management interface."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import XapiError, internal
from ..registry import NULL, message, refresh
from . import pif_rules
from .forwarding import forward_to
from .host import RESTART, agent_started
from .sm import has_feature

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..registry import Context

Strings = dict[str, str]
_HOSTNAME = re.compile(r"^[A-Za-z0-9.]([A-Za-z0-9.-]*[A-Za-z0-9.])?$")


@message("host.set_hostname_live")
def set_hostname_live(ctx: Context, host: Row, hostname: str) -> None:
    ctx.forward(host)
    if not hostname:
        raise XapiError("HOST_NAME_INVALID", "hostname empty")
    if len(hostname) > 255:
        raise XapiError("HOST_NAME_INVALID", "hostname is too long")
    if not _HOSTNAME.match(hostname):
        raise XapiError("HOST_NAME_INVALID", "hostname contains invalid characters")
    host.hostname = hostname
    domain = ctx.db.maybe("VM", host.control_domain)
    if domain is not None:
        domain.name_label = f"Control domain on host: {hostname}"


def _mirrored(host: Row, key: str, value: str) -> None:
    host.other_config = {**host.other_config, key: value}


@message("host.set_multipathing")
def set_multipathing(ctx: Context, host: Row, value: bool) -> None:
    ctx.forward(host)
    host.multipathing = value
    _mirrored(host, "multipathing", "true" if value else "false")


@message("host.set_iscsi_iqn")
def set_iscsi_iqn(ctx: Context, host: Row, value: str) -> None:
    ctx.forward(host)
    if value == "":
        raise XapiError("INVALID_VALUE", "value", value)
    host.iscsi_iqn = value
    _mirrored(host, "iscsi_iqn", value)


@message("host.set_power_on_mode")
def set_power_on_mode(ctx: Context, host: Row, mode: str, config: Strings) -> None:
    """Secrets that only the old configuration named are destroyed."""
    old = host.power_on_config
    host.power_on_mode = mode
    host.power_on_config = config
    for key, value in old.items():
        if key.endswith("password_secret") and value not in config.values():
            for secret in ctx.db.rows("secret", uuid=value):
                ctx.db.destroy(secret)
    refresh(host)


@message("host.enable_local_storage_caching")
def enable_local_storage_caching(ctx: Context, host: Row, sr_ref: str) -> None:
    """A local SR of a driver that can cache, on a disabled host without guests."""
    db = ctx.db
    _assert_no_guests(db, host)
    sr = db.row("SR", sr_ref)
    pbds = db.rows("PBD", SR=sr)
    if sr.shared or len(pbds) != 1 or not has_feature(db, sr, "SR_SUPPORTS_LOCAL_CACHING"):
        raise XapiError("SR_OPERATION_NOT_SUPPORTED")
    if pbds[0].host != host.ref:
        raise XapiError("HOST_CANNOT_SEE_SR", host, sr)
    old = db.maybe("SR", host.local_cache_sr)
    if old is not None:
        old.local_cache_enabled = False
    host.local_cache_sr = sr
    sr.local_cache_enabled = True


@message("host.disable_local_storage_caching")
def disable_local_storage_caching(ctx: Context, host: Row) -> None:
    _assert_no_guests(ctx.db, host)
    old = ctx.db.maybe("SR", host.local_cache_sr)
    host.local_cache_sr = NULL
    if old is not None:
        old.local_cache_enabled = False


def _assert_no_guests(db: Database, host: Row) -> None:
    if host.enabled:
        raise XapiError("HOST_NOT_DISABLED")
    for vm in db.rows("VM", resident_on=host):
        if not vm.is_control_domain:
            raise XapiError("HOST_IN_USE", host, "VM", vm)


# -- figures


def free_memory(db: Database, host: Row) -> int:
    """Bytes left for guests: all, less Xen's own, less what VMs that are or will be there need at least."""
    metrics = db.maybe("host_metrics", host.metrics)
    if metrics is None:
        return 0
    vms = {vm.ref: vm for vm in db.rows("VM", resident_on=host)}
    vms.update((vm.ref, vm) for vm in db.rows("VM", scheduled_to_be_resident_on=host.ref))
    used = sum(vm.memory_dynamic_min + vm.memory_overhead for vm in vms.values())
    return max(0, int(metrics.memory_total - host.memory_overhead - used))


@message("host.compute_free_memory")
def compute_free_memory(ctx: Context, host: Row) -> int:
    return free_memory(ctx.db, host)


@message("host.compute_memory_overhead")
def compute_memory_overhead(ctx: Context, host: Row) -> int:
    return int(host.memory_overhead)


@message("host.get_servertime", "host.get_server_localtime")
def get_servertime(ctx: Context, host: Row) -> datetime:
    ctx.forward(host)
    return ctx.pool.clock.datetime()


@message("host.dmesg")
def dmesg(ctx: Context, host: Row) -> str:
    ctx.forward(host)
    return "(XEN) Xen version 4.17.5-3 (xapisim)\n"


@message("host.dmesg_clear")
def dmesg_clear(ctx: Context, host: Row) -> str:
    raise XapiError("NOT_IMPLEMENTED", "dmesg_clear")


@message("host.get_log")
def get_log(ctx: Context, host: Row) -> str:
    raise XapiError("NOT_IMPLEMENTED", "get_log")


@message("host.list_methods")
def list_methods(ctx: Context) -> list[str]:
    """A real xapi answers so, with this name (xapi_host.ml); system.listMethods is what works."""
    raise XapiError("NOT_IMPLEMENTED", "list_method")


@message("host.get_uncooperative_resident_VMs")
def get_uncooperative(ctx: Context, host: Row) -> list[str]:
    return []


@message("host.get_system_status_capabilities")
def get_system_status_capabilities(ctx: Context, host: Row) -> str:
    ctx.forward(host)
    return '<?xml version="1.0" ?><system-status-capabilities></system-status-capabilities>'


@message("host.restart_agent")
def restart_agent(ctx: Context, host: Row) -> None:
    """It answers before the toolstack restarts, and notes when it is up again. Calls that come between are answered all the same."""
    ctx.forward(host)

    def up() -> None:
        if host.exists:
            agent_started(ctx.pool, host)

    ctx.pool.clock.later(RESTART, up)


@message("host.syslog_reconfigure", "host.sync_data", "host.refresh_pack_info")
def nothing_visible(ctx: Context, host: Row) -> None:
    """Done on the host itself, without a trace in the database."""
    ctx.forward(host)


@message("host.backup_rrds")
def backup_rrds(ctx: Context, host: Row, delay: float) -> None:
    ctx.forward(host)


# -- extensions


@message("host.has_extension")
def has_extension(ctx: Context, host: Row, name: str) -> bool:
    ctx.forward(host)
    return False


@message("host.call_extension")
def call_extension(ctx: Context, host: Row, call: str) -> str:
    ctx.forward(host)
    raise XapiError("MESSAGE_METHOD_UNKNOWN", call)


# -- management interface


@message("host.get_management_interface")
def get_management_interface(ctx: Context, host: Row) -> Row:
    for pif in ctx.db.rows("PIF", host=host):
        if pif.management:
            return pif
    raise internal("Not_found")


def move_management_to(ctx: Context, pif: Row) -> None:
    """host.management_reconfigure for one PIF."""
    forward_to(ctx, pif.host)
    if ctx.pool.pool_row.ha_enabled:
        raise XapiError("HA_IS_ENABLED")
    if pif.managed:
        pif_rules.assert_usable_for_management(pif)
    if not pif.management:
        pif_rules.move_management(ctx, pif)


@message("host.management_reconfigure")
def management_reconfigure(ctx: Context, pif_ref: str) -> None:
    """The API moves to the PIF's address; the client loses its connection."""
    move_management_to(ctx, ctx.db.row("PIF", pif_ref))


@message("host.migrate_receive")
def migrate_receive(ctx: Context, host: Row, network_ref: str, options: dict[str, Any]) -> Strings:
    """Where another pool may send a VM to."""
    db = ctx.db
    ctx.forward(host)
    network = db.row("network", network_ref)
    found = [pif for pif in db.rows("PIF", network=network) if pif.host == host.ref]
    if not found:
        raise XapiError("HOST_CANNOT_ATTACH_NETWORK", host, network)
    if found[0].ip_configuration_mode == "None":
        raise XapiError("PIF_HAS_NO_NETWORK_CONFIGURATION", found[0])
    if not found[0].IP:
        raise XapiError("INTERFACE_HAS_NO_IP", found[0])
    session = ctx.session.ref if ctx.session is not None else NULL
    master = ctx.pool.runtime(ctx.pool.master)
    base = f"{ctx.pool.scheme}://{found[0].IP}:{ctx.pool.port}"
    return {
        "host": host.ref,
        "session_id": session,
        "SM": f"{base}/services/SM?session_id={session}",
        "xenops": f"{base}/services/xenops?session_id={session}",
        "master": f"{ctx.pool.scheme}://{master.address}:{ctx.pool.port}/",
    }
