# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XCP-ng's plugin for OpenFlow rules, and the SDN controller."""

from __future__ import annotations

import json
from typing import Any

import pytest

from unit.xapisim.network.objects import Net

RULE = {"bridge": "xenbr1", "protocol": "tcp", "port": "22", "ipRange": "10.0.0.0/8", "direction": "to", "allow": "true"}
MAC = "02:00:00:00:00:01"


def plugin(net: Net, function: str, **args: str) -> Any:
    return net.call("host.call_plugin", net.hosts[0], "sdncontroller.py", function, args)


def refused(net: Net, function: str, **args: str) -> list[str]:
    return net.refused("host.call_plugin", net.hosts[0], "sdncontroller.py", function, args)[:2]


def flows(net: Net, bridge: str = "xenbr1") -> list[str]:
    lines = json.loads(plugin(net, "dump-flows", bridge=bridge))["stdout"].splitlines()
    return [line.partition("priority=")[2] for line in lines[1:]]


def test_rules_with_a_mac_address(net: Net) -> None:
    assert plugin(net, "add-rule", **RULE, mac=MAC, cookie="0x0A", priority="7") == "true"
    match = f"7,tcp,dl_src={MAC},nw_dst=10.0.0.0/8,tp_dst=22 actions=NORMAL"
    assert flows(net) == [match, "0 actions=NORMAL"]
    plugin(net, "add-rule", **{**RULE, "direction": "from/to", "allow": "false"}, mac=MAC, cookie="0xa")
    assert len(flows(net)) == 3, "the cookie's flows are replaced"
    plugin(net, "del-rule", **RULE, mac=MAC)
    assert len(flows(net)) == 3, "without a cookie only flows without one are deleted"
    plugin(net, "del-rule", **RULE, cookie="0xa")
    assert flows(net) == ["0 actions=NORMAL"]


def test_rules_of_a_network_are_for_its_ports(net: Net) -> None:
    assert refused(net, "add-rule", **RULE) == ["4", "add_rule: No rules were build"]
    vm = net.vm(power_state="Running", resident_on=net.hosts[0])
    net.call("VIF.plug", net.vif(vm, net.get("PIF", net.pif("eth1"), "network")))
    plugin(net, "add-rule", **RULE)
    assert len(flows(net)) == 3, "the guest's port, the NIC's, and the usual flow"


def test_a_vlan_has_no_table_of_its_own(net: Net) -> None:
    network = net.network()
    net.call("VLAN.create", net.pif("eth1"), 5, network)
    bridge = net.get("network", network, "bridge")
    plugin(net, "add-rule", **{**RULE, "bridge": bridge}, mac=MAC)
    assert len(flows(net, "xenbr1")) == 2
    assert refused(net, "dump-flows", bridge=bridge)[0] == "3"
    assert refused(net, "dump-flows", bridge="xapi99")[0] == "3"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"bridge": "mine"}, "1"),
        ({"mac": "x"}, "1"),
        ({"direction": "up"}, "1"),
        ({"protocol": "sctp"}, "1"),
        ({"ipRange": "10.0.0.256"}, "1"),
        ({"port": "70000"}, "1"),
        ({"allow": "maybe"}, "1"),
        ({"cookie": "a"}, "1"),
        ({"priority": "-1"}, "1"),
        ({"port": ""}, "1"),
    ],
)
def test_bad_rules(net: Net, change: dict[str, str], code: str) -> None:
    assert refused(net, "add-rule", **{**RULE, **change})[0] == code


def test_what_is_not_there(net: Net) -> None:
    without = {key: value for key, value in RULE.items() if key != "port"}
    assert refused(net, "add-rule", **without)[0] == "2"
    assert refused(net, "fly") == ["UNKNOWN_XENAPI_PLUGIN_FUNCTION", "fly"]


def test_controller(net: Net) -> None:
    made = net.call("SDN_controller.introduce", "ssl", "10.0.0.1")
    assert net.get("SDN_controller", made, "port") == 6632
    assert net.refused("SDN_controller.introduce", "pssl")[0] == "OPERATION_NOT_ALLOWED"
    net.call("SDN_controller.forget", made)
    assert net.refused("SDN_controller.introduce", "pssl", "10.0.0.1")[0] == "OPERATION_NOT_ALLOWED"
    assert net.refused("SDN_controller.introduce", "ssl", "x") == ["INVALID_IP_ADDRESS_SPECIFIED", "address"]
    net.call("SDN_controller.introduce", "pssl")
