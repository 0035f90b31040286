# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secret of a node: a file that is root's alone. Python 3.6 syntax."""

import os
import stat
from functools import partial
from typing import Optional

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.exports import write_file
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError


def secret_of(path: str) -> Optional[str]:
    """What is in the file, None where there is none. Raises NodeError for a file that is not our user's alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise NodeError(f"{path} is not a file that only root may read and write (mode 0600), so what is in it may be no secret. "
                            "Find out who has changed that; then remove it, or give it back to root.")
        return os.read(descriptor, 65536).decode().strip()
    finally:
        os.close(descriptor)


def plan(path: str, wanted: Optional[str]) -> ChangeSet:
    """Have the secret `wanted`, unless there is one."""
    found = secret_of(path)
    changes = ChangeSet(f"secret {path}", {"path": path} if found is not None else {})
    if found is None and wanted:
        changes.after = {"path": path}
        changes.step(f"write {path}", partial(write_file, path, f"{wanted}\n", 0o600), partial(os.unlink, path))
    changes.facts["content"] = wanted if changes.steps else found
    return changes
