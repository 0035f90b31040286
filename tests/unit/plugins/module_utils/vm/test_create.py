# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a guest is made."""
from __future__ import annotations

from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError
from ansible_collections.nobloat.xen.plugins.module_utils.vm.plan import plan_vm
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import NotFound
from vm_fakes import GIB, Recorder, disk, nic, options, template, vdi, vm, world

BLANK = '<provision><disk device="0" size="10737418240" sr="" bootable="true" type="system"/></provision>'


def make(pool, fail="", made=(), **given):
    recorder = Recorder(fail)
    recorder.made = {item["ref"]: item for item in made}
    changes, _guest = plan_vm(options("new", **given), recorder, pool)
    changes.apply()
    return changes, recorder


def provisioned(recorder):
    xml = next(call[3] for call in recorder.calls if call[0] == "VM.add_to_other_config" and call[2] == "disks")
    return [dict(item.attrib) for item in ElementTree.fromstring(xml)]


def test_a_blank_template_is_cloned_and_provisioned_in_few_calls():
    changes, recorder = make(
        world(template(disks=BLANK)), made=[disk("VM.clone-1", 0, "made")], template="template", memory="2GiB", vcpus=2,
        disks=[{"size": "20GiB", "name": "root", "sr": "sr2"}], nics=[{"network": "net1"}],
    )
    assert recorder.methods() == [
        "VM.clone", "VM.remove_from_other_config", "VM.add_to_other_config", "VM.provision",
        "VDI.set_name_label", "VM.set_memory_limits", "VM.set_VCPUs_max",
        "VM.set_VCPUs_at_startup", "VIF.create", "VM.set_name_label",
    ]
    # Nobody takes it for the guest before it is whole.
    assert recorder.calls[0] == ("VM.clone", "template", "nobloat.xen.making:new")
    assert recorder.calls[-1] == ("VM.set_name_label", "VM.clone-1", "new")
    assert provisioned(recorder) == [{"device": "0", "size": str(20 * GIB), "sr": "uuid-sr2", "bootable": "true", "type": "system"}]
    assert changes.before == {}
    assert "uuid" not in changes.after
    assert changes.after["disks"] == [{"device": 0, "name": "root", "size": "20GiB", "sr": "sr2", "mode": "rw", "bootable": True}]
    assert changes.after["nics"] == [{"device": 0, "network": "net1", "mtu": 1500, "rate": None}]
    assert changes.after["other_config"] == {"base_template_name": "template"}


def test_only_keys_that_differ_are_written_so_a_clone_keeps_the_mac_seed_that_xapi_gave_it():
    recorder = make(world(template(disks=BLANK)), made=[disk("x", 0, "made")], template="template", other_config={"team": "a"})[1]
    assert [call[2] for call in recorder.calls if "other_config" in call[0]] == ["disks", "disks", "team"]
    assert "VM.set_other_config" not in recorder.methods()


def test_the_clone_of_a_custom_template_says_from_which_it_came_in_the_beginning():
    source = template("golden")
    source["other_config"]["base_template_name"] = "Debian"
    assert make(world(source), template="golden")[0].after["other_config"] == {"base_template_name": "Debian"}


def test_the_default_sr_takes_what_names_none():
    recorder = make(world(template(disks=BLANK)), made=[disk("x", 0, "a"), disk("x", 1, "b")], template="template",
                    disks=[{"device": 1, "size": "1GiB"}])[1]
    assert [tuple(item[key] for key in ("device", "sr", "type")) for item in provisioned(recorder)] == [
        ("0", "uuid-sr1", "system"), ("1", "uuid-sr1", "user"),
    ]
    assert [call[2] for call in recorder.calls if call[0] == "VDI.set_name_label"] == ["new disk 0", "new disk 1"]


def test_blank_disks_are_asked_for_in_blocks():
    changes, recorder = make(world(template(disks=BLANK.replace("10737418240", "1048576"))), made=[disk("x", 0, "a"), disk("x", 1, "b")],
                             template="template", disks=[{"device": 1, "size": "5121MiB"}])
    assert [int(item["size"]) >> 20 for item in provisioned(recorder)] == [2, 5122]
    assert [item["size"] for item in changes.after["disks"]] == ["2MiB", "5122MiB"]


def test_a_new_guest_has_what_its_template_needs():
    for given, match in (({"memory": "256MiB"}, "needs 512MiB"), ({"disks": [{"size": "0"}]}, "size 0")):
        with pytest.raises(ValueError, match=match):
            plan_vm(options("new", template="template", **given), Recorder(), world(template(disks=BLANK)))


def test_purge_leaves_blank_disks_out():
    recorder = make(world(template(disks=BLANK)), template="template", disks=[])[1]
    assert recorder.methods() == ["VM.clone", "VM.remove_from_other_config", "VM.set_is_a_template", "VM.set_name_label"]
    assert recorder.calls[1] == ("VM.remove_from_other_config", "VM.clone-1", "disks")


CUSTOM = {"vbds": [disk("golden", 0, "gold"), disk("golden", 1, "silver")], "vdis": [vdi("gold"), vdi("silver")],
          "vifs": [nic("golden", 0)]}
CLONES = [disk("c", 0, "clone0", ref="vbd0"), disk("c", 1, "clone1", ref="vbd1")]


def test_a_template_with_disks_is_cloned_and_then_converged():
    changes, recorder = make(world(template("golden"), **CUSTOM), made=CLONES, template="golden", disks=[{"size": "2GiB", "name": "root"}])
    assert recorder.methods() == ["VM.clone", "VM.set_is_a_template", "VDI.set_name_label", "VDI.resize", "VM.set_name_label"]
    assert recorder.calls[2] == ("VDI.set_name_label", "clone0", "root")
    assert recorder.calls[3] == ("VDI.resize", "clone0", 2 * GIB)
    assert changes.after["disks"][1] == {"device": 1, "name": "silver", "size": "1GiB", "sr": "sr1", "mode": "rw", "bootable": False}
    assert changes.after["nics"] == [{"device": 0, "network": "net1", "mtu": 1500, "rate": None}]


def test_a_cloned_disk_that_is_purged_is_destroyed():
    recorder = make(world(template("golden"), **CUSTOM), made=CLONES, template="golden", disks=[{"device": 0}], purge=True)[1]
    assert recorder.calls[2:-1] == [("VBD.destroy", "vbd1"), ("VDI.destroy", "clone1")]


def test_a_full_copy_goes_to_the_sr():
    changes, recorder = make(world(template("golden"), **CUSTOM), template="golden", full_copy=True, sr="sr2")
    assert recorder.calls[0] == ("VM.copy", "golden", "nobloat.xen.making:new", "sr2")
    assert {item["sr"] for item in changes.after["disks"]} == {"sr2"}


def test_a_snapshot_is_a_source_and_one_with_memory_is_not():
    snapshot = vm("snap", is_a_template=True, is_a_snapshot=True, other_config={"disks": BLANK})
    assert make(world(snapshot), snapshot="snap")[1].methods()[0] == "VM.clone"
    with pytest.raises(ValueError, match="memory"):
        make(world({**snapshot, "power_state": "Suspended"}), snapshot="snap")


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"template": "no"}, NotFound, "no template"),
        ({"template": "vm1"}, NotFound, "no template"),
        ({"template": "template", "nics": [{"network": "no"}]}, NotFound, "no network"),
        ({"template": "template", "sr": "no"}, NotFound, "no SR"),
        ({"template": "template", "memory": "lots"}, ValueError, "not a size"),
        ({"template": "template", "affinity": "no"}, NotFound, "no host"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_made(given, error, match):
    with pytest.raises(error, match=match):
        plan_vm(options("new", **given), Recorder(), world(template(disks=BLANK), vm()))


def test_no_default_sr():
    with pytest.raises(ValueError, match="no default SR"):
        plan_vm(options("new", template="template"), Recorder(), world(template(disks=BLANK), default_sr="OpaqueRef:NULL"))


def test_a_failure_half_way_removes_the_guest_and_what_was_made_for_it():
    recorder = Recorder(fail="VIF.create")
    recorder.made = {item["ref"]: item for item in [disk("new", 0, "made"), disk("new", 1, "data")]}
    pool = world(template(disks=BLANK), vdis=[vdi("data")])
    changes, _guest = plan_vm(
        options("new", template="template", disks=[{"size": "1GiB"}, {"vdi": "data"}], nics=[{"network": "net1"}]), recorder, pool)
    with pytest.raises(ApplyError) as caught:
        changes.apply()
    assert recorder.calls[-3:] == [("VBD.destroy", "VBD.create-6"), ("VDI.destroy", "made"), ("VM.destroy", "VM.clone-1")]
    assert caught.value.leftovers == []


HALF = "nobloat.xen.making:new"


def half_made(**fields):
    return world(
        template(disks=BLANK), vm("half", name_label=HALF, is_a_template=True, **fields),
        vbds=[disk("half", 0, "made", other_config={"owner": ""}), disk("half", 1, "data", other_config={}),
              disk("half", 2, "shared", other_config={"owner": ""})],
        vdis=[vdi("made", VBDs=["vbd-half-0"]), vdi("data", VBDs=["vbd-half-1"]), vdi("shared", VBDs=["vbd-half-2", "another"])],
    )


def test_what_is_half_made_goes_with_the_disks_that_were_made_for_it_and_no_others():
    changes, recorder = make(half_made(), template="template", made=[disk("VM.clone-3", 0, "new")])
    assert recorder.calls[:3] == [("VDI.destroy", "made"), ("VM.destroy", "half"), ("VM.clone", "template", HALF)]
    assert changes.half_made
    assert changes.making == {"guest new"}


def test_it_goes_with_a_guest_that_is_not_wanted_any_more():
    recorder = Recorder()
    changes, _guest = plan_vm(options("new", state="absent"), recorder, half_made())
    changes.apply()
    assert recorder.calls == [("VDI.destroy", "made"), ("VM.destroy", "half")]


def test_what_somebody_has_started_stays():
    with pytest.raises(ValueError, match=r"half made.*Shut it down"):
        plan_vm(options("new", template="template"), Recorder(), half_made(power_state="Running"))


def test_a_guest_that_somebody_else_makes_meanwhile_wins():
    recorder = Recorder()
    theirs = {"theirs": vm("theirs", name_label="new")}
    recorder.session = lambda: SimpleNamespace(bulk=lambda method, *_args: theirs if method.startswith("VM.") else {})
    changes, _guest = plan_vm(options("new", template="template"), recorder, world(template()))
    with pytest.raises(ApplyError, match="somebody else"):
        changes.apply()
    assert recorder.methods() == ["VM.clone", "VM.set_is_a_template", "VM.destroy"]
