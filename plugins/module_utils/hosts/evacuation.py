# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a host cannot be emptied, guest by guest, and what cures it.

XAPI names one reason a guest (host.get_vms_which_prevent_evacuation), in codes and references. What stands behind them is
looked up here: which disk, which host, which device. XAPI calls a guest movable only if ALL other enabled hosts could run it
(xapi_host.ml, compute_evacuation_plan_no_wlb), so a host that has nothing to do with it may be what is in the way.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import host_names
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, Records, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL, records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

GIB = 1 << 30
ELSEWHERE = "or shut it down"


@dataclass
class Scene:
    """A host to be emptied, the hosts of its pool, and what its guests' reasons mention; each class by reference."""

    host: Record
    hosts: Records
    live: set[str]
    vms: Records
    vbds: Records = field(default_factory=dict)
    vdis: Records = field(default_factory=dict)
    srs: Records = field(default_factory=dict)
    pbds: Records = field(default_factory=dict)
    pcis: Records = field(default_factory=dict)
    networks: Records = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)

    @property
    def targets(self) -> list[str]:
        """The other enabled hosts: where guests could go."""
        return [ref for ref, host in self.hosts.items() if host["enabled"] and ref != self.host["ref"]]

    def names(self, refs: Iterable[str]) -> str:
        return ", ".join(host_names(self.hosts, refs))


def read_scene(session: Session, host: Record, hosts: Records, live: set[str], reasons: Mapping[str, list[str]]) -> Scene:
    """Read what the reasons need, and no more: one call a class."""
    codes = {reason[0] for reason in reasons.values()}
    scene = Scene(host, hosts, live, select(session, "VM", refs=reasons))
    if "VM_REQUIRES_SR" in codes:
        scene.vbds = select(session, "VBD", VM=scene.vms)
        scene.vdis = select(session, "VDI", refs={vbd["VDI"] for vbd in scene.vbds.values()})
        scene.srs = select(session, "SR", refs={vdi["SR"] for vdi in scene.vdis.values()})
        scene.pbds = select(session, "PBD", SR=scene.srs)
    if "VM_HAS_PCI_ATTACHED" in codes:
        scene.pcis = select(session, "PCI", refs={ref for vm in scene.vms.values() for ref in vm["attached_PCIs"]})
    if "VM_REQUIRES_NETWORK" in codes:
        scene.networks = records(session, "network")
    if "HOST_NOT_ENOUGH_FREE_MEMORY" in codes:
        scene.free = {ref: int(session.call("host.compute_free_memory", ref)) for ref in scene.targets}
    return scene


def obstacles(scene: Scene, reasons: Mapping[str, list[str]]) -> list[Record]:
    """The guests that cannot leave: {vm, uuid, code, reason, cure}, sorted by name."""
    found = []
    for ref, (code, *params) in reasons.items():
        vm = scene.vms.get(ref)
        if vm is None:  # gone meanwhile
            continue
        reason, cure = explain(scene, vm, code, params)
        found.append({"vm": vm["name_label"], "uuid": vm["uuid"], "code": code, "reason": reason, "cure": cure})
    return sorted(found, key=lambda item: (item["vm"], item["uuid"]))


def explain(scene: Scene, vm: Record, code: str, params: list[str]) -> tuple[str, str]:
    """Reason and cure of one guest."""
    special = _EXPLAINED.get(code)
    if special:
        return special(scene, vm)
    if code in _PLAIN:
        return _PLAIN[code]
    error = XapiError(code, params)
    for ref, cls in error.refs().items():
        table = {"VM": scene.vms, "host": scene.hosts}.get(cls, {})
        if ref in table:
            error.names[ref] = f"'{table[ref]['name_label']}'"
    return str(error), error.hint or f"Remove what is in the way, {ELSEWHERE}."


def _no_host(scene: Scene, vm: Record) -> tuple[str, str]:
    idle = [ref for ref in scene.hosts if ref in scene.live and ref not in (*scene.targets, scene.host["ref"])]
    if idle:
        return "no other host is enabled", f"Enable {scene.names(idle)}, {ELSEWHERE}."
    return "there is no other host that is up", "Bring another host up, or shut the guest down."


def _dead_host(scene: Scene, vm: Record) -> tuple[str, str]:
    dead = scene.names(ref for ref in scene.targets if ref not in scene.live)
    return (
        f"host {dead} is dead and still counts as enabled, and XAPI moves a guest only if every enabled host could run it",
        f"Bring {dead} back; or, when it is certain to be off, declare it dead (host.declare_dead) or remove it from the pool.",
    )


def _storage(scene: Scene, vm: Record) -> tuple[str, str]:
    reasons, cures = [], []
    for vbd in (vbd for vbd in scene.vbds.values() if vbd["VM"] == vm["ref"]):
        vdi = scene.vdis.get(vbd["VDI"])
        sr = scene.srs.get(vdi["SR"]) if vdi else None
        if vdi is None or sr is None:
            continue
        pbds = {pbd["host"]: pbd for pbd in scene.pbds.values() if pbd["SR"] == sr["ref"]}
        lacking = [ref for ref in scene.targets if not pbds.get(ref, {}).get("currently_attached")]
        if not lacking:
            continue
        what = "its CD" if vbd["type"] == "CD" else f"its disk '{vdi['name_label']}'"
        if not sr["shared"]:
            reasons.append(f"{what} is on SR '{sr['name_label']}', which is local to {scene.names(pbds)}")
            cures.append("Eject the CD." if vbd["type"] == "CD" else
                         "Move the disk to a shared SR, let the guest leave together with its disks (move_disks), or shut it down.")
            continue
        reasons.append(f"{what} is on SR '{sr['name_label']}', which is not attached on {scene.names(lacking)} "
                       "(XAPI moves a guest only if every enabled host could run it)")
        cures.append(f"Attach '{sr['name_label']}' on {scene.names(lacking)} (module nobloat.xen.sr), or disable that host meanwhile.")
    if not reasons:
        return "another host does not see one of its SRs", "Attach all its SRs on every enabled host."
    return "; ".join(dict.fromkeys(reasons)), " ".join(dict.fromkeys(cures))


def _network(scene: Scene, vm: Record) -> tuple[str, str]:
    named = sorted(network["name_label"] for network in scene.networks.values()
                   if set(network["VIFs"]) & set(vm["VIFs"]) and not _everywhere(scene, network))
    which = f"network {', '.join(named)}" if named else "one of its networks"
    return (
        f"{which} is not on every other enabled host",
        "Connect the network there (module nobloat.xen.network or bond), unplug that NIC, or shut the guest down.",
    )


def _everywhere(scene: Scene, network: Record) -> bool:
    pifs = set(network["PIFs"])
    return bool(pifs) and all(pifs & set(scene.hosts[ref]["PIFs"]) for ref in scene.targets)


def _memory(scene: Scene, vm: Record) -> tuple[str, str]:
    room = ", ".join(f"{scene.names([ref])} {scene.free[ref] / GIB:.1f} GiB"
                     for ref in sorted(scene.free, key=lambda ref: str(scene.hosts[ref]["name_label"])))
    needed = (vm["memory_dynamic_max"] + vm["memory_overhead"]) / GIB
    return (
        f"it needs {needed:.1f} GiB of memory, and no other enabled host has that left beside the other guests (free: {room})",
        "Stop guests there or give them less memory, enable another host, or shut this one down.",
    )


def _pci(scene: Scene, vm: Record) -> tuple[str, str]:
    devices = sorted(f"{pci['device_name']} ({pci['pci_id']})" for pci in
                     (scene.pcis[ref] for ref in vm["attached_PCIs"] if ref in scene.pcis))
    named = ", ".join(devices) or vm["other_config"].get("pci", "of this host")
    return (
        f"PCI device {named} is passed through to it",
        "Shut it down; to let it move from now on, remove 'pci' from its other_config before it is started again.",
    )


_EXPLAINED = {
    "NO_HOSTS_AVAILABLE": _no_host,
    "HOST_NOT_LIVE": _dead_host,
    "VM_REQUIRES_SR": _storage,
    "VM_REQUIRES_NETWORK": _network,
    "HOST_NOT_ENOUGH_FREE_MEMORY": _memory,
    "VM_HAS_PCI_ATTACHED": _pci,
}
_PLAIN = {
    "VM_HAS_VGPU": ("it has a virtual GPU", "Shut it down, or take the virtual GPU away while it is shut down."),
    "VM_HAS_VUSBS": ("a USB device of this host is passed through to it", "Unplug the USB device, or shut the guest down."),
    "VM_HAS_SRIOV_VIF": ("one of its NICs is an SR-IOV function of this host", "Take that NIC away, or shut the guest down."),
    "VM_IS_IMMOBILE": ("it is marked as immobile (platform: nomigrate or nested-virt)", "Shut it down."),
    "VM_IS_USING_NESTED_VIRT": ("it uses nested virtualisation", "Shut it down."),
    "VM_LACKS_FEATURE": ("its guest tools do not run, so it cannot be asked to move", "Start the guest tools in it, or shut it down."),
    "VM_MISSING_PV_DRIVERS": ("it has no paravirtual drivers", "Install the guest tools in it, or shut it down."),
    "VM_BAD_POWER_STATE": ("it is paused", "Unpause it, or shut it down."),
    "OTHER_OPERATION_IN_PROGRESS": ("another operation on it is in progress", "Wait until that is done, and run again."),
    "HOST_EVACUATE_VM_NOT_HA_PROTECTED": (
        "high availability is on and does not protect it",
        "Protect it (ha_restart_priority: restart), shut it down, or disable high availability meanwhile.",
    ),
    "HOST_NOT_ENOUGH_PCPUS": (
        "it has more virtual CPUs than one of the other enabled hosts has CPUs",
        "Disable that host meanwhile, or shut the guest down.",
    ),
}


def check_network(session: Session, network: Record, scene: Scene) -> None:
    """Raise ValueError where a host that guests may go to cannot receive them over `network`. One call."""
    pifs = {pif["host"]: pif for pif in select(session, "PIF", network=[network["ref"]]).values()}
    wrong = []
    for ref in scene.targets:
        pif = pifs.get(ref)
        if not pif or not pif["currently_attached"] or not (pif["IP"] or pif["IPv6"]):
            why = "is not on it" if not pif else "has no address there" if pif["currently_attached"] else "has its NIC unplugged there"
            wrong.append(f"{scene.names([ref])} {why}")
    if wrong:
        raise ValueError(f"Guests cannot be moved over network {network['name_label']}: {'; '.join(sorted(wrong))}.")


def resident(host: Record, vms: Records) -> list[Record]:
    """The guests on a host, by name; its control domains are none."""
    found = [vms[ref] for ref in host["resident_VMs"] if ref in vms and not vms[ref]["is_control_domain"]]
    return sorted(found, key=lambda vm: (vm["name_label"], vm["uuid"]))


def live_hosts(session: Session, hosts: Records) -> set[str]:
    """References of the hosts that XAPI believes alive. One call."""
    metrics = records(session, "host_metrics")
    return {ref for ref, host in hosts.items() if host["metrics"] != NULL and metrics.get(host["metrics"], {}).get("live")}
