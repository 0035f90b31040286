# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""udev SRs whose devices a program finds, here files in a folder for each host."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unit.xapisim.storage.records import MIB, vbd_record

PROGRAM = """
import json, os, sys, time
root, host, location = sys.argv[1:]
folder = os.path.join(root, host)
if os.path.exists(root + "/slow"): time.sleep(1)
if not os.path.isdir(folder): sys.exit(f"cannot\\nreach {host}")
print(json.dumps({f"{location}/{name}": os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder)}))
"""
LOCATION = "/dev/mirror/alpha-1"


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    for host in ("alpha-1", "alpha-2"):
        (tmp_path / host).mkdir()
        (tmp_path / host / "web1-data").write_bytes(bytes(3 * MIB))
    return tmp_path


@pytest.fixture
def sim(start: Callable[..., Any], devices: Path) -> Any:
    command = [sys.executable, "-c", PROGRAM, str(devices)]
    pool = {
        "name": "alpha",
        "templates": "none",
        "local_sr": "none",
        "srs": [],
        "backends": {"udev": {"command": command}},
    }
    return start({"pools": [pool]})


@pytest.fixture
def sr(sim: Any) -> str:
    coordinator = sim.call("host.get_by_name_label", "alpha-1")[0]
    config = {"location": LOCATION}
    return sim.call("SR.create", coordinator, config, 0, "mirror-alpha-1", "", "udev", "", True, {})


@pytest.fixture
def guest(sim: Any, sr: str) -> str:
    """A halted VM with the leg."""
    with sim.pool.lock:
        sizes = {f"memory_{kind}": 1 << 28 for kind in ("static_max", "dynamic_max", "dynamic_min", "static_min")}
        vm = sim.pool.db.create("VM", name_label="web1", domain_type="pv", VCPUs_max=1, VCPUs_at_startup=1, **sizes).ref
    sim.call("VBD.create", vbd_record(vm, sim.call("SR.get_VDIs", sr)[0], userdevice="4"))
    return vm


def sizes(sim: Any, sr: str) -> dict[str, int]:
    records = [sim.call("VDI.get_record", ref) for ref in sim.call("SR.get_VDIs", sr)]
    return {record["location"]: record["virtual_size"] for record in records}


def test_what_is_there_is_found_when_attached(sim: Any, sr: str) -> None:
    assert sizes(sim, sr) == {f"{LOCATION}/web1-data": 3 * MIB}
    (vdi,) = sim.call("SR.get_VDIs", sr)
    for op in ("destroy", "snapshot"):
        assert sim.refused(f"VDI.{op}", vdi)[0] == "SR_OPERATION_NOT_SUPPORTED"
    assert sim.refused("VDI.create", sim.call("VDI.get_record", vdi))[0] == "SR_OPERATION_NOT_SUPPORTED"


def test_a_scan_sees_what_is_new_what_grew_and_what_is_gone(sim: Any, sr: str, devices: Path) -> None:
    (vdi,) = sim.call("SR.get_VDIs", sr)
    sim.call("VDI.set_name_label", vdi, "web1-data@alpha-1")
    (devices / "alpha-1" / "web1-data").write_bytes(bytes(5 * MIB))
    (devices / "alpha-1" / "db1-data").write_bytes(bytes(MIB))
    sim.call("SR.scan", sr)
    assert sizes(sim, sr) == {f"{LOCATION}/web1-data": 5 * MIB, f"{LOCATION}/db1-data": MIB}
    assert sim.call("VDI.get_name_label", vdi) == "web1-data@alpha-1"
    (devices / "alpha-1" / "web1-data").unlink()
    sim.call("SR.scan", sr)
    assert sizes(sim, sr) == {f"{LOCATION}/db1-data": MIB}


def test_a_scan_that_fails(sim: Any, sr: str, devices: Path) -> None:
    (devices / "alpha-1").rename(devices / "gone")
    error = sim.refused("SR.scan", sr)
    assert error == ["SR_BACKEND_FAILURE_40", "", "The SR scan failed  [opterr=cannot reach alpha-1]", ""]
    assert sizes(sim, sr) == {f"{LOCATION}/web1-data": 3 * MIB}


def test_a_guest_starts_where_its_devices_are(sim: Any, sr: str, guest: str, devices: Path) -> None:
    hosts = [sim.call("host.get_by_name_label", name)[0] for name in ("alpha-1", "alpha-2")]
    (devices / "alpha-2" / "web1-data").unlink()
    error = sim.refused("VM.start_on", guest, hosts[1], False, False)
    assert error[:3] == ["SR_BACKEND_FAILURE_46", "", error[2]]
    assert f"{LOCATION}/web1-data does not exist on alpha-2" in error[2]
    assert sim.call("VM.get_power_state", guest) == "Halted"
    (devices / "slow").touch()
    task = sim.ok("Async.VM.start_on", sim.session, guest, hosts[0], False, False)
    begun = time.monotonic()
    sim.call("VM.get_all")
    assert time.monotonic() - begun < 0.8, "the pool waits for the program"
    with sim.pool.lock:
        sim.pool.lock.wait_for(lambda: sim.pool.db.row("task", task).status != "pending", 10)
    assert sim.call("task.get_status", task) == "success"
    assert sim.call("VM.get_power_state", guest) == "Running"
    (vbd,) = sim.call("VM.get_VBDs", guest)
    assert sim.call("VBD.get_record", vbd)["device"] == "xvde"
    (devices / "slow").unlink()
    with sim.pool.lock:
        sim.pool.db.row("VM", guest).domain_type = "pv"
    sim.call("VBD.unplug", vbd)
    (devices / "alpha-1" / "web1-data").unlink()
    assert sim.refused("VBD.plug", vbd)[0] == "SR_BACKEND_FAILURE_46"
    assert sim.call("VBD.get_current_operations", vbd) == {}


def test_their_bytes_are_not_the_simulators(sim: Any, sr: str) -> None:
    (vdi,) = sim.call("SR.get_VDIs", sr)
    status, headers, body = sim.post(f"/export_raw_vdi?vdi={vdi}&session_id={sim.session}", b"", "GET")
    assert (status, body) == (200, b"")
    assert sim.call("task.get_error_info", headers["task-id"])[0] == "NOT_IMPLEMENTED"
