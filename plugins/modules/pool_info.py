#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pool_info
short_description: Look at a pool
version_added: 1.0.0
description:
  - Returns the pool that O(hostname) leads to, with its coordinator, its hosts and the state of high availability,
    in at most four calls, six with high availability.
author:
  - nobloat.xen contributors (@nobloat)
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes.info
seealso:
  - module: nobloat.xen.pool
  - module: nobloat.xen.host_info
"""

EXAMPLES = r"""
- name: Look at the pool
  nobloat.xen.pool_info:
    hostname: xcp1.example.com
    password: "{{ vault_pool_password }}"
  register: found

- name: Who is the coordinator?
  ansible.builtin.debug:
    msg: "{{ found.pools[0].coordinator.name }}"
"""

RETURN = r"""
pools:
  description: The pool, as the only element of a list.
  returned: success
  type: list
  elements: dict
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
      type: dict
      sample: {name: xcp1, uuid: 0a4f0d4e-5f7f-4ed7-9d1f-9f6f3a8a51c2, address: 192.0.2.11}
    hosts:
      description: The hosts, sorted by name; C(live) as far as the coordinator knows.
      type: list
      elements: dict
      sample:
        - {name: xcp1, uuid: 0a4f0d4e-5f7f-4ed7-9d1f-9f6f3a8a51c2, address: 192.0.2.11, enabled: true, live: true}
    host_count:
      description: Number of hosts.
      type: int
      sample: 2
    product:
      description: Brand and version of what runs on the coordinator.
      type: str
      sample: XCP-ng 8.3.0
    api_version:
      description: Version of XAPI's interface.
      type: str
      sample: "2.21"
    tls_verification_enabled:
      description: Whether the hosts check each other's certificates.
      type: bool
      sample: true
    ha:
      description: State of high availability.
      type: dict
      sample:
        enabled: false
        failures_to_tolerate: 0
        failures_planned_for: 0
        allow_overcommit: false
        overcommitted: false
        cluster_stack: xhad
        sr: null
      contains:
        enabled:
          description: Whether it is on.
          type: bool
        failures_to_tolerate:
          description: Number of host failures that protected guests shall survive.
          type: int
        failures_planned_for:
          description: Number of host failures that they would survive now.
          type: int
        allow_overcommit:
          description: Whether more guests may be protected than could be restarted.
          type: bool
        overcommitted:
          description: Whether more guests are protected than could be restarted.
          type: bool
        cluster_stack:
          description: Name of the software that watches the hosts.
          type: str
        sr:
          description: SR that holds the state file; null while high availability is off.
          type: dict
"""

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.pool import (
    ha_sr,
    pool_view,
    read_pool,
    sr_view,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.records import records

Record = dict[str, Any]


def look(module: XapiModule) -> dict[str, Any]:
    record, srs = read_pool(module.xapi)
    hosts, metrics = records(module.xapi, "host"), records(module.xapi, "host_metrics")
    facts = pool_facts(record, hosts, metrics)
    facts["ha"]["sr"] = sr_view(ha_sr(module.xapi, record))
    return {"pools": [{**pool_view(record, srs), **facts}]}


def pool_facts(record: Record, hosts: dict[str, Record], metrics: dict[str, Record]) -> Record:
    """What a pool is besides its options."""
    coordinator = hosts[record["master"]]
    version = coordinator["software_version"]
    return {
        "coordinator": host_view(coordinator),
        "hosts": sorted(
            (
                {
                    **host_view(host), "enabled": host["enabled"],
                    "live": bool(metrics.get(host["metrics"], {}).get("live")),
                }
                for host in hosts.values()
            ),
            key=lambda host: (host["name"], host["uuid"]),
        ),
        "host_count": len(hosts),
        "product": f"{version.get('product_brand', '')} {version.get('product_version', '')}".strip(),
        "api_version": f"{coordinator['API_version_major']}.{coordinator['API_version_minor']}",
        "tls_verification_enabled": record.get("tls_verification_enabled"),
        "ha": {
            "enabled": record["ha_enabled"],
            "failures_to_tolerate": record["ha_host_failures_to_tolerate"],
            "failures_planned_for": record["ha_plan_exists_for"],
            "allow_overcommit": record["ha_allow_overcommit"],
            "overcommitted": record["ha_overcommitted"],
            "cluster_stack": record["ha_cluster_stack"],
        },
    }


def host_view(record: Record) -> dict[str, str]:
    return {"name": record["name_label"], "uuid": record["uuid"], "address": record["address"]}


def main() -> None:
    XapiModule({}).report(look)


if __name__ == "__main__":
    main()
