# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind every module that speaks XAPI: it runs on the controller, as the user who runs Ansible.

Each of them has an action of its own name, which is this one: so Ansible loads it in its main process, before it forks workers. It does
not where meta/runtime.yml leads to an action of another name; and a redirection or a link would be taken for the module's new name.
A play may be for the pool's hosts and have `become: true`: neither matters to an API. An explicit `delegate_to` is kept.
It prints the module's progress while it runs: all of it at -v, else what it is at whenever PATIENCE seconds have passed.

A module runs in a fork of the worker (plugin_utils/direct.py), with all that it imports. Ansible's own way, with a new interpreter, is
taken for `async`, on another machine, with variables of `environment` that only a new interpreter heeds, and where the variable
nobloat_xen_direct is false.
"""
from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import connection_loader
from ansible.utils.display import Display
from ansible_collections.nobloat.xen.plugins.module_utils.module import (
    PROGRESS_VARIABLE,
)
from ansible_collections.nobloat.xen.plugins.plugin_utils import direct

display = Display()
PATIENCE = 10.0

MODULES = "ansible_collections.nobloat.xen.plugins.modules."
for _path in Path(__file__).parents[1].glob("modules/*.py"):
    if "- nobloat.xen.xapi\n" in _path.read_text(encoding="utf-8"):  # the documentation of the login
        import_module(MODULES + _path.stem)


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
            task_vars["ansible_python_interpreter"] = sys.executable
        self._connection.become = None
        self._task.become = self._play_context.become = False
        main = self._main(task_vars)
        with self._progress() as follow:
            if main:
                result.update(direct.execute(self, self._task.action, self._task.args, task_vars, main, follow))
            else:
                follow()
                result.update(self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val))
        return result

    def _main(self, task_vars: dict[str, Any]) -> Callable[[], None] | None:
        """Of the module, if it can be run directly."""
        if self._connection.transport != "local" or self._task.async_val:
            return None
        if not boolean(self._templar.template(task_vars.get("nobloat_xen_direct", True))):
            return None
        if any(name.startswith(direct.AT_START) for name in direct.environment(self)):
            return None
        found = self._shared_loader_obj.module_loader.find_plugin_with_context(
            self._task.action, collection_list=self._task.collections)
        return getattr(sys.modules.get(found.plugin_resolved_name), "main", None)

    @contextmanager
    def _progress(self) -> Iterator[Callable[[], None]]:
        """Print the lines that the module appends to a file, as they come, with a local connection.

        What it yields begins with that: a process that forks has no threads yet.
        """
        if self._connection.transport != "local" or self._task.async_val:
            yield lambda: None
            return
        handle, path = tempfile.mkstemp(prefix="nobloat-xen-progress-")
        os.close(handle)
        self._task.environment = [*(self._task.environment or []), {PROGRESS_VARIABLE: path}]
        ended = threading.Event()
        follower = threading.Thread(target=self._follow, args=(path, ended), daemon=True)
        try:
            yield follower.start
        finally:
            ended.set()
            if follower.is_alive():
                follower.join()
            os.unlink(path)

    def _follow(self, path: str, ended: threading.Event) -> None:
        shown, line = time.monotonic(), ""
        with open(path, encoding="utf-8") as stream:
            while True:
                last = ended.wait(0.2)
                for line in stream:
                    if display.verbosity:
                        display.v(self._told(line))
                if last:
                    return
                if line and not display.verbosity and time.monotonic() - shown > PATIENCE:
                    display.display(self._told(line))
                    shown, line = time.monotonic(), ""

    def _told(self, line: str) -> str:
        """Names come from a pool: what steers a terminal does not get there."""
        text = f"{self._task.args.get('name', self._task.action)}: {line.rstrip()}"
        return "".join(char if char.isprintable() else "?" for char in text)
