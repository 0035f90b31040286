# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices as sysfs shows them: size, identity, who uses them. Python 3.6 syntax."""

import ctypes
import fcntl
import hashlib
import os
import stat
from typing import Dict, List, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.node.lio import wwn
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import names, read

SECTOR = 512
SG_IO = 0x2285


class Blocks:
    """The block devices of this machine. `root` is another folder than / in tests."""

    def __init__(self, root: str = "/") -> None:
        self.root = root
        self.sys = os.path.join(root, "sys")

    def number(self, path: str) -> str:
        """The device number as major:minor, "" if there is no such block device."""
        try:
            status = os.stat(path)
        except OSError:
            return ""
        return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if stat.S_ISBLK(status.st_mode) else ""

    def name(self, path: str) -> str:
        """The kernel's name (sda, dm-3), "" if there is no such block device."""
        number = self.number(path)
        folder = os.path.join(self.sys, "dev/block", number)
        return os.path.basename(os.path.realpath(folder)) if number and os.path.exists(folder) else ""

    def folder(self, path: str) -> str:
        """The device's folder in sysfs."""
        return os.path.join(self.sys, "class/block", self.name(path) or "-")

    def size(self, path: str) -> int:
        """Bytes; 0 if there is no such block device."""
        return int(read(self.folder(path), "size") or 0) * SECTOR

    def serial(self, path: str) -> str:
        """The serial number that an export of a logical volume gets: 32 digits made from the uuid of the volume, so that it
        stays when the volume is renamed, and every node can compute it. "" for a device without such a uuid.
        """
        uuid = read(self.folder(path), "dm/uuid")
        return hashlib.sha256(uuid.encode()).hexdigest()[:32] if uuid.startswith("LVM-") else ""

    def identity(self, path: str) -> str:
        """What names the data on every node: the WWN of a disk, for a logical volume the one that its export has."""
        wwid = read(self.folder(path), "device/wwid") or read(self.folder(path), "wwid")
        if wwid:
            return wwid
        uuid = read(self.folder(path), "dm/uuid")
        if uuid.startswith("mpath-3"):
            return f"naa.{uuid[len('mpath-3'):]}"
        serial = self.serial(path)
        return f"naa.{wwn(serial)}" if serial else ""

    def users(self, path: str, opened: Optional[Dict[str, List[str]]] = None) -> List[str]:
        """Who uses the device, in words; nobody is an empty list. `opened` is what opened() said a moment ago."""
        name, number = self.name(path), self.number(path)
        if not name:
            return []
        folder = self.folder(path)
        parts = [name, *(part for part in names(folder) if part.startswith(name) and read(folder, part, "partition"))]
        numbers = {read(self.sys, "class/block", part, "dev") or number for part in parts}
        found = [f"device {holder}" for part in parts for holder in names(self.sys, "class/block", part, "holders")]
        for line in read(self.root, "proc/self/mountinfo").splitlines():
            fields = line.split()
            if len(fields) > 4 and fields[2] in numbers:
                found.append(f"mount point {fields[4]}")
        for line in read(self.root, "proc/swaps").splitlines()[1:]:
            if line and os.path.basename(os.path.realpath(line.split()[0])) in parts:
                found.append("swap space")
        backends = os.path.join(self.sys, "bus/xen-backend/devices")
        for backend in names(backends):
            major, _colon, minor = read(backends, backend, "physical_device").partition(":")
            if minor and f"{int(major, 16)}:{int(minor, 16)}" in numbers:
                found.append(f"guest domain {backend.split('-')[1] if '-' in backend else backend}")
        opened = self.opened() if opened is None else opened
        pids = sorted({pid for each in numbers for pid in opened.get(each, ())}, key=int)
        return found + [f"process {pid} ({read(self.root, 'proc', pid, 'comm')})" for pid in pids]

    def opened(self) -> Dict[str, List[str]]:
        """The processes that have block devices open: {device number: pids}."""
        found = {}  # type: Dict[str, List[str]]
        for pid in names(self.root, "proc"):
            if pid.isdigit():
                folder = os.path.join(self.root, "proc", pid, "fd")
                for number in {self.number(os.path.join(folder, descriptor)) for descriptor in names(folder)} - {""}:
                    found.setdefault(number, []).append(pid)
        return found

    def rescan(self, path: str) -> None:
        """Have the kernel ask a SCSI disk for its size."""
        with open(os.path.join(self.folder(path), "device/rescan"), "w") as stream:
            stream.write("1")


class SgHeader(ctypes.Structure):
    """struct sg_io_hdr of the kernel's scsi/sg.h."""

    _fields_ = [
        ("interface_id", ctypes.c_int), ("dxfer_direction", ctypes.c_int), ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte), ("iovec_count", ctypes.c_ushort), ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p), ("cmdp", ctypes.c_void_p), ("sbp", ctypes.c_void_p), ("timeout", ctypes.c_uint),
        ("flags", ctypes.c_uint), ("pack_id", ctypes.c_int), ("usr_ptr", ctypes.c_void_p), ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte), ("msg_status", ctypes.c_ubyte), ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort), ("driver_status", ctypes.c_ushort), ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint), ("info", ctypes.c_uint),
    ]


def capacity(path: str) -> int:
    """The size in bytes that a SCSI disk itself tells (READ CAPACITY 16), whatever the kernel has in mind; 0 if it does not.

    So the growth of a leg can be seen without a rescan, which would change something.
    """
    command = ctypes.create_string_buffer(bytes([0x9E, 0x10] + [0] * 11 + [32, 0, 0]), 16)
    answer, sense = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
    header = SgHeader(
        interface_id=ord("S"), dxfer_direction=-3, cmd_len=16, mx_sb_len=32, dxfer_len=32, dxferp=ctypes.addressof(answer),
        cmdp=ctypes.addressof(command), sbp=ctypes.addressof(sense), timeout=5000)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return 0
    try:
        for _attempt in range(3):  # the first answer after a change may be a unit attention
            fcntl.ioctl(descriptor, SG_IO, header)
            if not (header.status or header.host_status or header.driver_status):
                data = answer.raw
                return (int.from_bytes(data[:8], "big") + 1) * int.from_bytes(data[8:12], "big")
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return 0
