# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk is restored while others would start its guest, and while the one who restores it is killed."""

from __future__ import annotations

import pytest

from faults.world import DISK, GUEST, LEG, MOUNT, Watch, World
from lab_tests.helpers import paused, until

pytestmark = pytest.mark.long
WANTED = {"guest": GUEST, "disk": DISK}
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
    with paused(world.lab.box(node), path, GUEST, lambda: world.run("restore", overwrite=True, **WANTED)) as restore:
        for _run in range(2):
            told = world.play("site", failing=True)
            assert f"{node} restores a disk of it at this moment" in " ".join(told.stdout.split()), told.stdout
            assert halted(world) and not restore.done()
    assert restore.result().rc == 0, restore.result().stdout
    restored(world)
    world.note("site.yml on a schedule while a disk is restored", watch())


def test_a_killed_disk_restore(busy: World) -> None:
    world, watch = busy, Watch()
    node, _path = backed_up(world)
    box = world.lab.box(node)
    killer = KILLER.format(path=f"/dev/mirror/{node}/{LEG}", lock=f"/run/nobloat/restore-{GUEST}.lock")
    box.run(f"cat > /run/killer <<'END'\n{killer}END\nsystemd-run -q --collect --unit killer sh /run/killer")
    world.play("restore", failing=True, overwrite=True, **WANTED)
    told = world.play("site", failing=True)
    assert "restor" in told.stdout and halted(world), told.stdout
    # Whoever was killed is waited for, as nobody told that he is dead.
    until(lambda: world.run("restore", overwrite=True, **WANTED).rc == 0, 240, "another restore has completed it")
    restored(world)
    world.note("a disk restore that is killed", watch())
