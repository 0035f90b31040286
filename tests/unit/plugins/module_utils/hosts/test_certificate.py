# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates are read as another library writes them, and a session goes on when its coordinator gets another one."""
from __future__ import annotations

import datetime
import shutil
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.hosts import (
    certificate as certificates,
)
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records, tasks
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from xapisim.launcher import launch

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
PEM = serialization.Encoding.PEM


@lru_cache
def key(which=0, bits=2048):
    return rsa.generate_private_key(65537, bits)


def pem(private, form=serialization.PrivateFormat.PKCS8, password=b""):
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return private.private_bytes(PEM, form, how).decode()


def make(private, *, start=-1, end=30, algorithm=None, subject="xcp1", issuer="xcp1", signer=None, address="127.0.0.1"):
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    built = (
        x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + datetime.timedelta(days=start)).not_valid_after(NOW + datetime.timedelta(days=end))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=subject == "authority", path_length=None), critical=True)
    )
    return built.sign(signer or private, algorithm or hashes.SHA256())


def text(built):
    return built.public_bytes(PEM).decode()


@pytest.mark.parametrize("built", [
    make(key()), make(key(), issuer="authority", algorithm=hashes.SHA512()), make(key(bits=1024), start=-9000, end=9000),
    make(ec.generate_private_key(ec.SECP256R1()), end=30000), make(key(1), algorithm=hashes.SHA384()),
], ids=["self-signed", "signed", "old and short", "curve", "sha384"])
def test_it_is_read(built):
    public = built.public_key()
    assert certificates.read(f"Some words before\n{text(built)}") == certificates.Certificate(
        fingerprint=built.fingerprint(hashes.SHA256()).hex(":").upper(),
        not_before=built.not_valid_before_utc, not_after=built.not_valid_after_utc, self_signed=built.issuer == built.subject,
        rsa_bits=public.key_size if isinstance(public, rsa.RSAPublicKey) else None,
        accepted_signature=not isinstance(built.signature_hash_algorithm, hashes.SHA384),
    )


def test_every_cut_is_an_error_in_plain_words():
    whole = text(make(key())).splitlines()
    for line in range(1, len(whole) - 1):
        with pytest.raises(ValueError, match="certificate is no PEM certificate"):
            certificates.read("\n".join([*whole[:line], whole[-1]]))


def test_what_a_host_takes():
    chain = text(make(key(1), subject="authority", issuer="authority"))
    leaf = make(key(), issuer="authority", signer=key(1))
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        assert certificates.check(text(leaf), pem(key(), form), chain * 2, NOW) == certificates.read(text(leaf))
    windows = text(leaf).replace("\n", "\r\n")
    assert certificates.check(windows, pem(key()).replace("\n", "\r\n"), "", NOW) == certificates.read(text(leaf))


@pytest.mark.parametrize(("certificate", "private_key", "chain", "said"), [
    (make(key(), start=-3, end=-1), pem(key()), "", "has expired"),
    (make(key(), start=1), pem(key()), "", "not valid yet"),
    (make(key()), pem(key(1)), "", "is not that of the certificate"),
    (make(key()), pem(ec.generate_private_key(ec.SECP256R1())), "", "(not that of|cannot be used)"),
    (make(ec.generate_private_key(ec.SECP256R1())), pem(key()), "", "no RSA key"),
    (make(key(bits=1024)), pem(key(bits=1024)), "", "an RSA key of 1024 bits"),
    (make(key(), algorithm=hashes.SHA384()), pem(key()), "", "SHA-256 and SHA-512"),
    (make(key()), pem(key(), password=b"secret"), "", "passphrase"),
    (make(key()), pem(key(), serialization.PrivateFormat.TraditionalOpenSSL, b"secret"), "", "passphrase"),
    (make(key()), text(make(key())), "", "has to be a private key"),
    (make(key()), pem(key())[:300] + "\n-----END PRIVATE KEY-----\n", "", "cannot be used"),
    (make(key()), pem(key()), pem(key()), "chain has to be"),
    (make(key()), pem(key()), "-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----", "chain holds what is no"),
])
def test_what_it_does_not_take(certificate, private_key, chain, said):
    with pytest.raises(ValueError, match=said) as error:
        certificates.check(text(certificate), private_key, chain, NOW)
    assert private_key.splitlines()[1] not in str(error.value)


@pytest.fixture
def secured():
    with launch({"pools": [{"name": "alpha", "templates": "none", "srs": [], "local_sr": "none"}]}, tls=True) as info:
        yield info


def fingerprint_of(session, host):
    found = records.records(session, "Certificate", f'field "host"="{host}"').values()
    return next(certificates.fingerprint(record) for record in found if certificates.presents(record, host))


def test_a_session_goes_on_with_a_new_certificate_that_it_trusts(secured, tmp_path):
    pool = secured["pools"][0]
    authority = make(key(1), subject="authority", issuer="authority")
    shutil.copy(secured["ca"], tmp_path / "old.pem")
    (tmp_path / "new.pem").write_text(text(authority))
    leaf = make(key(), issuer="authority", signer=key(1), address=urlsplit(pool["url"]).hostname)
    wrong = make(key(), issuer="authority", signer=key(1), address="192.0.2.1")
    unknown = make(key(), address=urlsplit(pool["url"]).hostname)
    with Session(pool["url"], pool["username"], pool["password"], ca_path=str(tmp_path)) as session:
        assert session.verifies
        host = records.records(session, "pool").popitem()[1]["master"]
        assert "IP address mismatch" in session.distrusts(certificates.server_context(text(wrong), pem(key()), ""))
        assert "self" in session.distrusts(certificates.server_context(text(unknown), pem(key()), ""))
        assert session.distrusts(certificates.server_context(text(leaf), pem(key()), "")) == ""
        tasks.run(session, "host.install_server_certificate", host, text(leaf), pem(key()), "", timeout=60)
        assert fingerprint_of(session, host) == certificates.read(text(leaf)).fingerprint
    with Session(pool["url"], pool["username"], pool["password"], ca_path=str(tmp_path / "new.pem")) as session:
        assert session.call("host.get_all")


def test_a_session_that_does_not_check_goes_on_with_any(secured):
    pool = secured["pools"][0]
    with Session(pool["url"], pool["username"], pool["password"], validate_certs=False) as session:
        assert not session.verifies
        host = records.records(session, "pool").popitem()[1]["master"]
        before = fingerprint_of(session, host)
        tasks.run(session, "host.reset_server_certificate", host, timeout=60)
        assert fingerprint_of(session, host) != before
