# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loaded by every Python process of the play: notes what others on the machine could see of it while it runs.

Arguments of processes, lines for the system's log, and files that are removed again, if a secret is in them.
"""
from __future__ import annotations

import os
import stat
import sys
from typing import Any

FOLDER = os.environ.get("SECRETS_FOLDER", "")
CORE = os.environ.get("SECRETS_CORE", "").encode()


def note(name: str, text: str) -> None:
    with open(os.path.join(FOLDER, name), "a", encoding="utf-8", errors="replace") as stream:
        stream.write(text + "\n")


def look(path: Any, folder: int) -> None:
    """A file that is about to be removed."""
    if isinstance(path, int):
        return
    name = os.fsdecode(path)
    try:
        found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=None if folder == -1 else folder)
    except OSError:
        return
    try:
        about = os.fstat(found)
        content = os.read(found, 1 << 20) if stat.S_ISREG(about.st_mode) else b""
    finally:
        os.close(found)
    if CORE in content:
        note("files", f"{about.st_mode & 0o777:o} {name}")


def watch(event: str, args: tuple[Any, ...]) -> None:
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
        note("processes", repr(args[1]))
    elif event == "os.system":
        note("processes", repr(args[0]))
    elif event == "syslog.syslog":
        note("syslog", str(args[1]))
    elif event == "os.remove":
        look(args[0], args[1])


if FOLDER:
    sys.addaudithook(watch)
