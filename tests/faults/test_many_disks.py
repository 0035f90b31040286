# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest with seven mirrored disks, 14 legs: those of the dead node go, and come back to other positions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from faults.world import DISK, GUEST, INVENTORY, Watch, World, made
from lab_tests.helpers import until

MORE = [f"d{number}" for number in range(2, 8)]
DISKS = [DISK, *MORE]


@pytest.fixture
def many(figures: list[str], tmp_path: Path) -> Iterator[World]:
    """A lab like the demo's, whose guest has six small disks more, each with a file."""
    described = yaml.safe_load((INVENTORY / "host_vars/alpha.yml").read_text(encoding="utf-8"))["mirror_guest_list"]
    described[0]["disks"] += [{"name": disk, "size": "16MiB", "filesystem": "ext4", "mount": f"/mnt/{disk}"} for disk in MORE]
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/alpha.yml").write_text(yaml.safe_dump({"mirror_guest_list": described}), encoding="utf-8")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {alpha: {}}}\n", encoding="utf-8")
    with made("faults-many", figures, inventories=[INVENTORY, tmp_path]) as world:
        world.play("site")
        for disk in MORE:
            write(world, disk, "before")
        yield world


def write(world: World, disk: str, name: str) -> None:
    """A file on one of the disks, and on the guest's own what it has to be."""
    path = f"/mnt/{disk}/{name}"
    world.guest.run(f"head -c 1M /dev/urandom >{path} && sync -f {path} && sha256sum {path} >>/root/sums && sync")


def positions(world: World) -> set[int]:
    """Of the legs that the guest has, by what XAPI says."""
    vbds = world.ask("VBD.get_all_records_where", f'field "VM" = "{world.vm()}"').values()
    return {int(vbd["userdevice"]) for vbd in vbds if world.ask("VDI.get_location", vbd["VDI"]).startswith("/dev/mirror/")}


@pytest.mark.long
def test_power_cut_with_seven_mirrored_disks(many: World) -> None:
    world, watch = many, Watch()
    gone, rest = world.node(), world.other()
    before = positions(world)
    assert len(before) == 2 * len(DISKS)
    world.load.start(world.guest)
    world.load.grow(50)
    world.lab.kill([gone])
    world.load.stop()
    world.play("node_recover", node=gone, assume_dead=[gone])
    assert world.resident() == rest == world.node()
    world.ready()
    mounted = " && ".join(f"findmnt /mnt/{disk}" for disk in MORE)
    until(lambda: world.guest.run(mounted, check=False).returncode == 0, 90, "the guest has the data of all its disks again")
    assert len(positions(world)) == len(DISKS)
    assert [disk for disk in DISKS if not world.degraded(disk)] == []
    world.load.start(world.guest)
    for disk in MORE:
        write(world, disk, "alone")
    world.lab.start([gone])
    world.play("node_return", node=gone)
    world.load.grow(50)
    for disk in MORE:
        world.complete(disk)
        assert same(world, disk), f"the halves of {disk} differ"
    world.whole()
    assert world.guest.run("sha256sum --quiet -c /root/sums").stdout == ""
    assert len(positions(world)) == 2 * len(DISKS)
    world.again("node_return", node=gone)
    world.play("site")  # starts what ran there and is not mirrored
    world.again("site")
    world.note("power cut of the node that holds a guest with seven mirrored disks", watch())


def same(world: World, disk: str) -> bool:
    """Whether both halves have the same data, as far as the array reaches."""
    blocks = int(world.guest.run(f"blockdev --getsize64 /dev/md/{disk}").stdout) >> 12
    world.guest.run(f"sync; fsfreeze -f /mnt/{disk}")
    try:
        return len({world.lab.box(node.name).run(
            f"dd if=/dev/mirror/{node.name}/{GUEST}-{disk} bs=4k count={blocks} iflag=direct 2>/dev/null | sha256sum").stdout
            for node in world.lab.description.nodes}) == 1  # fmt: skip
    finally:
        world.guest.run(f"fsfreeze -u /mnt/{disk}")
