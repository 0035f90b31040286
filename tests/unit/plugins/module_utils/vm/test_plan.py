# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module vm plans for a guest that is there, and for its end."""
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError
from ansible_collections.nobloat.xen.plugins.module_utils.vm.plan import plan_vm
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import Ambiguous, NotFound, XapiError
from vm_fakes import GIB, Recorder, disk, drive, nic, options, template, vdi, vm, world

METRICS = {"ref": "metrics", "PV_drivers_detected": True, "networks": {}}


def run(pool, **given):
    recorder = Recorder()
    changes, _guest = plan_vm(options(**given), recorder, pool)
    changes.apply()
    return changes, recorder.calls


def refused(pool, match, error=ValueError, **given):
    with pytest.raises(error, match=match):
        plan_vm(options(**given), Recorder(), pool)


def test_omitted_options_plan_nothing():
    changes, calls = run(world(vm(), vbds=[disk("vm1", 0, "d0"), drive("vm1")], vdis=[vdi("d0")], vifs=[nic("vm1", 0)]))
    assert not changes.changed
    assert not calls
    assert changes.before == changes.after


def test_equal_options_plan_nothing():
    changes, _calls = run(
        world(vm(tags=["a"]), vbds=[disk("vm1", 0, "d0"), drive("vm1")], vdis=[vdi("d0")], vifs=[nic("vm1", 0)]),
        memory="1024MiB", vcpus=1, tags=["a"], boot_order=["disk", "cdrom"], firmware="bios", secure_boot=False, affinity="", cdrom="",
        disks=[{"size": "1GiB", "name": "d0", "sr": "sr1", "mode": "rw"}], nics=[{"network": "net1", "mac": "02-00-00-00-00-00"}],
        auto_poweron=False, purge=True,
    )
    assert not changes.changed


def test_names_belong_to_guests_only():
    pool = world(template("web"), vm("snap", name_label="web", is_a_snapshot=True, is_a_template=True), vm("g", name_label="web"))
    changes, _calls = run(pool, name="web", vcpus=2)
    assert changes.before["uuid"] == "uuid-g"


def test_an_ambiguous_name_lists_candidates():
    with pytest.raises(Ambiguous) as caught:
        plan_vm(options("web", vcpus=2), Recorder(), world(vm("a", name_label="web"), vm("b", name_label="web")))
    assert [item["uuid"] for item in caught.value.candidates] == ["uuid-a", "uuid-b"]


def test_a_guest_that_is_not_there_needs_a_source():
    refused(world(), "no guest", NotFound, name="web")


class TestMemoryAndVcpus:
    def test_a_halted_guest_gets_a_range_of_one(self):
        changes, calls = run(world(vm()), memory="4GiB")
        assert calls == [("VM.set_memory_limits", "vm1", GIB // 2, 4 * GIB, 4 * GIB, 4 * GIB)]
        assert (changes.after["memory"], changes.after["memory_max"]) == ("4GiB", "4GiB")

    def test_less_than_it_can_have_is_refused(self):
        refused(world(vm()), "needs 512MiB .*at least", memory="256MiB")
        refused(world(vm(memory_static_min=0)), "no guest starts with less than 16MiB", memory="0")
        refused(world(vm(power_state="Running", memory_static_max=4 * GIB)), "needs 512MiB", memory="511MiB")
        assert run(world(vm(memory_static_min=GIB // 4)), memory="256MiB")[1]

    def test_a_running_guest_moves_inside_its_range(self):
        _changes, calls = run(world(vm(power_state="Running", memory_static_max=4 * GIB)), memory="2GiB")
        assert calls == [("VM.set_memory_dynamic_range", "vm1", 2 * GIB, 2 * GIB)]

    def test_beyond_its_range_it_needs_a_restart(self):
        pool = world(vm(power_state="Running"))
        refused(pool, "memory.*halted.*allow_restart", memory="2GiB")
        changes, calls = run(pool, memory="2GiB", allow_restart=True)
        assert [call[0] for call in calls] == ["VM.clean_shutdown", "VM.set_memory_limits", "VM.start"]
        assert changes.after["power_state"] == "running"

    def test_memory_max_alone(self):
        assert run(world(vm()), memory_max="4GiB")[1] == [("VM.set_memory_limits", "vm1", GIB // 2, 4 * GIB, GIB, GIB)]
        refused(world(vm()), "memory_max", memory="4GiB", memory_max="2GiB")

    @pytest.mark.parametrize(
        ("live", "wanted", "calls"),
        [
            ((1, 1), {"vcpus": 4}, [("VM.set_VCPUs_max", "vm1", 4), ("VM.set_VCPUs_at_startup", "vm1", 4)]),
            ((4, 4), {"vcpus": 2}, [("VM.set_VCPUs_at_startup", "vm1", 2)]),
            ((4, 4), {"vcpus": 2, "vcpus_max": 2}, [("VM.set_VCPUs_at_startup", "vm1", 2), ("VM.set_VCPUs_max", "vm1", 2)]),
        ],
    )
    def test_startup_never_passes_max(self, live, wanted, calls):
        assert run(world(vm(VCPUs_at_startup=live[0], VCPUs_max=live[1])), **wanted)[1] == calls

    def test_vcpus_of_a_running_guest(self):
        pool = world(vm(power_state="Running", VCPUs_max=4))
        assert [call[0] for call in run(pool, vcpus=2)[1]] == ["VM.set_VCPUs_number_live", "VM.set_VCPUs_at_startup"]
        refused(pool, "vcpus.*allow_restart", vcpus=8)
        refused(pool, "vcpus_max", vcpus=0)


class TestBootAndTexts:
    def test_boot_order_firmware_and_secure_boot(self):
        changes, calls = run(world(vm()), boot_order=["network", "disk"], firmware="uefi", secure_boot=True, platform={"viridian": True})
        assert calls == [
            ("VM.add_to_HVM_boot_params", "vm1", "firmware", "uefi"),
            ("VM.remove_from_HVM_boot_params", "vm1", "order"),
            ("VM.add_to_HVM_boot_params", "vm1", "order", "nc"),
            ("VM.add_to_platform", "vm1", "device-model", "qemu-upstream-uefi"),
            ("VM.add_to_platform", "vm1", "secureboot", "true"),
            ("VM.add_to_platform", "vm1", "viridian", "true"),
        ]
        assert (changes.after["firmware"], changes.after["secure_boot"]) == ("uefi", True)

    def test_boot_order_in_capitals_is_the_same(self):
        assert not run(world(vm(HVM_boot_params={"order": "CD"})), boot_order=["disk", "cdrom"])[1]

    def test_secure_boot_that_is_left_to_the_pool_is_neither(self):
        pool = world(vm(HVM_boot_params={"firmware": "uefi"}, platform={"secureboot": "auto"}))
        assert run(pool, memory="1GiB")[0].after["secure_boot"] is None
        changes, calls = run(pool, secure_boot=False)
        assert calls[-1] == ("VM.add_to_platform", "vm1", "secureboot", "false")
        assert changes.after["secure_boot"] is False

    @pytest.mark.parametrize("platform", [{"secureboot": "auto"}, {"device-model": None}])
    def test_what_xapi_replaces_at_each_start_is_refused(self, platform):
        refused(world(vm()), "whenever the guest starts", platform=platform)

    def test_secure_boot_without_uefi_is_refused(self):
        refused(world(vm()), "uefi", secure_boot=True)

    def test_auto_poweron_is_a_key_of_other_config(self):
        _changes, calls = run(world(vm(other_config={"mac_seed": "s", "old": "1"})), auto_poweron=True, other_config={"new": 1}, purge=True)
        assert calls == [
            ("VM.add_to_other_config", "vm1", "auto_poweron", "true"), ("VM.add_to_other_config", "vm1", "new", "1"),
            ("VM.remove_from_other_config", "vm1", "old"),
        ]

    def test_affinity_by_name_and_cleared(self):
        assert run(world(vm()), affinity="host1")[1] == [("VM.set_affinity", "vm1", "host1")]
        assert run(world(vm(affinity="host1")), affinity="")[1] == [("VM.set_affinity", "vm1", "OpaqueRef:NULL")]


class TestDisks:
    @pytest.mark.parametrize(("live", "same"), [(5122, 5121), (5122, 5122), (5124, 5121)])
    def test_a_size_that_the_storage_has_rounded_is_the_same(self, live, same):
        pool = world(vm(), vbds=[disk("vm1", 0, "d0")], vdis=[vdi("d0", live << 20), vdi("spare", live << 20)])
        assert not run(pool, disks=[{"size": f"{same}MiB"}])[1]
        assert [call[0] for call in run(pool, disks=[{"device": 1, "vdi": "spare", "size": f"{same}MiB"}])[1]] == ["VBD.create"]

    def test_sizes_are_asked_for_in_blocks(self):
        pool = world(vm(), vbds=[disk("vm1", 0, "d0")], vdis=[vdi("d0", 5122 << 20)])
        changes, calls = run(pool, disks=[{"size": "5123MiB"}, {"size": "1MiB"}])
        assert calls[0] == ("VDI.resize", "d0", 5124 << 20)
        assert calls[1][1]["virtual_size"] == 2 << 20
        assert [item["size"] for item in changes.after["disks"]] == ["5124MiB", "2MiB"]
        refused(pool, "cannot shrink", disks=[{"size": "5118MiB"}])

    @pytest.mark.parametrize("size", ["0", "0GiB", ""])
    def test_no_disk_has_size_0(self, size):
        refused(world(vm()), "disk 0 .*cannot have size 0|not a size", disks=[{"size": size}])

    def test_merge_by_device_adds_and_grows(self):
        pool = world(vm(), vbds=[disk("vm1", 0, "d0")], vdis=[vdi("d0")])
        changes, calls = run(pool, disks=[{"device": 0, "size": "2GiB"}, {"device": 1, "size": "5GiB", "sr": "sr2"}])
        assert calls[0] == ("VDI.resize", "d0", 2 * GIB)
        assert [call[0] for call in calls] == ["VDI.resize", "VDI.create", "VBD.create", "VDI.set_name_label"]
        assert calls[1][1]["name_label"] == "nobloat.xen.making:disk of uuid-vm1"
        assert calls[3][2] == "vm1 disk 1"
        assert calls[1][1]["SR"] == "sr2"
        assert changes.after["disks"][1] == {
            "device": 1, "name": "vm1 disk 1", "size": "5GiB", "sr": "sr2", "mode": "rw", "bootable": False,
        }

    def test_what_a_broken_off_run_has_left_is_used(self):
        mark = "nobloat.xen.making:disk of uuid-vm1"
        pool = world(vm(), vdis=[
            vdi("left", name_label=mark), vdi("other", sr="sr2", name_label=mark), vdi("big", 9 * GIB, name_label=mark),
        ])
        changes, calls = run(pool, disks=[{"device": 0, "size": "2GiB"}])
        assert [call[:2] for call in calls] == [
            ("VDI.resize", "left"), ("VBD.create", calls[1][1]), ("VDI.set_name_label", "left"),
        ]
        assert calls[1][1]["VDI"] == "left"
        assert changes.half_made

    def test_a_disk_that_was_attached_gets_the_name_that_a_broken_off_run_owes_it(self):
        pool = world(vm(), vbds=[disk("vm1", 0, "d0")], vdis=[vdi("d0", name_label="nobloat.xen.making:disk of uuid-vm1")])
        assert run(pool, disks=[{"device": 0}])[1] == [("VDI.set_name_label", "d0", "vm1 disk 0")]

    def test_what_a_human_has_unplugged_stays_so(self):
        running = {"power_state": "Running", "guest_metrics": "metrics"}

        def calls(**fields):
            pool = world(vm(**running), metrics=[METRICS], vbds=[disk("vm1", 0, "d0", **fields)], vdis=[vdi("d0")])
            return [call[0] for call in run(pool, disks=[{"device": 0}])[1]]

        assert calls() == []
        assert calls(other_config={"nobloat.xen.making": "to be plugged"}) == ["VBD.plug", "VBD.remove_from_other_config"]

    def test_others_stay_unless_purged(self):
        pool = world(vm(), vbds=[disk("vm1", 0, "d0"), disk("vm1", 1, "d1")], vdis=[vdi("d0"), vdi("d1")])
        assert not run(pool, disks=[{"device": 0}])[1]
        assert run(pool, disks=[{"device": 0}], purge=True)[1] == [("VBD.destroy", "vbd-vm1-1")]
        assert run(pool, disks=[])[1] == [("VBD.destroy", "vbd-vm1-0"), ("VBD.destroy", "vbd-vm1-1")]

    @pytest.mark.parametrize(
        ("disks", "match"),
        [
            ([{"size": "1MiB"}], "shrink"),
            ([{"sr": "sr2"}], "does not move"),
            ([{"device": 1}], "give the size"),
            ([{"device": 1, "size": "1GiB"}, {"device": 1, "size": "2GiB"}], "two entries"),
            ([{"device": 3, "size": "1GiB"}], "CD drive"),
            ([{"device": 255, "size": "1GiB"}], "0 to 254"),
            ([{"vdi": "free", "device": 0}], "detach it first"),
            ([{"vdi": "free", "device": 1, "size": "9GiB"}], "module vdi"),
            ([{"device": 1, "size": "1GiB", "sr": "isos"}], "ISO"),
            ([{"device": 1, "size": "much"}], "not a size"),
        ],
    )
    def test_what_cannot_be_is_refused_first(self, disks, match):
        pool = world(vm(), vbds=[disk("vm1", 0, "d0"), drive("vm1")], vdis=[vdi("d0"), vdi("free")])
        refused(pool, match, disks=disks)

    def test_a_missing_sr_is_told(self):
        refused(world(vm()), "no SR .*'nowhere'", NotFound, disks=[{"size": "1GiB", "sr": "nowhere"}])
        refused(world(vm(), default_sr="OpaqueRef:NULL"), "no default SR", disks=[{"size": "1GiB"}])

    def test_an_existing_vdi_is_attached_and_found_again(self):
        changes, calls = run(world(vm(), vdis=[vdi("data")]), disks=[{"vdi": "data", "mode": "ro"}])
        assert calls[0][:1] == ("VBD.create",)
        assert calls[0][1]["other_config"] == {}
        assert changes.after["disks"][0]["vdi"] == "uuid-data"
        attached = world(vm(), vbds=[disk("vm1", 5, "data", mode="RO")], vdis=[vdi("data")])
        assert not run(attached, disks=[{"vdi": "data", "mode": "ro"}])[1]

    def test_hot_plug_needs_drivers(self):
        running = {"power_state": "Running", "guest_metrics": "metrics"}
        calls = run(world(vm(**running), metrics=[METRICS]), disks=[{"size": "1GiB"}])[1]
        assert [call[0] for call in calls] == [
            "VDI.create", "VBD.create", "VDI.set_name_label", "VBD.plug", "VBD.remove_from_other_config",
        ]
        refused(world(vm(power_state="Running")), "disks.*allow_restart", disks=[{"size": "1GiB"}])

    def test_growing_online_where_the_sr_can(self):
        def pool(*operations):
            return world(vm(power_state="Running"), vbds=[disk("vm1", 0, "d0")], vdis=[vdi("d0", allowed_operations=list(operations))])

        assert run(pool("resize_online"), disks=[{"size": "2GiB"}])[1] == [("VDI.resize_online", "d0", 2 * GIB)]
        refused(pool("resize"), "size", disks=[{"size": "2GiB"}])

    def test_a_failed_plug_takes_the_disk_back(self):
        recorder = Recorder(fail="VBD.plug")
        pool = world(vm(power_state="Running", guest_metrics="metrics"), metrics=[METRICS])
        changes, _guest = plan_vm(options(disks=[{"size": "1GiB"}]), recorder, pool)
        with pytest.raises(ApplyError) as caught:
            changes.apply()
        assert recorder.methods() == [
            "VDI.create", "VBD.create", "VDI.set_name_label", "VBD.plug", "VBD.destroy", "VDI.destroy",
        ]
        assert caught.value.leftovers == []


class TestCdrom:
    def test_insert_change_and_eject(self):
        iso, other = vdi("a.iso", sr="isos"), vdi("b.iso", sr="isos")
        empty = world(vm(), vbds=[drive("vm1")], vdis=[iso])
        full = world(vm(), vbds=[drive("vm1", 3, "b.iso")], vdis=[iso, other])
        assert run(empty, cdrom="a.iso")[1] == [("VBD.insert", "vbd-vm1-3", "a.iso")]
        assert [call[0] for call in run(full, cdrom="uuid-a.iso")[1]] == ["VBD.eject", "VBD.insert"]
        assert run(full, cdrom="")[0].after["cdrom"] == ""
        assert not run(full, cdrom="b.iso")[1]

    def test_a_drive_is_added(self):
        changes, calls = run(world(vm(), vdis=[vdi("a.iso", sr="isos")]), cdrom="a.iso")
        assert (calls[0][1]["userdevice"], calls[0][1]["type"], calls[0][1]["mode"]) == ("3", "CD", "RO")
        assert changes.after["cdrom"] == "a.iso"

    def test_what_is_no_disc_is_refused(self):
        refused(world(vm(), vdis=[vdi("data")]), "no disc", cdrom="data")
        refused(world(vm()), "ISO image", NotFound, cdrom="none.iso")


class TestNics:
    def test_merge_by_device(self):
        pool = world(vm(), vifs=[nic("vm1", 0)])
        changes, calls = run(pool, nics=[{"device": 1, "network": "net2", "mac": "02:00:00:AA:BB:CC", "rate": 100}])
        assert [call[0] for call in calls] == ["VIF.create"]
        assert calls[0][1] | {"MTU": 9000, "MAC": "02:00:00:aa:bb:cc", "qos_algorithm_params": {"kbps": "100"}} == calls[0][1]
        assert [item["device"] for item in changes.after["nics"]] == [0, 1]

    def test_another_network_is_a_move_even_while_running(self):
        pool = world(vm(power_state="Running"), vifs=[nic("vm1", 0, currently_attached=True)])
        assert run(pool, nics=[{"network": "net2"}])[1] == [("VIF.move", "vif-vm1-0", "net2")]

    def test_another_mac_replaces_and_keeps_the_rest(self):
        pool = world(vm(), vifs=[nic("vm1", 0, other_config={"mtu": "9000", "promiscuous": "true"})])
        calls = run(pool, nics=[{"mac": "02-00-00-00-77-AA"}])[1]
        assert [call[0] for call in calls] == ["VIF.destroy", "VIF.create"]
        assert (calls[1][1]["MAC"], calls[1][1]["MTU"]) == ("02:00:00:00:77:aa", 9000)
        assert calls[1][1]["other_config"] == {"mtu": "9000", "promiscuous": "true"}
        same = world(vm(), vifs=[nic("vm1", 0, MAC="02:00:00:00:77:AA")])
        assert not run(same, nics=[{"mac": "02:00:00:00:77:aa"}])[1]

    def test_the_mtu_is_a_key_of_other_config_whatever_the_field_says(self):
        changes, calls = run(world(vm(), vifs=[nic("vm1", 0)]), nics=[{"mtu": 9000}])
        assert calls == [("VIF.add_to_other_config", "vif-vm1-0", "mtu", "9000")]
        assert changes.after["nics"][0]["mtu"] == 9000
        jumbo = world(vm(), vifs=[nic("vm1", 0, other_config={"mtu": "9000"})])
        assert not run(jumbo, nics=[{"mtu": 9000}])[1]
        changes, calls = run(jumbo, nics=[{"mtu": 0}])
        assert calls == [("VIF.remove_from_other_config", "vif-vm1-0", "mtu")]
        assert changes.after["nics"][0]["mtu"] == 1500
        # The field of a NIC that was plugged long ago: its network has another MTU since.
        assert not run(world(vm(), vifs=[nic("vm1", 0, network="net2")]), nics=[{"mtu": 9000}])[1]
        created = run(world(vm()), nics=[{"network": "net1", "mtu": 9000}])[1][0][1]
        assert created["other_config"] == {"mtu": "9000"}

    def test_a_running_guest_gets_another_mtu_by_plugging_again(self):
        running = {"power_state": "Running", "guest_metrics": "metrics"}
        metrics = [{"ref": "metrics", "PV_drivers_detected": True}]
        pool = world(vm(**running), vifs=[nic("vm1", 0, currently_attached=True)], metrics=metrics)
        assert [call[:1] + call[2:3] for call in run(pool, nics=[{"mtu": 9000}])[1]] == [
            ("VIF.add_to_other_config", "nobloat.xen.making"), ("VIF.unplug",), ("VIF.add_to_other_config", "mtu"), ("VIF.plug",),
            ("VIF.remove_from_other_config", "nobloat.xen.making"),
        ]
        refused(world(vm(power_state="Running"), vifs=[nic("vm1", 0, currently_attached=True)]), "nics.*halted", nics=[{"mtu": 9000}])

    def test_rate_is_set_and_lifted(self):
        limited = {"qos_algorithm_type": "ratelimit", "qos_algorithm_params": {"kbps": "100", "timeslice": "50"}}
        pool = world(vm(), vifs=[nic("vm1", 0, **limited)])
        assert not run(pool, nics=[{"rate": 100}])[1]
        assert not run(pool, nics=[{"network": "net1"}])[1]
        changes, calls = run(pool, nics=[{"rate": 0}])
        assert calls == [
            ("VIF.remove_from_qos_algorithm_params", "vif-vm1-0", "kbps"), ("VIF.set_qos_algorithm_type", "vif-vm1-0", ""),
        ]
        assert changes.after["nics"][0]["rate"] is None

    def test_purge_and_empty_remove(self):
        pool = world(vm(), vifs=[nic("vm1", 0), nic("vm1", 1)])
        assert run(pool, nics=[{"device": 0}], purge=True)[1] == [("VIF.destroy", "vif-vm1-1")]
        assert len(run(pool, nics=[])[1]) == 2

    @pytest.mark.parametrize(
        ("nics", "match"),
        [([{"mac": "01:00:00:00:00:01"}], "MAC"), ([{"mac": "xyz"}], "MAC"), ([{}, {}], "which network"), ([{"device": 16}], "0 to 15"),
         ([{"mtu": 67}], "out of range")],
    )
    def test_what_cannot_be_is_refused_first(self, nics, match):
        refused(world(vm(), vifs=[nic("vm1", 0)]), match, nics=nics)


class TestRestart:
    """A restart is planned only where the guest would start again; one that fails all the same gives back what was there."""

    def running(self, **fields):
        return vm(power_state="Running", resident_on="host0", **fields)

    def test_every_setting_is_taken_back_newest_first_and_the_guest_started(self):
        recorder = Recorder(fail="VM.start")
        guest = self.running(VCPUs_max=2)
        pool = world(guest, vbds=[disk("vm1", 0, "d0")], vdis=[vdi("d0")], vifs=[nic("vm1", 0)])
        changes, _guest = plan_vm(options(
            memory="2GiB", vcpus=4, firmware="uefi", affinity="host1", tags=["a"], allow_restart=True,
            disks=[{"device": 0, "mode": "ro", "name": "new", "bootable": True}], nics=[{"rate": 5, "mac": "02:00:00:00:00:99"}]),
            recorder, pool)
        with pytest.raises(ApplyError, match=r"VM.start fails") as caught:
            changes.apply()
        failed = recorder.methods().index("VM.start")
        back = recorder.calls[failed + 1:]
        assert [call[0] for call in back] == [
            "VIF.destroy", "VIF.create", "VBD.set_bootable", "VBD.set_mode", "VDI.set_name_label", "VM.set_affinity",
            "VM.remove_from_platform", "VM.remove_from_HVM_boot_params", "VM.set_VCPUs_at_startup", "VM.set_VCPUs_max",
            "VM.set_memory_limits", "VM.remove_tags", "VM.start"]
        assert back[2:] == [
            ("VBD.set_bootable", "vbd-vm1-0", False), ("VBD.set_mode", "vbd-vm1-0", "RW"), ("VDI.set_name_label", "d0", "d0"),
            ("VM.set_affinity", "vm1", "OpaqueRef:NULL"), ("VM.remove_from_platform", "vm1", "device-model"),
            ("VM.remove_from_HVM_boot_params", "vm1", "firmware"), ("VM.set_VCPUs_at_startup", "vm1", 1), ("VM.set_VCPUs_max", "vm1", 2),
            ("VM.set_memory_limits", "vm1", GIB // 2, GIB, GIB, GIB), ("VM.remove_tags", "vm1", "a"), ("VM.start", "vm1", False, False)]
        # The recorder fails each start; what cannot be taken back is named.
        assert caught.value.leftovers == ["guest vm1 is halted (VM.start fails)"]

    def test_memory_has_to_fit_somewhere(self):
        pool = world(self.running())
        refused(pool, "would not start again.*host0 has 17.0 GiB.*host1 has 16.0 GiB", memory="40GiB", allow_restart=True)
        # Its own host has what it gives back.
        assert run(pool, memory="16GiB", allow_restart=True)[1][0][0] == "VM.clean_shutdown"
        pool.room = {}
        refused(pool, "no host is alive and enabled", memory="2GiB", allow_restart=True)

    def test_xens_own_part_counts(self):
        pool = world(self.running())
        pool.room = {"host0": {**pool.room["host0"], "free": GIB}}
        # 2 GiB need (256 + 2 * 2048) pages of shadow memory, 38 more for the VCPU, and 2 MiB.
        refused(pool, "has 2.0 GiB of memory for it, and it needs 2.0 GiB", memory="2GiB", allow_restart=True)
        assert run(pool, memory="2036MiB", allow_restart=True)[1]

    def test_other_hosts_are_asked_for_what_else_they_lack(self):
        recorder = Recorder()
        recorder.answers["VM.assert_can_boot_here", "vm1", "host1"] = XapiError("VM_REQUIRES_SR", ("vm1", "sr1"))
        pool = world(self.running())
        pool.room["host0"]["free"] = 0
        with pytest.raises(ValueError, match=r"host0 has 1.0 GiB.*host1 cannot run it"):
            plan_vm(options(memory="4GiB", allow_restart=True), recorder, pool)
        recorder.answers.clear()
        assert plan_vm(options(memory="4GiB", allow_restart=True), recorder, pool)[0].changed
        refused(pool, "host1 has 16 CPUs, and vcpus_max is 20", memory="4GiB", vcpus=20, allow_restart=True)

    def test_new_disks_and_nics_have_to_be_in_reach(self):
        given = {"disks": [{"device": 1, "size": "1GiB", "sr": "sr2"}], "nics": [{"device": 1, "network": "net2"}], "allow_restart": True}
        pool = world(self.running(), vbds=[disk("vm1", 0, "d0")], vdis=[vdi("d0")])
        assert plan_vm(options(**given), Recorder(), pool)[0].changed
        recorder = Recorder()
        recorder.places["PBD"]["sr2"]["currently_attached"] = False
        recorder.places["PIF"] = {"pif": {"network": "net2", "host": "host1"}}
        with pytest.raises(ValueError, match="host0 does not have SR sr2, network net2; host1 does not have SR sr2"):
            plan_vm(options(**given), recorder, pool)

    @pytest.mark.parametrize("operation", ["start", "clean_shutdown", "changing_memory_limits"])
    def test_what_is_blocked_is_refused_first(self, operation):
        refused(world(self.running(blocked_operations={operation: "ask Ann"})), "blocked.*ask Ann", XapiError,
                memory="2GiB", allow_restart=True)

    def test_a_guest_that_cannot_be_asked_is_left_alone(self):
        refused(world(self.running(allowed_operations=["hard_shutdown"])), "guest tools", memory="2GiB", allow_restart=True)

    @pytest.mark.parametrize("power_state", ["Running", "Halted"])
    def test_sockets_have_to_be_whole(self, power_state):
        pool = world(vm(power_state=power_state, resident_on="host0", VCPUs_max=4, platform={"cores-per-socket": "2"}))
        refused(pool, "cores-per-socket 2.*vcpus_max, 5", vcpus=5, allow_restart=True)
        refused(pool, "cores-per-socket 3.*vcpus_max, 4", platform={"cores-per-socket": 3})
        assert run(pool, vcpus=6, platform={"cores-per-socket": 3}, allow_restart=True)[1]
        odd = world(vm(VCPUs_max=3, platform={"cores-per-socket": "2"}))
        assert run(odd, memory="2GiB")[1]  # not our doing


class TestAbsent:
    POOL = {"vbds": [disk("vm1", 0, "own"), disk("vm1", 1, "shared"), drive("vm1", 3, "iso")],
            "vdis": [vdi("own", VBDs=["vbd-vm1-0"]), vdi("shared", VBDs=["vbd-vm1-1", "elsewhere"]), vdi("iso", sr="isos")]}

    def test_disks_stay_by_default(self):
        changes, calls = run(world(vm(), **self.POOL), state="absent")
        assert calls == [("VM.destroy", "vm1")]
        assert changes.after == {}

    def test_only_own_disks_are_destroyed(self):
        assert run(world(vm(), **self.POOL), state="absent", delete_disks=True)[1] == [("VDI.destroy", "own"), ("VM.destroy", "vm1")]

    def test_snapshots_go_with_the_disks(self):
        snapshot = vm("snap", is_a_snapshot=True, is_a_template=True, snapshot_of="vm1")
        pool = world(vm(snapshots=["snap"]), snapshot, vbds=[disk("vm1", 0, "own"), disk("snap", 0, "frozen")],
                     vdis=[vdi("own", VBDs=["vbd-vm1-0"]), vdi("frozen", VBDs=["vbd-snap-0"], is_a_snapshot=True)])
        assert [call[1] for call in run(pool, state="absent", delete_disks=True)[1]] == ["frozen", "own", "snap", "vm1"]

    def test_a_running_guest_needs_force(self):
        pool = world(vm(power_state="Running"))
        refused(pool, "is running.*force", state="absent")
        assert [call[0] for call in run(pool, state="absent", force=True)[1]] == ["VM.hard_shutdown", "VM.destroy"]

    @pytest.mark.parametrize("fields", [
        {"blocked_operations": {"destroy": "ask Ann"}},
        {"blocked_operations": {"destroy": "ask Ann"}, "power_state": "Running"},
        {"blocked_operations": {"hard_shutdown": "ask Ann"}, "power_state": "Running"},
    ])
    def test_a_blocked_guest_loses_nothing(self, fields):
        refused(world(vm(**fields), **self.POOL), "blocked.*ask Ann", XapiError, state="absent", delete_disks=True, force=True)

    @pytest.mark.parametrize(("fields", "error", "match"), [
        ({"blocked_operations": {"destroy": "ask Ann"}}, XapiError, "blocked.*ask Ann"),
        ({"blocked_operations": {"hard_shutdown": "ask Ann"}, "power_state": "Suspended"}, XapiError, "blocked.*ask Ann"),
        ({"current_operations": {"task": "export"}}, ValueError, "snapshot snap of guest vm1 is busy .export"),
    ])
    def test_nor_does_one_whose_snapshot_is_protected(self, fields, error, match):
        snapshot = vm("snap", is_a_snapshot=True, is_a_template=True, snapshot_of="vm1", **fields)
        refused(world(vm(snapshots=["snap"]), snapshot, **self.POOL), match, error, state="absent", delete_disks=True)

    def test_nor_one_whose_disks_cannot_all_go(self):
        vbds = [disk("vm1", 0, "a"), disk("vm1", 1, "b")]

        def pool(**fields):
            return world(vm(), vbds=vbds, vdis=[vdi("a", VBDs=["vbd-vm1-0"]), vdi("b", VBDs=["vbd-vm1-1"], **fields)])

        refused(pool(allowed_operations=[]), "disk b of guest vm1: XAPI does not allow destroy", state="absent", delete_disks=True)
        refused(pool(current_operations={"task": "copy"}), "disk b of guest vm1 is busy", state="absent", delete_disks=True)
        refused(pool(SR="sr2"), "disk b of guest vm1 is on SR sr2, which no host has attached", state="absent", delete_disks=True)
        refused(world(vm(current_operations={"task": "clone"})), "guest vm1 is busy .clone", state="absent")

    def test_a_failure_tells_what_is_gone(self):
        recorder = Recorder(fail="VM.destroy")
        changes, _guest = plan_vm(options(state="absent", delete_disks=True), recorder, world(vm(), **self.POOL))
        with pytest.raises(ApplyError, match=r"VM.destroy fails. Already gone: disk own of guest vm1\.") as caught:
            changes.apply()
        assert caught.value.gone == ["disk own of guest vm1"]

    def test_what_is_not_there_is_absent(self):
        assert not run(world(), state="absent")[0].changed
