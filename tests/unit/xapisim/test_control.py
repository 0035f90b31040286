# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time, faults and deaths, asked for through the control port."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from xapisim.launcher import control


@pytest.fixture
def two(start: Any) -> Any:
    sim = start({"pools": [{"name": "two", "vms": [{"name": "guest", "power_state": "Running", "host": "two-2"}]}]})
    sim.ask = lambda do, **args: control(sim.server.info, do, **args)
    sim.hosts = {r["name_label"]: ref for ref, r in sim.call("host.get_all_records").items()}
    return sim


def _live(sim: Any, host: str) -> bool:
    return sim.call("host_metrics.get_live", sim.call("host.get_metrics", sim.hosts[host]))


def _vm(sim: Any) -> dict[str, Any]:
    return sim.call("VM.get_record", sim.call("VM.get_by_name_label", "guest")[0])


def test_calls_are_counted(two: Any) -> None:
    two.ask("reset_calls")
    two.call("VM.get_all")
    two.call("VM.get_all")
    with urllib.request.urlopen(two.server.info["control"] + "/calls?pool=two", timeout=10) as reply:
        assert json.load(reply) == {"VM.get_all": 2}


def test_calls_fail_as_often_as_asked(two: Any) -> None:
    two.ask("fail", method="VM.get_all", times=2, error=["HOST_STILL_BOOTING", "x"])
    assert two.refused("VM.get_all") == ["HOST_STILL_BOOTING", "x"]
    assert two.refused("VM.get_all") == ["HOST_STILL_BOOTING", "x"]
    assert two.call("VM.get_all")
    two.ask("fail", method="VM.get_all", times=0, error=["X"])
    assert [two.refused("VM.get_all") for _unused in range(3)] == [["X"]] * 3
    two.ask("clear")
    assert two.call("VM.get_all")


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"do": "nope"}, "unknown action 'nope'"),
        ({"do": "fail", "method": "VM.nope", "error": ["X"]}, "no message VM.nope"),
        ({"do": "crash_host", "host": "nope"}, "0 host with name or uuid 'nope'"),
        ({"do": "crash_host"}, "crash_host needs 'host'"),
        ({"do": "advance", "seconds": "x"}, "could not convert"),
        ({"do": "clear", "pool": "nope"}, "no pool 'nope'"),
    ],
)
def test_wrong_requests(two: Any, request_: dict[str, Any], text: str) -> None:
    with pytest.raises(RuntimeError, match=text):
        two.ask(**request_)


def test_dropped_sessions(two: Any) -> None:
    assert two.ask("drop_sessions")["dropped"] == 1
    assert two.refused("VM.get_all") == ["SESSION_INVALID", two.session]


def test_a_crashed_host(two: Any) -> None:
    url = two.server.info["pools"][0]["hosts"][1]["url"]
    two.ask("crash_host", host="two-2")
    with pytest.raises(OSError, match="refused"):
        two.raw("VM.get_all", two.session, url=url)
    assert _live(two, "two-2") is True
    assert (_vm(two)["power_state"], _vm(two)["resident_on"]) == ("Running", two.hosts["two-2"])
    guest = two.call("VM.get_by_name_label", "guest")[0]
    assert two.refused("VM.clean_shutdown", guest) == ["CANNOT_CONTACT_HOST", two.hosts["two-2"]]
    two.ask("advance", seconds=601)
    assert _live(two, "two-2") is False
    assert two.call("host.get_enabled", two.hosts["two-2"]) is True
    assert _vm(two)["power_state"] == "Running"
    assert two.refused("VM.clean_shutdown", guest) == ["HOST_OFFLINE", two.hosts["two-2"]]
    two.ask("restore_host", host="two-2")
    assert _live(two, "two-2") is True
    assert _vm(two)["power_state"] == "Halted"
    assert two.error("VM.get_all", two.session, url=url)[0] == "HOST_IS_SLAVE"


def test_an_isolated_host_keeps_its_vms(two: Any) -> None:
    two.ask("isolate_host", host="two-2")
    two.ask("advance", seconds=601)
    assert _live(two, "two-2") is False
    two.ask("restore_host", host="two-2")
    assert _vm(two)["power_state"] == "Running"


def test_a_lost_coordinator(two: Any) -> None:
    two.ask("lose_coordinator")
    with pytest.raises(OSError, match="refused"):
        two.call("VM.get_all")
    slave = two.server.info["pools"][0]["hosts"][1]["url"]
    assert two.error("VM.get_all", two.session, url=slave)[0] == "HOST_IS_SLAVE"
    two.ask("restore_coordinator", booting=100)
    assert two.refused("VM.get_all") == ["HOST_STILL_BOOTING"]
    two.ask("advance", seconds=101)
    assert two.call("VM.get_all")


def test_addresses_of_guests(two: Any) -> None:
    two.ask("guest_ip", vm="guest", ip="10.0.0.5")
    two.ask("guest_ip", vm="guest", ip="fe80::1")
    metrics = two.call("VM_guest_metrics.get_networks", _vm(two)["guest_metrics"])
    assert metrics == {"0/ip": "10.0.0.5", "0/ipv4/0": "10.0.0.5", "0/ipv6/0": "fe80::1"}


def test_a_disk_array_that_is_full(two: Any) -> None:
    sr = two.call("SR.get_by_name_label", "NFS storage")[0]
    record = {
        "name_label": "d", "name_description": "", "SR": sr, "virtual_size": 1 << 30, "type": "user", "sharable": False,
        "read_only": False, "other_config": {},
    }  # fmt: skip
    two.ask("sr_full", sr="NFS storage")
    assert two.refused("VDI.create", record)[0] == "SR_BACKEND_FAILURE_44"
    two.ask("sr_full", sr="NFS storage", full=False)
    assert two.call("VDI.create", record).startswith("OpaqueRef:")


def test_pbds_that_come_loose(two: Any) -> None:
    two.ask("sr_unplugged", sr="NFS storage", host="two-2")
    sr = two.call("SR.get_by_name_label", "NFS storage")[0]
    pbds = [two.call("PBD.get_record", ref) for ref in two.call("SR.get_PBDs", sr)]
    assert {p["host"]: p["currently_attached"] for p in pbds} == {two.hosts["two-1"]: True, two.hosts["two-2"]: False}
