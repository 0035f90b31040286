# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of module network to a change set."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import (
    ChangeSet,
    ignore,
)
from ansible_collections.nobloat.xen.plugins.module_utils.common import (
    common_fields,
    find_named,
    plan_common,
)
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.mtu import Place, carriers, mtu_problems, place
from ansible_collections.nobloat.xen.plugins.module_utils.network.steps import put_back, refuse_fixed
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import (
    Record,
    VlanPlan,
    check_options,
    choose_hosts,
    describe,
    host_names,
    network_view,
    pif_kind,
    plan_vlans,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.marks import marked
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def plan_network(module: XapiModule) -> ChangeSet:
    """The change set of one network. Reads it, and as far as need be its PIFs, those of `device`, and the hosts."""
    params, xapi = module.params, module.xapi
    check_options(params)
    present = params["state"] == "present"
    # A network is never made with a uuid for a name, nor just to be renamed.
    must_exist = present and bool(params["new_name"] or UUID.fullmatch(params["name"]))
    record = find_named(xapi, "network", params, required=must_exist)
    device = params["device"] if present else None
    left = _read_left(xapi, params["name"])
    pifs = _read_pifs(xapi, [*([record] if record else []), *left], device)
    lost = [pif for pif in pifs if any(pif["network"] == each["ref"] for each in left)]
    pifs = [pif for pif in pifs if pif not in lost]
    hosts = records.records(xapi, "host") if pifs or lost or device else {}
    title = f"network {params['name']}"
    if record:
        changes = ChangeSet(title, before=network_view(record, pifs, hosts))
        if present:
            _converge(module, changes, record, pifs, hosts)
        else:
            _remove(module, changes, record, pifs, hosts)
    else:
        changes = _create(module, title, pifs, hosts) if present else ChangeSet(title)
    if present:
        _tell_mtu(module, changes, record, pifs, hosts)
    for each in left:
        _clear(module, changes, each, lost, hosts)
    return changes


def _tell_mtu(
    module: XapiModule, changes: ChangeSet, record: Record | None, pifs: list[Record], hosts: Mapping[str, Record]
) -> None:
    """Warn where packets would not fit: XAPI takes any MTU. Looks for more only where something could be wrong."""
    mtu, ref = changes.after["mtu"], record["ref"] if record else None
    tags = module.params["vlan"] is not None
    if not tags:
        devices = {pif["device"] for pif in pifs if pif_kind(pif) in ("vlan", "physical", "bond")}
        if changes.before.get("mtu") in (None, mtu) or not devices:
            return
        pifs = list(records.records(module.xapi, "PIF", " or ".join(f'field "device"="{device}"' for device in sorted(devices))).values())
    own = [pif for pif in pifs if pif["network"] == ref]
    tagged: set[Place] = {place(pif) for pif in own if pif_kind(pif) == "vlan"}
    if tags:
        tagged |= {(host, module.params["device"]) for host in choose_hosts(hosts, module.params["hosts"])}
    mine = {place(pif) for pif in carriers(own, {place(pif) for pif in own})}
    bases = [pif for pif in carriers(pifs, tagged) if pif["MTU"] < mtu]
    over = [pif for pif in pifs if pif_kind(pif) == "vlan" and place(pif) in mine]
    if bases or over:
        for text in mtu_problems(changes.title, mtu, bases, over, records.records(module.xapi, "network"), hosts):
            module.warn(text)


def _read_left(xapi: Session, name: str) -> list[Record]:
    """What runs that were broken off have left of a network."""
    literal = records.quote(marked(name))
    return list(records.records(xapi, "network", f'field "name__label"={literal}').values()) if literal else []


def _clear(module: XapiModule, changes: ChangeSet, left: Record, pifs: list[Record], hosts: Mapping[str, Record]) -> None:
    """Remove what is half made of a network, before anything else is done: it has the bridge and the VLANs."""
    clearance = ChangeSet(f"what is half made of {changes.title}")
    _remove(module, clearance, left, [pif for pif in pifs if pif["network"] == left["ref"]], hosts)
    changes.steps[:0] = clearance.steps
    changes.making.add(changes.title)
    changes.half_made = True


def _read_pifs(xapi: Session, networks: list[Record], device: str | None) -> list[Record]:
    terms = [f'field "network"="{network["ref"]}"' for network in networks if network["PIFs"]]
    if device:
        terms.append(f'field "device"="{device}"')
    return list(records.records(xapi, "PIF", " or ".join(terms)).values()) if terms else []


def _create(module: XapiModule, title: str, pifs: list[Record], hosts: Mapping[str, Record]) -> ChangeSet:
    params, call = module.params, module.xapi.call
    bridge, locking = params["bridge"] or "", params["default_locking_mode"] or "unlocked"
    _refuse_used_bridge(module.xapi, params["name"], bridge)
    common = common_fields(params)
    mtu = params["mtu"] or 1500
    made: dict[str, str] = {}
    whole = locking == "unlocked" and params["vlan"] is None  # with one call
    view = {
        "name": params["name"], "description": common["name_description"], "tags": common["tags"],
        "other_config": common["other_config"], "mtu": mtu, "default_locking_mode": locking,
        "vlan": params["vlan"], "device": params["device"], "hosts": [],
        **({"bridge": bridge} if bridge else {}),
    }

    def create() -> dict[str, Any]:
        made["ref"] = call(
            "network.create",
            {"name_label": params["name"] if whole else marked(params["name"]), "MTU": mtu, "bridge": bridge, "managed": True, **common},
        )
        record = records.record(module.xapi, "network", made["ref"])
        return {"uuid": record["uuid"], "bridge": record["bridge"]}

    changes = ChangeSet(title)
    changes.create(view, create, undo=lambda: call("network.destroy", made["ref"]), leaves=title)
    if locking != "unlocked":
        changes.step(
            f"set default_locking_mode of {title}",
            lambda: ignore(call("network.set_default_locking_mode", made["ref"], locking)),
        )
    if params["vlan"] is not None:
        _plan_vlans(module, changes, made, pifs, hosts)
    if not whole:
        changes.step(f"name {title}", lambda: ignore(call("network.set_name_label", made["ref"], params["name"])))
    return changes


def _refuse_used_bridge(xapi: Session, name: str, bridge: str) -> None:
    if bridge:
        for used in records.records(xapi, "network", f'field "bridge"="{bridge}"').values():
            if used["name_label"] == marked(name):
                continue
            raise ValueError(f"Bridge {bridge} already belongs to network {used['name_label']} ({used['uuid']}).")


def _converge(
    module: XapiModule, changes: ChangeSet, record: Record, pifs: list[Record], hosts: Mapping[str, Record]
) -> None:
    params, ref, call = module.params, record["ref"], module.xapi.call
    if params["bridge"] not in (None, "", record["bridge"]):
        raise ValueError(
            f"Network {record['name_label']} has bridge {record['bridge']}, which cannot be changed. "
            "Leave bridge out, or remove the network first."
        )
    changes.set("name", params["new_name"], lambda value: call("network.set_name_label", ref, value))
    plan_common(changes, module, "network", record)
    changes.set("mtu", params["mtu"], lambda value: call("network.set_MTU", ref, value))
    changes.set(
        "default_locking_mode", params["default_locking_mode"],
        lambda value: call("network.set_default_locking_mode", ref, value),
    )
    if params["vlan"] is not None:
        _plan_vlans(module, changes, {"ref": ref}, pifs, hosts)
        changes.making |= {f"network {record['uuid']}"} if changes.changed else set()


def _plan_vlans(
    module: XapiModule, changes: ChangeSet, network: dict[str, str], pifs: list[Record], hosts: Mapping[str, Record]
) -> None:
    """Plan the VLANs; `network` holds the network's reference under `ref`, at the latest when the steps run."""
    params = module.params
    tag, device, ref = params["vlan"], params["device"], network.get("ref")
    wanted = choose_hosts(hosts, params["hosts"])
    vlans = plan_vlans(ref, pifs, hosts, wanted, tag, device)
    dead = _dead(module.xapi, hosts, vlans)
    if dead:
        module.warn(
            f"{', '.join(host_names(hosts, dead))} is not alive: no VLAN is changed there. Run again when it is back."
        )
        vlans = plan_vlans(ref, pifs, hosts, [host for host in wanted if host not in dead], tag, device)
        vlans.surplus = [pif for pif in vlans.surplus if pif["host"] not in dead]
    if not params["purge"]:
        vlans.surplus = []
    gone = [*vlans.replace, *vlans.surplus]
    if vlans.replace and not params["allow_recreate"]:
        where = ", ".join(host_names(hosts, _hosts_of(vlans.replace)))
        raise ValueError(
            f"{changes.title} is {describe(vlans.replace[0])} on {where}. "
            f"To make it VLAN {tag} over {device}, that has to be destroyed first: allow it with allow_recreate."
        )
    refuse_fixed(changes.title, gone, hosts)
    if gone:
        refuse_running_guests(module.xapi, changes.title, str(ref), hosts, set(_hosts_of(gone)))
    for pif in gone:
        _step_destroy(module, changes, str(ref), pif, hosts)
    for pif in vlans.create:
        _step_create(module, changes, network, pif, tag, hosts)
    if gone or vlans.create:
        kept = [pif for pif in pifs if pif["network"] == ref and pif not in gone]
        uniform = all((pif["VLAN"], pif["device"]) == (tag, device) for pif in kept)
        changes.after.update(
            vlan=tag if uniform else None, device=device if uniform else None,
            hosts=host_names(hosts, _hosts_of([*kept, *vlans.create])),
        )


def _hosts_of(pifs: Iterable[Record]) -> list[str]:
    return [pif["host"] for pif in pifs]


def _dead(xapi: Session, hosts: Mapping[str, Record], vlans: VlanPlan) -> set[str]:
    """References of the hosts that the plan touches and that are not alive: XAPI would answer HOST_OFFLINE."""
    if not vlans.touches:
        return set()
    metrics = records.records(xapi, "host_metrics")
    return {ref for ref in vlans.touches if not metrics.get(hosts[ref]["metrics"], {}).get("live")}


def _step_create(
    module: XapiModule, changes: ChangeSet, network: dict[str, str], base: Record, tag: int, hosts: Mapping[str, Record]
) -> None:
    call, made = module.xapi.call, []

    def create() -> None:
        made.append(call("VLAN.create", base["ref"], tag, network["ref"]))

    changes.step(
        f"create VLAN {tag} over {base['device']} on {hosts[base['host']]['name_label']}", create,
        undo=lambda: call("VLAN.destroy", made[0]),
    )


def _step_destroy(
    module: XapiModule, changes: ChangeSet, ref: str, pif: Record, hosts: Mapping[str, Record]
) -> None:
    call, base = module.xapi.call, []

    def destroy() -> None:
        base.append(call("VLAN.get_tagged_PIF", pif["VLAN_master_of"]))
        call("VLAN.destroy", pif["VLAN_master_of"])

    def again() -> None:
        put_back(module.xapi, call("VLAN.get_untagged_PIF", call("VLAN.create", base[0], pif["VLAN"], ref)), pif)

    changes.step(f"destroy {describe(pif)} on {hosts[pif['host']]['name_label']}", destroy, undo=again)


def _remove(
    module: XapiModule, changes: ChangeSet, record: Record, pifs: list[Record], hosts: Mapping[str, Record]
) -> None:
    name, ref = record["name_label"], record["ref"]
    if record["other_config"].get("is_host_internal_management_network") == "true":
        raise ValueError(f"Network {name} is the host-internal one that XAPI itself needs. It cannot be removed.")
    fixed = [pif for pif in pifs if pif_kind(pif) != "vlan"]
    if fixed:
        raise ValueError(
            f"Network {name} belongs to {describe(fixed[0])} of {', '.join(host_names(hosts, _hosts_of(fixed)))} "
            "and lives as long as that does. Only internal networks and VLANs can be removed."
        )
    refuse_fixed(changes.title, pifs, hosts)
    refuse_running_guests(module.xapi, changes.title, ref, hosts, None)
    if record["VIFs"] and not module.params["allow_disconnect"]:
        guests = _guests(module.xapi, records.records(module.xapi, "VIF", f'field "network"="{ref}"').values())
        raise ValueError(
            f"{changes.title} still has NICs of {_names(guests)}, which would go with it. "
            "Connect them elsewhere, or allow it with allow_disconnect."
        )
    for pif in pifs:
        _step_destroy(module, changes, ref, pif, hosts)
    changes.delete(lambda: module.xapi.call("network.destroy", ref))


def refuse_running_guests(
    xapi: Session, title: str, ref: str, hosts: Mapping[str, Record], where: set[str] | None
) -> None:
    """XAPI would answer VIF_IN_USE or NETWORK_CONTAINS_VIF: when the first VLANs are gone, and in references only."""
    attached = f'field "network"="{ref}" and field "currently_attached"="true"'
    guests = [
        guest for guest in _guests(xapi, records.records(xapi, "VIF", attached).values())
        if where is None or guest["resident_on"] in where
    ]
    if guests:
        raise ValueError(
            f"{title} is in use by {_names(guests)}. Unplug or connect elsewhere the NICs of running guests first."
        )


def _guests(xapi: Session, vifs: Iterable[Record]) -> list[Record]:
    refs = sorted({vif["VM"] for vif in vifs})
    if not refs:
        return []
    # A where-clause takes any length, but nobody reads more than a few names.
    return list(records.records(xapi, "VM", " or ".join(f'field "_ref"="{ref}"' for ref in refs[:200])).values())


def _names(guests: Iterable[Record]) -> str:
    names = sorted(guest["name_label"] for guest in guests)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
