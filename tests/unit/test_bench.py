# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be seen of the measurements without measuring. Tiny ones are a part of the integration tests, and of the faults."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import mirrored, tasks
from bench.playbooks import Taken
from faults.world import described
from lab import description


def test_each_guest_of_the_lab_is_a_machine_at_home_on_the_node_that_dies(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "--host", "alpha"]
    for source in (mirrored.INVENTORY, mirrored.described(tmp_path, 12)):
        command += ["-i", str(source)]
    guests = json.loads(subprocess.check_output(command))["mirror_guest_list"]
    lab = description.parse(described(guests=mirrored.machines(12)))
    assert [guest["vm"]["other_config"]["lab_guest"] for guest in guests] == [guest.name for guest in lab.guests]
    assert {guest["home"] for guest in guests} == {mirrored.HOME}
    assert {node.name for node in lab.nodes} == {mirrored.HOME, mirrored.OTHER}
    legs = sum(description.size(disk["size"], "") for guest in guests for disk in guest["disks"])
    assert all(sum(node.disks) > legs for node in lab.nodes)


def test_figures_are_held_against_those_of_the_first_measurement() -> None:
    found = {1: mirrored.Figures(50.0, 10.0, 30.0), 6: mirrored.Figures(75.0, 11.0, 60.0)}
    assert mirrored.rows(found) == [["1", "50", "1.00", "10", "1.00", "30", "1.00"], ["6", "75", "1.50", "11", "1.10", "60", "2.00"]]


def test_a_task_costs_what_comes_on_top_of_the_start() -> None:
    def run(content: list[dict[str, Any]], direct: bool) -> Taken:
        more = (0.1 if direct else 0.4) * (len(content) - 1)
        return Taken(1.0 + more, 0.5 + more / 2)

    direct, own = tasks.compare("it", run, {}, 10, 2)
    assert direct == ["it, direct", "0.100", "0.25", "0.050", "0.25"]
    assert own == ["it, Ansible's own way", "0.400", "1.00", "0.200", "1.00"]


@pytest.mark.parametrize("words", [["nonsense"], ["mirror", "--guests", "3"], ["pool", "--guests", "many"]])
def test_what_cannot_be_measured_is_refused_before_anything_is(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "bench", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "bench: error: " in done.stderr
