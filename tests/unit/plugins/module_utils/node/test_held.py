# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who writes to a device holds it. The device is a file, and the kernel's claim on it an error of open()."""
from __future__ import annotations

import errno
import inspect
import os
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.node import held as held_module
from ansible_collections.nobloat.xen.plugins.module_utils.node.block import Blocks
from ansible_collections.nobloat.xen.plugins.module_utils.node.held import Held, flock, lock_path, locked
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError

pytestmark = pytest.mark.usefixtures("cached")


class Disk(Blocks):
    """One device, which `used` has the users of, look by look; the last one stays."""

    def __init__(self, root: Path, *used: list[str]) -> None:
        super().__init__(str(root))
        self.used = list(used) or [[]]
        self.path = str(root / "leg")
        (root / "leg").write_bytes(bytes(8192))

    def number(self, path: str) -> str:
        return "254:0"

    def users(self, path: str, opened: Any = None) -> list[str]:
        return self.used.pop(0) if len(self.used) > 1 else self.used[0]

    def exported(self) -> None:
        backstore = Path(self.root, "sys/kernel/config/target/core/iblock_0/web1-data")
        backstore.mkdir(parents=True)
        (backstore / "udev_path").write_text("/dev/vg0/web1-data\n")


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The kernel has a claim on the device. What was tried is noted."""
    tried: list[int] = []
    real = os.open

    def fake(path: str, flags: int, *more: Any, **options: Any) -> int:
        if str(path).endswith("/leg"):
            tried.append(flags)
            if flags & os.O_EXCL:
                raise OSError(errno.EBUSY, "Device or resource busy")
        return real(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", fake)
    return tried


def held(blocks: Disk) -> Held:
    return Held(blocks.path, blocks, lambda _seconds: None)


def test_held_and_written(tmp_path: Path) -> None:
    blocks = Disk(tmp_path)
    with held(blocks) as device:
        device.write(512, b"x" * 512)
        assert device.read(0, 1024) == bytes(512) + b"x" * 512
    assert (tmp_path / "leg").read_bytes()[512:1024] == b"x" * 512


def test_what_the_kernel_has_claimed_is_not_written(tmp_path: Path, claimed: list[int]) -> None:
    with pytest.raises(NodeError, match=r"leg is used by device md127\. Nothing was written"):
        held(Disk(tmp_path, ["device md127"]))
    with pytest.raises(NodeError, match="does not say for what"):
        held(Disk(tmp_path))
    assert all(flags & os.O_EXCL for flags in claimed)


def test_the_claim_of_our_own_export_keeps_all_others_away(tmp_path: Path, claimed: list[int]) -> None:
    blocks = Disk(tmp_path)
    blocks.exported()
    with held(blocks) as device:
        device.write(0, b"y" * 512)
    assert [bool(flags & os.O_EXCL) for flags in claimed] == [True, False]
    blocks.used = [["guest domain 7"]]  # which claims nothing
    with pytest.raises(NodeError, match="guest domain 7"):
        held(blocks)


def test_who_only_looks_at_a_new_device_is_no_user(tmp_path: Path) -> None:
    with held(Disk(tmp_path, ["process 7 (blkid)"], [])):
        pass
    with pytest.raises(NodeError, match=r"process 8 \(dd\)"):
        held(Disk(tmp_path, ["process 7 (blkid)", "process 8 (dd)"], ["process 8 (dd)"]))


def test_users_that_come_later(tmp_path: Path) -> None:
    blocks = Disk(tmp_path)
    with held(blocks) as device:
        device.check()
        blocks.used = [["guest domain 7"]]
        with pytest.raises(NodeError, match="guest domain 7"):
            device.check()


def test_a_lock_ends_with_who_has_it(tmp_path: Path) -> None:
    path = lock_path(str(tmp_path), "lease-a/../b c")
    assert path == str(tmp_path / "run/nobloat/lease-a_.._b_c.lock")
    assert not locked(path)
    stream = flock(path, "busy")
    assert locked(path)
    with pytest.raises(NodeError, match="busy"):
        flock(path, "busy", 0.2)
    stream.close()
    assert not locked(path)
    flock(path, "busy").close()
    assert os.stat(path).st_mode & 0o777 == 0o600 and os.stat(tmp_path / "run/nobloat").st_mode & 0o777 == 0o700


def test_a_lock_follows_no_link_and_empties_no_file(tmp_path: Path) -> None:
    path, precious = lock_path(str(tmp_path), "x"), tmp_path / "precious"
    precious.write_text("data")
    flock(path, "busy").close()
    Path(path).write_text("data")
    flock(path, "busy").close()
    assert Path(path).read_text() == "data"
    os.unlink(path)
    for target in (precious, tmp_path / "new"):
        os.symlink(target, path)
        with pytest.raises(NodeError, match="cannot be opened"):
            flock(path, "busy")
        assert not locked(path) and precious.read_text() == "data" and not (tmp_path / "new").exists()
        os.unlink(path)


def test_the_folder_of_locks_is_ours_alone(tmp_path: Path) -> None:
    folder, path = tmp_path / "run/nobloat", lock_path(str(tmp_path), "x")
    folder.mkdir(0o777, parents=True)
    folder.chmod(0o777)
    flock(path, "busy").close()
    assert folder.stat().st_mode & 0o777 == 0o700
    os.rename(folder, tmp_path / "other")
    for make in (lambda: os.symlink(tmp_path / "other", folder), folder.touch):
        make()
        with pytest.raises(NodeError, match="is no folder of root's own"):
            flock(path, "busy")
        folder.unlink()
    assert sorted(entry.name for entry in (tmp_path / "other").iterdir()) == ["x.lock"]
    if os.geteuid() == 0:
        folder.mkdir()
        os.chown(folder, 65534, -1)
        with pytest.raises(NodeError, match="is no folder of root's own"):
            flock(path, "busy")


def test_nothing_that_runs_on_nodes_lies_where_others_make_files() -> None:
    """Whoever may make files in a folder may make links there, too."""
    shared = re.compile(r"[\"'/ ](run/lock|var/lock|tmp|var/tmp|dev/shm)/")
    folder = Path(inspect.getsourcefile(held_module) or "").parent
    sources = {path.name: path.read_text() for path in folder.glob("*.py")}
    assert len(sources) > 20
    assert {name: shared.findall(text) for name, text in sources.items() if shared.search(text)} == {}
