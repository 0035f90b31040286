#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_certificate
short_description: Give a host the certificate that it presents to its clients
version_added: 1.0.0
description:
  - Installs a certificate and its private key on a host, for whoever talks to it by HTTPS, or has the host make itself a
    self-signed one again. That with which the hosts of a pool know each other is another one, and left alone.
  - What the host would not accept is told before anything is sent. The host restarts its TLS service; the module goes on after that.
  - A certificate that the module itself could not trust, by O(validate_certs) and O(ca_path), is not installed on the coordinator.
author:
  - nobloat.xen contributors (@nobloat)
options:
  host:
    description:
      - Name or uuid of the host.
    type: str
    required: true
  state:
    description:
      - V(present) has the certificate that is given.
      - V(self_signed) has one that vouches for itself; one that it has is left alone as long as it has not expired.
    type: str
    choices: [present, self_signed]
    default: present
  certificate:
    description:
      - The certificate as PEM text, without those that vouch for it. It has to be valid now, for an RSA key of 2048 to 4096 bits, and
        signed with SHA-256 or SHA-512.
      - Needed with O(state=present).
    type: str
  private_key:
    description:
      - The private key of the certificate as PEM text, without a passphrase. Needed with O(state=present).
    type: str
  chain:
    description:
      - The certificates of the authorities in between as PEM text, which the host presents, too. Installed together with a new
        certificate; not compared with what the host has.
      - If omitted, there are none.
    type: str
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes
seealso:
  - module: nobloat.xen.certificate
  - module: nobloat.xen.host_info
"""

EXAMPLES = r"""
- name: A certificate from the company's authority
  nobloat.xen.host_certificate:
    host: xcp1
    certificate: "{{ lookup('ansible.builtin.file', 'xcp1.example.com.pem') }}"
    private_key: "{{ xcp1_private_key }}"
    chain: "{{ lookup('ansible.builtin.file', 'intermediate.pem') }}"

- name: One of its own again
  nobloat.xen.host_certificate:
    host: xcp1
    state: self_signed
    validate_certs: false
"""

RETURN = r"""
host_certificate:
  description: The certificate as it is now, or would be in check mode. What a self-signed one will be is not known before.
  returned: success
  type: dict
  contains:
    host:
      description: Name of the host.
      type: str
      sample: xcp1
    uuid:
      description: Unique identifier of the certificate.
      type: str
      sample: 5f2b1c9a-1d36-4f0b-9b1c-0e6a7c6f0c55
    fingerprint:
      description: SHA-256 of the certificate.
      type: str
      sample: "3F:A1:0C"
    not_before:
      description: When it became valid, in UTC.
      type: str
      sample: "2026-11-01T00:00:00Z"
    not_after:
      description: When it expires, in UTC.
      type: str
      sample: "2027-11-01T00:00:00Z"
    self_signed:
      description: Whether it vouches for itself.
      type: bool
      sample: false
"""

from datetime import datetime, timezone
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.hosts import certificate as certificates
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records, tasks

SPEC = {
    "host": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "self_signed"], "default": "present"},
    "certificate": {"type": "str"},
    "private_key": {"type": "str", "no_log": True},
    "chain": {"type": "str"},
}
PATIENCE = 300.0  # seconds; XAPI itself waits half a minute for the host


def look(module: XapiModule, host: dict[str, Any]) -> dict[str, Any]:
    """The host's certificate in the terms of this module; {} if XAPI knows none."""
    own = records.records(module.xapi, "Certificate", f'field "host"="{host["ref"]}"').values()
    found = next((item for item in own if certificates.presents(item, host["ref"])), None)
    if not found:
        return {}
    presented = certificates.read(module.xapi.call("host.get_server_certificate", host["ref"]), f"That of {host['name_label']}")
    return {"host": host["name_label"], "uuid": found["uuid"], **certificates.view(found), "self_signed": presented.self_signed}


def plan(module: XapiModule) -> ChangeSet:
    params, xapi, now = module.params, module.xapi, datetime.now(timezone.utc)
    text, private_key, chain = params["certificate"] or "", params["private_key"] or "", params["chain"] or ""
    leaf = certificates.check(text, private_key, chain, now) if params["state"] == "present" else None
    host = records.find(xapi, "host", params["host"])
    name = host["name_label"]
    changes = ChangeSet(f"certificate of host {name}", before=look(module, host))
    pool = next(iter(records.records(xapi, "pool").values()))
    coordinator = pool["master"] == host["ref"]

    def change(method: str, *args: str) -> dict[str, Any]:
        tasks.run(xapi, method, host["ref"], *args, timeout=PATIENCE)
        return look(module, host)

    if leaf is None:
        if changes.before.get("self_signed") and changes.before["not_after"] > certificates.text_of(now):
            return changes
        if coordinator and xapi.verifies:
            raise ValueError(
                f"{name} is the coordinator, and nobody could vouch for the certificate that it makes itself: "
                "with validate_certs, nothing here could talk to it any more. Run this with validate_certs: false."
            )
        changes.after = {"host": name, "self_signed": True}
        changes.step(f"let {name} make itself a certificate", lambda: change("host.reset_server_certificate"))
        return changes
    if changes.before.get("fingerprint") == leaf.fingerprint:
        return changes
    if pool["ha_enabled"]:
        raise ValueError("While high availability is on, XAPI lets no certificate be installed. Switch it off meanwhile (pool_ha).")
    distrust = xapi.distrusts(certificates.server_context(text, private_key, chain)) if coordinator else ""
    if distrust:
        raise ValueError(
            f"{name} is the coordinator, and with this certificate, nothing here could talk to it any more: {distrust}. "
            "Give ca_path the authority that has signed it (a directory may hold several), or set validate_certs: false."
        )
    changes.after = {
        "host": name, "fingerprint": leaf.fingerprint, "not_before": certificates.text_of(leaf.not_before),
        "not_after": certificates.text_of(leaf.not_after), "self_signed": leaf.self_signed,
    }
    changes.step(f"install the certificate on {name}",
                 lambda: change("host.install_server_certificate", text, private_key, chain))
    return changes


def main() -> None:
    needs = [("state", "present", ("certificate", "private_key"))]
    XapiModule(SPEC, required_if=needs).converge("host_certificate", plan)


if __name__ == "__main__":
    main()
