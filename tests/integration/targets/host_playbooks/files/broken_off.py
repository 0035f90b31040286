# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command again and again, and kill it with SIGKILL, and all that it has started, at one task of Ansible after the other.

    python broken_off.py '[["part of the name of a task", seconds after its beginning], ...]' COMMAND ARGUMENT ...

In the end it runs undisturbed. Exits with its code; with 1 when one of the tasks never came.
"""
from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def run_until(command: list[str], task: str, seconds: float) -> bool:
    """Whether it was killed at that task."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout or []:
        lines.append(line)
        if line.startswith("TASK [") and task in line:
            time.sleep(seconds)
            kill(process)
            return True
    process.wait()
    print("".join(lines))
    return False


def kill(process: subprocess.Popen[str]) -> None:
    """The controller and all that it has started: newer workers lead process groups of their own, and would stay behind."""
    process.send_signal(signal.SIGSTOP)
    family = [process.pid]
    for pid in family:
        with contextlib.suppress(OSError):  # it has ended
            family += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def main() -> int:
    begun = time.monotonic()
    for task, seconds in json.loads(sys.argv[1]):
        if not run_until(sys.argv[2:], task, seconds):
            print(f"there was no task {task!r} to kill it at")
            return 1
        print(f"{time.monotonic() - begun:6.1f} s: killed at {task}", flush=True)
    return subprocess.call(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
