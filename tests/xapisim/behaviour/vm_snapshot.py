# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM: snapshot, checkpoint, revert (xapi_vm_snapshot.ml)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import XapiError
from ..registry import NULL, message
from ..types import parse_date
from . import vdi_copy, vm_agent
from .forwarding import assert_plugged
from .placement import host_seeing, required_srs
from .sm import has_feature
from .vdi import destroy_vdi
from .vdi_rules import assert_allowed
from .vm import build_vm
from .vm_clone import copy_disks, copy_vbd, copy_vif, duplicate_vm, fresh_generation_id
from .vm_power import home, power_off
from .vm_rules import vm_operation, words
from .vm_state import refresh_devices, reset_state
from .vm_suspend import restore, save

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context

# what a revert leaves as it is (do_not_copy of xapi_vm_snapshot.ml), beside the fields that relations fill
_NOT_REVERTED = set(
    words(
        "uuid suspend_VDI power_state parent current_operations allowed_operations metrics guest_metrics "
        "resident_on domid protection_policy snapshot_schedule scheduled_to_be_resident_on snapshots tags affinity "
        "groups consoles VBDs VIFs VGPUs VUSBs VTPMs attached_PCIs is_snapshot_from_vmpp children crash_dumps blobs"
    )
)
_PASSED_ON = ("SR_BACKEND_FAILURE_44", "SR_BACKEND_FAILURE_109", "VDI_INCOMPATIBLE_TYPE")


def _message(ctx: Context, name: str, vm: Row, text: str) -> None:
    ctx.announce(name, vm, f"VM '{vm.name_label}' (uuid: {vm.uuid}) {text}")


@message("VM.snapshot")
def snapshot(ctx: Context, vm: Row, name: str, ignored: list[str]) -> Row:
    with vm_operation(ctx, vm, "snapshot"):
        ctx.forward(host_seeing(ctx.db, required_srs(ctx.db, vm)))
        new = duplicate_vm(ctx, vm, "snapshot", name, ignored=ignored)
    _message(ctx, "VM_SNAPSHOTTED", vm, f"snapshotted, snapshot name: {name}")
    return new


@message("VM.checkpoint")
def checkpoint(ctx: Context, vm: Row, name: str) -> Row:
    """A snapshot with the memory: a running VM is suspended and resumed."""
    with vm_operation(ctx, vm, "checkpoint"):
        if vm.power_state == "Running":
            new = _checkpoint_running(ctx, vm, name)
        else:
            ctx.forward(host_seeing(ctx.db, required_srs(ctx.db, vm)))
            new = duplicate_vm(ctx, vm, "checkpoint", name, info={})
    _message(ctx, "VM_CHECKPOINTED", vm, f"checkpointed, snapshot name: {name}")
    return new


def _checkpoint_running(ctx: Context, vm: Row, name: str) -> Row:
    host = home(ctx, vm)
    info = {"power-state-at-snapshot": "Running", "disk-snapshot-type": "crash_consistent"}
    for vbd in ctx.db.rows("VBD", VM=vm):
        vdi = ctx.db.maybe("VDI", vbd.VDI) if vbd.type != "CD" else None
        if vdi is not None and not has_feature(ctx.db, ctx.db.row("SR", vdi.SR), "VDI_SNAPSHOT"):
            raise XapiError("SR_OPERATION_NOT_SUPPORTED", vm)
    always_run = vm.ha_always_run
    save(ctx, vm, keep_resident=True)
    try:
        return duplicate_vm(ctx, vm, "checkpoint", name, info=info)
    finally:
        restore(ctx, vm, host, paused=False)
        vm.ha_always_run = always_run


# -- revert


def _saved_fields(ctx: Context, text: str) -> dict[str, Any]:
    """The fields of a VM as snapshot_metadata remembers them; ValueError when there is no memory."""
    fields = ctx.db.schema.classes["VM"].fields
    saved = json.loads(text)
    for name, field in fields.items():
        if field.type.kind == "datetime" and name in saved:
            saved[name] = parse_date(saved[name])
    return {name: value for name, value in saved.items() if name in fields}


def _restore_fields(ctx: Context, vm: Row, saved: dict[str, Any]) -> None:
    for name, value in saved.items():
        if name not in _NOT_REVERTED:
            setattr(vm, name, False if name == "ha_always_run" else value)


def _recreate(ctx: Context, snap: Row) -> Row:
    """The VM of an orphaned snapshot, with its old uuid; all its snapshots belong to it again."""
    db, lost = ctx.db, snap.snapshot_of
    try:
        saved = _saved_fields(ctx, snap.snapshot_metadata)
        if any(vm.uuid == saved["uuid"] for vm in db.rows("VM")):
            raise ValueError(saved["uuid"])
    except (ValueError, KeyError):
        raise XapiError("VM_REVERT_FAILED", snap, lost) from None
    vm = build_vm(ctx.pool, {"uuid": saved["uuid"], "other_config": saved["other_config"]})
    _restore_fields(ctx, vm, saved)
    for sibling in db.rows("VM", snapshot_of=lost):
        sibling.snapshot_of = vm
    return vm


def _drop_devices(ctx: Context, snap: Row, vm: Row) -> None:
    """Take away disks that the snapshot replaces, with their bytes; those it does not know are only unplugged."""
    db = ctx.db
    replaced = {db.row("VDI", vbd.VDI).snapshot_of for vbd in db.rows("VBD", VM=snap) if vbd.type == "Disk"}
    doomed = []
    for vbd in db.rows("VBD", VM=vm):
        vdi = db.maybe("VDI", vbd.VDI)
        if vbd.type == "Disk" and vdi is not None and vdi.ref in replaced:
            doomed.append(vdi)
        db.destroy(vbd)
    image = db.maybe("VDI", vm.suspend_VDI)
    vm.suspend_VDI = NULL
    for vdi in doomed + ([image] if image is not None else []):
        assert_allowed(db, vdi, "destroy")
        destroy_vdi(ctx, vdi)


def _revert_devices(ctx: Context, snap: Row, vm: Row) -> None:
    db = ctx.db
    _drop_devices(ctx, snap, vm)
    ctx.progress(0.2)
    pairs = copy_disks(ctx, db.rows("VBD", VM=snap), lambda vdi: vdi_copy.clone_vdi(ctx, vdi))
    for vbd, vdi in pairs:
        if vbd.type == "Disk":
            old = db.row("VDI", vbd.VDI).snapshot_of
            for sibling in db.rows("VDI", snapshot_of=old) if old != NULL else ():
                sibling.snapshot_of = vdi
        copy_vbd(ctx, vbd, vm, vdi)
    image = db.maybe("VDI", snap.suspend_VDI)
    if image is not None:
        vm.suspend_VDI = vdi_copy.clone_vdi(ctx, image)
    ctx.progress(0.7)
    for vif in db.rows("VIF", VM=vm):
        db.destroy(vif)
    for vif in db.rows("VIF", VM=snap):
        copy_vif(ctx, vif, vm, keep_mac=True)


def _revert_metrics(ctx: Context, snap: Row, vm: Row) -> None:
    db = ctx.db
    vm_agent.drop_guest_metrics(db, vm)
    vm.guest_metrics = vm_agent.copied_guest_metrics(db, snap)
    old = db.maybe("VM_metrics", vm.metrics)
    vm.metrics = vm_agent.copied_metrics(db, snap)
    if old is not None:
        db.destroy(old)


@message("VM.revert")
def revert(ctx: Context, snap: Row) -> None:
    """The VM as it was: fields, disks and NICs. Its power state becomes that of the snapshot."""
    db = ctx.db
    vm = db.maybe("VM", snap.snapshot_of) or _recreate(ctx, snap)
    with vm_operation(ctx, snap, "revert"), vm_operation(ctx, vm, "reverting"):
        image = db.maybe("VDI", snap.suspend_VDI) if snap.power_state == "Suspended" else None
        if image is not None:
            assert_plugged(db, db.row("SR", image.SR))
        if vm.power_state != "Halted":
            power_off(ctx, vm)
        _restore_fields(ctx, vm, _saved_fields(ctx, snap.snapshot_metadata))
        ctx.forward(host_seeing(db, required_srs(db, snap)))
        vm.generation_id = fresh_generation_id(vm.generation_id)
        try:
            _revert_devices(ctx, snap, vm)
        except XapiError as error:
            reset_state(db, vm, "Halted")
            if error.code in _PASSED_ON:
                raise
            raise XapiError("VM_REVERT_FAILED", snap, vm) from error
        _revert_metrics(ctx, snap, vm)
        vm.parent = snap
        reset_state(db, vm, snap.power_state)
    refresh_devices(db, snap)
    text = f"reverted to snapshot: {snap.name_label} (uuid {snap.uuid})"
    _message(ctx, "VM_SNAPSHOT_REVERTED", vm, text)
