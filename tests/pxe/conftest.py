# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where it cannot run, everything is skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab.errors import CannotRun
from lab.lab import Lab, reap
from lab_tests.helpers import booted
from pxe import material
from pxe.server import Server, deliver, packages

ROLE = Path(__file__).resolve().parent.parent.parent / "roles/pxe_server"


@pytest.fixture(scope="session", autouse=True)
def _possible() -> None:
    try:
        material.provide()
    except CannotRun as error:
        pytest.skip(str(error))
    reap()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A node without packages of a PXE server, and with an ISO and a tree to install from."""
    with booted("pxe", nodes=[{"name": "pxe1", "memory": "512MiB"}], guests=0, xapi=False) as made:
        yield made


@pytest.fixture(scope="session")
def server(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The node with what it cannot fetch by itself."""
    folder = material.CACHE / "made"
    folder.mkdir(parents=True, exist_ok=True)
    material.tree(folder / "tree")
    material.iso(folder / "tree", folder / "stand-in.iso")
    wanted = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))["pxe_server_packages"]
    # ansible.builtin.apt installs python3-apt by itself; an installed host has openssl.
    packages(lab, "pxe1", [*wanted, "python3-apt", "openssl"], folder / "repository")
    deliver(lab, "pxe1", folder / "tree", "/srv/stand-in")
    deliver(lab, "pxe1", folder / "stand-in.iso", "/srv")
    return Server(lab, "pxe1")
