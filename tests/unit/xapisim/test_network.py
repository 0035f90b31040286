# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks, PIFs, VLANs, bonds, tunnels and VIFs over the wire."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

NULL = "OpaqueRef:NULL"
VIF = {"MTU": 1500, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}}


class Net:
    """The simulator, and short ways to its network objects."""

    def __init__(self, sim: Any) -> None:
        self.sim = sim
        self.call, self.refused = sim.call, sim.refused
        self.hosts = [self.call("host.get_by_name_label", name)[0] for name in ("alpha-1", "alpha-2")]

    def network(self, **fields: Any) -> str:
        return self.call("network.create", {"name_label": "net", "other_config": {}, "MTU": 1500, **fields})

    def pif(self, device: str, host: int = 0) -> str:
        (found,) = [
            ref
            for ref, pif in self.call("PIF.get_all_records").items()
            if pif["device"] == device and pif["VLAN"] == -1 and pif["host"] == self.hosts[host]
        ]
        return found

    def get(self, cls: str, ref: str, *names: str) -> Any:
        record = self.call(f"{cls}.get_record", ref)
        return record[names[0]] if len(names) == 1 else tuple(record[name] for name in names)

    def vm(self, **fields: Any) -> str:
        with self.sim.pool.lock:
            values = {"name_label": "guest", "power_state": "Halted", "domain_type": "pv", **fields}
            return self.sim.pool.db.create("VM", **values).ref

    def vif(self, vm: str, network: str, **fields: Any) -> str:
        record = {"device": "0", "VM": vm, "network": network, "MAC": "00:16:3e:00:00:01", **VIF, **fields}
        return self.call("VIF.create", record)


@pytest.fixture
def net(start: Callable[..., Any]) -> Net:
    return Net(start({"pools": [{"name": "alpha", "templates": "none", "srs": [], "local_sr": "none"}]}))


# -- networks


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


# -- bonds


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


# -- VIFs


def test_generated_addresses(net: Net) -> None:
    """As xapi_vif_helpers.ml derives them: the same seed and device give the same address."""
    vm, other = (net.vm(other_config={"mac_seed": "seed"}) for _ in range(2))
    network = net.network()
    macs = [net.get("VIF", net.vif(each, network, MAC="", device="2"), "MAC") for each in (vm, other)]
    digest = b"seed"
    for _ in range(5):
        digest = hashlib.md5(digest, usedforsecurity=False).digest()
    second = hashlib.md5(digest, usedforsecurity=False).digest()
    first = digest[0] & 0xFE | 2
    assert macs == [":".join(f"{b:02x}" for b in (first, *digest[1:4], *second[1:3]))] * 2
    assert net.get("VIF", net.vif(vm, network, MAC="", device="3"), "MAC_autogenerated") is True
    assert net.get("VIF", net.vif(vm, network, device="4"), "MAC_autogenerated", "MTU") == (False, 1500)


def test_what_vif_create_accepts(net: Net) -> None:
    """More facts, 7."""
    vif = net.vif(net.vm(), net.network(), device="16", MAC="01:00:5e:00:00:01")
    assert net.get("VIF", vif, "device", "MAC", "currently_attached") == ("16", "01:00:5e:00:00:01", False)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"device": "autodetect"}, ["INVALID_DEVICE", "autodetect"]),
        ({"device": "-1"}, ["INVALID_DEVICE", "-1"]),
        ({"device": "0"}, ["DEVICE_ALREADY_EXISTS", "0"]),
        ({"device": "1", "MAC": "nonsense"}, ["MAC_INVALID", "nonsense"]),
        ({"device": "1", "MAC": ""}, ["MAC_INVALID", ""]),
        ({"device": "1", "network": "OpaqueRef:no"}, ["HANDLE_INVALID", "network", "OpaqueRef:no"]),
    ],
)
def test_vif_create_refused(net: Net, fields: dict[str, Any], error: list[str]) -> None:
    vm, network = net.vm(), net.network()
    net.vif(vm, network)
    record = {"device": "0", "VM": vm, "network": network, "MAC": "00:16:3e:00:00:02", **VIF, **fields}
    assert net.refused("VIF.create", record) == error


def test_vif_hotplug_and_move(net: Net) -> None:
    vm = net.vm(power_state="Running", resident_on=net.hosts[0])
    network, other = net.network(), net.network()
    vif = net.vif(vm, network)
    assert net.refused("VIF.unplug", vif) == ["DEVICE_ALREADY_DETACHED", vif]
    net.call("VIF.plug", vif)
    assert net.refused("VIF.plug", vif) == ["DEVICE_ALREADY_ATTACHED", vif]
    assert net.refused("VIF.destroy", vif) == ["OPERATION_NOT_ALLOWED", "VIF currently attached to a running VM"]
    net.call("VIF.move", vif, other)
    assert net.get("VIF", vif, "network") == other
    elsewhere = net.network()
    net.call("VLAN.create", net.pif("eth1", 1), 8, elsewhere)
    assert net.refused("VIF.move", vif, elsewhere) == ["HOST_CANNOT_ATTACH_NETWORK", net.hosts[0], elsewhere]
    halted = net.vm()
    idle = net.vif(halted, network)
    assert net.refused("VIF.plug", idle) == ["VM_BAD_POWER_STATE", halted, "running", "halted"]
    net.call("VIF.move", idle, elsewhere)
    hvm = net.vm(power_state="Running", resident_on=net.hosts[0], domain_type="hvm")
    assert net.refused("VIF.plug", net.vif(hvm, network)) == ["VM_MISSING_PV_DRIVERS", hvm]


def test_vif_locking(net: Net) -> None:
    vif = net.vif(net.vm(), net.network())
    net.call("VIF.set_locking_mode", vif, "locked")
    net.call("VIF.set_ipv4_allowed", vif, ["10.0.0.1", "10.0.0.1"])
    net.call("VIF.add_ipv4_allowed", vif, "10.0.0.2")
    net.call("VIF.remove_ipv4_allowed", vif, "10.0.0.1")
    assert net.get("VIF", vif, "locking_mode", "ipv4_allowed") == ("locked", ["10.0.0.2"])
    assert net.refused("VIF.add_ipv6_allowed", vif, "10.0.0.1") == ["INVALID_IP_ADDRESS_SPECIFIED", "ipv6_allowed"]
