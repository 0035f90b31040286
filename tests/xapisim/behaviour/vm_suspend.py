# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM: suspend and resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import XapiError
from ..registry import message
from . import space, vm_agent
from .placement import assert_can_boot, assert_compatible, choose_host, reserved
from .vdi import build_vdi
from .vm import derived_domain_type
from .vm_power import assert_attachable, drop_suspend_image, home, on_host, told
from .vm_rules import vm_operation
from .vm_state import attach_devices, refresh_devices, reset_state, settle

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context

_HEADROOM = 1.2 * 1.05  # on top of static_max, and 100 MiB more (xapi_xenops.ml suspend)
_MARGIN = 104857600


def _suspend_sr(ctx: Context, vm: Row) -> Row:
    """The SR for the memory image: the VM's, the pool's or the host's; VM_NO_SUSPEND_SR [vm] when none is usable."""
    db = ctx.db
    host = db.row("host", vm.resident_on)
    for ref in (vm.suspend_SR, ctx.pool.pool_row.suspend_image_SR, host.suspend_image_sr):
        sr = db.maybe("SR", ref)
        if sr is not None and db.rows("PBD", SR=sr, host=host.ref):
            return sr
    raise XapiError("VM_NO_SUSPEND_SR", vm)


def save(ctx: Context, vm: Row, *, keep_resident: bool = False) -> None:
    """Write the memory image and let the domain go. `keep_resident`: for a checkpoint, which resumes at once."""
    vm.ha_always_run = False
    sr = _suspend_sr(ctx, vm)
    size = int(vm.memory_static_max * _HEADROOM) + _MARGIN
    try:
        space.assert_room(ctx.pool, sr, size)
    except XapiError as error:
        raise XapiError("SR_SUSPEND_SPACE_INSUFFICIENT", sr) from error
    label = "Suspend image"
    vdi = build_vdi(ctx.pool, sr, size, name_label=label, name_description=label, type="suspend")
    vm.suspend_VDI = vdi
    reset_state(ctx.db, vm, "Suspended", keep_resident=keep_resident)


def restore(ctx: Context, vm: Row, host: Row, *, paused: bool) -> None:
    """Read the memory image back; VM_HAS_NO_SUSPEND_VDI ["VM"; vm] leaves the VM Halted."""
    ctx.forward(host)
    if ctx.db.maybe("VDI", vm.suspend_VDI) is None:
        reset_state(ctx.db, vm, "Halted")
        raise XapiError("VM_HAS_NO_SUSPEND_VDI", "VM", vm)
    if vm.ha_restart_priority == "restart":
        vm.ha_always_run = True
    attach_devices(ctx, vm, host)
    settle(ctx.pool, vm, host, "Paused" if paused else "Running")
    drop_suspend_image(ctx, vm)
    vm_agent.expect_agent(ctx.pool, vm)


@message("VM.suspend")
def suspend(ctx: Context, vm: Row) -> None:
    with vm_operation(ctx, vm, "suspend"):
        home(ctx, vm)
        save(ctx, vm)
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_SUSPENDED", vm, "suspended")


def _resume(ctx: Context, vm: Row, host: Row, *, paused: bool, force: bool) -> None:
    with reserved(ctx, vm, host, "vm_resume"):
        if not force:
            assert_compatible(ctx.db, vm, host)
        restore(ctx, vm, host, paused=paused)


def _prepare(ctx: Context, vm: Row) -> None:
    assert_attachable(ctx, vm, with_vifs=False)
    if vm.domain_type == "unspecified":
        vm.domain_type = derived_domain_type(vm.HVM_boot_policy)


@message("VM.resume")
def resume(ctx: Context, vm: Row, start_paused: bool, force: bool) -> None:
    with vm_operation(ctx, vm, "resume"):
        _prepare(ctx, vm)
        host = choose_host(ctx.db, vm)
        _resume(ctx, vm, host, paused=start_paused, force=force)
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_RESUMED", vm, f"resumed on {on_host(host)}")


@message("VM.resume_on")
def resume_on(ctx: Context, vm: Row, host_ref: str, start_paused: bool, force: bool) -> None:
    with vm_operation(ctx, vm, "resume_on"):
        _prepare(ctx, vm)
        assert_can_boot(ctx.db, vm, host_ref)
        host = ctx.db.row("host", host_ref)
        _resume(ctx, vm, host, paused=start_paused, force=force)
    refresh_devices(ctx.db, vm)
    told(ctx, "VM_RESUMED", vm, f"resumed on {on_host(host)}")
