# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VBDs over the wire: devices, hotplug, sharing, CDs."""

from __future__ import annotations

from typing import Any

import pytest

from unit.xapisim.storage.records import NULL, vbd_record, vdi_record


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
    made = [sim.call("VBD.create", vbd_record(vm, vdi)) for _unused in range(2)]
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
        one, two = (sim.call("VBD.create", vbd_record(make_vm(power_state="Running"), disk)) for _unused in range(2))
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
