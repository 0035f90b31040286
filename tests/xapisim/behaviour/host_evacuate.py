# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""host.evacuate, and what says beforehand whether it would work (xapi_host.ml compute_evacuation_plan_no_wlb)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import XapiError
from ..registry import NULL, message
from . import placement, vm_rules
from .host_config import free_memory
from .vm_memory import start_memory

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..registry import Context

Plan = dict[str, "Row | XapiError"]  # by VM reference: the host to go to, or what is in the way


def plan_evacuation(ctx: Context, host: Row) -> Plan:
    """Where every guest would go. A guest counts as movable only if ALL other enabled hosts could run it."""
    db = ctx.db
    guests = [vm for vm in db.rows("VM", resident_on=host) if not vm.is_control_domain]
    targets = [other for other in db.rows("host") if other.enabled and other != host]
    if not targets:
        return {vm.ref: XapiError("NO_HOSTS_AVAILABLE", vm) for vm in guests}
    plan: Plan = {}
    movable = []
    for vm in guests:
        if ctx.pool.pool_row.ha_enabled and not (vm.ha_always_run and vm.ha_restart_priority == "restart"):
            plan[vm.ref] = XapiError("HOST_EVACUATE_VM_NOT_HA_PROTECTED", vm)
            continue
        try:
            for target in targets:
                placement.assert_can_boot(db, vm, target.ref, memory=False, cpuid=True)
            movable.append(vm)
        except XapiError as error:
            plan[vm.ref] = error
    for vm in guests:
        reason = vm_rules.operation_error(db, vm, "pool_migrate")
        if reason is not None:
            plan[vm.ref] = reason
    for vm, chosen in _pack(db, movable, targets).items():
        plan.setdefault(vm.ref, chosen if chosen is not None else XapiError("HOST_NOT_ENOUGH_FREE_MEMORY", vm))
    return plan


def _pack(db: Database, vms: list[Row], targets: list[Row]) -> dict[Row, Row | None]:
    """The largest guest first, each to the host with the most memory left."""
    free = {target: free_memory(db, target) for target in targets}
    chosen: dict[Row, Row | None] = {}
    for vm in sorted(vms, key=start_memory, reverse=True):
        best = max(free, key=lambda target: free[target])
        fits = start_memory(vm) <= free[best]
        chosen[vm] = best if fits else None
        if fits:
            free[best] -= start_memory(vm)
    return chosen


def _obstacles(plan: Plan) -> dict[str, XapiError]:
    return {ref: found for ref, found in plan.items() if isinstance(found, XapiError)}


@message("host.get_vms_which_prevent_evacuation")
def get_vms_which_prevent_evacuation(ctx: Context, host: Row) -> dict[str, list[str]]:
    return {ref: error.description for ref, error in _obstacles(plan_evacuation(ctx, host)).items()}


@message("host.assert_can_evacuate")
def assert_can_evacuate(ctx: Context, host: Row) -> None:
    """CANNOT_EVACUATE_HOST ["CODE,param|CODE,param"]."""
    found = _obstacles(plan_evacuation(ctx, host)).values()
    if found:
        raise XapiError("CANNOT_EVACUATE_HOST", "|".join(",".join(error.description) for error in found))


@message("host.evacuate")
def evacuate(ctx: Context, host: Row, network_ref: str, evacuate_batch_size: int) -> None:
    """Move all guests away, one after the other; the first thing in the way is raised before anything moves."""
    db = ctx.db
    ctx.forward(host)
    with ctx.operation(host, "evacuate"):
        plan = plan_evacuation(ctx, host)
        for error in _obstacles(plan).values():
            raise error
        options = {"live": "true"}
        if network_ref != NULL:
            network = db.row("network", network_ref)
            for target in plan.values():
                _assert_address(db, network, target.ref)  # type: ignore[union-attr]  # no errors are left
            options["network"] = network.ref
        for done, (ref, target) in enumerate(plan.items(), 1):
            vm = db.maybe("VM", ref)
            if vm is not None and vm.resident_on == host.ref:
                ctx.call("VM.pool_migrate", vm, target, options)
            ctx.progress(done / len(plan))
    left = [vm for vm in db.rows("VM", resident_on=host) if not vm.is_control_domain]
    if left:
        raise XapiError("INTERNAL_ERROR", f"evacuate: {len(left)} VMs are still resident on {host.ref}")


def _assert_address(db: Database, network: Row, host: str) -> None:
    """The target's interface on the migration network is up and has an address."""
    pifs = [pif for pif in db.rows("PIF", network=network) if pif.host == host]
    if not pifs:
        raise XapiError("PIF_NOT_PRESENT", host, network)
    if not pifs[0].currently_attached:
        raise XapiError("REQUIRED_PIF_IS_UNPLUGGED", pifs[0])
    if not pifs[0].IP:
        raise XapiError("INTERFACE_HAS_NO_IP", pifs[0])


@message("host.retrieve_wlb_evacuate_recommendations")
def retrieve_wlb_evacuate_recommendations(ctx: Context, host: Row) -> dict[str, list[str]]:
    """Without a workload balancing appliance xapi answers with its own plan."""
    answer = {}
    for ref, found in plan_evacuation(ctx, host).items():
        answer[ref] = found.description if isinstance(found, XapiError) else ["WLB", found.uuid]
    return answer
