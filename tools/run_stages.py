#!/usr/bin/env python3
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run stages (nox sessions) one after the other, all of them even when one fails, and sum up: `make test`."""
from __future__ import annotations

import subprocess
import sys
import time


def main() -> int:
    results = []
    for stage in sys.argv[1:]:
        print(f"\n=== {stage}", flush=True)
        begin = time.monotonic()
        code = subprocess.call([sys.executable, "-m", "nox", "--session", stage])
        results.append((stage, code, time.monotonic() - begin))
    print("\n=== all stages")
    for stage, code, seconds in results:
        print(f"{'ok' if code == 0 else 'FAILED':8}{stage:22}{seconds:6.0f} s")
    failed = sum(code != 0 for _stage, code, _seconds in results)
    print(f"{sum(seconds for *_rest, seconds in results) / 60:.1f} minutes")
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
