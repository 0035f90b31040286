# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module answerfile as Ansible runs it: what it returns, warns of and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MODULE = "ansible_collections.nobloat.xen.plugins.modules.answerfile"
FRESH: dict[str, Any] = {"version": "xenserver-9", "sr_type": "ext", "disk": {"names": ["sda"]}, "sources": [{"type": "local"}],
                         "interface": {"name": "eth0"}}
UPGRADE: dict[str, Any] = {"version": "xcp-ng-8.3", "mode": "upgrade", "disk": {"names": ["md127"]}, "sources": [{"type": "local"}]}


def run(folder: Path, **args: Any) -> dict[str, Any]:
    given = folder / "args.json"
    given.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": args}), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", MODULE, str(given)], text=True, capture_output=True,
                          check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_upgrade(tmp_path: Path) -> None:
    said = run(tmp_path, **UPGRADE)
    assert said["changed"] is False and said["kernel_argument"] == "answerfile"
    assert "<existing-installation>md127</existing-installation>" in said["content"] and "warnings" not in said


@pytest.mark.parametrize("password", ["!!", f"$5$salt${'a' * 43}"])
def test_a_hash_stays_and_is_shown(tmp_path: Path, password: str) -> None:
    assert f'<root-password type="hash">{password}</root-password>' in run(tmp_path, **FRESH, root_password=password)["content"]


@pytest.mark.parametrize("password", [f"$2b$12${'a' * 53}", f"$y$j9T$salt${'a' * 43}", f"$6$salt${'a' * 85}"])
def test_a_hash_that_the_host_cannot_check_is_no_password(tmp_path: Path, password: str) -> None:
    said = run(tmp_path, **FRESH, root_password=password)
    assert said["failed"] and "that the host cannot check" in said["msg"] and password not in json.dumps(said["msg"])


@pytest.mark.parametrize(("version", "argument"), [("xcp-ng-8.2", "answerfile_generator"), ("xenserver-8", "answerfile")])
def test_the_kernel_is_told_whether_it_is_a_script(tmp_path: Path, version: str, argument: str) -> None:
    said = run(tmp_path, **{**FRESH, "version": version, "disk": {"names": ["sda", "sdb"], "raid": True}})
    assert said["kernel_argument"] == argument and said["content"].startswith("#!/bin/sh\n") == (argument == "answerfile_generator")


@pytest.mark.parametrize(("size", "why"), [
    ("200", "200 is below the 46 GiB that the installers need anyway; write for example 200GiB."), ("0", "below"), ("45GiB", "below"),
    ("big", "disk.rule.min_size: 'big' is not a size"), ("-5GiB", "is not a size"), ("46GiB", "")])
def test_least_sizes(tmp_path: Path, size: str, why: str) -> None:
    said = run(tmp_path, **{**FRESH, "disk": {"rule": {"min_size": size}}})
    assert bool(said.get("failed")) == bool(why) and why in said.get("msg", "")


def test_warnings(tmp_path: Path) -> None:
    warnings = run(tmp_path, **FRESH, dns=["10.0.0.1"])["warnings"]
    assert len(warnings) == 1 and "dns counts with a static IPv4 address only" in json.dumps(warnings)


def test_refusals_tell_all(tmp_path: Path) -> None:
    said = run(tmp_path, version="xcp-ng-8.2", content='<installation sr-type="ext"><ssh-mode>on</ssh-mode></installation>')
    assert said["failed"]
    for part in ("The installer of xcp-ng-8.2", "needs <primary-disk>", "needs <source>",
                 "line 1: the installer of xcp-ng-8.2 does not read <ssh-mode>", "xenserver-9 reads it"):
        assert part in said["msg"]
