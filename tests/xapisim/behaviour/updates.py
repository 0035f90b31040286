# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Updates of hosts: XAPI's repositories (repository.ml), and XCP-ng's dom0 plugin updater.py.

What there is to install stands in the scenario's `backends: {updates: [{id, name, version, release, reboot}]}`, the same for
all hosts; each has a set of those that it has installed.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from ..errors import XapiError
from ..http import Request, Response, handler
from ..registry import message, refresh
from .plugins import plugin

if TYPE_CHECKING:
    from ..db import Row
    from ..pool import Pool
    from ..registry import Context

Strings = dict[str, str]


def missing(pool: Pool, host: Row) -> list[dict[str, Any]]:
    """What a host has not installed."""
    installed = pool.__dict__.setdefault("installed_updates", {}).setdefault(host.uuid, set())
    return [update for update in pool.backends.get("updates") or [] if update["id"] not in installed]


def _install(pool: Pool, host: Row) -> list[dict[str, Any]]:
    found = missing(pool, host)
    pool.__dict__["installed_updates"][host.uuid].update(update["id"] for update in found)
    return found


# -- updater.py


@plugin("updater.py", "check_update")
def check_update(ctx: Context, host: Row, args: Strings) -> str:
    """Packages that yum would update, as JSON."""
    return json.dumps(
        [
            {
                "name": update.get("name", update["id"]),
                "version": str(update.get("version", "1.0")),
                "release": str(update.get("release", "1")),
                "description": "",
                "changelog": None,
                "url": "",
                "size": 1,
                "license": "GPL",
            }
            for update in missing(ctx.pool, host)
        ]
    )


@plugin("updater.py", "update")
def update_host(ctx: Context, host: Row, args: Strings) -> str:
    """`yum update`; that a reboot is needed is left to whoever reads the packages' names."""
    _install(ctx.pool, host)
    return json.dumps({"returncode": 0, "command": ["yum", "update", "-y"], "stdout": "", "stderr": ""})


# -- repositories


@message("Repository.introduce")
def introduce(
    ctx: Context, name: str, description: str, binary_url: str, source_url: str, update: bool, gpgkey_path: str
) -> Row:
    for known in ctx.db.rows("Repository"):
        if known.name_label == name or known.binary_url == binary_url:
            raise XapiError("REPOSITORY_ALREADY_EXISTS", known)
    if not binary_url.startswith(("http://", "https://")):
        raise XapiError("INVALID_BASE_URL", binary_url)
    return ctx.db.create(
        "Repository", name_label=name, name_description=description, binary_url=binary_url, source_url=source_url,
        update=update, gpgkey_path=gpgkey_path,
    )  # fmt: skip


@message("Repository.forget")
def forget(ctx: Context, repository: Row) -> None:
    if repository.ref in ctx.pool.pool_row.repositories:
        raise XapiError("REPOSITORY_IS_IN_USE")
    ctx.db.destroy(repository)


@message("pool.set_repositories")
def set_repositories(ctx: Context, pool: Row, value: list[str]) -> None:
    rows = [ctx.db.row("Repository", ref) for ref in value]
    if sum(row.update for row in rows) > 1:
        raise XapiError("MULTIPLE_UPDATE_REPOSITORIES_ENABLED")
    for row in rows:
        if row.ref not in pool.repositories:
            row.hash = ""
    pool.repositories = [row.ref for row in rows]


@message("pool.add_repository")
def add_repository(ctx: Context, pool: Row, value: str) -> None:
    set_repositories(ctx, pool, [*pool.repositories, value])


@message("pool.remove_repository")
def remove_repository(ctx: Context, pool: Row, value: str) -> None:
    set_repositories(ctx, pool, [ref for ref in pool.repositories if ref != value])


@message("pool.sync_updates")
def sync_updates(
    ctx: Context, pool: Row, force: bool, token: str, token_id: str, username: str, password: str
) -> str:
    """The hash of what there is now."""
    rows = [ctx.db.row("Repository", ref) for ref in pool.repositories]
    if not rows:
        raise XapiError("NO_REPOSITORY_ENABLED")
    digest = hashlib.sha256(json.dumps(ctx.pool.backends.get("updates") or []).encode()).hexdigest()
    for row in rows:
        row.hash = digest
    pool.last_update_sync = ctx.pool.clock.datetime()
    for host in ctx.db.rows("host"):
        host.latest_synced_updates_applied = "no" if missing(ctx.pool, host) else "yes"
    return digest


@message("host.apply_updates")
def apply_updates(ctx: Context, host: Row, digest: str) -> list[list[str]]:
    """Disables the host and installs everything. What has to follow stands in pending_guidances."""
    if ctx.pool.pool_row.ha_enabled:
        raise XapiError("HA_IS_ENABLED")
    ctx.forward(host)
    rows = [ctx.db.row("Repository", ref) for ref in ctx.pool.pool_row.repositories]
    if not rows:
        raise XapiError("NO_REPOSITORY_ENABLED")
    if digest != rows[0].hash or not digest:
        raise XapiError("UPDATEINFO_HASH_MISMATCH")
    host.enabled = False
    with ctx.operation(host, "apply_updates"):
        ctx.wait(ctx.duration("host.apply_updates"))
        if any(update.get("reboot", True) for update in _install(ctx.pool, host)):
            host.pending_guidances = sorted({*host.pending_guidances, "reboot_host"})
        host.latest_synced_updates_applied = "yes"
    refresh(host)
    return []


def booted(host: Row) -> None:
    """Nothing is pending after a boot."""
    for field in ("pending_guidances", "pending_guidances_recommended", "pending_guidances_full"):
        setattr(host, field, [])


@handler("GET", "/updates", "get_updates")
def get_updates(request: Request) -> Response:
    """What the hosts in host_refs lack, as JSON; the task, if there is one, tells how it went."""
    pool = request.pool
    with pool.lock:
        task = pool.db.maybe("task", request.query.get("task_id", ""))
        hosts = []
        for ref in filter(None, request.query.get("host_refs", "").split(",")):
            host = pool.db.row("host", ref)
            found = missing(pool, host)
            reboot = any(update.get("reboot", True) for update in found)
            hosts.append(
                {
                    "ref": ref,
                    "recommended-guidance": ["RebootHost"] if reboot else [],
                    "guidance": {"mandatory": ["RebootHost"] if reboot else [], "recommended": [], "full": []},
                    "RPMS": [f"{update.get('name', update['id'])}-{update.get('version', '1.0')}" for update in found],
                    "updates": [update["id"] for update in found],
                    "livepatches": [],
                }
            )
        repositories = [pool.db.row("Repository", ref) for ref in pool.pool_row.repositories]
        content = {
            "hosts": hosts,
            "updates": [{"id": update["id"]} for update in pool.backends.get("updates") or []],
            "hash": repositories[0].hash if repositories else "",
        }
        if task is not None:
            pool.tasks.succeed(task, "")
    return Response(200, json.dumps(content).encode(), "application/json")
