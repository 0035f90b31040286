# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    # How an inventory reaches one or more pools.
    DOCUMENTATION = r"""
options:
  hostname:
    description:
      - Host name, IP address or URL of the pool's coordinator; any other member of the pool leads there.
      - A bare name means C(https). A port may follow, as in C(https://pool.example.com:8443).
      - In the file, this and the other connection options may be Jinja2 templates, with lookups. What comes from the environment or
        from a vault is taken as it is; a text with braces in the file can be marked with C(!unsafe).
    type: str
    env:
      - name: XENSERVER_HOST
  username:
    description: User to log in as; the role C(read-only) is enough.
    type: str
    default: root
    env:
      - name: XENSERVER_USER
  password:
    description: Password to log in with.
    type: str
    env:
      - name: XENSERVER_PASSWORD
  validate_certs:
    description:
      - Check the server's certificate. Turn it off only where nobody else can reach the network.
      - V(true) or V(false), or a template of it; anything else is an error.
    type: raw
    default: true
    env:
      - name: XENSERVER_VALIDATE_CERTS
  ca_path:
    description:
      - File or directory with the certificates (PEM) that the server's certificate is checked against,
        instead of those of the operating system. A relative path starts at the folder of the inventory file.
    type: str
  timeout:
    description: Seconds to wait for the answer to a single call before giving up.
    type: int
    default: 60
  pools:
    description:
      - Pools to read, if there are several. What is omitted for a pool is taken from the option of the same name.
    type: list
    elements: dict
    default: []
    suboptions:
      hostname:
        description: As O(hostname).
        type: str
        required: true
      username:
        description: As O(username).
        type: str
      password:
        description: As O(password).
        type: str
      validate_certs:
        description: As O(validate_certs).
        type: bool
      ca_path:
        description: As O(ca_path).
        type: str
      timeout:
        description: As O(timeout).
        type: int
  broken_pools:
    description:
      - What to do when a pool cannot be read, its options are wrong, or its records make no sense. V(fail) fails; V(warn) goes on
        without it, but fails if no pool at all can be read.
    type: str
    choices: [fail, warn]
    default: fail
requirements:
  - XenAPI (Python library) on the controller
"""
