# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files from a backup: what a guest has linked to the node's own files is not delivered. Real folders, links and tar."""
from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.change import ApplyError
from ansible_collections.nobloat.xen.plugins.module_utils.node import generations
from ansible_collections.nobloat.xen.plugins.module_utils.node.beneath import beneath, fresh
from ansible_collections.nobloat.xen.plugins.module_utils.node.generations import Store, digests, sum_line
from ansible_collections.nobloat.xen.plugins.module_utils.node.md import Arrays
from ansible_collections.nobloat.xen.plugins.module_utils.node.restore import Restore
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError

GENERATION = "20261121T120000Z"


class World:
    """A node with a file of its own, and the backup of a guest whose links lead to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.secrets = root / "node"
        self.secrets.mkdir()
        (self.secrets / "shadow").write_text("of the node")
        self.store = Store(str(root / "backup"), "web1-data", "node1")
        self.files = Path(self.store.partial, "files")
        self.fill(self.files)
        text = [sum_line(total, f"files/{name}") for name, total in sorted(digests(str(self.files)).items())]
        self.store.complete({"generation": GENERATION, "method": "files", "size": 1 << 30}, iter(text))
        self.files = Path(self.store.path(GENERATION, "files"))
        self.archive = root / "archive.tar"

    def fill(self, top: Path) -> None:
        (top / "srv/real").mkdir(parents=True)
        (top / "etc/a,b&c\\d").mkdir(parents=True)
        (top / "srv/real/file").write_text("of the guest")
        (top / "etc/a,b&c\\d/file").write_text("odd")
        (top / "srv/data").symlink_to(self.secrets)
        (top / "srv/real/shadow").symlink_to(self.secrets / "shadow")
        (top / "srv/up").symlink_to("../" * 20 + str(self.secrets).lstrip("/"))
        (top / "srv/near").symlink_to("real")
        os.link(top / "srv/real/file", top / "srv/real/second")

    def restore(self, path: str) -> None:
        asked = Restore({"guest": "web1", "disk": "data", "name": None, "volume": str(self.root / "backup"), "node": "node1",
                         "generation": None, "halves": None, "state": "restored", "owner": None, "overwrite": False,
                         "archive": str(self.archive), "path": path}, Arrays(str(self.root), lambda *_argv, **_more: None))
        try:
            asked.plan(False).apply()
        finally:
            if asked.lock:
                asked.lock.close()

    def unpacked(self) -> Path:
        out = self.root / "out"
        out.mkdir()
        subprocess.run(["tar", "-xf", self.archive, "-C", out], check=True)
        return out


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(generations, "flush", lambda path: None)
    return World(tmp_path)


@pytest.mark.parametrize(("path", "link"), [
    ("/srv/data/shadow", "/srv/data"), ("/srv/data", "/srv/data"), ("/srv/data/../data/shadow", "/srv/data"),
    ("/srv/up/shadow", "/srv/up"), ("/srv/real/shadow", "/srv/real/shadow"), ("/srv/near/file", "/srv/near")])
def test_links_of_the_guest_are_not_followed(world: World, path: str, link: str) -> None:
    with pytest.raises(NodeError, match=f"{link} is a link"):
        world.restore(path)
    assert not world.archive.exists()


@pytest.mark.parametrize("path", ["/srv/data/shadow", "/srv/up/shadow", "/srv/real/shadow"])
def test_nor_are_those_in_an_image(world: World, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no digests of its own: the file system is mounted, and packed from."""
    asked = Restore({"guest": "web1", "disk": "data", "name": None, "volume": str(world.root / "backup"), "node": "node1",
                     "archive": str(world.archive), "path": path, "state": "restored", "generation": None})
    asked.manifest, asked.path, asked.top = asked.store.find(None), path.strip("/"), str(world.files)
    with pytest.raises(NodeError, match="is a link"):
        asked._pack()
    assert os.listdir(world.root) and not world.archive.exists()


def test_a_link_that_appears_after_the_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened is packed, whatever the names lead to by then."""
    real = Restore._found

    @contextmanager
    def found(self: Restore) -> Iterator[Any]:
        with real(self) as there:
            (world.files / "srv/real").rename(world.files / "srv/moved")
            (world.files / "srv/real").symlink_to(world.secrets)
            (world.secrets / "file").write_text("of the node")
            yield there

    asked = Restore({"guest": "web1", "disk": "data", "name": None, "volume": str(world.root / "backup"), "node": "node1",
                     "archive": str(world.archive), "path": "srv/real/file", "state": "restored", "generation": None})
    asked.manifest, asked.path, asked.top = asked.store.find(None), "srv/real/file", str(world.files)
    monkeypatch.setattr(Restore, "_found", found)
    asked._pack()
    assert (world.unpacked() / "srv/real/file").read_text() == "of the guest"


def test_a_folder_with_its_whole_path(world: World) -> None:
    world.restore("/srv/real")
    out = world.unpacked()
    assert sorted(os.listdir(out / "srv/real")) == ["file", "second", "shadow"] and os.listdir(out / "srv") == ["real"]
    assert (out / "srv/real/file").stat().st_ino == (out / "srv/real/second").stat().st_ino
    assert os.readlink(out / "srv/real/shadow") == str(world.secrets / "shadow")


@pytest.mark.parametrize("path", ["/", "/etc/a,b&c\\d/file", "/etc/a,b&c\\d"])
def test_odd_names(world: World, path: str) -> None:
    world.restore(path)
    assert (world.unpacked() / "etc/a,b&c\\d/file").read_text() == "odd"


def test_what_is_packed_has_its_digest(world: World) -> None:
    (world.files / "empty").mkdir()
    with pytest.raises(ApplyError, match="has no file /empty, and none below it"):
        world.restore("/empty")
    (world.files / "etc/added").write_text("by somebody")
    with pytest.raises(ApplyError, match="/etc/added is damaged"):
        world.restore("/etc")
    (world.files / "etc/added").unlink()
    (world.files / "etc/a,b&c\\d/file").write_text("ODD")
    with pytest.raises(ApplyError, match="is damaged"):
        world.restore("/")
    (world.files / "etc/a,b&c\\d/file").unlink()
    with pytest.raises(ApplyError, match="is damaged"):
        world.restore("/etc")
    with pytest.raises(NodeError, match="There is no /srv/none"):
        world.restore("/srv/none")
    with pytest.raises(NodeError, match="There is no /srv/real/file/below"):
        world.restore("/srv/real/file/below")
    assert not world.archive.exists()


def test_beneath(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("here")
    (tmp_path / "a/link").symlink_to("b")
    with beneath(str(tmp_path), "a/b/c") as (folder, name):
        assert os.read(os.open(name, os.O_RDONLY, dir_fd=folder), 9) == b"here"
    for path in ("a/link", "a/link/c"):
        with pytest.raises(NodeError, match="/a/link is a link"), beneath(str(tmp_path), path):
            pass
    opened = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError), beneath(str(tmp_path), "a/none/c"):
        pass
    assert len(os.listdir("/proc/self/fd")) == opened


def test_a_new_file_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "new").symlink_to("precious")
    with open(fresh(str(tmp_path / "new")), "w") as stream:
        stream.write("written")
    assert (tmp_path / "precious").read_text() == "kept" and (tmp_path / "new").read_text() == "written"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["../web1", "a/b", ".partial"])
def test_names_of_legs(tmp_path: Path, name: str) -> None:
    with pytest.raises(NodeError, match="is no name of a leg"):
        Store(str(tmp_path), name, "node1")
