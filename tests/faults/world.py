# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes and a mirrored guest, made by site.yml, and what the tests do to them and ask of them."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from faults.load import Load
from integration.targets.host_playbooks.files.broken_off import kill as kill_with_workers
from lab import description
from lab.errors import LabError
from lab.machine import Box
from lab_tests.helpers import (
    Played,
    Xapi,
    named,
    play,
    playbook_command,
    playbook_environment,
    until,
)

ROOT = Path(__file__).resolve().parents[2]
GUEST = "web1"
DISK = "data"
LEG = f"{GUEST}-{DISK}"
MOUNT = "/srv"
DESCRIPTION = ROOT / "tests/lab/demo.yml"
INVENTORY = ROOT / "inventories/lab"

START = """
- ansible.builtin.import_playbook: nobloat.xen.mirror_look
- hosts: alpha
  gather_facts: false
  module_defaults:
    group/nobloat.xen.all: {hostname: "{{ xapi_hostname }}", password: "{{ xapi_password }}", ca_path: "{{ xapi_ca_path }}"}
  tasks:
    - ansible.builtin.include_role: {name: nobloat.xen.mirror_guard, tasks_from: start}
      vars: {mirror_guard_guests: [{name: web1, host: "{{ start_on }}"}]}
"""


def described(**more: Any) -> dict[str, Any]:
    """The demo's lab, and what is otherwise."""
    return {**yaml.safe_load(DESCRIPTION.read_text(encoding="utf-8")), **more}


class World:
    """A lab, and the load on its guest."""

    def __init__(
        self, name: str, figures: list[str] | None = None, inventories: Sequence[Path] = (INVENTORY,), **more: Any
    ) -> None:
        """`inventories`: who describes it, later ones over earlier ones; `more`: what the lab has besides the demo's."""
        self.lab = named(name)
        self.more = more
        self.inventories = inventories
        self.figures = [] if figures is None else figures
        self.load = Load(f"{MOUNT}/records")
        self.lost = "?"

    def up(self) -> None:
        """Only the machines."""
        self.lab.up(description.parse(described(**self.more)), owned=True)

    # -- what an operator does

    def run(self, playbook: str, *, limit: str = "all", timeout: float = 600, **extra_vars: Any) -> Played:
        """Run a playbook of the collection, whatever comes of it."""
        return play(self.lab, ROOT / f"playbooks/{playbook}.yml", extra_vars=extra_vars, inventories=self.inventories,
                    options=["--limit", limit], timeout=timeout)  # fmt: skip

    def play(self, playbook: str, *, failing: bool = False, **more: Any) -> Played:
        """Run one that has to succeed, or to fail."""
        done = self.run(playbook, **more)
        assert failing == bool(done.rc), done.stdout + done.stderr
        return done

    @contextmanager
    def interrupted(self, playbook: str, *, after: str, kill: bool = False, **extra_vars: Any) -> Iterator[None]:
        """The body of the with block is done once a task of this name has begun; then the playbook ends as it may, or is killed."""
        command = playbook_command(
            self.lab, ROOT / f"playbooks/{playbook}.yml", extra_vars=extra_vars, inventories=self.inventories)
        with subprocess.Popen(command, env=playbook_environment(), text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:  # fmt: skip
            assert process.stdout
            said = []
            for line in process.stdout:
                said.append(line)
                if re.match(rf"TASK \[.*\b{re.escape(after)}", line):
                    break
            else:
                pytest.fail(f"no task {after!r} began:\n{''.join(said)}")
            yield
            if kill:
                kill_with_workers(process)
            process.stdout.read()

    def start(self, node: str, **extra_vars: Any) -> None:
        """Start the guest on a node as role mirror_guest does, guarded."""
        playbook = self.lab.folder / "start.yml"
        playbook.write_text(START, encoding="utf-8")
        done = play(self.lab, playbook, extra_vars={"start_on": node, **extra_vars}, inventories=[INVENTORY])
        assert not done.rc, done.stdout + done.stderr

    def again(self, playbook: str, **extra_vars: Any) -> None:
        """Run one that has done its work: nothing may change."""
        done = self.play(playbook, **extra_vars)
        assert done.changed == 0, done.stdout

    # -- what is

    @property
    def guest(self) -> Box:
        return self.lab.box(GUEST)

    def node(self) -> str:
        """The node that the guest's machine runs on."""
        return self.guest.status.host

    def other(self) -> str:
        """The node that it does not run on."""
        return next(node.name for node in self.lab.description.nodes if node.name != self.node())

    def ask(self, method: str, *args: Any) -> Any:
        """A call of XAPI, by whoever is the coordinator now."""
        return Xapi(self.lab)(method, *args)

    def vm(self) -> str:
        return str(self.ask("VM.get_by_name_label", GUEST)[0])

    def resident(self) -> str:
        """The node that XAPI says it runs on, "" if it is not running."""
        vm = self.ask("VM.get_record", self.vm())
        return str(self.ask("host.get_name_label", vm["resident_on"])) if vm["power_state"] == "Running" else ""

    def restart(self) -> None:
        """Shut the guest down and start it again where it was."""
        node, vm = self.resident(), self.vm()
        host = self.ask("host.get_by_name_label", node)[0]
        self.ask("VM.clean_shutdown", vm)
        self.ask("VM.start_on", vm, host, False, False)
        self.ready()

    def ready(self) -> None:
        """Wait until the guest has its data: with half a mirror, it waits half a minute for the other half first."""
        until(lambda: self.guest.running() and self.guest.run(f"findmnt {MOUNT}", check=False).returncode == 0, 90,
              "the guest has its data again")  # fmt: skip

    def array(self, attribute: str, disk: str = DISK) -> str:
        """From sysfs in the guest: degraded, sync_action, array_state ..."""
        return self.guest.run(f"cat /sys/block/$(basename $(readlink -f /dev/md/{disk}))/md/{attribute}").stdout.strip()

    def degraded(self, disk: str = DISK) -> bool:
        return self.array("degraded", disk) != "0"

    def healthy(self) -> bool:
        """Whether all machines answer, and the guest has both halves."""
        try:
            return all(self.lab.box(node.name).run("true").returncode == 0 for node in self.lab.description.nodes) and not self.degraded()
        except LabError:
            return False

    def size(self) -> int:
        """Of the array, in bytes."""
        return int(self.guest.run(f"blockdev --getsize64 /dev/md/{DISK}").stdout)

    def complete(self, disk: str = DISK) -> None:
        """Wait for the resync, as long as it gets on: how much there is to copy depends on the fault, and how fast on the machine."""
        seen: list[str] = []

        def moved() -> bool:
            before, seen[:] = list(seen), [self.array(attribute, disk) for attribute in ("degraded", "sync_action", "sync_completed")]
            return seen != before

        while seen[:2] != ["0", "idle"]:
            try:
                until(moved, 60, f"the mirror of {disk} is complete")
            except AssertionError as error:
                pytest.fail(f"{error}; degraded, sync_action and sync_completed are {', '.join(seen)}")

    # -- what must be true after each fault

    def whole(self) -> None:
        """Both halves are there and alike, and all that was acknowledged is on each of them. Ends the load."""
        self.load.stop()
        self.complete()
        self.lost = self.load.lost(self.guest)
        assert self.lost == "0"
        nodes = [node.name for node in self.lab.description.nodes]
        blocks = self.size() >> 20
        self.guest.run(f"sync; fsfreeze -f {MOUNT}")
        try:
            sums = {
                self.lab.box(node).run(f"dd if=/dev/mirror/{node}/{LEG} bs=1M count={blocks} iflag=direct 2>/dev/null | sha256sum",
                                       timeout=180).stdout
                for node in nodes
            }  # fmt: skip
        finally:
            self.guest.run(f"fsfreeze -u {MOUNT}")
        assert len(sums) == 1, "the halves differ"
        for node in nodes:
            assert self.alone(node) == "0", f"the half of {node} lacks records"

    def alone(self, node: str) -> str:
        """What is lost when the half of a node is read alone, as a plain file system, with its journal replayed."""
        box = self.lab.box(node)
        group = box.run(f"lvs --noheadings -o vg_name -S lv_name={LEG}").stdout.strip()
        box.run(f"lvcreate -qq -y -s -n backup-alone -L 64m {group}/{LEG} && mkdir -p /run/alone"
                f" && mount -t ext4 /dev/{group}/backup-alone /run/alone")  # fmt: skip
        try:
            return self.load.lost(box, f"/run/alone/{Path(self.load.path).name}")
        finally:
            box.run(f"umount /run/alone; lvremove -qq -y {group}/backup-alone")

    # -- figures

    def note(self, fault: str, seconds: float) -> None:
        """A row for the table at the end: what the load saw, and how long it took until all was well again."""
        load = self.load
        self.figures.append(f"| {fault} | {load.stall:.2f} | {load.count} | {self.lost} | {seconds:.0f} |")
        load.stall, load.count = 0.0, 0


@contextmanager
def made(name: str, figures: list[str], inventories: Sequence[Path] = (INVENTORY,)) -> Iterator[World]:
    """The machines of a world for the length of a with block."""
    world = World(name, figures, inventories)
    world.up()
    try:
        yield world
    finally:
        world.load.stop()
        world.lab.down()


class Watch:
    """Seconds since."""

    def __init__(self) -> None:
        self.begin = time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() - self.begin
