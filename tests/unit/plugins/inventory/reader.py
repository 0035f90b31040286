# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads inventories as Ansible's programs do, in a process of its own: Ansible's loader of collections would disturb other tests.

Each line of the input is a JSON list of files; each line of the output has what they come to.
"""
from __future__ import annotations

import json
import sys
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.utils.display import Display

SAID: list[str] = []


def say(_display: Display, *texts: Any, **named: Any) -> None:
    """Instead of printing, wrapping and leaving out what was said before."""
    SAID.append(" ".join(map(str, (*texts, *named.values()))))


def read(files: list[str]) -> dict[str, Any]:
    """`found` has the form in which ansible-inventory prints an inventory; `failed` is whether there is none."""
    SAID.clear()
    try:
        manager = InventoryManager(loader=DataLoader(), sources=files)
    except AnsibleError as error:
        return {"failed": True, "said": " ".join([*SAID, str(error)]), "found": {}}
    hosts = {name: {key: value for key, value in host.vars.items() if not key.startswith("inventory_")}
             for name, host in manager.hosts.items()}
    groups = {name: {"hosts": [host.name for host in group.hosts], "children": [child.name for child in group.child_groups]}
              for name, group in manager.groups.items()}
    return {"failed": False, "said": " ".join(SAID), "found": {"_meta": {"hostvars": hosts}, **groups}}


if __name__ == "__main__":
    init_plugin_loader()
    for method in ("warning", "error", "error_as_warning"):
        setattr(Display, method, say)
    for line in sys.stdin:
        print(json.dumps(read(json.loads(line))), flush=True)
