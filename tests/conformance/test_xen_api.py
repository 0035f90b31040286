# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""xapisim judged by the npm package xen-api (the client of Xen Orchestra)."""
from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from xapisim.launcher import launch

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="xen-api is left out: node and npm are not installed"
)
SCENARIO = """
pools:
  - name: judged
    vms:
      - {name: guest1, disks: [{name: root, size: 4MiB, sr: NFS storage}]}
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script and its packages, exactly those of the lock file."""
    folder = tmp_path_factory.mktemp("xen-api")
    for name in ("package.json", "package-lock.json", "xen_api.mjs"):
        shutil.copy(HERE / name, folder)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["http", "https"])
def seen(client: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    scenario = tmp_path_factory.mktemp("scenario") / "judged.yml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    with launch(scenario=scenario, tls=request.param) as info:
        pool = info["pools"][0]
        # A slave's address: xen-api has to follow HOST_IS_SLAVE to the coordinator.
        command = ["node", "xen_api.mjs", pool["hosts"][1]["url"], pool["username"], pool["password"], "guest1", "renamed"]
        done = subprocess.run(command, cwd=client, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_objects_are_filled(seen: dict[str, Any]) -> None:
    assert seen["pool"] == "judged"
    assert seen["types"]["host"] == 2
    assert seen["types"]["PIF"] >= 8
    assert seen["types"]["VM"] >= 15  # guest1, the templates and the control domains
    assert seen["typed"] == {"memory": "number", "template": "boolean", "host": "undefined"}


def test_a_watch_sees_a_rename(seen: dict[str, Any]) -> None:
    assert seen["watched"] == "renamed"


def test_async_calls_are_awaited(seen: dict[str, Any]) -> None:
    assert seen["started"] == "void"
    assert seen["copyName"] == "copy"
    assert seen["tasksLeft"] == 0


def test_a_raw_disk_goes_in_and_out(seen: dict[str, Any]) -> None:
    """It asks at paths that end with a slash, first without a task to see where the host is, and waits for the connection's end."""
    assert seen["raw"]["same"] and seen["raw"]["size"] == 4 << 20
    assert seen["raw"]["task"] == seen["raw"]["vdi"]


def test_failures_arrive_with_code_and_parameters(seen: dict[str, Any]) -> None:
    failures = seen["failures"]
    assert failures["unknown"] == {"code": "MESSAGE_METHOD_UNKNOWN", "params": ["VM.nope"]}
    assert failures["handle"] == {"code": "HANDLE_INVALID", "params": ["VM", "OpaqueRef:bogus"]}
    assert failures["uuid"] == {"code": "UUID_INVALID", "params": ["VM", "deadbeef"]}
    assert failures["state"]["code"] == "VM_BAD_POWER_STATE"
    assert failures["state"]["params"][1:] == ["paused", "halted"]
    assert failures["clone"]["code"] == "VM_BAD_POWER_STATE"
