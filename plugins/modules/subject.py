#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: subject
short_description: Give users and groups of a directory service access to a pool
version_added: 1.0.0
description:
  - A subject is a user or group of the directory service (Active Directory) that the pool belongs to. With one of XAPI's roles it
    may log in and do what the role permits.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name of the user or group, as the directory service knows it (C(olga), C(EXAMPLE\\xen-admins)), or uuid or identifier (SID) of a
        subject that the pool knows.
      - Either this or O(subjects) is needed.
    type: str
  subjects:
    description:
      - Several subjects in one run, which reads the pool once for all. Each item takes the options of this module that are about one
        subject; those that it leaves out come from the module's own.
      - They are worked on one after the other, in this order. One that fails does not keep the others from being done. The
        module fails in the end and tells which and why.
    type: list
    elements: dict
  state:
    description:
      - V(present) has access. V(absent) has none; sessions that are open go on.
    type: str
    choices: [present, absent]
    default: present
  role:
    description:
      - What it may do, from most to least. Any other role is taken away.
      - If omitted, it is left alone; a new subject needs one.
    type: str
    choices: [pool-admin, pool-operator, vm-power-admin, vm-admin, vm-operator, read-only]
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes
notes:
  - The pool has to belong to a directory service; C(xe pool-enable-external-auth) joins it to one.
"""

EXAMPLES = r"""
- name: Operators may start and stop guests
  nobloat.xen.subject:
    name: EXAMPLE\xen-operators
    role: vm-operator

- name: Olga has left
  nobloat.xen.subject:
    name: olga
    state: absent

- name: Several subjects in one run
  nobloat.xen.subject:
    role: vm-operator
    subjects:
      - {name: olga}
      - {name: EXAMPLE\xen-admins, role: pool-admin}
"""

RETURN = r"""
subject:
  description: The subject as it is now, or would be in check mode. Empty when there is none.
  returned: with O(name)
  type: dict
  contains:
    name:
      description: Name in the directory service.
      type: str
      sample: EXAMPLE\xen-operators
    uuid:
      description: Unique identifier.
      type: str
      sample: 5f2b1c9a-1d36-4f0b-9b1c-0e6a7c6f0c55
    identifier:
      description: Identifier in the directory service.
      type: str
      sample: S-1-5-21-3623811015-3361044348-30300820-1013
    group:
      description: Whether it is a group.
      type: bool
      sample: true
    roles:
      description: Its roles, sorted.
      type: list
      elements: str
      sample: [vm-operator]
subjects:
  description:
    - What became of each subject, C(name) as it was given, C(changed), and C(failed). If it did not fail, C(subject)
      is as in RV(subject); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there
      is any.
  returned: with O(subjects)
  type: list
  elements: dict
  sample:
    - {name: olga, changed: true, failed: false, subject: {name: olga, roles: [pool-operator]}}
    - {name: nobody, changed: false, failed: true, msg: The directory service does not know nobody.}
"""

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError

ROLES = ["pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator", "read-only"]
SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "role": {"type": "str", "choices": ROLES},
}
Record = dict[str, Any]


def view(subject: Record, roles: dict[str, Record]) -> Record:
    config = subject["other_config"]
    return {
        "name": config.get("subject-name", subject["subject_identifier"]),
        "uuid": subject["uuid"],
        "identifier": subject["subject_identifier"],
        "group": config.get("subject-is-group") == "true",
        "roles": sorted(roles[ref]["name_label"] for ref in subject["roles"] if ref in roles),
    }


def known(subject: Record, name: str) -> bool:
    """Whether a name, in any case and with or without its domain, means this subject."""
    config = subject["other_config"]
    names = {config.get(key, "").lower() for key in ("subject-name", "subject-upn", "subject-displayname")} - {""}
    return name in (subject["uuid"], subject["subject_identifier"]) or name.lower() in names


def plan(module: XapiModule) -> ChangeSet:
    name, role, call = module.params["name"], module.params["role"], module.xapi.call
    found = [subject for subject in records.records(module.xapi, "subject").values() if known(subject, name)]
    roles = records.records(module.xapi, "role")
    if role is not None and role not in {item["name_label"] for item in roles.values()}:
        raise ValueError(f"The pool has no role {role}.")
    if len(found) > 1:
        raise ValueError(f"Several subjects answer to '{name}': {', '.join(sorted(item['uuid'] for item in found))}. Give a uuid.")
    if not found and module.params["state"] == "present":
        return plan_new(module, roles)
    changes = ChangeSet(f"subject {name}", before=view(found[0], roles) if found else {})
    if not found:
        return changes
    subject = found[0]
    if module.params["state"] == "absent":
        changes.delete(lambda: call("subject.destroy", subject["ref"]))
    elif role is not None:
        changes.set("roles", [role], lambda value: give(module, subject["ref"], roles, value))
    return changes


def plan_new(module: XapiModule, roles: dict[str, Record]) -> ChangeSet:
    name, role, call = module.params["name"], module.params["role"], module.xapi.call
    if role is None:
        raise ValueError(f"'{name}' is no subject of the pool yet: say with which role it is to become one.")
    try:
        identifier = call("auth.get_subject_identifier", name)
        told = call("auth.get_subject_information_from_identifier", identifier)
    except XapiError as error:
        if error.code == "AUTH_IS_DISABLED":
            raise ValueError("The pool belongs to no directory service, so it knows no users but root. "
                             "Join it to one (xe pool-enable-external-auth).") from error
        if error.code == "SUBJECT_CANNOT_BE_RESOLVED":
            raise ValueError(f"The directory service does not know '{name}'.") from error
        raise
    existing = {"subject_identifier": identifier, "other_config": told, "uuid": "", "roles": []}
    already = [item for item in records.records(module.xapi, "subject").values() if item["subject_identifier"] == identifier]
    changes = ChangeSet(f"subject {name}", before=view(already[0], roles) if already else {})
    if already:  # under another name than that of the directory
        changes.set("roles", [role], lambda value: give(module, already[0]["ref"], roles, value))
        return changes
    made: dict[str, str] = {}

    def create() -> Record:
        made["ref"] = call("subject.create", {"subject_identifier": identifier, "other_config": told})
        return {"uuid": call("subject.get_uuid", made["ref"])}

    shown = view(existing, roles)
    del shown["uuid"]
    changes.create({**shown, "roles": [role]}, create, undo=lambda: call("subject.destroy", made["ref"]))
    changes.step(f"give it role {role}", lambda: give(module, made["ref"], roles, [role]))
    return changes


def give(module: XapiModule, ref: str, roles: dict[str, Record], wanted: list[str]) -> None:
    """Exactly these roles: first the new ones, so that the subject is never without."""
    call = module.xapi.call
    has = call("subject.get_roles", ref)
    exact = [role for role, item in roles.items() if item["name_label"] in wanted]
    for role in exact:
        if role not in has:
            call("subject.add_to_roles", ref, role)
    for role in has:
        if role not in exact:
            call("subject.remove_from_roles", ref, role)


def main() -> None:
    ListModule(SPEC, "subjects", ["name"]).converge_each("subject", plan)


if __name__ == "__main__":
    main()
