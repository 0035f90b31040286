# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on the embedded lab: `make demo`, or `make demo KEEP=1` to leave the lab up.

Starts the lab, runs playbooks/site.yml on inventories/lab, runs it again and asks that nothing changes, and shows what the
inventory plugin then finds in the pools.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from typing import Any

import embedded_lab
from embedded_lab import ROOT

SITE = ["ansible-playbook", "-i", "inventories/lab", "playbooks/site.yml"]
LIVE = ["ansible-inventory", "-i", "inventories/lab_live.xapi.yml"]


def say(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def play(environment: dict[str, str]) -> int:
    """Run site.yml with its output shown; returns the number of changes that the recap counts."""
    changes = recaps = 0
    with subprocess.Popen(SITE, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            found = re.search(r"\bok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=0\b", line)
            if found:
                recaps += 1
                changes += int(found[1])
    if process.returncode or not recaps:
        raise SystemExit(f"site.yml failed ({process.returncode}).")
    return changes


def live(environment: dict[str, str]) -> list[dict[str, Any]]:
    """The guests that the inventory plugin finds: their host variables."""
    done = subprocess.run([*LIVE, "--list"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    # ansible-core 2.19 and newer mark text that is no template.
    found = json.loads(done.stdout, object_hook=lambda item: item.get("__ansible_unsafe", item))
    hosts = found["_meta"]["hostvars"]
    return [{"name": name, **variables} for name, variables in sorted(hosts.items())]


def table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> int:
    begin = time.monotonic()
    keep = os.environ.get("KEEP", "") not in ("", "0")
    say("Starting the embedded lab: pool alpha (2 hosts) and pool bravo (1 host), simulated by xapisim")
    info = embedded_lab.up()
    environment = {
        **os.environ, "ANSIBLE_FORCE_COLOR": "1" if sys.stdout.isatty() else "0",
        "ANSIBLE_LOCALHOST_WARNING": "False", "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
    }
    try:
        say("First run: " + " ".join(SITE))
        first = play(environment)
        say("Second run: nothing may change")
        second = play(environment)
        if not first or second:
            raise SystemExit(f"The first run changed {first} things, the second one {second}; expected some, then none.")
        say("What now exists, as the inventory plugin finds it")
        rows = [["NAME", "POOL", "HOST", "STATE", "ADDRESS"]]
        rows += [[str(guest.get(key) or "-") for key in ("name", "xapi_pool", "xapi_host", "xapi_power_state", "ansible_host")]
                 for guest in live(environment) if guest.get("xapi_type") == "vm"]
        if len(rows) == 1:
            raise SystemExit("The inventory plugin finds no guest.")
        table(rows)
        say(f"First run changed={first}, second run changed={second}, {time.monotonic() - begin:.0f} s in all.")
    finally:
        if not keep:
            embedded_lab.down()
    if keep:
        pool = info["pools"][0]
        print("  The lab stays up. Look around:")
        print("    . .work/activate")
        print("    " + " ".join([*LIVE, "--graph"]))
        print(f"    ansible localhost -m nobloat.xen.vm_info -a 'hostname={pool['url']} "
              f"password={pool['password']} ca_path=.work/lab/ca.pem'")
        print("    make demo-down    # to end it")
    else:
        print("  The lab is down again; `make demo KEEP=1` leaves it up, to look around.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
