# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VDI, VBD, SR and PBD over the wire: records, and refusals with codes and parameters in XAPI's order."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

NULL = "OpaqueRef:NULL"
MIB, GIB = 1 << 20, 1 << 30
SRS = [
    {"name": "nfs", "type": "nfs", "shared": True, "device_config": {"server": "nas", "serverpath": "/one"}},
    {"name": "iscsi", "type": "lvmoiscsi", "shared": True, "size": 40 * GIB, "device_config": {"target": "san"}},
    {"name": "isos", "type": "iso", "shared": True, "isos": ["tools.iso"]},
    {"name": "paths", "type": "udev", "shared": True, "device_config": {"location": "/dev/legs"}},
    {"name": "dummy", "type": "dummy", "host": "alpha-1"},
]
BACKENDS = {
    "udev": {"/dev/legs": {"/dev/legs/leg-a": 4 * GIB, "/dev/legs/leg-b": 2 * GIB}},
    "nfs": {"filer": ["/export/a"]},
}


@pytest.fixture(scope="module")
def sim(start: Callable[..., Any]) -> Any:
    return start({"pools": [{"name": "alpha", "templates": "none", "srs": SRS, "backends": BACKENDS}]})


@pytest.fixture
def sr(sim: Any) -> Callable[[str], str]:
    return lambda name: sim.call("SR.get_by_name_label", name)[0]


@pytest.fixture
def hosts(sim: Any) -> list[str]:
    return [sim.call("host.get_by_name_label", name)[0] for name in ("alpha-1", "alpha-2")]


def vdi_record(sr_ref: str, **fields: Any) -> dict[str, Any]:
    base = {"name_label": "disk", "SR": sr_ref, "virtual_size": 8 * MIB, "type": "user", "sharable": False}
    return {**base, "read_only": False, "other_config": {}, **fields}


def vbd_record(vm: str, vdi: str, **fields: Any) -> dict[str, Any]:
    base = {"VM": vm, "VDI": vdi, "userdevice": "autodetect", "bootable": False, "mode": "RW", "type": "Disk"}
    more = {"empty": vdi == NULL, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}}
    return {**base, **more, **fields}


@pytest.fixture
def vdi(sim: Any, sr: Any) -> str:
    return sim.call("VDI.create", vdi_record(sr("nfs")))


@pytest.fixture
def make_vm(sim: Any, hosts: list[str]) -> Callable[..., str]:
    """VM rows in any state, whatever it takes to bring a guest there."""

    def make(**fields: Any) -> str:
        with sim.pool.lock:
            values = {"name_label": "guest", "power_state": "Halted", "domain_type": "pv", **fields}
            if values["power_state"] == "Running":
                values.setdefault("resident_on", hosts[0])
            return sim.pool.db.create("VM", **values).ref

    return make


def write(sim: Any, vdi_ref: str, offset: int, data: bytes) -> None:
    with sim.pool.lock:
        sim.pool.disks.write(sim.pool.db.row("VDI", vdi_ref).uuid, offset, data)


def read(sim: Any, vdi_ref: str, offset: int, length: int) -> bytes:
    with sim.pool.lock:
        return sim.pool.disks.read(sim.pool.db.row("VDI", vdi_ref).uuid, offset, length)


# -- VDI


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


# -- VBD


@pytest.mark.parametrize(
    ("userdevice", "kept"),
    [("autodetect", "0"), ("255", "255"), ("-1", "-1"), ("xvdf", "xvdf"), ("0x10", "0x10"), ("hdb", "hdb")],
)
def test_userdevices_that_are_accepted(sim: Any, vdi: str, make_vm: Any, userdevice: str, kept: str) -> None:
    """More facts, 7."""
    ref = sim.call("VBD.create", vbd_record(make_vm(), vdi, userdevice=userdevice))
    record = sim.call("VBD.get_record", ref)
    assert (record["userdevice"], record["device"], record["currently_attached"]) == (kept, "", False)


@pytest.mark.parametrize(("taken", "wanted"), [("0", "0"), ("0", "xvda"), ("0", "hda"), ("xvdd", "3"), ("5", "xvdf")])
def test_one_device_by_several_names(sim: Any, vdi: str, make_vm: Any, taken: str, wanted: str) -> None:
    vm = make_vm()
    sim.call("VBD.create", vbd_record(vm, vdi, userdevice=taken))
    error = sim.refused("VBD.create", vbd_record(vm, vdi, userdevice=wanted))
    assert error == ["DEVICE_ALREADY_EXISTS", wanted]


def test_autodetect_skips_what_is_taken(sim: Any, vdi: str, make_vm: Any) -> None:
    vm = make_vm()
    for device in ("0", "xvdb", "3"):
        sim.call("VBD.create", vbd_record(vm, vdi, userdevice=device))
    made = [sim.call("VBD.create", vbd_record(vm, vdi)) for _ in range(2)]
    assert [sim.call("VBD.get_userdevice", ref) for ref in made] == ["2", "4"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"userdevice": "nonsense!"}, ["INVALID_DEVICE", "nonsense!"]),
        ({"type": "CD"}, ["VBD_CDS_MUST_BE_READONLY"]),
        ({"VDI": NULL, "empty": True}, ["VBD_NOT_REMOVABLE_MEDIA", "in constructor"]),
        ({"VDI": "OpaqueRef:no"}, ["HANDLE_INVALID", "VDI", "OpaqueRef:no"]),
        ({"VM": "OpaqueRef:no"}, ["HANDLE_INVALID", "VM", "OpaqueRef:no"]),
    ],
)
def test_vbd_create_refused(sim: Any, vdi: str, make_vm: Any, fields: dict[str, Any], error: list[str]) -> None:
    assert sim.refused("VBD.create", {**vbd_record(make_vm(), vdi), **fields}) == error


def test_read_only_vdis(sim: Any, sr: Any, make_vm: Any) -> None:
    sealed = sim.call("VDI.create", vdi_record(sr("nfs"), read_only=True))
    assert sim.refused("VBD.create", vbd_record(make_vm(), sealed)) == ["VDI_READONLY", sealed]
    sim.call("VBD.create", vbd_record(make_vm(), sealed, mode="RO"))


def test_hotplug(sim: Any, vdi: str, make_vm: Any) -> None:
    vm = make_vm(power_state="Running")
    vbd = sim.call("VBD.create", vbd_record(vm, vdi, userdevice="1"))
    assert sim.refused("VBD.unplug", vbd) == ["DEVICE_ALREADY_DETACHED", vbd]
    assert "plug" in sim.call("VBD.get_allowed_operations", vbd)
    sim.call("VBD.plug", vbd)
    record = sim.call("VBD.get_record", vbd)
    assert (record["currently_attached"], record["device"]) == (True, "xvdb")
    assert {"unplug", "unplug_force"} <= set(record["allowed_operations"])
    assert sim.refused("VBD.plug", vbd) == ["DEVICE_ALREADY_ATTACHED", vbd]
    uuids = record["uuid"], sim.call("VM.get_uuid", vm)
    text = "VBD '{}' still attached to '{}'".format(*uuids)
    assert sim.refused("VBD.destroy", vbd) == ["OPERATION_NOT_ALLOWED", text]
    sim.call("VBD.unplug", vbd)
    sim.call("VBD.destroy", vbd)


@pytest.mark.parametrize(
    ("state", "call", "error"),
    [
        ("Halted", "plug", ["VM_BAD_POWER_STATE", "VM", "running", "halted"]),
        ("Paused", "unplug", ["VM_BAD_POWER_STATE", "VM", "running", "paused"]),
        ("Running", "insert", ["VBD_NOT_REMOVABLE_MEDIA", "VBD"]),
        ("Running", "eject", ["VBD_NOT_REMOVABLE_MEDIA", "VBD"]),
        ("Running", "set_mode", ["VM_BAD_POWER_STATE", "VM", "halted", "running"]),
    ],
)
def test_vbd_refusals(sim: Any, vdi: str, make_vm: Any, state: str, call: str, error: list[str]) -> None:
    vm = make_vm(power_state=state)
    vbd = sim.call("VBD.create", vbd_record(vm, vdi))
    more = {"insert": [vdi], "set_mode": ["RO"]}.get(call, [])
    assert sim.refused(f"VBD.{call}", vbd, *more) == [{"VM": vm, "VBD": vbd}.get(word, word) for word in error]


def test_unpluggable_false_and_missing_drivers(sim: Any, vdi: str, make_vm: Any) -> None:
    vm = make_vm(power_state="Running")
    vbd = sim.call("VBD.create", vbd_record(vm, vdi, unpluggable=False))
    sim.call("VBD.plug", vbd)
    assert sim.refused("VBD.unplug", vbd) == ["VBD_NOT_UNPLUGGABLE", vbd]
    hvm = make_vm(power_state="Running", domain_type="hvm")
    other = sim.call("VBD.create", vbd_record(hvm, vdi, mode="RO"))
    assert sim.refused("VBD.plug", other) == ["VM_MISSING_PV_DRIVERS", hvm]


def test_a_disk_is_not_shared_by_accident(sim: Any, sr: Any, vdi: str, make_vm: Any) -> None:
    shared = sim.call("VDI.create", vdi_record(sr("nfs"), sharable=True))
    for disk, error in ((vdi, ["VDI_IN_USE", vdi]), (shared, None)):
        one, two = (sim.call("VBD.create", vbd_record(make_vm(power_state="Running"), disk)) for _ in range(2))
        sim.call("VBD.plug", one)
        if error:
            assert sim.refused("VBD.plug", two) == error
            assert sim.refused("VBD.assert_attachable", two) == error
        else:
            sim.call("VBD.plug", two)
    assert sim.refused("VDI.snapshot", shared) == ["VDI_IS_SHARABLE", shared]


def test_cd_drives(sim: Any, sr: Any, vdi: str, make_vm: Any) -> None:
    """More facts, 8: RW on a CD, and a disk of an ordinary SR in a CD drive, are accepted."""
    iso = sim.call("SR.get_VDIs", sr("isos"))[0]
    vm = make_vm()
    drive = sim.call("VBD.create", vbd_record(vm, NULL, type="CD", mode="RO", userdevice="3"))
    assert sim.refused("VBD.eject", drive) == ["VBD_IS_EMPTY", drive]
    sim.call("VBD.insert", drive, iso)
    assert (sim.call("VBD.get_VDI", drive), sim.call("VBD.get_empty", drive)) == (iso, False)
    assert sim.refused("VBD.insert", drive, iso) == ["VBD_NOT_EMPTY", drive]
    sim.call("VBD.eject", drive)
    assert (sim.call("VBD.get_VDI", drive), sim.call("VBD.get_empty", drive)) == (NULL, True)
    sim.call("VBD.insert", drive, vdi)
    sim.call("VBD.set_mode", drive, "RW")
    suspended = make_vm(power_state="Suspended")
    other = sim.call("VBD.create", vbd_record(suspended, NULL, type="CD", mode="RO"))
    assert sim.refused("VBD.insert", other, iso) == ["VM_BAD_POWER_STATE", suspended, "halted, running", "suspended"]


def test_lost_storage_fails_on_attach(sim: Any, sr: Any, vdi: str, make_vm: Any) -> None:
    vbd = sim.call("VBD.create", vbd_record(make_vm(power_state="Running"), vdi))
    sim.pool.faults.sr_lost.add(sr("nfs"))
    try:
        code, empty, text, stderr = sim.refused("VBD.plug", vbd)
        assert (code, empty, stderr) == ("SR_BACKEND_FAILURE_46", "", "")
        assert text.startswith("The VDI is not available [opterr=")
    finally:
        sim.pool.faults.clear()
    sim.call("VBD.plug", vbd)


# -- SR and PBD


def create(host: str, config: dict[str, str], kind: str, shared: bool = False, size: int = 0) -> list[Any]:
    return ["SR.create", host, config, size, "new", "", kind, "user", shared, {}]


@pytest.mark.parametrize(
    ("kind", "config", "number", "text"),
    [
        ("lvm", {}, 90, "The request is missing the device parameter"),
        ("ext", {"device": "sdb"}, 91, "The device is not a valid path [opterr=path is sdb]"),
        ("ext", {"device": "/dev/x.invalid"}, 19, "No such device [opterr=Device /dev/x.invalid does not exist]"),
        ("nfs", {}, 102, "The request is missing the server parameter"),
        ("nfs", {"server": "nas"}, 101, "The request is missing the serverpath parameter"),
        ("nfs", {"server": "no.invalid", "serverpath": "/"}, 73, "NFS mount error"),
        ("nfs", {"server": "filer", "serverpath": "/else"}, 73, "NFS mount error"),
        ("nfs", {"server": "nas", "serverpath": "/", "nfsversion": "5"}, 72, "Required NFS server version unsupported"),
        ("iso", {}, 94, "The request is missing the location parameter"),
        ("iso", {"location": "nowhere"}, 225, "Incorrect Location string format."),
        ("iso", {"location": "no.invalid:/isos"}, 222, "Could not mount the directory"),
        ("smb", {"server": r"\\no.invalid\share"}, 111, "SMB mount error"),
        ("udev", {}, 94, "The request is missing the location parameter"),
        ("file", {}, 94, "The request is missing the location parameter"),
        ("lvmoiscsi", {}, 95, "The request is missing the target parameter"),
        ("lvmoiscsi", {"target": "san.invalid", "targetIQN": "iqn", "SCSIid": "1"}, 141, "Unable to connect to ISCSI"),
        (
            "lvmoiscsi",
            {"target": "san", "port": "0", "targetIQN": "iqn", "SCSIid": "1"},
            142,
            "Incorrect value for iSCSI",
        ),
        ("glusterfs", {}, 102, "The request is missing the server parameter"),
        ("linstor", {}, 115, "Not all required parameters specified."),
    ],
)
def test_sr_create_checks_device_config(
    sim: Any, hosts: list[str], kind: str, config: dict[str, str], number: int, text: str
) -> None:
    before = set(sim.call("SR.get_all")), set(sim.call("PBD.get_all"))
    error = sim.refused(*create(hosts[0], config, kind))
    assert error[:2] == [f"SR_BACKEND_FAILURE_{number}", ""]
    assert error[2].startswith(text)
    assert (set(sim.call("SR.get_all")), set(sim.call("PBD.get_all"))) == before, "nothing half made is left"


def test_sr_create_refused(sim: Any, hosts: list[str]) -> None:
    good = {"device": "/dev/sdz"}
    assert sim.refused(*create("OpaqueRef:no", good, "lvm")) == ["HOST_OFFLINE", "OpaqueRef:no"]
    assert sim.refused(*create(hosts[0], good, "LvmX")) == ["SR_UNKNOWN_DRIVER", "lvmx"]
    ref = sim.call(*create(hosts[0], good, "LVM"))
    assert sim.call("SR.get_type", ref) == "lvm"
    assert sim.refused(*create(hosts[0], good, "ext")) == ["SR_DEVICE_IN_USE"]
    other = sim.call(*create(hosts[1], good, "ext"))
    for each in (ref, other):
        for pbd in sim.call("SR.get_PBDs", each):
            sim.call("PBD.unplug", pbd)
        sim.call("SR.destroy", each)


def test_a_shared_sr_is_attached_everywhere(sim: Any, hosts: list[str]) -> None:
    ref = sim.call(*create(hosts[1], {"server": "nas", "serverpath": "/two"}, "nfs", shared=True))
    pbds = [sim.call("PBD.get_record", pbd) for pbd in sim.call("SR.get_PBDs", ref)]
    assert {pbd["host"]: pbd["currently_attached"] for pbd in pbds} == dict.fromkeys(hosts, True)
    record = sim.call("SR.get_record", ref)
    assert (record["shared"], record["physical_size"] > 0, record["physical_utilisation"]) == (True, True, 0)
    assert {"vdi_create", "scan", "unplug"} <= set(record["allowed_operations"])
    assert not {"destroy", "forget", "vdi_introduce"} & set(record["allowed_operations"])


def test_a_local_sr_is_attached_on_its_host_only(sim: Any, hosts: list[str]) -> None:
    ref = sim.call(*create(hosts[1], {"device": "/dev/sdy"}, "lvm"))
    (pbd,) = sim.call("SR.get_PBDs", ref)
    assert sim.call("PBD.get_host", pbd) == hosts[1]
    more = sim.call("PBD.create", {"host": hosts[0], "SR": ref, "device_config": {"device": "/dev/sdy"}})
    assert sim.refused("PBD.plug", more) == ["SR_NOT_SHARABLE", ref, hosts[1]]
    again = {"host": hosts[0], "SR": ref, "device_config": {}}
    assert sim.refused("PBD.create", again) == ["PBD_EXISTS", ref, hosts[0], more]
    assert set(sim.refused("SR.set_shared", ref, False)) == {"SR_HAS_MULTIPLE_PBDS", pbd, more}


def test_passwords_become_secrets(sim: Any, hosts: list[str]) -> None:
    config = {"server": r"\\filer\share", "username": "u", "password": "opensesame"}
    ref = sim.call(*create(hosts[0], config, "smb", shared=True))
    uuids = set()
    for pbd in sim.call("SR.get_PBDs", ref):
        shown = sim.call("PBD.get_device_config", pbd)
        assert "password" not in shown
        secret = sim.call("secret.get_by_uuid", shown["password_secret"])
        assert sim.call("secret.get_value", secret) == "opensesame"
        uuids.add(shown["password_secret"])
        sim.call("PBD.unplug", pbd)
    assert len(uuids) == 2, "each PBD has a secret of its own"
    sim.call("SR.forget", ref)
    assert not uuids & {r["uuid"] for r in sim.call("secret.get_all_records").values()}


def test_the_life_of_an_sr(sim: Any, hosts: list[str], make_vm: Any) -> None:
    ref = sim.call(*create(hosts[0], {"device": "/dev/sdx"}, "ext"))
    (pbd,) = sim.call("SR.get_PBDs", ref)
    vdi = sim.call("VDI.create", vdi_record(ref))
    assert sim.refused("SR.destroy", ref) == ["SR_HAS_PBD", ref]
    assert sim.refused("SR.forget", ref) == ["SR_HAS_PBD", ref]
    assert sim.refused("PBD.destroy", pbd) == ["OPERATION_NOT_ALLOWED", "PBD is currently attached"]
    vbd = sim.call("VBD.create", vbd_record(make_vm(power_state="Running"), vdi))
    sim.call("VBD.plug", vbd)
    assert sim.refused("PBD.unplug", pbd) == ["VDI_IN_USE", vdi]
    sim.call("VBD.unplug", vbd)
    sim.call("PBD.unplug", pbd)
    sim.call("PBD.unplug", pbd)
    for call in (("VDI.create", vdi_record(ref)), ("VDI.resize", vdi, GIB), ("SR.scan", ref), ("VDI.destroy", vdi)):
        assert sim.refused(*call) == ["SR_HAS_NO_PBDS", ref]
    assert sim.refused("SR.destroy", ref) == ["SR_NOT_EMPTY"]
    sim.call("PBD.plug", pbd)
    sim.call("PBD.plug", pbd)
    sim.call("VDI.destroy", vdi)
    sim.call("SR.add_to_other_config", ref, "indestructible", "true")
    sim.call("PBD.unplug", pbd)
    assert sim.refused("SR.destroy", ref) == ["SR_INDESTRUCTIBLE", ref]
    sim.call("SR.remove_from_other_config", ref, "indestructible")
    sim.call("SR.destroy", ref)
    assert pbd not in sim.call("PBD.get_all")


def test_forget_introduce_and_attach_again(sim: Any, hosts: list[str]) -> None:
    ref = sim.call(*create(hosts[0], {"device": "/dev/sdw"}, "ext"))
    vdi = sim.call("VDI.create", vdi_record(ref, name_label="precious"))
    write(sim, vdi, 7, b"data")
    uuid, vdi_uuid = sim.call("SR.get_uuid", ref), sim.call("VDI.get_uuid", vdi)
    sim.call("PBD.unplug", sim.call("SR.get_PBDs", ref)[0])
    sim.call("SR.forget", ref)
    assert vdi not in sim.call("VDI.get_all")
    again = sim.call("SR.introduce", uuid, "back", "", "ext", "user", False, {})
    assert sim.refused("SR.introduce", uuid, "", "", "ext", "user", False, {}) == ["SR_UUID_EXISTS", uuid]
    assert sim.refused("SR.introduce", "", "", "", "no", "user", False, {}) == ["SR_UNKNOWN_DRIVER", "no"]
    record = sim.call("SR.get_record", again)
    assert (record["physical_size"], record["physical_utilisation"], record["PBDs"]) == (-1, -1, [])
    assert sim.refused("SR.destroy", again) == ["SR_HAS_NO_PBDS", again]
    pbd = sim.call("PBD.create", {"host": hosts[0], "SR": again, "device_config": {"device": "/dev/sdw"}})
    assert not sim.call("PBD.get_currently_attached", pbd)
    sim.call("PBD.plug", pbd)
    found = sim.call("VDI.get_by_uuid", vdi_uuid)
    assert (sim.call("VDI.get_name_label", found), read(sim, found, 7, 4)) == ("precious", b"data")


def test_a_plug_that_fails_leaves_the_sr(sim: Any, hosts: list[str]) -> None:
    ref = sim.call("SR.introduce", "", "gone", "", "nfs", "user", True, {})
    config = {"server": "no.invalid", "serverpath": "/x"}
    pbd = sim.call("PBD.create", {"host": hosts[0], "SR": ref, "device_config": config})
    assert sim.refused("PBD.plug", pbd)[0] == "SR_BACKEND_FAILURE_73"
    assert not sim.call("PBD.get_currently_attached", pbd)
    error = sim.refused("PBD.create", {"host": hosts[1], "SR": ref, "device_config": {"SRmaster": "true"}})
    assert error == ["VALUE_NOT_SUPPORTED", "SRmaster", "true", "This key is for internal use only"]
    sim.call("SR.forget", ref)


def probe(sim: Any, host: str, kind: str, **config: str) -> list[str]:
    return sim.refused("SR.probe", host, config, kind, {})


def test_the_probe_of_lvmoiscsi(sim: Any, hosts: list[str]) -> None:
    code, _, text, xml = probe(sim, hosts[0], "lvmoiscsi", target="10.9.8.7")
    assert (code, text) == ("SR_BACKEND_FAILURE_96", "The request is missing or has an incorrect target IQN parameter")
    (target,) = ElementTree.fromstring(xml).iter("TGT")
    assert target.findtext("IPAddress") == "10.9.8.7"
    iqn = target.findtext("TargetIQN") or ""
    code, _, _, xml = probe(sim, hosts[0], "lvmoiscsi", target="10.9.8.7", targetIQN=iqn)
    assert code == "SR_BACKEND_FAILURE_107"
    (lun,) = ElementTree.fromstring(xml).iter("LUN")
    config = {"target": "10.9.8.7", "targetIQN": iqn, "SCSIid": lun.findtext("SCSIid") or ""}
    empty = ElementTree.fromstring(sim.call("SR.probe", hosts[0], config, "lvmoiscsi", {}))
    assert (empty.tag, list(empty)) == ("SRlist", [])
    ref = sim.call(*create(hosts[0], config, "lvmoiscsi", shared=True))
    assert sim.refused(*create(hosts[0], config, "lvmoiscsi", shared=True)) == ["SR_DEVICE_IN_USE"]
    found = ElementTree.fromstring(sim.call("SR.probe", hosts[1], config, "lvmoiscsi", {}))
    assert [sr.findtext("UUID") for sr in found.iter("SR")] == [sim.call("SR.get_uuid", ref)]


def test_other_probes(sim: Any, hosts: list[str]) -> None:
    code, _, _, xml = probe(sim, hosts[0], "nfs", server="filer")
    assert code == "SR_BACKEND_FAILURE_101"
    assert [path.text for path in ElementTree.fromstring(xml).iter("Path")] == ["/export/a"]
    code, _, _, xml = probe(sim, hosts[0], "lvmohba")
    assert code == "SR_BACKEND_FAILURE_107"
    assert len(list(ElementTree.fromstring(xml).iter("BlockDevice"))) == 1
    assert probe(sim, hosts[0], "nonsense") == ["SR_UNKNOWN_DRIVER", "nonsense"]
    assert probe(sim, "OpaqueRef:no", "nfs") == ["HOST_OFFLINE", "OpaqueRef:no"]
    assert sim.refused("SR.probe_ext", hosts[0], {}, "nfs", {}) == ["SR_OPERATION_NOT_SUPPORTED"]
    xml = sim.call("SR.probe", hosts[0], {"device": "/dev/sda3"}, "ext", {})
    assert len(list(ElementTree.fromstring(xml).iter("SR"))) == 1


def test_drivers(sim: Any) -> None:
    types = sim.call("SR.get_supported_types")
    records = {r["type"]: r for r in sim.call("SM.get_all_records").values()}
    assert set(records) == set(types) >= {"lvm", "ext", "nfs", "iso", "lvmoiscsi", "lvmohba", "udev", "smb"}
    assert records["nfs"]["features"]["VDI_RESET_ON_BOOT"] == 2
    assert "VDI_GENERATE_CONFIG" not in records["lvm"]["features"], "a local lvm SR holds no HA statefile"


def test_storage_of_a_dead_host(start: Callable[..., Any]) -> None:
    sim = start({"pools": [{"name": "dying", "templates": "none", "srs": []}]})
    slave = sim.call("host.get_by_name_label", "dying-2")[0]
    pbd = next(p for p in sim.call("host.get_PBDs", slave))
    sr_ref = sim.call("PBD.get_SR", pbd)
    with sim.pool.lock:
        sim.pool.crash(sim.pool.db.row("host", slave))
    assert sim.refused("VDI.create", vdi_record(sr_ref)) == ["CANNOT_CONTACT_HOST", slave]
    with sim.pool.lock:
        sim.pool.set_live(sim.pool.db.row("host", slave), False)
    assert sim.refused("VDI.create", vdi_record(sr_ref)) == ["HOST_OFFLINE", slave]
    assert sim.refused("PBD.unplug", pbd) == ["HOST_OFFLINE", slave]
