# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as Ansible sees it, from the main namespace: groups nodes, guests and, with XAPI, pools."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from .description import NODE_NICS, SAN_NICS, SAN_OPERATOR, Machine
from .lab import Lab
from .machine import HERE, SSH


def inventory(lab: Lab) -> dict[str, Any]:
    """Content of a YAML inventory."""
    what = lab.description
    children: dict[str, Any] = {
        "nodes": {"hosts": {m.name: _node(lab, m) for m in what.nodes}},
        "guests": {"hosts": {m.name: _machine(lab, m) for m in what.guests}},
    }
    info = lab.xapi
    if info is not None:
        children["pools"] = {
            "hosts": {
                pool["name"]: {
                    "xapi_hostname": pool["url"], "xapi_username": pool["username"], "xapi_password": pool["password"],
                    **({"xapi_ca_path": info["ca"]} if "ca" in info else {}),
                }
                for pool in info["pools"]
            }
        }  # fmt: skip
    return {"all": {"children": children}}


def write(lab: Lab) -> Path:
    """Keep it as inventory.yml in the lab's folder."""
    import yaml

    with tempfile.NamedTemporaryFile("w", dir=lab.folder, delete=False, encoding="utf-8") as draft:  # two may write at once
        yaml.safe_dump(inventory(lab), draft, sort_keys=False, width=1000)
    return Path(draft.name).rename(lab.folder / "inventory.yml")


def _machine(lab: Lab, machine: Machine) -> dict[str, Any]:
    proxy = lab.network.inside(sys.executable, "-I", "-S", str(HERE / "connect.py"), "%h", "%p")
    options = [*SSH, "-o", f"ProxyCommand={shlex.join(proxy)}"]
    return {
        "ansible_host": machine.address,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(lab.image.key),
        "ansible_ssh_common_args": shlex.join(options),
        # Labs have the same addresses: their shared connections must not.
        "ansible_control_path": f"%(directory)s/{lab.namespace}-%%h",
        "ansible_ssh_pipelining": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        **machine.vars,
    }


def _node(lab: Lab, machine: Machine) -> dict[str, Any]:
    what = lab.description
    found = {
        **_machine(lab, machine),
        "node_disks": [f"/dev/mapper/disk{n}" for n in range(1, len(machine.disks) + 1)],
        "service_nics": [f"eth{n}" for n in NODE_NICS if n not in SAN_NICS],
        "san_nics": [f"eth{n}" for n in SAN_NICS],
        "san_address": machine.san_addresses[0],
        "san_addresses": machine.san_addresses,  # one for each SAN NIC, for two paths instead of a bond
        "san_prefix": 24,
        "san_vlan": what.san.vlan,
        "san_mtu": what.san.mtu,
        "san_arp_target": SAN_OPERATOR,
        "initiator_name": machine.initiator,
    }
    info = lab.xapi
    if info is not None:
        pool = info["pools"][0]
        found["xapi_host"] = machine.name
        found["xapi_pool"] = pool["name"]
        found["xapi_hostname"] = next(each["url"] for each in pool["hosts"] if each["name"] == machine.name)
    return found
