# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes whose only Python for Ansible is 3.6, as dom0 of XCP-ng has it: pyenv's, where the machine has one, at the same place there."""
from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab

# What no module of ours needs is left out: half of it.
LEFT_OUT = ("test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "site-packages", "*.a", "*.opt-*.pyc")


def python36() -> Path:
    """Its program on this machine. The test is left out where there is none."""
    found = sorted(Path.home().glob(".pyenv/versions/3.6.*/bin/python3.6"))
    if not found:
        pytest.skip("left out: this machine has no Python 3.6 of pyenv (pyenv install 3.6)")
    return found[0].resolve()


def with_python(lab: dict[str, Any], python: Path) -> dict[str, Any]:
    """A lab's description, with this interpreter for its nodes."""
    nodes = [{**node, "vars": {**node.get("vars", {}), "ansible_python_interpreter": str(python)}} for node in lab["nodes"]]
    return {**lab, "nodes": nodes}


def give(lab: Lab, python: Path) -> None:
    """Put it on the nodes."""
    folder = python.parent.parent
    exclude = [f"--exclude={name}" for name in LEFT_OUT]
    paths = [str(path.relative_to("/")) for path in (python, folder / "lib")]
    packed = subprocess.run(["tar", "-C", "/", "-cz", *exclude, *paths], capture_output=True, check=True)
    for machine in lab.description.nodes:
        box = lab.box(machine.name)
        subprocess.run(box.ssh("tar -xzC /"), cwd=box.folder, input=packed.stdout, check=True)
        assert box.run(f"{python} --version").stdout.startswith("Python 3.6.")
