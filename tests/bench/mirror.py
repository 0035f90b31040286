# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirrors on real kernels: what RAID1 over two nodes costs, how long writes wait when a node dies, how long a resync takes,
and site.yml by the number of nodes. The disks are files of this machine, and so are the networks: ratios count."""
from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial

from bench.measure import clock, table
from faults.world import DISK, MOUNT, World
from lab.machine import Box
from lab_tests.helpers import until

JOBS = {  # name: options of fio, what is told, unit
    "sequential read, 1 MiB": ("--rw=read --bs=1M --iodepth=4", "read", "bw_bytes"),
    "sequential write, 1 MiB": ("--rw=write --bs=1M --iodepth=4", "write", "bw_bytes"),
    "random read, 4 KiB, 16 at a time": ("--rw=randread --bs=4k --iodepth=16", "read", "iops"),
    "random write, 4 KiB, 16 at a time": ("--rw=randwrite --bs=4k --iodepth=16", "write", "iops"),
    "write and fsync, 4 KiB, one by one": ("--rw=randwrite --bs=4k --iodepth=1 --fsync=1", "write", "iops"),
}
# `timeouts`: replacement_timeout, noop_interval, noop_timeout
FULL = {"nodes": [2, 4, 8], "seconds": 5, "timeouts": [(1, 1, 1), (5, 2, 2), (15, 5, 5)]}
TINY = {"nodes": [2], "seconds": 1, "timeouts": [(1, 1, 1)]}


def fio(box: Box, device: str, job: str, seconds: int) -> float:
    """Bytes or operations per second."""
    options, kind, unit = JOBS[job]
    said = box.run(f"fio --name=x --filename={device} --direct=1 --ioengine=libaio --time_based --runtime={seconds} --size=200M"
                   f" --output-format=json {options}", timeout=120).stdout
    return float(json.loads(said[said.index("{"):])["jobs"][0][kind][unit])


def devices(world: World) -> tuple[str, str]:
    """The local and the remote half in the guest: the remote one is write-mostly."""
    said = world.guest.run(
        f"cd /sys/block/$(basename $(readlink -f /dev/md/{DISK}))/md;"
        " for each in dev-*; do echo ${each#dev-} $(cat $each/state); done").stdout
    halves = {line.split()[0]: "write_mostly" in line for line in said.splitlines()}
    local, remote = sorted(halves, key=lambda name: halves[name])
    return f"/dev/{local}", f"/dev/{remote}"


def throughput(world: World, seconds: int) -> None:
    """Destroys the guest's data: comes last."""
    local, remote = devices(world)
    box = world.guest
    box.run(f"umount {MOUNT}; array=$(readlink -f /dev/md/{DISK}); mdadm --stop $array; mdadm --zero-superblock {local} {remote}")
    found = {name: [fio(box, device, name, seconds) for device in (local, remote)] for name in JOBS}
    box.run(f"mdadm --create /dev/md/bench --run --assume-clean --level=1 --metadata=1.0 --bitmap=internal --raid-devices=2"
            f" --failfast {local} --write-mostly {remote}")
    rows = []
    for name, (one, other) in found.items():
        both = fio(box, "/dev/md/bench", name, seconds)
        unit = (lambda value: f"{value / (1 << 20):.0f} MiB/s") if JOBS[name][2] == "bw_bytes" else (lambda value: f"{value:.0f}/s")
        rows.append([name, unit(one), unit(other), unit(both), f"{both / one:.2f}", f"{both / other:.2f}"])
    table("RAID1 over two nodes", ["", "local leg", "remote leg", "mirror", "of local", "of remote"], rows)


def resync(world: World) -> None:
    """After 30 MiB of changes with the bitmap, and in full."""
    _local, remote = devices(world)
    box, array = world.guest, f"/dev/md/{DISK}"

    def synced() -> None:
        until(lambda: not world.degraded() and world.array("sync_action") == "idle", 600, "in sync")

    box.run(f"mdadm {array} --fail {remote} && sleep 1 && mdadm {array} --remove {remote}")
    box.run(f"dd if=/dev/urandom of={MOUNT}/changes bs=1M count=30 conv=fsync 2>/dev/null")
    box.run(f"mdadm {array} --re-add {remote}")
    partly, _none = clock(synced)
    box.run(f"mdadm {array} --fail {remote} && sleep 1 && mdadm {array} --remove {remote} && mdadm --zero-superblock {remote}"
            f" && mdadm {array} --add --write-mostly --failfast {remote}")  # as md_mirror adds it
    fully, _none = clock(synced)
    table("Resync", ["what", "seconds", "of full"], [
        [f"bitmap, 30 MiB changed of {world.size() >> 20}", f"{partly:.2f}", f"{partly / fully:.2f}"],
        ["full", f"{fully:.2f}", "1.00"]])


def stalls(world: World, timeouts: Sequence[tuple[int, int, int]]) -> None:
    """The longest write when the remote node loses its power, by the time-outs of the imports."""
    rows = []
    for replacement, interval, timeout in timeouts:
        world.play("site", mirror_import_replacement_timeout=replacement, mirror_import_noop_interval=interval,
                   mirror_import_noop_timeout=timeout)
        world.guest.run("sync")
        world.restart()  # its sessions take the time-outs over with a login
        gone = world.other()
        world.load.start(world.guest)
        world.load.grow(50)
        world.lab.kill([gone])
        until(world.degraded, 120, "the mirror has lost its half")
        world.load.grow(20)
        world.load.stop()
        rows.append([f"{replacement}, {interval}, {timeout}", f"{replacement + interval + timeout}", f"{world.load.stall:.1f}"])
        world.load.stall = 0.0
        world.lab.start([gone])
        world.play("node_return", node=gone)
    table("Longest write when a node dies", ["replacement, no-op interval, no-op time-out", "their sum, s", "measured, s"], rows)


def growing(numbers: Sequence[int]) -> None:
    rows = []
    for nodes in numbers:
        world = World(f"bench-nodes-{nodes}", nodes=nodes)
        world.up()
        try:
            first, _played = clock(partial(world.play, "site"))
            second, _none = clock(partial(world.again, "site"))
        finally:
            world.lab.down()
        rows.append([str(nodes), f"{first:.0f}", f"{second:.0f}"])
    base = float(rows[0][1])
    table("site.yml by the number of nodes", ["nodes", "first run, s", "of two nodes", "second run, s"],
          [[nodes, first, f"{float(first) / base:.2f}", second] for nodes, first, second in rows])


def main(nodes: Sequence[int], seconds: int, timeouts: Sequence[tuple[int, int, int]]) -> None:
    world = World("bench")
    world.up()
    try:
        world.play("site")
        time.sleep(2)
        resync(world)
        stalls(world, timeouts)
        throughput(world, seconds)
    finally:
        world.load.stop()
        world.lab.down()
    growing(nodes)
