#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: iscsi_import
short_description: Use a disk that another node exports by iSCSI
version_added: 1.0.0
description:
  - Logs in to a target with open-iscsi, now and at each boot, and returns the path of the disk. Targets are named one by one;
    nothing that a portal offers besides is touched.
  - A disk of a dead node has to fail soon, or whoever mirrors over it waits as long as it does. The longest stall of a write
    is O(noop_interval) + O(noop_timeout) + O(replacement_timeout), 9 seconds by default. Distributions have 130 seconds.
  - Looks for growth of the disk each time.
author:
  - nobloat.xen contributors (@nobloat)
options:
  iqn:
    description:
      - iSCSI name of the target.
      - Either this or O(imports) is needed.
    type: str
  imports:
    description:
      - Several imports in one run, which is much faster than a loop. Each item takes the options of this module, apart from the
        secrets; those that it leaves out come from the module's own.
      - An import that fails does not stop the others. The module fails in the end and tells which and why.
    type: list
    elements: dict
  state:
    description:
      - With V(present), the node is logged in. With V(absent), it is not, and its record of the target is gone.
    type: str
    choices: [present, absent]
    default: present
  portals:
    description:
      - Addresses that the target listens on, each with a port if it is not 3260. Needed for a target that is not imported yet.
        Added to those that are there, unless O(purge=true).
      - More than one needs O(multipath=true), as the disk appears once for each.
    type: list
    elements: str
  purge:
    description:
      - Make O(portals) exact, instead of adding to what is there. A portal that carries the work of somebody is not left without
        O(force=true); of a multipath device, only the last way that works does.
    type: bool
    default: false
  initiator:
    description:
      - iSCSI name to log in under. If it is not the node's own, an open-iscsi interface is made for it.
      - If omitted, the name in C(/etc/iscsi/initiatorname.iscsi) is used.
    type: str
  startup:
    description:
      - With V(automatic), the node logs in at boot. If omitted, it is left alone; a new import is V(automatic).
    type: str
    choices: [automatic, manual]
  replacement_timeout:
    description:
      - Seconds that a broken session may take to come back before its disk fails. If omitted, it is left alone; a new import has 5.
    type: int
  noop_interval:
    description:
      - Seconds between two questions whether the target is still there. If omitted, it is left alone; a new import has 2.
      - Of a session that is open and whose disk is used, this and O(noop_timeout) change with the next login.
    type: int
  noop_timeout:
    description:
      - Seconds to wait for the answer to that question. If omitted, it is left alone; a new import has 2.
    type: int
  chap_username:
    description:
      - Name to prove to the target (CHAP). If omitted, it is left alone; an empty text ends CHAP.
      - A change counts from the next login.
    type: str
  chap_password:
    description:
      - Secret of O(chap_username).
    type: str
  mutual_chap_username:
    description:
      - Name that the target has to prove (mutual CHAP). If omitted, it is left alone; an empty text ends mutual CHAP.
    type: str
  mutual_chap_password:
    description:
      - Secret of O(mutual_chap_username).
    type: str
  multipath:
    description:
      - Make one device of all portals by dm-multipath, which has to be installed. It uses one path at a time and fails as soon
        as no path is left. C(/etc/multipath/conf.d/nobloat-xen.conf) is written for it.
      - If omitted, it is left alone; a new import has one portal and no multipath.
    type: bool
  wait_timeout:
    description:
      - Seconds to wait for the disk after the login.
    type: int
    default: 30
  force:
    description:
      - Log out, of a portal or of all, even if the disk is in use. Whoever uses it gets errors.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.node
seealso:
  - module: nobloat.xen.iscsi_export
  - module: nobloat.xen.md_mirror
"""

EXAMPLES = r"""
- name: Use the leg of the other node
  nobloat.xen.iscsi_import:
    iqn: iqn.2026-11.com.example:node1:web1
    portals:
      - 10.0.2.1
  register: leg

- name: Where is it?
  ansible.builtin.debug:
    var: leg.import.device

- name: Over two switches, with a secret
  nobloat.xen.iscsi_import:
    iqn: iqn.2026-11.com.example:node1:web1
    portals: [10.0.2.1, 10.0.3.1]
    multipath: true
    chap_username: mirror
    chap_password: "{{ vault_chap_password }}"

- name: Several legs in one run
  nobloat.xen.iscsi_import:
    portals: [10.0.2.1]
    imports:
      - iqn: iqn.2026-11.com.example:node1:web1
      - iqn: iqn.2026-11.com.example:node1:web2

- name: See that the leg has grown
  nobloat.xen.iscsi_import:
    iqn: iqn.2026-11.com.example:node1:web1

- name: No longer
  nobloat.xen.iscsi_import:
    iqn: iqn.2026-11.com.example:node1:web1
    state: absent
"""

RETURN = r"""
import:
  description: The import as it is now, or would be in check mode; empty if there is none.
  returned: with O(iqn)
  type: dict
  contains:
    iqn:
      description: iSCSI name of the target.
      type: str
      sample: iqn.2026-11.com.example:node1:web1
    device:
      description: Path of the disk, the same after each login; null if there is none.
      type: str
      sample: /dev/disk/by-path/ip-10.0.2.1:3260-iscsi-iqn.2026-11.com.example:node1:web1-lun-0
    size:
      description: Its size in bytes, null if there is none.
      type: int
      sample: 21474836480
    identity:
      description: What names the disk on every node, null if there is none.
      type: str
      sample: naa.60014057d0c2f3b9a5e4c1d8f6a7b0c1
    portals:
      description: The portals, sorted.
      type: list
      elements: str
      sample: ["10.0.2.1:3260"]
    initiator:
      description: iSCSI name that the node is logged in under, null if it is not.
      type: str
      sample: iqn.2026-11.com.example:node2
    startup:
      description: Whether it logs in at boot.
      type: str
      sample: automatic
    replacement_timeout:
      description: Seconds that a broken session may take to come back.
      type: int
      sample: 5
    noop_interval:
      description: Seconds between two questions.
      type: int
      sample: 2
    noop_timeout:
      description: Seconds to wait for the answer.
      type: int
      sample: 2
    stall:
      description: The longest that a write waits when the target dies, in seconds.
      type: int
      sample: 9
    chap_username:
      description: Name in CHAP, empty without CHAP.
      type: str
      sample: mirror
    mutual_chap_username:
      description: Name of the target in mutual CHAP, empty without it.
      type: str
      sample: ""
    chap_secret:
      description: V(set), or empty without CHAP; V(another) in the diff, where the secrets were others before.
      type: str
      sample: set
    multipath:
      description: Whether the device is one of dm-multipath.
      type: bool
      sample: false
    sessions:
      description: The sessions.
      type: list
      elements: dict
      contains:
        portal:
          description: The portal.
          type: str
          sample: "10.0.2.1:3260"
        state:
          description: State of the session, V(LOGGED_IN) if all is well.
          type: str
          sample: LOGGED_IN
        initiator:
          description: iSCSI name of the node in it.
          type: str
          sample: iqn.2026-11.com.example:node2
        disks:
          description: Its disks, each with C(lun), C(name), C(path), C(size), C(state) and C(identity).
          type: list
          elements: dict
          sample:
            - lun: 0
              name: sda
              path: /dev/disk/by-path/ip-10.0.2.1:3260-iscsi-iqn.2026-11.com.example:node1:web1-lun-0
              size: 21474836480
              state: running
              identity: naa.60014057d0c2f3b9a5e4c1d8f6a7b0c1
imports:
  description: What became of each item, C(iqn), C(changed) and C(failed). If it did not fail, C(import) is the import, as in
    RV(import); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there is any.
  returned: with O(imports)
  type: list
  elements: dict
  sample:
    - iqn: iqn.2026-11.com.example:node1:web1
      changed: true
      failed: false
      import: {device: "/dev/disk/by-path/ip-10.0.2.1:3260-iscsi-iqn.2026-11.com.example:node1:web1-lun-0"}
"""

from ansible_collections.nobloat.xen.plugins.module_utils.node.imports import Imports
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {
    "iqn": {"type": "str"},
    "imports": {"type": "list", "elements": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "portals": {"type": "list", "elements": "str"},
    "purge": {"type": "bool", "default": False},
    "initiator": {"type": "str"},
    "startup": {"type": "str", "choices": ["automatic", "manual"]},
    "replacement_timeout": {"type": "int"},
    "noop_interval": {"type": "int"},
    "noop_timeout": {"type": "int"},
    "chap_username": {"type": "str"},
    "chap_password": {"type": "str", "no_log": True},
    "mutual_chap_username": {"type": "str"},
    "mutual_chap_password": {"type": "str", "no_log": True},
    "multipath": {"type": "bool"},
    "wait_timeout": {"type": "int", "default": 30},
    "force": {"type": "bool", "default": False},
}


def main() -> None:
    module = NodeModule(SPEC, each=("imports", "iqn"), required_one_of=[("iqn", "imports")], mutually_exclusive=[("iqn", "imports")])
    imports = Imports()

    module.converge_each("import", lambda options: imports.plan(options, module.check_mode),
                         lambda options: imports.look(options["iqn"]))


if __name__ == "__main__":
    main()
