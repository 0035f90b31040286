# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What guests' agents report as addresses, and what is made of it."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.vm import power
from ansible_collections.nobloat.xen.plugins.module_utils.vm.addresses import (
    _usable,
    addresses,
    addresses_by_index,
    reachable,
)
from ansible_collections.nobloat.xen.plugins.module_utils.vm.info import info
from hypothesis import given
from hypothesis import strategies as st
from vm_fakes import nic, vm, world


def report(networks: dict[str, str]) -> dict[str, Any]:
    return {"ref": "metrics", "networks": networks, "os_version": {}, "PV_drivers_detected": True}


@pytest.mark.parametrize(("networks", "found"), [
    ({"0/ip": "192.0.2.9", "0/ipv4/0": "192.0.2.9", "0/ipv6/0": "fe80::1", "0/ipv6/1": "2001:db8::1",
      "1/ipv4/0": "169.254.0.1", "2/ip": ""}, {0: ["192.0.2.9", "2001:db8::1"]}),
    ({"0/ip": "192.0.2.8 192.0.2.9"}, {0: ["192.0.2.8", "192.0.2.9"]}),  # as FreeBSD's agent has it
    ({"0/ip": "192.0.2.9,2001:db8::1\n10.0.0.1"}, {0: ["10.0.0.1", "192.0.2.9", "2001:db8::1"]}),
    ({"br0/ip": "192.0.2.8", "7/ip": "192.0.2.9"}, {7: ["192.0.2.9"], -1: ["192.0.2.8"]}),
    ({"0/ip": "192.0.2.9", "0/ipv6/0": "2001:DB8::1", "0/ipv6/1": "2001:db8::1", "0/mtu": "1500"}, {0: ["192.0.2.9", "2001:db8::1"]}),
    ({"0/ip": "127.0.0.1", "0/ipv6/0": "::ffff:127.0.0.1", "0/ipv6/1": "::1", "1/ip": "0.0.0.0", "2/ip": "224.0.0.1"}, {}),
    ({"0/ip": "-oProxyCommand=id", "0/ipv6/0": "fd00::1%{{x}}", "1/ip": "192.0.2.300"}, {}),
])
def test_what_others_can_reach(networks, found):
    assert addresses_by_index(report(networks)) == found
    assert addresses(report(networks)) == [address for some in found.values() for address in some]


def test_no_agent():
    assert addresses(None) == []


def test_loopback_only_for_who_asks():
    assert reachable("127.0.0.1") is None
    assert str(reachable("127.0.0.1", here=True)) == "127.0.0.1"
    assert reachable("host", here=True) is None


NETWORKS = {"5/ip": "192.0.2.5 192.0.2.6"}


def test_info_has_what_no_vif_belongs_to():
    one = vm(power_state="Running", guest_metrics="metrics", snapshots=[])
    found = info(one, world(one, vifs=[nic("vm1", 0)], metrics=[report(NETWORKS)]))
    assert found["ip_addresses"] == ["192.0.2.5", "192.0.2.6"]
    assert [nic["ip_addresses"] for nic in found["nics"]] == [[]]


def test_info_repeats_nothing_of_a_guest_that_does_not_run():
    one = vm(power_state="Suspended", guest_metrics="metrics", snapshots=[])
    assert info(one, world(one, metrics=[report(NETWORKS)]))["ip_addresses"] == []


def test_waiting_takes_the_same(monkeypatch):
    tables = {"VM": {"r": {"guest_metrics": "metrics", "power_state": "Running"}}, "VM_guest_metrics": {"metrics": report(NETWORKS)}}
    monkeypatch.setattr(power, "select", lambda session, cls, **_terms: tables[cls])
    guest = SimpleNamespace(ref="r", params={"wait_for_ip": True, "ip_timeout": 1}, world=SimpleNamespace(guest_metrics={}), title="g")
    item = SimpleNamespace(thing=guest, changes=SimpleNamespace(after={"power_state": "running"}, facts={}), error=None)
    power.await_addresses(SimpleNamespace(xapi=None), [item])
    assert (item.error, item.changes.facts) == (None, {"ip_addresses": ["192.0.2.5", "192.0.2.6"]})


ODD = [
    "fe80::1", "fe80::1%eth0", "febf::", "fec0::1", "::ffff:192.0.2.9", "::192.0.2.9", "64:ff9b::192.0.2.9", "1f00::1", "fdff::1",
    "ff02::1", "2001:db8:0:0:1::1", "2001:db8::0:1:0:0:1", "2001:db8:0:1::1", "2001:DB8::1", "192.0.2.09", "192.0.2.9 ", "169.254.0.1",
    "\0", "\u0661",
]
TEXTS = st.one_of(
    st.ip_addresses().map(str), st.ip_addresses(v=6).map(lambda address: address.exploded),
    st.text("0123456789abcdefABCDEF:.%", max_size=40), st.sampled_from(ODD),
)


@given(st.lists(TEXTS, max_size=4))
def test_addresses_are_those_that_the_standard_library_finds(texts):
    found = {address for address in map(reachable, texts) if address}
    wanted = [str(address) for address in sorted(found, key=lambda address: (address.version, int(address)))]
    assert _usable(texts) == wanted
