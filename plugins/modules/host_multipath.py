#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_multipath
short_description: Switch multipathing to storage on or off
version_added: 1.0.0
description:
  - Switches whether a host reaches LUNs over all paths, and attaches its SRs anew, so that it takes effect.
  - Nothing is detached under a running guest. The module names the guests that are in the way and does nothing then; see
    M(nobloat.xen.host_maintenance).
  - An SR that was attached before multipathing was switched is attached anew as well.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the host.
    type: str
    required: true
  multipathing:
    description:
      - Whether the host uses multipathing.
    type: bool
    default: true
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.attributes
notes:
  - While SRs are attached anew, the host is disabled. A host that was disabled before stays so.
  - Best done before a host gets its first SR.
seealso:
  - module: nobloat.xen.multipath_info
  - module: nobloat.xen.host_maintenance
"""

EXAMPLES = r"""
- name: Empty the host, switch multipathing on, and put it back to work
  block:
    - nobloat.xen.host_maintenance:
        name: xcp2

    - nobloat.xen.host_multipath:
        name: xcp2

    - nobloat.xen.host_maintenance:
        name: xcp2
        state: absent
        return_vms: true
"""

RETURN = r"""
host:
  description: The host as it is now, or would be in check mode.
  returned: success
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: xcp2
    uuid:
      description: Unique identifier.
      type: str
      sample: 0a4f0d4e-5f7f-4ed7-9d1f-9f6f3a8a51c2
    multipathing:
      description: Whether the host uses multipathing.
      type: bool
      sample: true
    srs:
      description: The attached SRs that could go over several paths, and whether they do.
      type: list
      elements: dict
      sample: [{name: san1, uuid: 5f2b1c9a-1d36-4f0b-9b1c-0e6a7c6f0c55, multipathed: true}]
"""

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet, ignore
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.evacuation import live_hosts
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.pool import ha_sr
from ansible_collections.nobloat.xen.plugins.module_utils.storage.multipath import TYPES, multipathed, users
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, Records, select
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records

SPEC = {
    "name": {"type": "str", "required": True},
    "multipathing": {"type": "bool", "default": True},
}


def view(host: Record, pbds: list[Record], srs: Records) -> Record:
    shown = [{"name": srs[pbd["SR"]]["name_label"], "uuid": srs[pbd["SR"]]["uuid"], "multipathed": multipathed(pbd)} for pbd in pbds]
    return {"name": host["name_label"], "uuid": host["uuid"], "multipathing": host["multipathing"], "srs": shown}


def plan(module: XapiModule) -> ChangeSet:
    wanted, call, run = module.params["multipathing"], module.xapi.call, module.run
    host = records.find(module.xapi, "host", module.params["name"])
    ref, name = host["ref"], host["name_label"]
    pbds, srs = capable(module, host)
    changes = ChangeSet(f"multipathing of host {name}", before=view(host, pbds, srs))
    stale = [pbd for pbd in pbds if multipathed(pbd) != wanted]
    if host["multipathing"] == wanted and not stale:
        return changes
    if not live_hosts(module.xapi, {ref: host}):
        raise ValueError(f"Host {name} is not alive.")
    refuse_in_use(module, host, stale)
    changes.after["multipathing"] = wanted
    for item in changes.after["srs"]:
        item["multipathed"] = wanted
    if stale and host["enabled"]:
        changes.step(f"disable {name}", lambda: ignore(call("host.disable", ref)), undo=lambda: call("host.enable", ref))
    for pbd in stale:
        label = srs[pbd["SR"]]["name_label"]
        changes.step(f"detach SR {label}", lambda pbd=pbd: ignore(run("PBD.unplug", pbd["ref"])),
                     undo=lambda pbd=pbd: run("PBD.plug", pbd["ref"]))
    if host["multipathing"] != wanted:
        changes.step(f"switch multipathing {'on' if wanted else 'off'}", lambda: ignore(call("host.set_multipathing", ref, wanted)),
                     undo=lambda: call("host.set_multipathing", ref, not wanted))
    for pbd in stale:
        label = srs[pbd["SR"]]["name_label"]
        changes.step(f"attach SR {label}", lambda pbd=pbd: ignore(run("PBD.plug", pbd["ref"])),
                     undo=lambda pbd=pbd: run("PBD.unplug", pbd["ref"]))
    if stale and host["enabled"]:
        changes.step(f"enable {name}", lambda: ignore(call("host.enable", ref)))
    return changes


def capable(module: XapiModule, host: Record) -> tuple[list[Record], Records]:
    """The host's attached PBDs that multipathing concerns, by name of their SR, and the SRs."""
    pbds = [pbd for pbd in select(module.xapi, "PBD", host=[host["ref"]]).values() if pbd["currently_attached"]]
    srs = select(module.xapi, "SR", refs={pbd["SR"] for pbd in pbds})
    found = [pbd for pbd in pbds if srs.get(pbd["SR"], {}).get("type") in TYPES]
    return sorted(found, key=lambda pbd: (str(srs[pbd["SR"]]["name_label"]), str(srs[pbd["SR"]]["uuid"]))), srs


def refuse_in_use(module: XapiModule, host: Record, pbds: list[Record]) -> None:
    """XAPI would detach the first SRs and fail at the one that is in use."""
    if not pbds:
        return
    kept = ha_sr(module.xapi, next(iter(records.records(module.xapi, "pool").values())))
    if kept and any(pbd["SR"] == kept["ref"] for pbd in pbds):
        raise ValueError(f"SR {kept['name_label']} holds the state file of high availability, so it cannot be detached. Switch that off "
                         "first (module nobloat.xen.pool_ha).")
    vms = select(module.xapi, "VM", refs=host["resident_VMs"])
    vbds = select(module.xapi, "VBD", VM=vms)
    vdis: dict[str, Any] = select(module.xapi, "VDI", refs={vbd["VDI"] for vbd in vbds.values()})
    busy = users(pbds, vbds, vdis, vms)
    if busy:
        raise ValueError(f"Guests on {host['name_label']} use disks that would be detached: {', '.join(busy)}. Move them away first "
                         "(module nobloat.xen.host_maintenance), or shut them down.")


def main() -> None:
    XapiModule(SPEC, waits=True).converge("host", plan)


if __name__ == "__main__":
    main()
