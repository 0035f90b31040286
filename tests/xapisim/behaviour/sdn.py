# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XCP-ng's dom0 plugin sdncontroller.py: OpenFlow rules on the bridges of a host; and SDN_controller.

Written after what the plugin does (xcp-ng-xapi-plugins, 2026): its checks in their order, its error codes (1 parameters,
2 their combination, 3 Open vSwitch, 4 no ports), its flows. Flows live until the host boots again.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import XapiError
from ..registry import NULL, message
from . import pif_rules as rules
from .plugins import plugin

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context

Strings = dict[str, str]
NAME = "sdncontroller.py"
_BRIDGE = re.compile(r"\b\w+\d+\b")
_MAC = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_RANGE = re.compile(r"[0-9.]+(/\d{1,2})?")
_COOKIE = re.compile(r"0x0*([0-9a-fA-F]{1,16})")
_PORTED = ("tcp", "udp")
_PROTOCOLS = (*_PORTED, "icmp", "ip", "arp")


@dataclass(frozen=True)
class Flow:
    """One entry of a bridge's table, as `ovs-ofctl dump-flows` would write its match."""

    cookie: str
    match: str
    priority: int
    action: str


def _fail(code: int, text: str) -> XapiError:
    return XapiError(str(code), text, "", "")


def _tables(ctx: Context, host: Row) -> dict[str, list[Flow]]:
    """The flow tables of a host by bridge, empty after each boot."""
    booted = host.other_config.get("boot_time", "")
    known: dict[tuple[str, str], dict[str, list[Flow]]] = ctx.pool.__dict__.setdefault("flow_tables", {})
    return known.setdefault((host.uuid, booted), {})


def _number(value: str | None, what: str) -> str | None:
    if value is not None and not (value.isdigit() and int(value) <= 65535):
        raise _fail(1, f"Failed to get parameters: '{value}' is not a valid {what}")
    return value


def _parsed(args: Strings, *, adding: bool) -> dict[str, Any]:
    def refuse(text: str) -> XapiError:
        return _fail(1, f"{'add' if adding else 'del'}_rule: Failed to get parameters: {text}")

    def needed(name: str) -> str:
        if name not in args:
            raise refuse(f"{name} parameter is missing")
        return args[name]

    bridge, mac = needed("bridge"), args.get("mac")
    if not _BRIDGE.match(bridge):
        raise refuse(f"'{bridge}' is not a valid bridge name")
    if mac is not None and not _MAC.fullmatch(mac):
        raise refuse(f"'{mac}' is not a valid MAC")
    direction = needed("direction").lower().split("/")
    if not {"to", "from"} & set(direction):
        raise refuse(f"'{args['direction']}' is not a valid direction")
    protocol = needed("protocol").lower()
    if protocol not in _PROTOCOLS:
        raise refuse(f"'{protocol}' is not a supported protocol")
    ip_range = needed("ipRange")
    if not (_RANGE.fullmatch(ip_range) and _is_ipv4(ip_range.partition("/")[0])):
        raise refuse(f"'{ip_range}' is not a valid IP range")
    port = _number(args.get("port"), "port")
    if adding and needed("allow").lower() not in ("true", "false"):
        raise refuse(f"allow parameter should be true or false, not '{args['allow']}'")
    cookie = _COOKIE.fullmatch(args.get("cookie", "0x0"))
    if cookie is None:
        raise refuse(f"'{args['cookie']}' is not a valid cookie")
    if protocol in _PORTED and not port:
        raise _fail(2, f"{'add' if adding else 'del'}_rule: No port provided, tcp and udp requires one")
    return {
        "bridge": bridge, "mac": mac, "directions": [each for each in ("to", "from") if each in direction],
        "protocol": protocol, "range": ip_range, "port": port, "allow": args.get("allow", "").lower() == "true",
        "priority": int(_number(args.get("priority"), "priority") or 32768), "cookie": f"0x{cookie[1].lower()}",
    }  # fmt: skip


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4
    except ValueError:
        return False


def _switch(ctx: Context, host: Row, bridge: str) -> tuple[str, list[int], list[int], int]:
    """The bridge that holds the flows, the ports of guests, those that lead outside, and the VLAN tag (-1 for none)."""
    db = ctx.db
    for network in db.rows("network", bridge=bridge):
        pifs = [pif for pif in db.rows("PIF", network=network) if pif.host == host.ref and pif.currently_attached]
        vifs = [
            vif
            for vif in db.rows("VIF", network=network)
            if vif.currently_attached and db.row("VM", vif.VM).resident_on == host.ref
        ]
        if not pifs and not vifs:
            break
        parent, outside = bridge, []
        if pifs:
            base = _base(ctx, pifs[0])
            parent = db.row("network", base.network).bridge
            members = [pif for ref in base.bond_master_of for pif in db.rows("PIF", bond_slave_of=ref)] or [base]
            outside = [] if rules.kind(base) == "tunnel" else [1 + n for n in range(len(members))]
        inside = [100 + int(vif.uuid[:4], 16) for vif in vifs]
        return parent, inside, outside, pifs[0].VLAN if pifs else -1
    command = ["ovs-vsctl", "br-to-parent", bridge]
    raise _fail(3, f"Error running ovs-vsctl command: {command}: ovs-vsctl: no bridge named {bridge}\n")


def _base(ctx: Context, pif: Row) -> Row:
    if pif.VLAN_master_of == NULL:
        return pif
    return ctx.db.row("PIF", ctx.db.row("VLAN", pif.VLAN_master_of).tagged_PIF)


def _matches(rule: dict[str, Any], inside: list[int], outside: list[int], tag: int) -> list[str]:
    """One flow for each direction and port; with a MAC address, for the whole bridge."""
    found = []
    for direction in rule["directions"]:
        mac, net, port = {"to": ("dl_src", "nw_dst", "tp_dst"), "from": ("dl_dst", "nw_src", "tp_src")}[direction]
        rest = f",{net}={rule['range']}" + (f",{port}={rule['port']}" if rule["port"] else "")
        if rule["mac"]:
            found.append(f"{rule['protocol']},{mac}={rule['mac']}{rest}")
        elif inside:
            vlan = f",dl_vlan={tag}" if tag >= 0 else ",vlan_tci=0x0000/0x1fff"
            found += [f"{rule['protocol']},in_port={number}{rest}" for number in inside]
            found += [f"{rule['protocol']}{vlan},in_port={number}{rest}" for number in outside]
    return found


@plugin(NAME, "add-rule")
def add_rule(ctx: Context, host: Row, args: Strings) -> str:
    """A cookie that is there already is replaced."""
    rule = _parsed(args, adding=True)
    parent, inside, outside, tag = _switch(ctx, host, rule["bridge"])
    table = _tables(ctx, host).setdefault(parent, [])
    if rule["cookie"] != "0x0":
        table[:] = [flow for flow in table if flow.cookie != rule["cookie"]]
    matches = _matches(rule, inside, outside, tag)
    if not matches:
        raise _fail(4, "add_rule: No rules were build")
    action = "NORMAL" if rule["allow"] else "drop"
    for match in matches:
        table[:] = [flow for flow in table if (flow.match, flow.priority) != (match, rule["priority"])]
        table.append(Flow(rule["cookie"], match, rule["priority"], action))
    return "true"


@plugin(NAME, "del-rule")
def del_rule(ctx: Context, host: Row, args: Strings) -> str:
    """By cookie, or else by what the rule matches."""
    rule = _parsed(args, adding=False)
    parent, inside, outside, tag = _switch(ctx, host, rule["bridge"])
    table = _tables(ctx, host).setdefault(parent, [])
    if rule["cookie"] != "0x0":
        table[:] = [flow for flow in table if flow.cookie != rule["cookie"]]
    else:
        matches = _matches(rule, inside, outside, tag)
        table[:] = [flow for flow in table if flow.cookie != "0x0" or flow.match not in matches]
    return "true"


@plugin(NAME, "dump-flows")
def dump_flows(ctx: Context, host: Row, args: Strings) -> str:
    """Of a real bridge; that of a VLAN has none of its own."""
    bridge = args.get("bridge")
    if bridge is None:
        raise _fail(1, "dump_flows: Failed to get parameters: bridge parameter is missing")
    command = ["ovs-ofctl", "-O", "OpenFlow11", "dump-flows", bridge]
    if _switch(ctx, host, bridge)[0] != bridge:
        raise _fail(3, f"Error dumping flows: {command}: ovs-ofctl: {bridge} is not a bridge or a socket\n")
    usual = Flow("0x0", "", 0, "NORMAL")
    lines = [
        f" cookie={flow.cookie}, duration=1.0s, table=0, n_packets=0, n_bytes=0, "
        f"priority={flow.priority}{',' if flow.match else ''}{flow.match} actions={flow.action}"
        for flow in [*_tables(ctx, host).get(bridge, []), usual]
    ]
    stdout = "\n".join(["OFPST_FLOW reply (OF1.1) (xid=0x2):", *lines, ""])
    return json.dumps({"returncode": 0, "command": command, "stderr": "", "stdout": stdout})


@message("SDN_controller.introduce")
def introduce(ctx: Context, protocol: str, address: str, port: int) -> Row:
    """One at most; `pssl` listens, so it has neither address nor port."""
    if any(host.software_version.get("network_backend") != "openvswitch" for host in ctx.db.rows("host")):
        raise XapiError("OPENVSWITCH_NOT_ACTIVE")
    if ctx.db.rows("SDN_controller"):
        raise XapiError("OPERATION_NOT_ALLOWED", "SDN controller has been configured. Please forget it first.")
    if protocol == "pssl":
        if address or port:
            raise XapiError("OPERATION_NOT_ALLOWED", "pssl takes neither address nor port")
    elif not _is_ipv4(address):
        raise XapiError("INVALID_IP_ADDRESS_SPECIFIED", "address")
    elif port == 0:
        port = 6632
    return ctx.db.create("SDN_controller", protocol=protocol, address=address, port=port)


@message("SDN_controller.forget")
def forget(ctx: Context, controller: Row) -> None:
    ctx.db.destroy(controller)
