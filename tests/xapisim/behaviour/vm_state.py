# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power states and what changes with them: devices, residence, domain ids."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from ..registry import NULL, refresh
from . import vbd as vbds
from . import vif as vifs
from . import vm_agent
from .pci import attach_pcis, detach_pcis

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..pool import Pool
    from ..registry import Context


def refresh_devices(db: Database, vm: Row) -> None:
    """The allowed operations of a VM's devices and disks follow its power state."""
    for vbd in db.rows("VBD", VM=vm):
        refresh(vbd)
        vdi = db.maybe("VDI", vbd.VDI)
        if vdi is not None:
            refresh(vdi)
    for vif in db.rows("VIF", VM=vm):
        refresh(vif)


def attach_devices(ctx: Context, vm: Row, host: Row) -> None:
    """Plug everything for a boot on a host. A PV guest has no drive without a medium (xapi_xenops.ml)."""
    for vbd in ctx.db.rows("VBD", VM=vm):
        if vm.domain_type == "hvm" or not vbd.empty:
            vbds.attach(ctx, vbd, host)
    for vif in ctx.db.rows("VIF", VM=vm):
        vifs.attach(ctx, vif)


def next_domid(pool: Pool) -> int:
    """A domain id that no VM of the pool has had yet."""
    counter = pool.__dict__.setdefault("domids", itertools.count(1))
    return int(next(counter))


def reset_state(db: Database, vm: Row, state: str, *, keep_resident: bool = False) -> None:
    """Set a power state with all that goes with it (xapi_vm_lifecycle.ml force_state_reset)."""
    vm.power_state = state
    if state == "Halted":
        for vbd in db.rows("VBD", VM=vm):
            vbd.currently_attached = False
            vbd.current_operations = {}
        for vif in db.rows("VIF", VM=vm):
            vif.currently_attached = False
            vif.current_operations = {}
        for cls in ("VGPU", "VUSB"):
            for device in db.rows(cls, VM=vm):
                device.currently_attached = False
        vm.requires_reboot = False
        vm_agent.halted(db, vm)
        detach_pcis(vm)
    if state == "Halted" or (state == "Suspended" and not keep_resident):
        vm.resident_on = NULL
        vm.scheduled_to_be_resident_on = NULL
        vm.domid = -1
        for console in db.rows("console", VM=vm):
            db.destroy(console)
    refresh(vm)
    refresh_devices(db, vm)


def settle(pool: Pool, vm: Row, host: Row, state: str) -> None:
    """The VM has a domain on a host now: Running or Paused."""
    db = pool.db
    vm.resident_on = host
    vm.scheduled_to_be_resident_on = NULL
    vm.domid = next_domid(pool)
    vm.power_state = state
    attach_pcis(db, vm, host)
    if not db.rows("console", VM=vm):
        console = db.create("console", protocol="rfb", VM=vm)
        console.location = f"https://{host.address}/console?uuid={console.uuid}"
    refresh(vm)
    refresh_devices(db, vm)


def host_restarted(pool: Pool, host: Row) -> None:
    """What a host does when it boots: VMs that the database believes on it are Halted."""
    for vm in pool.db.rows("VM", resident_on=host.ref):
        if not vm.is_control_domain and vm.power_state != "Halted":
            vm.current_operations = {}
            reset_state(pool.db, vm, "Halted")
