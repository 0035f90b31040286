# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All pools of a scenario behind their ports, and the control port."""

from __future__ import annotations

import errno
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from . import control
from .http import HostServer
from .installer import Netboot
from .pool import HostRuntime, Pool


class StartError(Exception):
    """It cannot start; the text says why."""


class Server:
    """Listeners of all hosts of all pools. `info` is what the ready line says."""

    def __init__(self, pools: list[Pool], *, tls: bool = False, control_port: int = 0) -> None:
        self.pools = {pool.name: pool for pool in pools}
        self.netboot: dict[str, Netboot] = {}
        self._folder: Path | None = None
        self._authority = self._make_authority() if tls else None
        self._control_port = control_port
        self._port = 0
        self.info: dict[str, Any] = {}

    def _make_authority(self) -> Any:
        try:
            import trustme
        except ImportError:
            raise StartError("--tls needs the Python package trustme") from None
        self._folder = Path(tempfile.mkdtemp(prefix="xapisim-ca-"))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self._folder / "ca.pem"))
        return authority

    def _server(self, pool: Pool, runtime: HostRuntime, port: int) -> HostServer:
        if self._authority is not None:
            from .behaviour.host_certificate import issue

            with pool.lock:
                issue(pool, runtime, self._authority)
        return HostServer(pool, runtime, port, tls=self._authority is not None)

    def open(self, pool: Pool, runtime: HostRuntime) -> None:
        """Listen at the address of a host that has come to a running pool."""
        self._server(pool, runtime, pool.port).listen()

    def adopt(self, pool: Pool) -> None:
        """Serve a pool that has come into being while the others run."""
        pool.scheme = "https" if self._authority is not None else "http"
        self._listen(pool)
        pool.site = self
        self.pools[pool.name] = pool
        pool.start()

    def retire(self, pool: Pool) -> None:
        """Forget a pool whose host has joined another one, or was installed anew."""
        if self.pools.get(pool.name) is pool:
            del self.pools[pool.name]
        pool.close()

    def start(self) -> dict[str, Any]:
        """Listen everywhere; the ready line. StartError when an address or port is not free."""
        pools = []
        for pool in self.pools.values():
            pool.scheme = "https" if self._authority is not None else "http"
            self._listen(pool)
            pool.site = self
            hosts = [{"name": h.name, "url": f"{pool.scheme}://{h.address}:{pool.port}"} for h in pool.hosts.values()]
            master = pool.runtime(pool.master)
            pools.append(
                {
                    "name": pool.name,
                    "url": f"{pool.scheme}://{master.address}:{pool.port}",
                    "username": "root",
                    "password": pool.sessions.users["root"].password,
                    "hosts": hosts,
                }
            )
            pool.start()
        try:
            self._control = control.serve(self.pools, port=self._control_port)
        except OSError as error:
            raise StartError(f"control port {self._control_port}: {error.strerror}") from None
        threading.Thread(target=self._control.serve_forever, args=(0.1,), name="control", daemon=True).start()
        self.info = {"pools": pools, "control": f"http://127.0.0.1:{self._control.server_address[1]}"}
        if self._folder is not None:
            self.info["ca"] = str(self._folder / "ca.pem")
        return self.info

    def _listen(self, pool: Pool) -> None:
        """All hosts of a pool on one port: the fixed one, or one that is free at all their addresses.

        That of the pools before, if it is free: real hosts have the same port, too, and a host may change its pool.
        """
        wanted = pool.port
        for attempt in range(50):
            port, servers = wanted or (self._port if attempt == 0 else 0), []
            try:
                for runtime in pool.hosts.values():
                    server = self._server(pool, runtime, port)
                    server.listen()
                    servers.append(server)
                    port = server.port
            except OSError as error:
                for server in servers:
                    server.hang_up()
                if wanted or error.errno != errno.EADDRINUSE:
                    where = f"{runtime.address}:{port}" if port else runtime.address
                    raise StartError(f"pool {pool.name}: {where}: {error.strerror}") from None
                continue
            pool.port = self._port = port
            return
        raise StartError(f"pool {pool.name}: no port that is free at all its addresses")

    def stop(self) -> None:
        """Close everything and remove all files."""
        for pool in list(self.pools.values()):
            pool.close()
            for runtime in pool.hosts.values():
                runtime.hang_up()
        if hasattr(self, "_control"):
            self._control.shutdown()
            self._control.server_close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
