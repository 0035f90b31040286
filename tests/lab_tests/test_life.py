# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab leaves nothing behind, however it ends, and does not see others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import description
from lab.errors import LabError
from lab.lab import Lab, labs, reap
from lab_tests.helpers import booted, until

pytestmark = pytest.mark.long
TESTS = str(Path(__file__).resolve().parent.parent)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "lab", *words]


ENVIRONMENT = {**os.environ, "PYTHONPATH": TESTS}


def traces(lab: Lab) -> list[str]:
    """Whatever is left of a lab: folder, namespace, processes that name it."""
    found = [str(lab.folder)] if lab.folder.exists() else []
    found += [lab.namespace] if lab.network.exists() else []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words, cwd = (path / "cmdline").read_text(errors="replace"), os.readlink(path / "cwd")
        except OSError:
            continue
        if lab.namespace in words or str(lab.folder) in words or cwd.startswith(str(lab.folder)):
            found.append(words)
    return found


def shared_memory() -> int:
    """KiB of all tmpfs: the memory of machines."""
    line = next(x for x in Path("/proc/meminfo").read_text().splitlines() if x.startswith("Shmem:"))
    return int(line.split()[1])


def test_two_labs_side_by_side_and_nothing_left_of_them() -> None:
    before = shared_memory()
    with booted("test-a", nodes=1, xapi=False) as first, booted("test-b", nodes=1) as second:
        first.box("node1").run("echo a >/root/name; sync")
        second.box("node1").run("echo b >/root/name; sync")
        assert first.box("node1").run("cat /root/name").stdout == "a\n"
        first.kill(["node1"])
        assert second.box("node1").run("cat /root/name").stdout == "b\n"
        assert first.xapi is None and second.xapi
        assert {first.name, second.name} <= {each.name for each in labs()}
        assert traces(first) and traces(second)
    assert not traces(first) and not traces(second)
    until(lambda: shared_memory() < before + 50_000, 10, "memory is given back")


@pytest.mark.parametrize("after", [0.4, 2.5])
def test_an_up_that_is_killed_is_cleared_away_by_the_next_down(after: float) -> None:
    lab = Lab("test-killed")
    started = subprocess.Popen(command("--id", lab.name, "up", "--nodes", "1", "--guests", "0"), env=ENVIRONMENT)
    until(lab.folder.exists, 60, "it has begun")
    time.sleep(after)
    started.send_signal(signal.SIGKILL)
    started.wait()
    subprocess.run(command("--id", lab.name, "down"), env=ENVIRONMENT, check=True)
    time.sleep(0.5)
    assert not traces(lab)


def test_a_lab_whose_owner_was_killed_is_reaped() -> None:
    lab = Lab("test-orphan")
    code = (
        "import os; from lab.lab import Lab; from lab import description\n"
        f"Lab({lab.name!r}).up(description.parse({{'nodes': 1, 'xapi': False}}), owned=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False)
    assert lab.exists and lab.box("node1").running()
    reap()
    assert not traces(lab)


def test_where_it_cannot_run_it_says_so() -> None:
    code = "import os, sys; from lab.__main__ import main; os.setuid(65534); sys.exit(main(['up']))"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stderr == "lab: the lab needs root: namespaces, taps\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"nodes": 0}, "nodes: there is none"),
        ({"nodes": ["a", "a"]}, "two machines are called a"),
        ({"nodes": [{"name": "Node_1"}]}, "no host name"),
        ({"nodes": [{"name": "a", "disks": ["2GB"]}]}, "is no size"),
        ({"nodes": 1, "guests": [{"name": "g", "host": "b"}]}, "there is no node 'b'"),
        ({"san": {"vlan": 5000}}, "no VLAN"),
        ({"san": {"mode": "x"}}, "unknown key 'mode'"),
        ({"node": 2}, "unknown key 'node'"),
    ],
)
def test_a_wrong_description(content: object, message: str) -> None:
    with pytest.raises(LabError, match=message):
        description.parse(content)


def test_unknown_names() -> None:
    with pytest.raises(LabError, match="no lab 'test-none' is up"):
        Lab("test-none").box("node1")
    with pytest.raises(LabError, match="no id of a lab"):
        Lab("../x")
