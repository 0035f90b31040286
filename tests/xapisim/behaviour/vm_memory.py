# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory and VCPUs of a VM: limits, overhead, the live changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import XapiError
from ..registry import message
from .vm_rules import is_true, vm_operation

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..registry import Context

MIB = 1 << 20
_PAGES_PER_MIB = 256
_VCPU_ORDER = "VCPU values must satisfy: 0 < VCPUs_at_startup \N{LESS-THAN OR EQUAL TO} VCPUs_max"
_VCPU_LIVE = "VCPU values must satisfy: 0 < VCPUs \N{LESS-THAN OR EQUAL TO} VCPUs_max"


def ocaml_float(value: float) -> str:
    """A float as OCaml's string_of_float prints it: `0.5`, `1.`."""
    text = f"{value:.12g}"
    return text if "." in text or "e" in text else f"{text}."


def _mib(size: int) -> int:
    return -(-size // MIB)


def overhead_for(domain_type: str, static_max: int, vcpus: int, multiplier: float) -> int:
    """Bytes that Xen needs for a domain beside its memory (xapi-idl/memory/memory.ml)."""
    mib = _mib(static_max)
    shadow = max(1, int(-(-(256 * vcpus + 2 * mib) // _PAGES_PER_MIB) * multiplier))
    per_vcpu = -(-38 * vcpus // _PAGES_PER_MIB)
    internal = 0 if domain_type == "pv" else 1
    shim = 23 + mib // 90 if domain_type == "pv_in_pvh" else 0
    return (internal + 1 + shadow + per_vcpu + shim) * MIB


def overhead(vm: Row) -> int:
    """memory_overhead of a VM in bytes."""
    return overhead_for(vm.domain_type, vm.memory_static_max, vm.VCPUs_max, vm.HVM_shadow_multiplier)


def start_memory(vm: Row) -> int:
    """Bytes that a host must have free to start the VM."""
    wanted = vm.memory_static_max if vm.domain_type == "pv_in_pvh" else vm.memory_dynamic_min
    return _mib(wanted) * MIB + overhead(vm)


def assert_order(static_min: int, dynamic_min: int, dynamic_max: int, static_max: int) -> None:
    """MEMORY_CONSTRAINT_VIOLATION_ORDER unless the four ascend."""
    if not static_min <= dynamic_min <= dynamic_max <= static_max:
        raise XapiError("MEMORY_CONSTRAINT_VIOLATION_ORDER")


def assert_pinned(limits: tuple[int, int, int, int], reason: str) -> None:
    """MEMORY_CONSTRAINT_VIOLATION_MAXPIN [reason] unless the memory cannot vary."""
    static_min, dynamic_min, dynamic_max, static_max = limits
    if not static_min <= dynamic_min == dynamic_max == static_max:
        raise XapiError("MEMORY_CONSTRAINT_VIOLATION_MAXPIN", reason)


def limits_of(vm: Row) -> tuple[int, int, int, int]:
    """static_min, dynamic_min, dynamic_max, static_max."""
    return vm.memory_static_min, vm.memory_dynamic_min, vm.memory_dynamic_max, vm.memory_static_max


def uses_nested_virt(db: Database, vm: Row) -> bool:
    """What the running domain was built with, or what a new one would be."""
    metrics = db.maybe("VM_metrics", vm.metrics)
    return bool(metrics.nested_virt) if metrics is not None else is_true(vm.platform, "nested-virt")


def _assert_valid(db: Database, vm: Row, limits: tuple[int, int, int, int]) -> None:
    if vm.is_control_domain:
        assert_pinned(limits, "control domain")
    elif uses_nested_virt(db, vm):
        assert_pinned(limits, "nested virt")
    else:
        assert_order(*limits)


def _set_limits(ctx: Context, vm: Row, static_min: int, dynamic_min: int, dynamic_max: int, static_max: int) -> None:
    _assert_valid(ctx.db, vm, (static_min, dynamic_min, dynamic_max, static_max))
    vm.memory_static_min = static_min
    vm.memory_dynamic_min = vm.memory_target = dynamic_min
    vm.memory_dynamic_max = dynamic_max
    vm.memory_static_max = static_max
    vm.memory_overhead = overhead(vm)


@message("VM.set_memory_limits")
def set_memory_limits(
    ctx: Context, vm: Row, static_min: int, static_max: int, dynamic_min: int, dynamic_max: int
) -> None:
    with vm_operation(ctx, vm, "changing_memory_limits"):
        _set_limits(ctx, vm, static_min, dynamic_min, dynamic_max, static_max)


@message("VM.set_memory")
def set_memory(ctx: Context, vm: Row, value: int) -> None:
    with vm_operation(ctx, vm, "changing_memory_limits"):
        _set_limits(ctx, vm, vm.memory_static_min, value, value, value)


@message("VM.set_memory_static_range")
def set_memory_static_range(ctx: Context, vm: Row, low: int, high: int) -> None:
    with vm_operation(ctx, vm, "changing_static_range"):
        _unused, dynamic_min, dynamic_max, _unused = limits_of(vm)
        _assert_valid(ctx.db, vm, (low, dynamic_min, dynamic_max, high))
        vm.memory_static_min = low
        vm.memory_static_max = high
        vm.memory_overhead = overhead(vm)


@message("VM.set_memory_static_min")
def set_memory_static_min(ctx: Context, vm: Row, value: int) -> None:
    set_memory_static_range(ctx, vm, value, vm.memory_static_max)


@message("VM.set_memory_static_max")
def set_memory_static_max(ctx: Context, vm: Row, value: int) -> None:
    set_memory_static_range(ctx, vm, vm.memory_static_min, value)


@message("VM.set_memory_dynamic_range")
def set_memory_dynamic_range(ctx: Context, vm: Row, low: int, high: int) -> None:
    """Also on running VMs, as far as the host has the memory: HOST_NOT_ENOUGH_FREE_MEMORY [KiB; KiB]."""
    from .host_config import free_memory  # it stands on this package's VMs

    with vm_operation(ctx, vm, "changing_dynamic_range"):
        host = ctx.db.maybe("host", vm.resident_on) if vm.power_state == "Running" else None
        if host is not None:
            ctx.forward(host)
            more, free = low - vm.memory_dynamic_min, free_memory(ctx.db, host)
            if free - more < 0:
                raise XapiError("HOST_NOT_ENOUGH_FREE_MEMORY", more // 1024, free // 1024)
        static_min, _unused, _unused, static_max = limits_of(vm)
        _assert_valid(ctx.db, vm, (static_min, low, high, static_max))
        vm.memory_target = vm.memory_dynamic_min = low
        vm.memory_dynamic_max = high
        metrics = ctx.db.maybe("VM_metrics", vm.metrics)
        if host is not None and metrics is not None:
            metrics.memory_actual = high


@message("VM.set_memory_dynamic_min")
def set_memory_dynamic_min(ctx: Context, vm: Row, value: int) -> None:
    set_memory_dynamic_range(ctx, vm, value, vm.memory_dynamic_max)


@message("VM.set_memory_dynamic_max")
def set_memory_dynamic_max(ctx: Context, vm: Row, value: int) -> None:
    set_memory_dynamic_range(ctx, vm, vm.memory_dynamic_min, value)


@message("VM.set_memory_target_live")
def set_memory_target_live(ctx: Context, vm: Row, target: int) -> None:
    """Deprecated: checked, and then nothing happens."""
    with vm_operation(ctx, vm, "changing_memory_live"):
        pass


@message("VM.wait_memory_target_live")
def wait_memory_target_live(ctx: Context, vm: Row) -> None:
    """Our balloons are quick."""
    with vm_operation(ctx, vm, "awaiting_memory_live"):
        pass


@message("VM.get_cooperative")
def get_cooperative(ctx: Context, vm: Row) -> bool:
    return True


@message("VM.compute_memory_overhead")
def compute_memory_overhead(ctx: Context, vm: Row) -> int:
    return overhead(vm)


@message("VM.maximise_memory")
def maximise_memory(ctx: Context, vm: Row, total: int, approximate: bool) -> int:
    """The largest static_max, in whole MiB, that fits into `total` bytes with its overhead."""
    vcpus = 64 if approximate else vm.VCPUs_max
    low, high = 0, max(0, total // MIB)
    while low < high:
        middle = (low + high + 1) // 2
        size = middle * MIB
        if size + overhead_for(vm.domain_type, size, vcpus, vm.HVM_shadow_multiplier) <= total:
            low = middle
        else:
            high = middle - 1
    return low * MIB


def _assert_multiplier(value: float) -> None:
    if value < 1.0:
        raise XapiError("INVALID_VALUE", "multiplier", ocaml_float(value))


@message("VM.set_HVM_shadow_multiplier")
def set_shadow_multiplier(ctx: Context, vm: Row, value: float) -> None:
    with vm_operation(ctx, vm, "changing_shadow_memory"):
        _assert_multiplier(value)
        vm.HVM_shadow_multiplier = value
        vm.memory_overhead = overhead(vm)


@message("VM.set_shadow_multiplier_live")
def set_shadow_multiplier_live(ctx: Context, vm: Row, value: float) -> None:
    with vm_operation(ctx, vm, "changing_shadow_memory_live"):
        ctx.forward(ctx.db.row("host", vm.resident_on))
        _assert_multiplier(value)
        vm.HVM_shadow_multiplier = value
        vm.memory_overhead = overhead(vm)


@message("VM.set_VCPUs_max")
def set_vcpus_max(ctx: Context, vm: Row, value: int) -> None:
    with vm_operation(ctx, vm, "changing_VCPUs"):
        if value < 1 or value < vm.VCPUs_at_startup:
            raise XapiError("INVALID_VALUE", _VCPU_ORDER, value)
        vm.VCPUs_max = value
        vm.memory_overhead = overhead(vm)


@message("VM.set_VCPUs_at_startup")
def set_vcpus_at_startup(ctx: Context, vm: Row, value: int) -> None:
    """In any power state (more facts, 11)."""
    if vm.is_control_domain:
        raise XapiError("OPERATION_NOT_ALLOWED", "set_VCPUs_at_startup is not allowed on dom0")
    if not 1 <= value <= vm.VCPUs_max:
        raise XapiError("INVALID_VALUE", _VCPU_ORDER, value)
    vm.VCPUs_at_startup = value
    vm.memory_overhead = overhead(vm)


@message("VM.set_VCPUs_number_live")
def set_vcpus_number_live(ctx: Context, vm: Row, value: int) -> None:
    with vm_operation(ctx, vm, "changing_VCPUs_live"):
        ctx.forward(ctx.db.row("host", vm.resident_on))
        if not 1 <= value <= vm.VCPUs_max:
            raise XapiError("INVALID_VALUE", _VCPU_LIVE, value)
        vm.VCPUs_at_startup = value
        metrics = ctx.db.maybe("VM_metrics", vm.metrics)
        if metrics is not None:
            metrics.VCPUs_number = value


@message("VM.add_to_VCPUs_params_live")
def add_to_vcpus_params_live(ctx: Context, vm: Row, key: str, value: str) -> None:
    with vm_operation(ctx, vm, "changing_VCPUs_live"):
        raise XapiError("NOT_IMPLEMENTED", "add_to_VCPUs_params_live")
