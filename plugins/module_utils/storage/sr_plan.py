# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of module sr to a change set: what is read, and what is decided."""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.common import plan_common
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.names import from_path
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr import Record, choose, sr_view
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr_make import make
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr_pbds import Attachments
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr_vdis import plan_vdis
from ansible_collections.nobloat.xen.plugins.module_utils.storage.types import (
    FOREIGN,
    TYPES,
    as_text,
    check_config,
    is_shared,
)
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import pick, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import NotFound
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.marks import marked
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.refusal import refuse

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def plan_sr(module: XapiModule) -> ChangeSet:
    """The change set of one SR. Reads it, its PBDs and the hosts; more only when something is to be done."""
    params, xapi = module.params, module.xapi
    state, title = params["state"], f"SR {params['name']}"
    config, secrets = as_text(params["device_config"]), as_text(params["device_secrets"])
    if params["type"]:
        check_config(params["type"], config, secrets, complete=False)
        is_shared(params["type"], config, params["shared"])
    names = [params["uuid"]] if params["uuid"] else [name for name in (params["name"], params["new_name"]) if name]
    found = select(xapi, "SR", names=names, labels=[marked(params["name"])])
    if not found and state in ("forgotten", "absent"):
        return ChangeSet(title)
    hosts = records(xapi, "host")
    host = pick(hosts, "host", params["host"]) if params["host"] else None
    pbds = list(select(xapi, "PBD", SR=found).values())
    sr = _find(params, list(found.values()), pbds, host["ref"] if host else None)
    if sr:
        left = sr["name_label"] == marked(params["name"])  # by a run that was broken off
        places = Attachments(module, title, sr, pbds, hosts)
        changes = ChangeSet(title, before=sr_view(sr, pbds, hosts))
        if state == "present":
            _converge(module, changes, places, host, config, secrets)
            plan_vdis(module, changes, sr, sr["type"])
        else:
            _remove(module, changes, places)
        if left:
            changes.half_made = True
            changes.making.add(title)
            if state == "present":
                changes.set("name", params["name"], lambda value: xapi.call("SR.set_name_label", sr["ref"], value))
        return changes
    if state in ("forgotten", "absent"):
        return ChangeSet(title)
    if state == "detached" or params["new_name"] or (UUID.fullmatch(params["name"]) and not params["uuid"]):
        raise NotFound("SR", params["uuid"] or params["name"])
    changes, new = make(module, title, hosts, host, config, secrets)
    plan_vdis(module, changes, new, params["type"])
    if not params["uuid"]:
        changes.step(f"name {title}", lambda: ignore(xapi.call("SR.set_name_label", new["ref"], params["name"])))
    return changes


def _find(params: Mapping[str, Any], found: list[Record], pbds: list[Record], host: str | None) -> Record | None:
    if params["uuid"]:
        return next((sr for sr in found if sr["uuid"] == params["uuid"]), None)
    old = choose(params["name"], found, pbds, host) or choose(marked(params["name"]), found, pbds, host)
    new_name = params["new_name"]
    if not new_name or (old and old["name_label"] == new_name):
        return old
    new = choose(new_name, found, pbds, host)
    if old and new:
        raise ValueError(f"SR {params['name']} cannot become {new_name}: there is one already ({new['uuid']}).")
    return old or new


def _converge(
    module: XapiModule, changes: ChangeSet, places: Attachments, host: Record | None,
    config: dict[str, str], secrets: dict[str, str],
) -> None:
    params, sr, call = module.params, places.sr, module.xapi.call
    if params["type"] not in (None, sr["type"]):
        raise ValueError(
            f"{changes.title} ({sr['uuid']}) is of type {sr['type']}, not {params['type']}, and that cannot be changed. "
            "Choose another name, or forget or destroy this one first."
        )
    if sr["type"] in TYPES:
        # Without PBDs the user's configuration is the only one, so that it has to be complete.
        check_config(sr["type"], config, secrets, complete=bool(config) and not places.pbds)
    places.compare(config, secrets)
    wanted_name = params["name"] if params["uuid"] else params["new_name"]
    changes.set("name", wanted_name, lambda value: call("SR.set_name_label", sr["ref"], value))
    plan_common(changes, module, "SR", sr)
    shared = params["shared"]
    if shared is not None and shared != sr["shared"]:
        if sr["type"] in TYPES:
            is_shared(sr["type"], config or (places.pbds[0]["device_config"] if places.pbds else {}), shared)
        if not shared and len(places.pbds) > 1:
            raise ValueError(f"{changes.title} cannot become local: it belongs to {len(places.pbds)} hosts. Forget it first.")
        changes.set("shared", shared, lambda value: call("SR.set_shared", sr["ref"], value))
    places.attach(changes, places.wanted(host, shared=changes.after["shared"]), {**config, **secrets})


def _remove(module: XapiModule, changes: ChangeSet, places: Attachments) -> None:
    """Plan the end of an SR: detached, forgotten or destroyed."""
    state, sr, title = module.params["state"], places.sr, changes.title
    if state != "detached":
        refuse(sr, "forget" if state == "forgotten" else "destroy", title, now=False)
    if state == "absent":
        _refuse_to_destroy(module, title, places)
    if state == "forgotten":
        _refuse_to_forget_legs(module, title, sr)
    places.detach(changes, completely=state != "detached")
    if state == "forgotten":
        changes.delete(lambda: module.run("SR.forget", sr["ref"], last=True))
    elif state == "absent":
        changes.delete(lambda: module.run("SR.destroy", sr["ref"], last=True))


def _refuse_to_forget_legs(module: XapiModule, title: str, sr: Record) -> None:
    """Raise ValueError where guests, which need not run, would lose halves of their mirrors with it, and nobody would notice."""
    vdis = select(module.xapi, "VDI", SR=[sr["ref"]]).values() if sr["type"] == "udev" and sr["VDIs"] else ()
    legs = [vdi for vdi in vdis if from_path(vdi["location"]) and vdi["VBDs"]]
    if legs:
        node = (from_path(legs[0]["location"]) or ("",))[0]
        raise ValueError(
            f"{title} has legs of mirrored disks that guests use: {', '.join(sorted(vdi['name_label'] for vdi in legs))}. Move them to "
            f"other nodes first: ansible-playbook nobloat.xen.node_retire -e node={node}"
        )


def _refuse_to_destroy(module: XapiModule, title: str, places: Attachments) -> None:
    """Raise ValueError where XAPI would refuse, before anything is detached."""
    sr = places.sr
    if sr["type"] in FOREIGN:
        raise ValueError(
            f"{title} is of type {sr['type']}: what lies there is not XAPI's to destroy. Use state forgotten instead."
        )
    if sr["other_config"].get("indestructible") == "true":
        raise ValueError(f"{title} is marked as indestructible in its other_config; remove that key first.")
    # xapi_sr_operations.ml: VDIs that XAPI does not manage, and statistics, do not count.
    vdis = [
        vdi for vdi in (select(module.xapi, "VDI", SR=[sr["ref"]]).values() if sr["VDIs"] else ())
        if vdi["managed"] and vdi["type"] != "rrd"
    ]
    if vdis:
        names = sorted(vdi["name_label"] or vdi["uuid"] for vdi in vdis)
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        raise ValueError(
            f"{title} is not empty: it holds {len(names)} VDIs ({', '.join(names[:10])}{more}). "
            "Destroy or move them first, or use state forgotten, which leaves the data where it is."
        )
    if not places.pbds:
        raise ValueError(
            f"{title} is attached to no host, so that nobody can destroy what lies there. "
            "Attach it first (state present with device_config), or use state forgotten."
        )
