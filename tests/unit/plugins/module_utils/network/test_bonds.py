# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from copy import deepcopy

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.network import bonds
from ansible_collections.nobloat.xen.plugins.module_utils.network.pifs import (
    Picture,
    find_nic,
    interfaces,
)

NULL = "OpaqueRef:NULL"


def pif(device, **fields):
    return {
        "ref": device, "host": "h1", "device": device, "VLAN": -1, "network": f"net-{device}", "MAC": f"02:00:00:00:00:0{device[-1]}",
        "bond_master_of": [], "bond_slave_of": NULL, "VLAN_slave_of": [], "VLAN_master_of": NULL, "managed": True,
        "tunnel_access_PIF_of": [], "tunnel_transport_PIF_of": [], "management": False, "primary_address_type": "IPv4",
        "ip_configuration_mode": "None", "ipv6_configuration_mode": "None", "IP": "", "netmask": "", "gateway": "", "DNS": "",
        **fields,
    }


def addressed(device, ip, **fields):
    return pif(device, ip_configuration_mode="Static", IP=ip, netmask="255.255.255.0", **fields)


@pytest.fixture
def picture():
    """eth0: management; eth1: VLAN 5; eth2: an address; eth3: nothing."""
    pifs = [
        addressed("eth0", "192.0.2.1", management=True), pif("eth1", VLAN_slave_of=["vlan5"]), addressed("eth2", "10.0.0.1"),
        pif("eth3"), pif("eth1", ref="eth1.5", VLAN=5, VLAN_master_of="vlan5"),
    ]
    return Picture({"h1": {"ref": "h1", "uuid": "u1", "name_label": "xcp1"}}, {each["ref"]: each for each in pifs}, {}, {})


def wish(picture, *devices, mac=""):
    return bonds.Wish("h1", [find_nic(picture, "h1", device) for device in devices], mac)


def carried(picture, device):
    return interfaces(picture)["xcp1"][device]


def test_a_nic_is_found_by_device_or_mac(picture):
    assert find_nic(picture, "h1", "eth3")["ref"] == find_nic(picture, "h1", "02:00:00:00:00:03")["ref"] == "eth3"
    with pytest.raises(ValueError, match=r"no NIC eth9; it has eth0 \(02:00:00:00:00:00\), eth1"):
        find_nic(picture, "h1", "eth9")


def test_everything_moves_to_the_bond_and_back(picture):
    before = deepcopy(picture)
    bond = bonds.draw_create(picture, wish(picture, "eth1", "eth2"), "san", "lacp", {"lacp-time": "fast"})
    assert carried(picture, "bond0") == {
        "member_of": None, "ip_mode": "static", "ip": "10.0.0.1", "management": False, "vlans": [5], "tunnels": 0}
    assert carried(picture, "eth1") == {
        "member_of": "bond0", "ip_mode": "none", "ip": "", "management": False, "vlans": [], "tunnels": 0}
    assert bonds.bond_views(picture, "san") == {"xcp1": {
        "device": "bond0", "mac": "02:00:00:00:00:02", "members": ["eth1", "eth2"], "primary": "eth2", "mode": "lacp",
        "properties": {"hashing_algorithm": "tcpudp_ports", "lacp-time": "fast", "lacp-fallback-ab": "true"},
    }}
    bonds.draw_destroy(picture, bond)
    assert carried(picture, "eth2") == {**carried(before, "eth2"), "vlans": [5]}
    assert "bond0" not in interfaces(picture)["xcp1"]


def test_the_management_makes_the_primary(picture):
    bonds.draw_create(picture, wish(picture, "eth3", "eth0", mac="02:aa:00:00:00:01"), "net", "balance-slb", {})
    view = bonds.bond_views(picture, "net")["xcp1"]
    assert (view["primary"], view["mac"], view["properties"]) == ("eth0", "02:aa:00:00:00:01", {})
    assert carried(picture, "bond0")["management"] and not carried(picture, "eth0")["management"]
    bonds.draw_create(picture, wish(picture, "eth1"), "other", "balance-slb", {})
    assert bonds.bond_views(picture, "other")["xcp1"]["device"] == "bond1"


@pytest.mark.parametrize(("devices", "ha", "says"), [
    (("eth0", "eth2"), False, "eth0 and eth2 of xcp1 have addresses"),
    (("eth0", "eth3"), True, "high availability"),
])
def test_members_that_do_not_go_together(picture, devices, ha, says):
    with pytest.raises(ValueError, match=says):
        bonds.compare(picture, [wish(picture, *devices)], None, None, {}, ha)


def test_two_vlans_of_one_tag(picture):
    picture.pifs["eth3"]["VLAN_slave_of"] = ["vlan5b"]
    picture.pifs["eth3.5"] = pif("eth3", ref="eth3.5", VLAN=5, VLAN_master_of="vlan5b")
    with pytest.raises(ValueError, match="VLAN 5 of xcp1 lies over eth1 and over eth3"):
        bonds.compare(picture, [wish(picture, "eth1", "eth3")], None, None, {}, False)


def test_what_is_to_be_done(picture):
    made = wish(picture, "eth1", "eth2")
    assert bonds.compare(picture, [made], "san", None, {}, False).create == [made]
    bond = bonds.draw_create(picture, made, "san", "lacp", {})
    assert bonds.compare(picture, [wish(picture, "eth2", "eth1")], "san", "lacp", {"lacp-time": "slow"}, False) == bonds.BondPlan()
    plan = bonds.compare(picture, [made], "san", None, {"lacp-time": "fast"}, False)
    assert plan.change == [(bond, None, {"lacp-time": "fast"})]
    assert bonds.compare(picture, [made], "san", "active-backup", {}, False).change == [(bond, "active-backup", {})]
    more = wish(picture, "eth1", "eth2", "eth3")
    assert bonds.compare(picture, [more], "san", None, {}, False).recreate == [(bond, more)]
    with pytest.raises(ValueError, match=r"eth2 cannot leave bond0 of xcp1.*address 10\.0\.0\.1, VLAN 5"):
        bonds.compare(picture, [wish(picture, "eth1", "eth3")], "san", None, {}, False)
    with pytest.raises(ValueError, match="only one of mode lacp"):
        bonds.compare(picture, [made], "san", "active-backup", {"lacp-time": "fast"}, False)


def test_an_empty_bond_can_lose_its_primary(picture):
    bonds.draw_create(picture, wish(picture, "eth3"), "san", "balance-slb", {})
    assert len(bonds.compare(picture, [wish(picture, "eth2")], "san", None, {}, False).recreate) == 1


def test_a_member_of_another_bond(picture):
    bonds.draw_create(picture, wish(picture, "eth3"), "san", "balance-slb", {})
    with pytest.raises(ValueError, match="eth3 of xcp1 belongs to bond0 already"):
        bonds.compare(picture, [wish(picture, "eth3")], "other", None, {}, False)


@pytest.mark.parametrize(("mode", "properties", "says"), [
    ("balance-slb", {"lacp-time": "fast"}, "only one of mode lacp"), ("lacp", {"speed": 1}, "there is no speed"),
    ("lacp", {"hashing_algorithm": "md5"}, "src_mac or tcpudp_ports"), ("lacp", {"lacp-aggregation-key": "a"}, "a number"),
])
def test_bad_properties(mode, properties, says):
    with pytest.raises(ValueError, match=says):
        bonds.check_properties(mode, properties)


def test_properties_as_xapi_writes_them():
    assert bonds.check_properties(None, {"lacp-fallback-ab": False, "lacp-aggregation-key": 3}) == {
        "lacp-fallback-ab": "false", "lacp-aggregation-key": "3"}
