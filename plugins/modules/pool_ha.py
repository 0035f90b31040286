#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pool_ha
short_description: Switch high availability of a pool on or off
version_added: 1.0.0
description:
  - Lets the hosts of a pool watch each other, so that the protected guests of a host that dies are restarted on others; or stops that.
  - Which guests are protected is a matter of the guests (C(ha_restart_priority)).
author:
  - nobloat.xen contributors (@nobloat)
options:
  state:
    description:
      - V(present) is on. V(absent) is off, as it has to be while hosts join, leave, or are updated.
    type: str
    choices: [present, absent]
    default: present
  sr:
    description:
      - Name or uuid of the SR for the state file, through which the hosts see each other's life. It has to be attached to all hosts.
      - Needed to switch it on. If it is on with another SR, it is switched off and on again. If omitted, that is left alone.
    type: str
  failures_to_tolerate:
    description:
      - How many hosts may die so that all protected guests can be restarted. The pool then refuses what would break that.
      - If omitted, it is left alone.
    type: int
  heartbeat_timeout:
    description:
      - Seconds of silence after which a host counts as dead and fences itself. Only used when it is switched on. If omitted, XAPI's own.
    type: int
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.attributes
seealso:
  - module: nobloat.xen.pool
  - module: nobloat.xen.pool_info
"""

EXAMPLES = r"""
- name: Protected guests survive the death of one host
  nobloat.xen.pool_ha:
    sr: san1
    failures_to_tolerate: 1

- name: Not while hosts are rebooted
  nobloat.xen.pool_ha:
    state: absent
"""

RETURN = r"""
pool_ha:
  description: High availability as it is now, or would be in check mode.
  returned: success
  type: dict
  contains:
    enabled:
      description: Whether it is on.
      type: bool
      sample: true
    sr:
      description: SR of the state file; null if it is off.
      type: dict
      sample: {name: san1, uuid: 5f2b1c9a-1d36-4f0b-9b1c-0e6a7c6f0c55}
    failures_to_tolerate:
      description: How many hosts may die.
      type: int
      sample: 1
"""

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.evacuation import live_hosts
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.pool import ha_sr, sr_view
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records

SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "sr": {"type": "str"},
    "failures_to_tolerate": {"type": "int"},
    "heartbeat_timeout": {"type": "int"},
}


def plan(module: XapiModule) -> ChangeSet:
    params, run = module.params, module.run
    pool = next(iter(records.records(module.xapi, "pool").values()))
    current = ha_sr(module.xapi, pool)
    changes = ChangeSet("high availability", before={
        "enabled": pool["ha_enabled"], "sr": sr_view(current), "failures_to_tolerate": int(pool["ha_host_failures_to_tolerate"]),
    })
    if params["state"] == "absent":
        if pool["ha_enabled"]:
            changes.after.update(enabled=False, sr=None)
            changes.step("switch high availability off", lambda: ignore(run("pool.disable_ha")))
        return changes
    count = params["failures_to_tolerate"]
    if count is not None and count < 0:
        raise ValueError("failures_to_tolerate cannot be negative.")
    sr = records.find(module.xapi, "SR", params["sr"]) if params["sr"] else None
    if not pool["ha_enabled"] or (sr and current and sr["ref"] != current["ref"]):
        if sr is None:
            raise ValueError("High availability is off. To switch it on, name the SR for its state file (sr).")
        check(module, sr)
        changes.after.update(enabled=True, sr=sr_view(sr))
        if pool["ha_enabled"] and current:
            changes.step("switch high availability off", lambda: ignore(run("pool.disable_ha")),
                         undo=lambda: run("pool.enable_ha", [current["ref"]], pool["ha_configuration"]),
                         leaves="high availability, switched off")
        seconds = params["heartbeat_timeout"]
        configuration = {} if seconds is None else {"timeout": str(seconds)}
        changes.step("switch high availability on", lambda: ignore(run("pool.enable_ha", [sr["ref"]], configuration)),
                     undo=lambda: run("pool.disable_ha"))
    if count is not None and pool["ha_enabled"] and not pool["ha_allow_overcommit"] and count > changes.before["failures_to_tolerate"]:
        most = int(module.xapi.call("pool.ha_compute_max_host_failures_to_tolerate"))
        if count > most:
            raise ValueError(f"If {count} hosts died, the pool could then no longer restart all protected guests; {most} may. Add memory, "
                             "or protect fewer guests.")
    changes.set("failures_to_tolerate", count,
                lambda value: module.xapi.call("pool.set_ha_host_failures_to_tolerate", pool["ref"], value),
                text=f"tolerate the failure of {count} hosts")
    return changes


def check(module: XapiModule, sr: dict[str, Any]) -> None:
    """Raise ValueError where XAPI would refuse to switch it on, and name what is in the way."""
    hosts = records.records(module.xapi, "host")
    live = live_hosts(module.xapi, hosts)
    dead = sorted(host["name_label"] for ref, host in hosts.items() if ref not in live)
    if dead:
        raise ValueError(f"High availability needs all hosts alive, and {', '.join(dead)} is not.")
    seen = {pbd["host"] for pbd in select(module.xapi, "PBD", SR=[sr["ref"]]).values() if pbd["currently_attached"]}
    lacking = sorted(host["name_label"] for ref, host in hosts.items() if ref not in seen)
    if lacking:
        raise ValueError(f"SR {sr['name_label']} cannot hold the state file: it is not attached to {', '.join(lacking)}.")


def main() -> None:
    XapiModule(SPEC, waits=True).converge("pool_ha", plan)


if __name__ == "__main__":
    main()
