#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: node_secret
short_description: Keep a secret on a node
version_added: 1.0.0
description:
  - Reads a secret from a file of the node that only root may read, or writes it there if there is none. A secret that is there is
    never replaced.
author:
  - nobloat.xen contributors (@nobloat)
options:
  path:
    description:
      - Path of the file. Its folder is made if need be.
    type: path
    required: true
  secret:
    description:
      - The secret to write if there is none. If omitted, the module only reads.
    type: str
extends_documentation_fragment:
  - nobloat.xen.node
notes:
  - The result has the secret in it, so give the task C(no_log).
seealso:
  - module: nobloat.xen.iscsi_export
"""

EXAMPLES = r"""
- name: Read the secret, or make one
  nobloat.xen.node_secret:
    path: /etc/nobloat/node.chap
    secret: "{{ lookup('ansible.builtin.password', '/dev/null', length=24) }}"
  register: secret
  no_log: true
"""

RETURN = r"""
secret:
  description: The file, as it is now or would be in check mode; empty if there is none.
  returned: success
  type: dict
  contains:
    path:
      description: Its path.
      type: str
      sample: /etc/nobloat/node.chap
content:
  description: The secret, without white space around it; null if there is none.
  returned: success
  type: str
  sample: correct-horse-battery
"""

from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule
from ansible_collections.nobloat.xen.plugins.module_utils.node.secret import plan

SPEC = {"path": {"type": "path", "required": True}, "secret": {"type": "str", "no_log": False}}


def main() -> None:
    # As no_log, it would be taken out of the result, too.
    NodeModule(SPEC, hidden=("secret",)).converge("secret", lambda module: plan(module.params["path"], module.params["secret"]))


if __name__ == "__main__":
    main()
