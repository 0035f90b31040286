#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pool_backup
short_description: Save a pool's database, and restore it
version_added: 1.0.0
description:
  - Saves the database of a pool - its hosts, networks, storage repositories, guests and their settings, but no disks - to a file on
    the controller; and restores it.
  - A file that says the same as the pool is neither written nor restored. Metrics and the like do not count.
author:
  - nobloat.xen contributors (@nobloat)
options:
  path:
    description:
      - The file, on the machine where the module runs. It holds secrets, so only its owner can read it.
    type: path
    required: true
  state:
    description:
      - V(saved) writes the file. V(restored) makes the pool what the file says.
      - To restore, the coordinator reboots, and the module waits until it is back. High availability has to be off.
    type: str
    choices: [saved, restored]
    default: saved
  force:
    description:
      - Restore although guests run on the coordinator. They die when it reboots.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.xapi.mirrors
  - nobloat.xen.attributes
notes:
  - A database is restored on a host that is in it, with software of the same version. Disks that were made since are not lost, but
    unknown to the pool until their SR is scanned. Guests that were made since are forgotten.
  - To restore, O(hostname) and O(password) are needed instead of O(session), as all sessions end.
"""

EXAMPLES = r"""
- name: Save the database
  nobloat.xen.pool_backup:
    path: "/var/backups/xen/alpha-{{ now(utc=true, fmt='%Y-%m-%d') }}.xml"

- name: What would be restored?
  nobloat.xen.pool_backup:
    path: /var/backups/xen/alpha-2026-11-20.xml
    state: restored
  check_mode: true
  register: foretold

- name: Show it
  ansible.builtin.debug:
    var: foretold.backup.differences
"""

RETURN = r"""
backup:
  description: The backup, and how the pool differed from it.
  returned: success
  type: dict
  contains:
    path:
      description: The file.
      type: str
      sample: /var/backups/xen/alpha-2026-11-21.xml
    objects:
      description: How many objects of each class the file (O(state=saved)) or the pool (O(state=restored)) holds now.
      type: dict
      sample: {VM: 42, host: 3, network: 7}
    differences:
      description:
        - What comes, goes and changes in what is written, one line for each object; after it is written, none.
        - At most 100 lines.
      type: list
      elements: str
      sample: ["VM web1: name__label", "network backup appears"]
"""

import io
import os
import tempfile
from contextlib import suppress

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.database import Tables, count, differences, parse
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.evacuation import live_hosts, resident
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.legs import MIRRORS_SPEC, refuse_last
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.power import boot_time
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.wait import can_log_in_again, passing, until
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records, transfer
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.wire import ANSWER_LIMIT

SPEC = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["saved", "restored"], "default": "saved"},
    "force": {"type": "bool", "default": False},
    **MIRRORS_SPEC,
}
HANDLER = "/pool/xmldbdump"
SHOWN = 100


def plan(module: XapiModule) -> ChangeSet:
    target = io.BytesIO()
    transfer.get(module.xapi, HANDLER, {}, target, limit=ANSWER_LIMIT, timeout=module.params["wait_timeout"])
    live, path = target.getvalue(), module.params["path"]
    if module.params["state"] == "saved":
        return plan_save(path, live)
    return plan_restore(module, path, live)


def read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error


def compared(title: str, path: str, old: Tables, new: Tables) -> tuple[ChangeSet, list[str]]:
    """A change set from one content to the other, without steps yet."""
    lines = differences(old, new)
    changes = ChangeSet(title, before={"path": path, "objects": count(old), "differences": lines[:SHOWN]})
    changes.after.update(objects=count(new), differences=[])
    return changes, lines


def plan_save(path: str, live: bytes) -> ChangeSet:
    data = read(path)
    try:
        old = parse(data) if data else {}
    except ValueError as error:
        raise ValueError(f"{path} is there and holds something else ({error}). Choose another path, or remove it.") from None
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ValueError(f"There is no folder {folder}.")
    changes, lines = compared(f"backup {path}", path, old, parse(live))
    if lines or data is None:
        changes.step(f"write {path}", lambda: write(path, live))
    return changes


def write(path: str, data: bytes) -> None:
    """Whole or not at all; readable by its owner only, from the beginning."""
    handle, name = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".pool_backup-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(name)
        raise ValueError(f"{path} cannot be written: {error.strerror}.") from error


def plan_restore(module: XapiModule, path: str, live: bytes) -> ChangeSet:
    data = read(path)
    if data is None:
        raise ValueError(f"There is no file {path}.")
    try:
        wanted = parse(data)
    except ValueError as error:
        raise ValueError(f"{path} is no backup: {error}.") from None
    changes, lines = compared("database of the pool", path, parse(live), wanted)
    if not lines:
        return changes
    pool = next(iter(records.records(module.xapi, "pool").values()))
    host = records.record(module.xapi, "host", pool["master"])
    if pool["ha_enabled"]:
        raise ValueError("High availability is on. Disable it before a database is restored.")
    refuse_last(module, host, records.records(module.xapi, "host"))
    guests = resident(host, select(module.xapi, "VM", refs=host["resident_VMs"]))
    if guests and not module.params["force"]:
        raise ValueError(f"The coordinator {host['name_label']} has to reboot, and guests run there: "
                         f"{', '.join(vm['name_label'] for vm in guests)}. Move them away (module nobloat.xen.host_maintenance), "
                         "or let them die with force=true.")
    can_log_in_again(module, "The coordinator reboots with the restored database")
    put(module, data, dry_run=True)
    changes.step(f"restore {path}", lambda: restore(module, data, host))
    return changes


def put(module: XapiModule, data: bytes, *, dry_run: bool) -> None:
    ignore(transfer.put(module.xapi, HANDLER, {"dry_run": "true"} if dry_run else {}, io.BytesIO(data), len(data),
                        timeout=module.params["wait_timeout"]))


def restore(module: XapiModule, data: bytes, host: Record) -> None:
    try:
        put(module, data, dry_run=False)
    except XapiError as error:
        if not passing(error):
            raise
    before = boot_time(host)

    def back(session: Session) -> bool:
        now = records.find(session, "host", host["uuid"])
        return boot_time(now) > before and now["enabled"] and bool(live_hosts(session, {now["ref"]: now}))

    until(module, f"the coordinator {host['name_label']} is back", back)


def main() -> None:
    XapiModule(SPEC, waits=True).converge("backup", plan)


if __name__ == "__main__":
    main()
