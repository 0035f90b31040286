# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start xapisim as a process of its own, for tests, benchmarks and demonstrations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent


@contextmanager
def launch(
    scenario: Path | str | dict[str, Any] | None = None, *, tls: bool = False, verbose: bool = False
) -> Iterator[dict[str, Any]]:
    """xapisim for the length of a with block: its ready line. `scenario` is a file or the content of one.

    RuntimeError with what it said when it does not start. It ends with this process, however that ends.
    """
    with tempfile.TemporaryDirectory(prefix="xapisim-") as folder:
        command = [sys.executable, "-m", "xapisim"]
        if isinstance(scenario, dict):
            path = Path(folder, "scenario.yml")
            path.write_text(json.dumps(scenario), encoding="utf-8")  # JSON is YAML
            scenario = path
        if scenario is not None:
            command += ["--scenario", str(Path(scenario).resolve())]
        command += ["--tls"] * tls + ["--verbose"] * verbose
        path_list = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        with open(Path(folder, "stderr"), "w+", encoding="utf-8") as errors:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path_list)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if verbose else errors,
            )
            try:
                line = process.stdout.readline()  # type: ignore[union-attr]
                if not line:
                    process.wait()
                    errors.seek(0)
                    raise RuntimeError(errors.read().strip() or f"xapisim ended with code {process.returncode}")
                yield json.loads(line)
            finally:
                process.stdin.close()  # type: ignore[union-attr]
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                process.stdout.close()  # type: ignore[union-attr]


def control(info: dict[str, Any], do: str, **args: Any) -> dict[str, Any]:
    """One request to the control port; RuntimeError with its text when it is refused."""
    body = json.dumps({"do": do, **args}).encode()
    request = urllib.request.Request(info["control"], body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise RuntimeError(json.load(error)["error"]) from None
