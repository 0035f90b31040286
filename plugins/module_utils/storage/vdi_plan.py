# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of module vdi to a change set."""
from __future__ import annotations

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.common import common_fields, plan_common
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_text
from ansible_collections.nobloat.xen.plugins.module_utils.storage.rounding import rounded, same_size, wanted_size
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr_plan import FOREIGN, UUID
from ansible_collections.nobloat.xen.plugins.module_utils.storage.vdi import Disk, Record, read_disk, vdi_view
from ansible_collections.nobloat.xen.plugins.module_utils.storage.vdi_attach import (
    check_guest,
    plan_attach,
    plan_detach,
)
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import kind, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import NotFound, XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import NULL, record, records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.refusal import refuse

# sm: libs/sm/VDI.py, _db_update: a scan writes into the field what the driver says, which for a disk is always false.
_REPORTED = ("XAPI only reports what the storage driver says of that. Leave read_only out, and attach the VDI with mode ro where it is "
             "not to be written to.")


def plan_vdi(module: XapiModule) -> ChangeSet:
    """The change set of one VDI."""
    params = module.params
    state, title = params["state"], f"VDI {params['name']}"
    size = wanted_size(title, params["size"])
    disk = read_disk(module.xapi, params)
    if not disk.vdi:
        if state in ("absent", "forgotten"):
            return ChangeSet(title)
        if state == "detached" or params["new_name"] or UUID.fullmatch(params["name"]):
            raise NotFound("VDI", params["name"], f"It was looked for on SR {disk.sr['name_label']}." if disk.sr else "")
        return _make(module, title, disk, size)
    changes = ChangeSet(title, before=vdi_view(disk))
    if state in ("absent", "forgotten"):
        _remove(module, changes, disk)
        return changes
    _converge(module, changes, disk, size)
    if state == "detached":
        plan_detach(module, changes, disk)
    elif disk.guest:
        plan_attach(module, changes, disk, disk.guest, {"ref": disk.vdi["ref"]})
    return changes


def _make(module: XapiModule, title: str, disk: Disk, size: int | None) -> ChangeSet:
    params, run = module.params, module.run
    if not size:
        raise ValueError(f"{title} does not exist; give its size, so that it can be created.")
    if params["read_only"]:
        raise ValueError(f"{title} cannot be made read-only: {_REPORTED}")
    size = rounded(size)
    sr = disk.sr = disk.sr or default_sr(module, title)
    if sr["type"] in FOREIGN or sr["content_type"] == "iso":
        raise ValueError(f"{title}: no VDI can be created on SR {sr['name_label']}, which is of type {sr['type']}.")
    if disk.guest:
        check_guest(disk.guest, title)
    common = common_fields(params)
    fields = {
        "type": params["type"] or "user", "read_only": False, "sharable": bool(params["sharable"]),
    }
    view = {
        "name": params["name"], "description": common["name_description"], "tags": common["tags"],
        "other_config": common["other_config"], "sr": sr["name_label"], "size": to_text(size), **fields, "attached": [],
    }
    made: dict[str, str] = {}

    def create() -> dict[str, Any]:
        made["ref"] = run("VDI.create", {
            "name_label": params["name"], "SR": sr["ref"], "virtual_size": size, "xenstore_data": {}, "sm_config": {},
            **fields, **common,
        })
        vdi = record(module.xapi, "VDI", made["ref"])
        return {"uuid": vdi["uuid"], "size": to_text(vdi["virtual_size"])}

    changes = ChangeSet(title)
    changes.create(view, create, undo=lambda: run("VDI.destroy", made["ref"]), leaves=f"{title} on SR {sr['name_label']}")
    if disk.guest:
        plan_attach(module, changes, disk, disk.guest, made)
    return changes


def default_sr(module: XapiModule, title: str) -> Record:
    """The pool's default SR, for something that does not exist yet. Raises ValueError where the pool has none."""
    default = next(iter(records(module.xapi, "pool").values()))["default_SR"]
    found = select(module.xapi, "SR", refs=[default])
    if default == NULL or default not in found:
        raise ValueError(f"{title} does not exist, and the pool has no default SR to create it on; name one with sr.")
    return found[default]


def _converge(module: XapiModule, changes: ChangeSet, disk: Disk, size: int | None) -> None:
    params, call, vdi = module.params, module.xapi.call, disk.vdi or {}
    if params["read_only"] not in (None, vdi["read_only"]):
        raise ValueError(f"{changes.title} ({vdi['uuid']}) has read_only {str(vdi['read_only']).lower()}: {_REPORTED}")
    for option in ("type", "sharable"):
        if params[option] not in (None, vdi[option]):
            raise ValueError(
                f"{changes.title} ({vdi['uuid']}) has {option} {str(vdi[option]).lower()}, and XAPI sets that only when a VDI is "
                "created."
            )
    changes.set("name", params["new_name"], lambda value: call("VDI.set_name_label", vdi["ref"], value))
    plan_common(changes, module, "VDI", vdi)
    if size is not None:
        _resize(module, changes, disk, size)


def _resize(module: XapiModule, changes: ChangeSet, disk: Disk, size: int) -> None:
    vdi, live = disk.vdi or {}, (disk.vdi or {})["virtual_size"]
    if same_size(live, size):
        return
    if size < live:
        raise ValueError(f"{changes.title} has {to_text(live)} and cannot shrink to {to_text(size)}: that would cut off data.")
    users = [disk.name(vbd) for vbd in disk.own() if vbd["currently_attached"]]
    online = bool(users) and "resize_online" in vdi["allowed_operations"]
    if users and not online:
        raise ValueError(
            f"{changes.title} is in use by {', '.join(sorted(users))}, and its SR cannot grow it meanwhile. "
            "Stop the guest or unplug the disk first."
        )
    method = "VDI.resize_online" if online else "VDI.resize"
    size = rounded(size)

    def grow() -> dict[str, Any]:
        module.run(method, vdi["ref"], size)
        return {"size": to_text(int(module.xapi.call("VDI.get_virtual_size", vdi["ref"])))}

    changes.after["size"] = to_text(size)
    changes.step(f"grow {changes.title}", grow, leaves=f"{changes.title}, which has grown to {to_text(size)}")


def _remove(module: XapiModule, changes: ChangeSet, disk: Disk) -> None:
    vdi = disk.vdi or {}
    forget = module.params["state"] == "forgotten"
    if disk.sr and disk.sr["type"] in FOREIGN and not forget:
        raise ValueError(f"{changes.title} lies on SR {disk.sr['name_label']} of type {disk.sr['type']}; it is not XAPI's to destroy. "
                         "It can be forgotten (state forgotten).")
    users = sorted({
        f"{kind(disk.vms[vbd['VM']])} {disk.name(vbd)}" for vbd in disk.own() if vbd["VM"] in disk.vms
    })
    if users:
        raise ValueError(f"{changes.title} is attached to {', '.join(users)}. Detach it first (state detached).")
    if vdi["type"] in ("ha_statefile", "redo_log", "suspend"):
        raise ValueError(f"{changes.title} is a {vdi['type']} that XAPI itself made and uses.")
    refuse(vdi, "forget" if forget else "destroy", changes.title)

    def destroy() -> None:
        try:
            module.run("VDI.forget" if forget else "VDI.destroy", vdi["ref"], last=True)
        except XapiError as error:
            if error.code != "HANDLE_INVALID":  # somebody else was faster
                raise

    changes.delete(lambda: ignore(destroy()))
