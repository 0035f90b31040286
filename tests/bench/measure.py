# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the measurements share: a clock, the number of calls, a pool full of guests, tables."""
from __future__ import annotations

import gc
import json
import time
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from xapisim.launcher import control

T = TypeVar("T")
NETWORK = "Pool-wide network associated with eth0"


def clock(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds that it took, and its result."""
    gc.collect()
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def calls(info: dict[str, Any], work: Callable[[], object]) -> dict[str, int]:
    """The calls that the simulator's only pool got meanwhile, by method."""
    control(info, "reset_calls")
    work()
    with urllib.request.urlopen(f"{info['control']}/calls?pool={info['pools'][0]['name']}") as reply:
        return json.load(reply)


def crowd(count: int) -> dict[str, Any]:
    """A scenario: one host with so many running guests, each with a disk, a NIC, an address and a tag."""
    guest = {
        "name": "guest-{n:05}", "count": count, "power_state": "Running", "ip": "10.0.{hi}.{lo}", "nics": [NETWORK],
        "disks": [{"size": "10GiB"}], "tags": ["web"], "memory": "1GiB",
    }
    return {"pools": [{"name": "crowd", "hosts": [{"name": "node", "memory": "100TiB", "cpus": 64}], "vms": [guest]}]}


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table in markdown."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    print(f"\n{title}\n")
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |", flush=True)
