# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks, PIFs and VLANs over the wire."""

from __future__ import annotations

import pytest

from unit.xapisim.network.objects import Net


def test_bridges(net: Net) -> None:
    one, two = net.network(), net.network()
    assert [net.get("network", ref, "bridge") for ref in (one, two)] == ["xapi1", "xapi2"]
    expected = {"default_locking_mode": "unlocked", "purpose": [], "MTU": 1500, "managed": True, "PIFs": [], "VIFs": []}
    assert {key: value for key, value in net.call("network.get_record", one).items() if key in expected} == expected
    assert net.get("network", net.network(MTU=0), "MTU") == 1500
    net.call("network.set_MTU", one, -5)
    assert net.get("network", one, "MTU") == -5, "any integer is stored (more facts, 14)"
    assert net.get("network", net.network(bridge="mine"), "bridge") == "mine"


@pytest.mark.parametrize(
    ("bridge", "error"),
    [
        ("xenbr9", ["INVALID_VALUE", "bridge", "xenbr9"]),
        ("xapi77", ["INVALID_VALUE", "bridge", "xapi77"]),
        ("vifx", ["INVALID_VALUE", "bridge", "vifx"]),
        ("a-name-too-long-", ["INVALID_VALUE", "bridge", "a-name-too-long-"]),
        ("taken", ["BRIDGE_NAME_EXISTS", "taken"]),
    ],
)
def test_bad_bridges(net: Net, bridge: str, error: list[str]) -> None:
    net.network(bridge="taken")
    record = {"name_label": "x", "other_config": {}, "bridge": bridge}
    assert net.refused("network.create", record) == error


def test_destroy(net: Net) -> None:
    pif = net.pif("eth1")
    connected = net.get("PIF", pif, "network")
    assert net.refused("network.destroy", connected) == ["NETWORK_CONTAINS_PIF", pif, net.pif("eth1", 1)]
    network = net.network()
    vm = net.vm(power_state="Running", resident_on=net.hosts[0])
    vif = net.vif(vm, network)
    net.call("VIF.plug", vif)
    assert net.refused("network.destroy", network) == ["NETWORK_CONTAINS_VIF", vif]
    assert net.refused("network.set_default_locking_mode", network, "disabled") == ["VIF_IN_USE", network, vif]
    net.call("VIF.unplug", vif)
    net.call("network.set_default_locking_mode", network, "disabled")
    net.call("network.destroy", network)
    assert vif not in net.call("VIF.get_all"), "unattached VIFs go silently (more facts, 14)"
    (internal,) = net.call("network.get_by_name_label", "Host internal management network")
    assert net.refused("network.destroy", internal) == ["CANNOT_DESTROY_SYSTEM_NETWORK", internal]


def test_purposes(net: Net) -> None:
    one, two = net.network(), net.network()
    net.call("network.add_purpose", one, "nbd")
    net.call("network.add_purpose", one, "nbd")
    assert net.get("network", one, "purpose") == ["nbd"]
    error = net.refused("network.add_purpose", two, "insecure_nbd")
    assert error == ["NETWORK_INCOMPATIBLE_PURPOSES", "insecure_nbd", "nbd"]
    net.call("network.remove_purpose", one, "nbd")
    net.call("network.add_purpose", two, "insecure_nbd")


# -- PIFs


def test_a_new_pool(net: Net) -> None:
    """The second host's PIFs join the first one's networks; eth0 has the address and the management."""
    for number in range(4):
        pifs = [net.call("PIF.get_record", net.pif(f"eth{number}", host)) for host in (0, 1)]
        assert pifs[0]["network"] == pifs[1]["network"]
        shown = net.get("network", pifs[0]["network"], "bridge", "name_label")
        assert shown == (f"xenbr{number}", f"Pool-wide network associated with eth{number}")
        for pif, host in zip(pifs, net.hosts, strict=True):
            address = net.get("host", host, "address")
            assert (pif["physical"], pif["currently_attached"], pif["management"]) == (True, True, number == 0)
            assert pif["IP"] == (address if number == 0 else "")
            assert pif["ip_configuration_mode"] == ("Static" if number == 0 else "None")
            assert net.get("PIF_metrics", pif["metrics"], "carrier", "speed") == (True, 10000)


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["Static", "", "", "", ""], ["INVALID_IP_ADDRESS_SPECIFIED", "IP"]),
        (["Static", "10.0.0.1", "", "", ""], ["INVALID_IP_ADDRESS_SPECIFIED", "netmask"]),
        (["Static", "10.0.0.1", "255.255.255.0", "nowhere", ""], ["INVALID_IP_ADDRESS_SPECIFIED", "gateway"]),
        (["DHCP", "10.0.0.256", "", "", ""], ["INVALID_IP_ADDRESS_SPECIFIED", "IP"]),
    ],
)
def test_bad_addresses(net: Net, args: list[str], error: list[str]) -> None:
    assert net.refused("PIF.reconfigure_ip", net.pif("eth1"), *args) == error


def test_addresses(net: Net) -> None:
    pif = net.pif("eth1")
    net.call("PIF.reconfigure_ip", pif, "Static", "10.1.1.2", "255.255.255.0", "10.1.1.1", "10.1.1.1,9.9.9.9,fd00::1")
    shown = net.get("PIF", pif, "ip_configuration_mode", "IP", "netmask", "gateway", "DNS")
    assert shown == ("Static", "10.1.1.2", "255.255.255.0", "10.1.1.1", "10.1.1.1,9.9.9.9")
    net.call("PIF.reconfigure_ip", pif, "DHCP", "", "", "", "")
    assert net.get("PIF", pif, "IP") not in ("", "10.1.1.2")
    net.call("PIF.reconfigure_ip", pif, "None", "", "", "", "")
    assert net.get("PIF", pif, "IP") == ""
    management = net.pif("eth0")
    error = net.refused("PIF.reconfigure_ip", management, "None", "", "", "", "")
    assert error == ["PIF_IS_MANAGEMENT_INTERFACE", management]
    error = net.refused("PIF.reconfigure_ipv6", pif, "Static", "fd00::1", "", "")
    assert error == ["INVALID_CIDR_ADDRESS_SPECIFIED", "IPv6"]
    net.call("PIF.reconfigure_ipv6", pif, "Static", "fd00::1/64", "fd00::ff", "")
    assert net.get("PIF", pif, "IPv6") == ["fd00::1/64"]


def test_plug_and_unplug(net: Net) -> None:
    pif = net.pif("eth1")
    net.call("PIF.unplug", pif)
    assert not net.get("PIF", pif, "currently_attached")
    net.call("network.set_MTU", net.get("PIF", pif, "network"), 9000)
    assert net.get("PIF", pif, "MTU") == 1500
    net.call("PIF.plug", pif)
    assert net.get("PIF", pif, "MTU", "currently_attached") == (9000, True), "the MTU is applied at plug"
    management = net.pif("eth0")
    assert net.refused("PIF.unplug", management) == ["PIF_IS_MANAGEMENT_INTERFACE", management]
    net.call("PIF.set_disallow_unplug", pif, True)
    assert net.refused("PIF.unplug", pif) == ["PIF_DOES_NOT_ALLOW_UNPLUG", pif]
    net.call("PIF.set_disallow_unplug", pif, False)
    vm = net.vm(power_state="Running", resident_on=net.hosts[0])
    vif = net.vif(vm, net.get("PIF", pif, "network"))
    net.call("VIF.plug", vif)
    assert net.refused("PIF.unplug", pif) == ["VIF_IN_USE", net.get("PIF", pif, "network"), vif]
    net.call("PIF.unplug", net.pif("eth1", 1))


def test_forget_and_find(net: Net) -> None:
    pif = net.pif("eth3")
    mac, network = net.get("PIF", pif, "MAC", "network")
    net.call("PIF.forget", pif)
    host = net.hosts[0]
    text = "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS"
    assert net.refused("PIF.introduce", host, "02:00:00:00:00:01", "eth3") == [text, "eth3", "02:00:00:00:00:01"]
    assert net.refused("PIF.introduce", host, "", "eth9") == ["MAC_INVALID", ""]
    assert net.refused("PIF.introduce", host, "", "eth2") == ["DUPLICATE_PIF_DEVICE_NAME", "eth2"]
    assert net.refused("PIF.scan", "OpaqueRef:no") == ["HOST_OFFLINE", "OpaqueRef:no"]
    net.call("PIF.scan", host)
    again = net.pif("eth3")
    assert again != pif
    assert net.get("PIF", again, "MAC", "network", "currently_attached") == (mac, network, False)
    net.call("PIF.forget", again)
    assert net.get("PIF", net.call("PIF.introduce", host, mac.upper(), "eth3"), "MAC") == mac
    management = net.pif("eth0")
    assert net.refused("PIF.forget", management) == ["PIF_IS_MANAGEMENT_INTERFACE", management]


def test_properties(net: Net) -> None:
    pif = net.pif("eth1")
    net.call("PIF.set_property", pif, "gro", "off")
    assert net.get("PIF", pif, "properties") == {"gro": "off"}
    assert net.refused("PIF.set_property", pif, "gro", "maybe") == ["INVALID_VALUE", "properties", "gro = maybe"]
    network = net.network()
    error = net.refused("Bond.create", network, [pif, net.pif("eth2")], "", "lacp", {})
    assert error == ["INCOMPATIBLE_PIF_PROPERTIES"]


# -- VLANs


def test_vlan_create(net: Net) -> None:
    base, network = net.pif("eth1"), net.network()
    vlan = net.call("VLAN.create", base, 42, network)
    untagged = net.get("VLAN", vlan, "untagged_PIF")
    record = net.call("PIF.get_record", untagged)
    expected = {"device": "eth1", "VLAN": 42, "MAC": "fe:ff:ff:ff:ff:ff", "VLAN_master_of": vlan, "network": network}
    expected |= {"physical": False, "currently_attached": True, "ip_configuration_mode": "None"}
    assert {key: record[key] for key in expected} == expected
    assert net.get("PIF", base, "VLAN_slave_of") == [vlan]
    assert net.refused("VLAN.create", base, 42, network) == ["NETWORK_ALREADY_CONNECTED", net.hosts[0], untagged]
    assert net.refused("VLAN.create", base, 42, net.network()) == ["PIF_VLAN_EXISTS", "eth1"]
    assert net.refused("VLAN.create", untagged, 1, net.network()) == ["PIF_IS_VLAN", untagged]
    assert net.refused("PIF.forget", base) == ["PIF_VLAN_STILL_EXISTS", base]
    net.call("VLAN.destroy", vlan)
    assert untagged not in net.call("PIF.get_all")
    assert net.get("PIF", base, "VLAN_slave_of") == []


@pytest.mark.parametrize(("tag", "good"), [(0, True), (4094, True), (-1, False), (4095, False)])
def test_tags(net: Net, tag: int, good: bool) -> None:
    """More facts, 14."""
    if good:
        net.call("VLAN.create", net.pif("eth1"), tag, net.network())
    else:
        assert net.refused("VLAN.create", net.pif("eth1"), tag, net.network()) == ["VLAN_TAG_INVALID", str(tag)]


def test_vlan_destroy_refused(net: Net) -> None:
    network = net.network()
    vlan = net.call("VLAN.create", net.pif("eth1"), 7, network)
    vif = net.vif(net.vm(power_state="Running", resident_on=net.hosts[0]), network)
    net.call("VIF.plug", vif)
    assert net.refused("VLAN.destroy", vlan) == ["VIF_IN_USE", network, vif]


def test_vlans_for_the_pool(net: Net) -> None:
    network = net.network()
    made = net.call("pool.create_VLAN_from_PIF", net.pif("eth2", 1), network, 99)
    assert {net.get("PIF", pif, "host", "VLAN") for pif in made} == {(host, 99) for host in net.hosts}
    assert set(net.get("network", network, "PIFs")) == set(made)
    other = net.network()
    net.call("VLAN.create", net.pif("eth3", 1), 5, net.network())
    assert net.refused("pool.create_VLAN_from_PIF", net.pif("eth3"), other, 5) == ["PIF_VLAN_EXISTS", "eth3"]
    assert net.get("network", other, "PIFs") == [], "all or none"
    assert net.refused("pool.create_VLAN", "eth8", other, 5) == ["INVALID_VALUE", "device", "eth8"]
    assert len(net.call("pool.create_VLAN", "eth1", other, 5)) == 2
    pif = net.get("network", other, "PIFs")[0]
    net.call("PIF.destroy", pif)
    assert pif not in net.call("PIF.get_all")
    assert net.refused("PIF.destroy", net.pif("eth1")) == ["PIF_IS_PHYSICAL"]
