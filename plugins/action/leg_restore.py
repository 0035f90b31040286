# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As of every module of nodes; and what it has packed is brought here."""
from __future__ import annotations

import base64
import hashlib
import os
import shlex
from contextlib import suppress
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.nobloat.xen.plugins.plugin_utils import node


class ActionModule(node.ActionModule):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        archive, fetch = self._task.args.get("archive"), self._task.args.get("fetch")
        if not (archive and fetch) or self._task.check_mode:
            return super().run(tmp, task_vars)
        try:
            result = super().run(tmp, task_vars)
            wrong = "" if result.get("failed") else self._bring(archive, fetch)
        finally:
            with suppress(AnsibleConnectionFailure):
                self._low_level_execute_command(f"rm -f {shlex.quote(archive)}")
        return {**result, "failed": True, "msg": wrong} if wrong else result

    def _bring(self, archive: str, here: str) -> str:
        """Without a Python there. Returns what is wrong."""
        if self._connection.become:  # the user of the connection may not read it
            said = self._low_level_execute_command(f"base64 {shlex.quote(archive)}")
            with open(os.open(here, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                stream.write(base64.b64decode(said["stdout"]))
        else:
            self._connection.fetch_file(archive, here)
        said = self._low_level_execute_command(f"sha256sum < {shlex.quote(archive)}")
        digest = hashlib.sha256()
        with open(here, "rb") as stream:
            while part := stream.read(1 << 20):
                digest.update(part)
        if said["stdout"].split()[:1] == [digest.hexdigest()]:
            return ""
        return f"{archive} did not arrive whole in {here}. Run it again."
