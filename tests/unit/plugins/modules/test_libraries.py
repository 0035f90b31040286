# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules say where the XenAPI library is not installed."""
from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

RUN = """
import sys
sys.modules["XenAPI"] = None  # importing it now fails as if it were not installed
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = b'{"ANSIBLE_MODULE_ARGS": {"hostname": "pool.invalid", "password": "x", "name": "web1"}}'
basic._ANSIBLE_PROFILE = "legacy"
from ansible_collections.nobloat.xen.plugins.modules import %s as module
module.main()
"""


@pytest.mark.parametrize("module", ["vm", "vm_power", "network", "sr_info"])
def test_a_missing_library_is_named(module: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", RUN % module], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert result["failed"]
    assert "XenAPI" in result["msg"]
    assert "Python" in result["msg"]
    assert "Traceback" not in done.stderr + result["msg"]
