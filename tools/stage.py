# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the collection where Ansible wants it, below ansible_collections/nobloat/xen, whatever folder the clone lies in.

`link` is enough for ansible itself. ansible-test goes by the real path of its working folder: for it `stage` makes a copy.
"""
from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".work/collections"
PLACE = "ansible_collections/nobloat/xen"


def work() -> Path:
    """The folder for environments and copies: .work, or one that .work/elsewhere leads to if the clone's path has a space.

    pip and ansible-test begin scripts with the path of an interpreter (#!), and there a path ends at a space.
    """
    folder = ROOT / ".work"
    if " " not in str(folder):
        return folder
    elsewhere = folder / "elsewhere"
    if not elsewhere.is_dir():
        elsewhere.unlink(missing_ok=True)
        elsewhere.symlink_to(tempfile.mkdtemp(prefix="nobloat-xen-"))
    return elsewhere.resolve()


def linked() -> Path:
    """The root of the collection by the path that Ansible knows."""
    return COLLECTIONS / PLACE


def link() -> Path:
    """Make the link, if it is not there, and return the folder for ANSIBLE_COLLECTIONS_PATH."""
    if not linked().is_symlink():
        linked().parent.mkdir(parents=True, exist_ok=True)
        linked().symlink_to("../../../..")
    return COLLECTIONS


def stage(folder: Path) -> Path:
    """Copy the collection below a folder, without what git ignores, and return the root of the copy."""
    target = folder / PLACE
    shutil.rmtree(target, ignore_errors=True)
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.check_output(command, text=True).split("\0"):
        source = ROOT / name
        if name and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
    # ansible-test lists the files by git; a tree of its own keeps it from asking the clone around it.
    subprocess.check_call(["git", "init", "--quiet", str(target)])
    subprocess.check_call(["git", "-C", str(target), "add", "--all"])
    return target


if __name__ == "__main__":
    print(link())
