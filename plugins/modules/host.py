#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host
short_description: Configure a host of a pool
version_added: 1.0.0
description:
  - Sets what describes a host, whether guests may be started on it, and its iSCSI name.
  - A host comes into being when it is installed, so this module neither creates nor removes one.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the host.
      - Either this or O(hosts) is needed.
    type: str
  hosts:
    description:
      - Several hosts in one run, which reads the pool once for all. Each item takes the options of this module that are about one
        host; those that it leaves out come from the module's own.
      - They are worked on one after the other, in this order. One that fails does not keep the others from being done. The
        module fails in the end and tells which and why.
    type: list
    elements: dict
  new_name:
    description:
      - Name that the host gets in XAPI; its Linux host name is another thing. A host that has it already is taken
        for the renamed one.
      - If omitted, the host keeps its name.
    type: str
  enabled:
    description:
      - Whether guests may be started on the host or migrated to it. Guests that run there are left alone.
      - If omitted, it is left alone.
    type: bool
  iscsi_iqn:
    description:
      - Name of the host as an iSCSI initiator, such as V(iqn.2026-11.com.example:xcp1). It cannot be cleared.
      - Only new iSCSI sessions use it, so set it before SRs are attached. If omitted, it is left alone.
    type: str
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.common
  - nobloat.xen.attributes
seealso:
  - module: nobloat.xen.host_info
  - module: nobloat.xen.pool
"""

EXAMPLES = r"""
- name: Describe a host
  nobloat.xen.host:
    name: xcp1
    description: Rack 4, unit 12
    tags: [rack4]
    iscsi_iqn: iqn.2026-11.com.example:xcp1

- name: Let no more guests start there
  nobloat.xen.host:
    name: xcp1
    enabled: false

- name: Give a freshly installed host its name
  nobloat.xen.host:
    name: xcp-ng-fhqwhgads
    new_name: xcp3

- name: Several hosts in one run
  nobloat.xen.host:
    tags: [rack4]
    hosts:
      - {name: xcp1, description: "Rack 4, unit 12"}
      - {name: xcp2, description: "Rack 4, unit 14"}
"""

RETURN = r"""
host:
  description: The host as it is now, or would be in check mode.
  returned: with O(name)
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: xcp1
    uuid:
      description: Unique identifier.
      type: str
      sample: 0a4f0d4e-5f7f-4ed7-9d1f-9f6f3a8a51c2
    description:
      description: Description.
      type: str
      sample: Rack 4, unit 12
    tags:
      description: Tags, sorted.
      type: list
      elements: str
      sample: [rack4]
    other_config:
      description: Other configuration.
      type: dict
      sample: {}
    enabled:
      description: Whether guests may be started on it.
      type: bool
      sample: true
    iscsi_iqn:
      description: Its name as an iSCSI initiator.
      type: str
      sample: iqn.2026-11.com.example:xcp1
    address:
      description: Address of its management interface.
      type: str
      sample: 192.0.2.11
    hostname:
      description: Its Linux host name.
      type: str
      sample: xcp1
hosts:
  description:
    - What became of each host, C(name) as it was given, C(changed), and C(failed). If it did not fail, C(host)
      is as in RV(host); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there
      is any.
  returned: with O(hosts)
  type: list
  elements: dict
  sample:
    - {name: xcp1, changed: true, failed: false, host: {name: xcp1, description: "Rack 4, unit 12"}}
    - {name: xcp9, changed: false, failed: true, msg: "there is no host with the name or uuid 'xcp9'"}
task:
  description: Reference of the XAPI task that is still running.
  returned: when an operation was started and O(wait=false)
  type: str
  sample: OpaqueRef:0d3b2a5e-6f1e-4a8f-8f0e-6d2a0b1c9e77
tasks:
  description: The XAPI tasks of the last operations of all, which go on.
  returned: with O(hosts) and O(wait=false), if there were long operations
  type: list
  elements: str
  sample: ["OpaqueRef:0d3b2a9c-3f0e-4a83-9a1b-8c8b4b3a7d55"]
"""

import re
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import (
    ChangeSet,
    ignore,
)
from ansible_collections.nobloat.xen.plugins.module_utils.common import (
    COMMON_SPEC,
    find_named,
    plan_common,
)
from ansible_collections.nobloat.xen.plugins.module_utils.host import host_view
from ansible_collections.nobloat.xen.plugins.module_utils.many import ListModule
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records

SPEC = {
    "name": {"type": "str", "required": True},
    "new_name": {"type": "str"},
    "enabled": {"type": "bool"},
    "iscsi_iqn": {"type": "str"},
    **COMMON_SPEC,
}

# RFC 3720, 3.2.6.3: iqn.<year>-<month>.<reversed domain>[:<anything>], or eui. and 16, or naa. and 16 or 32 hex digits.
ISCSI_NAME = re.compile(r"iqn\.\d{4}-\d{2}\.[^\s:]+(:\S+)?|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16}([0-9A-Fa-f]{16})?")


def check_options(params: dict[str, Any]) -> None:
    iqn = params["iscsi_iqn"]
    if iqn is not None and not ISCSI_NAME.fullmatch(iqn):
        raise ValueError(f"iscsi_iqn {iqn!r} is no iSCSI name; one looks like iqn.2026-11.com.example:xcp1.")
    if "iscsi_iqn" in (params["other_config"] or {}):
        raise ValueError("XAPI keeps other_config.iscsi_iqn for itself. Use the option iscsi_iqn.")


def wanted_iqn(live: str, wanted: str | None) -> str | None:
    """An initiator name as it is written; names that differ only in their case are the same (RFC 3722)."""
    return live if wanted and wanted.lower() == live.lower() else wanted


def plan(module: XapiModule) -> ChangeSet:
    params, call = module.params, module.xapi.call
    check_options(params)
    record = find_named(module.xapi, "host", params, required=True)
    ref = record["ref"]
    changes = ChangeSet(f"host {params['name']}", before=host_view(record))
    changes.set("name", params["new_name"], lambda value: call("host.set_name_label", ref, value))
    plan_common(changes, module, "host", record)
    # After other_config, which holds a copy of it.
    iqn = wanted_iqn(record["iscsi_iqn"], params["iscsi_iqn"])
    if changes.set("iscsi_iqn", iqn, lambda value: call("host.set_iscsi_iqn", ref, value)):
        changes.after["other_config"]["iscsi_iqn"] = iqn
    enabled = params["enabled"]
    if enabled is not None and enabled != record["enabled"]:
        if not records.record(module.xapi, "host_metrics", record["metrics"])["live"]:
            raise ValueError(f"{changes.title} is not alive, so it can be neither enabled nor disabled. Start it first.")
        changes.after["enabled"] = enabled
        method, back = ("host.enable", "host.disable") if enabled else ("host.disable", "host.enable")
        changes.step(f"{method} {params['name']}", lambda: ignore(module.run(method, ref, last=True)), undo=lambda: module.run(back, ref))
    return changes


def main() -> None:
    ListModule(SPEC, "hosts", ["name"], waits=True).converge_each("host", plan)


if __name__ == "__main__":
    main()
