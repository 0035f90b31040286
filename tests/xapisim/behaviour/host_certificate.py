# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""host: the certificate that it presents to its clients (gencert/lib.ml, xapi_host.ml replace_host_certificate)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from ..errors import XapiError
from ..registry import message

if TYPE_CHECKING:
    from ..db import Row
    from ..pool import HostRuntime, Pool
    from ..registry import Context

WORK = 0.2  # seconds until TLS is served anew
_VALID = timedelta(days=3650)  # xapi_globs.ml cert_expiration_days
_PEM = serialization.Encoding.PEM
_ALGORITHMS = {  # as X509.Key_type.to_string has them
    ed25519.Ed25519PrivateKey: "ed25519", ed448.Ed448PrivateKey: "ed448", dsa.DSAPrivateKey: "1.2.840.10040.4.1",
}  # fmt: skip


def provide(pool: Pool, runtime: HostRuntime) -> None:
    """A host without certificates gets those that the first boot makes: one for clients, one for the other hosts."""
    if not pool.db.rows("Certificate", host=runtime.row):
        _present(pool, runtime, *_self_signed(pool, runtime))
        _record(pool, runtime.row, "host_internal", _self_signed(pool, runtime)[0])


def issue(pool: Pool, runtime: HostRuntime, authority: Any) -> None:
    """A host whose certificate is self-signed gets one of trustme's authority, so that clients can trust it."""
    certificate = x509.load_pem_x509_certificate(runtime.certificate.encode())
    if certificate.issuer == certificate.subject:
        leaf = authority.issue_cert(runtime.address, runtime.name.replace("_", "-"), "localhost")
        pem, *chain = [blob.bytes().decode() for blob in leaf.cert_chain_pems]
        _present(pool, runtime, x509.load_pem_x509_certificate(pem.encode()), leaf.private_key_pem.bytes().decode(), chain)


def _present(
    pool: Pool, runtime: HostRuntime, certificate: x509.Certificate, private_key: str, chain: list[str] | None = None
) -> None:
    """Write the certificate to the host, the new one to the database, and only then remove the old one from there."""
    old = pool.db.rows("Certificate", host=runtime.row, type="host")
    runtime.certificate = "".join([certificate.public_bytes(_PEM).decode(), *(chain or [])])
    runtime.private_key = private_key
    _record(pool, runtime.row, "host", certificate)
    for row in old:
        pool.db.destroy(row)


def _record(pool: Pool, host: Row, kind: str, certificate: x509.Certificate) -> None:
    sha256 = _fingerprint(certificate, hashes.SHA256())
    pool.db.create(
        "Certificate", host=host, type=kind, fingerprint=sha256, fingerprint_sha256=sha256,
        fingerprint_sha1=_fingerprint(certificate, hashes.SHA1()),
        not_before=certificate.not_valid_before_utc, not_after=certificate.not_valid_after_utc,
    )  # fmt: skip


def _fingerprint(certificate: x509.Certificate, algorithm: hashes.HashAlgorithm) -> str:
    return certificate.fingerprint(algorithm).hex(":").upper()


@lru_cache
def _key() -> rsa.RSAPrivateKey:
    """One key for all that is self-signed: to make one takes long, and nobody is to be kept out of a simulator."""
    return rsa.generate_private_key(65537, 2048)


def _self_signed(pool: Pool, runtime: HostRuntime) -> tuple[x509.Certificate, str]:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, runtime.row.hostname or runtime.name)])
    now = pool.clock.datetime()
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address(runtime.address))])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(_key().public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + _VALID)
        .add_extension(alternative, False).sign(_key(), hashes.SHA256())
    )  # fmt: skip
    return certificate, _pem_of(_key())


def _pem_of(key: rsa.RSAPrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, plain).decode()


# -- what a host accepts, in gencert's order


def _load_key(text: str) -> rsa.RSAPrivateKey:
    try:
        key: Any = serialization.load_pem_private_key(text.encode(), None)
    except UnsupportedAlgorithm:
        raise XapiError("SERVER_CERTIFICATE_KEY_ALGORITHM_NOT_SUPPORTED", "unknown") from None
    except (ValueError, TypeError):  # none, broken, or encrypted
        raise XapiError("SERVER_CERTIFICATE_KEY_INVALID") from None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        raise XapiError("SERVER_CERTIFICATE_KEY_ALGORITHM_NOT_SUPPORTED", f"p{key.curve.key_size}")
    if not isinstance(key, rsa.RSAPrivateKey):
        raise XapiError("SERVER_CERTIFICATE_KEY_ALGORITHM_NOT_SUPPORTED", _ALGORITHMS.get(type(key), type(key).__name__))
    if not 2048 <= key.key_size <= 4096:
        raise XapiError("SERVER_CERTIFICATE_KEY_RSA_LENGTH_NOT_SUPPORTED", key.key_size)
    return key


def _load(text: str, code: str) -> list[x509.Certificate]:
    """All certificates of a PEM text, at least one."""
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise XapiError(code) from None


def _validate(now: datetime, certificate: str, private_key: str, chain: str) -> tuple[x509.Certificate, str, list[str]]:
    def text(moment: datetime) -> str:
        return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S-00:00")  # as Ptime.to_rfc3339 does

    key = _load_key(private_key)
    leaf, *more = _load(certificate, "SERVER_CERTIFICATE_INVALID")
    if more:
        raise XapiError("SERVER_CERTIFICATE_INVALID")
    if now < leaf.not_valid_before_utc:
        raise XapiError("SERVER_CERTIFICATE_NOT_VALID_YET", text(now), text(leaf.not_valid_before_utc))
    if now > leaf.not_valid_after_utc:
        raise XapiError("SERVER_CERTIFICATE_EXPIRED", text(now), text(leaf.not_valid_after_utc))
    public = leaf.public_key()
    if not isinstance(public, rsa.RSAPublicKey) or public.public_numbers() != key.public_key().public_numbers():
        raise XapiError("SERVER_CERTIFICATE_KEY_MISMATCH")
    if not isinstance(leaf.signature_hash_algorithm, (hashes.SHA256, hashes.SHA512)):
        raise XapiError("SERVER_CERTIFICATE_SIGNATURE_NOT_SUPPORTED")
    others = _load(chain, "SERVER_CERTIFICATE_CHAIN_INVALID") if chain else []
    return leaf, _pem_of(key), [other.public_bytes(_PEM).decode() for other in others]


# -- the messages


def _serve(ctx: Context, runtime: HostRuntime) -> None:
    """The host's TLS service is restarted when the task is done: connections are cut, also the one that asked."""
    ctx.progress(1.0)
    ctx.wait(WORK)
    runtime.renew()


@message("host.install_server_certificate")
def install(ctx: Context, host: Row, certificate: str, private_key: str, certificate_chain: str) -> None:
    ctx.forward(host)
    if ctx.pool.pool_row.ha_enabled:
        raise XapiError("HA_IS_ENABLED")
    runtime = ctx.pool.runtime(host)
    _present(ctx.pool, runtime, *_validate(ctx.pool.clock.datetime(), certificate, private_key, certificate_chain))
    _serve(ctx, runtime)


@message("host.reset_server_certificate")
def reset(ctx: Context, host: Row) -> None:
    ctx.forward(host)
    runtime = ctx.pool.runtime(host)
    _present(ctx.pool, runtime, *_self_signed(ctx.pool, runtime))
    _serve(ctx, runtime)


@message("host.refresh_server_certificate")
def refresh(ctx: Context, host: Row) -> None:
    """Only the certificate between hosts is made anew (cert_refresh.ml)."""
    for each in ctx.db.rows("host"):
        ctx.forward(each)
    old = ctx.db.rows("Certificate", host=host, type="host_internal")
    _record(ctx.pool, host, "host_internal", _self_signed(ctx.pool, ctx.pool.runtime(host))[0])
    for row in old:
        ctx.db.destroy(row)


@message("host.get_server_certificate")
def get(ctx: Context, host: Row) -> str:
    ctx.forward(host)
    pem = re.match(r".*?-----END CERTIFICATE-----\n", ctx.pool.runtime(host).certificate, re.DOTALL)
    return pem[0] if pem else ""
