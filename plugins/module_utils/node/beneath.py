# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths below a folder whose content a guest has made: its links lead nowhere. Python 3.6 syntax.

The kernels of nodes have no openat2(2): each folder on the way is opened in the one before it, which refuses links by itself.
"""

import contextlib
import os
import stat
from typing import Iterator, Tuple

from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def refused(walked: str) -> NodeError:
    return NodeError(f"/{walked} is a link. Links of a guest are not followed here; name the place that it leads to.")


@contextlib.contextmanager
def beneath(top: str, path: str) -> Iterator[Tuple[int, str]]:
    """(the folder that `path` is in, as an open descriptor; its last name). `path` is relative to `top`, and normal.

    Raises NodeError if it, or a folder on the way, is a link; FileNotFoundError or NotADirectoryError if it is not there.
    """
    *folders, name = path.split("/")
    folder = os.open(top, FOLDER)
    try:
        for number, each in enumerate([*folders, name], 1):
            if stat.S_ISLNK(os.lstat(each, dir_fd=folder).st_mode):
                raise refused("/".join(path.split("/")[:number]))
            if number <= len(folders):
                below = os.open(each, FOLDER, dir_fd=folder)
                os.close(folder)
                folder = below
        yield folder, name
    finally:
        os.close(folder)


def fresh(path: str) -> int:
    """A new, empty file that only root reads, open for writing, in place of what has the name: a link is not followed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
