#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pool_claim
short_description: Let only one playbook at a time work on a pool as a whole
version_added: 1.0.0
description:
  - Notes in the pool who works on it as a whole, since when and for what. While that lasts, it fails for everybody else, and tells
    who it is.
  - The playbooks that update, install, add or remove hosts begin with it. What is made of single objects needs none - two runs that make
    the same thing wait for each other anyway.
  - A claim belongs to the C(ansible-playbook) that made it. It ends with O(state=absent); when that process has ended, which only a run on
    the same controller can see; or when O(lifetime) has passed since it was renewed.
author:
  - nobloat.xen contributors (@nobloat)
options:
  state:
    description:
      - With V(present), the pool is claimed by this playbook. Its claim of before is renewed, once half of O(lifetime) has passed.
      - With V(absent), the claim of this playbook ends. That of another one stays, unless O(force=true).
    type: str
    choices: [present, absent]
    default: present
  purpose:
    description:
      - What is done with the pool, for others to read. Needed with O(state=present).
    type: str
  lifetime:
    description:
      - Minutes after which the claim has ended, if it is not renewed.
    type: int
    default: 360
  force:
    description:
      - Take over a claim of somebody else, or remove it. Only for a run that does not go on.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes
notes:
  - It is in C(other_config) of the pool, key C(nobloat.xen.claim).
seealso:
  - module: nobloat.xen.pool
"""

EXAMPLES = r"""
- name: Nobody else changes the pool meanwhile
  nobloat.xen.pool_claim:
    purpose: rolling update

- name: It is done
  nobloat.xen.pool_claim:
    state: absent
"""

RETURN = r"""
pool_claim:
  description: The claim as it is now, or would be in check mode, without its times then; empty if there is none.
  returned: success
  type: dict
  sample: {purpose: rolling update, by: root@controller, since: "2026-11-30T09:32:00Z", until: "2026-11-30T15:32:00Z"}
claim:
  description: That of somebody else, which is in the way.
  returned: when it fails for that reason
  type: dict
  sample: {purpose: rolling update, by: root@controller, since: "2026-11-30T09:32:00Z", until: "2026-11-30T15:32:00Z"}
"""

from ansible_collections.nobloat.xen.plugins.module_utils.hosts.claim import plan_claim
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule

SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "purpose": {"type": "str"},
    "lifetime": {"type": "int", "default": 360},
    "force": {"type": "bool", "default": False},
}


def main() -> None:
    XapiModule(SPEC, required_if=[("state", "present", ["purpose"])]).converge("pool_claim", plan_claim)


if __name__ == "__main__":
    main()
