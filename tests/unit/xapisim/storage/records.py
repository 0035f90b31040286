# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the storage tests are about, and short ways to it."""

from __future__ import annotations

from typing import Any

NULL = "OpaqueRef:NULL"
MIB, GIB = 1 << 20, 1 << 30
SRS = [
    {"name": "nfs", "type": "nfs", "shared": True, "device_config": {"server": "nas", "serverpath": "/one"}},
    {"name": "iscsi", "type": "lvmoiscsi", "shared": True, "size": 40 * GIB, "device_config": {"target": "san"}},
    {"name": "isos", "type": "iso", "shared": True, "isos": ["tools.iso"]},
    {"name": "paths", "type": "udev", "shared": True, "device_config": {"location": "/dev/legs"}},
    {"name": "dummy", "type": "dummy", "host": "alpha-1"},
]
BACKENDS = {
    "udev": {"/dev/legs": {"/dev/legs/leg-a": 4 * GIB, "/dev/legs/leg-b": 2 * GIB}},
    "nfs": {"filer": ["/export/a"]},
}


def vdi_record(sr_ref: str, **fields: Any) -> dict[str, Any]:
    base = {"name_label": "disk", "SR": sr_ref, "virtual_size": 8 * MIB, "type": "user", "sharable": False}
    return {**base, "read_only": False, "other_config": {}, **fields}


def vbd_record(vm: str, vdi: str, **fields: Any) -> dict[str, Any]:
    base = {"VM": vm, "VDI": vdi, "userdevice": "autodetect", "bootable": False, "mode": "RW", "type": "Disk"}
    more = {"empty": vdi == NULL, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}}
    return {**base, **more, **fields}


def write(sim: Any, vdi_ref: str, offset: int, data: bytes) -> None:
    with sim.pool.lock:
        sim.pool.disks.write(sim.pool.db.row("VDI", vdi_ref).uuid, offset, data)


def read(sim: Any, vdi_ref: str, offset: int, length: int) -> bytes:
    with sim.pool.lock:
        return sim.pool.disks.read(sim.pool.db.row("VDI", vdi_ref).uuid, offset, length)
