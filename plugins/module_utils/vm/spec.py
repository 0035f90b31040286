# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of modules vm and vm_power for one guest."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.common import COMMON_SPEC

Spec = dict[str, dict[str, Any]]

VM_SPEC: Spec = {
    "name": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "template": {"type": "str"},
    "snapshot": {"type": "str"},
    "full_copy": {"type": "bool", "default": False},
    "sr": {"type": "str"},
    "memory": {"type": "str"},
    "memory_max": {"type": "str"},
    "vcpus": {"type": "int"},
    "vcpus_max": {"type": "int"},
    "disks": {"type": "list", "elements": "dict", "options": {
        "device": {"type": "int"},
        "name": {"type": "str"},
        "size": {"type": "str"},
        "sr": {"type": "str"},
        "vdi": {"type": "str"},
        "mode": {"type": "str", "choices": ["rw", "ro"]},
        "bootable": {"type": "bool"},
    }},
    "nics": {"type": "list", "elements": "dict", "options": {
        "device": {"type": "int"},
        "network": {"type": "str"},
        "mac": {"type": "str"},
        "mtu": {"type": "int"},
        "rate": {"type": "int"},
    }},
    "cdrom": {"type": "str"},
    "boot_order": {"type": "list", "elements": "str", "choices": ["disk", "cdrom", "network"]},
    "firmware": {"type": "str", "choices": ["bios", "uefi"]},
    "secure_boot": {"type": "bool"},
    "platform": {"type": "dict"},
    "auto_poweron": {"type": "bool"},
    "affinity": {"type": "str"},
    "allow_restart": {"type": "bool", "default": False},
    "delete_disks": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    **COMMON_SPEC,
}

POWER_SPEC: Spec = {
    "name": {"type": "str"},
    "state": {"type": "str", "choices": ["running", "halted", "suspended", "paused", "restarted"], "default": "running"},
    "host": {"type": "str"},
    "assume_dead": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "shutdown_timeout": {"type": "int", "default": 300},
    "wait_for_ip": {"type": "bool", "default": False},
    "ip_timeout": {"type": "int", "default": 300},
}

SOURCES = ("template", "snapshot")  # a guest is made from one of them


def check_source(options: Mapping[str, Any]) -> None:
    """Raise ValueError for a guest that is to be made from two things."""
    if all(options.get(option) for option in SOURCES):
        raise ValueError(f"{options['name']}: a guest is made from a template or from a snapshot, not from both.")
