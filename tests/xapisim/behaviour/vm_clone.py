# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM: clone, copy, and what snapshots share with them: a new VM from an existing one (xapi_vm_clone.ml)."""

from __future__ import annotations

import json
import random
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..db import new_uuid
from ..errors import XapiError
from ..registry import NULL, message, refresh
from ..types import format_date
from . import vdi_copy, vm_agent
from .placement import host_seeing, required_srs
from .vbd import build_vbd
from .vdi import destroy_vdi
from .vif import build_vif
from .vm import destroy_vm
from .vm_power import drop_suspend_image
from .vm_rules import vm_operation, words
from .vm_state import refresh_devices, reset_state

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context

_KEPT = words(
    "name_description user_version affinity memory_overhead memory_target memory_static_max memory_dynamic_max "
    "memory_dynamic_min memory_static_min VCPUs_max VCPUs_at_startup VCPUs_params actions_after_softreboot "
    "actions_after_shutdown actions_after_reboot actions_after_crash HVM_boot_policy HVM_boot_params "
    "HVM_shadow_multiplier platform PV_kernel PV_ramdisk PV_args PV_bootloader PV_bootloader_args "
    "PV_legacy_args PCI_bus last_boot_CPU_flags is_control_domain last_booted_record recommendations "
    "xenstore_data ha_restart_priority tags bios_strings hardware_platform_version has_vendor_device "
    "reference_label domain_type NVRAM secureboot_certificates_state"
)
_VBD_FIELDS = words(
    "userdevice device bootable mode currently_attached type unpluggable other_config qos_algorithm_type "
    "qos_algorithm_params"
)
_VIF_FIELDS = words(
    "device MTU other_config currently_attached qos_algorithm_type qos_algorithm_params locking_mode "
    "ipv4_allowed ipv6_allowed ipv4_configuration_mode ipv4_addresses ipv4_gateway ipv6_configuration_mode "
    "ipv6_addresses ipv6_gateway trunks"
)


def fresh_generation_id(current: str) -> str:
    """A new VM generation ID; a VM that has none stays without."""
    return f"{random.getrandbits(62)}:{random.getrandbits(62)}" if current else ""


def metadata(vm: Row) -> str:
    """snapshot_metadata: the whole record, to be read by VM.revert."""
    return json.dumps(vm.record(), default=lambda v: format_date(v) if isinstance(v, datetime) else str(v))


def copy_vbd(ctx: Context, vbd: Row, vm: Row, vdi: Row | str) -> Row:
    """The same VBD for another VM and VDI; that VM owns the disk."""
    fields = {name: getattr(vbd, name) for name in _VBD_FIELDS}
    if vbd.type == "Disk":
        fields["other_config"].setdefault("owner", "")
    return build_vbd(ctx.pool, vm, VDI=vdi, empty=vbd.empty or vdi == NULL, **fields)


def copy_vif(ctx: Context, vif: Row, vm: Row, *, keep_mac: bool) -> None:
    """The same VIF for another VM; without keep_mac its address follows from that VM's mac_seed."""
    network = ctx.db.maybe("network", vif.network)
    if network is None:
        return
    fields = {name: getattr(vif, name) for name in _VIF_FIELDS}
    build_vif(ctx.pool, vm, network, MAC=vif.MAC if keep_mac else "", **fields)


def copy_disks(ctx: Context, vbds: list[Row], duplicate: Any) -> list[tuple[Row, Row | str]]:
    """VBDs with the VDIs for their copies: disks by `duplicate`, media of CD drives shared. All or none."""
    made: list[Row] = []
    pairs: list[tuple[Row, Row | str]] = []
    try:
        for number, vbd in enumerate(vbds):
            if vbd.empty or vbd.type == "CD":
                pairs.append((vbd, NULL if vbd.empty else vbd.VDI))
                continue
            vdi = duplicate(ctx.db.row("VDI", vbd.VDI))
            made.append(vdi)
            pairs.append((vbd, vdi))
            ctx.progress((number + 1) / len(vbds) * 0.9)
    except XapiError:
        for vdi in made:
            destroy_vdi(ctx, vdi)
        raise
    return pairs


def _other_config(vm: Row, *, keep_seed: bool) -> dict[str, str]:
    other: dict[str, str] = vm.other_config
    if not keep_seed:
        other["mac_seed"] = new_uuid()
    for key in ("default_template", "xensource_internal"):
        other.pop(key, None)
    if vm.is_a_template:
        other.setdefault("base_template_name", vm.name_label)
    return other


def _copy_record(ctx: Context, vm: Row, op: str, name: str, state: str, info: dict[str, str] | None) -> Row:
    db = ctx.db
    fields = {field: getattr(vm, field) for field in _KEPT}
    is_snapshot = op in ("snapshot", "checkpoint")
    if is_snapshot:
        usual = {"power-state-at-snapshot": vm.power_state, "disk-snapshot-type": "crash_consistent"}
        fields.update(
            is_a_snapshot=True,
            snapshot_of=vm,
            snapshot_time=ctx.pool.clock.datetime(),
            snapshot_info=info if info is not None else usual,
            snapshot_metadata=metadata(vm),
            parent=vm.parent,
        )
    new = db.create(
        "VM",
        name_label=name,
        power_state=state,
        is_a_template=is_snapshot or vm.is_a_template,
        other_config=_other_config(vm, keep_seed=is_snapshot),
        metrics=vm_agent.copied_metrics(db, vm),
        guest_metrics=vm_agent.copied_guest_metrics(db, vm),
        generation_id=fresh_generation_id(vm.generation_id),
        domid=-1,
        **fields,
    )
    if is_snapshot:
        vm.parent = new
    return new


def duplicate_vm(
    ctx: Context,
    vm: Row,
    op: str,
    name: str,
    *,
    sr: Row | None = None,
    ignored: list[str] | None = None,
    info: dict[str, str] | None = None,
) -> Row:
    """A new VM: op is clone, copy, snapshot or checkpoint; `ignored` VDIs are left out of snapshots."""
    db = ctx.db
    is_snapshot = op in ("snapshot", "checkpoint")

    def duplicate(vdi: Row) -> Row:
        if is_snapshot:
            return vdi_copy.snapshot_vdi(ctx, vdi)
        if op == "copy":
            return vdi_copy.copy_vdi(ctx, vdi, sr or db.row("SR", vdi.SR))
        return vdi_copy.clone_vdi(ctx, vdi)

    suspended = vm.power_state in (("Running", "Suspended") if op == "checkpoint" else ("Suspended",))
    state = "Suspended" if suspended and op != "snapshot" else "Halted"
    vbds = [vbd for vbd in db.rows("VBD", VM=vm) if not (is_snapshot and vbd.VDI in (ignored or ()))]
    pairs = copy_disks(ctx, vbds, duplicate)
    new: Row | None = None
    try:
        new = _copy_record(ctx, vm, op, name, state, info)
        for vbd, vdi in pairs:
            copy_vbd(ctx, vbd, new, vdi)
        for vif in db.rows("VIF", VM=vm):
            copy_vif(ctx, vif, new, keep_mac=is_snapshot)
        image = db.maybe("VDI", vm.suspend_VDI) if op != "snapshot" else None
        if image is not None:
            new.suspend_VDI = duplicate(image)
    except XapiError:
        if new is not None:
            destroy_vm(ctx, new)
        for vbd, vdi in pairs:
            if vbd.type != "CD" and vdi != NULL:
                destroy_vdi(ctx, vdi)  # type: ignore[arg-type]
        raise
    reset_state(db, new, state)
    refresh_devices(db, vm)
    return new


def _copied(ctx: Context, vm: Row, new: Row) -> Row:
    """What was made from a checkpoint is Halted."""
    if vm.is_a_snapshot and new.power_state != "Halted":
        drop_suspend_image(ctx, new)
        reset_state(ctx.db, new, "Halted")
    return new


@message("VM.clone")
def clone(ctx: Context, vm: Row, name: str) -> Row:
    with vm_operation(ctx, vm, "clone"):
        ctx.forward(host_seeing(ctx.db, required_srs(ctx.db, vm)))
        return _copied(ctx, vm, duplicate_vm(ctx, vm, "clone", name))


@message("VM.csvm")
def csvm(ctx: Context, vm: Row) -> Row:
    """The forgotten ancestor of clone, for suspended VMs."""
    with vm_operation(ctx, vm, "csvm"):
        return duplicate_vm(ctx, vm, "clone", f"{vm.name_label}-cloned-suspended")


@message("VM.copy")
def copy(ctx: Context, vm: Row, name: str, sr_ref: str) -> Row:
    """A full copy, in the SR of each disk or all in one; a bad SR reference counts as none."""
    with vm_operation(ctx, vm, "copy"):
        sr = ctx.db.maybe("SR", sr_ref)
        if sr is not None and sr.content_type == "iso":
            raise XapiError("OPERATION_NOT_ALLOWED", "Cannot copy a VM's disks to an ISO SR")
        new = _copied(ctx, vm, duplicate_vm(ctx, vm, "copy", name, sr=sr))
        refresh(new)
        return new
