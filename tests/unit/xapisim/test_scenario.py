# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios: the documented example is what is run here."""

from __future__ import annotations

import time
import xml.etree.ElementTree
from typing import Any

import pytest
import yaml

from xapisim import scenario
from xapisim.launcher import TESTS

NULL = "OpaqueRef:NULL"


@pytest.fixture(scope="module")
def example(start: Any) -> Any:
    text = (TESTS / "xapisim/README.md").read_text(encoding="utf-8")
    content = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    del content["pools"][0]["port"]  # a free one
    return start(content)


def _records(sim: Any, cls: str, **equal: Any) -> list[dict[str, Any]]:
    found = sim.call(f"{cls}.get_all_records").values()
    return [r for r in found if all(r[k] == v for k, v in equal.items())]


def _one(sim: Any, cls: str, **equal: Any) -> dict[str, Any]:
    found = _records(sim, cls, **equal)
    assert len(found) == 1, (cls, equal, len(found))
    return found[0]


def test_the_pool(example: Any) -> None:
    pool = _one(example, "pool")
    assert (pool["name_label"], pool["name_description"], pool["tags"]) == ("alpha", "Production", ["prod"])
    assert pool["other_config"]["key"] == "value"
    assert example.call("SR.get_name_label", pool["default_SR"]) == "vmstore"
    assert example.call("host.get_name_label", pool["master"]) == "alpha-1"


def test_hosts_and_nics(example: Any) -> None:
    host = _one(example, "host", name_label="alpha-1")
    assert (host["address"], host["cpu_info"]["cpu_count"]) == ("127.66.1.1", "16")
    assert example.call("host_metrics.get_memory_total", host["metrics"]) == 64 << 30
    pif = _one(example, "PIF", device="eth1", host=example.call("host.get_by_name_label", "alpha-2")[0], VLAN=-1)
    assert (pif["MAC"], pif["IP"], pif["gateway"]) == ("0c:c4:7a:00:00:01", "10.0.0.2", "10.0.0.1")
    managers = _records(example, "PIF", management=True)
    assert {p["IP"] for p in managers} == {"127.66.1.1", "127.77.1.2"}


def test_bonds_and_vlans(example: Any) -> None:
    bonds = _records(example, "Bond")
    assert {b["mode"] for b in bonds} == {"active-backup"}
    network = _one(example, "network", name_label="storage")
    assert network["MTU"] == 9000
    assert {p["device"] for p in _records(example, "PIF", VLAN=20)} == {"eth1"}
    assert len(network["PIFs"]) == 2
    assert _one(example, "network", name_label="internal")["PIFs"] == []


def test_storage(example: Any) -> None:
    vmstore = _one(example, "SR", name_label="vmstore")
    assert (vmstore["shared"], vmstore["physical_size"], len(vmstore["PBDs"])) == (True, 2 << 40, 2)
    assert all(example.call("PBD.get_currently_attached", p) for p in vmstore["PBDs"])
    isos = _one(example, "SR", name_label="isos")
    assert isos["content_type"] == "iso"
    assert {example.call("VDI.get_name_label", v) for v in isos["VDIs"]} == {"guest-tools.iso", "debian-12.iso"}
    assert len(_one(example, "SR", name_label="scratch")["PBDs"]) == 1
    assert len(_records(example, "SR", name_label="Local storage")) == 2


def test_vms(example: Any) -> None:
    vms = [v for v in _records(example, "VM", power_state="Running") if not v["is_control_domain"]]
    assert len(vms) == 200
    vm = _one(example, "VM", name_label="web-007", is_a_snapshot=False)
    assert (vm["memory_static_max"], vm["VCPUs_max"], vm["tags"]) == (2 << 30, 2, ["web"])
    assert (vm["ha_restart_priority"], vm["other_config"]["auto_poweron"]) == ("restart", "true")
    assert vm["other_config"]["base_template_name"] == "Debian Bookworm 12"
    assert example.call("host.get_name_label", vm["resident_on"]) == "alpha-1"
    assert {"clean_shutdown", "pause"} <= set(vm["allowed_operations"])
    networks = example.call("VM_guest_metrics.get_networks", vm["guest_metrics"])
    assert networks["0/ip"] == "10.1.0.1"
    vbds = {v["userdevice"]: v for v in _records(example, "VBD") if v["uuid"] in _uuids(example, "VBD", vm["VBDs"])}
    assert set(vbds) == {"0", "3"}
    assert example.call("VDI.get_virtual_size", vbds["0"]["VDI"]) == 20 << 30
    assert (vbds["3"]["type"], example.call("VDI.get_name_label", vbds["3"]["VDI"])) == ("CD", "debian-12.iso")
    assert all(v["currently_attached"] for v in vbds.values())
    snapshot = example.call("VM.get_record", vm["snapshots"][0])
    assert (snapshot["name_label"], snapshot["is_a_snapshot"]) == ("before-upgrade", True)


def _uuids(sim: Any, cls: str, refs: list[str]) -> set[str]:
    return {sim.call(f"{cls}.get_uuid", ref) for ref in refs}


def test_users(example: Any) -> None:
    session = example.ok("session.login_with_password", "olga", "secret")
    vm = example.call("VM.get_by_name_label", "web-001")[0]
    assert example.error("VM.destroy", session, vm)[0] == "RBAC_PERMISSION_DENIED"


def test_durations_are_simulated_time(example: Any) -> None:
    halted = example.call("VM.get_by_name_label", "web-002")[0]
    example.call("VM.hard_shutdown", halted)
    begun = time.monotonic()
    example.call("VM.start", halted, False, False)
    assert time.monotonic() - begun >= 0.2


def test_default_templates(sim: Any) -> None:
    templates = [v for v in sim.call("VM.get_all_records").values() if v["is_default_template"]]
    names = {t["name_label"] for t in templates}
    assert {"Debian Bookworm 12", "Rocky Linux 9", "Windows Server 2022 (64-bit)", "Other install media"} <= names
    assert len(names) >= 15
    for template in templates:
        assert template["is_a_template"]
        assert template["power_state"] == "Halted"
        assert template["other_config"]["default_template"] == "true"
        assert "clone" in template["allowed_operations"]
        xml.etree.ElementTree.fromstring(template["recommendations"])
        disks = template["other_config"].get("disks")
        assert (disks is None) == (template["reference_label"] == "other-install-media")
        if disks is not None:
            assert xml.etree.ElementTree.fromstring(disks).find("disk").get("bootable") == "true"


def test_sizes() -> None:
    assert [scenario.size(v, "x") for v in (5, "5", "1KiB", "1.5 GiB", "2tib")] == [5, 5, 1024, 3 << 29, 2 << 40]
    for bad in (-1, True, "much", "1GB", None):
        with pytest.raises(scenario.ScenarioError, match=r"x: .* is no size"):
            scenario.size(bad, "x")
