# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of module cloud_config to a change set.

The drive is a disc in a CD drive of the guest, so that it can be changed while the guest runs. Its VDI says in other_config
what it holds, and for whom. Other content comes on another VDI: the old one stays until the new one has taken its place.
"""
from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.yaml import yaml_dump
from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.storage.types import FOREIGN
from ansible_collections.nobloat.xen.plugins.module_utils.storage.vdi_plan import default_sr, rounded
from ansible_collections.nobloat.xen.plugins.module_utils.vm import iso
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import (
    GUEST,
    Record,
    device_number,
    pick,
    seek,
    select,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import transfer
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import find, record
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.refusal import refuse
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.wire import ANSWER_LIMIT

DIGEST = "nobloat.xen.cloud_config"  # keys of the VDI's other_config
OWNER = "nobloat.xen.cloud_config.vm"
ROUNDS = 300_000  # of hashing; a tenth of a second
TEXTS = ("meta_data", "user_data", "network_config")
_HEADERS = ("#", "content-type:", "mime-version:")


def texts(params: Mapping[str, Any], guest: Record) -> dict[str, str]:
    """The files of the drive, {name: text}, from the options. Raises ValueError for what cloud-init would ignore."""
    meta = {"instance-id": guest["uuid"], "local-hostname": guest["name_label"], **(params["meta_data"] or {})}
    user = params["user_data"]
    if isinstance(user, Mapping):
        user = f"#cloud-config\n{_yaml(user)}"
    elif not isinstance(user, (str, type(None))):
        raise ValueError("user_data is either a mapping, which becomes cloud-config, or a text.")
    elif user and not user.lower().startswith(_HEADERS):
        raise ValueError("user_data does not begin as cloud-init wants it (#cloud-config, #!/bin/sh, ...), so it would be ignored.")
    files = {"meta-data": _yaml(meta), "user-data": user or "#cloud-config\n{}\n"}
    if params["network_config"]:
        files["network-config"] = _yaml(params["network_config"])
    return files


def _yaml(content: Any) -> str:
    return str(yaml_dump(content, sort_keys=False, default_flow_style=False, allow_unicode=True))


def digest(files: Mapping[str, str], guest: str) -> str:
    """What stands for the content: no more than whether it is the same. Who may read other_config could guess a password in it, so the
    uuid of the guest is its salt, and it takes its time."""
    content = json.dumps(files, sort_keys=True).encode()
    return f"pbkdf2:{hashlib.pbkdf2_hmac('sha256', content, guest.encode(), ROUNDS).hex()}"


def plan_cloud_config(module: XapiModule) -> ChangeSet:
    """The change set of one guest's drive: three calls, four when something is to be done."""
    params, xapi = module.params, module.xapi
    vms = select(xapi, "VM", names=[params["vm"]])
    if params["state"] == "absent" and not seek(vms, GUEST, params["vm"], among=[GUEST]):
        return ChangeSet(f"config drive of guest {params['vm']}")
    guest = pick(vms, GUEST, params["vm"], among=[GUEST])
    title = f"config drive of guest {guest['name_label']}"
    vbds = list(select(xapi, "VBD", VM=[guest["ref"]]).values())
    name = params["name"] or f"{guest['name_label']} cloud-config"
    vdis = select(xapi, "VDI", refs={vbd["VDI"] for vbd in vbds if vbd["type"] == "CD"}, names=[name])
    drive = next((vbd for vbd in vbds if vbd["VDI"] in vdis and DIGEST in vdis[vbd["VDI"]]["other_config"]), None)
    old = vdis[drive["VDI"]] if drive else None
    # What an earlier run could not finish.
    lost = [vdi for vdi in vdis.values() if vdi["other_config"].get(OWNER) == guest["uuid"] and not vdi["VBDs"]]
    plan = _Plan(module, guest, title, lost)
    if params["state"] == "absent":
        return plan.remove(drive, old)
    files = texts(params, guest)
    if not drive:
        drive = next((vbd for vbd in vbds if device_number(vbd) == params["device"]), None)
        plan.check_free(drive)
    elif device_number(drive) != params["device"]:
        raise ValueError(f"The {title} is at device {device_number(drive)}, not {params['device']}. Remove it first (state absent).")
    return plan.write(name, files, drive, old)


class _Plan:
    """The steps for one guest."""

    def __init__(self, module: XapiModule, guest: Record, title: str, lost: list[Record]) -> None:
        self.module, self.guest, self.title, self.lost = module, guest, title, lost
        self.call, self.run = module.xapi.call, module.run

    def check_free(self, drive: Record | None) -> None:
        """Raise ValueError where the guest has no place for the drive."""
        number, name = self.module.params["device"], self.guest["name_label"]
        if drive and drive["type"] != "CD":
            raise ValueError(f"Guest {name} has a disk at device {number}; choose another device for its config drive.")
        if drive and not drive["empty"]:
            raise ValueError(f"Guest {name} has another disc in its drive at device {number}. Eject that first, or choose another device.")
        if not drive and self.guest["power_state"] != "Halted":
            raise ValueError(f"Guest {name} has no drive at device {number} and gets one only while it is halted. Shut it down first.")

    def view(self, sr: str | None, vdi: Record | None, content: str, files: Mapping[str, str] | None) -> dict[str, Any]:
        """What the module returns."""
        shown = {"content": dict(files)} if self.module.params["show_content"] and files is not None else {}
        return {
            "vm": self.guest["name_label"], "device": self.module.params["device"], "sr": sr, "digest": content,
            **({"vdi": vdi["uuid"]} if vdi else {}), **shown,
        }

    def write(self, name: str, files: dict[str, str], drive: Record | None, old: Record | None) -> ChangeSet:
        """The drive holds these files."""
        params, wanted = self.module.params, digest(files, self.guest["uuid"])
        sr = self._sr(old)
        if old and old["other_config"][DIGEST] == wanted and sr["ref"] == old["SR"]:
            return self._tidy(ChangeSet(self.title, before=self.view(sr["name_label"], old, wanted, files)), [], drive)
        if self.guest["power_state"] not in ("Halted", "Running", "Paused"):
            raise ValueError(f"Guest {self.guest['name_label']} is {self.guest['power_state'].lower()}. Resume it or shut it down first.")
        if sr["type"] in FOREIGN or sr["content_type"] == "iso":
            raise ValueError(f"The {self.title} cannot be made on SR {sr['name_label']}, which is of type {sr['type']}.")
        self._need_library()
        before: dict[str, Any] = {}
        if old:
            place = select(self.module.xapi, "SR", refs=[old["SR"]])[old["SR"]]["name_label"]
            before = self.view(place, old, old["other_config"][DIGEST], self._content(old) if params["show_content"] else None)
        changes = ChangeSet(self.title, before=before)
        changes.after = self.view(sr["name_label"], None, wanted, files)
        new = self._upload(changes, name, sr, iso.build(files), wanted)
        self._insert(changes, drive, old, new)
        changes.making.add(f"guest {self.guest['uuid']}")
        return self._tidy(changes, [old] if old else [], drive)

    def _tidy(self, changes: ChangeSet, done_with: list[Record], drive: Record | None) -> ChangeSet:
        """What is not needed any more goes, and what runs have left that were broken off: not under the eyes of one that lives."""
        if self.lost:
            changes.half_made = True
            changes.making.add(f"guest {self.guest['uuid']}")
        for vdi in [*done_with, *self.lost]:
            self._destroy(changes, vdi, drive)
        return changes

    def _sr(self, old: Record | None) -> Record:
        wanted = self.module.params["sr"]
        if wanted:
            return find(self.module.xapi, "SR", wanted)
        if old:
            return select(self.module.xapi, "SR", refs=[old["SR"]])[old["SR"]]
        return default_sr(self.module, f"The {self.title}")

    def _need_library(self) -> None:
        if iso.PYCDLIB_IMPORT_ERROR:
            self.module.fail_json(msg=missing_required_lib("pycdlib"), exception=iso.PYCDLIB_IMPORT_ERROR)

    def _content(self, vdi: Record) -> dict[str, str]:
        target = io.BytesIO()
        query = {"vdi": vdi["uuid"], "format": "raw"}
        timeout = self.module.params["wait_timeout"]
        transfer.get(self.module.xapi, "/export_raw_vdi", query, target, limit=ANSWER_LIMIT, timeout=timeout)
        try:
            return iso.read(target.getvalue())
        except ValueError as error:
            return {"(unreadable)": str(error)}

    def _upload(self, changes: ChangeSet, name: str, sr: Record, image: bytes, wanted: str) -> dict[str, str]:
        """A new VDI with the image; its reference is in the result when the steps run."""
        made: dict[str, str] = {}

        def create() -> dict[str, Any]:
            made["ref"] = self.run("VDI.create", {
                "name_label": name, "name_description": "Configuration for cloud-init", "SR": sr["ref"],
                "virtual_size": rounded(len(image)), "type": "user", "sharable": False, "read_only": False,
                "other_config": {DIGEST: wanted, OWNER: self.guest["uuid"]},
            })
            return {"vdi": record(self.module.xapi, "VDI", made["ref"])["uuid"]}

        def upload() -> None:
            query = {"vdi": made["ref"], "format": "raw"}
            timeout = self.module.params["wait_timeout"]
            transfer.put(self.module.xapi, "/import_raw_vdi", query, io.BytesIO(image), len(image), timeout=timeout)

        changes.step(
            f"create a VDI for the {self.title}", create, undo=lambda: self.run("VDI.destroy", made["ref"]),
            leaves=f"VDI {name} on SR {sr['name_label']}",
        )
        changes.step(f"fill the {self.title}", upload)
        return made

    def _insert(self, changes: ChangeSet, drive: Record | None, old: Record | None, new: dict[str, str]) -> None:
        """The guest's drive holds the new VDI."""
        run = self.run
        if not drive:
            made: dict[str, str] = {}
            changes.step(f"attach the {self.title}", lambda: made.update(ref=self.call("VBD.create", {
                "VM": self.guest["ref"], "VDI": new["ref"], "userdevice": str(self.module.params["device"]), "bootable": False,
                "mode": "RO", "type": "CD", "unpluggable": True, "empty": False, "other_config": {}, "qos_algorithm_type": "",
                "qos_algorithm_params": {},
            })), undo=lambda: self.call("VBD.destroy", made["ref"]))
            return
        ref = drive["ref"]
        if old:
            changes.step(
                f"eject the old {self.title}", lambda: ignore(run("VBD.eject", ref)), undo=lambda: run("VBD.insert", ref, old["ref"])
            )
        changes.step(f"insert the {self.title}", lambda: ignore(run("VBD.insert", ref, new["ref"])), undo=lambda: run("VBD.eject", ref))

    def _destroy(self, changes: ChangeSet, vdi: Record, drive: Record | None) -> None:
        """The VDI goes, unless it is somebody else's too (a clone's, a snapshot's)."""
        if vdi["other_config"].get(OWNER) == self.guest["uuid"] and set(vdi["VBDs"]) <= {drive["ref"] if drive else ""}:
            title = f"VDI {vdi['uuid']} with the {self.title}"
            refuse(vdi, "destroy", title, now=not drive or drive["VDI"] != vdi["ref"])
            changes.step(f"remove {title}", lambda: ignore(self.run("VDI.destroy", vdi["ref"])), gone=title)

    def remove(self, drive: Record | None, old: Record | None) -> ChangeSet:
        """No drive, that is: an empty one."""
        before: dict[str, Any] = {}
        if old:
            place = select(self.module.xapi, "SR", refs=[old["SR"]])[old["SR"]]["name_label"]
            before = self.view(place, old, old["other_config"][DIGEST], None)
        changes = ChangeSet(self.title, before=before)
        changes.after = {}
        if drive and old:
            changes.step(f"eject the {self.title}", lambda: ignore(self.run("VBD.eject", drive["ref"])),
                         undo=lambda: self.run("VBD.insert", drive["ref"], old["ref"]))
        return self._tidy(changes, [old] if old else [], drive)
