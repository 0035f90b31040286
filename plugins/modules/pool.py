#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pool
short_description: Configure a pool
version_added: 1.0.0
description:
  - Sets the name, description, default SRs and other properties of the pool that O(hostname) leads to.
  - A host belongs to exactly one pool, so O(name) does not look for a pool, it is the name that the pool gets.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name that the pool gets. If omitted, it is left alone; an empty one clears it.
    type: str
  default_sr:
    description:
      - Name or uuid of the SR for new disks. If omitted, it is left alone; an empty one clears it.
    type: str
  suspend_sr:
    description:
      - Name or uuid of the SR for the memory of suspended guests. If omitted, it is left alone; an empty one clears it.
    type: str
  crash_dump_sr:
    description:
      - Name or uuid of the SR for crash dumps of guests. If omitted, it is left alone; an empty one clears it.
    type: str
  migration_compression:
    description:
      - Whether the memory of migrating guests is compressed, unless a migration says otherwise.
      - If omitted, it is left alone. Only pools whose XAPI knows it can set it.
    type: bool
  coordinator_bias:
    description:
      - Whether XAPI places guests on the coordinator less readily than on other hosts.
      - If omitted, it is left alone. Only pools whose XAPI knows it can set it.
    type: bool
  live_patching_disabled:
    description:
      - Whether updates are applied without live patches, so that they take effect with a reboot only.
      - If omitted, it is left alone.
    type: bool
  igmp_snooping_enabled:
    description:
      - Whether multicast goes only to those NICs that asked for it. Needs Open vSwitch on the hosts.
      - If omitted, it is left alone.
    type: bool
  coordinator:
    description:
      - Name or uuid of the host that is to be the coordinator. All hosts have to be up, and high availability has to be off.
      - The toolstacks restart for that, and all sessions end. It is done last, and the module waits until the pool answers again.
      - If omitted, the coordinator stays.
    type: str
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.common
  - nobloat.xen.attributes
seealso:
  - module: nobloat.xen.pool_info
"""

EXAMPLES = r"""
- name: Name the pool and its default SR
  nobloat.xen.pool:
    hostname: xcp1.example.com
    password: "{{ vault_pool_password }}"
    name: alpha
    description: Production, hall 2
    default_sr: nfs1
    suspend_sr: nfs1
    tags: [production]

- name: Another coordinator, before the first one is shut down
  nobloat.xen.pool:
    hostname: xcp1.example.com
    password: "{{ vault_pool_password }}"
    coordinator: xcp2

- name: No default SR any more
  nobloat.xen.pool:
    default_sr: ""
"""

RETURN = r"""
pool:
  description: The pool as it is now, or would be in check mode.
  returned: success
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: alpha
    uuid:
      description: Unique identifier.
      type: str
      sample: 7c4d4a58-8a0a-4d0e-8d8c-3f6f1f0f2d11
    description:
      description: Description.
      type: str
      sample: Production, hall 2
    tags:
      description: Tags, sorted.
      type: list
      elements: str
      sample: [production]
    other_config:
      description: Other configuration.
      type: dict
      sample: {}
    default_sr:
      description: SR for new disks; null if there is none.
      type: dict
      sample: {name: nfs1, uuid: 5f2b1c9a-1d36-4f0b-9b1c-0e6a7c6f0c55}
    suspend_sr:
      description: SR for the memory of suspended guests; null if there is none.
      type: dict
      sample: {name: nfs1, uuid: 5f2b1c9a-1d36-4f0b-9b1c-0e6a7c6f0c55}
    crash_dump_sr:
      description: SR for crash dumps of guests; null if there is none.
      type: dict
      sample: null
    migration_compression:
      description: Whether the memory of migrating guests is compressed; null if the pool does not know it.
      type: bool
      sample: false
    coordinator_bias:
      description: Whether XAPI spares the coordinator; null if the pool does not know it.
      type: bool
      sample: true
    live_patching_disabled:
      description: Whether updates are applied without live patches.
      type: bool
      sample: false
    igmp_snooping_enabled:
      description: Whether IGMP snooping is on.
      type: bool
      sample: false
    coordinator:
      description: The coordinator.
      returned: with O(coordinator)
      type: dict
      sample: {name: xcp2, uuid: 3a1f0d4e-5f7f-4ed7-9d1f-9f6f3a8a51c2, address: 192.0.2.12}
"""

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import (
    ChangeSet,
    ignore,
)
from ansible_collections.nobloat.xen.plugins.module_utils.common import (
    COMMON_SPEC,
    plan_common,
)
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.coordinator import plan_coordinator
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.pool import (
    FLAGS,
    SR_FIELDS,
    pool_view,
    read_pool,
    sr_view,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records

SPEC = {
    "name": {"type": "str"},
    **{option: {"type": "str"} for option in SR_FIELDS},
    **{option: {"type": "bool"} for option in FLAGS},
    "coordinator": {"type": "str"},
    **COMMON_SPEC,
}


def plan(module: XapiModule) -> ChangeSet:
    params, call = module.params, module.xapi.call
    record, srs = read_pool(module.xapi)
    ref = record["ref"]
    changes = ChangeSet(f"pool {record['name_label'] or record['uuid']}", before=pool_view(record, srs))
    changes.set("name", params["name"], lambda value: call("pool.set_name_label", ref, value))
    plan_common(changes, module, "pool", record)
    plan_srs(module, changes, record)
    for option in FLAGS:
        if params[option] is not None and option not in record:
            raise ValueError(f"The XAPI of this pool does not know {option}; leave it out or update the hosts.")
        changes.set(option, params[option], lambda value, option=option: call(f"pool.set_{option}", ref, value))
    plan_coordinator(module, changes, record)
    return changes


def plan_srs(module: XapiModule, changes: ChangeSet, record: dict[str, Any]) -> None:
    """Plan the SRs of the pool; each is looked for once, even when it serves all purposes."""
    call, ref, found = module.xapi.call, record["ref"], {}
    for option, field in SR_FIELDS.items():
        name = module.params[option]
        if name is None:
            continue
        if name and name not in found:
            found[name] = records.find(module.xapi, "SR", name)
        sr = found.get(name)
        target = sr["ref"] if sr else records.NULL
        # A reference to an SR that is gone shows as null, yet it is there to be cleared.
        if target != record[field]:
            changes.after[option] = sr_view(sr)
            changes.step(
                f"set {option} of {changes.title}",
                lambda field=field, target=target: ignore(call(f"pool.set_{field}", ref, target)),
                undo=lambda field=field: call(f"pool.set_{field}", ref, record[field]),
            )


def main() -> None:
    XapiModule(SPEC, waits=True).converge("pool", plan)


if __name__ == "__main__":
    main()
