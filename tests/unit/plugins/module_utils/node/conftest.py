# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import ipaddress
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.node import lio
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import Direct, Held

ATTRIBUTES = {
    "core/iblock_0/*": {"control": "", "udev_path": "", "enable": "0", "wwn/vpd_unit_serial": "T10 VPD Unit Serial Number: "},
    "iscsi/*/tpgt_1": {
        "enable": "0", "dynamic_sessions": "", "attrib/authentication": "1", "attrib/generate_node_acls": "0",
        "attrib/cache_dynamic_acls": "0", "attrib/demo_mode_discovery": "1", "acls/": "", "np/": "", "lun/": ""},
    "iscsi/*/tpgt_1/acls/*": {
        "auth/userid": "", "auth/password": "", "auth/userid_mutual": "", "auth/password_mutual": "", "attrib/nopin_timeout": "15",
        "attrib/nopin_response_timeout": "30", "info": "No active iSCSI Session for Initiator Endpoint: x"},
    "iscsi/*/tpgt_1/acls/*/lun_0": {"write_protect": "0"},
    "loopback/*/tpgt_1": {"nexus": "", "address": "0:0:1", "lun/": ""},
}


class Configfs:
    """A folder that behaves as configfs does: attributes come with their folder, and go with it; only what was made inside
    keeps a folder from being removed; writing to an attribute that does not exist fails."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.target = root / "sys/kernel/config/target"
        (self.target / "core").mkdir(parents=True)
        self.busy: set[str] = set()
        self._rmdir, self._mkdir = os.rmdir, os.mkdir

    def mkdir(self, path: str, *args: Any, **options: Any) -> None:
        self._mkdir(path, *args, **options)
        for pattern, attributes in ATTRIBUTES.items():
            if self._matches(path, pattern):
                for name, value in attributes.items():
                    if name.endswith("/"):
                        Path(path, name).mkdir()
                    else:
                        Path(path, name).parent.mkdir(exist_ok=True)
                        Path(path, name).write_text(f"{value}\n")

    def rmdir(self, path: str, *args: Any, **options: Any) -> None:
        inside = Path(path)
        if not inside.is_relative_to(self.target):
            self._rmdir(path, *args, **options)
            return
        made = [entry for entry in inside.iterdir() if entry.is_symlink()]
        for group in ("np", "acls", "lun"):
            made += list((inside / group).iterdir()) if (inside / group).is_dir() else []
        made += [entry for entry in inside.glob("lun_*") if entry.is_dir()] + list(inside.glob("tpgt_*"))
        if made:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", path)
        for folder, folders, files in os.walk(path, topdown=False):
            for name in files:
                os.unlink(os.path.join(folder, name))
            for name in folders:
                self._rmdir(os.path.join(folder, name))
        self._rmdir(path)

    def write(self, path: str, text: str) -> None:
        assert os.path.isfile(path), f"there is no attribute {path}"
        if path.endswith("/enable") and "/core/" in path and Path(path).with_name("udev_path").read_text() in self.busy:
            raise OSError(errno.EBUSY, "Device or resource busy")
        prefix = "T10 VPD Unit Serial Number: " if path.endswith("vpd_unit_serial") else ""
        Path(path).write_text(f"{prefix}{text}")

    def _matches(self, path: str, pattern: str) -> bool:
        inside = Path(path)
        parts = inside.relative_to(self.target).parts if inside.is_relative_to(self.target) else ()
        wanted = pattern.split("/")
        return len(parts) == len(wanted) and all(one in ("*", other) for one, other in zip(wanted, parts, strict=True))

    def tree(self) -> list[str]:
        """All folders and links that somebody made."""
        return sorted(str(path.relative_to(self.target)) for path in self.target.rglob("*") if path.is_symlink() or (
            path.is_dir() and path.name not in ("wwn", "attrib", "auth", "acls", "np", "lun")))

    def get(self, path: str) -> str:
        return (self.target / path).read_text().strip()


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files stand for devices, and not every file system of a test can do without the cache."""
    monkeypatch.setattr(Direct, "flags", os.O_RDONLY)
    monkeypatch.setattr(Held, "flags", os.O_RDWR)


@pytest.fixture
def configfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configfs:
    fake = Configfs(tmp_path)
    monkeypatch.setattr(os, "mkdir", fake.mkdir)
    monkeypatch.setattr(os, "rmdir", fake.rmdir)
    monkeypatch.setattr(lio, "write", fake.write)
    monkeypatch.setattr(lio, "is_block_device", lambda path: path.startswith("/dev/vg0/"))
    monkeypatch.setattr(lio.Lio, "prepare", lambda self, loopback=False: None)
    return fake


@pytest.fixture
def connect(tmp_path: Path) -> Any:
    """Have the machine a TCP connection, as the kernel of a little-endian machine lists it: local and remote end."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

    def end(address: str, port: int) -> str:
        return f"{int.from_bytes(ipaddress.ip_address(address).packed, sys.byteorder):08X}:{port:04X}"

    def add(address: str, port: int, peer: str, far: int = 50000, state: str = "01") -> None:
        path = tmp_path / "proc/net/tcp"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text() if path.exists() else head
        path.write_text(f"{lines}   0: {end(address, port)} {end(peer, far)} {state} 00000000:00000000 00:00000000 00000000     0    0 1\n")

    return add
