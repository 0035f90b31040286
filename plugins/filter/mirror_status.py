# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_status
short_description: How the mirrors of guests are
version_added: 1.0.0
description:
  - Puts together what nodes, pools and guests say of mirrored disks, which node mirrors which, and how each of them is.
  - It looks at nothing by itself. The playbook C(nobloat.xen.mirror_status) gathers what it needs.
author: nobloat.xen contributors (@nobloat)
positional: vms, guests, time
options:
  _input:
    description:
      - The nodes, each with C(name), C(pool), C(host) (its name in XAPI), and C(info), the result of
        M(nobloat.xen.mirror_info); without C(info), the node does not answer.
    type: list
    elements: dict
    required: true
  vms:
    description: Guests as M(nobloat.xen.vm_info) returns them, each with C(pool) besides.
    type: list
    elements: dict
    default: []
  guests:
    description: What M(nobloat.xen.mirror_info) says inside of guests, by C(pool/name). Guests that are left out could not be asked.
    type: dict
    default: {}
  time:
    description:
      - When all that was asked, in seconds since 1970. Modules that take a host away want to know (their option C(mirrors)).
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Show the mirrors
  ansible.builtin.debug:
    msg: "{{ (nodes | nobloat.xen.mirror_status(vms, guests)).table }}"
"""

RETURN = r"""
_value:
  description:
    - C(healthy) (nothing needs anybody), C(worst) (the worst state), C(summary) (a sentence), C(counts) (by state), C(nodes),
      C(disks), C(wiping) (sentences on what nodes are zeroing), C(table) (lines of text), C(picture) (boxes, legs and lines
      with their places), C(last_on), C(behind), C(time), and C(lacking) (what keeps mirrors from being whole, in words; empty if all
      are, also those of guests that do not run).
    - C(last_on) has for each node the disks of which no other node holds a half that is proven to have all data, each with C(pool),
      C(guest), C(disk) and C(why) in words. If such a node goes, data may be lost with it.
    - C(behind) has the guests that run without a half that is there, each with C(pool), C(guest) and C(nodes).
    - Each of C(nodes) has C(name), C(pool), C(host), C(reachable), C(legs) (how many), C(runs) (guests) and C(troubles) (what of
      its exports and imports is not at work).
    - Each of C(disks) has C(guest), C(disk), C(pool), C(size) in bytes, C(state) (V(healthy), V(resyncing), V(degraded),
      V(stopped), V(unknown), V(failed) or V(alone)), C(words), C(progress) in percent or null, C(power), C(runs_on), C(lease)
      and C(legs).
    - Each of C(legs) has C(node), C(name), C(exists) (null if the node does not answer), C(exported), C(size), C(lease), C(half),
      C(doubt) (why it may lack data that another half has, empty if it is proven to have all; of guests that do not run, that
      takes what M(nobloat.xen.mirror_info) says with O(nobloat.xen.mirror_info#module:halves)) and C(state)
      (V(complete), V(resyncing), V(missing), V(faulty), V(unreachable), V(idle) or V(unknown)).
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.nobloat.xen.plugins.module_utils.mirror.status import status
from ansible_collections.nobloat.xen.plugins.plugin_utils.foreign import foreign


@foreign
def mirror_status(nodes: Any, vms: Any = (), guests: Any = None, time: Any = 0) -> dict[str, Any]:
    try:
        return status(nodes, vms, guests, float(time))
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"nobloat.xen.mirror_status: this is not what mirror_info and vm_info return: {error!r}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mirror_status": mirror_status}
