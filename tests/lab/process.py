# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that outlive the command that started them, known by id and start time.

A record is a file of two words, "PID START"; START is the 22nd field of /proc/PID/stat, clock ticks since the machine's boot. No
process is ever ended whose start time is another one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from .errors import LabError


def started(pid: int) -> str:
    """Start time of a running process; "" if there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def record_self(path: Path) -> None:
    """Write the record of the calling process. FileNotFoundError if the folder is gone, that is: nobody wants it any more."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(f"{os.getpid()} {started(os.getpid())}\n", encoding="ascii")
    draft.rename(path)


def running(path: Path) -> int:
    """The id of the recorded process, or 0 if it does not run."""
    try:
        pid, birth = path.read_text(encoding="ascii").split()
    except (FileNotFoundError, ValueError):
        return 0
    return int(pid) if birth and started(int(pid)) == birth else 0


def send(path: Path, number: signal.Signals) -> bool:
    """Signal the recorded process; False if it does not run."""
    pid = running(path)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return bool(pid)


def wait_gone(path: Path, timeout: float) -> bool:
    """Wait until the recorded process has ended, seconds at most; remove the record then."""
    deadline = time.monotonic() + timeout
    while running(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    path.unlink(missing_ok=True)
    return True


def kill(path: Path) -> None:
    """SIGKILL, and wait for the end. LabError if that takes ten seconds, which only a broken kernel needs."""
    send(path, signal.SIGKILL)
    if not wait_gone(path, 10):
        raise LabError(f"process {running(path)} ({path}) does not end")


def end(path: Path, timeout: float) -> None:
    """SIGTERM, and SIGKILL if that does not help within the time (seconds)."""
    send(path, signal.SIGTERM)
    if not wait_gone(path, timeout):
        kill(path)
