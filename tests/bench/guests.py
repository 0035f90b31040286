# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Creating guests by playbook: a list, a loop, and the loop of community.general.xenserver_guest."""
from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.measure import NETWORK, calls, clock, table
from xapisim.launcher import launch

COUNT = 50
ROUNDS = 2
SCENARIO = {"pools": [{
    "name": "guests", "vms": [
        {"name": "golden", "is_a_template": True, "memory": "1GiB", "disks": [{"size": "2GiB", "bootable": True}], "nics": [NETWORK]},
    ],
}]}


def plays(login: dict[str, str], turn: int) -> dict[str, dict[str, Any]]:
    """The one task of each playbook; other guests each turn."""
    ours, loop = {**login, "template": "golden", "memory": "1GiB", "vcpus": 2}, {"loop": list(range(1, COUNT + 1))}
    peer = {
        **login, "validate_certs": False, "name": f"peer-{turn}-{{{{ item }}}}", "template": "golden", "linked_clone": True,
        "hardware": {"memory_mb": 1024, "num_cpus": 2},
    }
    return {
        "nobloat.xen.vm with a list": {"nobloat.xen.vm": {**ours, "vms": [{"name": f"list-{turn}-{n}"} for n in loop["loop"]]}},
        "nobloat.xen.vm in a loop": {"nobloat.xen.vm": {**ours, "name": f"loop-{turn}-{{{{ item }}}}"}, **loop},
        "community.general.xenserver_guest in a loop": {"community.general.xenserver_guest": peer, **loop},
    }


def play(path: Path, changed: bool) -> None:
    """Run a playbook; RuntimeError if it fails or does not change what it should."""
    here = Path(sys.executable)
    command = [str(here.parent / "ansible-playbook"), "-i", "localhost,", "-c", "local",
               "-e", f"ansible_python_interpreter={here}", str(path)]
    done = subprocess.run(command, env={**os.environ, "ANSIBLE_FORCE_COLOR": "0"}, capture_output=True, text=True, check=False)
    recap = done.stdout.rpartition("PLAY RECAP")[2]
    if done.returncode or ("changed=0" in recap) == changed:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])


def processor() -> float:
    """Seconds of computing that all playbooks so far have taken; less moved by what else the machine does than time."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    best: dict[str, list[tuple[float, float, int]]] = {}
    with launch(SCENARIO) as info, tempfile.TemporaryDirectory() as folder:
        pool = info["pools"][0]
        login = {"hostname": pool["url"], "username": pool["username"], "password": pool["password"]}
        path = Path(folder, "play.yml")

        def run(task: dict[str, Any], changed: bool) -> tuple[float, float, int]:
            content = [{"hosts": "all", "gather_facts": False, "tasks": [{"name": "Guests", **task}]}]
            path.write_text(json.dumps(content), encoding="utf-8")
            taken, used = [], processor()
            counts = calls(info, lambda: taken.append(clock(lambda: play(path, changed))[0]))
            return taken[0], processor() - used, sum(counts.values())

        start = run({"ansible.builtin.debug": {}}, False)[0]
        for turn in range(ROUNDS):
            for name, task in plays(login, turn).items():
                runs = [run(task, True), run(task, False)]
                best[name] = [tuple(map(min, *pair)) for pair in zip(runs, best.get(name, runs), strict=True)]
    *ours, peer = best
    rows = [
        [name, what, f"{taken:.1f}", f"{best[peer][again][0] / taken:.1f}", f"{used:.1f}", f"{best[peer][again][1] / used:.1f}",
         f"{count / COUNT:.1f}"]
        for again, what in enumerate(("create", "again")) for name in (*ours, peer) for taken, used, count in [best[name][again]]
    ]
    table(
        f"{COUNT} guests by ansible-playbook, best of {ROUNDS} (a play that does nothing takes {start:.1f} s)",
        ("", "", "seconds", "times faster", "CPU seconds", "times less", "calls per guest"), rows,
    )
