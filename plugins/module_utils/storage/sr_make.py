# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New SRs: created on a medium, or introduced because the medium holds one already."""
from __future__ import annotations

from functools import partial
from typing import Any
from xml.etree import ElementTree

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.common import common_fields
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.network.vlans import host_names
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr import Record, Records
from ansible_collections.nobloat.xen.plugins.module_utils.storage.sr_pbds import Attachments, dead_hosts, local_host
from ansible_collections.nobloat.xen.plugins.module_utils.storage.types import (
    FOREIGN,
    TYPES,
    check_config,
    is_shared,
    without_secrets,
)
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.keys import Keys
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.marks import marked
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import records


def make(
    module: XapiModule, title: str, hosts: Records, host: Record | None, config: dict[str, str], secrets: dict[str, str]
) -> tuple[ChangeSet, Record]:
    """Plan an SR that the pool does not have: created, or introduced with the uuid that the user gives.

    Also returns what has its reference when the steps have run.
    """
    params = module.params
    sr_type = params["type"]
    if not sr_type:
        raise ValueError(f"{title} does not exist; give type and device_config, so that it can be created.")
    check_config(sr_type, config, secrets, complete=True)
    shared = is_shared(sr_type, config, params["shared"])
    if shared and host:
        raise ValueError(f"{title} is shared by all hosts of the pool; leave host out.")
    chosen = None if shared else local_host(title, hosts, host)
    common = common_fields(params)
    view = {
        "name": params["name"], "description": common["name_description"], "tags": common["tags"],
        "other_config": common["other_config"], "type": sr_type, "content_type": "iso" if sr_type == "iso" else "user",
        "shared": shared, "device_config": without_secrets(config), "hosts": [],
        **({"uuid": params["uuid"]} if params["uuid"] else {}),
    }
    changes, sr = ChangeSet(title), {"uuid": params["uuid"]}
    places = Attachments(module, title, sr, (), hosts)
    if params["uuid"]:
        _introduce(module, changes, sr, view)
        places.attach(changes, [chosen["ref"]] if chosen else hosts, {**config, **secrets})
    else:
        _create(module, changes, places, view, chosen, {**config, **secrets})
    for field in ("tags", "other_config"):  # XAPI may have put keys of its own there
        if common[field]:
            keys = Keys(module.xapi.call, "SR", field, lambda: sr["ref"], type(common[field])())
            changes.step(f"set {field} of {title}", partial(keys, common[field]))
    return changes, sr


def _introduce(module: XapiModule, changes: ChangeSet, sr: Record, view: Record) -> None:
    run = module.run

    def introduce() -> None:
        sr["ref"] = run(
            "SR.introduce", view["uuid"], view["name"], view["description"], view["type"], view["content_type"], view["shared"], {}
        )

    changes.create(view, introduce, undo=lambda: run("SR.forget", sr["ref"]), leaves=changes.title)


def _create(
    module: XapiModule, changes: ChangeSet, places: Attachments, view: Record, chosen: Record | None, config: dict[str, str]
) -> None:
    run, hosts, sr = module.run, places.hosts, places.sr
    targets = [chosen["ref"]] if chosen else list(hosts)
    dead = dead_hosts(module, hosts, targets)
    if chosen and dead:
        raise ValueError(f"Host {chosen['name_label']} is not alive; {changes.title} cannot be created there now.")
    if dead:
        module.warn(f"{', '.join(host_names(hosts, dead))} is not alive: {changes.title} is not attached there.")
    # Shared SRs are the business of the coordinator.
    worker = chosen["ref"] if chosen else next(iter(records(module.xapi, "pool").values()))["master"]
    if TYPES[view["type"]].formats and not module.params["allow_format"]:
        _refuse_to_format(module, changes.title, worker, view["type"], config)

    def create() -> dict[str, Any]:
        sr["ref"] = run(
            "SR.create", worker, config, 0, marked(view["name"]), view["description"], view["type"], view["content_type"],
            view["shared"], {},
        )
        return {"uuid": module.xapi.call("SR.get_uuid", sr["ref"])}

    def pbds() -> list[Record]:
        return list(select(module.xapi, "PBD", SR=[sr["ref"]]).values())

    def discard() -> None:
        for pbd in pbds():
            if pbd["currently_attached"]:
                run("PBD.unplug", pbd["ref"])
        run("SR.forget" if view["type"] in FOREIGN else "SR.destroy", sr["ref"])

    def plug() -> None:
        # SR.create makes the PBDs and plugs them, and keeps silent where that fails (xapi_sr.ml): ask again, to hear why.
        for pbd in pbds():
            if not pbd["currently_attached"] and pbd["host"] not in dead:
                run("PBD.plug", pbd["ref"])

    changes.create(view, create, undo=discard, leaves=changes.title)
    changes.step(f"attach {changes.title}", plug)
    places.show(changes, {ref: ref not in dead for ref in targets})


def _refuse_to_format(module: XapiModule, title: str, host: str, sr_type: str, config: dict[str, str]) -> None:
    """Ask the driver which SRs are on the medium; also in check mode, as it changes nothing."""
    try:
        found = uuids_in(module.run("SR.probe", host, config, sr_type, {}))
    except XapiError as error:
        if error.code in ("UNIMPLEMENTED_IN_SM_BACKEND", "SR_OPERATION_NOT_SUPPORTED"):
            return  # this driver cannot tell
        raise
    if found:
        raise ValueError(
            f"{title} would overwrite what is on the medium: SR {', '.join(found)}. Give that as uuid to introduce it "
            "with its data, or allow its loss with allow_format."
        )


def uuids_in(text: str) -> list[str]:
    """The uuids in what SR.probe returns: <SRlist><SR><UUID>...</UUID></SR></SRlist>, with blanks around everything."""
    try:
        root = ElementTree.fromstring(text.strip())
    except ElementTree.ParseError:
        return []
    return [uuid.text.strip() for uuid in root.iter("UUID") if uuid.text and uuid.text.strip()]
