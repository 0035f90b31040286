# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own session on the pool that its nodes are the hosts of."""

from __future__ import annotations

import math
import socket
import ssl
import time
import urllib.error
import urllib.request
import xmlrpc.client
from typing import Any
from urllib.parse import urlencode, urlsplit

from .errors import LabError

NULL = "OpaqueRef:NULL"


class Calls:
    """`info` is xapisim's ready line; the pool is its first."""

    def __init__(self, info: dict[str, Any], patience: float = math.inf) -> None:
        self.info = info
        self.patience = patience  # seconds to look for a coordinator
        self.pool = info["pools"][0]
        self.context = ssl.create_default_context(cafile=info["ca"]) if "ca" in info else None
        self.hosts: dict[str, str] = {}  # reference -> name
        self.log_in()

    def log_in(self) -> None:
        """To the coordinator, whoever that is now. LabError if there is none for too long."""
        deadline = time.monotonic() + self.patience
        while True:
            for host in self.pool["hosts"]:
                try:
                    self.url, self.server = host["url"], self._server(host["url"])
                    self.session = self._result(self.server.session.login_with_password("root", self.pool["password"]))
                    records = self.call("host.get_all_records")
                except (OSError, xmlrpc.client.Error, LabError):
                    continue  # dead, or a slave
                self.hosts = {ref: record["name_label"] for ref, record in records.items()}
                return
            if time.monotonic() > deadline:
                raise LabError(f"no host of the pool has answered as its coordinator for {self.patience:g} seconds")
            time.sleep(0.3)

    def call(self, method: str, *args: Any) -> Any:
        """LabError with XAPI's code when it is refused. For one thread."""
        return self._result(getattr(self.server, method)(self.session, *args))

    def apart(self, method: str, *args: Any) -> Any:
        """The same on a connection of its own, for the other threads."""
        return self._result(getattr(self._server(self.url), method)(self.session, *args))

    def download(self, vdi: str) -> bytes:
        """All bytes of a VDI (its uuid)."""
        query = urlencode({"session_id": self.session, "vdi": vdi, "format": "raw"})
        try:
            with urllib.request.urlopen(f"{self.url}/export_raw_vdi?{query}", timeout=60, context=self.context) as reply:
                return bytes(reply.read())
        except urllib.error.URLError as error:
            raise LabError(f"VDI {vdi} cannot be read: {error}") from None

    def answers(self, host: str) -> bool:
        """Whether a host of the pool can be reached."""
        url = urlsplit(next(each["url"] for each in self.pool["hosts"] if each["name"] == host))
        try:
            socket.create_connection((url.hostname or "", url.port or 0), 1).close()
        except OSError:
            return False
        return True

    def _server(self, url: str) -> Any:
        return xmlrpc.client.ServerProxy(url, context=self.context, allow_none=True)

    @staticmethod
    def _result(reply: Any) -> Any:
        if reply["Status"] != "Success":
            raise LabError(": ".join(reply["ErrorDescription"]))
        return reply["Value"]
