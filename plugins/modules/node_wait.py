#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: node_wait
short_description: Wait until a node can be worked on
version_added: 1.0.0
description:
  - Tries to run a program on the node until that works. Nothing is looked at besides.
  - Takes the place of M(ansible.builtin.wait_for_connection) where the node's only Python is one that this ansible-core refuses.
author:
  - nobloat.xen contributors (@nobloat)
options:
  timeout:
    description:
      - Seconds after which it fails.
    type: int
    default: 600
extends_documentation_fragment:
  - nobloat.xen.node.info
"""

EXAMPLES = r"""
- name: Wait for the node that was started
  nobloat.xen.node_wait:
    timeout: 900
"""

RETURN = r"""
elapsed:
  description: Seconds that it took.
  returned: success
  type: int
  sample: 42
"""

from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {"timeout": {"type": "int", "default": 600}}


def main() -> None:
    NodeModule(SPEC).report(lambda _module: {})


if __name__ == "__main__":
    main()
