# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory makes of a pool."""
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.facts import (
    Preferences,
    World,
    best_address,
    check_conditions,
    default_groups,
    matches,
)
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.read import read

ADDRESSES = {
    "0/ip": "192.0.2.10", "0/ipv4/0": "192.0.2.10", "0/ipv6/0": "fe80::1", "0/ipv6/1": "2001:db8::10",
    "1/ip": "198.51.100.10", "1/ipv4/0": "198.51.100.10", "0/mtu": "1500", "1/ipv4/1": "nonsense",
}


def everything(pool, **preferences):
    world = World(read(pool))
    return {item.variables["xapi_name"]: world.facts(item, Preferences(**preferences)) for item in world.items()}


def test_a_running_guest(pool):
    pool.add_vm(10, "web", networks=ADDRESSES, tags=["web", "blue"], other_config={"owner": "me"}, name_description="A guest")
    guest = everything(pool)["web"]
    assert guest == {
        "xapi_type": "vm", "xapi_name": "web", "xapi_uuid": "0000000a-0000-4000-8000-00000000000a", "xapi_pool": "alpha",
        "xapi_description": "A guest", "xapi_tags": ["blue", "web"], "xapi_other_config": {"owner": "me"},
        "xapi_host": "alpha-1", "xapi_power_state": "running", "xapi_memory": 2**30, "xapi_vcpus": 2,
        "xapi_ip_addresses": ["192.0.2.10", "2001:db8::10", "198.51.100.10"], "xapi_os": {"distro": "debian"},
        "xapi_tools": True, "ansible_host": "192.0.2.10",
        "xapi_nics": [
            {"device": 0, "network": "management", "network_uuid": "00000002-0000-4000-8000-000000000002",
             "mac": "02:00:00:00:0a:00", "ip_addresses": ["192.0.2.10", "2001:db8::10"]},
            {"device": 1, "network": "storage", "network_uuid": "00000003-0000-4000-8000-000000000003",
             "mac": "02:00:00:00:0a:01", "ip_addresses": ["198.51.100.10"]},
        ],
    }


def test_a_guest_that_is_half_made_is_none_yet(pool):
    pool.add_vm(10, "nobloat.xen.making:web")
    assert list(everything(pool)) == ["alpha-1"]


def test_what_a_guest_said_before_it_was_shut_down_is_not_repeated(pool):
    pool.add_vm(10, "web", networks=ADDRESSES, power_state="Halted", resident_on="OpaqueRef:NULL")
    guest = everything(pool)["web"]
    assert guest["xapi_ip_addresses"] == []
    assert guest["xapi_host"] == ""
    assert "ansible_host" not in guest


def test_a_host(pool):
    host = everything(pool)["alpha-1"]
    assert host["ansible_host"] == "192.0.2.1"
    assert (host["xapi_type"], host["xapi_host"], host["xapi_coordinator"]) == ("host", "alpha-1", True)
    assert (host["xapi_memory"], host["xapi_cpus"], host["xapi_version"]) == (2**36, 16, "8.3.0")
    assert "xapi_power_state" not in host


def test_a_pool_without_a_name_is_called_as_its_coordinator(pool):
    pool.put("pool", "p", name_label="")
    assert everything(pool)["alpha-1"]["xapi_pool"] == "alpha-1"


@pytest.mark.parametrize(("networks", "ipv6", "address"), [
    ([], False, "192.0.2.10"),
    ([], True, "2001:db8::10"),
    (["storage"], False, "198.51.100.10"),
    (["storage", "management"], True, "198.51.100.10"),  # the network counts more than the family
    (["management", "storage"], True, "2001:db8::10"),
    (["00000003-0000-4000-8000-000000000003"], False, "198.51.100.10"),
    (["elsewhere"], False, "192.0.2.10"),
])
def test_the_address_to_connect_to(pool, networks, ipv6, address):
    pool.add_vm(10, "web", networks=ADDRESSES)
    assert everything(pool, networks=networks, ipv6=ipv6)["web"]["ansible_host"] == address


def test_an_address_whose_index_no_vif_has(pool):
    pool.add_vm(10, "web", networks={"5/ip": "192.0.2.5 192.0.2.6"})
    web = everything(pool, networks=["storage"])["web"]
    assert (web["xapi_ip_addresses"], web["ansible_host"]) == (["192.0.2.5", "192.0.2.6"], "192.0.2.5")
    assert [nic["ip_addresses"] for nic in web["xapi_nics"]] == [[], []]


def test_an_address_on_a_vif_comes_before_one_that_is_nowhere(pool):
    pool.add_vm(10, "web", networks={"5/ip": "192.0.2.5", "1/ip": "192.0.2.9"})
    assert everything(pool)["web"]["ansible_host"] == "192.0.2.9"


def test_no_address():
    assert best_address([], Preferences()) == ""


@pytest.mark.parametrize(("conditions", "expected"), [
    ({}, True),
    ({"name": "web*"}, True),
    ({"name": ["db*", "web-1"]}, True),
    ({"name": "WEB*"}, False),
    ({"name": "web-1", "power_state": "halted"}, False),
    ({"power_state": ["Running"]}, True),
    ({"tags": ["b*"]}, True),
    ({"tags": "red"}, False),
    ({"type": "vm", "pool": "alpha", "host": "*-1"}, True),
    ({"other_config": {"owner": "me"}}, True),
    ({"other_config": {"owner": "me", "more": 1}}, False),
    ({"uuid": ["u"]}, True),
])
def test_conditions(conditions, expected):
    guest = {"xapi_type": "vm", "xapi_name": "web-1", "xapi_uuid": "u", "xapi_pool": "alpha", "xapi_host": "alpha-1",
             "xapi_power_state": "running", "xapi_tags": ["web", "blue"], "xapi_other_config": {"owner": "me"}}
    check_conditions("filters", conditions)
    assert matches(guest, conditions) is expected


def test_a_host_has_no_power_state():
    assert not matches({"xapi_type": "host"}, {"power_state": "running"})


@pytest.mark.parametrize(("conditions", "says"), [
    ({"nmae": "x"}, "filters: there is no nmae"),
    ({"type": "guest"}, "guest is not a type"),
    ({"power_state": ["running", "off"]}, "off is not a power_state"),
    ({"other_config": "x"}, "map"),
])
def test_conditions_that_can_never_hold(conditions, says):
    with pytest.raises(ValueError, match=says):
        check_conditions("filters", conditions)


def test_groups(pool):
    pool.add_vm(10, "web", networks=ADDRESSES, tags=["web"])
    pool.add_vm(11, "db")
    found = everything(pool)
    every = ["type", "pool", "host", "power_state", "tag"]
    assert list(default_groups(found["web"], every)) == [
        "vms", "pool_alpha", "host_alpha-1", "power_state_running", "tag_web",
    ]
    assert list(default_groups(found["db"], every)) == ["vms", "pool_alpha", "power_state_halted"]
    assert list(default_groups(found["alpha-1"], every)) == ["hosts", "pool_alpha"]
    assert list(default_groups(found["web"], ["pool"])) == ["pool_alpha"]
