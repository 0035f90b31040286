# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays whose results are looked at one by one."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "direct"
ROOT = Path(__file__).resolve().parents[4]
# What each run has of its own, besides uuids and MACs.
OWN = {"exception", "ansible_job_id", "results_file", "started", "finished", "stdout", "stderr", "stdout_lines", "stderr_lines"}
ALIKE = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|([0-9a-f]{2}:){5}[0-9a-f]{2}")


def task(name: str, module: str, options: dict[str, Any] | None = None, **keywords: Any) -> dict[str, Any]:
    return {"name": name, f"nobloat.xen.{module}": options or {}, "ignore_errors": True, **keywords}


class Play:
    """A play on a pool and what came of it: `results` are [task, status, result], `compiled` who has compiled module vm_info."""

    def __init__(self, folder: Path, tasks: list[dict[str, Any]], *args: str, secret: str = "", hosts: dict[str, dict[str, Any]],
                 environment: dict[str, str] | None = None, **play: Any) -> None:
        """`hosts` and their variables; the play is for those whose names begin with "host"."""
        folder.mkdir()
        self._write(folder / "inventory.json", {"all": {"hosts": {
            name: {"ansible_python_interpreter": sys.executable, **variables} for name, variables in hosts.items()}}})
        self._write(folder / "play.json", [{"hosts": "host*", "gather_facts": False, "tasks": tasks, **play}])
        notes, compiled = folder / "notes", folder / "compiled"
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(folder / "inventory.json"), str(folder / "play.json"),
                   "-e", json.dumps({"secret": secret}), *args]
        variables = {
            "PYTHONPATH": f"{HERE / 'watch'}:{ROOT / 'tests'}", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".work/collections"),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"), "ANSIBLE_CONNECTION_PLUGINS": str(HERE / "connection"),
            "ANSIBLE_BECOME_PLUGINS": str(HERE / "become"),
            "ANSIBLE_HOME": str(folder / "home"), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1",
            "DIRECT_NOTES": str(notes), "DIRECT_COMPILED": str(compiled), **(environment or {}),
        }
        with subprocess.Popen(command, cwd=folder, env={**os.environ, **variables}, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            self.pid = process.pid
            self.output = process.communicate(timeout=300)[0]
        self.folder = folder
        self.results = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
        self.compiled = [int(line) for line in compiled.read_text(encoding="utf-8").splitlines()] if compiled.exists() else []

    @staticmethod
    def _write(path: Path, content: Any) -> None:
        path.write_text(json.dumps(content), encoding="utf-8")

    def left(self) -> list[int]:
        """Processes of it that live on."""
        mark = f"DIRECT_NOTES={self.folder / 'notes'}".encode()
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in _content(path)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def plain(value: Any) -> Any:
    """Without what no two runs have alike."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in OWN}
    return [plain(item) for item in value] if isinstance(value, list) else value
