# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VM.provision: the disks that a template's other_config asks for (xapi_templates.ml)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

from ..errors import XapiError, internal
from ..registry import message, refresh
from .vm import installed
from .vm_rules import vm_operation

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context

_TYPES = ("system", "user", "ephemeral", "suspend", "crashdump")


class _Disk(NamedTuple):
    device: str
    size: int
    sr: str
    bootable: bool
    type: str


def _parse(text: str) -> list[_Disk]:
    """The disks of `<provision><disk device= size= sr= bootable= type=/></provision>`."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise internal(f'Xml.Error("{error}")') from None
    if root.tag != "provision" or root.attrib:
        raise internal("Xapi_templates.Parse_failure")
    return [_parse_disk(element) for element in root]


def _parse_disk(element: ElementTree.Element) -> _Disk:
    given = element.attrib
    kind = given.get("type", "system")
    try:
        if element.tag != "disk" or len(element):
            raise KeyError(element.tag)
        kind = kind if kind in _TYPES else "system"
        return _Disk(given["device"], int(given["size"], 0), given["sr"], given["bootable"] == "true", kind)
    except (KeyError, ValueError):
        raise internal("Xapi_templates.Parse_failure") from None


def _create(ctx: Context, vm: Row, disk: _Disk) -> None:
    try:
        sr = ctx.db.by_uuid("SR", disk.sr)
    except XapiError:
        raise XapiError("UUID_INVALID", "sr", disk.sr) from None
    fields = {"SR": sr, "virtual_size": disk.size, "type": disk.type, "sm_config": {"vmhint": vm.uuid}}
    described = {"name_label": "", "name_description": "Created by template provisioner"}
    vdi = ctx.call("VDI.create", {**fields, **described, "sharable": False, "read_only": False, "other_config": {}})
    vbd = ctx.call(
        "VBD.create",
        {
            "VM": vm,
            "VDI": vdi,
            "userdevice": disk.device,
            "bootable": disk.bootable,
            "mode": "RW",
            "type": "Disk",
            "unpluggable": disk.type != "system",
            "empty": False,
            "other_config": {"owner": ""},
            "qos_algorithm_type": "",
            "qos_algorithm_params": {},
        },
    )
    vdi.name_label = vbd.userdevice


@message("VM.provision")
def provision(ctx: Context, vm: Row) -> None:
    """Make a template a VM and create its disks.

    Bad XML leaves it a template. An unknown SR does not, and disks made before that one stay (more facts, 10).
    """
    with vm_operation(ctx, vm, "provision"):
        wanted = vm.other_config
        disks = _parse(wanted["disks"]) if "disks" in wanted else []
        installed(ctx, vm)
        for number, disk in enumerate(disks):
            _create(ctx, vm, disk)
            ctx.progress((number + 1) / len(disks))
        vm.other_config = {key: v for key, v in wanted.items() if key not in ("disks", "postinstall")}
    refresh(vm)
