# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps that several network modules plan."""
from __future__ import annotations

from typing import Any

from ansible_collections.nobloat.xen.plugins.module_utils.change import ChangeSet
from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule


def step_network(module: XapiModule, changes: ChangeSet, made: dict[str, str]) -> None:
    """Plan a plain network of the name that the options say; its reference comes into `made` under `ref`."""
    call, name = module.xapi.call, module.params["name"]

    def create() -> dict[str, Any]:
        made["ref"] = call("network.create", {"name_label": name, "MTU": 1500, "bridge": "", "other_config": {}})
        made["uuid"] = call("network.get_uuid", made["ref"])
        return {"uuid": made["uuid"]}

    changes.after["name"] = name
    changes.step(
        f"create network {name}", create, undo=lambda: call("network.destroy", made["ref"]), leaves=f"network {name}"
    )
