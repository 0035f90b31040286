# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of modules vm and vm_power for one guest, and how a list of guests shares them."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
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

LIST_SPEC: Spec = {
    "vms": {"type": "list", "elements": "dict"},
    "parallel": {"type": "int", "default": 10},
}

LIST_RULES: dict[str, Any] = {"required_one_of": [("name", "vms")], "mutually_exclusive": [("name", "vms")]}


SOURCES = frozenset({"template", "snapshot"})


def check_source(options: Mapping[str, Any], where: str) -> None:
    """Raise ValueError for a guest that is to be made from two things."""
    if all(options.get(option) for option in SOURCES):
        raise ValueError(f"{where}a guest is made from a template or from a snapshot, not from both.")


def entries(params: Mapping[str, Any], spec: Spec) -> list[dict[str, Any]]:
    """The options of each guest: those of the module, or of each item of `vms` laid over them.

    Raises ValueError for an item that is wrong, and for two of the same name.
    """
    shared = {option: params[option] for option in spec}
    check_source(shared, "")
    if params["vms"] is None:
        if not params["name"]:
            raise ValueError("Say which guest: name, or vms for several.")
        return [shared]
    # An option that an item leaves out comes from the module, which knows the default.
    bare = {option: {key: value for key, value in rule.items() if key != "default"} for option, rule in spec.items()}
    bare["name"] = {"type": "str", "required": True}
    validator = ArgumentSpecValidator(bare)
    found = []
    for number, item in enumerate(params["vms"]):
        checked = validator.validate(item)
        if checked.error_messages:
            raise ValueError(f"vms[{number}] ({item.get('name', 'without name')}): {'; '.join(checked.error_messages)}")
        own = {option: value for option, value in checked.validated_parameters.items() if value is not None}
        check_source(own, f"vms[{number}] ({item['name']}): ")
        common = shared if not SOURCES & own.keys() else {**shared, **dict.fromkeys(SOURCES)}
        found.append({**common, **own})
    names = [entry["name"] for entry in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"vms has more than one item for {', '.join(twice)}.")
    return found
