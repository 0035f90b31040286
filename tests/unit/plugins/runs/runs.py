# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of modules in processes of their own, to let them race or to kill them; and a pool as the plain SDK reads it."""
from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections import Counter
from importlib import import_module
from typing import Any

import XenAPI
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import marks
from ansible_collections.nobloat.xen.plugins.plugin_utils import direct

PATIENCE = 120.0  # seconds that a run gets: far more than it needs
# Shorter than for users, so that a test does not wait for half a minute until a killed run counts as dead. Long enough for a slow
# machine: a run whose beat comes so late that it is taken for dead would fail the races.
BEAT, SILENCE = 0.2, 3.0
LONG = bool(os.environ.get("LONG_RUNS"))  # many times more of all

POOL = {
    "hosts": [{"name": "one"}, {"name": "two"}],
    "templates": ["Debian Bookworm 12"],
    "srs": [
        {"name": "vmstore", "type": "nfs", "size": "2TiB", "default": True, "device_config": {"server": "nas", "serverpath": "/vms"}},
    ],
    "networks": [{"name": "frontend", "nic": "eth1", "vlan": 10}],
    "vms": [
        {"name": "golden", "template": "Debian Bookworm 12", "is_a_template": True, "disks": [{"size": "1GiB"}, {"size": "1GiB"}]},
        {"name": "running", "template": "Debian Bookworm 12", "disks": [{"size": "1GiB"}], "power_state": "Running", "ip": "10.1.0.1"},
        {"name": "halted", "template": "Debian Bookworm 12", "disks": [{"size": "1GiB"}]},
    ],
}

# What modules make in several calls: name: (module, options), and for some, options of a run before that.
CASES = {
    "blank guest": ("vm", {
        "name": "web1", "template": "Debian Bookworm 12", "memory": "1GiB", "vcpus": 2, "other_config": {"a": "b"},
        "disks": [{"size": "1GiB"}, {"size": "2GiB", "name": "data"}], "nics": [{"network": "frontend"}],
    }),
    "full copy": ("vm", {
        "name": "web1", "template": "golden", "full_copy": True, "disks": [{"size": "2GiB"}, {"size": "1GiB"}, {"size": "1GiB"}],
        "nics": [{"network": "frontend"}],
    }),
    "devices of a running guest": ("vm", {
        "name": "running", "disks": [{"device": 0}, {"device": 1, "size": "1GiB"}], "nics": [{"network": "frontend"}],
    }),
    "snapshot with memory": ("vm_snapshot", {"vm": "running", "name": "before", "memory": True, "description": "with memory"}),
    "snapshot": ("vm_snapshot", {"vm": "halted", "name": "before", "description": "without memory"}),
    "SR": ("sr", {
        "name": "backup", "type": "nfs", "device_config": {"server": "nas", "serverpath": "/backup"}, "tags": ["a"],
        "description": "for backups", "other_config": {"a": "b"},
    }),
    "network with VLAN": ("network", {
        "name": "storage", "vlan": 20, "device": "eth1", "mtu": 9000, "default_locking_mode": "disabled", "bridge": "mystorage",
    }),
    "networks of a list": ("network", {"device": "eth1", "networks": [{"name": "storage", "vlan": 20}, {"name": "backup", "vlan": 21}]}),
    "snapshots of a list": ("vm_snapshot", {"snapshots": [{"vm": "running", "name": "before"}, {"vm": "halted", "name": "before"}]}),
    "bond": ("bond", {"name": "san", "members": ["eth2", "eth3"], "mode": "active-backup"}),
    "config drive": ("cloud_config", {"vm": "halted", "user_data": {"hostname": "halted"}}),
    "another config drive": (
        "cloud_config", {"vm": "halted", "user_data": {"hostname": "other"}}, {"vm": "halted", "user_data": {"hostname": "halted"}},
    ),
    "attached VDI": ("vdi", {"name": "data", "size": "1GiB", "vm": "running"}),
}


class Run:
    """A module that runs in a process of its own, from now on."""

    def __init__(self, name: str, args: dict[str, Any]) -> None:
        module = import_module(f"ansible_collections.nobloat.xen.plugins.modules.{name}")
        reader, writer = os.pipe()
        self.seconds, self._begun = 0.0, time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            os.close(reader)
            marks.BEAT, marks.SILENCE = BEAT, SILENCE
            internal = {"_ansible_check_mode": False, "_ansible_diff": True, "_ansible_module_name": f"nobloat.xen.{name}"}
            options = json.dumps({"ANSIBLE_MODULE_ARGS": {**args, **internal}}).encode()
            direct.become_module(module.main, options, {}, [writer, sys.stderr.fileno()])
        os.close(writer)
        self._reader = reader

    def end(self) -> dict[str, Any]:
        """What it returned."""
        said = self._read(PATIENCE)
        assert said is not None, "a run did not end"
        self.seconds = time.monotonic() - self._begun
        return json.loads(said)

    def kill(self, at: float) -> bool:
        """Kill it so many seconds after its beginning. False if it has ended by itself before."""
        return self._read(self._begun + at - time.monotonic()) is None

    def _read(self, seconds: float) -> str | None:
        deadline, said = time.monotonic() + seconds, b""
        try:
            while select.select([self._reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
                chunk = os.read(self._reader, 1 << 16)
                if not chunk:
                    return said.decode()
                said += chunk
            os.kill(self.pid, signal.SIGKILL)
            return None
        finally:
            os.close(self._reader)
            os.waitpid(self.pid, 0)


def login(info: dict[str, Any], pool: str, user: str = "", password: str = "") -> dict[str, Any]:
    """The connection options of modules for a pool of xapisim's ready line, for root unless said otherwise."""
    found = next(each for each in info["pools"] if each["name"] == pool)
    return {"hostname": found["url"], "username": user or found["username"], "password": password or found["password"]}


def read(options: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """All records of what modules make, {class: {ref: record}}, by the SDK alone."""
    session = XenAPI.Session(options["hostname"], ignore_ssl=True)
    session.xenapi.login_with_password(options["username"], options["password"], "1.0", "tests")
    try:
        return {name: getattr(session.xenapi, name).get_all_records()
                for name in ("VM", "VDI", "VBD", "VIF", "SR", "PBD", "network", "PIF", "Bond", "tunnel", "host", "task")}
    finally:
        session.xenapi.session.logout()


def picture(options: dict[str, Any]) -> Counter[tuple[Any, ...]]:
    """What there is in a pool, in names instead of references and uuids: two pools in the same state have the same."""
    pool = read(options)

    def name(cls: str, ref: str) -> Any:
        record = pool[cls].get(ref)
        return record["name_label"] if record else None

    def config(record: dict[str, Any]) -> tuple[Any, ...]:
        kept = {key: value for key, value in record["other_config"].items() if key not in ("mac_seed", "import_task")}
        return tuple(sorted((key, "..." if key.startswith("nobloat.xen.cloud_config") else value) for key, value in kept.items()))

    seen: list[tuple[Any, ...]] = []
    for vm in pool["VM"].values():
        seen.append(("VM", vm["name_label"], vm["is_a_template"], vm["is_a_snapshot"], name("VM", vm["snapshot_of"]), vm["power_state"],
                     vm["name_description"], vm["memory_static_max"], config(vm), len(vm["VBDs"]), len(vm["VIFs"])))
    for vdi in pool["VDI"].values():
        seen.append(("VDI", vdi["name_label"], name("SR", vdi["SR"]), vdi["virtual_size"], vdi["is_a_snapshot"], vdi["type"], config(vdi),
                     len(vdi["VBDs"])))
    for vbd in pool["VBD"].values():
        seen.append(("VBD", name("VM", vbd["VM"]), vbd["userdevice"], name("VDI", vbd["VDI"]), vbd["type"], vbd["mode"],
                     vbd["currently_attached"], config(vbd)))
    for vif in pool["VIF"].values():
        seen.append(("VIF", name("VM", vif["VM"]), vif["device"], name("network", vif["network"]), vif["currently_attached"], config(vif)))
    for sr in pool["SR"].values():
        seen.append(("SR", sr["name_label"], sr["type"], sr["shared"], sr["name_description"], tuple(sorted(sr["tags"])), config(sr)))
    for pbd in pool["PBD"].values():
        seen.append(("PBD", name("SR", pbd["SR"]), name("host", pbd["host"]), pbd["currently_attached"]))
    for network in pool["network"].values():
        seen.append(("network", network["name_label"], network["MTU"], network["default_locking_mode"], len(network["PIFs"])))
    for pif in pool["PIF"].values():
        seen.append(("PIF", name("host", pif["host"]), pif["device"], pif["VLAN"], name("network", pif["network"]),
                     len(pif["bond_master_of"]), pif["bond_slave_of"] != "OpaqueRef:NULL", len(pif["tunnel_access_PIF_of"])))
    return Counter(seen)
