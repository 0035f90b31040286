# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.network import addresses

NONE = {"ip_mode": "none", "ip": "", "netmask": "", "gateway": "", "dns": [], "ipv6_mode": "none", "ipv6": "", "ipv6_gateway": ""}
STATIC = {**NONE, "ip_mode": "static", "ip": "10.0.0.2", "netmask": "255.255.255.0", "gateway": "10.0.0.1", "dns": ["10.0.0.53"]}
LEASED = {**STATIC, "ip_mode": "dhcp"}


def want(live, **options):
    params = dict.fromkeys(NONE) | options
    addresses.check_options(params)
    return addresses.desired(live, params)


@pytest.mark.parametrize("live", [NONE, STATIC, LEASED])
def test_nothing_said_nothing_changed(live):
    wanted = want(live)
    assert wanted == live
    assert not addresses.moves(live, wanted)


def test_a_length_is_a_mask():
    assert want(NONE, ip="10.1.2.3/20")["netmask"] == "255.255.240.0"
    assert want(NONE, ip="10.1.2.3/20") == want(NONE, ip="10.1.2.3", netmask="255.255.240.0")
    assert want(STATIC, ip="10.0.0.9") == {**STATIC, "ip": "10.0.0.9"}


def test_an_address_is_the_same_in_whatever_form_it_is_written():
    live = {**STATIC, "ipv6_mode": "static", "ipv6": "2001:db8::11/64", "ipv6_gateway": "2001:db8::1", "dns": ["10.0.0.53", "2001:db8::53"]}
    same = want(live, ipv6="2001:DB8:0::0011/64", ipv6_gateway="2001:db8:0:0::1", dns=["2001:DB8::53", "10.0.0.53"])
    assert same == live
    pif = {"ip_configuration_mode": "Static", "IP": "10.0.0.2", "netmask": "255.255.255.0", "gateway": "", "DNS": "2001:DB8::53, 10.0.0.53",
           "ipv6_configuration_mode": "Static", "IPv6": ["2001:DB8::0011/64"], "ipv6_gateway": "2001:DB8::1"}
    view = addresses.address_view(pif)
    assert {key: view[key] for key in ("dns", "ipv6", "ipv6_gateway")} == {key: live[key] for key in ("dns", "ipv6", "ipv6_gateway")}


def test_a_lease_is_not_foreseen_and_not_kept():
    assert want(STATIC, ip_mode="dhcp") == {**LEASED, "ip": None, "netmask": None, "gateway": None}
    assert want(LEASED, ip="10.0.0.7/24", dns=[]) == {**STATIC, "ip": "10.0.0.7", "gateway": "", "dns": []}
    assert want(STATIC, ip_mode="none") == NONE


def test_what_xapi_is_told():
    wanted = want(STATIC, dns=["2001:db8::53", "10.0.0.54"], ipv6="2001:db8::2/64", gateway="")
    assert wanted["dns"] == ["10.0.0.54", "2001:db8::53"]
    assert addresses.ipv4_arguments(wanted) == ["Static", "10.0.0.2", "255.255.255.0", "", "10.0.0.54"]
    assert addresses.ipv6_arguments(wanted) == ["Static", "2001:db8::2/64", "", "2001:db8::53"]
    assert addresses.ipv4_arguments(LEASED) == ["DHCP", "", "", "", "10.0.0.53"]
    assert addresses.differs(STATIC, wanted, addresses.IPV4, 4) and addresses.differs(STATIC, wanted, addresses.IPV6, 6)
    only_dns = want(STATIC, dns=["10.0.0.99"])
    assert addresses.differs(STATIC, only_dns, addresses.IPV4, 4) and not addresses.differs(STATIC, only_dns, addresses.IPV6, 6)
    assert not addresses.moves(STATIC, only_dns)


@pytest.mark.parametrize(("options", "says"), [
    ({"ip": "10.0.0.0/24"}, "network or broadcast"),
    ({"ip": "10.0.0.2/24", "gateway": "10.0.1.1"}, r"not in 10\.0\.0\.0/24"),
    ({"ip": "10.0.0.2/24", "gateway": "10.0.0.2"}, "the host itself"),
    ({"ip": "10.0.0.2"}, "needs ip and netmask"),
    ({"ip": "10.0.0.2/24", "netmask": "255.0.0.0"}, "contradict"),
    ({"ip_mode": "none", "gateway": "10.0.0.1"}, "only with ip_mode static"),
    ({"ipv6_mode": "static"}, "needs ipv6"),
    ({"ipv6": "fe80::1/200"}, "not an IPv6 address"),
    ({"netmask": "24"}, "not an IPv4 address"),
    ({"ipv6_gateway": "10.0.0.1"}, "not an IPv6 address"),
])
def test_what_makes_no_sense(options, says):
    with pytest.raises(ValueError, match=says):
        want(NONE, **options)


def test_small_subnets_have_no_broadcast_address():
    assert want(NONE, ip="10.0.0.0/31", gateway="10.0.0.1")["gateway"] == "10.0.0.1"


def test_neighbours():
    assert addresses.same_subnet({"IP": "10.0.0.2", "netmask": "255.255.255.0"}, {"IP": "10.0.0.9"})
    assert not addresses.same_subnet({"IP": "10.0.0.2", "netmask": "255.255.255.0"}, {"IP": "10.0.1.9"})
    assert not addresses.same_subnet({"IP": "", "netmask": ""}, {"IP": ""})
