# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a guest would start again with what is planned for it: asked before it is shut down."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.vm.guest import Guest
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, Records, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.refusal import refuse_blocked
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

MIB = 1 << 20
# Pages of 4 KiB, and how many of them XAPI sets aside for each VCPU (xapi-idl/memory/memory.ml).
PAGES_PER_MIB, SHADOW_PAGES, XEN_PAGES = 256, 256, 38


def refuse_restart(guest: Guest) -> None:
    """Raise where a running guest could not be shut down gently, or could not start afterwards, with what is planned."""
    refuse_blocked(guest.record, "clean_shutdown", "start")
    if "clean_shutdown" not in guest.record["allowed_operations"] and not guest.record["current_operations"]:
        raise ValueError(f"{guest.title} cannot be shut down gently: it does not answer to that, as its guest tools do not run. Shut it "
                         "down first (module vm_power), or install them.")
    if guest.world.room is None:
        guest.world.room = read_room(guest.lanes.session())
    pbds = select(guest.lanes.session(), "PBD", SR=guest.reaches["SR"])
    pifs = select(guest.lanes.session(), "PIF", network=guest.reaches["network"])
    unfit = {}
    home = guest.record["resident_on"]
    for host in sorted(guest.world.room.values(), key=lambda host: host["ref"] != home):
        unfit[host["name_label"]] = why = unfitness(guest, host) or out_of_reach(guest, host["ref"], pbds, pifs)
        if not why:
            return
    reasons = "; ".join(f"{name} {why}" for name, why in sorted(unfit.items())) or "no host is alive and enabled"
    raise ValueError(f"{guest.title} would not start again with what it is to have: {reasons}. It is left as it is.")


def read_room(session: Session) -> dict[str, Record]:
    """The hosts that are alive and enabled, each with the memory that it has left for guests (`free`)."""
    metrics = records(session, "host_metrics")
    hosts = {ref: host for ref, host in records(session, "host").items()
             if host["enabled"] and metrics.get(host["metrics"], {}).get("live")}
    return {ref: {**host, "free": int(session.call("host.compute_free_memory", ref))} for ref, host in hosts.items()}


def unfitness(guest: Guest, host: Record) -> str:
    """Why a host could not start the guest; empty if it could."""
    live, planned = guest.record, guest.planned
    at_home = live["resident_on"] == host["ref"]
    overhead = live["memory_overhead"] + overhead_of(planned) - overhead_of(live)
    need = start_memory(planned) + overhead
    free = host["free"] + (live["memory_dynamic_min"] + live["memory_overhead"] if at_home else 0)
    if free < need:
        return f"has {in_gib(free)} of memory for it, and it needs {in_gib(need)}"
    cpus = int(host["cpu_info"].get("cpu_count", 0))
    if planned["VCPUs_max"] > cpus and planned["platform"].get("vcpu-unrestricted") not in ("true", "1"):
        return f"has {cpus} CPUs, and vcpus_max is {planned['VCPUs_max']}"
    if at_home:
        return ""
    # XAPI looks at the guest as it is now, which is good enough for SRs, networks and the CPU's features.
    try:
        guest.lanes.session().call("VM.assert_can_boot_here", guest.ref, host["ref"])
    except XapiError as error:
        if error.code not in ("HOST_NOT_ENOUGH_FREE_MEMORY", "HOST_NOT_ENOUGH_PCPUS"):
            return f"cannot run it ({error})"
    return ""


def out_of_reach(guest: Guest, host: str, pbds: Records, pifs: Records) -> str:
    """What new disks and NICs are on that a host does not have; empty if it has all."""
    attached = {pbd["SR"] for pbd in pbds.values() if pbd["host"] == host and pbd["currently_attached"]}
    # A network without any PIF is inside the hosts.
    carried = {pif["network"] for pif in pifs.values() if pif["host"] == host}
    lacking = [f"SR {guest.world.name('SR', ref)}" for ref in guest.reaches["SR"] - attached]
    lacking += [f"network {guest.world.name('network', ref)}"
                for ref in guest.reaches["network"] & {pif["network"] for pif in pifs.values()} - carried]
    return f"does not have {', '.join(sorted(lacking))}" if lacking else ""


def start_memory(vm: Mapping[str, Any]) -> int:
    """Bytes of memory that a guest starts with, in whole MiB."""
    size = vm["memory_static_max"] if vm["domain_type"] == "pv_in_pvh" else vm["memory_dynamic_min"]
    return -(-size // MIB) * MIB


def overhead_of(vm: Mapping[str, Any]) -> int:
    """Bytes that Xen needs for a guest besides its memory."""
    mib, vcpus = -(-vm["memory_static_max"] // MIB), vm["VCPUs_max"]
    shadow = max(1, int(-(-(SHADOW_PAGES * vcpus + 2 * mib) // PAGES_PER_MIB) * vm["HVM_shadow_multiplier"]))
    extra = 1 if vm["domain_type"] == "pv" else 2
    shim = 23 + mib // 90 if vm["domain_type"] == "pv_in_pvh" else 0
    return (extra + shadow + -(-XEN_PAGES * vcpus // PAGES_PER_MIB) + shim) * MIB


def in_gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
