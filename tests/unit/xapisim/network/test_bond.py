# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bonds and tunnels over the wire: what moves there and back."""

from __future__ import annotations

from typing import Any

from unit.xapisim.network.objects import NULL, Net


def bond(net: Net, network: str, members: list[str], *args: Any) -> str:
    return net.call("Bond.create", network, members, *(args or ("", "balance-slb", {})))


def test_a_bond_takes_address_management_and_vlans(net: Net) -> None:
    eth0, eth1 = net.pif("eth0"), net.pif("eth1")
    address = net.get("PIF", eth0, "IP")
    vlan_network = net.network()
    vlan = net.call("VLAN.create", eth1, 12, vlan_network)
    vlan_pif = net.get("VLAN", vlan, "untagged_PIF")
    net.call("PIF.reconfigure_ip", vlan_pif, "Static", "10.12.0.1", "255.255.255.0", "", "")
    vm = net.vm(power_state="Running", resident_on=net.hosts[0])
    vif = net.vif(vm, net.get("PIF", eth1, "network"))
    network = net.network(MTU=9000)
    made = bond(net, network, [eth1, eth0])
    master = net.get("Bond", made, "master")
    record = net.call("PIF.get_record", master)
    expected = {"device": "bond0", "IP": address, "management": True, "physical": False, "currently_attached": True}
    expected |= {"bond_master_of": [made], "MAC": net.get("PIF", eth0, "MAC"), "MTU": 9000, "network": network}
    assert {key: record[key] for key in expected} == expected
    assert net.get("Bond", made, "primary_slave", "mode", "links_up") == (eth0, "balance-slb", 2)
    assert set(net.get("Bond", made, "slaves")) == {eth0, eth1}
    for pif in (eth0, eth1):
        shown = net.get("PIF", pif, "IP", "management", "currently_attached", "bond_slave_of")
        assert shown == ("", False, False, made)
    (moved,) = net.get("PIF", master, "VLAN_slave_of")
    moved_pif = net.get("VLAN", moved, "untagged_PIF")
    assert not {vlan, vlan_pif} & {moved, moved_pif}, "new objects (more facts, 13)"
    shown = net.get("PIF", moved_pif, "device", "VLAN", "network", "IP", "currently_attached")
    assert shown == ("bond0", 12, vlan_network, "10.12.0.1", True)
    assert net.get("VIF", vif, "network") == network
    assert net.get("host", net.hosts[0], "address") == address
    net.call("Bond.destroy", made)
    assert net.get("PIF", eth0, "IP", "management", "currently_attached", "bond_slave_of") == (
        address,
        True,
        True,
        NULL,
    )
    assert net.get("PIF", eth1, "IP", "management", "currently_attached", "bond_slave_of") == ("", False, True, NULL)
    (back,) = net.get("PIF", eth0, "VLAN_slave_of")
    assert net.get("PIF", net.get("VLAN", back, "untagged_PIF"), "device", "IP") == ("eth0", "10.12.0.1")
    assert net.get("PIF", eth1, "VLAN_slave_of") == [], "everything goes to the primary member"
    assert net.get("VIF", vif, "network") == net.get("PIF", eth0, "network")
    assert {made, master, moved, moved_pif}.isdisjoint(
        [*net.call("Bond.get_all"), *net.call("PIF.get_all"), *net.call("VLAN.get_all")]
    )


def test_one_member_is_enough_and_a_slave_takes_an_address(net: Net) -> None:
    """More facts, 13."""
    eth2 = net.pif("eth2")
    bond(net, net.network(), [eth2, eth2])
    net.call("PIF.reconfigure_ip", eth2, "Static", "10.2.0.1", "255.255.255.0", "", "")
    assert net.get("PIF", eth2, "IP") == "10.2.0.1"
    assert net.refused("PIF.plug", eth2) == ["CANNOT_PLUG_BOND_SLAVE", eth2]
    assert net.refused("VLAN.create", eth2, 1, net.network()) == ["CANNOT_ADD_VLAN_TO_BOND_SLAVE", eth2]
    assert net.refused("PIF.forget", eth2) == ["PIF_ALREADY_BONDED", eth2]


def test_the_primary_is_the_member_with_an_address(net: Net) -> None:
    eth2, eth3 = net.pif("eth2"), net.pif("eth3")
    net.call("PIF.reconfigure_ip", eth3, "Static", "10.3.0.1", "255.255.255.0", "", "")
    made = bond(net, net.network(), [eth2, eth3])
    assert net.get("Bond", made, "primary_slave") == eth3
    assert net.get("PIF", net.get("Bond", made, "master"), "IP", "MAC") == ("10.3.0.1", net.get("PIF", eth3, "MAC"))


def test_bond_refused(net: Net) -> None:
    eth0, eth1, eth2, eth3 = (net.pif(f"eth{n}") for n in range(4))
    network = net.network()

    def refused(members: list[str], mac: str = "", mode: str = "balance-slb", **properties: str) -> list[str]:
        named = {key.replace("_", "-"): value for key, value in properties.items()}
        return net.refused("Bond.create", network, members, mac, mode, named)

    assert refused([]) == ["PIF_BOND_NEEDS_MORE_MEMBERS"]
    assert refused([eth1, net.pif("eth1", 1)]) == ["PIF_CANNOT_BOND_CROSS_HOST"]
    assert refused([eth1], "nonsense") == ["MAC_INVALID", "nonsense"]
    assert refused([eth1], mode="lacp", lacp_time="never") == ["INVALID_VALUE", "properties", "lacp-time = never"]
    assert refused([eth1], lacp_time="fast") == ["INVALID_VALUE", "properties", "lacp-time = fast"]
    net.call("PIF.reconfigure_ip", eth3, "DHCP", "", "", "", "")
    assert refused([eth0, eth3]) == ["PIF_BOND_MORE_THAN_ONE_IP"]
    vlan = net.call("VLAN.create", eth1, 3, net.network())
    assert refused([net.get("VLAN", vlan, "untagged_PIF")]) == ["PIF_VLAN_EXISTS", "eth1"]
    bond(net, network, [eth1])
    assert refused([eth2])[:2] == ["NETWORK_ALREADY_CONNECTED", net.hosts[0]]
    assert net.refused("Bond.create", net.network(), [eth1], "", "lacp", {}) == ["PIF_ALREADY_BONDED", eth1]


def test_bond_properties(net: Net) -> None:
    made = bond(
        net, net.network(), [net.pif("eth1"), net.pif("eth2")], "02:aa:00:00:00:01", "lacp", {"lacp-time": "fast"}
    )
    defaults = {"hashing_algorithm": "tcpudp_ports", "lacp-fallback-ab": "true"}
    assert net.get("Bond", made, "properties") == {**defaults, "lacp-time": "fast"}
    assert net.get("Bond", made, "auto_update_mac") is False
    assert net.get("PIF", net.get("Bond", made, "master"), "MAC") == "02:aa:00:00:00:01"
    net.call("Bond.set_property", made, "lacp-aggregation-key", "7")
    assert net.refused("Bond.set_property", made, "x", "y") == ["INVALID_VALUE", "properties", "x = y"]
    net.call("Bond.set_mode", made, "active-backup")
    assert net.get("Bond", made, "properties", "mode") == ({}, "active-backup")


# -- tunnels


def test_tunnel(net: Net) -> None:
    """More facts, 14."""
    network, transport = net.network(), net.pif("eth1")
    assert net.refused("tunnel.create", transport, network) == ["TRANSPORT_PIF_NOT_CONFIGURED", transport]
    (left,) = net.get("network", network, "PIFs")
    assert net.get("PIF", left, "device", "currently_attached") == ("tunnel0", False)
    net.call("PIF.reconfigure_ip", transport, "Static", "10.1.0.1", "255.255.255.0", "", "")
    made = net.call("tunnel.create", transport, net.network(), "vxlan")
    access = net.get("tunnel", made, "access_PIF")
    assert net.get("PIF", access, "device", "currently_attached") == ("tunnel1", True)
    assert net.get("tunnel", made, "status", "protocol") == ({"active": "true"}, "vxlan")
    assert net.refused("tunnel.create", access, net.network()) == ["IS_TUNNEL_ACCESS_PIF", access]
    assert net.refused("VLAN.create", access, 1, net.network()) == ["IS_TUNNEL_ACCESS_PIF", access]
    net.call("tunnel.destroy", made)
    assert access not in net.call("PIF.get_all")
