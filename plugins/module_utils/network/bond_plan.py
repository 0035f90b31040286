# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of module bond to a change set."""
from __future__ import annotations

from copy import deepcopy
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.network import bonds
from ansible_collections.nobloat.xen.plugins.module_utils.network.bonds import BondPlan, Wish
from ansible_collections.nobloat.xen.plugins.module_utils.network.pifs import (
    Picture,
    dead_hosts,
    hosts_text,
    interfaces,
    read_picture,
)
from ansible_collections.nobloat.xen.plugins.module_utils.network.reach import (
    certificate_of,
    check_host,
)
from ansible_collections.nobloat.xen.plugins.module_utils.network.steps import step_network
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import (
    Record,
    choose_hosts,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import write_key

UNMADE = "network to be made"


def plan_bond(module: XapiModule) -> ChangeSet:
    """The change set of the bonds of one network, one bond a host."""
    params, xapi = module.params, module.xapi
    properties = bonds.check_properties(params["mode"], params["properties"])
    network = records.find(xapi, "network", params["name"], required=False)
    picture = read_picture(xapi)
    ref = network["ref"] if network else None
    changes = ChangeSet(f"bond {params['name']}", before=_view(params, picture, network))
    present = params["state"] == "present"
    wanted = _hosts(params, picture)
    pool = next(iter(records.records(xapi, "pool").values()))
    if present:
        wished = bonds.wishes(picture, wanted, params["members"] or [], wanted)
        plan = bonds.compare(picture, wished, ref, params["mode"], properties, pool["ha_enabled"])
        if params["hosts"] is not None and params["purge"]:
            plan.destroy = [bond for bond in _bonds(picture, ref) if _host(picture, bond) not in wanted]
    else:
        plan = BondPlan(destroy=[bond for bond in _bonds(picture, ref) if _host(picture, bond) in wanted])
    _leave_out_the_dead(module, picture, plan)
    _refuse_lockout(params, picture, plan, pool["ha_enabled"])
    _coordinator_last(picture, plan, pool["master"])
    _plan(module, changes, picture, plan, network, properties)
    if plan.create or plan.recreate:
        changes.making.add(f"network {network['uuid'] if network else params['name']}")
    return changes


def _view(params: dict[str, Any], picture: Picture, network: Record | None) -> dict[str, Any]:
    known = {"name": network["name_label"], "uuid": network["uuid"]} if network else {}
    return {**known, **_shown(params, picture, network["ref"] if network else None)}


def _shown(params: dict[str, Any], picture: Picture, network: str | None) -> dict[str, Any]:
    """The bonds, and unless there are others in a list, what becomes of all that they may take from."""
    views = bonds.bond_views(picture, network)
    return {"hosts": views} if params["bonds"] else {"hosts": views, "interfaces": interfaces(picture)}


def _hosts(params: dict[str, Any], picture: Picture) -> dict[str, dict[str, Any]]:
    """{reference: what is special about the host} of the wanted hosts."""
    if params["hosts"] is None:
        return {ref: {} for ref in picture.hosts}
    entries = {entry["name"]: entry for entry in params["hosts"]}
    return {
        ref: next(entries[key] for key in (picture.hosts[ref]["uuid"], picture.hosts[ref]["name_label"]) if key in entries)
        for ref in choose_hosts(picture.hosts, list(entries))
    }


def _bonds(picture: Picture, network: str | None) -> list[Record]:
    return [bond for bond in picture.bonds.values() if network and picture.pifs[bond["master"]]["network"] == network]


def _host(picture: Picture, bond: Record) -> str:
    return str(picture.pifs[bond["master"]]["host"])


def _leave_out_the_dead(module: XapiModule, picture: Picture, plan: BondPlan) -> None:
    dead = dead_hosts(module.xapi, picture.hosts, plan.hosts(picture))
    if not dead:
        return
    module.warn(f"{hosts_text(picture.hosts, dead)} is not alive: its bond is not changed. Run again when it is back.")
    plan.create = [wish for wish in plan.create if wish.host not in dead]
    plan.recreate = [each for each in plan.recreate if each[1].host not in dead]
    plan.change = [each for each in plan.change if _host(picture, each[0]) not in dead]
    plan.destroy = [bond for bond in plan.destroy if _host(picture, bond) not in dead]


def _coordinator_last(picture: Picture, plan: BondPlan, coordinator: str) -> None:
    """As long as it has its old network, it can put back another host whose new one does not work."""
    plan.create.sort(key=lambda wish: wish.host == coordinator)
    plan.recreate.sort(key=lambda each: each[1].host == coordinator)
    plan.change.sort(key=lambda each: _host(picture, each[0]) == coordinator)
    plan.destroy.sort(key=lambda bond: _host(picture, bond) == coordinator)


def _refuse_lockout(params: dict[str, Any], picture: Picture, plan: BondPlan, ha: bool) -> None:
    """A bond that does not fit the switch cuts its members off; the management comes back from the console only."""
    touched = [nic for wish in plan.create for nic in wish.nics]
    changed = [each[0] for each in plan.recreate] + [each[0] for each in plan.change] + plan.destroy
    touched += [picture.pifs[bond["master"]] for bond in changed]
    risky = [pif for pif in touched if pif["management"]]
    if not risky:
        return
    where = ", ".join(sorted(f"{pif['device']} of {picture.name(pif['host'])}" for pif in risky))
    if ha:
        raise ValueError(f"This changes the management interface ({where}), which high availability forbids. Disable it first.")
    if not params["allow_lockout"]:
        raise ValueError(
            f"This changes the bond of the management interface ({where}) in place. If the switch is not set up for it, the "
            "host may be reached from its console only, as nobody but its coordinator could take the change back: allow it with "
            "allow_lockout, or move the management to another interface first (nobloat.xen.pif, management: true)."
        )


def _plan(
    module: XapiModule, changes: ChangeSet, picture: Picture, plan: BondPlan, network: Record | None, properties: dict[str, str]
) -> None:
    """Add the steps, and draw what the pool will look like."""
    params, drawn = module.params, deepcopy(picture)
    ref = network["ref"] if network else UNMADE
    made = {"ref": ref}
    if not network and plan.create:
        step_network(module, changes, made)
    for bond in plan.destroy:
        _step_destroy(module, changes, picture, bond, made)
        _step_reach(module, changes, picture, [picture.pifs[bond["master"]]])
        bonds.draw_destroy(drawn, drawn.bonds[bond["ref"]])
    for bond, wish in plan.recreate:
        old = picture.pifs[bond["master"]]
        mode = params["mode"] or bond["mode"]
        if not wish.mac and not bond["auto_update_mac"]:
            wish.mac = old["MAC"]
        known = bonds.all_properties(mode, {**bond["properties"], **properties})
        _step_destroy(module, changes, picture, bond, made)
        _step_create(module, changes, picture, wish, made, mode, known)
        _step_reach(module, changes, picture, [old])
        bonds.draw_destroy(drawn, drawn.bonds[bond["ref"]])
        bonds.draw_create(drawn, wish, ref, mode, known, module.noted)
    for wish in plan.create:
        mode = params["mode"] or "balance-slb"
        bonds.check_properties(mode, properties)
        _step_create(module, changes, picture, wish, made, mode, properties)
        _step_reach(module, changes, picture, wish.nics)
        bonds.draw_create(drawn, wish, ref, mode, properties, module.noted)
    for bond, new_mode, differing in plan.change:
        _step_change(module, changes, picture, bond, new_mode, differing)
        _step_reach(module, changes, picture, [picture.pifs[bond["master"]]])
        target = drawn.bonds[bond["ref"]]
        target["mode"] = new_mode or bond["mode"]
        target["properties"] = {**bonds.all_properties(target["mode"], bond["properties"]), **differing}
    if changes.steps:
        changes.after.update(_shown(params, drawn, ref))


def _step_reach(module: XapiModule, changes: ChangeSet, picture: Picture, pifs: list[Record]) -> None:
    """Plan the proof that the management of a host, if it is on these PIFs, still works; else all is put back as far as it can."""
    if not any(pif["management"] for pif in pifs):
        return
    xapi, host = module.xapi, pifs[0]["host"]
    address, name = picture.hosts[host]["address"], picture.name(host)
    certificate = certificate_of(xapi, address)

    def reach() -> None:
        try:
            check_host(xapi, host, address, certificate, module.params["verify_timeout"])
        except XapiError as error:
            raise ValueError(f"{name} does not answer at {address} any more, now that its bond has changed ({error}).") from error

    changes.step(f"reach {name}", reach)


def _step_create(
    module: XapiModule, changes: ChangeSet, picture: Picture, wish: Wish, network: dict[str, str], mode: str,
    properties: dict[str, str],
) -> None:
    made: list[str] = []

    def create() -> None:
        refs = [nic["ref"] for nic in wish.nics]
        made.append(module.run("Bond.create", network["ref"], refs, wish.mac, mode, properties))

    devices = " and ".join(nic["device"] for nic in wish.nics)
    where = f"bond of {devices} on {picture.name(wish.host)}"
    changes.step(f"create {where}", create, undo=lambda: module.run("Bond.destroy", made[0]), leaves=where)


def _step_destroy(module: XapiModule, changes: ChangeSet, picture: Picture, bond: Record, network: dict[str, str]) -> None:
    master = picture.pifs[bond["master"]]
    refs = [nic["ref"] for nic in picture.members(bond)]
    mac = "" if bond["auto_update_mac"] else master["MAC"]

    def again() -> None:  # XAPI moves the addresses by itself, but knows no notes
        made = module.run("Bond.create", network["ref"], refs, mac, bond["mode"], bond["properties"])
        pif = module.xapi.call("Bond.get_master", made)
        for key, value in master["other_config"].items():
            write_key(module.xapi.call, "PIF", "other_config", pif, key, value)

    changes.step(f"destroy {master['device']} of {picture.name(master['host'])}",
                 lambda: ignore(module.run("Bond.destroy", bond["ref"])), undo=again)


def _step_change(
    module: XapiModule, changes: ChangeSet, picture: Picture, bond: Record, mode: str | None, properties: dict[str, str]
) -> None:
    master = picture.pifs[bond["master"]]
    where = f"{master['device']} of {picture.name(master['host'])}"

    def put_back() -> None:
        module.run("Bond.set_mode", bond["ref"], bond["mode"])
        for key, value in bond["properties"].items():
            module.run("Bond.set_property", bond["ref"], key, value)

    if mode:
        changes.step(
            f"make {where} {mode}", lambda: ignore(module.run("Bond.set_mode", bond["ref"], mode)), undo=put_back
        )
    for key, value in properties.items():
        changes.step(
            f"set {key} of {where} to {value}",
            lambda key=key, value=value: ignore(module.run("Bond.set_property", bond["ref"], key, value)),
            undo=put_back,
        )
