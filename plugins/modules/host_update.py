#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_update
short_description: Install updates on a host
version_added: 1.0.0
description:
  - Installs all updates that there are for a host, and tells whether it has to reboot for them.
  - It neither empties the host nor reboots it. The playbook C(nobloat.xen.rolling_update) does so for a whole pool.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name or uuid of the host.
    type: str
    required: true
  method:
    description:
      - V(repository) uses the update repositories that the pool has, as XenServer 8 does. XAPI disables the host while it is updated,
        and it stays disabled if it has to reboot. High availability has to be off.
      - V(plugin) lets XCP-ng's plugin updater.py run yum on the host.
      - V(auto) is V(repository) if the pool has one, else V(plugin).
    type: str
    choices: [auto, repository, plugin]
    default: auto
  repositories:
    description:
      - Names of yum repositories to use besides those of XCP-ng, for V(plugin).
    type: list
    elements: str
  sync:
    description:
      - Let the pool look first what updates there are, for V(repository). Not in check mode, which goes by what the pool knew last.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.attributes
notes:
  - Update the coordinator first, then the other hosts.
  - Since XAPI does not learn of what yum has done, the module notes the time in C(other_config) of the host, under
    C(nobloat.xen.updated).
seealso:
  - module: nobloat.xen.host_maintenance
  - module: nobloat.xen.host_power
"""

EXAMPLES = r"""
- name: Install updates
  nobloat.xen.host_update:
    name: xcp2
    wait_timeout: 3600
  register: updated

- name: Reboot if that is needed
  nobloat.xen.host_power:
    name: xcp2
    state: restarted
    wait_timeout: 1800
  when: updated.host.reboot_required
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
    method:
      description: How it is updated.
      type: str
      sample: plugin
    up_to_date:
      description: Whether it lacks nothing.
      type: bool
      sample: true
    updates:
      description: What it lacks, packages or updates.
      type: list
      elements: str
      sample: []
    reboot_required:
      description: Whether it still runs what it ran before it was updated.
      type: bool
      sample: true
"""

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.updates import HostUpdate
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule

SPEC = {
    "name": {"type": "str", "required": True},
    "method": {"type": "str", "choices": ["auto", "repository", "plugin"], "default": "auto"},
    "repositories": {"type": "list", "elements": "str"},
    "sync": {"type": "bool", "default": False},
}


def plan(module: XapiModule) -> ChangeSet:
    return HostUpdate(module).plan()


def main() -> None:
    XapiModule(SPEC, waits=True).converge("host", plan)


if __name__ == "__main__":
    main()
