# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest ansible-core does the jobs of mirrors on nodes whose only Python is 3.6: from bare nodes to a guest, backup and restore,
growth, a node's death and return. What is asserted is read on the machines."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.lab import Lab
from lab_tests.helpers import Played, booted, play, until
from lab_tests.old_python import give, python36, with_python

ROOT = Path(__file__).resolve().parents[2]
DEMO = yaml.safe_load((ROOT / "tests/lab/demo.yml").read_text(encoding="utf-8"))
BACKUP = {"mirror_backup_volume": {"vg": "vg0", "size": "400m"}}


class World:
    """The lab, and what is asked of it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def play(self, name: str, **variables: Any) -> Played:
        return play(self.lab, f"nobloat.xen.{name}", extra_vars=variables, inventories=[ROOT / "inventories/lab"], timeout=1800).ok()

    def sh(self, machine: str, command: str) -> str:
        return self.lab.box(machine).run(command).stdout.strip()

    def mirror(self) -> str:
        return self.sh("web1", "grep -o '\\[[U_]*\\]' /proc/mdstat")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    python = python36()
    with booted("old-python", **with_python(DEMO, python)) as lab:
        give(lab, python)
        made = World(lab)
        made.play("site")
        yield made
        assert lab.incidents == []


def test_the_interpreter_is_one_that_this_core_refuses(world: World) -> None:
    asked = "- hosts: node1\n  gather_facts: false\n  tasks: [{ansible.builtin.ping: {}}]\n"
    assert play(world.lab, asked).rc, "else this file proves nothing"


def test_site(world: World) -> None:
    assert world.mirror() == "[UU]"
    assert world.play("site").changed == 0
    assert world.sh("node1", "ls /run/nobloat.xen | wc -l") == "1"


@pytest.mark.long
def test_backup_and_restore_of_a_file(world: World) -> None:
    world.sh("web1", "mkdir -p /srv/etc; head -c 2000000 /dev/urandom > /srv/etc/random; sync; sha256sum < /srv/etc/random > /root/sum")
    world.play("backup", mirror_backup_method="files", **BACKUP)
    assert world.sh("node2", "findmnt -no FSTYPE /srv/backup; ls /srv/backup/web1-data | wc -l") == "ext4\n1"
    world.sh("web1", "echo spoilt > /srv/etc/random; sync")
    world.play("restore", guest="web1", disk="data", file="/etc/random", destination="/srv", overwrite=True)
    assert world.sh("web1", "sha256sum < /srv/etc/random") == world.sh("web1", "cat /root/sum")
    assert world.sh("node2", "ls /srv/backup | grep -c tar || true") == "0"


@pytest.mark.long
def test_growth(world: World) -> None:
    before = int(world.sh("web1", "df --output=size -B1 /srv | tail -1"))
    world.play("guest_grow", guest="web1", disk="data", size="640MiB")
    assert int(world.sh("web1", "df --output=size -B1 /srv | tail -1")) - before > 100 << 20
    assert world.mirror() == "[UU]"


@pytest.mark.long
def test_a_node_dies_and_returns(world: World) -> None:
    world.lab.kill(["node1"])
    world.play("node_recover", node="node1", fenced=["node1"])
    until(lambda: world.lab.box("web1").status.host == "node2" and "_" in world.mirror(), 120, "the guest runs on the other node")
    world.lab.start(["node1"], booted=True)
    world.play("node_return", node="node1")
    until(lambda: world.mirror() == "[UU]", 120, "the mirror is whole")
