# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reasons and cures of guests that cannot leave a host, on plain records."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.evacuation import (
    GIB,
    Scene,
    explain,
    obstacles,
    resident,
)

Record = dict[str, Any]


def host(name: str, *, enabled: bool = True) -> Record:
    return {"ref": f"OpaqueRef:{name}", "name_label": name, "uuid": f"uuid-{name}", "enabled": enabled, "PIFs": [f"pif-{name}"]}


def guest(name: str, **more: Any) -> Record:
    return {"ref": f"OpaqueRef:{name}", "name_label": name, "uuid": f"uuid-{name}", "memory_dynamic_max": 4 * GIB, "memory_overhead": 0,
            "attached_PCIs": [], "other_config": {}, "VIFs": [f"vif-{name}"], "is_control_domain": False, **more}


def by_ref(*records: Record) -> dict[str, Record]:
    return {record["ref"]: record for record in records}


A, B, C, D = host("a"), host("b"), host("c"), host("d", enabled=False)
HOSTS = by_ref(A, B, C, D)


def scene(vm: Record, live: str = "abcd", **more: Any) -> Scene:
    return Scene(A, HOSTS, {f"OpaqueRef:{name}" for name in live}, by_ref(vm), **more)


def disk(vm: Record, sr: Record, plugged: str, *, cd: bool = False) -> dict[str, dict[str, Record]]:
    """A disk on an SR that is attached on the hosts in `plugged`, with PBDs on others in capitals."""
    return {
        "vbds": by_ref({"ref": "vbd", "VM": vm["ref"], "VDI": "vdi", "type": "CD" if cd else "Disk"}),
        "vdis": by_ref({"ref": "vdi", "SR": sr["ref"], "name_label": "root"}),
        "srs": by_ref(sr),
        "pbds": {f"pbd-{n}": {"host": f"OpaqueRef:{n.lower()}", "SR": sr["ref"], "currently_attached": n.islower()} for n in plugged},
    }


SHARED = {"ref": "sr", "name_label": "nfs1", "shared": True}
LOCAL = {"ref": "sr", "name_label": "local", "shared": False}


@pytest.mark.parametrize(("plugged", "named"), [("abC", "c"), ("ab", "c"), ("aBC", "b, c")])
def test_a_host_that_has_nothing_to_do_with_it_misses_the_sr(plugged: str, named: str) -> None:
    """Neither the host that the guest is on nor the one it would go to: still XAPI refuses."""
    vm = guest("web")
    reason, cure = explain(scene(vm, **disk(vm, SHARED, plugged)), vm, "VM_REQUIRES_SR", [vm["ref"], "sr"])
    assert f"SR 'nfs1', which is not attached on {named} (" in reason
    assert f"Attach 'nfs1' on {named} " in cure


def test_a_disabled_host_needs_no_sr() -> None:
    vm = guest("web")
    reason, _cure = explain(scene(vm, **disk(vm, SHARED, "abcD")), vm, "VM_REQUIRES_SR", [])
    assert "nfs1" not in reason, "all enabled hosts have it"


def test_local_disks_and_local_cds() -> None:
    vm = guest("web")
    reason, cure = explain(scene(vm, **disk(vm, LOCAL, "a")), vm, "VM_REQUIRES_SR", [])
    assert reason == "its disk 'root' is on SR 'local', which is local to a"
    assert "together with its disks" in cure
    reason, cure = explain(scene(vm, **disk(vm, LOCAL, "a", cd=True)), vm, "VM_REQUIRES_SR", [])
    assert (reason, cure) == ("its CD is on SR 'local', which is local to a", "Eject the CD.")


def test_no_memory_elsewhere() -> None:
    vm = guest("big", memory_dynamic_max=40 * GIB, memory_overhead=GIB)
    free = {"OpaqueRef:b": 3 * GIB, "OpaqueRef:c": GIB // 2}
    reason, _cure = explain(scene(vm, free=free), vm, "HOST_NOT_ENOUGH_FREE_MEMORY", [vm["ref"]])
    assert "needs 41.0 GiB" in reason
    assert "(free: b 3.0 GiB, c 0.5 GiB)" in reason


def test_pci_devices_are_named() -> None:
    card = {"ref": "pci", "device_name": "Tesla T4", "pci_id": "0000:04:00.0"}
    vm = guest("gpu", attached_PCIs=["pci"])
    assert "Tesla T4 (0000:04:00.0)" in explain(scene(vm, pcis=by_ref(card)), vm, "VM_HAS_PCI_ATTACHED", [])[0]
    vm = guest("gpu", other_config={"pci": "0/0000:05:00.0"})
    assert "0/0000:05:00.0" in explain(scene(vm), vm, "VM_HAS_PCI_ATTACHED", [])[0], "XAPI before 7 has no PCI objects"


def test_no_other_host() -> None:
    vm, alone = guest("web"), {**B, "enabled": False}
    hosts = by_ref(A, alone)
    assert explain(Scene(A, hosts, {"OpaqueRef:a", "OpaqueRef:b"}, by_ref(vm)), vm, "NO_HOSTS_AVAILABLE", []) == (
        "no other host is enabled", "Enable b, or shut it down.")
    assert "Bring another host up" in explain(Scene(A, hosts, {"OpaqueRef:a"}, by_ref(vm)), vm, "NO_HOSTS_AVAILABLE", [])[1]


def test_a_dead_host_that_counts_as_enabled() -> None:
    vm = guest("web")
    reason, cure = explain(scene(vm, live="ab"), vm, "HOST_NOT_LIVE", [])
    assert reason.startswith("host c is dead and still counts as enabled")
    assert "declare it dead" in cure


def test_networks() -> None:
    vm = guest("web")
    everywhere = {"ref": "n1", "name_label": "lan", "VIFs": ["vif-web"], "PIFs": ["pif-a", "pif-b", "pif-c"]}
    partly = {"ref": "n2", "name_label": "dmz", "VIFs": ["vif-web"], "PIFs": ["pif-a", "pif-b"]}
    strange = {"ref": "n3", "name_label": "other", "VIFs": ["vif-db"], "PIFs": []}
    reason, _cure = explain(scene(vm, networks=by_ref(everywhere, partly, strange)), vm, "VM_REQUIRES_NETWORK", [vm["ref"], "n2"])
    assert reason == "network dmz is not on every other enabled host"


def test_other_codes_are_told_in_words_and_names() -> None:
    vm = guest("web")
    reason, cure = explain(scene(vm), vm, "VM_INCOMPATIBLE_WITH_THIS_HOST", [vm["ref"], "OpaqueRef:b", "another CPU"])
    assert reason == "guest 'web' cannot run on host 'b': another CPU"
    assert cure
    reason, cure = explain(scene(vm), vm, "SOMETHING_NEW", ["x"])
    assert "SOMETHING_NEW" in reason
    assert cure.startswith("Remove what is in the way")


def test_all_guests_sorted_and_those_that_are_gone_left_out() -> None:
    one, two = guest("b"), guest("a")
    found = obstacles(
        Scene(A, HOSTS, set(), by_ref(one, two)),
        {one["ref"]: ["VM_HAS_VGPU", one["ref"]], two["ref"]: ["VM_HAS_VUSBS", two["ref"]], "OpaqueRef:gone": ["VM_HAS_VGPU"]},
    )
    assert [(item["vm"], item["code"]) for item in found] == [("a", "VM_HAS_VUSBS"), ("b", "VM_HAS_VGPU")]


def test_residents() -> None:
    dom0 = guest("dom0", is_control_domain=True)
    found = resident({"resident_VMs": ["OpaqueRef:dom0", "OpaqueRef:web", "OpaqueRef:gone"]}, by_ref(dom0, guest("web")))
    assert [vm["name_label"] for vm in found] == ["web"]
