# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another user by setpriv, whose home is $BECOME_HOME: for root, where there is no sudo."""
from __future__ import annotations

import os
import shlex

from ansible.plugins.become import BecomeBase

DOCUMENTATION = """
name: other
short_description: Another user
description: For the tests.
options:
  become_user:
    description: The user.
    default: nobody
    keyword: [{name: become_user}]
  become_exe: {description: Unused.}
  become_flags: {description: Unused.}
  become_pass: {description: Unused.}
"""


class BecomeModule(BecomeBase):
    name = "other"

    def build_become_command(self, cmd: str, shell: object) -> str:
        user = str(self.get_option("become_user"))
        home = os.environ["BECOME_HOME"]
        return shlex.join(["setpriv", f"--reuid={user}", "--clear-groups", "env", f"HOME={home}", "/bin/sh", "-c", cmd])
