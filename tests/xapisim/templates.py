# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The default templates: what the installer of a host leaves in the database."""

from __future__ import annotations

import uuid
from typing import Any

from .schema import TABLES

GIB = 1 << 30
# default templates have the same uuids in every pool; ours follow from the label
_SPACE = uuid.UUID("6f0c7a51-8b2e-4d1c-9a53-0d1b1a1b6a3e")

_DESCRIPTIONS = {
    "linux": "Template for a Linux guest that is installed from its own media",
    "windows": "Template for a Windows guest that is installed from its own media",
    "other": "Template which allows VM installation from install media",
}


def default_templates() -> list[dict[str, Any]]:
    """Fields of the VM records of all default templates."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with open(TABLES / "_templates.yml", encoding="utf-8") as file:
        return [template(**entry) for entry in yaml.load(file, loader)]


def template(
    label: str, name: str, family: str, memory: int, firmware: str, disk: int = 0, vtpm: bool = False
) -> dict[str, Any]:
    """One template, an HVM guest; memory and disk in GiB."""
    windows = family == "windows"
    platform = {
        "acpi": "1",
        "apic": "true",
        "device-model": "qemu-upstream-uefi" if firmware == "uefi" else "qemu-upstream-compat",
        "hpet": "true",
        "nx": "true",
        "pae": "true",
        "vga": "std",
        "videoram": "8",
        "viridian": "true" if windows else "false",
    }
    if windows:
        platform.update(device_id="0002", viridian_reference_tsc="true", viridian_time_ref_count="true")
    if firmware == "uefi":
        platform["secureboot"] = "auto" if windows else "false"
    if vtpm:
        platform["vtpm"] = "true"
    other_config = {"default_template": "true"}
    if family == "linux":
        other_config.update({"install-methods": "cdrom,nfs,http,ftp", "linux_template": "true"})
    elif windows:
        other_config["install-methods"] = "cdrom"
    if disk:
        size = disk * GIB
        other_config["disks"] = (
            f'<provision><disk device="0" size="{size}" sr="" bootable="true" type="system"/></provision>'
        )
    return {
        "uuid": str(uuid.uuid5(_SPACE, label)),
        "name_label": name,
        "name_description": _DESCRIPTIONS[family],
        "is_a_template": True,
        "is_default_template": True,
        "reference_label": label,
        "user_version": 1,
        "memory_static_max": memory * GIB,
        "memory_dynamic_max": memory * GIB,
        "memory_dynamic_min": memory * GIB,
        "memory_static_min": memory * GIB // 2,
        "VCPUs_max": 2 if windows else 1,
        "VCPUs_at_startup": 2 if windows else 1,
        "actions_after_shutdown": "destroy",
        "actions_after_reboot": "restart",
        "actions_after_crash": "restart",
        "HVM_boot_policy": "BIOS order",
        "HVM_boot_params": {"firmware": firmware, "order": "dc" if family == "other" else "cdn"},
        "domain_type": "hvm",
        "platform": platform,
        "other_config": other_config,
        "recommendations": _recommendations(firmware, windows),
        "hardware_platform_version": 0,
        "has_vendor_device": False,
    }


def _recommendations(firmware: str, windows: bool) -> str:
    fields = {
        "memory-static-max": ("max", 1536 * GIB),
        "vcpus-max": ("max", 64 if windows else 32),
        "has-vendor-device": ("value", "true" if windows else "false"),
        "allow-gpu-passthrough": ("value", "1"),
        "allow-vgpu": ("value", "1"),
        "allow-network-sriov": ("value", "1"),
        "supports-bios": ("value", "yes"),
        "supports-uefi": ("value", "yes" if firmware == "uefi" else "no"),
        "supports-secure-boot": ("value", "yes" if windows and firmware == "uefi" else "no"),
    }
    text = "".join(f'<restriction field="{name}" {key}="{value}" />' for name, (key, value) in fields.items())
    limits = (("number-of-vbds", 255), ("number-of-vifs", 7))
    text += "".join(f'<restriction max="{count}" property="{name}" />' for name, count in limits)
    return f"<restrictions>{text}</restrictions>"
