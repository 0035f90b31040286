# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that are taken away on purpose."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from faults.world import DISK, GUEST, INVENTORY, Watch, World
from lab.errors import LabError
from lab_tests.helpers import play, until

BOOT = "cat /proc/sys/kernel/random/boot_id"
# As docs/mirror.md has it.
REBOOT = """
- hosts: alpha
  gather_facts: false
  module_defaults:
    group/nobloat.xen.all:
      hostname: "{{ xapi_hostname }}"
      password: "{{ xapi_password }}"
      ca_path: "{{ xapi_ca_path | default(omit) }}"
  tasks:
    - name: How are the mirrors?
      ansible.builtin.include_role:
        name: nobloat.xen.mirror_facts
        tasks_from: status

    - name: Reboot
      nobloat.xen.host_power:
        name: "{{ host }}"
        state: restarted
        force: "{{ force }}"
        mirrors: "{{ mirror_facts_status }}"
"""
ROLLING = {"limit": "alpha", "rolling_update_reboot": "always", "rolling_update_method": "plugin"}


class Halves:
    """Looks, as long as a with block runs, at which nodes have power and whether the mirror is whole."""

    def __init__(self, world: World) -> None:
        self.world, self.wrong = world, list[str]()
        self.down: list[str] = []  # in the order in which they went
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Halves:
        self.thread.start()
        return self

    def __exit__(self, *_error: Any) -> None:
        self.ended.set()
        self.thread.join()

    def _watch(self) -> None:
        nodes = [node.name for node in self.world.lab.description.nodes]
        before = {node: self._process(node) for node in nodes}
        whole = True  # seen since the last node came back; a node that shuts down stops its exports before it ends
        while not self.ended.wait(0.1):
            now = {node: self._process(node) for node in nodes}
            for node in nodes:
                if before[node] and now[node] != before[node]:
                    self.down.append(node)
                    if not whole:
                        self.wrong.append(f"{node} went down before the half of the other one had come back")
                    whole = False
            if not any(now.values()):
                self.wrong.append("all nodes are down")
            before = now
            try:
                whole = whole or (all(now.values()) and not self.world.degraded() and self.world.array("sync_action") == "idle")
            except LabError:
                continue  # the guest moves

    def _process(self, node: str) -> str:
        """Which one the machine is, as long as it has power: it may be off for less than a moment."""
        box = self.world.lab.box(node)
        try:
            return box.record.read_text(encoding="ascii") if box.running() else ""
        except FileNotFoundError:
            return ""


@pytest.mark.long
def test_rolling_update_of_both_nodes(busy: World) -> None:
    world, watch = busy, Watch()
    nodes = [node.name for node in world.lab.description.nodes]
    home, boots = world.node(), [world.lab.box(node).run(BOOT).stdout for node in nodes]
    with Halves(world) as halves:
        world.play("rolling_update", timeout=1800, **ROLLING)
    assert halves.wrong == []
    assert sorted(halves.down) == nodes, "each of them was rebooted once"
    assert world.node() == world.resident() == home
    assert not {world.lab.box(node).run(BOOT).stdout for node in nodes} & set(boots)
    world.load.grow(50)
    world.whole()
    world.note("rolling update of both nodes", watch())


@pytest.mark.long
def test_a_node_with_the_last_half_stays_up(busy: World) -> None:
    world, watch, gone, rest = busy, Watch(), busy.other(), busy.node()
    boot = world.lab.box(rest).run(BOOT).stdout
    world.lab.kill([gone])
    until(world.degraded, 30, "the mirror has lost its half")
    world.load.grow(50)
    for step in ("while the other one is off", "while its half is old"):
        for check in (True, False):
            told = play(world.lab, REBOOT, extra_vars={"host": rest, "force": True}, inventories=[INVENTORY], check=check)
            assert told.rc and f"{GUEST}, disk {DISK}: that on {gone}" in told.stdout, step + told.stdout + told.stderr
        world.lab.start([gone])
    told = world.play("host_remove", failing=True, host=rest)
    assert f"node_retire -e node={rest}" in told.stdout
    assert world.ask("host.get_enabled", world.ask("host.get_by_name_label", rest)[0])
    # The one whose half is old may go, and it is given the half back when it has returned.
    play(world.lab, REBOOT, extra_vars={"host": gone, "force": False}, inventories=[INVENTORY]).ok()
    world.play("node_return", node=gone)
    assert world.lab.box(rest).run(BOOT).stdout == boot and world.resident() == rest
    world.load.grow(50)
    world.whole()
    world.note("reboot of the node with the last half is refused", watch())
