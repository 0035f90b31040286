# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.network.description import (
    addresses,
    management,
    options,
    problems,
)

SAN = {"name": "san", "vlan": 20, "device": "eth1", "traffic": "san", "subnet": "10.20.0.0/24",
       "addresses": {"a": "10.20.0.1", "b": "10.20.0.2"}}
OFFICE = {"name": "office", "subnet": "192.0.2.0/24", "gateway": "192.0.2.254", "management": True,
          "addresses": {"a": "192.0.2.1", "b": "192.0.2.2"}}
GOOD = [SAN, OFFICE, {"name": "guests", "vlan": 200, "bond": "world"}, {"name": "inside"}]
BONDS = [{"name": "world", "members": ["eth4", "eth5"]}]


def test_a_good_description():
    assert problems(GOOD, BONDS, [{"name": "tenant", "transport": "san"}], ["san"]) == []
    assert problems([]) == []


@pytest.mark.parametrize(("changed", "says"), [
    ({"name": "office"}, "Two networks have the name office."),
    ({"device": None}, "san is a VLAN, and needs a device or a bond to lie over."),
    ({"vlan": None}, "san has a device and no vlan."),
    ({"bond": "world"}, "san has both device and bond."),
    ({"device": None, "bond": "moon"}, "san lies over bond moon, which is not described."),
    ({"device": "eth4"}, "san lies over eth4, which is a member of a bond; name the bond instead."),
    ({"name": "world"}, "world is a bond, and cannot be a VLAN too."),
    ({"name": "tenant"}, "tenant is a tunnel, and cannot be a VLAN or a bond too."),
    ({"subnet": None}, "san has addresses or a gateway, and no subnet."),
    ({"subnet": "10.20.0.0"}, "san: subnet 10.20.0.0 is none; one looks like 10.20.0.0/24."),
    ({"subnet": "10.20.0.5/24"}, "san: subnet 10.20.0.5/24 has bits of a host; it is 10.20.0.0/24."),
    ({"subnet": "2001:db8::/64", "addresses": {}}, "san: subnet 2001:db8::/64 is not one of IPv4."),
    ({"subnet": "192.0.0.0/16", "addresses": {}}, "The subnets of san (192.0.0.0/16) and office (192.0.2.0/24) overlap."),
    ({"addresses": {"a": "10.20.1.1"}}, "san: address 10.20.1.1 of a is not in 10.20.0.0/24."),
    ({"addresses": {"a": "10.20.0.0"}}, "san: address 10.20.0.0 of a is the network or broadcast address of 10.20.0.0/24."),
    ({"addresses": {"a": "host"}}, "san: address host of a is no address."),
    ({"addresses": {"a": "10.20.0.7", "b": "10.20.0.7"}}, "san: address 10.20.0.7 of b is that of a on san already."),
    ({"gateway": "10.20.0.1"}, "san: address 10.20.0.1 of a is that of the gateway of san already."),
    ({"gateway": "10.21.0.1"}, "san: gateway 10.21.0.1 is not in 10.20.0.0/24."),
    ({"management": True}, "Only one network can carry the management: san, office."),
    ({"addresses": {"c": "10.20.0.3"}}, "office carries the management, and c has no address there."),
])
def test_problems(changed, says):
    san = {key: value for key, value in {**SAN, **changed}.items() if value is not None}
    assert says in problems([san, *GOOD[1:]], BONDS, [{"name": "tenant", "transport": "san"}])


def test_traffic_that_has_its_carrier_alone():
    shared = {"name": "web", "vlan": 7, "device": "eth1", "traffic": "guests"}
    assert problems([SAN, shared]) == []
    assert problems([SAN, shared], own_carrier=["san"]) == ["web shares eth1 with san traffic, which is to have it alone."]
    bonded = [{"name": "world", "traffic": "san"}, {"name": "web", "vlan": 7, "bond": "world"}]
    assert problems(bonded, BONDS, own_carrier=["san"]) == ["web shares bond world with san traffic, which is to have it alone."]


def test_other_repetitions():
    assert "eth4 is in two bonds." in problems([], [*BONDS, {"name": "b", "members": ["eth4"]}])
    twice = [SAN, {**SAN, "name": "again", "subnet": "10.21.0.0/24", "addresses": {}}]
    assert problems(twice) == ["VLAN 20 over eth1 is described twice."]


def test_addresses_one_by_one():
    first, *_rest = addresses(GOOD)
    assert first == {
        "network": "san", "host": "a", "ip_mode": "static", "ip": "10.20.0.1/24", "gateway": None, "dns": None,
        "purpose": "san", "disallow_unplug": True,
    }
    assert addresses([{"name": "n", "addresses": {"a": "dhcp"}}])[0]["ip_mode"] == "dhcp"
    assert addresses([{"name": "n", "addresses": {"a": "dhcp"}, "dns": [], "traffic": ""}])[0]["dns"] is None


def test_the_management_moves_last_where_it_is_told():
    assert management(GOOD, "a") == [{"network": "office", "host": "b"}, {"network": "office", "host": "a"}]
    assert [entry["host"] for entry in management(GOOD, "")] == ["a", "b"]


def test_networks_as_module_network_takes_them():
    made = [{"name": "world", "bond": {"hosts": {"a": {"device": "bond1"}, "b": {"device": "bond1"}}}}]
    nothing = {"description": None, "mtu": None, "tags": None}
    assert options([SAN, {**GOOD[2], "mtu": 9000, "tags": []}], made) == [
        {"name": "san", **nothing, "vlan": 20, "device": "eth1"},
        {"name": "guests", "description": None, "mtu": 9000, "tags": [], "vlan": 200, "device": "bond1"}]
    assert options([GOOD[3]]) == [{"name": "inside", **nothing, "vlan": None, "device": None}]
    assert options([GOOD[2]], [{"name": "world", "bond": {"hosts": {}}}])[0]["device"] is None
