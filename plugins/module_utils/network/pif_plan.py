# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of module pif to a change set."""
from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import (
    ChangeSet,
    ignore,
)
from ansible_collections.nobloat.xen.plugins.module_utils.common import wanted_keys
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.network import addresses
from ansible_collections.nobloat.xen.plugins.module_utils.network.management import Mover
from ansible_collections.nobloat.xen.plugins.module_utils.network.pifs import (
    Picture,
    dead_hosts,
    is_member,
    read_picture,
)
from ansible_collections.nobloat.xen.plugins.module_utils.network.reach import certificate_of
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import (
    Record,
    choose_hosts,
    describe,
    pif_kind,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import (
    NotFound,
    XapiError,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import Keys

PURPOSE = "management_purpose"  # the key under which XenCenter and XCP-ng Center keep what a second interface is for
ADDRESS = (*addresses.IPV4, *addresses.IPV6, "dns")


def plan_pif(module: XapiModule) -> ChangeSet:
    """The change set of one PIF."""
    params = module.params
    addresses.check_options(params)
    picture = read_picture(module.xapi)
    networks = records.records(module.xapi, "network")
    pif = find_pif(picture, networks, params)
    changes = ChangeSet(f"{describe(pif)} of {picture.name(pif['host'])}", before=pif_view(picture, networks, pif))
    if params["management"] is False and pif["management"]:
        raise ValueError(f"{changes.title} carries the management, which can only move: say management: true for another one.")
    _plan_settings(module, changes, pif)
    wanted = addresses.desired(addresses.address_view(pif), params)
    _plan_addresses(module, changes, picture, pif, wanted)
    if changes.steps and dead_hosts(module.xapi, picture.hosts, [pif["host"]]):
        raise ValueError(f"{picture.name(pif['host'])} is not alive: nothing can be changed there. Start it first.")
    return changes


def find_pif(picture: Picture, networks: dict[str, Record], params: dict[str, Any]) -> Record:
    """The one PIF that the options mean. Raises NotFound or ValueError."""
    if params["uuid"]:
        for pif in picture.pifs.values():
            if pif["uuid"] == params["uuid"]:
                return pif
        raise NotFound("PIF", params["uuid"])
    hosts = choose_hosts(picture.hosts, [params["host"]])
    if len(hosts) > 1:
        raise ValueError(f"Several hosts have the name {params['host']}. Give the uuid of one of them.")
    host = hosts[0]
    found, there = [], []
    for pif in picture.on(host):
        network = networks.get(pif["network"], {})
        there.append(f"{describe(pif)} ({network.get('name_label')})")
        named = params["network"] in (None, network.get("name_label"), network.get("uuid"))
        tag = -1 if params["vlan"] is None else params["vlan"]
        by_device = params["device"] is None or (params["device"], tag) == (pif["device"], pif["VLAN"])
        if named and by_device:
            found.append(pif)
    what = params["network"] or params["device"] + (f" VLAN {params['vlan']}" if params["vlan"] is not None else "")
    if not found:
        raise ValueError(f"Host {picture.name(host)} has no interface on {what}; it has {', '.join(sorted(there))}.")
    if len(found) > 1:
        raise ValueError(f"Host {picture.name(host)} has several interfaces on {what}: {', '.join(map(describe, found))}.")
    return found[0]


def pif_view(picture: Picture, networks: dict[str, Record], pif: Record) -> dict[str, Any]:
    """A PIF in the terms of the options."""
    return {
        "host": picture.name(pif["host"]),
        "network": networks.get(pif["network"], {}).get("name_label"),
        **addresses.pif_view(pif),
        "disallow_unplug": pif["disallow_unplug"],
        "purpose": pif["other_config"].get(PURPOSE, ""),
        "properties": dict(pif["properties"]),
        "other_config": {key: value for key, value in pif["other_config"].items() if key != PURPOSE},
    }


def _plan_settings(module: XapiModule, changes: ChangeSet, pif: Record) -> None:
    params, call, ref, live = module.params, module.xapi.call, pif["ref"], pif["other_config"]
    if PURPOSE in (params["other_config"] or {}):
        raise ValueError(f"other_config.{PURPOSE} is the option purpose.")
    purpose = live.get(PURPOSE, "") if params["purpose"] is None else params["purpose"]
    shown = {key: value for key, value in live.items() if key != PURPOSE}
    others = shown if params["other_config"] is None else wanted_keys(shown, params["other_config"], purge=params["purge"])
    if (purpose, others) != (live.get(PURPOSE, ""), shown):
        changes.after.update(purpose=purpose, other_config=others)
        content = {**others, **({PURPOSE: purpose} if purpose else {})}
        keys = Keys(call, "PIF", "other_config", ref, live)
        changes.step(f"set purpose and other_config of {changes.title}", partial(keys, content), undo=partial(keys, live))
    before = pif["disallow_unplug"]
    if params["disallow_unplug"] is not None and params["disallow_unplug"] != before:
        changes.after["disallow_unplug"] = params["disallow_unplug"]
        changes.step(
            f"set disallow_unplug of {changes.title}",
            lambda: ignore(call("PIF.set_disallow_unplug", ref, params["disallow_unplug"])),
            undo=lambda: call("PIF.set_disallow_unplug", ref, before),
        )
    gro = params["gro"]
    if gro is not None and pif["properties"].get("gro") != ("on" if gro else "off"):
        if pif_kind(pif) not in ("physical", "bond") or is_member(pif):
            raise ValueError(f"gro: only a NIC or a bond has it, {changes.title} does not. Set it for what it lies over.")
        value, old = ("on", "off") if gro else ("off", "on")
        changes.after["properties"]["gro"] = value
        changes.step(
            f"set gro of {changes.title}", lambda: ignore(call("PIF.set_property", ref, "gro", value)),
            undo=lambda: call("PIF.set_property", ref, "gro", old),
        )


def _plan_addresses(
    module: XapiModule, changes: ChangeSet, picture: Picture, pif: Record, wanted: dict[str, Any]
) -> None:
    """Attach, set addresses and move the management, in an order that leaves a way back."""
    params, live = module.params, addresses.address_view(pif)
    promote = bool(params["management"]) and not pif["management"]
    moves = addresses.moves(live, wanted)
    told = moves or wanted["dns"] != live["dns"]
    _check_placement(module, changes, picture, pif, wanted, moves or promote)
    attached = True if promote else params["attached"]
    if attached is True and not pif["currently_attached"]:
        _step_plug(module, changes, pif)
    if not (told or promote):
        if attached is False and pif["currently_attached"]:
            _step_unplug(module, changes, pif)
        return
    pool = next(iter(records.records(module.xapi, "pool").values()))
    mover = Mover(module, picture, pif["host"], pool["master"])
    if (promote or (moves and pif["management"])) and pool["ha_enabled"]:
        raise ValueError("The management network cannot change while high availability is enabled. Disable it first.")
    if moves and not pif["management"]:
        _refuse_own_seat(module, changes, mover, pif)
    if promote:
        _promote(module, changes, mover, pif, wanted, told)
    elif pif["management"] and moves:
        _change_in_place(module, changes, mover, pif, wanted)
    else:
        _step_addresses(module, changes, pif, wanted)
    if attached is False and pif["currently_attached"]:
        _step_unplug(module, changes, pif)


def _check_placement(
    module: XapiModule, changes: ChangeSet, picture: Picture, pif: Record, wanted: dict[str, Any], addressed: bool
) -> None:
    name, title = picture.name(pif["host"]), changes.title
    if is_member(pif) and (addressed or module.params["attached"]):
        raise ValueError(f"{title} is a member of a bond; give the address to the bond ({_bond_device(picture, pif)}).")
    if not pif["managed"] and addressed:
        raise ValueError(f"{title} is not managed by XAPI.")
    carries = pif["management"] or module.params["management"]
    if carries and wanted["ip_mode"] == "none" and pif["primary_address_type"] == "IPv4":
        raise ValueError(f"{title} cannot be without IPv4 address: the management needs one.")
    if module.params["attached"] is False:
        if carries:
            raise ValueError(f"{title} cannot be detached: it carries the management.")
        if pif["currently_attached"] and changes.after["disallow_unplug"]:
            raise ValueError(f"{title} must not be detached: disallow_unplug is set.")
    if wanted["ip"] and wanted["ip_mode"] == "static":
        for other in picture.pifs.values():
            if other["IP"] == wanted["ip"] and other["ref"] != pif["ref"]:
                where = f"{describe(other)} of {picture.name(other['host'])}"
                same = " Give it another one; the management can move between two addresses only." if other["management"] and (
                    picture.name(other["host"]) == name) else ""
                raise ValueError(f"ip {wanted['ip']} is the address of {where} already.{same}")


def _bond_device(picture: Picture, pif: Record) -> str:
    return str(picture.pifs[picture.bonds[pif["bond_slave_of"]]["master"]]["device"])


def _refuse_own_seat(module: XapiModule, changes: ChangeSet, mover: Mover, pif: Record) -> None:
    """The connection that the module itself uses is not to be cut."""
    if mover.leads and pif["IP"] and pif["IP"] == module.xapi.peer():
        raise ValueError(
            f"{pif['IP']}, the address of {changes.title}, is the one that this task is connected to. Give another address of "
            "the coordinator as hostname."
        )


def _promote(
    module: XapiModule, changes: ChangeSet, mover: Mover, pif: Record, wanted: dict[str, Any], told: bool
) -> None:
    """Make a PIF the management interface: it has to answer before, and to go on answering after the move."""
    old = mover.picture.management(pif["host"])
    planned = {**pif, "IP": wanted["ip"] or "", "netmask": wanted["netmask"] or ""}
    if wanted["ip_mode"] == "static" and not module.params["allow_lockout"]:
        reason = mover.neighbours(planned)
        if reason:
            raise ValueError(
                f"The management of {mover.name} would move to {wanted['ip']}, but {reason}: the hosts of the pool might not "
                "find each other any more. Give all hosts an address there first, or allow it with allow_lockout."
            )
    if old:
        mover.certificate = certificate_of(module.xapi, old["IP"])
    if told:
        _step_addresses(module, changes, pif, wanted)
    if old is None:
        changes.step(
            f"make {changes.title} the management interface",
            lambda: ignore(module.xapi.call("host.management_reconfigure", pif["ref"])),
        )
    else:
        mover.step_try(changes, pif)
        mover.step_move(changes, old, pif)
        mover.step_follow(changes, pif)
    changes.after.update(management=True, attached=True)


def _change_in_place(
    module: XapiModule, changes: ChangeSet, mover: Mover, pif: Record, wanted: dict[str, Any]
) -> None:
    """Another address for the management interface itself, over a stepping stone."""
    mover.certificate = certificate_of(module.xapi, pif["IP"])
    stone = mover.stone(pif)
    planned = {**pif, "IP": wanted["ip"] or "", "netmask": wanted["netmask"] or ""}
    reason = None if wanted["ip_mode"] != "static" else mover.neighbours(planned)
    if stone and not (reason and not module.params["allow_lockout"]):
        mover.step_move(changes, pif, stone)
        mover.step_follow(changes, stone)
        _step_addresses(module, changes, pif, wanted)
        mover.step_try(changes, pif)
        mover.step_move(changes, stone, pif)
        mover.step_follow(changes, pif)
        return
    if not module.params["allow_lockout"]:
        why = (
            f"{reason}, so the hosts of the pool might not find each other any more" if stone and reason else
            "the host has no other interface with an address that it could be reached at meanwhile"
        )
        raise ValueError(
            f"{changes.title} is the management interface, and {why}. If the new address is wrong, the host can be reached from "
            "its console only: give another interface of it an address first, or allow it with allow_lockout."
        )
    seated = mover.leads and module.xapi.peer() == pif["IP"]

    def change() -> None:
        mover.tolerant(lambda: _tell(module, pif, wanted))  # the answer may go to an address that is no more
        if seated and wanted["ip"]:
            mover.go_to(wanted["ip"])

    changes.after.update({name: value for name, value in _foreseen(wanted).items() if value is not None})
    changes.step(
        f"set the addresses of {changes.title}", change, undo=_undo_addresses(module, pif),
        leaves=f"addresses of {changes.title}; correct them {mover.cure(pif)}",
    )
    changes.step(f"reach {mover.name} after the change", lambda: mover.verify(pif))


def _foreseen(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: wanted[name] for name in ADDRESS}


def _step_addresses(module: XapiModule, changes: ChangeSet, pif: Record, wanted: dict[str, Any]) -> None:
    changes.after.update(_foreseen(wanted))
    unknown = [name for name in ADDRESS if wanted[name] is None]
    for name in unknown:  # only the DHCP server or the router knows
        del changes.after[name]

    undo = _undo_addresses(module, pif)

    def change() -> dict[str, Any]:
        try:
            _tell(module, pif, wanted)
        except XapiError:
            with suppress(XapiError):  # the first of two calls may have been made
                undo()
            raise
        now = addresses.address_view(records.record(module.xapi, "PIF", pif["ref"])) if unknown else {}
        return {name: now[name] for name in unknown}

    changes.step(f"set the addresses of {changes.title}", change, undo=undo)


def _tell(module: XapiModule, pif: Record, wanted: dict[str, Any]) -> None:
    live = addresses.address_view(pif)
    if addresses.differs(live, wanted, addresses.IPV4, 4):
        module.xapi.call("PIF.reconfigure_ip", pif["ref"], *addresses.ipv4_arguments(wanted))
    if addresses.differs(live, wanted, addresses.IPV6, 6):
        module.xapi.call("PIF.reconfigure_ipv6", pif["ref"], *addresses.ipv6_arguments(wanted))


def _undo_addresses(module: XapiModule, pif: Record) -> Any:
    live, call = addresses.address_view(pif), module.xapi.call

    def undo() -> None:
        now = addresses.address_view(records.record(module.xapi, "PIF", pif["ref"]))
        if addresses.differs(now, live, addresses.IPV4, 4):
            call("PIF.reconfigure_ip", pif["ref"], *addresses.ipv4_arguments(live))
        if addresses.differs(now, live, addresses.IPV6, 6):
            call("PIF.reconfigure_ipv6", pif["ref"], *addresses.ipv6_arguments(live))

    return undo


def _step_plug(module: XapiModule, changes: ChangeSet, pif: Record) -> None:
    call, ref = module.xapi.call, pif["ref"]
    changes.after["attached"] = True
    changes.step(f"attach {changes.title}", lambda: ignore(call("PIF.plug", ref)), undo=lambda: call("PIF.unplug", ref))


def _step_unplug(module: XapiModule, changes: ChangeSet, pif: Record) -> None:
    call, ref = module.xapi.call, pif["ref"]
    changes.after["attached"] = False
    changes.step(f"detach {changes.title}", lambda: ignore(call("PIF.unplug", ref)), undo=lambda: call("PIF.plug", ref))
