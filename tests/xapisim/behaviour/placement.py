# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which host a VM can run: the checks of xapi_vm_helpers.ml in their order, and the choice.

A real xapi breaks ties by chance and shuns the coordinator a little; this one takes the host with the least guest
memory in use, and of equals the first by name, so that tests can rely on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import XapiError
from ..registry import NULL, message, refresh
from .forwarding import plugged_pbds
from .host import assert_allowed as assert_host_operation
from .host_config import free_memory
from .vm_memory import ocaml_float, start_memory
from .vm_rules import is_true

if TYPE_CHECKING:
    from ..db import Database, Row
    from ..registry import Context

_DOMAIN_TYPES_NEEDING_HVM = ("hvm", "pvh", "pv_in_pvh")


# -- the single checks


def validate_basic_parameters(vm: Row) -> None:
    """What VM.create let pass and a start cannot."""
    if vm.VCPUs_max < 1:
        raise XapiError("INVALID_VALUE", "VCPUs_max", vm.VCPUs_max)
    if vm.VCPUs_at_startup < 1:
        raise XapiError("INVALID_VALUE", "VCPUs-at-startup", vm.VCPUs_at_startup)
    if vm.VCPUs_at_startup > vm.VCPUs_max:
        text = "value greater than VCPUs-max"
        raise XapiError("VALUE_NOT_SUPPORTED", "VCPUs-at-startup", vm.VCPUs_at_startup, text)
    # all else can be coerced into order (vm_memory_constraints.ml)
    if vm.memory_static_max < vm.memory_static_min or vm.memory_dynamic_max < vm.memory_dynamic_min:
        raise XapiError("MEMORY_CONSTRAINT_VIOLATION")
    if vm.HVM_shadow_multiplier < 1.0:
        raise XapiError("INVALID_VALUE", "HVM_shadow_multiplier", ocaml_float(vm.HVM_shadow_multiplier))
    action = vm.actions_after_crash
    if action == "rename_restart":
        text = "option would leak a domain; VMs and not domains are managed by this API"
        raise XapiError("VALUE_NOT_SUPPORTED", "VM.actions_after_crash", action, text)
    if action.startswith("coredump") and vm.domain_type in _DOMAIN_TYPES_NEEDING_HVM:
        text = "cannot invoke a coredump of an HVM, PVH or PV-in-PVH domain"
        raise XapiError("VALUE_NOT_SUPPORTED", "VM.actions_after_crash", action, text)


def host_is_live(db: Database, host: Row | None) -> bool:
    """What the coordinator believes; False for a host that does not exist."""
    metrics = db.maybe("host_metrics", host.metrics) if host is not None else None
    return metrics is not None and bool(metrics.live)


def required_srs(db: Database, vm: Row, *, suspend: bool = True) -> list[Row]:
    """The SRs of all media of a VM, in the order of its VBDs."""
    vdis = [db.row("VDI", vbd.VDI) for vbd in db.rows("VBD", VM=vm) if not vbd.empty]
    if suspend and vm.power_state == "Suspended" and vm.suspend_VDI != NULL:
        vdis.append(db.row("VDI", vm.suspend_VDI))
    return list(dict.fromkeys(db.row("SR", vdi.SR) for vdi in vdis))


def sees_sr(db: Database, host: Row, sr: Row) -> bool:
    """Whether the host has the SR attached."""
    return any(pbd.host == host.ref for pbd in plugged_pbds(db, sr))


def assert_can_see_srs(db: Database, vm: Row, host: Row) -> None:
    """VM_REQUIRES_SR [vm; sr] for the first SR that the host has not attached."""
    for sr in required_srs(db, vm):
        if not sees_sr(db, host, sr):
            raise XapiError("VM_REQUIRES_SR", vm, sr)


def _network_available(db: Database, host: Row, network: Row) -> bool:
    pifs = db.rows("PIF", network=network)
    if pifs:
        return any(pif.host == host.ref for pif in pifs)
    if network.other_config.get("assume_network_is_shared") == "true" or not network.managed:
        return True
    vms = [db.maybe("VM", vif.VM) for vif in db.rows("VIF", network=network)]
    hosts = [vm.resident_on for vm in vms if vm is not None and vm.power_state == "Running"]
    return not hosts or host.ref in hosts


def assert_can_see_networks(db: Database, vm: Row, host: Row) -> None:
    """VM_REQUIRES_NETWORK [vm; network]: an internal network ties its running VMs to one host."""
    for vif in db.rows("VIF", VM=vm):
        network = db.row("network", vif.network)
        if not _network_available(db, host, network):
            raise XapiError("VM_REQUIRES_NETWORK", vm, network)


def _feature_bits(text: str) -> list[int]:
    return [int(word, 16) for word in text.split("-") if word]


def assert_compatible(db: Database, vm: Row, host: Row) -> None:
    """VM_INCOMPATIBLE_WITH_THIS_HOST [vm; host; text] when a VM that has booted would miss something of its CPU."""
    if vm.power_state == "Halted":
        return
    flags, cpu = vm.last_boot_CPU_flags, host.cpu_info
    if "vendor" in flags and flags["vendor"] != cpu.get("vendor"):
        text = "VM last booted on a host which had a CPU from a different vendor."
        raise XapiError("VM_INCOMPATIBLE_WITH_THIS_HOST", vm, host, text)
    kind = "pv" if vm.domain_type == "pv" else "hvm"
    theirs = _feature_bits(cpu.get(f"features_{kind}_host", cpu.get(f"features_{kind}", "")))
    ours = _feature_bits(flags.get("features", ""))
    theirs += [0] * (len(ours) - len(theirs))
    if any(mine & ~there for mine, there in zip(ours, theirs, strict=False)):
        text = "VM last booted on a CPU with features this host's CPU does not have."
        raise XapiError("VM_INCOMPATIBLE_WITH_THIS_HOST", vm, host, text)


def assert_enough_memory(db: Database, vm: Row, host: Row) -> None:
    """HOST_NOT_ENOUGH_FREE_MEMORY [needed; free] in bytes."""
    needed, free = start_memory(vm), free_memory(db, host)
    if free < needed:
        raise XapiError("HOST_NOT_ENOUGH_FREE_MEMORY", needed, free)


def assert_enough_pcpus(vm: Row, host: Row) -> None:
    """HOST_NOT_ENOUGH_PCPUS [VCPUs_max; CPUs] unless platform:vcpu-unrestricted."""
    cpus = int(host.cpu_info.get("cpu_count", 0))
    if vm.VCPUs_max > cpus and not is_true(vm.platform, "vcpu-unrestricted"):
        raise XapiError("HOST_NOT_ENOUGH_PCPUS", vm.VCPUs_max, cpus)


def assert_control_domain_affinity(vm: Row, host: str) -> None:
    """A control domain starts on its own host only."""
    if vm.is_control_domain and vm.affinity not in (NULL, host):
        text = "Cannot boot a control domain on a host different from its affinity"
        raise XapiError("OPERATION_NOT_ALLOWED", text)


def _assert_platform_version(vm: Row, host: Row) -> None:
    known = host.virtual_hardware_platform_versions
    if vm.hardware_platform_version not in known:
        text = f"[{'; '.join(map(str, known))}]"
        code = "VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION"
        raise XapiError(code, host, text, vm, vm.hardware_platform_version)


def assert_can_boot(
    db: Database, vm: Row, host_ref: str, *, srs: bool = True, memory: bool = True, cpuid: bool = False
) -> None:
    """All checks in xapi's order. An unknown host is simply not live: HOST_NOT_LIVE [] (more facts, 1)."""
    validate_basic_parameters(vm)
    host = db.maybe("host", host_ref)
    if host is None or not host_is_live(db, host):
        raise XapiError("HOST_NOT_LIVE")
    assert_control_domain_affinity(vm, host.ref)
    at_home = vm.power_state == "Running" and vm.resident_on == host.ref
    if not host.enabled and not vm.is_control_domain and not at_home:
        raise XapiError("HOST_DISABLED", host)
    _assert_platform_version(vm, host)
    if cpuid:
        assert_compatible(db, vm, host)
    if srs:
        assert_can_see_srs(db, vm, host)
    assert_can_see_networks(db, vm, host)
    if vm.domain_type in _DOMAIN_TYPES_NEEDING_HVM and not any(c.startswith("hvm") for c in host.capabilities):
        raise XapiError("VM_HVM_REQUIRED", vm)
    if memory:
        assert_enough_memory(db, vm, host)
    assert_enough_pcpus(vm, host)


# -- the choice


def hosts_that(db: Database, check: Callable[[Row], None]) -> list[Row]:
    """The hosts for which a check raises nothing, best first."""

    def passes(host: Row) -> bool:
        try:
            check(host)
        except XapiError:
            return False
        return True

    return sorted(filter(passes, db.rows("host")), key=lambda host: _load(db, host))


def _load(db: Database, host: Row) -> tuple[int, str, str]:
    guests = [vm for vm in db.rows("VM", resident_on=host) if not vm.is_control_domain]
    guests += db.rows("VM", scheduled_to_be_resident_on=host.ref)
    return sum(vm.memory_dynamic_min for vm in guests), host.name_label, host.uuid


def _first(hosts: list[Row]) -> Row:
    if not hosts:
        raise XapiError("NO_HOSTS_AVAILABLE")
    return hosts[0]


def host_seeing(db: Database, srs: list[Row]) -> Row:
    """A host that has all SRs attached, NO_HOSTS_AVAILABLE when there is none."""

    def sees_all(host: Row) -> None:
        if not all(sees_sr(db, host, sr) for sr in srs) or not host_is_live(db, host):
            raise XapiError("NO_HOSTS_AVAILABLE")

    return _first(hosts_that(db, sees_all))


def _running_in_group(db: Database, group: Row, host: Row) -> int:
    count = 0
    for vm in [db.maybe("VM", ref) for ref in group.VMs]:
        if vm is not None:
            running = vm.resident_on if vm.power_state == "Running" else NULL
            count += (vm.scheduled_to_be_resident_on if vm.scheduled_to_be_resident_on != NULL else running) == host.ref
    return count


def _ranked(db: Database, vm: Row, hosts: list[Row]) -> list[Row]:
    """Affinity first; members of an anti-affinity group then go where the fewest others of it run."""
    groups = [db.maybe("VM_group", ref) for ref in vm.groups]
    apart = next((g for g in groups if g is not None and g.placement == "anti_affinity"), None)
    if apart is not None:
        hosts = sorted(hosts, key=lambda host: _running_in_group(db, apart, host))
    return sorted(hosts, key=lambda host: host.ref != vm.affinity)


def choose_host(db: Database, vm: Row) -> Row:
    """The host for VM.start and VM.resume; NO_HOSTS_AVAILABLE, not the reason, when there is none.

    When memory alone is missing xapi tries some host all the same, and the start fails there.
    """
    scheduled = db.maybe("host", vm.scheduled_to_be_resident_on)
    if scheduled is not None:
        return scheduled

    def check(memory: bool) -> Callable[[Row], None]:
        def can_run(host: Row) -> None:
            assert_can_boot(db, vm, host.ref, memory=memory, cpuid=True)
            if "evacuate" in host.current_operations.values():
                raise XapiError("HOST_EVACUATE_IN_PROGRESS", host)

        return can_run

    found = _ranked(db, vm, hosts_that(db, check(True)))
    return found[0] if found else _first(_ranked(db, vm, hosts_that(db, check(False))))


@contextmanager
def reserved(ctx: Context, vm: Row, host: Row, host_op: str) -> Iterator[None]:
    """Count the VM's memory at the host while the block runs, and show the operation there."""
    assert_host_operation(ctx.db, host, host_op)
    with ctx.operation(host, host_op):
        vm.scheduled_to_be_resident_on = host
        try:
            yield
        finally:
            if vm.exists:
                vm.scheduled_to_be_resident_on = NULL
            refresh(host)


# -- messages


@message("VM.assert_can_boot_here")
def assert_can_boot_here(ctx: Context, vm: Row, host: str) -> None:
    assert_can_boot(ctx.db, vm, host, cpuid=True)


@message("VM.get_possible_hosts")
def get_possible_hosts(ctx: Context, vm: Row) -> list[Row]:
    scheduled = ctx.db.maybe("host", vm.scheduled_to_be_resident_on)
    if scheduled is not None:
        return [scheduled]
    return hosts_that(ctx.db, lambda host: assert_can_boot(ctx.db, vm, host.ref))


@message("VM.retrieve_wlb_recommendations")
def retrieve_wlb_recommendations(ctx: Context, vm: Row) -> dict[Row, list[str]]:
    """There is no workload balancing appliance here."""
    raise XapiError("WLB_NOT_INITIALIZED" if ctx.pool.pool_row.wlb_url == "" else "WLB_DISABLED")


@message("VM.assert_agile")
def assert_agile(ctx: Context, vm: Row) -> None:
    """Whether any enabled host could run the VM (agility.ml)."""
    db = ctx.db
    if vm.VGPUs:
        raise XapiError("VM_HAS_VGPU", vm)
    if vm.VUSBs:
        raise XapiError("VM_HAS_VUSBS", vm)
    enabled = [host for host in db.rows("host") if host.enabled]
    for sr in required_srs(db, vm, suspend=False):
        if not sr.shared or not all(sees_sr(db, host, sr) for host in enabled):
            raise XapiError("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", sr)
    for vif in db.rows("VIF", VM=vm):
        hosts = {pif.host for pif in db.rows("PIF", network=vif.network)}
        if not hosts.issuperset(host.ref for host in enabled):
            raise XapiError("HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED", vif.network)
