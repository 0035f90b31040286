# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Python interpreters this machine has."""
from __future__ import annotations

import os
import sys
from pathlib import Path

VERSIONS = ("3.14", "3.13", "3.12", "3.11", "3.10")


def folders() -> list[str]:
    """Folders to look in: those of PATH, and what pyenv installed. pyenv's own shims answer only for what it has switched on."""
    path = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if not folder.endswith("/.pyenv/shims")]
    return path + [str(folder) for folder in sorted(Path.home().glob(".pyenv/versions/*/bin"), reverse=True)]


def found() -> dict[str, str]:
    """The folder of each interpreter by its version, newest first; the virtual environment that this runs in does not count."""
    elsewhere = [folder for folder in folders() if Path(folder).resolve() != Path(sys.prefix, "bin").resolve()]
    places = {version: next((f for f in elsewhere if os.access(f"{f}/python{version}", os.X_OK)), None) for version in VERSIONS}
    return {version: place for version, place in places.items() if place}


def search_path(interpreters: dict[str, str]) -> str:
    """A PATH on which each of these is found by its name."""
    path = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if not folder.endswith("/.pyenv/shims")]
    return os.pathsep.join(dict.fromkeys([*path, *interpreters.values()]))
