#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: cloud_config
short_description: Give a guest a config drive for cloud-init
version_added: 1.0.0
description:
  - Puts what cloud-init in a guest shall do into a small read-only disc (ISO 9660, label C(cidata), data source NoCloud) in a
    drive of the guest.
  - The disc is written only if its content differs from what it should be. A disc that is replaced stays until the new one is
    in the drive, also while the guest runs; cloud-init looks at it when the guest boots, and does most of it only once for each
    C(instance-id).
  - User data often hold secrets. Neither results nor differences nor logs show the texts unless O(show_content=true) says so,
    only a digest of them. Who may read the VDI in the pool can read them, of course.
author:
  - nobloat.xen contributors (@nobloat)
options:
  vm:
    description:
      - Name or uuid of the guest, which has to exist.
    type: str
    required: true
  state:
    description:
      - With V(present), the disc is in the drive, with the content that the options give.
      - With V(absent), it is not, and does not exist. The drive stays, empty.
    type: str
    choices: [present, absent]
    default: present
  user_data:
    description:
      - What cloud-init shall do. A mapping becomes C(#cloud-config); a text is taken as it is and has to begin as cloud-init wants it.
      - If omitted, cloud-init does nothing beyond what O(meta_data) and O(network_config) say.
    type: raw
  meta_data:
    description:
      - Facts about the instance, laid over C(instance-id) (the guest's uuid) and C(local-hostname) (the guest's name).
    type: dict
  network_config:
    description:
      - Network configuration, as cloud-init knows it in version 1 or 2. If omitted, the image's own is used.
    type: dict
  sr:
    description:
      - Name or uuid of the SR that the disc lies on; where every host has it that may run the guest.
      - If omitted, it stays where it is, and a new one is made on the pool's default SR.
    type: str
  name:
    description:
      - Name of the disc's VDI. If omitted, the guest's name and C(cloud-config).
    type: str
  device:
    description:
      - Position of the drive. One that is there has to be empty, or to hold the disc already.
      - A guest that has none there gets it only while it is halted.
    type: int
    default: 3
  show_content:
    description:
      - Show the texts in the result and the difference, not just a digest. To show what was there before, the disc is read.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.xapi
  - nobloat.xen.xapi.wait
  - nobloat.xen.attributes
requirements:
  - pycdlib (Python library), to write and to read discs
seealso:
  - module: nobloat.xen.vm
"""

EXAMPLES = r"""
- name: A user and a package at the first boot
  nobloat.xen.cloud_config:
    vm: web1
    user_data:
      users:
        - name: admin
          ssh_authorized_keys:
            - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample admin
      packages:
        - nginx

- name: A script, and a fixed address
  nobloat.xen.cloud_config:
    vm: db1
    sr: shared
    user_data: |
      #!/bin/sh
      touch /etc/provisioned
    network_config:
      version: 2
      ethernets:
        eth0:
          addresses:
            - 192.0.2.10/24

- name: Take it out, once it has been used
  nobloat.xen.cloud_config:
    vm: web1
    state: absent
"""

RETURN = r"""
cloud_config:
  description: The config drive as it is now, or would be in check mode; empty if there is none.
  returned: success
  type: dict
  contains:
    vm:
      description: Name of the guest.
      type: str
      sample: web1
    device:
      description: Position of the drive.
      type: int
      sample: 3
    sr:
      description: Name of the SR that the disc lies on.
      type: str
      sample: shared
    vdi:
      description: Uuid of the disc's VDI; not there yet when it would be written in check mode.
      type: str
      sample: 3f1a6f0e-71a5-4a77-8a0e-2c4f7f9f5d61
    digest:
      description: What stands for the content.
      type: str
      sample: pbkdf2:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    content:
      description: The files, with O(show_content=true) only.
      type: dict
      sample: {"meta-data": "instance-id: 5bd7a9d4-3c1c-4f0a-8d8a-0f6c2f1f5a7e\n", "user-data": "#cloud-config\n{}\n"}
"""

from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.vm.cloud_config import TEXTS, plan_cloud_config

SPEC = {
    "vm": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "user_data": {"type": "raw"},
    "meta_data": {"type": "dict"},
    "network_config": {"type": "dict"},
    "sr": {"type": "str"},
    "name": {"type": "str"},
    "device": {"type": "int", "default": 3},
    "show_content": {"type": "bool", "default": False},
}


def main() -> None:
    module = XapiModule(SPEC, waits=True, hidden=TEXTS)
    if module.params["show_content"]:
        module.hidden = ()
    module.converge("cloud_config", plan_cloud_config)


if __name__ == "__main__":
    main()
