# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""xapisim in this process, on ports of its own, and the ways to call it."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from xapisim import registry, scenario
from xapisim.pool import Pool
from xapisim.server import Server


class Sim:
    """A running simulator: `pools` by name, and calls over real HTTP to the first pool's coordinator."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pools = server.pools
        self.pool: Pool = next(iter(server.pools.values()))
        self.url = server.info["pools"][0]["url"]
        self.session = self.ok("session.login_with_password", "root", self.pool.sessions.users["root"].password)

    def post(self, path: str, body: bytes, method: str = "POST", url: str = "") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one HTTP request."""
        parts = urlsplit(url or self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            connection.request(method, path, body or None)
            reply = connection.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def raw(self, method: str, *params: Any, url: str = "") -> dict[str, Any]:
        """The JSON reply to a call with exactly these parameters."""
        request = {"jsonrpc": "2.0", "method": method, "params": list(params), "id": 1}
        status, _headers, body = self.post("/jsonrpc", json.dumps(request).encode(), url=url)
        assert status == 200, body
        return json.loads(body)

    def ok(self, method: str, *params: Any, url: str = "") -> Any:
        """The result of a call with exactly these parameters, which must succeed."""
        reply = self.raw(method, *params, url=url)
        assert "error" not in reply, reply
        return reply["result"]

    def call(self, method: str, *args: Any) -> Any:
        """The result of a call in root's session."""
        return self.ok(method, self.session, *args)

    def error(self, method: str, *params: Any, url: str = "") -> list[str]:
        """The error of a call with exactly these parameters, which must fail."""
        reply = self.raw(method, *params, url=url)
        assert "error" in reply, reply
        return [reply["error"]["message"], *reply["error"]["data"]]

    def refused(self, method: str, *args: Any) -> list[str]:
        """The error of a call in root's session."""
        return self.error(method, self.session, *args)


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[..., Sim]]:
    """A function that starts a simulator for a scenario (a dict); all end with the test session."""
    registry.load_behaviours()
    servers: list[Server] = []

    def begin(content: dict[str, Any] | None = None, **options: Any) -> Sim:
        server = Server(scenario.build(content or {"pools": [{"name": "alpha"}]}), **options)
        servers.append(server)
        server.start()
        return Sim(server)

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def sim(start: Callable[..., Sim]) -> Sim:
    """One pool of two hosts, shared by the tests of a module."""
    return start()


class Guests:
    """VMs for tests, made through the API as clients make them."""

    MINIMAL: dict[str, Any] = {
        "user_version": 1, "is_a_template": False, "affinity": "OpaqueRef:NULL",
        "memory_static_max": 1 << 30, "memory_dynamic_max": 1 << 30,
        "memory_dynamic_min": 1 << 30, "memory_static_min": 1 << 29,
        "VCPUs_params": {}, "VCPUs_max": 1, "VCPUs_at_startup": 1,
        "actions_after_shutdown": "destroy", "actions_after_reboot": "restart", "actions_after_crash": "restart",
        "PV_bootloader": "", "PV_kernel": "", "PV_ramdisk": "", "PV_args": "", "PV_bootloader_args": "",
        "PV_legacy_args": "", "HVM_boot_policy": "BIOS order", "HVM_boot_params": {"order": "dc"}, "platform": {},
        "PCI_bus": "", "other_config": {}, "recommendations": "",
    }  # fmt: skip

    def __init__(self, sim: Sim) -> None:
        self.sim = sim

    def new(self, name: str = "guest", *, tools: bool = False, **fields: Any) -> str:
        """A halted VM; with tools its agent reports a simulated second after a start."""
        other = {**fields.pop("other_config", {}), **({"xapisim_tools": "true"} if tools else {})}
        record = {**self.MINIMAL, "name_label": name, "other_config": other, **fields}
        return str(self.sim.call("VM.create", record))

    def sr(self, name: str = "NFS storage") -> str:
        """An SR by name; of several with that name, the first."""
        return str(self.sim.call("SR.get_by_name_label", name)[0])

    def disk(self, vm: str, *, sr: str = "", size: int = 1 << 30, **fields: Any) -> tuple[str, str]:
        """A VDI and its VBD."""
        vdi = self.sim.call(
            "VDI.create",
            {
                "name_label": "disk", "SR": sr or self.sr(), "virtual_size": size, "type": "user",
                "sharable": False, "read_only": False, "other_config": {},
            },
        )  # fmt: skip
        return vdi, self.attach(vm, vdi, **fields)

    def attach(self, vm: str, vdi: str, **fields: Any) -> str:
        """A VBD, an empty drive for a NULL VDI."""
        empty = vdi == "OpaqueRef:NULL"
        record = {
            "VM": vm, "VDI": vdi, "userdevice": "autodetect", "bootable": True, "mode": "RO" if empty else "RW",
            "type": "CD" if empty else "Disk", "empty": empty, "other_config": {}, "qos_algorithm_type": "",
            "qos_algorithm_params": {}, **fields,
        }  # fmt: skip
        return str(self.sim.call("VBD.create", record))

    def nic(self, vm: str, network: str = "", **fields: Any) -> str:
        """A VIF, on the network of eth0 if none is named."""
        network = network or self.sim.call("network.get_by_name_label", "Pool-wide network associated with eth0")[0]
        record = {
            "VM": vm, "network": network, "device": "0", "MAC": "", "MTU": 1500, "other_config": {},
            "qos_algorithm_type": "", "qos_algorithm_params": {}, **fields,
        }  # fmt: skip
        return str(self.sim.call("VIF.create", record))

    def running(self, name: str = "guest", *, tools: bool = True, **fields: Any) -> str:
        """A running VM whose agent, if it has one, has reported."""
        vm = self.new(name, tools=tools, **fields)
        self.sim.call("VM.start", vm, False, False)
        if tools:
            self.sim.pool.clock.advance(2)
        return vm

    def get(self, vm: str, field: str) -> Any:
        """One field."""
        return self.sim.call(f"VM.get_{field}", vm)

    def state(self, vm: str) -> str:
        """The power state."""
        return str(self.get(vm, "power_state"))


@pytest.fixture
def guests(sim: Sim) -> Guests:
    """VMs on the module's simulator."""
    return Guests(sim)
