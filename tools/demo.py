# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on a lab: `make demo`, or `make demo KEEP=1` to leave the lab up.

As root on Debian: two nodes with real kernels and a guest that is mirrored over them. playbooks/site.yml runs twice, and the
second run changes nothing; then the guest's node loses its power, and the guest is recovered on the other one. Elsewhere: the
pools alone, simulated, and what the inventory plugin then finds in them.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from typing import Any

import yaml

import embedded_lab
from embedded_lab import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from faults.load import Load
from lab import description, host, inventory
from lab.errors import CannotRun, LabError
from lab.lab import Lab

INVENTORY = ["-i", "inventories/lab"]
SITE = "playbooks/site.yml"
LIVE = ["ansible-inventory", "-i", "inventories/lab_live.xapi.yml"]


def say(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def play(environment: dict[str, str], arguments: list[str]) -> int:
    """Run a playbook with its output shown; returns the number of changes that the recap counts."""
    changes = recaps = 0
    command = ["ansible-playbook", *INVENTORY, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            found = re.search(r"\bok=\d+\s+changed=(\d+)\s+unreachable=\d+\s+failed=0\b", line)
            if found:
                recaps += 1
                changes += int(found[1])
    if process.returncode or not recaps:
        raise SystemExit(f"{' '.join(command)} failed ({process.returncode}).")
    return changes


def twice(environment: dict[str, str], arguments: list[str]) -> int:
    """The main job, and again; returns the changes of the first run."""
    say("First run: ansible-playbook " + " ".join([*INVENTORY, *arguments, SITE]))
    first = play(environment, [*arguments, SITE])
    say("Second run: nothing may change")
    second = play(environment, [*arguments, SITE])
    if not first or second:
        raise SystemExit(f"The first run changed {first} things, the second one {second}; expected some, then none.")
    return first


def live(environment: dict[str, str]) -> list[dict[str, Any]]:
    """The guests that the inventory plugin finds: their host variables."""
    done = subprocess.run([*LIVE, "--list"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    hosts = json.loads(done.stdout)["_meta"]["hostvars"]
    return [{"name": name, **variables} for name, variables in sorted(hosts.items())]


def table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def simulated(environment: dict[str, str], begin: float, keep: bool) -> None:
    """The pools alone, where no machines can be booted."""
    say("Starting the embedded lab: pool alpha (2 hosts) and pool bravo (1 host), simulated by xapisim")
    info = embedded_lab.up()
    try:
        first = twice(environment, [])
        say("What now exists, as the inventory plugin finds it")
        rows = [["NAME", "POOL", "HOST", "STATE", "ADDRESS"]]
        rows += [[str(guest.get(key) or "-") for key in ("name", "xapi_pool", "xapi_host", "xapi_power_state", "ansible_host")]
                 for guest in live(environment) if guest.get("xapi_type") == "vm"]
        if len(rows) == 1:
            raise SystemExit("The inventory plugin finds no guest.")
        table(rows)
        say(f"First run changed={first}, second run changed=0, {time.monotonic() - begin:.0f} s in all.")
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


def real(environment: dict[str, str], begin: float, keep: bool) -> None:
    """Two nodes with kernels of their own, a guest that is mirrored over them, and the death of one."""
    lab = Lab("demo")
    say("Booting two nodes, each with a Linux kernel, disks and SAN of its own (the first time, their image is built)")
    lab.up(description.parse(yaml.safe_load((ROOT / "tests/lab/demo.yml").read_text(encoding="utf-8"))))
    lines = ["-i", str(inventory.write(lab))]
    load = Load("/srv/records")
    page = ROOT / ".work/mirror-status.html"
    status = ["playbooks/mirror_status.yml", "-e", f"mirror_status_page={page}"]
    try:
        first = twice(environment, lines)
        guest = lab.box("web1")
        home = guest.status.host
        other = next(node.name for node in lab.description.nodes if node.name != home)
        say("Who mirrors whom")
        play(environment, [*lines, *status])
        say(f"web1 runs on {home} and writes records, each acknowledged once it is on the disks of both nodes")
        load.start(guest)
        load.grow(300)
        lab.kill([home])
        load.stop()
        say(f"{home} has lost its power, and web1 with it, after {load.count} acknowledged records. "
            f"A human says that {home} is dead; web1 is started on {other}")
        recover = ["playbooks/node_recover.yml", "-e", json.dumps({"node": home, "assume_dead": [home]})]
        play(environment, [*lines, *recover])
        lost = load.lost(guest)
        say(f"web1 runs on {guest.status.host}. Of the acknowledged records are lost: {lost}")
        if lost != "0" or guest.status.host != other:
            raise SystemExit("web1 has not come back as it should.")
        load.start(guest)
        load.grow(100)
        load.stop()
        play(environment, [*lines, *status])
        say(f"First run changed={first}, second run changed=0, {load.count} records written, none lost, "
            f"{time.monotonic() - begin:.0f} s in all.")
        print(f"  The picture of it: {page}")
    finally:
        load.stop()
        if not keep:
            lab.down()
    if keep:
        print("  The lab stays up. Look around, or bring the node back:")
        print("    . .work/activate; export PYTHONPATH=tests")
        print(f"    python -m lab --id demo start {home}")
        print(f"    ansible-playbook {' '.join([*INVENTORY, *lines])} playbooks/node_return.yml -e node={home}")
        print("    make demo-down    # to end it")
    else:
        print("  The lab is down again; `make demo KEEP=1` leaves it up, to look around.")


def main() -> int:
    begin = time.monotonic()
    keep = os.environ.get("KEEP", "") not in ("", "0")
    environment = {
        **os.environ, "ANSIBLE_FORCE_COLOR": "1" if sys.stdout.isatty() else "0",
        "ANSIBLE_LOCALHOST_WARNING": "False", "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
    }
    try:
        host.provide()
    except CannotRun as error:
        print(f"Nodes with kernels of their own cannot run here: {error}. So the pools alone, simulated.")
        simulated(environment, begin, keep)
    else:
        real(environment, begin, keep)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LabError, AssertionError) as error:
        sys.exit(f"The demo has failed: {error}")
