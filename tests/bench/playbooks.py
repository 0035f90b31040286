# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook and what they take."""
from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bench.measure import clock

T = TypeVar("T")
NOTHING: dict[str, Any] = {"ansible.builtin.debug": {}}


class Taken(NamedTuple):
    """By a run: seconds, and seconds of computing, which are less moved by what else the machine does."""

    seconds: float
    processor: float

    def best(self, other: Taken) -> Taken:
        """The smaller one of each."""
        return Taken(*map(min, self, other))

    def without(self, start: Taken) -> Taken:
        """What is left when that is taken away."""
        return Taken(self.seconds - start.seconds, self.processor - start.processor)


def measured(work: Callable[[], T]) -> tuple[Taken, T]:
    """What the processes take that it starts and waits for; and its result."""
    before = _processor()
    seconds, result = clock(work)
    return Taken(seconds, _processor() - before), result


def run(playbook: str | Path, *, changed: bool, inventory: str | Path = "localhost,", **variables: Any) -> Taken:
    """Run a playbook; RuntimeError if it fails, or if it does not change what it should."""
    here = Path(sys.executable)
    command = [str(here.with_name("ansible-playbook")), "-i", str(inventory), str(playbook),
               "-e", json.dumps({"ansible_python_interpreter": str(here), **variables})]
    taken, done = measured(lambda: subprocess.run(
        command, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}, capture_output=True, text=True, check=False))
    recap = done.stdout.rpartition("\nPLAY RECAP")[2]
    if done.returncode or not recap or ("changed=0" in recap) == changed:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])
    return taken


def tasks(content: Iterable[dict[str, Any]], *, changed: bool, **variables: Any) -> Taken:
    """Run a playbook of these tasks, on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "play.yml")
        named = [{"name": f"Task {number}", **task} for number, task in enumerate(content, 1)]
        path.write_text(json.dumps([{"hosts": "all", "connection": "local", "gather_facts": False, "tasks": named}]), encoding="utf-8")
        return run(path, changed=changed, **variables)


def _processor() -> float:
    """Of all runs so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
