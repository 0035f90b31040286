# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mirrored guest never runs twice and never starts from old data, whatever dies. One story, told in order."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration.targets.host_playbooks.files.broken_off import kill as kill_with_workers
from lab.lab import Lab
from lab_tests.helpers import Played, Xapi, play, playbook_command, playbook_environment, until
from xapisim.launcher import control

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "inventories/lab"
pytestmark = pytest.mark.long
LAB = yaml.safe_load((ROOT / "tests/lab/demo.yml").read_text(encoding="utf-8"))
# What role mirror_guest does to start a guest, for one that is there already.
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


class World:
    """The lab, and what is asked of it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def play(self, playbook: str | Path, check: bool = False, **variables: Any) -> Played:
        return play(self.lab, playbook, extra_vars=variables, check=check, inventories=[INVENTORY], timeout=1800)

    def refused(self, words: str, playbook: str, checks: tuple[bool, ...] = (True, False), **variables: Any) -> None:
        """It fails for this reason, in check mode too, and the guest is where it was."""
        before = self.lab.box("web1").status.host
        for check in checks:
            done = self.play(playbook, check=check, **variables)
            assert done.rc, done.stdout
            assert words in done.stdout, done.stdout
        assert self.lab.box("web1").status.host == before

    def sh(self, machine: str, command: str) -> str:
        return self.lab.box(machine).run(command).stdout.strip()

    def write(self, words: str) -> None:
        self.sh("web1", f"echo '{words}' >>/srv/note; sync -f /srv")

    def read(self) -> list[str]:
        """What is on the guest's mirrored disk, once it is mounted."""
        until(lambda: self.sh("web1", "mountpoint -q /srv && echo yes || true") == "yes", 120, "the disk is mounted")
        return self.sh("web1", "cat /srv/note").splitlines()

    def members(self) -> str:
        """The halves of the mirror: [UU], [U_] ..."""
        return self.sh("web1", "grep -o '\\[[U_]*\\]' /proc/mdstat")

    def xapi(self) -> Xapi:
        return Xapi(self.lab)

    def killed(self, task: str, **variables: Any) -> None:
        """A recovery whose controller dies when this task begins."""
        command = playbook_command(self.lab, "nobloat.xen.node_recover", (), variables, [INVENTORY])
        with subprocess.Popen(command, env=playbook_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              stdin=subprocess.DEVNULL) as process:  # fmt: skip
            assert process.stdout
            said = []
            for line in process.stdout:
                said.append(line)
                if line.startswith("TASK [") and task in line:
                    break
            kill_with_workers(process)
        assert task in said[-1], "".join(said)

    def tags(self, node: str) -> str:
        return self.sh(node, "lvs --noheadings -o lv_tags vg0/web1-data")

    def power_off(self) -> None:
        xapi = self.xapi()
        (vm,) = xapi("VM.get_by_name_label", "web1")
        xapi("VM.hard_shutdown", vm)
        until(lambda: not self.lab.box("web1").running(), 30, "the guest has no power")


@pytest.fixture(scope="module")
def world(lab: Lab) -> Iterator[World]:
    made = World(lab)
    made.play("nobloat.xen.site").ok()
    assert lab.box("web1").status.host == "node1"
    yield made
    assert lab.incidents == []


def test_of_two_operators_one_wins(world: World) -> None:
    world.write("first")
    world.power_off()
    playbook = world.lab.folder / "start.yml"
    playbook.write_text(START, encoding="utf-8")
    command = playbook_command(world.lab, playbook, (), {"start_on": "node2"}, [INVENTORY])
    both = [subprocess.Popen(command, env=playbook_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             stdin=subprocess.DEVNULL) for _each in range(2)]  # fmt: skip
    said = [operator.communicate(timeout=1800)[0] for operator in both]
    codes = [operator.returncode for operator in both]
    assert sorted(map(bool, codes)) == [False, True], said
    loser = said[codes.index(max(codes))]
    told = ("somebody else", "has been starting it", "has had the lease", "has got lost to", "under way", "It runs on", "is running on")
    assert any(words in loser for words in told), loser
    until(lambda: world.lab.box("web1").running(), 60, "it runs")
    assert world.lab.box("web1").status.host == "node2"
    assert world.read() == ["first"]


def test_a_node_that_does_not_answer_may_run_it(world: World) -> None:
    world.lab.isolate("node2")
    world.refused("node2 does not answer, so the guest may be running there", START, start_on="node1")
    world.refused("may still run its guests", "nobloat.xen.node_recover", node="node2")
    world.lab.rejoin("node2")
    assert world.lab.box("web1").running()
    world.refused("so it is not dead", "nobloat.xen.node_recover", node="node2", assume_dead=["node2"])


def test_a_power_cut_of_its_node(world: World) -> None:
    world.play("nobloat.xen.node_return", node="node2").ok()  # the mirror has lost the half that it could not reach
    assert world.members() == "[UU]"
    world.write("second")
    world.lab.kill(["node2"])
    world.play("nobloat.xen.node_recover", check=True, node="node2", assume_dead=["node2"]).ok()
    assert not world.lab.box("web1").running()
    world.play("nobloat.xen.node_recover", node="node2", assume_dead=["node2"]).ok()
    assert world.lab.box("web1").status.host == "node1"
    assert world.read() == ["first", "second"]
    assert "_" in world.members()
    world.write("third")
    again = world.play("nobloat.xen.node_recover", node="node2", assume_dead=["node2"]).ok()
    assert again.changed == 0


def test_the_node_is_back(world: World) -> None:
    world.lab.start(["node2"])
    world.play("nobloat.xen.node_return", check=True, node="node2").ok()
    assert "_" in world.members()
    world.play("nobloat.xen.node_return", node="node2").ok()
    assert world.members() == "[UU]"
    assert world.play("nobloat.xen.node_return", node="node2").ok().changed == 0
    assert world.read() == ["first", "second", "third"]


def test_an_older_half_is_refused_and_the_newer_one_chosen(world: World) -> None:
    """Node 2 misses a write, then node 1 dies with the coordinator, and node 2 is alone with old data."""
    world.lab.kill(["node2"])
    until(lambda: "_" in world.members(), 60, "the mirror has lost a half")
    world.write("fourth")
    world.lab.kill(["node1"])
    world.lab.start(["node2"])
    # Check mode cannot give the pool another coordinator to ask.
    world.refused("node2 has booted since", "nobloat.xen.node_recover", (False,), node="node1", assume_dead=["node1"])
    assert not world.lab.box("web1").running()
    world.lab.start(["node1"])
    world.play(START, start_on="node1").ok()
    assert world.read() == ["first", "second", "third", "fourth"]
    world.play("nobloat.xen.node_return", node="node2").ok()
    assert world.members() == "[UU]"
    assert world.read() == ["first", "second", "third", "fourth"]
    halves = [json.loads(world.sh(node, "lvs --reportformat json -o lv_tags vg0/web1-data"))["report"][0]["lv"][0]["lv_tags"]
              for node in ("node1", "node2")]
    assert all(":synced=" in tags for tags in halves), halves


def test_a_recovery_that_fails_or_is_killed_is_resumed(world: World) -> None:
    """Once the pool was told, it does not call the guest running any more: only the lease knows that it has to be started."""
    words = world.read()
    guest = world.lab.box("web1")
    dead = guest.status.host
    rest = {"node1": "node2", "node2": "node1"}[dead]
    world.lab.kill([dead])
    control(world.lab.xapi or {}, "fail", pool="alpha", method="VM.start_on", times=1, error=["HOST_NOT_ENOUGH_FREE_MEMORY", "1", "0"])
    failed = world.play("nobloat.xen.node_recover", node=dead, fenced=[dead])
    assert failed.rc and not guest.running(), failed.stdout
    assert f":recovering={dead}" in world.tags(rest) and ":released:" in world.tags(rest)
    world.play("nobloat.xen.node_recover", node=dead, fenced=[dead]).ok()
    assert guest.status.host == rest and "recovering" not in world.tags(rest)
    assert world.read() == words
    world.lab.start([dead])
    world.play("nobloat.xen.node_return", node=dead).ok()
    assert world.members() == "[UU]"

    dead, rest = rest, dead
    world.lab.kill([dead])
    world.killed("Take away the lost legs", node=dead, fenced=[dead])
    assert not guest.running() and f":recovering={dead}" in world.tags(rest)
    # Whoever comes too early is told so; it is no success.
    assert world.play("nobloat.xen.node_recover", node=dead, fenced=[dead]).rc
    world.play("nobloat.xen.node_recover", node=dead, fenced=[dead], mirror_guard_lease_time=1).ok()
    assert guest.status.host == rest and world.read() == words
    assert world.play("nobloat.xen.node_recover", node=dead, fenced=[dead]).ok().changed == 0
    world.lab.start([dead])
    world.play("nobloat.xen.node_return", node=dead).ok()
    assert world.members() == "[UU]"
