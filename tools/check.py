# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run checks (sessions of noxfile.py) and close with what they gave: python tools/check.py [NAME ...] [-- ARGUMENT ...]

A name stands for the session of that name and for its variants: `unit` means unit-2.16 and unit-2.21. Without a name: all
that `make test` runs, two at a time where there are two processors, and of those with real kernels the tests that are not
marked as long. The arguments go to the check's own tool.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import stage

ROOT = Path(__file__).resolve().parent.parent
NOX = [sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), "--envdir", str(stage.work() / "nox")]
ORDER = ("lint", "faults", "integration", "lab", "pxe", "sanity", "molecule", "unit", "conformance")


def sessions(names: list[str]) -> list[str]:
    listing = json.loads(subprocess.check_output([*NOX, "--list", "--json"], cwd=ROOT, text=True))
    known = [entry["session"] for entry in listing]
    if names:
        # nox lists only what runs by default; what else there is (bench, docs) goes by its own name.
        return [session for name in names for session in [s for s in known if name in (s, s.rpartition("-")[0])] or [name]]
    # The long ones first, so that two at a time end together.
    return sorted((session for session in known if session.partition("-")[0] in ORDER),
                  key=lambda session: ORDER.index(session.partition("-")[0]))


def shown(command: list[str], environment: Mapping[str, str]) -> tuple[int, list[str]]:
    """Run a command and print what it says: its exit code, and the lines."""
    lines = []
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace") as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    return process.returncode, lines


def reasons(lines: list[str]) -> list[str]:
    """What to read first in the output of all checks: what failed, each with the session that it failed in.

    Ansible's fatal lines count only where the recap of their play does: others were wanted, ignored or rescued.
    """
    found, session, fatal = [], "", ""
    for line in lines:
        if line.startswith("nox > Running session "):
            session, fatal = line.split()[-1], ""
        elif line.startswith("fatal: "):
            fatal = line
        elif re.search(r"\b(failed|unreachable)=[1-9]", line):
            found.append(f"{session}: {fatal}")
        elif re.match(r"FAILED (?!- RETRYING)|ERROR[: ]|FATAL: |NOT PROVEN |nox > Session \S+ failed", line):
            found.append(f"{session}: {line}")
    return found


def main() -> int:
    words = [*sys.argv[1:], "--"]
    names, arguments = words[:words.index("--")], words[words.index("--") + 1:-1]
    chosen, begin = sessions(names), time.monotonic()
    jobs = ["--allow-parallel", "-j", str(min(2, os.cpu_count() or 1))] if len(chosen) > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        environment = os.environ if names else {**os.environ, "CHECK_BRIEF": "1"}
        command = [*NOX, *jobs, "--report", str(report), "--session", *chosen, "--", *arguments]
        code, lines = shown(command, environment)
        results: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["sessions"] if report.exists() else []
    print()
    for result in results:
        print(f"  {result['duration']:6.0f} s  {result['result']:8}  {result['name']}  {result['reason'] or ''}".rstrip())
    print(f"  {time.monotonic() - begin:6.0f} s  in all\n")
    counts = Counter(result["result"] for result in results)
    failed = len(chosen) - counts["success"] - counts["skipped"]
    bad = {result["name"] for result in results if result["result"] not in ("success", "skipped")}
    print("".join(f"  {line[:300]}\n" for line in reasons(lines) if line.partition(":")[0] in bad))
    print(f"{counts['success']} passed, {failed} failed, {counts['skipped']} skipped")
    return code or bool(failed)


if __name__ == "__main__":
    sys.exit(main())
