#!/usr/bin/python
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: answerfile
short_description: Make and check an answer file for the installer of XCP-ng or XenServer
version_added: 1.0.0
description:
  - Makes an answer file from options, or checks one that is given, for the installer of a certain version. It returns the
    text; write it where the installer fetches it, as with M(ansible.builtin.copy).
  - The installers ignore what they do not know, such as a misspelt element, and install something else. Here all of that is
    refused, with line and reason, as is what contradicts itself, such as a gateway outside of the network. Of what is read
    as it says, and may yet not be what is wanted, such as old names, a warning is given.
  - Only a hash of the root password leaves this module. Of a password in clear text one is made.
  - Ansible shows nothing of a result with an answer file, as with C(no_log), but it can be registered; why one is refused is shown.
author:
  - nobloat.xen contributors (@nobloat)
options:
  version:
    description:
      - The installer that shall read it. V(xenserver-9) stands for what comes after XenServer 8.
    type: str
    choices: [xcp-ng-8.2, xcp-ng-8.3, xenserver-8, xenserver-9]
    required: true
  content:
    description:
      - A whole answer file to check. Then there are no other options but O(version).
    type: str
  mode:
    description:
      - The installers' C(reinstall) is not offered, and refused in O(content). It is meant to keep a copy of what was installed, but
        no installer makes one.
      - V(upgrade) keeps the settings of the host whose disk is in O(disk.names). It takes O(sources), O(driver_sources) and
        O(scripts) besides, and nothing else.
    type: str
    choices: [fresh, upgrade]
    default: fresh
  sr_type:
    description:
      - Type of the local SR. The installers' defaults differ, so it has to be said, unless O(content) is used.
      - Disks with blocks of 4 KiB need V(largeblock) with V(xcp-ng-8.3), and V(xfs) with XenServer, if its medium offers it.
    type: str
    choices: [lvm, ext, largeblock, xfs]
  disk:
    description:
      - Where to install.
    type: dict
    suboptions:
      names:
        description:
          - Names of the disk, or of the two of a RAID1, as V(sda), V(/dev/disk/by-id/wwn-0x5000c500a1b2c3d4).
          - With O(mode=upgrade), the one that holds the installation; of a RAID1 the array's, as V(md127).
        type: list
        elements: str
      rule:
        description:
          - Choose the disks where the installer runs. The result is a script for its C(answerfile_generator) then.
          - Never chosen are disks of O(guest_disks), disks that are removable, read-only or hidden, SD cards, disks that hang on
            USB, and disks that other hosts may see, which are those of Fibre Channel, iSCSI, SRP and NVMe over fabrics. A disk that
            is seen by two paths counts once, and so do the namespaces of one NVMe. Disks below 46 GiB are left out, since the
            installers refuse them.
          - Neither are disks that a running array is made of, except for O(disk.raid) those of an array that the installer stops
            (XenServer), or takes as it is because it is made of the same two disks (XCP-ng).
        type: dict
        suboptions:
          choose:
            description:
              - Which disks, of those that fit. Of equal ones, the first by name.
            type: str
            choices: [smallest, largest]
            default: smallest
          transport:
            description:
              - Only such disks. Those that a RAID or SAS controller offers are neither.
            type: str
            choices: [any, nvme, sata]
            default: any
          min_size:
            description:
              - Only disks of at least this size, as V(200GiB). Below 46 GiB is refused, since no smaller ones are chosen.
            type: str
      raid:
        description:
          - Make a RAID1 of two disks.
          - With XCP-ng, the result is a script for C(answerfile_generator), also without O(disk.rule). If the machine has an array C(md127)
            already that is not of these two disks, it stops the installer, which would install to that one.
          - With V(xcp-ng-8.3), O(disk.guest_storage) has to be V(false) then, since that installer looks at the array before it has
            made it, and stops. Make the local SR when the host is installed, or use O(guest_disks).
        type: bool
        default: false
      guest_storage:
        description:
          - Whether the rest of the disk becomes the local SR.
        type: bool
        default: true
      preserve_first_partition:
        description:
          - Whether to keep the first partition, for vendors' tools.
        type: str
        choices: ['true', 'false', if-utility]
  guest_disks:
    description:
      - More disks for the local SR.
    type: list
    elements: str
  sources:
    description:
      - Where the packages are.
    type: list
    elements: dict
    suboptions: &media
      type:
        description:
          - Kind of the address. With V(local), it is the medium that the installer was started from.
        type: str
        choices: [local, url, nfs]
        required: true
      address:
        description:
          - Address, as V(http://10.0.0.1/xcp-ng/) for V(url), and V(nas:/export/xcp-ng) for V(nfs). V(local) has none. The installer
            puts names of files behind it, so it has no query.
        type: str
  driver_sources:
    description:
      - Where drivers are that the installer needs to see disks and NICs.
    type: list
    elements: dict
    suboptions: *media
  interface:
    description:
      - The management interface. The installer knows no bonds.
    type: dict
    suboptions:
      name:
        description:
          - Name of the NIC as the installer names it, as V(eth0). Either this or O(interface.mac) is needed.
        type: str
      mac:
        description:
          - MAC address of the NIC.
        type: str
      ip_mode:
        description:
          - Where the IPv4 address comes from.
        type: str
        choices: [none, dhcp, static]
        default: dhcp
      ip:
        description:
          - IPv4 address with its prefix, as V(10.0.0.5/24).
        type: str
      gateway:
        description:
          - IPv4 address of the gateway. A static address needs one; an empty text stands for none.
        type: str
      ipv6_mode:
        description:
          - Where the IPv6 address comes from.
        type: str
        choices: [none, dhcp, static, autoconf]
      ipv6:
        description:
          - IPv6 address with its prefix.
        type: str
      ipv6_gateway:
        description:
          - IPv6 address of the gateway. A static address needs one; an empty text stands for none.
        type: str
      vlan:
        description:
          - VLAN of the management network. PXE needs an untagged one.
        type: int
  root_password:
    description:
      - Password of root, in clear text or as a hash of crypt(3) with SHA-512, SHA-256 or MD5, which are those that the hosts can
        check. If omitted, or V(!!), it is asked for at the first boot. Texts that are other hashes, locked or empty are refused.
      - One in clear text is hashed with SHA-512 and a random salt, for which the Python library libpass is needed.
    type: str
  previous:
    description:
      - The answer file as it is now, or the script that makes it. If its hash is one of O(root_password) that this module has
        made, it is taken again, so that nothing changes. Without it, each run makes another hash of a password in clear text.
    type: str
  dns:
    description:
      - Addresses of name servers. They count with a static IPv4 address only; else those of DHCP do.
    type: list
    elements: str
  hostname:
    description:
      - Name of the host.
    type: str
  timezone:
    description:
      - Time zone, as V(Europe/Berlin), of those that the installers offer. Their default is V(Etc/UTC).
    type: str
  ntp_servers:
    description:
      - Time servers. If omitted, those of DHCP, or the installer's own.
    type: list
    elements: str
  keymap:
    description:
      - Keyboard, as V(us) or V(de-latin1), of those that the installers offer.
    type: str
  services:
    description:
      - Services by name, with V(enabled) or V(disabled).
    type: dict
  scripts:
    description:
      - What the installer fetches and runs.
    type: list
    elements: dict
    suboptions:
      stage:
        description:
          - When. The one for V(installation-complete) gets 0 if all went well, else 1. V(packages-installed) is known by
            V(xenserver-9) only.
        type: str
        choices: [installation-start, packages-installed, filesystem-populated, installation-complete]
        required: true
      type:
        description:
          - Kind of the address.
        type: str
        choices: [url, nfs]
        default: url
      url:
        description:
          - Its address, as V(http://10.0.0.1/first-boot) for V(url), and V(nas:/export/first-boot) for V(nfs).
        type: str
        required: true
requirements:
  - Python 3.10 or newer
  - libpass or passlib (Python library), for passwords in clear text
extends_documentation_fragment:
  - nobloat.xen.node.info
"""

EXAMPLES = r"""
- name: The answer file that is there
  ansible.builtin.slurp:
    src: /srv/pxe/http/node1.xml
  register: there
  failed_when: false
  no_log: true

- name: An answer file for a host with two disks
  nobloat.xen.answerfile:
    previous: "{{ there.content | default('') | b64decode }}"
    version: xcp-ng-8.3
    sr_type: ext
    disk:
      names: [/dev/disk/by-id/wwn-0x5000c500a1b2c3d4, /dev/disk/by-id/wwn-0x5000c500a1b2c3d5]
      raid: true
      guest_storage: false
    sources:
      - type: url
        address: http://10.0.0.1/xcp-ng/
    interface:
      mac: 02:66:00:00:01:00
      ip_mode: static
      ip: 10.0.0.5/24
      gateway: 10.0.0.1
    root_password: "{{ vault_root_password }}"
    hostname: node1
    dns: [10.0.0.1]
  register: answers
  delegate_to: localhost

- name: Where the installer fetches it
  ansible.builtin.copy:
    content: "{{ answers.content }}"
    dest: /srv/pxe/http/node1.xml
    mode: "0640"
  no_log: true

- name: Look for mistakes in one that was written by hand
  nobloat.xen.answerfile:
    version: xenserver-8
    content: "{{ lookup('ansible.builtin.file', 'node1.xml') }}"
  delegate_to: localhost
"""

RETURN = r"""
content:
  description: The answer file, or the script that makes it.
  returned: success
  type: str
  sample: <?xml version="1.0"?>...
kernel_argument:
  description: The argument of the installer's kernel that its address is given with.
  returned: success
  type: str
  sample: answerfile
"""

import traceback

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.nobloat.xen.plugins.module_utils.discreet import DiscreetModule
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.answers import finished
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.disks import LEAST
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.passwords import hashed
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.table import VERSIONS
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.values import STAGES
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_bytes

MEDIA = {"type": {"type": "str", "choices": ["local", "url", "nfs"], "required": True}, "address": {"type": "str"}}
SPEC = {
    "version": {"type": "str", "choices": list(VERSIONS), "required": True},
    "content": {"type": "str", "no_log": True},
    "mode": {"type": "str", "choices": ["fresh", "upgrade"], "default": "fresh"},
    "sr_type": {"type": "str", "choices": ["lvm", "ext", "largeblock", "xfs"]},
    "disk": {"type": "dict", "options": {
        "names": {"type": "list", "elements": "str"},
        "rule": {"type": "dict", "options": {
            "choose": {"type": "str", "choices": ["smallest", "largest"], "default": "smallest"},
            "transport": {"type": "str", "choices": ["any", "nvme", "sata"], "default": "any"},
            "min_size": {"type": "str"},
        }},
        "raid": {"type": "bool", "default": False},
        "guest_storage": {"type": "bool", "default": True},
        "preserve_first_partition": {"type": "str", "choices": ["true", "false", "if-utility"]},
    }},
    "guest_disks": {"type": "list", "elements": "str"},
    "sources": {"type": "list", "elements": "dict", "options": MEDIA},
    "driver_sources": {"type": "list", "elements": "dict", "options": MEDIA},
    "interface": {"type": "dict", "options": {
        "name": {"type": "str"}, "mac": {"type": "str"},
        "ip_mode": {"type": "str", "choices": ["none", "dhcp", "static"], "default": "dhcp"},
        "ip": {"type": "str"}, "gateway": {"type": "str"},
        "ipv6_mode": {"type": "str", "choices": ["none", "dhcp", "static", "autoconf"]},
        "ipv6": {"type": "str"}, "ipv6_gateway": {"type": "str"}, "vlan": {"type": "int"},
    }},
    "root_password": {"type": "str", "no_log": True},
    "previous": {"type": "str", "no_log": True},
    "dns": {"type": "list", "elements": "str"},
    "hostname": {"type": "str"},
    "timezone": {"type": "str"},
    "ntp_servers": {"type": "list", "elements": "str"},
    "keymap": {"type": "str", "no_log": False},
    "services": {"type": "dict"},
    "scripts": {"type": "list", "elements": "dict", "options": {
        "stage": {"type": "str", "choices": list(STAGES), "required": True},
        "type": {"type": "str", "choices": ["url", "nfs"], "default": "url"},
        "url": {"type": "str", "required": True},
    }},
}

SECRETS = tuple(name for name, rule in SPEC.items() if rule.get("no_log"))


def password_hash(module: DiscreetModule) -> str | None:
    """The root password's hash."""
    password = module.params["root_password"]
    if password is None:
        return None
    try:
        return hashed(password, module.params["previous"] or "")
    except ImportError:
        module.fail_json(
            msg=missing_required_lib("libpass", reason="to hash root_password", url="https://pypi.org/project/libpass/")
            + " Or give root_password as a hash, as openssl passwd -6 prints it.",
            exception=traceback.format_exc())


def least(size: str) -> int:
    """Of the disks to choose. The installers need some more than what is probably a number without its unit."""
    try:
        bytes_ = to_bytes(size)
    except ValueError as error:
        raise ValueError(f"disk.rule.min_size: {error}") from None
    if bytes_ < LEAST:
        raise ValueError(f"disk.rule.min_size: {size} is below the {LEAST >> 30} GiB that the installers need anyway; "
                         "write for example 200GiB.")
    return bytes_


def main() -> None:
    module = DiscreetModule(SPEC, supports_check_mode=True, hidden=SECRETS)
    rule = (module.params["disk"] or {}).get("rule")
    try:
        if rule and rule["min_size"]:
            rule["min_size"] = least(rule["min_size"])
        content = finished(module.params, password_hash(module), module.warn)
    except ValueError as error:
        module.fail_json(msg=str(error))
    # What was given as part of the result belongs there; the action plugin does not show it.
    module.no_log_values.clear()
    module.exit_json(changed=False, content=content,
                     kernel_argument="answerfile_generator" if content.startswith("#!") else "answerfile")


if __name__ == "__main__":
    main()
