# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device names of VBDs, and what may be done with a VBD: the checks of xapi_vbd_helpers.ml in their order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import XapiError
from ..registry import refresher

if TYPE_CHECKING:
    from ..db import Database, Row

_OPS = ("attach", "eject", "insert", "plug", "unplug", "unplug_force", "pause", "unpause")
_PLUG = ("plug", "unplug", "unplug_force")
_NUMBER = re.compile(r"^-?(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|[0-9]+)$")
_LINUX = re.compile(r"^(xvd|sd|fd|hd)([a-z]+)([0-9]*)$")
_SHORT = re.compile(r"^d([0-9]+)(?:p([0-9]+))?$")
_BUS = {"xvd": "xen", "sd": "scsi", "fd": "floppy", "hd": "ide"}
LAST_DEVICE = 254

Device = tuple[str, int, int]  # bus, disk, partition


def _number(text: str) -> int | None:
    if not _NUMBER.match(text):
        return None
    digits = text.lstrip("-")
    value = int(digits, 0 if digits[:2].lower() in ("0x", "0o", "0b") else 10)
    return -value if text.startswith("-") else value


def suffix(disk: int) -> str:
    """Letters of a Linux device name: 0 is a, 25 z, 26 aa."""
    letters = ""
    disk += 1
    while disk > 0:
        disk, letter = divmod(disk - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return letters


def _linux(text: str) -> Device | None:
    found = _LINUX.match(text)
    if found:
        prefix, letters, partition = found.groups()
        disk = 0
        for letter in letters:
            disk = disk * 26 + ord(letter) - ord("a") + 1
        return _BUS[prefix], disk - 1, int(partition or 0)
    short = _SHORT.match(text)
    return ("xen", int(short.group(1)), int(short.group(2) or 0)) if short else None


def interpretations(text: str) -> set[Device]:
    """All devices that a userdevice may mean: `0` is xvda as well as hda."""
    number = _number(text)
    if number is not None and number >= 0:
        return {("xen", number, 0)} | ({("ide", number, 0)} if number < 4 else set())
    linux = _linux(text)
    return {linux} if linux else set()


def valid_device(text: str) -> bool:
    """What VBD.create accepts: a real xapi takes any integer, 255 and -1 too (more facts, 7)."""
    return text == "autodetect" or _number(text) is not None or _linux(text) is not None


def device_name(userdevice: str) -> str:
    """The name that a guest sees, `xvda`."""
    number = _number(userdevice)
    if number is not None:
        return f"xvd{suffix(number)}" if number >= 0 else userdevice
    return re.sub("^hd", "xvd", userdevice)


def used_devices(db: Database, vm: Row) -> set[Device]:
    """Devices that the VM's VBDs take."""
    used: set[Device] = set()
    for vbd in db.rows("VBD", VM=vm):
        used |= interpretations(vbd.userdevice) | interpretations(vbd.device)
    return used


def free_devices(db: Database, vm: Row) -> list[str]:
    """Numbers that are free for a new VBD, as strings (VM.get_allowed_VBD_devices)."""
    used = used_devices(db, vm)
    return [str(n) for n in range(LAST_DEVICE + 1) if not interpretations(str(n)) & used]


def _lower(power_state: str) -> str:
    return power_state.lower()


def is_hvm(vm: Row) -> bool:
    """Whether the VM runs (or will run) with emulated devices."""
    if vm.domain_type in ("hvm", "pv", "pvh", "pv_in_pvh"):
        return bool(vm.domain_type == "hvm")
    return vm.HVM_boot_policy != ""


def hotplug_error(db: Database, vm: Row, kind: str) -> XapiError | None:
    """Why a running HVM guest cannot hotplug devices of a kind ("vbd", "vif"), None if it can."""
    metrics = db.maybe("VM_guest_metrics", vm.guest_metrics)
    claim = getattr(metrics, f"can_use_hotplug_{kind}") if metrics is not None else "unspecified"
    if claim == "no":
        return XapiError("OPERATION_NOT_ALLOWED", f"VM states it does not support {kind.upper()} hotplug.")
    if claim == "yes" or (
        metrics is not None and (metrics.PV_drivers_detected or "major" in metrics.PV_drivers_version)
    ):
        return None
    return XapiError("VM_MISSING_PV_DRIVERS", vm)


class Errors(dict[str, XapiError]):
    """The first error of each operation."""

    def add(self, operations: tuple[str, ...] | list[str], code: str, *params: object) -> None:
        """Note an error for operations that have none yet."""
        for op in operations:
            self.setdefault(op, XapiError(code, *params))


def errors(db: Database, vbd: Row, *, sharing: bool) -> Errors:
    """Why operations are impossible. `sharing`: look at other users of the VDI too, which lists leave out."""
    found = Errors()
    vm = db.row("VM", vbd.VM)
    for task, op in vbd.current_operations.items():
        found.add(
            [o for o in _OPS if o not in ("pause", "unpause")], "OTHER_OPERATION_IN_PROGRESS", "VBD", vbd, op, task
        )
        if op not in ("pause", "unpause"):
            found.add(["pause"], "OTHER_OPERATION_IN_PROGRESS", "VBD", vbd, op, task)
            if op != "attach":
                found.add(["unpause"], "OTHER_OPERATION_IN_PROGRESS", "VBD", vbd, op, task)
    if not vbd.unpluggable:
        found.add(["unplug", "unplug_force"], "VBD_NOT_UNPLUGGABLE", vbd)
    if vbd.type != "CD":
        found.add(["insert", "eject"], "VBD_NOT_REMOVABLE_MEDIA", vbd)
    if vbd.empty:
        found.add(["eject"], "VBD_IS_EMPTY", vbd)
    else:
        found.add(["insert"], "VBD_NOT_EMPTY", vbd)
    state = vm.power_state
    if state == "Running":
        if vbd.currently_attached:
            found.add(["plug"], "DEVICE_ALREADY_ATTACHED", vbd)
        else:
            found.add(["unplug", "unplug_force"], "DEVICE_ALREADY_DETACHED", vbd)
    else:
        bad = _PLUG if state == "Paused" else (*_PLUG, "pause", "unpause")
        found.add(bad, "VM_BAD_POWER_STATE", vm, "running", _lower(state))
    vm_operations = vm.current_operations.values()
    for op in vm_operations:
        if op in ("clean_shutdown", "hard_shutdown", "suspend", "pause"):
            found.add(["plug", "unplug"], "OPERATION_NOT_ALLOWED", f"Current operation on VM:{vm.ref} is {op}")
    if state == "Running" and is_hvm(vm):
        hotplug = hotplug_error(db, vm, "vbd")
        if hotplug is not None:
            found.add(_PLUG, hotplug.code, *hotplug.params)
        if vbd.type == "CD":
            text = "HVM CDROMs cannot be hotplugged/unplugged, only inserted or ejected"
            found.add(_PLUG, "OPERATION_NOT_ALLOWED", text)
    if vbd.type == "CD" and state == "Suspended":
        found.add(["insert", "eject"], "VM_BAD_POWER_STATE", vm, "halted, running", "suspended")
    vdi = None if vbd.empty else db.maybe("VDI", vbd.VDI)
    if vdi is not None:
        _vdi_errors(db, vbd, vm, vdi, found, sharing=sharing)
    return found


def _vdi_errors(db: Database, vbd: Row, vm: Row, vdi: Row, found: Errors, *, sharing: bool) -> None:
    if not vdi.managed:
        found.add(_OPS, "VDI_NOT_MANAGED", vbd)
    for task, op in vdi.current_operations.items():
        if op not in ("mirror", "copy"):
            found.add(["attach", "plug", "insert"], "OTHER_OPERATION_IN_PROGRESS", "VDI", vdi, op, task)
    if vbd.currently_attached or not sharing:
        return
    users = []
    for other in db.rows("VBD", VDI=vdi):
        owner = db.maybe("VM", other.VM)
        if other == vbd or owner is None or owner.power_state == "Suspended" or owner.is_control_domain:
            continue
        if other.currently_attached or other.current_operations:
            users.append(other)
    writes = vbd.mode == "RW"
    taken = any(other.mode == "RW" for other in users) or (writes and bool(users))
    if taken and not vdi.sharable and not vm.is_control_domain:
        found.add(["attach", "insert", "plug"], "VDI_IN_USE", vdi)
    if writes and vdi.read_only:
        found.add(["attach", "insert", "plug"], "VDI_READONLY", vdi)


def assert_allowed(db: Database, vbd: Row, op: str) -> None:
    """Raise why the operation is not possible now."""
    error = errors(db, vbd, sharing=True).get(op)
    if error is not None:
        raise error


@refresher("VBD")
def allowed_operations(db: Database, vbd: Row) -> list[str]:
    """The operations that xapi lists for a VBD."""
    if db.maybe("VM", vbd.VM) is None:
        return []
    found = errors(db, vbd, sharing=False)
    return [op for op in _OPS if op not in found]
