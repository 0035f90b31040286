# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk is restored while others would start its guest, and while the one who restores it is killed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from faults.world import DISK, GUEST, LEG, MOUNT, Watch, World
from lab_tests.helpers import Played, until

pytestmark = pytest.mark.long
WANTED = {"guest": GUEST, "disk": DISK}
LOCK = f"/run/lock/nobloat-restore-{GUEST}"
# Kills who restores as soon as a half says that data are written to it.
KILLER = """place=$(mdadm --examine {path} | sed -n 's/ *Super Offset : \\([0-9]*\\) .*/\\1/p')
until dd if={path} skip=$place count=1 iflag=direct 2>/dev/null | grep -q nbRs; do sleep 0.1; done
kill -9 $(fuser {lock} 2>/dev/null)
"""


def backed_up(world: World) -> tuple[str, str]:
    """An image of the disk as it is now; then the guest writes other data, and is stopped. The node of the image, and its path."""
    world.load.grow(50)
    world.load.stop()
    world.guest.run(f"echo kept > {MOUNT}/kept; sync")
    world.play("backup", mirror_backup_method="blocks", mirror_backup_volume={"vg": "vg0", "size": "600m"}, **WANTED)
    world.guest.run(f"rm {MOUNT}/kept; echo later > {MOUNT}/later; dd if=/dev/urandom of={MOUNT}/records bs=64k count=9; sync")
    node = world.other()
    path = world.lab.box(node).run(f"ls /srv/backup/{LEG}/*/disk.img | tail -1").stdout.strip()
    world.ask("VM.clean_shutdown", world.vm())
    return node, path


@contextmanager
def paused(world: World, node: str, path: str) -> Iterator[Future[Played]]:
    """A restore that compares the backup with its digests for as long as the with block."""
    box = world.lab.box(node)
    box.run(f"mv {path} {path}.real && mkfifo {path}")
    with ThreadPoolExecutor(1) as pool:
        restore = pool.submit(world.run, "restore", overwrite=True, **WANTED)
        try:
            until(lambda: restore.done() or box.run(f"test -e {LOCK} && ! flock -n -s {LOCK} true", check=False).returncode == 0, 120,
                  "the restore has the disk")  # fmt: skip
            assert not restore.done(), restore.result().stdout
            yield restore
        finally:
            # What is opened from now on is the image; what has been opened gets it, too.
            box.run(f"mv {path} {path}.pipe; mv {path}.real {path}; timeout 60 cp {path} {path}.pipe; rm {path}.pipe")


def halted(world: World) -> bool:
    return not world.resident() and not world.guest.running()


def restored(world: World) -> None:
    """The guest runs with the data of the backup, on both halves, and writes on."""
    world.play("site")
    world.ready()
    assert world.guest.run(f"cat {MOUNT}/kept; ls {MOUNT}").stdout.split() == ["kept", "kept", "lost+found", "records"]
    world.load.start(world.guest)
    world.load.grow(20)
    world.whole()
    world.again("site")


def test_a_disk_restore_while_site_runs_on_a_schedule(busy: World) -> None:
    world, watch = busy, Watch()
    node, path = backed_up(world)
    with paused(world, node, path) as restore:
        for _run in range(2):
            told = world.play("site", failing=True)
            assert f"{node} restores a disk of it at this moment" in " ".join(told.stdout.split()), told.stdout
            assert halted(world) and not restore.done()
    runs = []
    while not restore.done():
        runs.append(world.run("site"))
        assert restore.done() or (runs[-1].rc and halted(world)), runs[-1].stdout
    assert restore.result().rc == 0, restore.result().stdout
    restored(world)
    world.note("site.yml on a schedule while a disk is restored", watch())


def test_a_killed_disk_restore(busy: World) -> None:
    world, watch = busy, Watch()
    node, _path = backed_up(world)
    box = world.lab.box(node)
    box.run(f"cat > /run/killer <<'END'\n{KILLER.format(path=f'/dev/mirror/{node}/{LEG}', lock=LOCK)}END\n"
            "systemd-run -q --collect --unit killer sh /run/killer")  # fmt: skip
    world.play("restore", failing=True, overwrite=True, **WANTED)
    told = world.play("site", failing=True)
    assert "restor" in told.stdout and halted(world), told.stdout
    # Whoever was killed is waited for, as nobody told that he is dead.
    until(lambda: world.run("restore", overwrite=True, **WANTED).rc == 0, 240, "another restore has completed it")
    restored(world)
    world.note("a disk restore that is killed", watch())
