# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates of hosts over the wire: what is accepted, what is refused and how, and what clients then see."""

from __future__ import annotations

import datetime
import hashlib
import http.client
import json
import ssl
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from xapisim.launcher import launch

POOL = {"name": "alpha", "templates": "none", "local_sr": "none", "srs": []}
PEM = serialization.Encoding.PEM
DAY = datetime.timedelta(days=1)


@lru_cache
def key(which: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def pem(private: Any, *, password: bytes = b"") -> str:
    how: Any = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, how).decode()


def certificate(private: Any, *, start: int = -1, days: int = 30, algorithm: Any = None, name: str = "xcp1") -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begin = datetime.datetime.now(datetime.timezone.utc) + start * DAY
    built = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(private.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(begin + days * DAY)
    )  # fmt: skip
    return built.sign(private, algorithm or hashes.SHA256()).public_bytes(PEM).decode()


def fingerprint(text: str) -> str:
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).digest())


@pytest.fixture(scope="module")
def sim(start: Callable[..., Any]) -> Any:
    return start({"pools": [POOL]})


@pytest.fixture(scope="module")
def hosts(sim: Any) -> list[str]:
    return [sim.call("host.get_by_name_label", f"alpha-{n}")[0] for n in (1, 2)]


def of(sim: Any, host: str, kind: str = "host") -> dict[str, Any]:
    records = sim.call("Certificate.get_all_records").values()
    (one,) = [record for record in records if record["host"] == host and record["type"] == kind]
    return one


def test_each_host_has_two_of_its_own(sim: Any, hosts: list[str]) -> None:
    records = [of(sim, host, kind) for host in hosts for kind in ("host", "host_internal")]
    assert len({record["fingerprint_sha256"] for record in records}) == 4
    assert len(sim.call("host.get_certificates", hosts[0])) == 2
    assert fingerprint(sim.call("host.get_server_certificate", hosts[0])) == of(sim, hosts[0])["fingerprint"]


def done(sim: Any, method: str, *args: Any) -> None:
    """Run a call as a task. It is watched from within: connections are cut when TLS is served anew."""
    task = sim.call(f"Async.{method}", *args)
    status = "pending"
    while status == "pending":
        sim.pool.clock.advance(1)
        time.sleep(0.02)
        with sim.pool.lock:
            row = sim.pool.db.row("task", task)
            status = row.status
    assert status == "success", row.error_info


@pytest.mark.parametrize("which", [0, 1])
def test_one_is_installed_and_reset(sim: Any, hosts: list[str], which: int) -> None:
    host, other = hosts[which], of(sim, hosts[1 - which])
    internal = of(sim, host, "host_internal")
    text, chain = certificate(key(), days=90), certificate(key(1), name="authority")
    call = ("host.install_server_certificate", host, text, pem(key()), chain)
    done(sim, *call)
    now = of(sim, host)
    assert now["fingerprint_sha256"] == now["fingerprint"] == fingerprint(text)
    leaf = x509.load_pem_x509_certificate(text.encode())
    assert now["not_after"] == leaf.not_valid_after_utc.strftime("%Y%m%dT%H:%M:%SZ")
    assert sim.call("host.get_server_certificate", host).strip() == text.strip()
    with sim.pool.lock:
        runtime = sim.pool.runtime(sim.pool.db.row("host", host))
        assert runtime.certificate == text + chain
    assert (of(sim, hosts[1 - which]), of(sim, host, "host_internal")) == (other, internal)
    done(sim, "host.reset_server_certificate", host)
    mine = x509.load_pem_x509_certificate(sim.call("host.get_server_certificate", host).encode())
    assert mine.issuer == mine.subject
    assert fingerprint(mine.public_bytes(PEM).decode()) == of(sim, host)["fingerprint_sha256"] != now["fingerprint_sha256"]


def refused(sim: Any, host: str, text: str, private: str, chain: str = "") -> list[str]:
    before = of(sim, host)
    error = sim.refused("host.install_server_certificate", host, text, private, chain)
    assert of(sim, host) == before
    return error


def test_what_is_refused(sim: Any, hosts: list[str]) -> None:
    host, mine, good = hosts[1], pem(key()), certificate(key())
    curve = ec.generate_private_key(ec.SECP256R1())
    assert refused(sim, host, good, "hello") == ["SERVER_CERTIFICATE_KEY_INVALID"]
    assert refused(sim, host, good, pem(key(), password=b"secret")) == ["SERVER_CERTIFICATE_KEY_INVALID"]
    assert refused(sim, host, good, pem(key(bits=1024))) == ["SERVER_CERTIFICATE_KEY_RSA_LENGTH_NOT_SUPPORTED", "1024"]
    assert refused(sim, host, good, pem(curve))[0] == "SERVER_CERTIFICATE_KEY_ALGORITHM_NOT_SUPPORTED"
    assert refused(sim, host, "hello", mine) == ["SERVER_CERTIFICATE_INVALID"]
    assert refused(sim, host, good + good, mine) == ["SERVER_CERTIFICATE_INVALID"]
    assert refused(sim, host, good, pem(key(1))) == ["SERVER_CERTIFICATE_KEY_MISMATCH"]
    code, now, moment = refused(sim, host, certificate(key(), start=-9, days=3), mine)
    assert (code, now > moment) == ("SERVER_CERTIFICATE_EXPIRED", True)
    code, now, moment = refused(sim, host, certificate(key(), start=2), mine)
    assert (code, now < moment) == ("SERVER_CERTIFICATE_NOT_VALID_YET", True)
    strange = certificate(key(), algorithm=hashes.SHA384())
    assert refused(sim, host, strange, mine) == ["SERVER_CERTIFICATE_SIGNATURE_NOT_SUPPORTED"]
    assert refused(sim, host, good, mine, "hello") == ["SERVER_CERTIFICATE_CHAIN_INVALID"]


def test_not_while_high_availability_is_on(sim: Any, hosts: list[str]) -> None:
    with sim.pool.lock:
        sim.pool.pool_row.ha_enabled = True
    try:
        assert refused(sim, hosts[1], certificate(key()), pem(key())) == ["HA_IS_ENABLED"]
    finally:
        with sim.pool.lock:
            sim.pool.pool_row.ha_enabled = False


def test_the_connections_to_the_host_are_cut(sim: Any, hosts: list[str]) -> None:
    request = {"jsonrpc": "2.0", "method": "host.reset_server_certificate", "params": [sim.session, hosts[0]], "id": 1}
    connection = http.client.HTTPConnection(urlsplit(sim.url).netloc, timeout=10)
    before = of(sim, hosts[0])
    connection.request("POST", "/jsonrpc", json.dumps(request))
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse().read()
    assert of(sim, hosts[0]) != before


def test_only_the_certificate_between_hosts_is_refreshed(sim: Any, hosts: list[str]) -> None:
    before = of(sim, hosts[0]), of(sim, hosts[0], "host_internal")
    sim.call("host.refresh_server_certificate", hosts[0])
    assert of(sim, hosts[0]) == before[0]
    assert of(sim, hosts[0], "host_internal") != before[1]


def test_clients_see_it() -> None:
    def seen() -> str:
        return fingerprint(ssl.get_server_certificate((parts.hostname, parts.port)))  # type: ignore[arg-type]

    with launch({"pools": [POOL]}, tls=True) as info:
        pool, unchecked = info["pools"][0], ssl._create_unverified_context()
        parts = urlsplit(pool["url"])

        def call(method: str, *params: Any) -> Any:
            connection = http.client.HTTPSConnection(parts.netloc, timeout=10, context=unchecked)
            connection.request("POST", "/jsonrpc", json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}))
            return json.loads(connection.getresponse().read())["result"]

        session = call("session.login_with_password", pool["username"], pool["password"])
        host = call("host.get_all", session)[0]
        assert seen() == fingerprint(call("host.get_server_certificate", session, host))
        text = certificate(key())
        with pytest.raises((http.client.HTTPException, OSError)):
            call("host.install_server_certificate", session, host, text, pem(key()))
        assert seen() == fingerprint(text) == fingerprint(call("host.get_server_certificate", session, host))
