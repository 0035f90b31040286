# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Creating guests by playbook: a list, a loop, and the loop of community.general.xenserver_guest."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.measure import NETWORK, calls, table
from bench.playbooks import NOTHING, Taken, tasks
from xapisim.launcher import launch

FULL = {"guests": [50], "rounds": 2}
TINY = {"guests": [2], "rounds": 1}
SCENARIO = {"pools": [{
    "name": "guests", "vms": [
        {"name": "golden", "is_a_template": True, "memory": "1GiB", "disks": [{"size": "2GiB", "bootable": True}], "nics": [NETWORK]},
    ],
}]}


def candidates(login: dict[str, str], count: int, turn: int) -> dict[str, dict[str, Any]]:
    """The one task of each playbook; other guests each turn."""
    ours, loop = {**login, "template": "golden", "memory": "1GiB", "vcpus": 2}, {"loop": list(range(1, count + 1))}
    peer = {
        **login, "validate_certs": False, "name": f"peer-{turn}-{{{{ item }}}}", "template": "golden", "linked_clone": True,
        "hardware": {"memory_mb": 1024, "num_cpus": 2},
    }
    return {
        "nobloat.xen.vm with a list": {"nobloat.xen.vm": {**ours, "vms": [{"name": f"list-{turn}-{n}"} for n in loop["loop"]]}},
        "nobloat.xen.vm in a loop": {"nobloat.xen.vm": {**ours, "name": f"loop-{turn}-{{{{ item }}}}"}, **loop},
        "community.general.xenserver_guest in a loop": {"community.general.xenserver_guest": peer, **loop},
    }


def measure(count: int, rounds: int) -> None:
    best: dict[str, list[tuple[Taken, int]]] = {}
    with launch(SCENARIO) as info:
        pool = info["pools"][0]
        login = {"hostname": pool["url"], "username": pool["username"], "password": pool["password"]}

        def run(task: dict[str, Any], changed: bool) -> tuple[Taken, int]:
            taken: list[Taken] = []
            counts = calls(info, lambda: taken.append(tasks([task], changed=changed)))
            return taken[0], sum(counts.values())

        start = tasks([NOTHING], changed=False)
        for turn in range(rounds):
            for name, task in candidates(login, count, turn).items():
                runs = [run(task, True), run(task, False)]
                before = best.get(name, runs)
                best[name] = [(now.best(then), min(number, least)) for (now, number), (then, least) in zip(runs, before, strict=True)]
    *ours, peer = best
    rows = [
        [name, what, f"{taken.seconds:.1f}", f"{best[peer][again][0].seconds / taken.seconds:.1f}", f"{taken.processor:.1f}",
         f"{best[peer][again][0].processor / taken.processor:.1f}", f"{number / count:.1f}"]
        for again, what in enumerate(("create", "again")) for name in (*ours, peer) for taken, number in [best[name][again]]
    ]
    table(
        f"{count} guests by ansible-playbook, best of {rounds} (a play that does nothing takes {start.seconds:.1f} s)",
        ("", "", "seconds", "times faster", "CPU seconds", "times less", "calls per guest"), rows,
    )


def main(guests: Sequence[int], rounds: int) -> None:
    for count in guests:
        measure(count, rounds)
