# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin beside what it cannot be faster than: fetching and decoding the same records."""
from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible.inventory.data import InventoryData
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.read import FIELDS, read
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

from bench.measure import calls, clock, crowd, table
from xapisim.launcher import launch

FULL = {"guests": [1_000, 10_000], "rounds": 3}
TINY = {"guests": [20], "rounds": 1}
CHANGES = 10


def again(found: InventoryData) -> InventoryData:
    """The same hosts, variables and groups by nothing but Ansible's own means."""
    made = InventoryData()
    for name, host in found.hosts.items():
        made.add_host(name)
        made.hosts[name].vars = {**made.hosts[name].vars, **host.vars}
        for group in host.groups:
            made.add_child(made.add_group(group.name), name)
    made.reconcile_inventory()
    return made


def measure(size: int, rounds: int, folder: Path) -> list[list[str]]:
    """The rows of a table."""
    with launch(crowd(size)) as info:
        pool = info["pools"][0]
        options = {"plugin": "nobloat.xen.xapi", "hostname": pool["url"], "username": pool["username"],
                   "password": pool["password"]}
        cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(folder / str(size))}
        plain, cached = folder / "plain.xapi.yml", folder / "cached.xapi.yml"
        plain.write_text(json.dumps(options), encoding="utf-8")
        cached.write_text(json.dumps({**options, **cache}), encoding="utf-8")

        def parse(path: Path, use_cache: bool = True) -> InventoryData:
            manager = InventoryManager(loader=DataLoader(), sources=[str(path)], cache=use_cache)
            if len(manager.hosts) != size + 1:
                raise RuntimeError(f"{len(manager.hosts)} hosts instead of {size + 1}")
            return manager._inventory

        with Session(pool["url"], pool["username"], pool["password"]) as session:
            vms = [ref for ref, vm in session.bulk("VM.get_all_records").items() if vm["name_label"].startswith("guest-")]
            found, known = parse(plain), read(session)
            parse(cached)

            def change() -> None:
                for ref in vms[:CHANGES]:
                    session.call("VM.add_tags", ref, f"tag-{len(best)}-{counter.pop()}")

            counter = list(range(CHANGES * (rounds + 1)))
            best: dict[str, float] = {}

            def take(what: str, work: Callable[[], Any]) -> Any:
                seconds, result = clock(work)
                best[what] = min(seconds, best.get(what, seconds))
                return result

            for _round in range(rounds):
                take("raw", lambda: {cls: session.bulk(f"{cls}.get_all_records") for cls in FIELDS})
                take("read", lambda: read(session))
                take("ansible", lambda: again(found))
                take("whole", lambda: parse(plain))
                take("fresh", lambda: parse(cached))
                change()
                take("delta", lambda: read(session, known))
                take("refresh", lambda: parse(cached, use_cache=False))
            counts = {"whole": calls(info, lambda: parse(plain)), "fresh": calls(info, lambda: parse(cached))}
            change()
            counts["refresh"] = calls(info, lambda: parse(cached, use_cache=False))
    number = {what: str(sum(count.values())) for what, count in counts.items()} | {"raw": str(len(FIELDS))}
    names = {
        "raw": "raw limit: fetch and decode the records of each class", "read": "the plugin's read, ready for use",
        "delta": f"the plugin's read after {CHANGES} changes", "ansible": "Ansible's own time for these hosts and groups",
        "whole": "whole inventory", "fresh": "whole inventory, from a fresh cache",
        "refresh": f"whole inventory, cache refreshed after {CHANGES} changes",
    }
    return [
        [f"{size:,}", name, f"{best[what]:.3f}", f"{best[what] / best['raw']:.3f}", f"{best[what] / best['read']:.1%}",
         f"{best[what] / best['whole']:.1%}", number.get(what, "")]
        for what, name in names.items()
    ]


def main(guests: Sequence[int], rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for size in guests for row in measure(size, rounds, Path(folder))]
    table(
        f"Inventory (best of {rounds})",
        ("guests", "what", "seconds", "of the raw limit", "of a cold read", "of a whole cold inventory", "calls"), rows,
    )
