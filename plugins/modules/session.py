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
      - With V(absent), log O(session) out and remove its file. A session that is gone already is no error; of one whose file is
        damaged, the file is removed, with a warning. A file of another user is an error.
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

import os

from ansible_collections.nobloat.xen.plugins.module_utils.module import UNSENT, XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.saved import DamagedSession, NoSession, save_session
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.texts import check_options


def log_out(module: XapiModule) -> None:
    """End the session and remove its file; also one that says nothing (useful) any more. What is not ours stays, and is an error."""
    path = module.params["session"]
    try:
        module.open_session().logout()
    except NoSession:
        module.exit_json(changed=False)
    except (DamagedSession, XapiError) as error:
        module.warn(f"{str(error).rstrip('.')}. The file was removed; the session in the pool ends by itself when it was unused for a day.")
    except ValueError as error:
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
        check_options(module.params, spared=UNSENT)
        xapi = module.open_session()
        result = {"session": save_session(xapi, module.params["validate_certs"], module.params["ca_path"]), "url": xapi.url}
    except (XapiError, ValueError) as error:
        module.fail(error)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
