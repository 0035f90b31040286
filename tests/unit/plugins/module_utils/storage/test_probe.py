# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents of storage drivers, and the walk through them, without a pool."""
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.storage.probe import Discovery, choices, decode
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError

DEVSCAN = """<?xml version="1.0" ?>
<Devlist>
\t<Adapter><host>host1</host><name>qlogic</name></Adapter>
\t<BlockDevice>
\t\t<path>
\t\t\t/dev/mapper/3600a
\t\t</path>
\t\t<SCSIid>
\t\t\t3600a
\t\t</SCSIid>
\t\t<vendor>
\t\t\tNETAPP
\t\t</vendor>
\t\t<serial/>
\t\t<size>
\t\t\t10737418240B
\t\t</size>
\t\t<lun>
\t\t\t3
\t\t</lun>
\t</BlockDevice>
\t<BlockDevice><path>/dev/sdx</path><SCSIid>3600a</SCSIid></BlockDevice>
\t<BlockDevice><path>/dev/sr0</path><SCSIid/></BlockDevice>
</Devlist>"""


def failure(text: str, number: int = 107) -> XapiError:
    return XapiError(f"SR_BACKEND_FAILURE_{number}", ["", "something is missing", text])


def test_decode() -> None:
    assert decode("<SRlist><SR><UUID>u1</UUID><Devlist>/dev/sda</Devlist></SR><SR/></SRlist>") == (
        "SRlist", [{"UUID": "u1", "Devlist": "/dev/sda"}, {}])
    assert decode("debug output\n<SRlist/>") == ("SRlist", [])
    for text in ("", "no XML", "<broken", "<other/>"):
        assert decode(text) is None


def test_fibre_channel_as_devscan_writes_it() -> None:
    """White space around every value, adapters among the devices, the same LUN by two paths, a drive without an identifier."""
    def probe(config: dict[str, str]) -> str:
        if "SCSIid" not in config:
            raise failure(DEVSCAN, 90)
        return "<SRlist/>"

    (lun,) = Discovery("lvmohba", probe, {}, "srs").run({})["luns"]
    assert lun == {
        "scsi_id": "3600a", "lun": 3, "size": 10 << 30, "vendor": "NETAPP", "serial": "", "device": "/dev/mapper/3600a",
        "device_config": {"SCSIid": "3600a"}, "srs": [], "error": None}


def test_a_target_that_lets_nobody_in_does_not_hide_the_others() -> None:
    def tgt(iqn: str, address: str) -> str:
        return f"<TGT><Index>0</Index><IPAddress>{address}</IPAddress><TargetIQN>{iqn}</TargetIQN></TGT>"

    asked = []

    def probe(config: dict[str, str]) -> str:
        asked.append(config)
        if "targetIQN" not in config:
            raise failure(f"<iscsi-target-iqns>{tgt('b', '10.0.0.1')}{tgt('a', '10.0.0.1')}{tgt('a', '10.0.0.2')}{tgt('*', '10.0.0.1')}"
                          "</iscsi-target-iqns>", 96)
        if config["targetIQN"] == "b":
            raise XapiError("SR_BACKEND_FAILURE_68", ["", "ISCSI login failed", ""])
        raise failure("<iscsi-target><LUN><LUNid>1</LUNid><SCSIid>s1</SCSIid></LUN></iscsi-target>")

    found = Discovery("lvmoiscsi", probe, {}, "luns").run({"target": "10.0.0.1", "chapuser": "me", "chappassword": "hidden"})["targets"]
    assert [target["iqn"] for target in found] == ["a", "b"]
    assert found[0]["portals"] == [{"address": "10.0.0.1", "port": 3260}, {"address": "10.0.0.2", "port": 3260}]
    assert found[0]["luns"][0]["device_config"] == {
        "target": "10.0.0.1,10.0.0.2", "chapuser": "me", "targetIQN": "a", "SCSIid": "s1"}, "no secrets"
    assert found[0]["luns"][0]["srs"] is None, "not so deep"
    assert "login failed" in found[1]["error"]
    assert len(asked) == 3


def test_srs_of_a_complete_configuration() -> None:
    text = "<SRlist><SR><UUID>u1</UUID></SR><SR><UUID>u1</UUID></SR><SR><UUID>u2</UUID></SR></SRlist>"
    assert Discovery("lvm", lambda config: text, {"u2": "mine"}, "srs").run({"device": "/dev/sdb"}) == {
        "srs": [{"uuid": "u1", "name": None, "known": False}, {"uuid": "u2", "name": "mine", "known": True}]}


def test_other_failures_are_told() -> None:
    def probe(config: dict[str, str]) -> str:
        raise XapiError("SR_BACKEND_FAILURE_141", ["", "Unable to connect", ""])

    with pytest.raises(XapiError, match="does not answer"):
        choices(probe, {})
