#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: session
short_description: Log in to a pool once for many tasks
version_added: 1.0.0
description:
  - Opens a XAPI session that the other modules of the collection use by their O(ignore:session) option, so that a play
    logs in once instead of once a task.
  - What is returned is only a reference, the path of a file that nobody but the user who runs Ansible can read.
    The session's secret never appears in the output.
author:
  - nobloat.xen contributors (@nobloat)
options:
  state:
    description:
      - With V(present), log in.
      - With V(absent), log O(session) out and remove its file. A session that is gone already is no error.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.attributes
attributes:
  check_mode:
    details: Logging in changes nothing in the pool, so it is done in check mode too. The tasks that follow need it.
  idempotent:
    details: Every login opens a session of its own. Nothing is reported as changed.
seealso:
  - module: nobloat.xen.pool_info
"""

EXAMPLES = r"""
- name: Log in once
  nobloat.xen.session:
    hostname: pool1.example.com
    username: root
    password: "{{ vault_pool_password }}"
  register: xapi

- name: Work with one login
  module_defaults:
    group/nobloat.xen.all:
      session: "{{ xapi.session }}"
  block:
    - name: A network for storage
      nobloat.xen.network:
        name: storage

  always:
    - name: Log out
      nobloat.xen.session:
        session: "{{ xapi.session }}"
        state: absent
"""

RETURN = r"""
session:
  description: The reference that the O(ignore:session) option of the other modules takes.
  returned: when O(state=present)
  type: str
  sample: /tmp/nobloat-xen-session-vq3t2l1x
url:
  description: Address of the coordinator that answered.
  returned: when O(state=present)
  type: str
  sample: https://192.0.2.11
"""

import json
import os
import tempfile

from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError


def save(module: XapiModule) -> dict[str, str]:
    """Write what another process needs to join the session to a file of mode 0600."""
    xapi = module.xapi
    saved = {
        "url": xapi.url, "reference": xapi.reference,
        "validate_certs": module.params["validate_certs"], "ca_path": module.params["ca_path"],
    }
    handle, path = tempfile.mkstemp(prefix="nobloat-xen-session-")
    with open(handle, "w", encoding="utf-8") as stream:
        json.dump(saved, stream)
    return {"session": path, "url": xapi.url}


def log_out(module: XapiModule) -> None:
    path = module.params["session"]
    if os.path.exists(path):
        try:
            module.open_session().logout()
        except XapiError as error:
            if error.code != "SESSION_INVALID":
                module.fail(error)
        os.unlink(path)
    module.exit_json(changed=False)


def main() -> None:
    module = XapiModule(
        {"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}},
        required_if=[("state", "absent", ["session"])],
    )
    if module.params["state"] == "absent":
        log_out(module)
    try:
        module.xapi = module.open_session()
        result = save(module)
    except (XapiError, ValueError) as error:
        module.fail(error)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
