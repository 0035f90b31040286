# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries module node_wait, as an action of modules of nodes runs it, until it answers."""
from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.nobloat.xen.plugins.plugin_utils import node

PAUSE = 1.0


class ActionModule(node.ActionModule):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        begin = time.monotonic()
        while True:
            try:
                result = super().run(tmp, task_vars)
                error = str(result.get("msg", ""))
                if not result.get("failed") or "module_stderr" not in result:  # it answers, or the options are wrong
                    return {**result, "elapsed": int(time.monotonic() - begin)} if not result.get("failed") else result
            except AnsibleConnectionFailure as failure:
                error = str(failure)
            timeout = float(self._task.args.get("timeout", 600))
            if time.monotonic() - begin + PAUSE > timeout:
                return {"failed": True, "msg": f"The node did not answer for {timeout:g} seconds: {error}"}
            with suppress(Exception):  # nothing may be there to be reset
                self._connection.reset()
            time.sleep(PAUSE)
