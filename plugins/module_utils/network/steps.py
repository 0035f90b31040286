# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps that several network modules plan."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.network import addresses
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import Record, describe
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import write_key
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session


def refuse_fixed(title: str, pifs: Iterable[Record], hosts: Mapping[str, Record]) -> None:
    """Raise ValueError where XAPI would not unplug one of these PIFs, which it does before it destroys them (xapi_pif.ml)."""
    for pif in pifs:
        where = f"{describe(pif)} of {hosts[pif['host']]['name_label']}"
        if pif["management"]:
            raise ValueError(f"{title} carries the management of its host by {where}. Move that to another interface first (module pif).")
        if pif["disallow_unplug"]:
            raise ValueError(f"{title} must not be unplugged: {where} has disallow_unplug. Take that off first (module pif).")


def put_back(xapi: Session, ref: str, old: Record) -> None:
    """Give a PIF that was made anew what the one before had."""
    view = addresses.address_view(old)
    if old["ip_configuration_mode"] != "None":
        xapi.call("PIF.reconfigure_ip", ref, *addresses.ipv4_arguments(view))
    if old["ipv6_configuration_mode"] != "None":
        xapi.call("PIF.reconfigure_ipv6", ref, *addresses.ipv6_arguments(view))
    for key, value in old["other_config"].items():
        write_key(xapi.call, "PIF", "other_config", ref, key, value)
    if not old["currently_attached"]:
        xapi.call("PIF.unplug", ref)


def step_network(module: XapiModule, changes: ChangeSet, made: dict[str, str]) -> None:
    """Plan a plain network of the name that the options say; its reference comes into `made` under `ref`."""
    call, name = module.xapi.call, module.params["name"]

    def create() -> dict[str, Any]:
        made["ref"] = call("network.create", {"name_label": name, "MTU": 1500, "bridge": "", "other_config": {}})
        made["uuid"] = call("network.get_uuid", made["ref"])
        return {"uuid": made["uuid"]}

    changes.after["name"] = name
    changes.making.add(f"network {name}")
    changes.step(
        f"create network {name}", create, undo=lambda: call("network.destroy", made["ref"]), leaves=f"network {name}"
    )
