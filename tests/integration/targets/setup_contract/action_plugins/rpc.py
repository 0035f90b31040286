# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rpc: call XAPI through the plain SDK, without any of our modules; the answer is in `result`.

    - rpc:
        method: VM.add_to_blocked_operations
        params: ["{{ guest.ref }}", destroy, ask Ann]
"""
from __future__ import annotations

import json
from typing import Any

import XenAPI
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        login = (task_vars or {})["xapi"][(task_vars or {})["ansible_role_name"]]
        url, username, password = (str(login[key]) for key in ("hostname", "username", "password"))  # plain, not tagged
        session = XenAPI.Session(url, ignore_ssl=True)
        session.xenapi.login_with_password(username, password, "2.0", "integration tests")
        cls, method = str(self._task.args["method"]).split(".")
        params = json.loads(json.dumps(self._task.args["params"]))  # plain, too
        try:
            return {"changed": True, "result": getattr(getattr(session.xenapi, cls), method)(*params)}
        except XenAPI.Failure as error:
            return {"failed": True, "msg": str(error)}
        finally:
            session.xenapi.session.logout()
