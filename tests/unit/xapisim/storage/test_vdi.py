# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VDIs over the wire: sizes, copies, bytes, and refusals with codes and parameters in XAPI's order."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from unit.xapisim.storage.records import BACKENDS, GIB, MIB, NULL, read, vbd_record, vdi_record, write


@pytest.mark.parametrize(
    ("name", "asked", "made"),
    [
        ("nfs", 1, 2 * MIB),
        ("nfs", 2 * MIB + 1, 4 * MIB),
        ("iscsi", 5 * MIB, 6 * MIB),
        ("dummy", 5 * MIB + 3, 5 * MIB + 3),
    ],
)
def test_sizes_are_rounded_up_as_the_driver_does(sim: Any, sr: Any, name: str, asked: int, made: int) -> None:
    ref = sim.call("VDI.create", vdi_record(sr(name), virtual_size=asked))
    assert sim.call("VDI.get_virtual_size", ref) == made
    assert read(sim, ref, made - 1, 1) == b"\0"
    sim.call("VDI.destroy", ref)


def test_a_raw_vdi_has_whole_extents(sim: Any, sr: Any) -> None:
    """LVHDSR.py: without VHD, the size is that of the LV."""
    ref = sim.call("VDI.create", vdi_record(sr("iscsi"), virtual_size=5 * MIB, sm_config={"type": "raw"}))
    assert sim.call("VDI.get_virtual_size", ref) == 8 * MIB
    sim.call("VDI.resize", ref, 9 * MIB)
    assert sim.call("VDI.get_virtual_size", ref) == 12 * MIB
    sim.call("VDI.destroy", ref)


def test_a_scan_writes_read_only_as_the_driver_says(sim: Any, sr: Any) -> None:
    ref = sim.call("VDI.create", vdi_record(sr("nfs"), read_only=True))
    assert sim.call("VDI.get_read_only", ref) is True
    sim.call("SR.scan", sr("nfs"))
    assert sim.call("VDI.get_read_only", ref) is False
    sim.call("VDI.destroy", ref)


def test_a_fresh_vdi(sim: Any, sr: Any) -> None:
    ref = sim.call("VDI.create", vdi_record(sr("nfs"), tags=["t"], xenstore_data={"a": "b"}, sm_config={"x": "y"}))
    record = sim.call("VDI.get_record", ref)
    assert sorted(record["allowed_operations"]) == sorted(
        ["copy", "generate_config", "clone", "forget", "update", "resize", "snapshot", "destroy"]
    )
    expected = {"managed": True, "on_boot": "persist", "location": record["uuid"], "missing": False, "VBDs": []}
    expected |= {"tags": ["t"], "xenstore_data": {"a": "b"}, "sm_config": {"x": "y"}, "SR": sr("nfs")}
    assert {key: record[key] for key in expected} == expected
    assert ref in sim.call("SR.get_VDIs", sr("nfs"))


@pytest.mark.parametrize(
    ("name", "fields", "error"),
    [
        ("isos", {}, ["SR_OPERATION_NOT_SUPPORTED", "SR"]),
        ("paths", {}, ["SR_OPERATION_NOT_SUPPORTED", "SR"]),
        ("nfs", {"SR": "OpaqueRef:no"}, ["HANDLE_INVALID", "SR", "OpaqueRef:no"]),
        ("nfs", {"type": "cbt_metadata"}, ["VDI_INCOMPATIBLE_TYPE", NULL, "cbt_metadata"]),
        ("iscsi", {"virtual_size": 41 * GIB}, ["SR_BACKEND_FAILURE_44", "", "There is insufficient space", ""]),
        (
            "nfs",
            {"virtual_size": 2041 * GIB},
            ["SR_BACKEND_FAILURE_79", "", "VDI Invalid size [opterr=VDI size must be between 1 MB and 2088960 MB]", ""],
        ),
    ],
)
def test_create_refused(sim: Any, sr: Any, name: str, fields: dict[str, Any], error: list[str]) -> None:
    wanted = [sr(name) if word == "SR" and at else word for at, word in enumerate(error)]
    if error[0] == "HANDLE_INVALID":
        wanted = error
    before = set(sim.call("VDI.get_all"))
    assert sim.refused("VDI.create", vdi_record(sr(name), **fields)) == wanted
    assert set(sim.call("VDI.get_all")) == before


def test_a_thick_sr_counts_what_it_holds(sim: Any, sr: Any) -> None:
    before = sim.call("SR.get_record", sr("iscsi"))
    assert before["physical_size"] == 40 * GIB
    ref = sim.call("VDI.create", vdi_record(sr("iscsi"), virtual_size=30 * GIB))
    after = sim.call("SR.get_record", sr("iscsi"))
    for key in ("virtual_allocation", "physical_utilisation"):
        assert after[key] - before[key] == 30 * GIB
    assert sim.refused("VDI.create", vdi_record(sr("iscsi"), virtual_size=11 * GIB))[0] == "SR_BACKEND_FAILURE_44"
    assert sim.refused("VDI.resize", ref, 41 * GIB)[0] == "SR_BACKEND_FAILURE_44"
    sim.call("VDI.destroy", ref)
    assert sim.call("SR.get_physical_utilisation", sr("iscsi")) == before["physical_utilisation"]


def test_a_thin_sr_counts_what_was_written(sim: Any, sr: Any) -> None:
    ref = sim.call("VDI.create", vdi_record(sr("nfs"), virtual_size=100 * GIB))
    before = sim.call("SR.get_physical_utilisation", sr("nfs"))
    write(sim, ref, 5 * GIB, b"x" * 128 * 1024)
    sim.call("SR.update", sr("nfs"))
    assert sim.call("VDI.get_physical_utilisation", ref) == 128 * 1024
    assert sim.call("SR.get_physical_utilisation", sr("nfs")) - before == 128 * 1024
    sim.call("VDI.destroy", ref)


def test_a_full_sr_refuses_everything_new(sim: Any, sr: Any, vdi: str) -> None:
    sim.pool.faults.sr_full.add(sr("nfs"))
    try:
        for call in (("VDI.create", vdi_record(sr("nfs"))), ("VDI.snapshot", vdi), ("VDI.clone", vdi)):
            assert sim.refused(*call) == ["SR_BACKEND_FAILURE_44", "", "There is insufficient space", ""]
    finally:
        sim.pool.faults.clear()
    sim.call("VDI.destroy", sim.call("VDI.snapshot", vdi))


def test_resize(sim: Any, vdi: str) -> None:
    write(sim, vdi, 0, b"kept")
    sim.call("VDI.resize", vdi, 20 * MIB + 1)
    assert sim.call("VDI.get_virtual_size", vdi) == 22 * MIB
    assert read(sim, vdi, 0, 5) == b"kept\0"
    text = "VDI Invalid size [opterr=shrinking not allowed]"
    assert sim.refused("VDI.resize", vdi, 8 * MIB) == ["SR_BACKEND_FAILURE_79", "", text, ""]


def test_setters_of_the_storage_manager_alone(sim: Any, sr: Any, vdi: str) -> None:
    """More facts, 9."""
    pbd = sim.call("SR.get_PBDs", sr("nfs"))[0]
    for method, *args in (
        ("VDI.set_read_only", vdi, True),
        ("VDI.set_sharable", vdi, True),
        ("VDI.set_managed", vdi, False),
        ("SR.set_physical_size", sr("nfs"), 1),
        ("PBD.set_device_config", pbd, {}),
    ):
        assert sim.refused(method, *args) == ["PERMISSION_DENIED", ""]


def test_on_boot_reset_takes_snapshot_and_copy_away(sim: Any, sr: Any, vdi: str) -> None:
    """More facts, 9."""
    sim.call("VDI.set_on_boot", vdi, "reset")
    assert not {"snapshot", "copy"} & set(sim.call("VDI.get_allowed_operations", vdi))
    assert sim.refused("VDI.snapshot", vdi) == ["VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION"]
    assert sim.refused("VDI.copy", vdi, sr("nfs")) == ["VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION"]
    sim.call("VDI.set_on_boot", vdi, "persist")
    assert {"snapshot", "copy"} <= set(sim.call("VDI.get_allowed_operations", vdi))


def test_snapshot_clone_and_copy_carry_the_bytes(sim: Any, sr: Any, vdi: str) -> None:
    write(sim, vdi, 3, b"first")
    made = {
        "snapshot": sim.call("VDI.snapshot", vdi),
        "clone": sim.call("VDI.clone", vdi, {}),
        "copy": sim.call("VDI.copy", vdi, sr("iscsi")),
    }
    write(sim, vdi, 3, b"later")
    for ref in made.values():
        assert read(sim, ref, 3, 5) == b"first"
        assert sim.call("VDI.get_name_label", ref) == "disk"
    snapshot = sim.call("VDI.get_record", made["snapshot"])
    assert (snapshot["is_a_snapshot"], snapshot["snapshot_of"]) == (True, vdi)
    assert sim.call("VDI.get_snapshots", vdi) == [made["snapshot"]]
    assert not sim.call("VDI.get_is_a_snapshot", made["clone"])
    assert sim.call("VDI.get_SR", made["copy"]) == sr("iscsi")
    for ref in made.values():
        sim.call("VDI.destroy", ref)


def test_copy_into(sim: Any, sr: Any, vdi: str) -> None:
    small = sim.call("VDI.create", vdi_record(sr("nfs"), virtual_size=2 * MIB))
    large = sim.call("VDI.create", vdi_record(sr("nfs"), virtual_size=20 * MIB))
    sealed = sim.call("VDI.create", vdi_record(sr("nfs"), virtual_size=20 * MIB, read_only=True))
    assert sim.refused("VDI.copy", vdi, NULL, NULL, small) == ["VDI_TOO_SMALL", small, str(8 * MIB)]
    assert sim.refused("VDI.copy", vdi, NULL, NULL, sealed) == ["VDI_READONLY", sealed]
    assert sim.refused("VDI.copy", vdi, NULL) == ["HANDLE_INVALID", "SR", NULL]
    write(sim, vdi, 0, b"new")
    write(sim, large, 0, b"old and longer")
    assert sim.call("VDI.copy", vdi, NULL, NULL, large) == large
    assert read(sim, large, 0, 14) == b"new" + bytes(11)


def test_changed_blocks(sim: Any, sr: Any, vdi: str) -> None:
    sim.call("VDI.enable_cbt", vdi)
    first = sim.call("VDI.snapshot", vdi)
    write(sim, vdi, 9 * 65536, b"x")
    second = sim.call("VDI.snapshot", vdi)
    bitmap = base64.b64decode(sim.call("VDI.list_changed_blocks", first, second))
    assert bitmap == bytes([0, 0b01000000]) + bytes(14), "8 MiB are 128 blocks of 64 KiB, one bit each"
    sim.call("VDI.data_destroy", first)
    assert sim.call("VDI.get_type", first) == "cbt_metadata"
    assert sim.refused("VDI.clone", first) == ["VDI_INCOMPATIBLE_TYPE", first, "cbt_metadata"]
    assert base64.b64decode(sim.call("VDI.list_changed_blocks", first, second)) == bitmap
    assert sim.refused("VDI.enable_cbt", second) == ["OPERATION_NOT_ALLOWED", f"VDI is a snapshot: {second}"]
    assert sim.refused("VDI.data_destroy", vdi) == ["OPERATION_NOT_ALLOWED", f"VDI is not a snapshot: {vdi}"]


@pytest.mark.parametrize("op", ["destroy", "forget", "update", "resize"])
def test_a_vdi_in_use(sim: Any, vdi: str, make_vm: Any, op: str) -> None:
    vbd = sim.call("VBD.create", vbd_record(make_vm(power_state="Running"), vdi))
    sim.call("VBD.plug", vbd)
    args = [16 * MIB] if op == "resize" else []
    assert sim.refused(f"VDI.{op}", vdi, *args) == ["VDI_IN_USE", vdi, op]
    assert sorted(sim.call("VDI.get_allowed_operations", vdi)) == ["clone", "snapshot"]
    sim.call("VBD.unplug", vbd)
    assert op in sim.call("VDI.get_allowed_operations", vdi)


def test_destroy_takes_the_vbds_along(sim: Any, vdi: str, make_vm: Any) -> None:
    vm = make_vm(suspend_VDI=vdi)
    vbd = sim.call("VBD.create", vbd_record(vm, vdi))
    sim.call("VDI.destroy", vdi)
    assert sim.refused("VBD.get_record", vbd) == ["HANDLE_INVALID", "VBD", vbd]
    assert sim.call("VM.get_suspend_VDI", vm) == NULL


def test_forget_and_find_again(sim: Any, sr: Any, vdi: str) -> None:
    write(sim, vdi, 0, b"survives")
    record = sim.call("VDI.get_record", vdi)
    sim.call("VDI.forget", vdi)
    assert vdi not in sim.call("VDI.get_all")
    sim.call("SR.scan", sr("nfs"))
    again = sim.call("VDI.get_by_uuid", record["uuid"])
    assert again != vdi
    assert read(sim, again, 0, 8) == b"survives"
    assert sim.call("VDI.get_name_label", again) == "disk"


def introduce(uuid: str, sr_ref: str, location: str) -> list[Any]:
    return ["VDI.introduce", uuid, "name", "", sr_ref, "user", False, False, {}, location]


def test_introduce(sim: Any, sr: Any) -> None:
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    assert sim.refused(*introduce(uuid, sr("nfs"), "x")) == ["SR_OPERATION_NOT_SUPPORTED", sr("nfs")]
    ref = sim.call(*introduce(uuid, sr("dummy"), "here"))
    assert sim.call("VDI.get_uuid", ref) == uuid
    other = "11234567-89ab-cdef-0123-456789abcdef"
    assert sim.refused(*introduce(other, sr("dummy"), "here")) == ["LOCATION_NOT_UNIQUE", sr("dummy"), "here"]
    assert sim.refused(*introduce("nonsense", sr("dummy"), "there")) == ["UUID_INVALID", "VDI", "nonsense"]


def test_udev_finds_its_devices_and_changes_none(sim: Any, sr: Any) -> None:
    sim.call("SR.scan", sr("paths"))
    records = [sim.call("VDI.get_record", ref) for ref in sim.call("SR.get_VDIs", sr("paths"))]
    assert {r["location"]: r["virtual_size"] for r in records} == BACKENDS["udev"]["/dev/legs"]
    leg = sim.call("VDI.get_by_uuid", records[0]["uuid"])
    assert sim.call("VDI.get_allowed_operations", leg) == ["copy", "forget", "update"]
    for op in ("destroy", "snapshot", "clone"):
        expected = ["SR_OPERATION_NOT_SUPPORTED", sr("paths")]
        assert sim.refused(f"VDI.{op}", leg) == expected


def test_a_vanished_device_loses_its_record(sim: Any, sr: Any, make_vm: Any) -> None:
    sim.call("SR.scan", sr("paths"))
    (ref,) = [r for r in sim.call("SR.get_VDIs", sr("paths")) if sim.call("VDI.get_location", r).endswith("leg-b")]
    vbd = sim.call("VBD.create", vbd_record(make_vm(), ref))
    devices = sim.pool.backends["udev"]["/dev/legs"]
    size = devices.pop("/dev/legs/leg-b")
    sim.call("SR.scan", sr("paths"))
    assert ref not in sim.call("SR.get_VDIs", sr("paths"))
    assert vbd not in sim.call("VBD.get_all")
    devices["/dev/legs/leg-b"] = size
    sim.call("SR.scan", sr("paths"))
    assert len(sim.call("SR.get_VDIs", sr("paths"))) == 2


def test_pool_migrate(sim: Any, sr: Any, vdi: str, make_vm: Any) -> None:
    assert sim.refused("VDI.pool_migrate", vdi, sr("iscsi"), {}) == ["VDI_NEEDS_VM_FOR_MIGRATE", vdi]
    write(sim, vdi, 0, b"moves")
    vbd = sim.call("VBD.create", vbd_record(make_vm(power_state="Running"), vdi))
    sim.call("VBD.plug", vbd)
    error = sim.refused("VDI.pool_migrate", vdi, sr("paths"), {})
    assert error == ["SR_DOES_NOT_SUPPORT_MIGRATION", sr("paths"), "VDI_SNAPSHOT;VDI_MIRROR"]
    new = sim.call("VDI.pool_migrate", vdi, sr("iscsi"), {})
    assert new != vdi
    assert sim.call("VBD.get_VDI", vbd) == new
    assert sim.call("VDI.get_SR", new) == sr("iscsi")
    assert read(sim, new, 0, 5) == b"moves"
    assert vdi not in sim.call("VDI.get_all")
