# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.network import vlans

NULL = "OpaqueRef:NULL"
HOSTS = {f"h{n}": {"ref": f"h{n}", "uuid": f"uuid{n}", "name_label": f"xcp{n}"} for n in (1, 2)}


def pif(host, device="eth1", tag=-1, network="nic", **fields):
    return {
        "ref": f"{host}-{device}-{tag}", "host": host, "device": device, "VLAN": tag, "network": network,
        "bond_master_of": [], "bond_slave_of": NULL, "tunnel_access_PIF_of": [], "sriov_logical_PIF_of": [], **fields,
    }


NICS = [pif("h1"), pif("h2")]


def plan(pifs, network="net", wanted=("h1", "h2"), tag=100, device="eth1"):
    return vlans.plan_vlans(network, pifs, HOSTS, list(wanted), tag, device)


def refs(pifs):
    return [each["ref"] for each in pifs]


def test_a_new_network_gets_its_vlan_on_every_host():
    made = plan(NICS, network=None)
    assert refs(made.create) == ["h1-eth1--1", "h2-eth1--1"]
    assert made.replace == made.surplus == []


def test_only_the_host_that_lacks_the_vlan_gets_it():
    made = plan([*NICS, pif("h1", tag=100, network="net")])
    assert refs(made.create) == ["h2-eth1--1"]
    assert made.touches == {"h2"}


def test_nothing_is_left_to_do_when_all_is_there():
    made = plan([*NICS, pif("h1", tag=100, network="net"), pif("h2", tag=100, network="net")])
    assert made == vlans.VlanPlan()


def test_another_tag_or_device_is_replaced():
    nics = [*NICS, pif("h1", "eth2"), pif("h2", "eth2")]
    made = plan([*nics, pif("h1", tag=7, network="net"), pif("h2", "eth2", tag=100, network="net")])
    assert refs(made.replace) == ["h1-eth1-7", "h2-eth2-100"]
    assert refs(made.create) == ["h1-eth1--1", "h2-eth1--1"]


def test_vlans_on_hosts_that_are_not_wanted_are_surplus():
    made = plan([*NICS, pif("h1", tag=100, network="net"), pif("h2", tag=100, network="net")], wanted=["h1"])
    assert refs(made.surplus) == ["h2-eth1-100"]
    assert made.create == []


def test_a_vlan_lies_over_a_bond_but_not_over_its_members():
    bond = [pif("h1", "bond0", bond_master_of=["b"]), pif("h2", "bond0", bond_master_of=["b"])]
    members = [pif("h1", bond_slave_of="b"), pif("h2", bond_slave_of="b")]
    assert refs(plan(bond + members, device="bond0").create) == ["h1-bond0--1", "h2-bond0--1"]
    with pytest.raises(ValueError, match="eth1 of xcp1 is a member of a bond"):
        plan(bond + members)


@pytest.mark.parametrize(
    ("pifs", "words"),
    [
        ([pif("h1")], "no device eth1 on xcp2"),
        ([*NICS, pif("h1", tag=100, network="other")], "VLAN 100 over eth1 of xcp1 is already in use"),
        ([pif("h1", network="net"), pif("h2")], "network of eth1 on xcp1; a VLAN needs a network of its own"),
    ],
)
def test_what_cannot_be_made_is_refused(pifs, words):
    with pytest.raises(ValueError, match=words):
        plan(pifs)


def test_hosts_are_chosen_by_name_or_uuid():
    assert vlans.choose_hosts(HOSTS, None) == ["h1", "h2"]
    assert vlans.choose_hosts(HOSTS, ["uuid2"]) == ["h2"]
    assert vlans.choose_hosts(HOSTS, []) == []
    with pytest.raises(ValueError, match="no host xcp9; its hosts are xcp1, xcp2"):
        vlans.choose_hosts(HOSTS, ["xcp1", "xcp9"])


def test_the_view_tells_a_uniform_vlan_and_no_other():
    record = {
        "ref": "net", "name_label": "n", "uuid": "u", "name_description": "", "tags": [], "other_config": {},
        "MTU": 1500, "bridge": "xapi0", "default_locking_mode": "unlocked",
    }
    one, two = pif("h1", tag=100, network="net"), pif("h2", tag=100, network="net")
    view = vlans.network_view(record, [*NICS, two, one], HOSTS)
    assert (view["vlan"], view["device"], view["hosts"]) == (100, "eth1", ["xcp1", "xcp2"])
    view = vlans.network_view(record, [one, pif("h2", tag=101, network="net")], HOSTS)
    assert (view["vlan"], view["device"]) == (None, "eth1")
    view = vlans.network_view({**record, "ref": "nic"}, NICS, HOSTS)
    assert (view["vlan"], view["device"]) == (None, "eth1")
    assert vlans.network_view(record, NICS, HOSTS)["hosts"] == []


GOOD = {"vlan": None, "mtu": None, "bridge": None, "device": None}


@pytest.mark.parametrize(
    "given", [{"vlan": 0}, {"vlan": 4094}, {"mtu": 9000}, {"bridge": "br-storage"}, {"device": "bond0"}, {}]
)
def test_good_options_pass(given):
    vlans.check_options({**GOOD, **given})


@pytest.mark.parametrize(
    "given",
    [
        {"vlan": -1}, {"vlan": 4095}, {"mtu": 0}, {"mtu": 65536}, {"bridge": "xapi5"}, {"bridge": "a" * 16},
        {"device": 'e"'},
    ],
)
def test_bad_options_are_refused(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        vlans.check_options({**GOOD, **given})
