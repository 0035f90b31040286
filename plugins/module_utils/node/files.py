# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a node that are files: what they are, what they shall be, and back. Python 3.6 syntax."""

import os
from functools import partial
from typing import Any, Dict, List, Optional

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.node.exports import write_file

# What a masked file leads to.
NULL = "/dev/null"


def text(root: str, path: str) -> Optional[str]:
    """The text of a file; of a link what it leads to; None where there is nothing."""
    full = os.path.join(root, path)
    if os.path.islink(full):
        return os.readlink(full)
    try:
        with open(full, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return None


def put(root: str, path: str, wanted: Optional[str], mode: int = 0o644) -> None:
    """Have a file of this text, a link to NULL, or (None) nothing."""
    full = os.path.join(root, path)
    if os.path.lexists(full) and (wanted in (NULL, None) or os.path.islink(full)):
        os.unlink(full)
    if wanted == NULL:
        os.makedirs(os.path.dirname(full), exist_ok=True)
        os.symlink(NULL, full)
    elif wanted is not None:
        write_file(full, wanted, mode)


class FilesPlan(ChangeSet):
    """The views are {path: text}. Those files are written that are not as wanted; None stands for one that shall not be there."""

    def __init__(self, title: str, root: str, wanted: Dict[str, Optional[str]], programs: Any = ()) -> None:
        before = {path: text(root, path) for path in wanted}
        super().__init__(title, {f"/{path}": told for path, told in before.items() if told is not None},
                         {f"/{path}": told for path, told in wanted.items() if told is not None})
        self.stale = [path for path in wanted if before[path] != wanted[path]]
        for path in self.stale:
            mode = 0o755 if path in programs else 0o644
            word = "remove" if wanted[path] is None else "write"
            self.step(f"{word} /{path}", partial(put, root, path, wanted[path], mode), partial(put, root, path, before[path], mode))

    def diff(self) -> List[Dict[str, Any]]:
        return [{"before": self.before.get(f"/{path}", ""), "after": self.after.get(f"/{path}", ""),
                 "before_header": f"/{path}", "after_header": f"/{path}"} for path in self.stale]
