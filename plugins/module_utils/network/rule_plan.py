# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of module network_rule to a change set."""
from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.network import rules
from ansible_collections.nobloat.xen.plugins.module_utils.network.pifs import (
    Picture,
    dead_hosts,
    hosts_text,
    read_picture,
)
from ansible_collections.nobloat.xen.plugins.module_utils.network.rules import Rule
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import Record, pif_kind
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import Keys


@dataclass
class Target:
    """Whose rules they are: a network, or a VIF with its MAC address."""

    cls: str
    record: Record
    network: Record
    mac: str | None = None

    @property
    def uuid(self) -> str:
        return str(self.record["uuid"])


@dataclass
class Place:
    """A host on which the rules have to be, with its flows; `bridge` is the network's."""

    host: str
    name: str
    bridge: str
    ports: int  # that a rule of the network has flows for, at least; 0: none are needed
    flows: dict[str, set[str]]

    def has(self, cookie: str) -> bool:
        return cookie in self.flows and len(self.flows[cookie]) >= self.ports


def plan_rules(module: XapiModule) -> ChangeSet:
    """The change set of the rules of a network or of a VIF."""
    params, xapi = module.params, module.xapi
    given = [rules.check(rule) for rule in params["rules"] or []]
    target = _target(module)
    if not rules.BRIDGE.fullmatch(target.network["bridge"]):
        raise ValueError(
            f"Bridge {target.network['bridge']} of network {target.network['name_label']} has a name that the hosts' plugin "
            f"{rules.PLUGIN} does not take: it has to end in a digit."
        )
    kept = rules.load(target.record["other_config"])
    if params["state"] == "absent":
        matches = {rules.match(rule) for rule in given}
        wanted = [rule for rule in kept if rules.match(rule) not in matches] if params["rules"] is not None else []
    else:
        wanted = rules.merge(kept, given, purge=params["purge"] or params["rules"] == [])
    places = _places(module, target, read_picture(xapi))
    changes = ChangeSet(_title(params, target), before=_view(target, kept, places, kept, params))
    _plan(module, changes, target, places, kept, wanted)
    if changes.steps:
        changes.after.update(rules=wanted, applied=dict.fromkeys(changes.after["applied"], True))
    return changes


def _target(module: XapiModule) -> Target:
    params, xapi = module.params, module.xapi
    if params["vm"] is None:
        network = records.find(xapi, "network", params["network"])
        return Target("network", network, network)
    where = 'field "is_a_template"="false" and field "is_a_snapshot"="false" and field "is_control_domain"="false"'
    vm = records.find(xapi, "VM", params["vm"], where=where)
    for vif in records.records(xapi, "VIF", f'field "VM"="{vm["ref"]}"').values():
        if vif["device"] == str(params["device"]):
            return Target("VIF", vif, records.record(xapi, "network", vif["network"]), vif["MAC"])
    raise ValueError(f"Guest {vm['name_label']} has no NIC {params['device']}.")


def _title(params: dict[str, Any], target: Target) -> str:
    if target.cls == "VIF":
        return f"rules of NIC {params['device']} of {params['vm']}"
    return f"rules of network {target.network['name_label']}"


def _places(module: XapiModule, target: Target, picture: Picture) -> list[Place]:
    """The live hosts that have the network's bridge, and what flows they have."""
    xapi, bridge = module.xapi, target.network["bridge"]
    # An internal network has a bridge where guests are on it, any other one where its interface is up.
    mine = {pif["host"]: pif for pif in picture.pifs.values() if pif["network"] == target.network["ref"]}
    guests = _guests(module, target)
    hosts = {host for host, pif in mine.items() if pif["currently_attached"]} if mine else set(guests)
    dead = dead_hosts(xapi, picture.hosts, hosts)
    if dead:
        module.warn(f"{hosts_text(picture.hosts, dead)} is not alive: the rules are not applied there. Run again when it is back.")
    networks = records.records(xapi, "network")
    places = []
    for host in sorted(hosts - dead, key=picture.name):
        pif = mine.get(host)
        own = guests.get(host, 0)
        ports = 1 if target.mac else own and own + (pif is not None and pif_kind(pif) != "tunnel")
        parent = networks[_base(picture, pif)["network"]]["bridge"] if pif else bridge
        reply = xapi.call("host.call_plugin", host, rules.PLUGIN, "dump-flows", {"bridge": parent})
        places.append(Place(host, picture.name(host), bridge, ports, rules.flows(reply)))
    return places


def _base(picture: Picture, pif: Record) -> Record:
    """What a VLAN lies over: its bridge is the one that Open vSwitch keeps flows for."""
    for base in picture.on(pif["host"]):
        if pif["VLAN_master_of"] in base["VLAN_slave_of"]:
            return base
    return pif


def _guests(module: XapiModule, target: Target) -> dict[str, int]:
    """{host: how many ports of running guests it has on the network}."""
    where = f'field "network"="{target.network["ref"]}" and field "currently_attached"="true"'
    vifs = records.records(module.xapi, "VIF", where)
    found: dict[str, int] = {}
    if vifs:
        where = " or ".join(f'field "_ref"="{ref}"' for ref in sorted({vif["VM"] for vif in vifs.values()}))
        vms = records.records(module.xapi, "VM", where)
        for vif in vifs.values():
            host = vms[vif["VM"]]["resident_on"]
            found[host] = found.get(host, 0) + 1
    return found


def _view(
    target: Target, kept: list[Rule], places: list[Place], wanted: list[Rule], params: dict[str, Any]
) -> dict[str, Any]:
    return {
        "network": target.network["name_label"],
        "vm": params["vm"],
        "device": params["device"] if target.cls == "VIF" else None,
        "rules": kept,
        "applied": {
            place.name: not _lacking(target, place, wanted) for place in places
        },
    }


def _lacking(target: Target, place: Place, wanted: list[Rule]) -> list[Rule]:
    """The rules that a host does not have, or not for all ports."""
    if not place.ports:
        return []
    return [rule for rule in wanted if not place.has(rules.cookie(rule, target.uuid))]


def _plan(
    module: XapiModule, changes: ChangeSet, target: Target, places: list[Place], kept: list[Rule], wanted: list[Rule]
) -> None:
    live = target.record["other_config"]
    if wanted != kept:
        content = {key: value for key, value in live.items() if key != rules.KEY}
        if wanted:
            content[rules.KEY] = rules.dump(wanted, target.uuid)
        keys = Keys(module.xapi.call, target.cls, "other_config", target.record["ref"], live)
        changes.step(f"keep {changes.title}", partial(keys, content), undo=partial(keys, live))
    gone = [rule for rule in kept if rule not in wanted]
    for place in places:
        for rule in gone:
            _step(module, changes, target, place, rule, adding=False)
        for rule in wanted if module.params["reapply"] and place.ports else _lacking(target, place, wanted):
            _step(module, changes, target, place, rule, adding=True)


def _step(module: XapiModule, changes: ChangeSet, target: Target, place: Place, rule: Rule, *, adding: bool) -> None:
    def tell(add: bool) -> None:
        method = "add-rule" if add else "del-rule"
        told = rules.arguments(rule, target.uuid, place.bridge, target.mac, adding=add)
        try:
            module.xapi.call("host.call_plugin", place.host, rules.PLUGIN, method, told)
        except XapiError as error:
            if not (add and error.code == rules.NOTHING_TO_DO):
                raise

    def back() -> None:
        with suppress(XapiError):
            tell(not adding)

    verb = "apply" if adding else "remove"
    changes.step(f"{verb} on {place.name}: {rules.text(rule)}", lambda: tell(adding), undo=back)
