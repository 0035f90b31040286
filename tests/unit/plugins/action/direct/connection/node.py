# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to a node, which is this machine; its /run/nobloat.xen is $NODE_PLACE. Each command is noted with what it was fed."""
from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: node
short_description: A node
description: For the tests.
extends_documentation_fragment: [connection_pipelining]
"""


class Connection(Local):
    transport = "node"

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        if self._play_context.remote_addr == "nowhere":
            raise AnsibleConnectionFailure("There is no such machine.")
        log = os.environ["NODE_PLACE"] + ".log"
        if self._play_context.remote_addr == "shaky" and os.path.exists(log) and os.path.getsize(log) % 2:
            with open(log, "a", encoding="utf-8") as stream:
                stream.write("\n")
            raise AnsibleConnectionFailure("It is gone for a moment.")
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(f"{len(in_data or b''):6}\n")
        said: Any = super().exec_command(cmd.replace("/run/nobloat.xen", os.environ["NODE_PLACE"]), in_data=in_data, sudoable=sudoable)
        return said

    @property
    def has_pipelining(self) -> bool:  # type: ignore[override]
        return self._play_context.remote_addr != "plain"
