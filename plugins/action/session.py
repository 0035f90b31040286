# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind every module that speaks XAPI: it runs on the controller, as the user who runs Ansible.

meta/runtime.yml leads all of them here; the file has the name of one, because an action needs a module that documents it.
A play may be for the pool's hosts and have `become: true`: neither matters to an API. An explicit `delegate_to` is kept.
At -v it prints the module's progress while it runs.
"""
from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from sys import executable
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import connection_loader
from ansible.utils.display import Display
from ansible_collections.nobloat.xen.plugins.module_utils.module import (
    PROGRESS_VARIABLE,
)

display = Display()


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_async = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        task_vars = dict(task_vars or {})
        if not self._task.delegate_to and self._connection.transport != "local":
            self._connection = connection_loader.get("ansible.builtin.local", self._play_context, os.devnull)
        if self._connection.transport == "local":
            task_vars["ansible_python_interpreter"] = executable
        self._connection.become = None
        self._task.become = self._play_context.become = False
        with self._progress():
            result.update(self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val))
        return result

    @contextmanager
    def _progress(self) -> Iterator[None]:
        """Print the lines that the module appends to a file, as they come, at -v and with a local connection."""
        if not display.verbosity or self._connection.transport != "local" or self._task.async_val:
            yield
            return
        handle, path = tempfile.mkstemp(prefix="nobloat-xen-progress-")
        os.close(handle)
        self._task.environment = [*(self._task.environment or []), {PROGRESS_VARIABLE: path}]
        ended = threading.Event()
        follower = threading.Thread(target=self._follow, args=(path, ended), daemon=True)
        follower.start()
        try:
            yield
        finally:
            ended.set()
            follower.join()
            os.unlink(path)

    def _follow(self, path: str, ended: threading.Event) -> None:
        with open(path, encoding="utf-8") as stream:
            while True:
                last = ended.is_set()
                for line in stream:
                    text = f"{self._task.args.get('name', self._task.action)}: {line.rstrip()}"
                    # Names come from a pool: what steers a terminal does not get there.
                    display.v("".join(char if char.isprintable() else "?" for char in text))
                if last:
                    return
                time.sleep(0.2)
