# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that writes, and what is known of its writes outside of it."""

from __future__ import annotations

import shlex
import subprocess
import threading
import time
from pathlib import Path

from lab.machine import Box

SCRIPT = (Path(__file__).parent / "records.py").read_text(encoding="utf-8")


def command(verb: str, path: str, number: int) -> str:
    """Of a shell, to run records.py there."""
    return shlex.join(["python3", "-c", SCRIPT, verb, path, str(number)])


class Load:
    """Records written to a file of a guest. Acknowledgements arrive here as they are given, so they outlive the guest."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.last = -1  # the newest record that was acknowledged
        self.stall = 0.0  # seconds: the longest that a write took, of those that ended
        self.count = 0
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self, box: Box) -> None:
        """Write, from the next number on, until `stop` or the guest's death."""
        self._process = subprocess.Popen(
            box.ssh(command("write", self.path, self.last + 1)), cwd=box.folder, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()
        self.grow(5)

    def _follow(self) -> None:
        assert self._process and self._process.stdout
        for line in self._process.stdout:
            number, seconds = line.split()
            assert int(number) == self.last + 1, "acknowledgements come in order"
            self.last, self.stall, self.count = int(number), max(self.stall, float(seconds)), self.count + 1

    def grow(self, records: int, timeout: float = 60.0) -> None:
        """Wait until so many more are acknowledged."""
        wanted, deadline = self.last + records, time.monotonic() + timeout
        while self.last < wanted:
            assert time.monotonic() < deadline, f"the guest has not written {records} records in {timeout:g} s{self._said()}"
            time.sleep(0.05)

    def _said(self) -> str:
        process = self._process
        return f": {process.stderr.read()}" if process and process.stderr and process.poll() is not None else ""

    def stop(self) -> None:
        """End it; also after the guest is gone."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:  # the way to the guest is dead, not the guest
                self._process.kill()
            if self._reader:
                self._reader.join(30)
        self._process = None

    def lost(self, box: Box, path: str = "") -> str:
        """How many acknowledged records are not in the file, and which: "0" is all well."""
        return box.run(command("check", path or self.path, self.last)).stdout.strip()
