# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.nobloat.xen.plugins.action import session


def test_a_name_does_not_steer_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, shown = tmp_path / "progress", []
    path.write_text("create guest web\x1b]0;evil\x07\x9b2J\rok ümlaut\n", encoding="utf-8", newline="")
    monkeypatch.setattr(session.display, "v", shown.append)
    action = object.__new__(session.ActionModule)
    action._task = SimpleNamespace(args={"name": "web\x1b[8m"}, action="nobloat.xen.vm")
    ended = threading.Event()
    ended.set()
    action._follow(str(path), ended)
    assert shown and all(text.isprintable() for text in shown)
    assert "create guest web?]0;evil??2J" in shown[0]
