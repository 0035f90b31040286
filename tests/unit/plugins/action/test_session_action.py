# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.nobloat.xen.plugins.action import session


def follower(
    path: Path, monkeypatch: pytest.MonkeyPatch, verbosity: int, **args: str
) -> tuple[Callable[[threading.Event], None], list[str]]:
    shown: list[str] = []
    monkeypatch.setattr(session.display, "v" if verbosity else "display", shown.append)
    monkeypatch.setattr(session.display, "verbosity", verbosity)
    action = object.__new__(session.ActionModule)
    action._task = SimpleNamespace(args=args, action="nobloat.xen.vm")
    return lambda ended: action._follow(str(path), ended), shown


def test_a_name_does_not_steer_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "progress"
    path.write_text("create guest web\x1b]0;evil\x07\x9b2J\rok ümlaut\n", encoding="utf-8", newline="")
    follow, shown = follower(path, monkeypatch, 1, name="web\x1b[8m")
    ended = threading.Event()
    ended.set()
    follow(ended)
    assert shown and all(text.isprintable() for text in shown)
    assert "create guest web?]0;evil??2J" in shown[0]


@pytest.mark.parametrize("patience", [0.0, 3600.0])
def test_a_long_task_tells_now_and_then_what_it_is_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float) -> None:
    path, ended = tmp_path / "progress", threading.Event()
    path.write_text("one\ntwo (2 of 3)\n", encoding="utf-8")
    monkeypatch.setattr(session, "PATIENCE", patience)
    follow, shown = follower(path, monkeypatch, 0)
    thread = threading.Thread(target=follow, args=[ended])
    thread.start()
    deadline = time.monotonic() + 60
    while patience == 0.0 and not shown and time.monotonic() < deadline:
        time.sleep(0.05)
    ended.set()
    thread.join()
    assert shown == ([] if patience else ["nobloat.xen.vm: two (2 of 3)"]), "the latest, once, or nothing of a short task"
