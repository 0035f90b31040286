#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: iscsi_export
short_description: Export a logical volume of a node by iSCSI
version_added: 1.0.0
description:
  - Offers a logical volume, or another block device, to other nodes by iSCSI. Each export is a target of its own with one
    LUN, 0, in the kernel (LIO). The module writes to configfs directly; nothing has to be installed on the node.
  - Only initiators that are listed can log in, or see the target at all. There is no demo mode.
  - Data are not cached by the target. A write that the initiator sees as done has reached the device, as far as the device
    itself keeps that promise.
  - What counts is the state of the kernel, not a file. A description is kept in C(/etc/nobloat/exports.d), readable for root
    only, from which C(nobloat-exports.service) makes the exports again at boot. The module installs that service.
author:
  - nobloat.xen contributors (@nobloat)
options:
  name:
    description:
      - Name of the export on this node.
      - Either this or O(exports) is needed.
    type: str
  exports:
    description:
      - Several exports in one run, which is much faster than a loop. Each item takes the options of this module, apart from the
        secrets; those that it leaves out come from the module's own.
      - An export that fails does not stop the others. The module fails in the end and tells which and why.
    type: list
    elements: dict
  state:
    description:
      - With V(present), the device is exported. With V(absent), it is not; its data stay.
    type: str
    choices: [present, absent]
    default: present
  iqn:
    description:
      - iSCSI name of the target, in lower case. Needed to make an export; it cannot be changed afterwards.
    type: str
  device:
    description:
      - Path of the block device. Needed to make an export.
      - The kernel opens it exclusively. While it is exported, nothing on this node that insists on having it alone, such as
        C(mdadm) or C(mount), can use it; see O(loopback). What opens it as a guest's disk can.
      - Its size is that of the device at any time. Initiators see growth when they look again (see M(nobloat.xen.iscsi_import)).
    type: path
  serial:
    description:
      - Serial number of the disk that initiators see, 32 hexadecimal digits in lower case; its WWN is made from it.
      - If omitted, it is made from the uuid of the logical volume, and an existing export keeps its own. So it is the same
        wherever the disk is seen. A device that is no logical volume needs it.
    type: str
  portals:
    description:
      - Addresses of this node that the target listens on, each with a port if it is not 3260, as V(10.0.2.1) or
        V([fd00::1]:3261). They have to be named one by one; V(0.0.0.0) is refused.
      - Needed to make an export. Added to those that are there, unless O(purge=true).
    type: list
    elements: str
  initiators:
    description:
      - iSCSI names of those who may log in. Added to those that are there, unless O(purge=true). An empty list shuts all out, apart
        from those who are logged in, which is refused without O(force=true).
    type: list
    elements: str
  purge:
    description:
      - Make O(portals) and O(initiators) exact, instead of adding to what is there. Whoever is logged in is not shut out without
        O(force=true).
    type: bool
    default: false
  chap_username:
    description:
      - Name that initiators have to prove to be theirs (CHAP). If omitted, it is left alone; an empty text ends CHAP.
    type: str
  chap_password:
    description:
      - Secret of O(chap_username). Some initiators want 12 to 16 characters.
    type: str
  mutual_chap_username:
    description:
      - Name that the target proves to be its own (mutual CHAP). Needs O(chap_username). If omitted, it is left alone; an
        empty text ends mutual CHAP.
    type: str
  mutual_chap_password:
    description:
      - Secret of O(mutual_chap_username), different from O(chap_password).
    type: str
  loopback:
    description:
      - Make a local SCSI disk over the same backstore, for use on this node itself while the device is exported (tcm_loop).
        If omitted, it is left alone; a new export has none.
    type: bool
  force:
    description:
      - Remove an export, or give it another device or serial, even if an initiator is logged in or the local disk is in use.
        Whoever uses the disk gets errors.
      - The same for an initiator that is shut out, a portal that is taken away while somebody is connected there, a local disk that
        is removed, and other secrets than the one who is logged in has, who could not log in again after a break.
    type: bool
    default: false
extends_documentation_fragment:
  - nobloat.xen.node
seealso:
  - module: nobloat.xen.iscsi_import
  - module: nobloat.xen.mirror_info
"""

EXAMPLES = r"""
- name: Offer a leg to the other node, on the SAN only
  nobloat.xen.iscsi_export:
    name: web1
    iqn: iqn.2026-11.com.example:node1:web1
    device: /dev/vg0/web1
    portals:
      - 10.0.2.1
    initiators:
      - iqn.2026-11.com.example:node2
    purge: true

- name: The same with secrets in both directions, and usable on the exporting node, too
  nobloat.xen.iscsi_export:
    name: web1
    iqn: iqn.2026-11.com.example:node1:web1
    device: /dev/vg0/web1
    portals: [10.0.2.1, 10.0.3.1]
    initiators: [iqn.2026-11.com.example:node1, iqn.2026-11.com.example:node2]
    chap_username: mirror
    chap_password: "{{ vault_chap_password }}"
    mutual_chap_username: node1
    mutual_chap_password: "{{ vault_mutual_chap_password }}"
    loopback: true

- name: Several legs in one run
  nobloat.xen.iscsi_export:
    portals: [10.0.2.1]
    initiators: [iqn.2026-11.com.example:node2]
    exports:
      - {name: web1, iqn: "iqn.2026-11.com.example:node1:web1", device: /dev/vg0/web1}
      - {name: web2, iqn: "iqn.2026-11.com.example:node1:web2", device: /dev/vg0/web2}

- name: No longer
  nobloat.xen.iscsi_export:
    name: web1
    state: absent
"""

RETURN = r"""
export:
  description: The export as it is now, or would be in check mode; empty if there is none.
  returned: with O(name)
  type: dict
  contains:
    name:
      description: Name.
      type: str
      sample: web1
    iqn:
      description: iSCSI name of the target.
      type: str
      sample: iqn.2026-11.com.example:node1:web1
    device:
      description: Path of the device.
      type: str
      sample: /dev/vg0/web1
    size:
      description: Its size in bytes, null while the device is not there.
      type: int
      sample: 21474836480
    serial:
      description: Serial number of the disk.
      type: str
      sample: 7d0c2f3b9a5e4c1d8f6a7b0c1d2e3f40
    wwn:
      description: World wide name of the disk, as in C(/dev/disk/by-id/wwn-0x...) of every initiator.
      type: str
      sample: 60014057d0c2f3b9a5e4c1d8f6a7b0c1
    portals:
      description: What it listens on, sorted.
      type: list
      elements: str
      sample: ["10.0.2.1:3260"]
    initiators:
      description: Who may log in, sorted.
      type: list
      elements: str
      sample: ["iqn.2026-11.com.example:node2"]
    chap_username:
      description: Name of the initiators in CHAP, empty without CHAP.
      type: str
      sample: mirror
    mutual_chap_username:
      description: Name of the target in mutual CHAP, empty without it.
      type: str
      sample: node1
    chap_secret:
      description: V(set), or empty without CHAP; V(another) in the diff, where the secrets were others before.
      type: str
      sample: set
    loopback:
      description: Whether there is a local disk.
      type: bool
      sample: true
    loopback_device:
      description: Path of the local disk, null without one. It is another after each boot.
      type: str
      sample: /dev/sda
    loopback_size:
      description: Its size in bytes, null without one.
      type: int
      sample: 21474836480
    enabled:
      description: Whether the target takes logins.
      type: bool
      sample: true
    sessions:
      description: Who is logged in.
      type: list
      elements: dict
      contains:
        initiator:
          description: iSCSI name of the initiator.
          type: str
          sample: iqn.2026-11.com.example:node2
        address:
          description: Its address.
          type: str
          sample: 10.0.2.2
        state:
          description: State of the session, V(LOGGED_IN) if all is well.
          type: str
          sample: LOGGED_IN
exports:
  description: What became of each item, C(name), C(changed) and C(failed). If it did not fail, C(export) is the export, as in
    RV(export); else C(msg) says why, C(leftovers) what could not be taken back, and C(gone) what was destroyed, if there is any.
  returned: with O(exports)
  type: list
  elements: dict
  sample:
    - {name: web1, changed: true, failed: false, export: {name: web1, device: /dev/vg0/web1}}
    - {name: web2, changed: false, failed: true, msg: /dev/vg0/web2 is not a block device of this node.}
"""

from ansible_collections.nobloat.xen.plugins.module_utils.node.exports import Exports
from ansible_collections.nobloat.xen.plugins.module_utils.node.module import NodeModule

SPEC = {
    "name": {"type": "str"},
    "exports": {"type": "list", "elements": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "iqn": {"type": "str"},
    "device": {"type": "path"},
    "serial": {"type": "str"},
    "portals": {"type": "list", "elements": "str"},
    "initiators": {"type": "list", "elements": "str"},
    "purge": {"type": "bool", "default": False},
    "chap_username": {"type": "str"},
    "chap_password": {"type": "str", "no_log": True},
    "mutual_chap_username": {"type": "str"},
    "mutual_chap_password": {"type": "str", "no_log": True},
    "loopback": {"type": "bool"},
    "force": {"type": "bool", "default": False},
}


def main() -> None:
    module = NodeModule(SPEC, each=("exports", "name"), required_one_of=[("name", "exports")], mutually_exclusive=[("name", "exports")])
    exports = Exports()

    module.converge_each("export", lambda options: exports.plan(options, module.check_mode),
                         lambda options: exports.look(options["name"]))


if __name__ == "__main__":
    main()
