# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests in the terms of the modules' options, from their records."""
from __future__ import annotations

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.common import common_view
from ansible_collections.nobloat.xen.plugins.module_utils.size import to_text
from ansible_collections.nobloat.xen.plugins.module_utils.vm.read import Record, World, device_number

BOOT_DEVICES = {"disk": "c", "cdrom": "d", "network": "n"}
_LETTERS = {letter: name for name, letter in BOOT_DEVICES.items()}


def vm_view(vm: Record, world: World) -> dict[str, Any]:
    """All that module vm manages, and `power_state`."""
    vbds = world.devices("VBD", vm["ref"])
    return {
        **common_view(vm),
        "power_state": vm["power_state"].lower(),
        "memory": to_text(vm["memory_dynamic_max"]),
        "memory_max": to_text(vm["memory_static_max"]),
        "vcpus": vm["VCPUs_at_startup"],
        "vcpus_max": vm["VCPUs_max"],
        "boot_order": boot_order(vm["HVM_boot_params"]),
        "firmware": vm["HVM_boot_params"].get("firmware", "bios"),
        "secure_boot": secure_boot(vm["platform"]),
        "platform": dict(vm["platform"]),
        "auto_poweron": vm["other_config"].get("auto_poweron") == "true",
        "affinity": world.name("host", vm["affinity"]) or "",
        "disks": [disk_view(vbd, world) for vbd in vbds if vbd["type"] == "Disk"],
        "nics": [nic_view(vif, world) for vif in world.devices("VIF", vm["ref"])],
        "cdrom": cdrom_view(vbds, world),
    }


def disk_view(vbd: Record, world: World) -> dict[str, Any]:
    """A disk of a guest; name, size, sr and vdi are null where its VDI is gone."""
    vdi = world.vdis.get(vbd["VDI"])
    return {
        "device": device_number(vbd),
        "name": vdi["name_label"] if vdi else None,
        "size": to_text(vdi["virtual_size"]) if vdi else None,
        "sr": world.name("SR", vdi["SR"]) if vdi else None,
        "vdi": vdi["uuid"] if vdi else None,
        "mode": vbd["mode"].lower(),
        "bootable": vbd["bootable"],
    }


def nic_view(vif: Record, world: World) -> dict[str, Any]:
    """A NIC of a guest; `rate` in kilobytes per second, null where it is not limited; `mtu` that of its next plug."""
    limit = vif["qos_algorithm_params"].get("kbps") if vif["qos_algorithm_type"] == "ratelimit" else None
    return {
        "device": device_number(vif),
        "network": world.name("network", vif["network"]),
        "mac": vif["MAC"].lower(),
        "mtu": nic_mtu(vif, world.networks.get(vif["network"])),
        "rate": int(limit) if limit else None,
    }


def nic_mtu(vif: Record, network: Record | None) -> int:
    """The MTU that a VIF has from its next plug on: its own, else that of its network (xen-api: ocaml/xapi/xapi_xenops.ml).

    The field VIF.MTU only tells what it got when it was plugged the last time.
    """
    own = vif["other_config"].get("mtu", "")
    return int(own) if own.isdecimal() else int((network or vif)["MTU"])


def cdrom_view(vbds: list[Record], world: World) -> str | None:
    """Name of the disc in the first CD drive; empty where it is empty, null where there is no drive."""
    drive = next((vbd for vbd in vbds if vbd["type"] == "CD"), None)
    if not drive:
        return None
    disc = None if drive["empty"] else world.vdis.get(drive["VDI"])
    return disc["name_label"] if disc else ""


def secure_boot(platform: dict[str, str]) -> bool | None:
    """Whether secure boot is on; None where platform:secureboot is `auto`, which leaves it to the certificates of the pool."""
    text = platform.get("secureboot", "false").lower()
    return None if text == "auto" else text == "true"


def boot_order(params: dict[str, str]) -> list[str]:
    """[disk, cdrom, network] of HVM_boot_params' order `cdn`."""
    return [_LETTERS[letter] for letter in params.get("order", "").lower() if letter in _LETTERS]


def boot_letters(order: list[str]) -> str:
    """The reverse of boot_order."""
    return "".join(BOOT_DEVICES[name] for name in order)
