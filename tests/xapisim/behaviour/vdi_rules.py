# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be done with a VDI: the checks of xapi_vdi.ml in their order, and allowed_operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import XapiError
from ..registry import refresher
from .forwarding import plugged_pbds
from .sm import has_feature

if TYPE_CHECKING:
    from ..db import Database, Row

_FEATURES = {
    "snapshot": "VDI_SNAPSHOT",
    "destroy": "VDI_DELETE",
    "resize": "VDI_RESIZE",
    "update": "VDI_UPDATE",
    "resize_online": "VDI_RESIZE_ONLINE",
    "generate_config": "VDI_GENERATE_CONFIG",
    "clone": "VDI_CLONE",
    "revert_to": "VDI_CLONE",
    "mirror": "VDI_MIRROR",
    "enable_cbt": "VDI_CONFIG_CBT",
    "disable_cbt": "VDI_CONFIG_CBT",
    "data_destroy": "VDI_CONFIG_CBT",
    "list_changed_blocks": "VDI_CONFIG_CBT",
    "set_on_boot": "VDI_RESET_ON_BOOT",
}
_LIVE = {"snapshot", "resize_online", "blocked", "clone", "revert_to", "mirror"} | {
    "enable_cbt",
    "disable_cbt",
    "data_destroy",
}
_WITH_CBT_METADATA = {
    "blocked",
    "data_destroy",
    "destroy",
    "list_changed_blocks",
    "force_unlock",
    "forget",
    "generate_config",
    "update",
}
_HA_TYPES = ("ha_statefile", "redo_log")
# Newer operations stay out of the list, because old pools could not migrate to one that shows them (xapi_vdi.ml CA-260245)
_LISTED = ("copy", "generate_config", "clone", "forget", "update", "resize", "snapshot", "destroy", "resize_online")


def attached_vbds(db: Database, vdi: Row) -> list[Row]:
    """The VBDs through which the VDI is in use."""
    return [vbd for vbd in db.rows("VBD", VDI=vdi) if vbd.currently_attached]


def _error(db: Database, vdi: Row, op: str, sr: Row, vbds: list[Row]) -> XapiError | None:
    """Why the operation is not possible, None if it is. `vbds`: all VBDs of the VDI."""
    for task, current in vdi.current_operations.items():
        if current != "copy" and not (op == "destroy" and current == "mirror"):
            return XapiError("OTHER_OPERATION_IN_PROGRESS", "VDI", vdi, current, task)
    if op == "resize" and not plugged_pbds(db, sr):
        return XapiError("SR_HAS_NO_PBDS", sr)
    active = [vbd for vbd in vbds if vbd.currently_attached]
    if op == "copy":
        active = [vbd for vbd in active if vbd.mode == "RW"]
    elif op == "list_changed_blocks":
        vms = [db.maybe("VM", vbd.VM) for vbd in active]
        active = active if any(vm is not None and not vm.is_a_snapshot for vm in vms) else []
    elif op in _LIVE:
        active = []
    if active:
        return XapiError("VDI_IN_USE", vdi, op)
    if op != "data_destroy":
        for vbd in vbds:
            for task, current in vbd.current_operations.items():
                return XapiError("OTHER_OPERATION_IN_PROGRESS", "VDI", vdi, current, task)
    feature = _FEATURES.get(op)
    if feature is not None and not has_feature(db, sr, feature):
        return XapiError("SR_OPERATION_NOT_SUPPORTED", sr)
    if vdi.type == "cbt_metadata" and op not in _WITH_CBT_METADATA:
        return XapiError("VDI_INCOMPATIBLE_TYPE", vdi, "cbt_metadata")
    if vdi.cbt_enabled and op in ("mirror", "set_on_boot"):
        return XapiError("VDI_CBT_ENABLED", vdi)
    return _specific(db, vdi, op, sr)


def _specific(db: Database, vdi: Row, op: str, sr: Row) -> XapiError | None:
    ha_locked = vdi.type in _HA_TYPES and any(pool.ha_enabled for pool in db.rows("pool"))
    not_snapshot = XapiError("OPERATION_NOT_ALLOWED", f"VDI is not a snapshot: {vdi.ref}")
    if op == "data_destroy" and not vdi.is_a_snapshot:
        return not_snapshot
    if op == "data_destroy" and not vdi.cbt_enabled:
        return XapiError("VDI_NO_CBT_METADATA", vdi)
    if op in ("destroy", "data_destroy"):
        if sr.type == "udev":
            return XapiError("VDI_IS_A_PHYSICAL_DEVICE", vdi)
        if sr.is_tools_sr:
            return XapiError("SR_OPERATION_NOT_SUPPORTED", sr)
    if op in ("destroy", "data_destroy", "forget") and vdi.type == "rrd":
        return XapiError("VDI_HAS_RRDS", vdi)
    if op in ("destroy", "data_destroy", "forget", "resize", "resize_online") and ha_locked:
        return XapiError("HA_IS_ENABLED")
    if op == "snapshot" and vdi.sharable:
        return XapiError("VDI_IS_SHARABLE", vdi)
    if op in ("snapshot", "copy") and vdi.on_boot == "reset":
        return XapiError("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION")
    if op == "snapshot" and "copy" in vdi.current_operations.values():
        return XapiError("OPERATION_NOT_ALLOWED", "Snapshot operation not allowed during copy.")
    if op == "copy" and vdi.type in _HA_TYPES:
        text = "VDI containing HA statefile or redo log cannot be copied (check the VDI's allowed operations)."
        return XapiError("OPERATION_NOT_ALLOWED", text)
    if op in ("enable_cbt", "disable_cbt"):
        if vdi.is_a_snapshot:
            return XapiError("OPERATION_NOT_ALLOWED", f"VDI is a snapshot: {vdi.ref}")
        if vdi.type not in ("user", "system"):
            return XapiError("VDI_INCOMPATIBLE_TYPE", vdi, vdi.type)
        if vdi.on_boot == "reset":
            return XapiError("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION")
    if op == "revert_to" and not vdi.is_a_snapshot:
        return XapiError("REVERT_ONLY_ALLOWED_ON_SNAPSHOT")
    return None


def assert_allowed(db: Database, vdi: Row, op: str) -> None:
    """Raise why the operation is not possible now."""
    error = _error(db, vdi, op, db.row("SR", vdi.SR), db.rows("VBD", VDI=vdi))
    if error is not None:
        raise error


@refresher("VDI")
def allowed_operations(db: Database, vdi: Row) -> list[str]:
    """The operations that xapi lists for a VDI."""
    sr = db.maybe("SR", vdi.SR)
    if sr is None:
        return []
    vbds = db.rows("VBD", VDI=vdi)
    return [op for op in _LISTED if _error(db, vdi, op, sr, vbds) is None]
