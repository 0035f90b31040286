# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenFlow rules as plain data: how they are wanted, kept in other_config, sent to the hosts' plugin and found there."""
from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

# The key and the form are those of Xen Orchestra, which shows the rules and installs them anew when a host comes back: a list
# of JSON texts, each {allow, protocol, port, ipRange, direction}. `priority` and `cookie` are ours; it ignores or keeps them.
KEY = "xo:sdn-controller:of-rules"
PLUGIN = "sdncontroller.py"
NOTHING_TO_DO = "4"  # its error when a network has no ports on a host that a rule could be for
PORTED = ("tcp", "udp")
PROTOCOLS = (*PORTED, "icmp", "ip", "arp")
DIRECTIONS = ("from", "to", "from/to")
BRIDGE = re.compile(r"\w*\d")  # the plugin takes names that end in digits only
PRIORITY = 32768  # Open vSwitch's own
COOKIE = "6e62"  # the first 16 of its 64 bits

Rule = dict[str, Any]


def check(rule: Mapping[str, Any]) -> Rule:
    """A rule of the options in its one form. Raises ValueError."""
    protocol, port = rule["protocol"], rule["port"]
    if (port is None) == (protocol in PORTED):
        raise ValueError(f"A rule for {protocol} {'needs' if port is None else 'has no'} port.")
    if port is not None and port not in range(65536):
        raise ValueError(f"port {port} is out of range; ports go from 0 to 65535.")
    if rule["priority"] not in range(65536):
        raise ValueError(f"priority {rule['priority']} is out of range; it goes from 0 to 65535.")
    try:
        network = ipaddress.IPv4Network(rule["ip_range"])
    except ValueError as error:
        raise ValueError(f"ip_range {rule['ip_range']!r} is no range of IPv4 addresses ({error}).") from None
    text = str(network) if network.prefixlen < 32 else str(network.network_address)
    return {
        "allow": rule["allow"], "protocol": protocol, "port": port, "ip_range": text, "direction": rule["direction"],
        "priority": rule["priority"],
    }


def match(rule: Rule) -> tuple[Any, ...]:
    """What a rule is about, without what it says."""
    return tuple(rule[name] for name in ("protocol", "port", "ip_range", "direction", "priority"))


def order(rules: Iterable[Rule]) -> list[Rule]:
    """Highest priority first, in one order always."""
    return sorted(rules, key=lambda rule: (-rule["priority"], *map(str, match(rule))))


def merge(kept: Iterable[Rule], wanted: Iterable[Rule], *, purge: bool) -> list[Rule]:
    """The wanted rules laid over the kept ones: one for each match. Raises ValueError for two that contradict each other."""
    laid: dict[tuple[Any, ...], Rule] = {}
    for rule in wanted:
        if laid.setdefault(match(rule), rule) != rule:
            raise ValueError(f"Two rules contradict each other: {text(rule)}.")
    return order({**({} if purge else {match(rule): rule for rule in kept}), **laid}.values())


def text(rule: Rule) -> str:
    """A rule in words."""
    port = "" if rule["port"] is None else f" port {rule['port']}"
    return f"{'allow' if rule['allow'] else 'deny'} {rule['protocol']}{port} {rule['direction']} {rule['ip_range']}"


def load(other_config: Mapping[str, str]) -> list[Rule]:
    """The rules that an object keeps. Raises ValueError where they cannot be read."""
    try:
        entries = [json.loads(entry) for entry in json.loads(other_config.get(KEY) or "[]")]
        return order({
            "allow": bool(entry["allow"]), "protocol": entry.get("protocol", "ip").lower(),
            "port": None if entry.get("port") in (None, "") else int(entry["port"]),
            "ip_range": (entry.get("ipRange") or "0.0.0.0/0").removesuffix("/32"), "direction": entry["direction"].lower(),
            "priority": int(entry.get("priority", PRIORITY)),
        } for entry in entries)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"other_config {KEY} does not hold rules that can be read ({error!r}). Correct or remove it.") from None


def dump(rules: Iterable[Rule], owner: str) -> str:
    """The rules as they are kept; `owner` is the uuid of the network or VIF."""
    return json.dumps([
        json.dumps({
            "allow": rule["allow"], "protocol": rule["protocol"].upper(),
            **({} if rule["port"] is None else {"port": rule["port"]}), "ipRange": rule["ip_range"],
            "direction": rule["direction"], "cookie": cookie(rule, owner),
            **({} if rule["priority"] == PRIORITY else {"priority": rule["priority"]}),
        }, separators=(",", ":"))
        for rule in rules
    ], separators=(",", ":"))


def cookie(rule: Rule, owner: str) -> str:
    """The number by which the flows of a rule are found on a host, as Open vSwitch writes it."""
    digest = hashlib.sha256(json.dumps([owner, rule], sort_keys=True).encode()).hexdigest()
    return f"0x{COOKIE}{digest[:12]}"


def arguments(rule: Rule, owner: str, bridge: str, mac: str | None, *, adding: bool) -> dict[str, str]:
    """The arguments of the plugin's add-rule or del-rule."""
    found = {
        "bridge": bridge, "protocol": rule["protocol"], "ipRange": rule["ip_range"], "direction": rule["direction"],
        "cookie": cookie(rule, owner),
    }
    if mac:
        found["mac"] = mac
    if rule["port"] is not None:
        found["port"] = str(rule["port"])
    if adding:
        found.update(allow=str(rule["allow"]).lower(), priority=str(rule["priority"]))
    return found


def flows(reply: str) -> dict[str, set[str]]:
    """{cookie: ports of the bridge that its flows are for ("" for all)}, from what dump-flows returned."""
    found: dict[str, set[str]] = {}
    for line in str(json.loads(reply).get("stdout", "")).splitlines():
        cookies = re.search(r"cookie=(0x[0-9a-f]+)", line)
        port = re.search(r"\bin_port=\"?([^,\s\"]+)", line)
        if cookies:
            found.setdefault(cookies[1], set()).add(port[1] if port else "")
    return found
