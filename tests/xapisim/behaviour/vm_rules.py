# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be done with a VM: the checks of xapi_vm_lifecycle.ml in their order, and allowed_operations.

All that the checks look at is collected in Facts first, so that VMs in the same situation share one computed list.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .. import schema
from ..errors import XapiError
from ..registry import refresher
from ..types import parse_type

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..registry import Context


def words(text: str) -> tuple[str, ...]:
    """The words of a text: names of operations or fields, many to a line."""
    return tuple(text.split())


SELF = "<this VM>"  # stands for the reference in errors that depend on Facts only
RETRY_FOR = 7200.0  # simulated seconds that xapi waits for another operation to end, helpers.ml

_ANY = ("Halted", "Paused", "Suspended", "Running")
_RUNNING = words(
    "awaiting_memory_live call_plugin clean_reboot clean_shutdown changing_memory_live "
    "changing_shadow_memory_live changing_VCPUs_live data_source_op pause pool_migrate send_sysrq send_trigger "
    "snapshot_with_quiesce sysprep suspend"
)
_HALTED = words("changing_shadow_memory changing_NVRAM make_into_template provision start start_on create_vtpm")
STATES: dict[str, tuple[str, ...]] = {
    "import": (),
    "unpause": ("Paused",),
    "changing_dynamic_range": ("Halted", "Running"),
    "hard_reboot": ("Paused", "Running"),
    "migrate_send": ("Halted", "Suspended", "Running"),
    **dict.fromkeys(_RUNNING, ("Running",)),
    **dict.fromkeys(_HALTED, ("Halted",)),
    **dict.fromkeys(("csvm", "resume", "resume_on"), ("Suspended",)),
    **dict.fromkeys(("create_template", "destroy", "export"), ("Halted", "Suspended")),
    **dict.fromkeys(("checkpoint", "get_boot_record", "shutdown", "hard_shutdown"), ("Paused", "Suspended", "Running")),
}
_UNLISTED = set(
    words(
        "create_template power_state_reset csvm get_boot_record send_sysrq send_trigger query_services shutdown "
        "call_plugin changing_memory_live awaiting_memory_live changing_memory_limits changing_shadow_memory_live "
        "changing_VCPUs assert_operation_valid data_source_op update_allowed_operations import reverting"
    )
)
_ON_TEMPLATE = set(
    words(
        "changing_dynamic_range changing_static_range changing_memory_limits changing_shadow_memory changing_VCPUs "
        "changing_NVRAM clone copy export metadata_export provision"
    )
)
_ON_SNAPSHOT = {"revert", "clone", "copy", "export", "destroy", "hard_shutdown", "metadata_export"}
_ON_CONTROL_DOMAIN = set(
    words(
        "data_source_op changing_memory_live awaiting_memory_live metadata_export changing_dynamic_range "
        "changing_memory_limits changing_static_range start start_on changing_VCPUs destroy"
    )
)
_TOGETHER = ({"clone", "copy", "export"}, {"get_boot_record"}, {"snapshot", "checkpoint"})
_DURING_MIGRATION = ("metadata_export", "clean_shutdown", "clean_reboot")
_MOVES = ("suspend", "checkpoint", "pool_migrate", "migrate_send")

Error = tuple[str, ...]  # code and parameters


class Facts(NamedTuple):
    """All that decides whether an operation is possible."""

    power_state: str
    blocked: tuple[tuple[str, str], ...]
    current: tuple[tuple[str, str], ...]
    template: bool
    default_template: bool
    snapshot: bool
    control_domain: bool
    nomigrate: bool
    nested_virt: bool
    helpful: bool  # the guest supports everything, because it is paravirtual or has PV drivers
    features: frozenset[str]
    cant_suspend: str | None
    reset: bool  # a disk has on_boot=reset
    reset_and_caching: bool
    pcis: bool
    vgpus: bool
    vusbs: bool
    vtpms: int
    appliance: str
    schedule: str
    system_domain: bool
    clone_suspended: bool


def is_true(settings: dict[str, str], key: str) -> bool:
    """Whether a map says true or 1."""
    return settings.get(key, "").lower() in ("true", "1")


def is_live(vm: Row) -> bool:
    """Whether the VM has a domain."""
    return vm.power_state in ("Running", "Paused")


def has_pv_drivers(db: Database, vm: Row) -> bool:
    """Whether the guest reports its drivers."""
    metrics = db.maybe("VM_guest_metrics", vm.guest_metrics)
    return metrics is not None and (metrics.PV_drivers_detected or "major" in metrics.PV_drivers_version)


def facts_of(db: Database, vm: Row) -> Facts:
    """The facts of a VM as it is now."""
    v = db.values(vm)
    metrics = db.maybe("VM_metrics", v["metrics"])
    guest = db.maybe("VM_guest_metrics", v["guest_metrics"])
    platform, other = v["platform"], v["other_config"]
    told = guest.other if guest is not None else {}
    reset = caching = False
    for ref in v["VBDs"]:
        vbd = db.maybe("VBD", ref)
        vdi = db.maybe("VDI", vbd.VDI) if vbd is not None else None
        if vdi is not None and vdi.on_boot == "reset":
            reset, caching = True, caching or vdi.allow_caching
    suspended = v["power_state"] == "Suspended"
    return Facts(
        v["power_state"],
        tuple(v["blocked_operations"].items()),
        tuple(v["current_operations"].items()),
        v["is_a_template"],
        v["is_default_template"] or is_true(other, "default_template"),
        v["is_a_snapshot"],
        v["is_control_domain"],
        metrics.nomigrate if metrics is not None else is_true(platform, "nomigrate"),
        metrics.nested_virt if metrics is not None else is_true(platform, "nested-virt"),
        (metrics is not None and metrics.current_domain_type in ("pv", "pv_in_pvh", "pvh")) or has_pv_drivers(db, vm),
        frozenset(name for name, value in told.items() if value == "1"),
        told.get("data-cant-suspend-reason"),
        reset,
        caching,
        bool(v["attached_PCIs"]),
        bool(v["VGPUs"]),
        bool(v["VUSBs"]),
        len(v["VTPMs"]),
        v["appliance"] if db.maybe("VM_appliance", v["appliance"]) is not None else "",
        v["snapshot_schedule"] if db.maybe("VMSS", v["snapshot_schedule"]) is not None else "",
        is_true(other, "is_system_domain"),
        suspended and any(is_true(pool.other_config, "allow_clone_suspended_vm") for pool in db.rows("pool")),
    )


def _states(f: Facts, op: str) -> tuple[str, ...]:
    if op in ("changing_VCPUs", "changing_static_range", "changing_memory_limits"):
        return ("Halted", "Running") if f.control_domain else ("Halted",)
    if op in ("clone", "copy"):
        return ("Halted", "Suspended") if f.snapshot or f.clone_suspended else ("Halted",)
    return STATES.get(op, _ANY)


def _goes_together(op: str, current: list[str]) -> bool:
    if any(op in group and group.issuperset(current) for group in _TOGETHER):
        return True
    if op == "hard_shutdown":
        return op not in current
    if op == "hard_reboot":
        return not {"hard_shutdown", "hard_reboot"} & set(current)
    return current == ["migrate_send"] and op in _DURING_MIGRATION


def _in_progress(f: Facts) -> Error:
    tasks, operations = zip(*f.current, strict=True)
    if len(tasks) > 1:
        tasks, operations = (f"{{{','.join(tasks)}}}",), (f"{{{','.join(operations)}}}",)
    return ("OTHER_OPERATION_IN_PROGRESS", "VM", SELF, operations[0], tasks[0])


def _lacking_feature(f: Facts, op: str, strict: bool) -> Error | None:
    lacks = ("VM_LACKS_FEATURE", SELF)
    live = f.power_state in ("Running", "Paused")
    helpful = f.helpful or not live
    if op in _MOVES and live:
        if f.cant_suspend is not None:
            return ("VM_NON_SUSPENDABLE", SELF, f.cant_suspend)
        return lacks if strict and not helpful and "feature-suspend" not in f.features else None
    if helpful:
        return None
    if op == "clean_shutdown" and strict and not f.features & {"feature-shutdown", "feature-poweroff"}:
        return lacks
    if op == "clean_reboot" and strict and not f.features & {"feature-shutdown", "feature-reboot"}:
        return lacks
    if op == "changing_VCPUs_live" and "feature-vcpu-hotplug" not in f.features:
        return lacks
    return None


def _by_kind(f: Facts, op: str, strict: bool) -> Error | None:
    """What templates, snapshots, immobile VMs and control domains may not do."""
    fine = op in _ON_TEMPLATE or (op in ("destroy", "migrate_send") and not f.default_template)
    if f.template and not f.snapshot and not fine:
        return ("VM_IS_TEMPLATE", SELF, op)
    if f.snapshot and op not in _ON_SNAPSHOT:
        return ("VM_IS_SNAPSHOT", SELF, op)
    if op == "provision" and not f.template:
        return ("PROVISION_ONLY_ALLOWED_ON_TEMPLATE",)
    if op == "revert" and not f.snapshot:
        return ("REVERT_ONLY_ALLOWED_ON_SNAPSHOT",)
    if op in _MOVES and strict and (f.nomigrate or f.nested_virt):
        return ("VM_IS_IMMOBILE", SELF)
    if op == "changing_dynamic_range" and f.nested_virt and strict:
        return ("VM_IS_USING_NESTED_VIRT", SELF)
    if f.control_domain and op in ("changing_VCPUs", "destroy"):
        return ("OPERATION_NOT_ALLOWED", "This operation is not allowed on dom0")
    if f.control_domain and op not in _ON_CONTROL_DOMAIN:
        return ("OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain")
    return None


def _by_devices(f: Facts, op: str) -> Error | None:
    if f.reset and op in ("checkpoint", "snapshot", "suspend", "snapshot_with_quiesce"):
        return ("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION",)
    if f.reset_and_caching and op == "pool_migrate":
        return ("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION",)
    if f.pcis and op in _MOVES:
        return ("VM_HAS_PCI_ATTACHED", SELF)
    if f.vgpus and op in _MOVES:
        harmless = (op == "migrate_send" and f.power_state == "Halted") or (
            op == "checkpoint" and f.power_state == "Suspended"
        )
        if not harmless:
            return ("VM_HAS_VGPU", SELF)
    if f.vusbs and op in (*_MOVES, "snapshot"):
        return ("VM_HAS_VUSBS", SELF)
    return None


def _error(f: Facts, op: str, strict: bool) -> Error | None:
    for blocked, reason in f.blocked:
        if blocked == op:
            return ("OPERATION_BLOCKED", SELF, reason)
    states = _states(f, op)
    if f.power_state not in states:
        return ("VM_BAD_POWER_STATE", SELF, ", ".join(states).lower(), f.power_state.lower())
    if f.current and not _goes_together(op, [current for _task, current in f.current]):
        return _in_progress(f)
    error = _by_kind(f, op, strict) or _lacking_feature(f, op, strict)
    if error is None and op == "snapshot_with_quiesce":
        error = ("VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED", SELF)
    error = error or _by_devices(f, op)
    if error is None and op == "make_into_template" and f.appliance:
        error = ("VM_IS_PART_OF_AN_APPLIANCE", SELF, f.appliance)
    if error is None and op == "make_into_template" and f.schedule:
        error = ("VM_ASSIGNED_TO_SNAPSHOT_SCHEDULE", SELF, f.schedule)
    if error is None and op == "query_services" and not f.system_domain:
        error = ("NOT_SYSTEM_DOMAIN", SELF)
    if error is None and op == "create_vtpm" and f.vtpms:
        error = ("VTPM_MAX_AMOUNT_REACHED", str(f.vtpms))
    return error


@lru_cache(maxsize=1)
def _listable() -> tuple[str, ...]:
    schema.load()
    return tuple(op for op in reversed(parse_type("enum vm_operations").values) if op not in _UNLISTED)


@lru_cache(maxsize=1024)
def _allowed(f: Facts) -> tuple[str, ...]:
    return tuple(op for op in _listable() if _error(f, op, True) is None)


@refresher("VM")
def allowed_operations(db: Database, vm: Row) -> list[str]:
    """The operations that xapi lists for a VM, in its order."""
    return list(_allowed(facts_of(db, vm)))


def operation_error(db: Database, vm: Row, op: str, *, strict: bool = True) -> XapiError | None:
    """Why the operation is not possible now, None if it is. Not strict: guests need not promise to cooperate."""
    error = _error(facts_of(db, vm), op, strict)
    if error is None:
        return None
    return XapiError(error[0], *(vm.ref if p is SELF else p for p in error[1:]))


def assert_operation_valid(db: Database, vm: Row, op: str, *, strict: bool = True) -> None:
    """Raise why the operation is not possible now."""
    error = operation_error(db, vm, op, strict=strict)
    if error is not None:
        raise error


@contextmanager
def vm_operation(ctx: Context, vm: Row, op: str, *, strict: bool = True, patience: float = RETRY_FOR) -> Iterator[None]:
    """Check an operation and show it in current_operations while the block runs.

    Like xapi it waits for another operation that is in the way, and fails only when that takes too long.
    """

    def free() -> bool:
        error = operation_error(ctx.db, vm, op, strict=strict) if vm.exists else None
        return error is None or error.code != "OTHER_OPERATION_IN_PROGRESS"

    ctx.wait_until(free, patience)
    if not vm.exists:
        raise XapiError("HANDLE_INVALID", "VM", vm)
    assert_operation_valid(ctx.db, vm, op, strict=strict)
    with ctx.operation(vm, op):
        yield
