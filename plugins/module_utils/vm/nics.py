# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's NICs."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import MTUS
from ansible_collections.nobloat.xen.plugins.module_utils.vm.disks import finish_plug, once, plan_plug, plug_mark
from ansible_collections.nobloat.xen.plugins.module_utils.vm.guest import Guest
from ansible_collections.nobloat.xen.plugins.module_utils.vm.hardware import void
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, device_number, pick
from ansible_collections.nobloat.xen.plugins.module_utils.vm.view import nic_mtu
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import Keys
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.marks import MARK

MAX_DEVICE = 15  # xapi-behaviour.md 2.4
# What a VIF keeps when it is made anew.
KEPT = ("qos_algorithm_type", "qos_algorithm_params", "locking_mode", "ipv4_allowed", "ipv6_allowed")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def wanted_nics(guest: Guest) -> list[dict[str, Any]] | None:
    """The option `nics` with positions, networks as records and MACs in lower case; None if it was omitted."""
    if guest.params["nics"] is None:
        return None
    nics = []
    for position, entry in enumerate(guest.params["nics"]):
        nic = dict(entry)
        nic["device"] = position if entry["device"] is None else entry["device"]
        if not 0 <= nic["device"] <= MAX_DEVICE:
            raise ValueError(f"{guest.title} cannot have a NIC at device {nic['device']}: positions go from 0 to {MAX_DEVICE}.")
        nic["network"] = pick(guest.world.networks, "network", entry["network"]) if entry["network"] else None
        if nic["mtu"] and nic["mtu"] not in MTUS:
            raise ValueError(f"{guest.title}: mtu {nic['mtu']} is out of range; an MTU goes from {MTUS[0]} to {MTUS[-1]} bytes, "
                             "and 0 is that of the network.")
        if entry["mac"]:
            nic["mac"] = entry["mac"].lower().replace("-", ":")
            if not _MAC.fullmatch(nic["mac"]) or int(nic["mac"][:2], 16) & 1:
                raise ValueError(f"{guest.title}: '{entry['mac']}' is no MAC address of a NIC; write it as 02:00:00:12:34:56.")
        nics.append(nic)
    once(guest, "nics", (nic["device"] for nic in nics))
    return nics


def plan_nics(guest: Guest, changes: ChangeSet, nics: list[dict[str, Any]] | None) -> None:
    """Merge the wanted NICs into what is there, by position; remove the others if there are to be no others."""
    if nics is None:
        return
    live = {device_number(vif): vif for vif in guest.devices("VIF")}
    view = {item["device"]: item for item in changes.after["nics"]}
    for nic in nics:
        device = nic["device"]
        if device in live:
            converge_nic(guest, changes, view[device], nic, live[device])
        else:
            view[device] = add_nic(guest, changes, nic)
    if guest.params["purge"] or not nics:
        for device in sorted(live.keys() - {nic["device"] for nic in nics}):
            del view[device]
            remove_nic(guest, changes, live[device], f"NIC {device} of {guest.title}")
    changes.after["nics"] = [view[device] for device in sorted(view)]


def converge_nic(guest: Guest, changes: ChangeSet, item: dict[str, Any], nic: dict[str, Any], vif: Record) -> None:
    """Change a NIC that is there: another network by moving it, another MTU by plugging it again, another MAC by replacing it."""
    what = f"NIC {nic['device']} of {guest.title}"
    network = nic["network"]
    moves = network is not None and network["ref"] != vif["network"]
    if moves:
        item["network"] = network["name_label"]
    replaces = nic["mac"] and nic["mac"] != vif["MAC"].lower()
    if replaces:
        item["mac"] = nic["mac"]
    place = network or guest.world.networks.get(vif["network"])
    other_config = with_mtu(vif, nic["mtu"], place)
    item["mtu"] = nic_mtu({**vif, "other_config": other_config}, place)
    qos = rate_fields(nic["rate"], vif["qos_algorithm_params"])
    if qos and nic["rate"] != (item["rate"] or 0):
        item["rate"] = nic["rate"] or None
    elif not replaces:
        qos = {}
    if replaces:
        record = {key: vif[key] for key in KEPT}
        record |= {"MAC": nic["mac"], "MTU": item["mtu"], "other_config": other_config,
                   "network": network["ref"] if network else vif["network"], "device": str(nic["device"]), **qos}
        remove_nic(guest, changes, vif, what)
        plan_vif(guest, changes, record, what)
        return

    def ref() -> str:
        return str(guest.device("VIF", nic["device"])["ref"])

    if moves:
        guest.reaches["network"].add(network["ref"])
        changes.step(f"move {what} to network {item['network']}",
                     lambda: void(guest.run("VIF.move", ref(), network["ref"])),
                     undo=lambda: guest.run("VIF.move", ref(), vif["network"]))
    if other_config != vif["other_config"]:
        plan_mtu(guest, changes, vif, Keys(guest.call, "VIF", "other_config", ref, vif["other_config"]), other_config, what)
    if qos:
        old = {field: vif[field] for field in qos}
        keys = Keys(guest.call, "VIF", "qos_algorithm_params", ref, vif["qos_algorithm_params"])

        def limit(fields: Mapping[str, Any]) -> None:
            keys(fields["qos_algorithm_params"])
            guest.call("VIF.set_qos_algorithm_type", ref(), fields["qos_algorithm_type"])

        changes.step(f"set rate of {what}", partial(limit, qos), undo=guest.back(partial(limit, old)))
    finish_plug(guest, changes, "VIF", vif, what)


def add_nic(guest: Guest, changes: ChangeSet, nic: dict[str, Any]) -> dict[str, Any]:
    """Plan a NIC at a free position; returns its view, without a MAC where XAPI is to pick it."""
    what = f"NIC {nic['device']} of {guest.title}"
    network = nic["network"]
    if not network:
        raise ValueError(f"{what} is not there; say which network it shall be on.")
    mtu = nic["mtu"] or network["MTU"]
    plan_vif(guest, changes, {
        "device": str(nic["device"]), "network": network["ref"], "MAC": nic["mac"] or "", "MTU": mtu,
        "other_config": {"mtu": str(mtu)} if nic["mtu"] else {},
        "qos_algorithm_type": "", "qos_algorithm_params": {}, **rate_fields(nic["rate"]),
    }, what)
    view = {"device": nic["device"], "network": network["name_label"], "mtu": mtu, "rate": nic["rate"] or None}
    return view | ({"mac": nic["mac"]} if nic["mac"] else {})


def with_mtu(vif: Record, mtu: int | None, network: Record | None) -> dict[str, str]:
    """The other_config of a VIF with this MTU: 0 is that of its network, None leaves it alone."""
    other_config = dict(vif["other_config"])
    if mtu == 0:
        other_config.pop("mtu", None)
    elif mtu not in (None, nic_mtu(vif, network)):
        other_config["mtu"] = str(mtu)
    return other_config


def plan_mtu(guest: Guest, changes: ChangeSet, vif: Record, keys: Keys, other_config: dict[str, str], what: str) -> None:
    """Plan another MTU, which XAPI reads when a NIC is plugged: one that is in use is plugged again."""
    in_use = vif["currently_attached"] and guest.power != "halted"
    if in_use and not guest.hotplugs():
        guest.need_stop("nics (mtu)")
        in_use = False

    def plug(verb: str) -> Callable[[], None]:
        return lambda: void(guest.run(f"VIF.{verb}", vif["ref"]))

    def unmark() -> None:
        guest.call("VIF.remove_from_other_config", vif["ref"], MARK)

    def mark() -> None:
        for key, value in plug_mark(guest).items():
            guest.call("VIF.add_to_other_config", vif["ref"], key, value)

    marks = in_use and MARK not in vif["other_config"]
    if marks:  # should this run be broken off, the next one plugs it
        changes.step(f"mark {what}", mark, undo=unmark)
    if in_use:
        changes.step(f"unplug {what}", plug("unplug"), undo=plug("plug"))
    changes.step(f"set mtu of {what}", partial(keys, other_config), undo=partial(keys, vif["other_config"]))
    if in_use:
        changes.step(f"plug {what}", plug("plug"), undo=plug("unplug"))
    if marks:
        changes.step(f"plugged {what}", unmark)


def plan_vif(guest: Guest, changes: ChangeSet, record: Mapping[str, Any], what: str) -> None:
    """Plan VIF.create and, in a running guest, VIF.plug."""
    made: dict[str, str] = {}
    guest.reaches["network"].add(record["network"])
    changes.making.add(guest.claim)
    other_config = {key: value for key, value in record["other_config"].items() if key != MARK} | plug_mark(guest)
    changes.step(
        f"add {what}",
        lambda: made.update(VIF=guest.call("VIF.create", {**record, "VM": guest.ref, "other_config": other_config})),
        undo=lambda: guest.call("VIF.destroy", made["VIF"]), leaves=f"VIF of {what}",
    )
    if guest.hotplugs():
        plan_plug(guest, changes, "VIF", made, what)
    else:
        guest.need_stop("nics")


def remove_nic(guest: Guest, changes: ChangeSet, vif: Record, what: str) -> None:
    """Plan the end of a VIF."""
    again = {"VIF": vif["ref"]}  # another one, once the removal was taken back
    if vif["currently_attached"] and guest.power != "halted":
        if guest.hotplugs():
            changes.step(f"unplug {what}", lambda: void(guest.run("VIF.unplug", vif["ref"])),
                         undo=lambda: guest.run("VIF.plug", again["VIF"]))
        else:
            guest.need_stop("nics")
    number = device_number(vif)
    fields = {field: vif[field] for field in ("VM", "network", "device", "MAC", "MTU", "other_config", *KEPT)}
    changes.step(f"remove {what}", lambda: void(guest.call("VIF.destroy", guest.device("VIF", number)["ref"])),
                 undo=guest.back(lambda: again.update(VIF=guest.call("VIF.create", fields))))


def rate_fields(rate: int | None, live: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The VIF's fields for a limit in kilobytes per second; 0 lifts it, None leaves it alone. Other parameters stay."""
    if rate is None:
        return {}
    params = {key: value for key, value in (live or {}).items() if key != "kbps"}
    if not rate:
        return {"qos_algorithm_type": "", "qos_algorithm_params": params}
    return {"qos_algorithm_type": "ratelimit", "qos_algorithm_params": {**params, "kbps": str(rate)}}
