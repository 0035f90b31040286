#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: certificate
short_description: Let a pool trust a certificate authority
version_added: 1.0.0
description:
  - Installs the certificate of an authority on all hosts of a pool, so that they trust what it has signed, such as the certificate of
    a directory, licence or update server; or removes it.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name that the certificate has in the pool. Letters, digits, C(.), C(_) and C(-).
    type: str
    required: true
  state:
    description:
      - V(present) is trusted. V(absent) is not.
    type: str
    choices: [present, absent]
    default: present
  certificate:
    description:
      - The certificate as PEM text. One that has the name and is another one is replaced.
      - If omitted, the certificate has to be there already.
    type: str
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes
seealso:
  - module: nobloat.xen.host_certificate
"""

EXAMPLES = r"""
- name: Trust the company's authority
  nobloat.xen.certificate:
    name: example-ca.pem
    certificate: "{{ lookup('ansible.builtin.file', 'example-ca.pem') }}"

- name: Trust it no more
  nobloat.xen.certificate:
    name: example-ca.pem
    state: absent
"""

RETURN = r"""
certificate:
  description: The certificate as it is now, or would be in check mode. Empty when there is none.
  returned: success
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: example-ca.pem
    uuid:
      description: Unique identifier.
      type: str
      sample: 5f2b1c9a-1d36-4f0b-9b1c-0e6a7c6f0c55
    fingerprint:
      description: SHA-256 of the certificate.
      type: str
      sample: "3F:A1:0C"
"""

import re
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.hosts import certificate as certificates
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records

SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "certificate": {"type": "str"},
}


def view(record: dict[str, Any]) -> dict[str, Any]:
    return {"name": record["name"], "uuid": record["uuid"], "fingerprint": certificates.fingerprint(record)}


def plan(module: XapiModule) -> ChangeSet:
    name, text, call = module.params["name"], module.params["certificate"], module.xapi.call
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name):
        raise ValueError(f"'{name}' cannot be the name of a certificate: letters, digits, '.', '_' and '-' only.")
    all_of_them = records.records(module.xapi, "Certificate").values()
    found = next((item for item in all_of_them if item["type"] == "ca" and item["name"] == name), None)
    changes = ChangeSet(f"certificate {name}", before=view(found) if found else {})
    if module.params["state"] == "absent":
        if found:
            changes.delete(lambda: call("pool.uninstall_ca_certificate", name))
        return changes
    if text is None:
        if not found:
            raise ValueError(f"There is no certificate {name} yet: give it with certificate.")
        return changes
    wanted = certificates.read(text).fingerprint
    if found and view(found)["fingerprint"] == wanted:
        return changes

    def install() -> dict[str, Any]:
        call("pool.install_ca_certificate", name, text)
        now = records.records(module.xapi, "Certificate").values()
        return {"uuid": next(item["uuid"] for item in now if item["type"] == "ca" and item["name"] == name)}

    changes.after = {"name": name, "fingerprint": wanted}
    if found:
        changes.step(f"remove the other certificate {name}", lambda: ignore(call("pool.uninstall_ca_certificate", name)),
                     gone=f"the other certificate {name}")
    changes.step(f"install certificate {name}", install)
    return changes


def main() -> None:
    XapiModule(SPEC).converge("certificate", plan)


if __name__ == "__main__":
    main()
