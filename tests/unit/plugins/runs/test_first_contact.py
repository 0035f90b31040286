# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers at the address of a host that joins gets no password of the pool until it has proven who it is."""
from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from runs import login, read

from xapisim.launcher import launch

SCENARIO = {"pools": [
    {"name": "hall", "password": "of the pool", "hosts": [{"name": "one"}]},
    {"name": "fresh", "password": "as installed", "hosts": [{"name": "newcomer"}], "srs": [], "templates": "none", "vms": []},
]}  # fmt: skip


class Impostor:
    """Answers in place of a host and keeps what it is sent, all of it."""

    def __init__(self, *, tls: bool) -> None:
        self.heard: list[bytes] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_error(500)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A client that does not trust it is none of its errors."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http{'s' * tls}://127.0.0.1:{self.server.server_address[1]}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def impostors() -> Iterator[dict[bool, Impostor]]:
    made = {tls: Impostor(tls=tls) for tls in (True, False)}
    yield made
    for each in made.values():
        each.end()


@pytest.fixture(scope="module", params=[True, False], ids=["https", "http"])
def sim(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    with launch(SCENARIO, tls=request.param) as info:
        yield info


def shown(url: str) -> str:
    parts = urlsplit(url)
    pem = ssl.get_server_certificate((parts.hostname or "", parts.port or 443))
    return sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def member(sim: dict[str, Any], address: str, *, checked: bool = True, **options: Any) -> dict[str, Any]:
    trust = {"ca_path": sim["ca"]} if checked and "ca" in sim else {"validate_certs": False}
    args = {**login(sim, "hall"), **trust, "name": "newcomer", "address": address, "timeout": 20, **options}
    done = subprocess.run(  # no fork: there are threads here
        [sys.executable, "-m", "ansible_collections.nobloat.xen.plugins.modules.pool_member", json.dumps({"ANSIBLE_MODULE_ARGS": args})],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, text=True, capture_output=True, check=False)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_the_pools_password_is_not_said_to_whoever_answers(sim: dict[str, Any], impostors: dict[bool, Impostor]) -> None:
    for each in impostors.values():
        for checked in (True, False):
            for own in ({}, {"host_password": "of the pool"}):
                said = member(sim, each.url, checked=checked, host_validate_certs=False, **own)
                assert said["failed"] and "Nothing proves who answers" in said["msg"], said
    assert [each.heard for each in impostors.values()] == [[], []]


def test_where_the_pool_is_checked_so_is_who_joins(sim: dict[str, Any], impostors: dict[bool, Impostor]) -> None:
    """An own password does not help: with the join, the host gets that of the pool."""
    if "ca" not in sim:
        pytest.skip("without TLS, the pool is not checked either")
    said = member(sim, impostors[True].url, host_validate_certs=False, host_password="as installed")
    digits = shown(impostors[True].url).upper()
    assert said["failed"] and ":".join(digits[i:i + 2] for i in range(0, 64, 2)) in said["msg"] and "host_fingerprint" in said["msg"]
    assert impostors[True].heard == []


def test_an_own_password_is_said_where_nothing_is_checked(sim: dict[str, Any], impostors: dict[bool, Impostor]) -> None:
    for each in impostors.values():
        said = member(sim, each.url, checked=False, host_password="as installed")
        assert said["failed"] and b"as installed" in each.heard[0] and not any(b"of the pool" in each for each in each.heard)


def test_a_fingerprint_is_that_of_one_certificate(sim: dict[str, Any], impostors: dict[bool, Impostor]) -> None:
    other = "AB" * 32
    said = member(sim, impostors[True].url, host_fingerprint=other, host_password="as installed")
    assert said["xapi_error"]["code"] == "CERTIFICATE_INVALID"
    assert "its fingerprint is" in said["msg"] and "host_fingerprint" in said["hint"]
    said = member(sim, impostors[False].url, host_fingerprint=other)
    assert "there is none at" in said["msg"]
    said = member(sim, impostors[True].url, host_fingerprint="AB:CD")
    assert "is no SHA-256 fingerprint" in said["msg"]
    assert [each.heard for each in impostors.values()] == [[], []]


def test_who_has_the_certificate_joins(sim: dict[str, Any]) -> None:
    """As OpenSSL prints it, with no authority; here even with the pool's own password."""
    if "ca" not in sim:
        pytest.skip("without TLS there is no certificate")
    address = login(sim, "fresh")["hostname"]
    digits = shown(address)
    printed = "sha256 Fingerprint=" + ":".join(digits[i:i + 2] for i in range(0, 64, 2))
    said = member(sim, address, ca_path=None, validate_certs=False, host_fingerprint=printed, host_password="as installed")
    assert said.get("changed"), said
    assert {each["name_label"] for each in read(login(sim, "hall"))["host"].values()} == {"one", "newcomer"}
