# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""xapisim itself: is it fast enough to stand for a pool?"""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import XenAPI
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

from bench.measure import clock, crowd, table
from xapisim.launcher import launch

FULL = {"guests": [10_000], "seconds": 3.0}
TINY = {"guests": [2], "seconds": 0.1}


def rate(call: Callable[[], object], seconds: float) -> float:
    """Calls per second, one after the other, for so long."""
    begin, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - begin) < seconds:
        call()
        count += 1
    return count / passed


def starting(size: int) -> float:
    """Seconds until a pool of so many guests answers."""
    begin = time.perf_counter()
    with launch(crowd(size)):
        return time.perf_counter() - begin


def measure(size: int, seconds: float) -> None:
    empty, full = starting(1), starting(size)
    with launch(crowd(size)) as info:
        pool = info["pools"][0]
        sdk = XenAPI.Session(pool["url"])
        sdk.xenapi.login_with_password(pool["username"], pool["password"], "1.0", "bench")
        ref = sdk.xenapi.VM.get_all()[-1]
        with Session(pool["url"], reference=sdk._session) as session:
            rows = [
                ["start", f"{empty:.1f} s"],
                [f"start with {size:,} running guests", f"{full:.1f} s"],
                ["VM.get_record by XML-RPC (the SDK)", f"{rate(lambda: sdk.xenapi.VM.get_record(ref), seconds):.0f} calls/s"],
                ["VM.get_record by JSON-RPC", f"{rate(lambda: session.bulk('VM.get_record', ref), seconds):.0f} calls/s"],
                [f"VM.get_all_records of {size:,} by XML-RPC", f"{clock(sdk.xenapi.VM.get_all_records)[0]:.1f} s"],
                [f"VM.get_all_records of {size:,} by JSON-RPC", f"{clock(lambda: session.bulk('VM.get_all_records'))[0]:.1f} s"],
            ]
        sdk.xenapi.session.logout()
    table("xapisim", ("what", ""), rows)


def main(guests: Sequence[int], seconds: float) -> None:
    for size in guests:
        measure(size, seconds)
