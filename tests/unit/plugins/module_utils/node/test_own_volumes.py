# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node makes for itself: its volume group, the volume for backups, the file system on it."""
from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError, ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.backup_volume import BackupVolume
from ansible_collections.nobloat.xen.plugins.module_utils.node.file_system import (
    WASTE,
    FileSystem,
    OfMirror,
    size_of,
)
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import CommandError, NodeError, Result
from ansible_collections.nobloat.xen.plugins.module_utils.node.volume_group import VolumeGroup

EXTENT = 4 << 20


class Node:
    """The commands of LVM and of file systems, as far as they are asked here. `free` extents are in vg0, `spare` ones can be released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int = 100, spare: int = 0) -> None:
        self.free, self.spare, self.size, self.kind, self.place, self.full, self.dirt = free, spare, 0, "", "", 0, ""
        self.pvs: list[str] = []
        self.calls: list[str] = []
        self.fail = ""
        source = "ansible_collections.nobloat.xen.plugins.module_utils.node"
        monkeypatch.setattr(f"{source}.file_system.FileSystem.place", lambda _system: self.place)
        monkeypatch.setattr(f"{source}.file_system.size_of", lambda _device, _kind: self.full)
        monkeypatch.setattr(f"{source}.md.Arrays.dirt", lambda _arrays, _path: self.dirt)
        monkeypatch.setattr(f"{source}.spares.Spares.room", lambda _spares, _vg: self.spare * EXTENT)
        monkeypatch.setattr(f"{source}.spares.Spares.locked", lambda _spares, work: work())
        monkeypatch.setattr(f"{source}.spares.Spares.release", lambda _spares, _vg, size: self.release(size))
        monkeypatch.setattr(f"{source}.info.Node.disks", lambda _node, devices: [self.disk(device) for device in devices])
        monkeypatch.setattr(f"{source}.block.Blocks.size", lambda _blocks, _path: self.size * EXTENT)
        monkeypatch.setattr(f"{source}.block.Blocks.number", lambda _blocks, _path: "253:7" if self.size else "")

    def disk(self, device: str) -> dict[str, Any]:
        return {"device": device, "size": 100, "vg": "vg0" if device in self.pvs else None, "users": [], "content": self.dirt}

    def release(self, size: int) -> None:
        extents = -(-size // EXTENT)
        self.free, self.spare = self.free + extents, self.spare - extents

    def __call__(self, *argv: str, **_options: Any) -> Result:
        words = [word for word in argv if not word.startswith(("--", "global/"))]
        name = words[0]
        if name not in ("vgs", "lvs", "pvs", "blkid"):
            self.calls.append(" ".join(words))
        if self.fail and self.calls and self.calls[-1].startswith(self.fail):
            raise CommandError(argv, 5, "no")
        return Result(0, getattr(self, f"do_{name.replace('.', '_')}", lambda *_words: "")(*words[1:]), "")

    def do_vgs(self, *_words: str) -> str:
        row = {"vg_name": "vg0", "vg_extent_size": str(EXTENT), "vg_free": str(self.free * EXTENT)}
        return json.dumps({"report": [{"vg": [row]}]})

    def do_lvs(self, *_words: str) -> str:
        row = {"vg_name": "vg0", "lv_name": "backup", "lv_uuid": "u", "lv_size": str(self.size * EXTENT), "origin": "", "segtype": "linear",
               "vg_free": str(self.free * EXTENT), "vg_extent_size": str(EXTENT)}
        return json.dumps({"report": [{"lv": [row] if self.size else []}]})

    def do_pvs(self, *_words: str) -> str:
        return json.dumps({"report": [{"pv": [
            {"vg_name": "vg0", "vg_size": "9", "vg_free": "9", "vg_extent_size": "1", "pv_count": "1", "pv_uuid": pv, "pv_name": pv,
             "pv_size": "9", "pv_free": "9", "lv_name": "", "lv_tags": "", "pvseg_size": "1"} for pv in self.pvs]}]})

    def do_blkid(self, *_words: str) -> str:
        return f"TYPE={self.kind}\n" if self.kind else ""

    def do_lvcreate(self, *words: str) -> str:
        self.size = int(next(word for word in words if word.endswith("b"))[:-1]) // EXTENT
        return ""

    do_lvextend = do_lvcreate

    def do_lvremove(self, *_words: str) -> str:
        self.size = 0
        return ""

    def do_mkfs_ext4(self, *_words: str) -> str:
        self.kind = "ext4"
        return ""

    def do_mount(self, *words: str) -> str:
        self.place = words[-1]
        return ""

    def do_resize2fs(self, *_words: str) -> str:
        self.full = self.size * EXTENT
        return ""

    def do_vgcreate(self, *words: str) -> str:
        self.pvs += words[1:]
        return ""

    do_vgextend = do_vgcreate


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(monkeypatch)


def volume(node: Node, root: Path, size: str = "40MiB", **changes: Any) -> ChangeSet:
    params = {"vg": "vg0", "name": "backup", "size": size, "filesystem": "ext4", "path": "/srv/backup", **changes}
    (root / "etc").mkdir(exist_ok=True)
    return BackupVolume(params, str(root), node).plan()


def test_a_backup_volume_is_made_and_grown(node: Node, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    others = "# /srv/backup\n/dev/sda1 / ext4 defaults 0 1\n"
    (tmp_path / "etc/fstab").write_text(others + "/dev/old /srv/backup xfs x 0 0\n/dev/b /srv/backup y\n", encoding="utf-8")
    changes = volume(node, tmp_path, "39m")
    assert (node.size, changes.after["size"]) == (0, 10 * EXTENT)
    changes.apply()
    assert (node.size, node.kind, node.place) == (10, "ext4", "/srv/backup")
    assert (tmp_path / "etc/fstab").read_text(encoding="utf-8") == (
        others + "/dev/vg0/backup /srv/backup ext4 nofail,nodev,nosuid,noexec 0 0\n")
    node.full = node.size * EXTENT
    assert not volume(node, tmp_path, "39m").steps
    assert not volume(node, tmp_path, "3m").steps, "it is never made smaller"
    node.free, node.spare, node.calls = 1, 30, []
    volume(node, tmp_path, "100MiB").apply()
    assert (node.size, node.full, node.free) == (25, 25 * EXTENT, 15)
    assert node.calls[-1] == "resize2fs /dev/vg0/backup"


@pytest.mark.parametrize(("set_up", "options", "words"), [
    ({}, {"size": "4GiB"}, "has 419430400 bytes left"),
    ({}, {"size": "much"}, "is not a size"),
    ({}, {"vg": "vg1"}, "no volume group vg1"),
    ({}, {"name": "web"}, "begins with backup"),
    ({}, {"filesystem": "vfat"}, "one of the file systems"),
    ({"size": 10, "kind": "xfs"}, {}, "the file system xfs on /dev/vg0/backup, not ext4"),
    ({"size": 10, "dirt": "it has a signature"}, {}, "is not blank: it has a signature"),
    ({"size": 10, "kind": "ext4", "place": "/mnt"}, {}, "is mounted on /mnt, not on /srv/backup"),
])
def test_what_a_backup_volume_refuses(node: Node, tmp_path: Path, set_up: dict[str, Any], options: dict[str, Any], words: str) -> None:
    vars(node).update(set_up)
    with pytest.raises(NodeError, match=words):
        volume(node, tmp_path, **options)
    assert node.calls == []


def test_what_fails_is_taken_back(node: Node, tmp_path: Path) -> None:
    node.fail = "mount"
    with pytest.raises(ApplyError):
        volume(node, tmp_path).apply()
    assert node.size == 0
    assert "backup" not in (tmp_path / "etc/fstab").read_text(encoding="utf-8")


def test_a_volume_group_is_made_and_extended(node: Node) -> None:
    VolumeGroup("vg0", command=node).plan(["/dev/sda", "/dev/sdb"]).apply()
    assert node.calls == ["pvcreate /dev/sda", "pvcreate /dev/sdb", "vgcreate vg0 /dev/sda /dev/sdb"]
    assert not VolumeGroup("vg0", command=node).plan(["/dev/sdb"]).steps
    changes = VolumeGroup("vg0", command=node).plan(["/dev/sda", "/dev/sdc"])
    assert changes.after["devices"] == ["/dev/sda", "/dev/sdb", "/dev/sdc"]
    changes.apply()
    assert node.calls[-1] == "vgextend vg0 /dev/sdc"


def test_a_volume_group_takes_no_disk_with_anything_on_it(node: Node) -> None:
    node.dirt = "it has a signature: xfs"
    with pytest.raises(NodeError, match="/dev/sda cannot become part of vg0: it has a signature: xfs"):
        VolumeGroup("vg0", command=node).plan(["/dev/sda"])
    with pytest.raises(NodeError, match="no disks are named"):
        VolumeGroup("vg0", command=node).plan([])


def test_a_volume_group_that_fails_leaves_the_disks_as_they_were(node: Node) -> None:
    node.fail = "vgcreate"
    with pytest.raises(ApplyError):
        VolumeGroup("vg0", command=node).plan(["/dev/sda", "/dev/sdb"]).apply()
    assert node.calls[-2:] == ["pvremove /dev/sdb", "pvremove /dev/sda"]


def test_the_file_system_of_a_mirror(node: Node, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_text("/dev/md/data /srv ext4 defaults 0 0\n", encoding="utf-8")
    with pytest.raises(NodeError, match="no mirror /dev/md/data"):
        OfMirror("/dev/md/data", str(tmp_path), node).plan()
    node.size, node.kind, node.full = 10, "ext4", 10 * EXTENT - WASTE
    OfMirror("/dev/md/data", str(tmp_path), node).plan().apply()
    assert node.calls == ["mount /dev/md/data", "resize2fs /dev/md/data"]
    assert not OfMirror("/dev/md/data", str(tmp_path), node).plan().steps
    node.kind, node.full, node.calls = "LVM2_member", 0, []
    assert not OfMirror("/dev/md/data", str(tmp_path), node).plan().steps


@pytest.mark.parametrize("kind", ["ext2", "ext4", "xfs", "btrfs", "f2fs"])
def test_the_size_of_a_file_system(tmp_path: Path, kind: str) -> None:
    program = shutil.which(f"mkfs.{kind}", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not program:
        pytest.skip(f"no mkfs.{kind} on this machine")
    disk = tmp_path / "disk"
    with disk.open("wb") as stream:
        stream.truncate(512 << 20)
    subprocess.run([program, "-q", str(disk)], check=True)
    assert abs(size_of(str(disk), kind) - (512 << 20)) < (WASTE if kind != "f2fs" else 64 << 20)


def test_growing_is_done_as_each_kind_wants_it(node: Node) -> None:
    system = FileSystem("/dev/x", command=node)
    system.grow("ext4")
    assert node.calls == ["e2fsck -f -p /dev/x", "resize2fs /dev/x"]
    with pytest.raises(NodeError, match="only while it is mounted"):
        system.grow("xfs")
    node.place, node.calls = "/srv", []
    system.grow("xfs")
    system.grow("btrfs")
    system.grow("ext3")
    assert node.calls == ["xfs_growfs /srv", "btrfs filesystem resize max /srv", "resize2fs /dev/x"]
    with pytest.raises(NodeError, match="Unmount /srv"):
        system.grow("f2fs")
