# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PBD: the attachment of an SR to a host, and the secrets in its device_config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import XapiError
from ..registry import message, refresh
from . import backend, space
from .sm import driver

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..registry import Context

Strings = dict[str, str]
_PASSWORD = "password"
_SECRET = "password_secret"


def _with_secrets(db: Database, device_config: Strings) -> Strings:
    """Passwords replaced by secrets; every PBD has secrets of its own, so those of others are duplicated."""
    result = {}
    for key, value in device_config.items():
        if key.endswith(_SECRET):
            known = db.by_uuid("secret", value)
            result[key] = db.create("secret", value=known.value).uuid
        elif key.endswith(_PASSWORD):
            result[f"{key}_secret"] = db.create("secret", value=value).uuid
        else:
            result[key] = value
    return result


def build_pbd(db: Database, host: Row, sr: Row, device_config: Strings) -> Row:
    """A detached PBD. PBD_EXISTS [sr; host; pbd], VALUE_NOT_SUPPORTED for the key SRmaster."""
    for pbd in db.rows("PBD", SR=sr):
        if pbd.host == host.ref:
            raise XapiError("PBD_EXISTS", sr, host, pbd)
    if "SRmaster" in device_config:
        text = "This key is for internal use only"
        raise XapiError("VALUE_NOT_SUPPORTED", "SRmaster", device_config["SRmaster"], text)
    return db.create("PBD", host=host, SR=sr, device_config=_with_secrets(db, device_config))


def destroy_pbd(db: Database, pbd: Row) -> None:
    """Delete the record and its secrets, attached or not."""
    for key, value in pbd.device_config.items():
        if key.endswith(_SECRET):
            for secret in db.rows("secret", uuid=value):
                db.destroy(secret)
    db.destroy(pbd)


def attach_pbd(ctx: Context, pbd: Row) -> None:
    """Attach an SR to its host; on the host that is the SR's master this also scans it."""
    from .sr import scan_sr  # sr.py stands on this module

    db = ctx.db
    host = db.row("host", pbd.host)
    ctx.forward(host)
    sr = db.row("SR", pbd.SR)
    known = driver(sr.type)
    if pbd.currently_attached:
        return
    others = [p for p in db.rows("PBD", SR=sr) if p.currently_attached and p.host != pbd.host]
    if others and not sr.shared:
        raise XapiError("SR_NOT_SHARABLE", sr, others[0].host)
    if sr.ref in ctx.pool.faults.sr_lost:
        raise backend.fault("SRUnavailable", "the path to the storage is lost")
    backend.check(ctx.pool, known.type, _clear(db, pbd.device_config))
    pbd.currently_attached = True
    _note_paths(pbd, host, known.type)
    if host == ctx.pool.master or not others:
        try:
            scan_sr(ctx, sr)
        except XapiError as error:  # a real one scans a little later, of its own accord
            ctx.pool.log(f"SR {sr.name_label} is attached, but cannot be scanned: {error}")
    else:
        space.measure(ctx.pool, sr)
    _refresh(db, sr)


_MULTIPATH = ("lvmoiscsi", "lvmohba", "iscsi", "hba")
_PATHS = 2  # to a LUN on Fibre Channel


def _note_paths(pbd: Row, host: Row, sr_type: str) -> None:
    """What the storage manager notes of the paths, when the host uses multipath (mpathcount.py)."""
    kept = {k: v for k, v in pbd.other_config.items() if k not in ("multipathed", "iscsi_sessions") and k[:6] != "mpath-"}
    if sr_type in _MULTIPATH:
        targets = pbd.device_config.get("target", "").split(",")
        paths = _PATHS if targets == [""] else len(targets)
        if targets != [""]:
            kept["iscsi_sessions"] = str(paths if host.multipathing else 1)
        if host.multipathing:
            kept |= {"multipathed": "true", f"mpath-{pbd.device_config.get('SCSIid', '')}": f"[{paths}, {paths}]"}
    pbd.other_config = kept


def lose_paths(pbd: Row, up: int) -> None:
    """So many paths are left of those that there are."""
    config = pbd.other_config
    for key, value in config.items():
        if key.startswith("mpath-"):
            config[key] = f"[{up}, {value.strip('[]').split(', ')[1]}]"
    pbd.other_config = config


def _clear(db: Database, device_config: Strings) -> Strings:
    """The device_config as the driver sees it, with the passwords behind the secrets."""
    config = dict(device_config)
    for key, value in device_config.items():
        if key.endswith(_SECRET):
            config[key.removesuffix("_secret")] = db.by_uuid("secret", value).value
    return config


def _refresh(db: Database, sr: Row) -> None:
    refresh(sr)
    for vdi in db.rows("VDI", SR=sr):
        refresh(vdi)


@message("PBD.create")
def create(ctx: Context, record: dict[str, Any]) -> Row:
    """Detached at first. What other_config says is not kept, as in xapi_pbd.ml."""
    host = ctx.db.row("host", record["host"])
    sr = ctx.db.row("SR", record["SR"])
    pbd = build_pbd(ctx.db, host, sr, record["device_config"])
    refresh(sr)
    return pbd


@message("PBD.destroy")
def destroy(ctx: Context, pbd: Row) -> None:
    if pbd.currently_attached:
        raise XapiError("OPERATION_NOT_ALLOWED", "PBD is currently attached")
    sr = ctx.db.maybe("SR", pbd.SR)
    destroy_pbd(ctx.db, pbd)
    if sr is not None:
        refresh(sr)


@message("PBD.plug")
def plug(ctx: Context, pbd: Row) -> None:
    sr = ctx.db.row("SR", pbd.SR)
    with ctx.operation(sr, "plug"):
        attach_pbd(ctx, pbd)


def active_vdis(db: Database, pbd: Row) -> list[str]:
    """VDIs of the PBD's SR that VMs on its host use."""
    found = []
    for vm in db.rows("VM", resident_on=pbd.host):
        for vbd in db.rows("VBD", VM=vm):
            vdi = db.maybe("VDI", vbd.VDI)
            if vbd.currently_attached and vdi is not None and vdi.SR == pbd.SR:
                found.append(vdi.ref)
    return found


def detach_pbd(ctx: Context, pbd: Row) -> None:
    """Detach an SR from its host. VDI_IN_USE [vdi...] while VMs there use it."""
    db = ctx.db
    if not pbd.currently_attached:
        return
    sr = db.row("SR", pbd.SR)
    _assert_ha_allows(ctx, pbd, sr)
    used = active_vdis(db, pbd)
    if used:
        raise XapiError("VDI_IN_USE", *used)
    pbd.currently_attached = False
    _refresh(db, sr)


def _assert_ha_allows(ctx: Context, pbd: Row, sr: Row) -> None:
    db, pool = ctx.db, ctx.pool.pool_row
    if not pool.ha_enabled:
        return
    if db.row("host", pbd.host).enabled and not pool.ha_allow_overcommit:
        for vdi in db.rows("VDI", SR=sr):
            for vbd in db.rows("VBD", VDI=vdi):
                vm = db.maybe("VM", vbd.VM)
                if vm is not None and vm.ha_always_run and vm.ha_restart_priority == "restart":
                    raise XapiError("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", sr)
    statefiles = [db.maybe("VDI", ref) for ref in pool.ha_statefiles]
    if any(vdi is not None and sr.ref == vdi.SR for vdi in statefiles):
        raise XapiError("HA_IS_ENABLED")


@message("PBD.unplug")
def unplug(ctx: Context, pbd: Row) -> None:
    sr = ctx.db.row("SR", pbd.SR)
    ctx.forward(ctx.db.row("host", pbd.host))
    with ctx.operation(sr, "unplug"):
        detach_pbd(ctx, pbd)


@message("PBD.set_device_config")
def set_device_config(ctx: Context, pbd: Row, value: Strings) -> None:
    """For the storage manager only (measured on a real xapi: more facts, 9)."""
    raise XapiError("PERMISSION_DENIED", "")
