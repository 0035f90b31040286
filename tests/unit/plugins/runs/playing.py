# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks and roles on an inventory of this machine."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PLAYBOOKS = Path(__file__).parents[4] / "playbooks"


def play(folder: Path, playbook: Path | list[dict[str, Any]], inventory: dict[str, Any], *extra: str) -> subprocess.CompletedProcess[str]:
    (folder / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
    if isinstance(playbook, list):
        (folder / "play.json").write_text(json.dumps(playbook), encoding="utf-8")
        playbook = folder / "play.json"
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", folder / "hosts.json", playbook, *extra], capture_output=True, text=True,
        timeout=300, check=False, stdin=subprocess.DEVNULL, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "HOME": str(folder)})


def local(address: str) -> dict[str, Any]:
    return {"all": {
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "children": {
            "pools": {"hosts": {"hall": {"xapi_hostname": address}}},
            "servers": {"hosts": {"a": {"xapi_pool": "hall", "xapi_hostname": "fd00::18"}, "b": {"xapi_pool": "hall"}}}}}}
