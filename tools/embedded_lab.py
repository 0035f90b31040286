# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded lab of the demo and of molecule: xapisim with the pools that inventories/lab names, as a background process.

    python tools/embedded_lab.py up|down

`up` starts it (again, if it runs), and leaves its process id, its ready line and its CA certificate in .work/lab.
"""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".work/lab"
SCENARIO = ROOT / "tests/xapisim/scenarios/lab.yml"


def up(timeout: float = 30.0) -> dict[str, Any]:
    """Start the lab and return xapisim's ready line; SystemExit with a plain line when it does not start."""
    down()
    STATE.mkdir(parents=True)
    with open(STATE / "ready.json", "wb") as ready, open(STATE / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "xapisim", "--tls", "--scenario", str(SCENARIO)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
            stdin=subprocess.DEVNULL, stdout=ready, stderr=log, start_new_session=True,
        )
    (STATE / "process").write_text(f"{process.pid} {started(process.pid)}")
    deadline = time.monotonic() + timeout
    while not (STATE / "ready.json").read_text().endswith("\n"):
        if process.poll() is not None or time.monotonic() > deadline:
            down(keep_log=True)
            reason = (STATE / "log").read_text().strip() or "no answer"
            hint = "\nIs it up in another clone? End it there: make demo-down." if "already in use" in reason else ""
            raise SystemExit(f"The embedded lab does not start: {reason}{hint}")
        time.sleep(0.05)
    info = json.loads((STATE / "ready.json").read_text())
    shutil.copy(info["ca"], STATE / "ca.pem")
    return info


def down(*, keep_log: bool = False) -> None:
    """End the lab that `up` started, if it runs; no other process, even if it got the same id since."""
    record = STATE / "process"
    if record.exists():
        pid, birth = record.read_text().split()
        if started(int(pid)) == birth:
            os.kill(int(pid), signal.SIGTERM)
            while started(int(pid)) == birth:
                time.sleep(0.05)
        record.unlink()
    if STATE.exists() and not keep_log:
        shutil.rmtree(STATE)


def started(pid: int) -> str:
    """Start time of a running process in clock ticks since boot; "" for one that ended (or waits to be reaped)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


if __name__ == "__main__":
    if sys.argv[1:] == ["up"]:
        print(json.dumps(up()))
    elif sys.argv[1:] == ["down"]:
        down()
    else:
        raise SystemExit(__doc__)
