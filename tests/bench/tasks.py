# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task costs that has nothing to do: as our actions run it, and in Ansible's own way (nobloat_xen_direct: false).

Here for modules that speak XAPI; part `mirrored` does it for those that run on nodes.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.measure import NETWORK, table
from bench.playbooks import NOTHING, Taken, tasks
from xapisim.launcher import launch

FULL = {"rounds": 3, "count": 20}
TINY = {"rounds": 1, "count": 2}
SCENARIO = {"pools": [{"name": "tasks", "vms": [{"name": "web1", "memory": "1GiB", "nics": [NETWORK]}]}]}
HEAD = ("", "seconds for each task", "of Ansible's own way", "CPU seconds", "of its own way")


def compare(
    what: str, run: Callable[[list[dict[str, Any]], bool], Taken], task: dict[str, Any], count: int, rounds: int
) -> list[list[str]]:
    """Rows of a table. `run` runs a play of these tasks, directly or not."""
    best: dict[str, Taken] = {}
    for _round in range(rounds):
        for name, taken in {
            "start": run([NOTHING], True), "direct": run([NOTHING, *[task] * count], True), "own": run([NOTHING, *[task] * count], False),
        }.items():
            best[name] = taken.best(best.get(name, taken))
    direct, own = (best[name].without(best["start"]) for name in ("direct", "own"))
    return [
        [f"{what}, {name}", f"{taken.seconds / count:.3f}", f"{taken.seconds / own.seconds:.2f}", f"{taken.processor / count:.3f}",
         f"{taken.processor / own.processor:.2f}"]
        for name, taken in {"direct": direct, "Ansible's own way": own}.items()
    ]


def main(rounds: int, count: int) -> None:
    with launch(SCENARIO) as info:
        pool = info["pools"][0]
        login = {"hostname": pool["url"], "username": pool["username"], "password": pool["password"]}

        def run(content: list[dict[str, Any]], direct: bool) -> Taken:
            return tasks(content, changed=False, nobloat_xen_direct=direct)

        rows = compare("nobloat.xen.vm", run, {"nobloat.xen.vm": {**login, "name": "web1", "memory": "1GiB"}}, count, rounds)
    table(f"One task of {count} with nothing to do, best of {rounds}, without the start of the play", HEAD, rows)
