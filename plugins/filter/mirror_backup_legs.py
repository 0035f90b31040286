# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_backup_legs
short_description: Which legs of mirrored guests to back up
version_added: 1.0.0
description:
  - Chooses one leg of each disk for a backup. All disks of a guest are backed up on the same node, if one has a leg of each of
    them, and not on the one where the guest runs. Among others, the work is spread.
author: nobloat.xen contributors (@nobloat)
options:
  _input:
    description: The legs, as from P(nobloat.xen.mirror_legs#filter).
    type: list
    elements: dict
    required: true
  running:
    description: The nodes that guests run on, by the guest's name. Guests that run nowhere are left out.
    type: dict
    default: {}
  hosts:
    description: Inventory names of guests that can be asked for their mirrors, by the guest's name.
    type: dict
    default: {}
  guests:
    description: Names of the guests to back up. If omitted or empty, all.
    type: list
    elements: str
    default: []
  disks:
    description: Names of the disks to back up. If omitted or empty, all.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: The legs of web1, which runs on node1
  ansible.builtin.debug:
    msg: "{{ mirror_legs | nobloat.xen.mirror_backup_legs(running={'web1': 'node1'}, guests=['web1']) }}"
"""

RETURN = r"""
_value:
  description:
    - All legs, as they came, as dicts with C(guest), C(disk), C(name), C(vg), C(node), C(halves) (the paths of all legs of the
      disk), C(state), which is V(present) for a leg that is to be backed up and V(clean) for the others, and C(host), if the
      guest can be asked.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.backups import backup_legs
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_backup_legs(legs: list[dict[str, Any]], running: dict[str, str] | None = None, hosts: dict[str, str] | None = None,
                       guests: list[str] | None = None, disks: list[str] | None = None) -> list[dict[str, Any]]:
    try:
        return backup_legs(legs, running or {}, hosts or {}, guests or (), disks or ())
    except ValueError as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_backup_legs: {error}") from error
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_backup_legs: these are no legs: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_backup_legs": mirror_backup_legs}
