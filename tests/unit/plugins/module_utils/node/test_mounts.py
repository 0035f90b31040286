# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file systems of guests the node's kernel gets, and how. The real e2fsck works on images; nothing is mounted."""
from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.node.mounts import KINDS, Mounts, ext_clean
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import CommandError, NodeError, Result

DIRTY_LOG = "xfs_logprint:\n    data device: 0xfe00\n    log tail: 2 head: 40 state: <DIRTY>\n"


class Node:
    """What runs on a node, and what it says."""

    def __init__(self, **says: str) -> None:
        self.says = says
        self.calls: list[list[str]] = []

    def __call__(self, *argv: str, **_options: Any) -> Result:
        self.calls.append(list(argv))
        if argv[0] in self.says and self.says[argv[0]] is None:
            raise CommandError(argv, 32, "refused")
        return Result(0, self.says.get(argv[0], ""), "")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An ext4 file system with a file whose last write is in its journal only, as a power cut leaves it."""
    if not shutil.which("debugfs") or not shutil.which("mke2fs"):
        pytest.skip("there is no e2fsprogs on this machine")
    (tmp_path / "content").mkdir()
    (tmp_path / "content/file").write_text("x" * 4096)
    path = tmp_path / "image"
    # Features of any e2fsck; the block that is in the journal is one of the file's.
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum", "-d", tmp_path / "content", path, "8M"], check=True)
    told = subprocess.run(["debugfs", "-R", "blocks /file", path], check=True, capture_output=True, text=True).stdout
    (tmp_path / "block").write_bytes(b"replayed" * 128)
    subprocess.run(["debugfs", "-w", "-f", "-", path], check=True, capture_output=True, text=True,
                   input=f"jo\njw -b {told.split()[0]} {tmp_path / 'block'}\njc\n")
    return path


def content(path: Path) -> bytes:
    return subprocess.run(["debugfs", "-R", "cat /file", path], check=True, capture_output=True).stdout


def poke(path: Path, offset: int, form: str, value: int) -> None:
    """Change a field of the superblock."""
    with path.open("r+b") as stream:
        stream.seek(1024 + offset)
        stream.write(struct.pack(form, value))


def test_the_journal_is_replayed_by_e2fsck(image: Path) -> None:
    node = Node()
    assert not ext_clean(str(image)) and not content(image).startswith(b"replayed")
    Mounts(node).clean(str(image), "ext4")
    assert ext_clean(str(image)) and content(image).startswith(b"replayed")
    assert node.calls == []  # nothing else was needed, and no kernel


def test_what_e2fsck_cannot_mend_alone_is_refused(image: Path) -> None:
    with image.open("r+b") as stream:
        stream.seek(1024 + 1024)  # the group descriptors
        stream.write(b"\xff" * 2048)
    with pytest.raises(NodeError, match="was in use and not frozen, and cannot be made clean: e2fsck failed"):
        Mounts(Node()).clean(str(image), "ext4")


def test_a_journal_elsewhere_is_refused(image: Path) -> None:
    """The guest has chosen where; e2fsck would look for it among the devices of the node."""
    poke(image, 0xE0, "<I", 0)
    with pytest.raises(NodeError, match=r"journal of the file system .* is on another device"):
        Mounts(Node()).clean(str(image), "ext4")


@pytest.mark.parametrize(("offset", "form", "value"), [(0x3A, "<H", 3), (0x3A, "<H", 0)])
def test_known_errors_are_not_clean(image: Path, offset: int, form: str, value: int) -> None:
    Mounts(Node()).clean(str(image), "ext4")
    poke(image, offset, form, value)
    assert not ext_clean(str(image))


def test_what_is_no_file_system(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x")
    (tmp_path / "zeros").write_bytes(bytes(4096))
    for name in ("short", "zeros"):
        with pytest.raises(NodeError, match="no superblock"):
            ext_clean(str(tmp_path / name))
    for kind, words in (("", "no file system on the leg"), ("btrfs", "the file system btrfs on the leg")):
        with pytest.raises(NodeError, match=words):
            Mounts(Node()).clean("/dev/leg", kind)


def test_the_log_of_xfs_is_replayed_by_nobody() -> None:
    with pytest.raises(NodeError, match="xfs was in use and not frozen"):
        Mounts(Node(xfs_logprint=DIRTY_LOG)).clean("/dev/leg", "xfs")
    Mounts(Node(xfs_logprint=DIRTY_LOG.replace("DIRTY", "CLEAN"))).clean("/dev/leg", "xfs")
    frozen = Node(xfs_logprint=DIRTY_LOG)
    Mounts(frozen).clean("/dev/leg", "xfs", frozen=True)
    assert frozen.calls == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_only_reads(tmp_path: Path, kind: str) -> None:
    node, point = Node(), tmp_path / "point"
    mounts = Mounts(node)
    mounts.mount("/dev/leg", str(point), kind)
    [call] = node.calls
    options = call[call.index("-o") + 1].split(",")
    assert {"ro", "nodev", "nosuid", "noexec"} <= set(options) and "rw" not in options
    assert {"ext2": "errors=continue", "xfs": "norecovery"}.get(kind, "noload") in options
    assert kind == "xfs" or "errors=continue" in options
    mounts.unmount()
    assert node.calls[1:] == [["umount", str(point)]] and not point.exists()


def test_nothing_is_left_of_a_mount_that_fails(tmp_path: Path) -> None:
    mounts = Mounts(Node(mount=None))  # type: ignore[arg-type]
    with pytest.raises(NodeError, match="refused"):
        mounts.mount("/dev/leg", str(tmp_path / "point"), "ext4")
    assert not (tmp_path / "point").exists() and mounts.points == []
