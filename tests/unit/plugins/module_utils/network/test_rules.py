# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.network import rules


def rule(**fields):
    given = {"allow": True, "protocol": "ip", "port": None, "ip_range": "0.0.0.0/0", "direction": "from/to", "priority": 32768}
    return rules.check({**given, **fields})


WEB = rule(protocol="tcp", port=443)
NONE = rule(allow=False, priority=100)


def test_an_address_has_one_form():
    assert rule(ip_range="192.0.2.7/32")["ip_range"] == rule(ip_range="192.0.2.7")["ip_range"] == "192.0.2.7"


@pytest.mark.parametrize(("fields", "says"), [
    ({"protocol": "udp"}, "needs port"), ({"port": 7}, "has no port"), ({"ip_range": "10.0.0.1/8"}, "no range"),
    ({"priority": 65536}, "out of range"), ({"protocol": "tcp", "port": -1}, "out of range"),
])
def test_bad_rules(fields, says):
    with pytest.raises(ValueError, match=says):
        rule(**fields)


def test_kept_as_xen_orchestra_keeps_them():
    text = rules.dump([WEB, NONE], "owner")
    entries = [json.loads(entry) for entry in json.loads(text)]
    assert entries[0] == {
        "allow": True, "protocol": "TCP", "port": 443, "ipRange": "0.0.0.0/0", "direction": "from/to",
        "cookie": rules.cookie(WEB, "owner"),
    }
    assert entries[1]["priority"] == 100
    assert rules.load({rules.KEY: text}) == [WEB, NONE]
    theirs = json.dumps([json.dumps({"allow": False, "protocol": "IP", "ipRange": "", "direction": "to"})])
    assert rules.load({rules.KEY: theirs}) == [rule(allow=False, direction="to")]
    assert rules.load({}) == []


@pytest.mark.parametrize("text", ["[1", "[1]", '["{}"]', '{"a": 1}'])
def test_what_cannot_be_read_is_said(text):
    with pytest.raises(ValueError, match="does not hold rules"):
        rules.load({rules.KEY: text})


def test_merging():
    deny = {**WEB, "allow": False}
    assert rules.merge([WEB], [NONE], purge=False) == [WEB, NONE]
    assert rules.merge([WEB, NONE], [deny], purge=False) == [deny, NONE]
    assert rules.merge([WEB, NONE], [deny], purge=True) == [deny]
    with pytest.raises(ValueError, match="contradict"):
        rules.merge([], [WEB, deny], purge=False)


def test_a_cookie_is_that_of_one_rule_of_one_owner():
    assert rules.cookie(WEB, "a") == rules.cookie(dict(WEB), "a")
    assert len({rules.cookie(WEB, "a"), rules.cookie(WEB, "b"), rules.cookie({**WEB, "allow": False}, "a")}) == 3


def test_what_the_plugin_is_told():
    told = rules.arguments(WEB, "a", "xapi1", "02:00:00:00:00:01", adding=True)
    assert told == {
        "bridge": "xapi1", "mac": "02:00:00:00:00:01", "protocol": "tcp", "port": "443", "ipRange": "0.0.0.0/0",
        "direction": "from/to", "allow": "true", "priority": "32768", "cookie": rules.cookie(WEB, "a"),
    }
    assert "allow" not in rules.arguments(NONE, "a", "xapi1", None, adding=False)


def test_flows_of_a_host():
    stdout = (
        "OFPST_FLOW reply (OF1.1) (xid=0x2):\n"
        " cookie=0x6e62000000000001, duration=1.0s, table=0, priority=9,tcp,in_port=3,nw_dst=10.0.0.0/8 actions=NORMAL\n"
        ' cookie=0x6e62000000000001, duration=1.0s, table=0, priority=9,tcp,in_port="vif1.0" actions=NORMAL\n'
        " cookie=0x6e62000000000002, duration=1.0s, table=0, ip,dl_src=02:00:00:00:00:01 actions=drop\n"
        " cookie=0x0, duration=1.0s, table=0, priority=0 actions=NORMAL\n"
    )
    found = rules.flows(json.dumps({"returncode": 0, "stdout": stdout}))
    assert found == {"0x6e62000000000001": {"3", "vif1.0"}, "0x6e62000000000002": {""}, "0x0": {""}}
