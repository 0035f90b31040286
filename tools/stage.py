#!/usr/bin/env python3
# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy the collection to where ansible-test wants it: python tools/stage.py FOLDER -> FOLDER/ansible_collections/nobloat/xen.

ansible-test goes by the real path of its working folder, so a link is not enough. What git ignores stays behind.
"""
from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def stage(folder: Path) -> Path:
    """Make the copy anew and return its root."""
    target = folder / "ansible_collections/nobloat/xen"
    shutil.rmtree(target, ignore_errors=True)
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.check_output(command, text=True).split("\0"):
        source = ROOT / name
        if name and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    # ansible-test lists the files by git; a tree of its own keeps it from asking the clone around it.
    subprocess.check_call(["git", "init", "--quiet", str(target)])
    subprocess.check_call(["git", "-C", str(target), "add", "--all"])
    return target


if __name__ == "__main__":
    print(stage(Path(sys.argv[1]).resolve()))
