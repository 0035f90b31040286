# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml, which has nothing to do in a pool of so many guests: what grows with them is what counts."""
from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.measure import crowd, table
from bench.playbooks import Taken, run
from xapisim.launcher import launch

FULL = {"guests": [600, 5_000], "rounds": 1}
TINY = {"guests": [2], "rounds": 1}


def measure(count: int, rounds: int, folder: Path) -> Taken:
    """The best of some runs for a pool that is as it is described."""
    with launch(crowd(count)) as info:
        pool = info["pools"][0]
        names = [f"guest-{number:05}" for number in range(1, count + 1)]
        variables = {
            "xapi_hostname": pool["url"], "xapi_username": pool["username"], "xapi_password": pool["password"],
            "pool_settings_name": "crowd",
            "guests_defaults": {"template": "Debian Bookworm 12", "memory": "1GiB", "tags": ["web"]},
            "guests_list": [{"name": name, "disks": [{"device": 0, "size": "10GiB"}]} for name in names],
        }
        inventory = folder / f"{count}.json"
        inventory.write_text(json.dumps({"pools": {"hosts": {"crowd": variables}}, "nodes": {}, "guests": {}}), encoding="utf-8")
        taken = [run("nobloat.xen.site", changed=False, inventory=inventory) for _round in range(rounds)]
    return Taken(min(each.seconds for each in taken), min(each.processor for each in taken))


def main(guests: Sequence[int], rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {count: measure(count, rounds, Path(folder)) for count in dict.fromkeys([1, *guests])}
    table(
        f"site.yml with nothing to do, best of {rounds}", ("plain guests", "seconds", "of one guest", "CPU seconds", "of one guest"),
        [[f"{count:,}", f"{taken.seconds:.1f}", f"{taken.seconds / found[1].seconds:.2f}", f"{taken.processor:.1f}",
          f"{taken.processor / found[1].processor:.2f}"] for count, taken in found.items()],
    )
