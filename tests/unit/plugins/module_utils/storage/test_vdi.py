# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError, ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.storage import vdi_plan
from ansible_collections.nobloat.xen.plugins.module_utils.storage.vdi import Disk, vdi_view
from ansible_collections.nobloat.xen.plugins.module_utils.storage.vdi_attach import plan_attach, plan_detach
from ansible_collections.nobloat.xen.plugins.modules.vdi import SPEC

MIB = 1 << 20
SR = {"ref": "sr", "name_label": "shared", "type": "nfs", "content_type": "user"}


def vdi(size=1024 * MIB, **fields):
    return {
        "ref": "vdi", "uuid": "uuid-vdi", "name_label": "data", "name_description": "", "tags": [], "other_config": {},
        "virtual_size": size, "type": "user", "read_only": False, "sharable": False, "allowed_operations": ["resize"], **fields,
    }


def vm(ref, power_state="Halted", **fields):
    return {"ref": ref, "uuid": f"uuid-{ref}", "name_label": ref, "power_state": power_state, "is_a_snapshot": False,
            "is_a_template": False, "is_control_domain": False, **fields}


def vbd(guest, device, disk="vdi", **fields):
    return {"ref": f"{guest}-{device}", "uuid": f"{guest}-{device}", "VM": guest, "VDI": disk, "userdevice": str(device), "mode": "RW",
            "bootable": False, "currently_attached": False, "unpluggable": True, "type": "Disk", "empty": False, "other_config": {},
            "qos_algorithm_type": "", "qos_algorithm_params": {}, "allowed_operations": ["unplug"], "current_operations": {}, **fields}


def disk(*vbds, guest=None, vms=(), **fields):
    all_vms = {each["ref"]: each for each in (*vms, *([guest] if guest else []))}
    return Disk(vdi(**fields), SR, guest, {each["ref"]: each for each in vbds}, all_vms)


class Module:
    """Stands for XapiModule: notes calls."""

    fail = ""

    def __init__(self, **params):
        self.params = {**dict.fromkeys(SPEC), "purge": False, **params}
        self.calls, self.noted = [], set()
        self.xapi = SimpleNamespace(call=self.run)

    def run(self, method, *args, last=False):
        self.calls.append((method, *args))
        if method == self.fail:
            raise ValueError(f"{method} fails")
        return "1073741824" if method == "VDI.get_virtual_size" else "made"

    def methods(self):
        return [call[0] for call in self.calls]


def change(of):
    return ChangeSet("VDI data", before=vdi_view(of))


def attach(of, **params):
    module, planned = Module(**params), change(of)
    plan_attach(module, planned, of, of.guest, {"ref": "vdi"})
    planned.apply()
    return module, planned


def test_a_halted_guest_gets_the_first_free_position_but_never_that_of_the_cd():
    guest = vm("one")
    module, planned = attach(disk(*[vbd("one", number, "other") for number in (0, 1, 2)], guest=guest))
    assert module.methods() == ["VBD.create"]
    assert module.calls[0][1]["userdevice"] == "4"
    assert planned.after["attached"] == [{"vm": "one", "device": 4, "mode": "rw", "bootable": False, "plugged": False}]


def test_a_running_guest_gets_it_plugged():
    module, planned = attach(disk(guest=vm("one", "Running")), device=7, mode="ro")
    assert module.methods() == ["VBD.create", "VBD.plug"]
    assert planned.after["attached"][0]["plugged"]


def test_what_is_attached_as_wanted_is_left_alone():
    guest = vm("one", "Running")
    module, planned = attach(disk(vbd("one", 1, currently_attached=True), guest=guest), device=1, mode="rw", bootable=False)
    assert not planned.changed
    assert module.calls == []


def test_one_that_came_loose_is_plugged_again():
    module, _planned = attach(disk(vbd("one", 1), guest=vm("one", "Running")))
    assert module.calls == [("VBD.plug", "one-1")]


@pytest.mark.parametrize(("of", "params", "text"), [
    (disk(vbd("two", 0), guest=vm("one"), vms=[vm("two")]), {}, "attached to two already"),
    (disk(guest=vm("one", "Suspended")), {}, "is suspended"),
    (disk(guest=vm("one"), read_only=True), {"mode": "rw"}, "read-only"),
    (disk(vbd("one", 4, "other"), guest=vm("one")), {"device": 4}, "something else at device 4"),
    (disk(guest=vm("one")), {"device": 255}, "out of range"),
    (disk(vbd("one", 4), guest=vm("one")), {"device": 5}, "is at device 4"),
    (disk(vbd("one", 4), guest=vm("one", "Running")), {"mode": "ro"}, "while the guest is halted"),
])
def test_what_cannot_be_attached(of, params, text):
    with pytest.raises(ValueError, match=text):
        attach(of, **params)


@pytest.mark.parametrize("of", [
    disk(vbd("two", 0), guest=vm("one"), vms=[vm("two")], sharable=True),
    disk(vbd("snapshot", 0), guest=vm("one"), vms=[vm("snapshot", is_a_snapshot=True)]),
])
def test_sharing_is_fine_where_nothing_can_break(of):
    module, _planned = attach(of)
    assert module.methods() == ["VBD.create"]


def test_readers_may_share():
    module, _planned = attach(disk(vbd("two", 0, mode="RO"), guest=vm("one"), vms=[vm("two")]), mode="ro")
    assert module.methods() == ["VBD.create"]


def detach(of):
    module, planned = Module(), change(of)
    plan_detach(module, planned, of)
    planned.apply()
    return module, planned


def test_detaching_unplugs_first_and_leaves_snapshots_alone():
    of = disk(
        vbd("one", 1, currently_attached=True), vbd("snapshot", 1), vms=[vm("one", "Running"), vm("snapshot", is_a_snapshot=True)]
    )
    module, planned = detach(of)
    assert module.calls == [("VBD.unplug", "one-1"), ("VBD.destroy", "one-1")]
    assert [each["vm"] for each in planned.after["attached"]] == ["snapshot"]


def test_detaching_from_one_guest_leaves_the_other():
    of = disk(vbd("one", 1), vbd("two", 1), guest=vm("one"), vms=[vm("two")], sharable=True)
    module, planned = detach(of)
    assert module.calls == [("VBD.destroy", "one-1")]
    assert [each["vm"] for each in planned.after["attached"]] == ["two"]


def test_a_failed_detaching_attaches_again():
    of = disk(vbd("one", 1, currently_attached=True), vbd("two", 1, "vdi"), vms=[vm("one", "Running"), vm("two")])
    module, planned = Module(), change(of)
    plan_detach(module, planned, of)
    planned.step("fail", lambda: module.run("fail"))
    module.fail = "fail"
    with pytest.raises(ApplyError) as error:
        planned.apply()
    assert module.methods() == ["VBD.unplug", "VBD.destroy", "VBD.destroy", "fail", "VBD.create", "VBD.create", "VBD.plug"]
    assert module.calls[4][1] | {"VM": "two", "VDI": "vdi", "userdevice": "1", "mode": "RW"} == module.calls[4][1]
    assert module.calls[6] == ("VBD.plug", "made")
    assert error.value.remains == {}


def test_what_xapi_does_not_allow_is_refused_first():
    for fields, match in (({"allowed_operations": []}, "does not allow unplug"), ({"current_operations": {"task": "plug"}}, "busy")):
        with pytest.raises(ValueError, match=match):
            detach(disk(vbd("one", 1, currently_attached=True, **fields), vms=[vm("one", "Running")]))


@pytest.mark.parametrize(("state", "operation"), [("absent", "destroy"), ("forgotten", "forget")])
def test_a_vdi_that_xapi_would_keep(state, operation):
    def remove(**fields):
        of = disk(current_operations=fields.pop("current", {}), **fields)
        module, planned = Module(state=state), change(of)
        vdi_plan._remove(module, planned, of)
        planned.apply()
        return module.calls

    assert remove(allowed_operations=[operation]) == [(f"VDI.{operation}", "vdi")]
    with pytest.raises(ValueError, match=f"does not allow {operation}"):
        remove(allowed_operations=["resize"])
    with pytest.raises(ValueError, match=r"busy .copy"):
        remove(allowed_operations=[operation], current={"task": "copy"})


def test_what_cannot_be_unplugged():
    with pytest.raises(ValueError, match="cannot be unplugged"):
        detach(disk(vbd("one", 1, currently_attached=True, unpluggable=False), vms=[vm("one", "Running")]))


def resize(of, size):
    module, planned = Module(), change(of)
    vdi_plan._resize(module, planned, of, size)
    planned.apply()
    return module, planned


def test_sizes_grow_in_whole_blocks():
    module, planned = resize(disk(size=512 * MIB), 1024 * MIB - 1)
    assert module.calls[0] == ("VDI.resize", "vdi", 1024 * MIB)
    assert planned.after["size"] == "1GiB"
    assert vdi_plan.rounded(1) == 2 * MIB


def test_what_xapi_only_reports_is_checked_and_never_set():
    for of, wanted in ((disk(), True), (disk(read_only=True), False)):
        with pytest.raises(ValueError, match=r"only reports.*mode ro"):
            vdi_plan._converge(Module(read_only=wanted), change(of), of, None)
    with pytest.raises(ValueError, match="only reports"):
        vdi_plan._make(Module(name="new", read_only=True), "VDI new", Disk(None, SR), 1024 * MIB)


@pytest.mark.parametrize("size", [1024 * MIB, 1024 * MIB - 1, 1020 * MIB + 1])
def test_what_a_driver_rounded_up_is_no_difference(size):
    _module, planned = resize(disk(size=1024 * MIB), size)
    assert not planned.changed


def test_it_never_shrinks():
    with pytest.raises(ValueError, match="cannot shrink"):
        resize(disk(size=1024 * MIB), 1020 * MIB)


def test_a_disk_in_use_grows_only_where_its_sr_can():
    of = disk(vbd("one", 0, currently_attached=True), vms=[vm("one", "Running")], size=512 * MIB)
    with pytest.raises(ValueError, match="in use by one"):
        resize(of, 1024 * MIB)
    of.vdi["allowed_operations"] = ["resize_online"]
    module, _planned = resize(of, 1024 * MIB)
    assert module.calls[0][0] == "VDI.resize_online"


def test_what_is_attached_is_not_destroyed():
    of = disk(vbd("one", 0), vbd("gold", 0), vms=[vm("one"), vm("gold", is_a_template=True)])
    with pytest.raises(ValueError, match="guest one, template gold"):
        vdi_plan._remove(Module(), change(of), of)
