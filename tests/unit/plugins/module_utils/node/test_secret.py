# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secret of a node is a file that is nobody else's, and is never replaced."""
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.node.run import NodeError
from ansible_collections.nobloat.xen.plugins.module_utils.node.secret import plan


def test_it_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "etc/node.chap"
    assert not plan(str(path), None).steps
    made = plan(str(path), "first")
    assert made.facts["content"] == "first"
    assert "first" not in str(made.diff())
    made.apply()
    assert path.read_text(encoding="utf-8") == "first\n"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o755)
    again = plan(str(path), "second")
    assert (again.steps, again.facts["content"]) == ([], "first")


@pytest.mark.parametrize("how", ["mode", "folder"])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "node.chap"
    if how == "folder":
        path.mkdir(mode=0o700)
    else:
        path.write_text("known", encoding="utf-8")
        path.chmod(0o640)
    with pytest.raises(NodeError, match="not a file that only root may read and write"):
        plan(str(path), "other")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").touch(mode=0o600)
    (tmp_path / "node.chap").symlink_to("real")
    with pytest.raises(OSError, match="symbolic links"):
        plan(str(tmp_path / "node.chap"), "other")
