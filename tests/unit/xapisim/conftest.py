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
