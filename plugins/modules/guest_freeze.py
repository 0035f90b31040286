#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: guest_freeze
short_description: Freeze the file system on a mirror for a moment, in its guest
version_added: 1.0.0
description:
  - Runs in a guest. While a file system is frozen, all of it is in its place on the disk, nothing waits in a journal, and whoever writes
    to it waits. A snapshot of a leg that is made meanwhile is complete in itself.
  - It is thawed when O(timeout) is over, at the latest, whatever becomes of Ansible and its connection. Should the process that sees to
    that be killed itself, the next run of this module thaws it, with either O(state).
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name of the mirror. Its file system is that on C(/dev/md/NAME).
    type: str
    required: true
  state:
    description:
      - Whether it is V(frozen). That fails if no file system on the mirror is mounted, or if somebody else has frozen it.
      - V(thawed) thaws it whoever has frozen it. Check mode cannot see that somebody else has.
    type: str
    choices: [frozen, thawed]
    default: frozen
  timeout:
    description:
      - Seconds that it may take to freeze it, as all that is to be written is written first; and after which it is thawed by itself.
    type: int
    default: 30
extends_documentation_fragment:
  - nobloat.xen.node
attributes:
  idempotent:
    support: full
seealso:
  - module: nobloat.xen.leg_backup
"""

EXAMPLES = r"""
- name: A snapshot of a frozen file system
  block:
    - name: Freeze it
      nobloat.xen.guest_freeze:
        name: data
      delegate_to: web1

    - name: Take the snapshot
      nobloat.xen.leg_backup:
        guest: web1
        disk: data
        vg: vg0
        halves:
          - /dev/mirror/node1/web1-data
          - /dev/mirror/node2/web1-data
        volume: /srv/backup
        state: snapshotted
      register: taken
  always:
    - name: Thaw it
      nobloat.xen.guest_freeze:
        name: data
        state: thawed
      delegate_to: web1
      register: thawed

- name: Back it up
  nobloat.xen.leg_backup:
    guest: web1
    disk: data
    vg: vg0
    halves:
      - /dev/mirror/node1/web1-data
      - /dev/mirror/node2/web1-data
    volume: /srv/backup
    method: files
    snapshot: "{{ taken.snapshot }}"
    frozen: "{{ thawed.held }}"
"""

RETURN = r"""
file_system:
  description: The file system as it is now, or would be in check mode.
  returned: success
  type: dict
  sample: {state: frozen, path: /srv}
held:
  description: Whether it was frozen until now. If V(false) after O(state=thawed), it was thawed before, because its time was up.
  returned: success
  type: bool
  sample: true
"""

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.freeze import Freezer
from ansible_collections.nobloat.xen.plugins.module_utils.node.mirror import path_of
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["frozen", "thawed"], "default": "frozen"},
    "timeout": {"type": "int", "default": 30},
}


def plan(module: NodeModule) -> ChangeSet:
    return Freezer(path_of(module.params["name"])).plan(
        module.params["state"], module.params["timeout"], module.check_mode)


def main() -> None:
    NodeModule(SPEC).converge("file_system", plan)


if __name__ == "__main__":
    main()
