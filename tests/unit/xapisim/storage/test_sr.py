# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SRs and PBDs over the wire: device_config, lives, secrets, probes, dead hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from unit.xapisim.storage.records import GIB, read, vbd_record, vdi_record, write


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
    code, _unused, text, xml = probe(sim, hosts[0], "lvmoiscsi", target="10.9.8.7")
    assert (code, text) == ("SR_BACKEND_FAILURE_96", "The request is missing or has an incorrect target IQN parameter")
    (target,) = ElementTree.fromstring(xml).iter("TGT")
    assert target.findtext("IPAddress") == "10.9.8.7"
    iqn = target.findtext("TargetIQN") or ""
    code, _unused, _unused, xml = probe(sim, hosts[0], "lvmoiscsi", target="10.9.8.7", targetIQN=iqn)
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
    code, _unused, _unused, xml = probe(sim, hosts[0], "nfs", server="filer")
    assert code == "SR_BACKEND_FAILURE_101"
    assert [path.text for path in ElementTree.fromstring(xml).iter("Path")] == ["/export/a"]
    code, _unused, _unused, xml = probe(sim, hosts[0], "lvmohba")
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


def test_trim(sim: Any, sr: Any) -> None:
    host = sim.call("host.get_all")[0]
    lvm, nfs = sr("iscsi"), sr("nfs")

    def trim(ref: str) -> str:
        return sim.call("host.call_plugin", host, "trim", "do_trim", {"sr_uuid": sim.call("SR.get_uuid", ref)})

    assert trim(lvm) == "True"
    assert "trim_last_triggered" in sim.call("SR.get_other_config", lvm)
    assert "<key>errcode</key><value>UnsupportedSRForTrim</value>" in trim(nfs)
    assert sim.refused("host.call_plugin", host, "trim", "do_trim", {}) == ["XENAPI_PLUGIN_FAILURE", "do_trim", "KeyError", "'sr_uuid'"]
