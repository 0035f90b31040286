# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of hosts: read, and judged before a host gets one, with the standard library alone.

What a host accepts is gencert/lib.ml's: RSA of 2048 to 4096 bits, signed with SHA-256 or SHA-512, valid now.
"""
from __future__ import annotations

import hashlib
import re
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

_RSA = bytes.fromhex("2a864886f70d010101")
_SIGNATURES = {  # SHA-256 and SHA-512, by RSA and by ECDSA (RFC 4055, RFC 5758)
    bytes.fromhex(text) for text in ("2a864886f70d01010b", "2a864886f70d01010d", "2a8648ce3d040302", "2a8648ce3d040304")
}
_ONE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile("-----BEGIN ([A-Z]+ )?PRIVATE KEY-----")
_UTC_TIME, _CONTEXT_0 = 0x17, 0xA0
_MALFORMED = (ValueError, IndexError, StopIteration)


@dataclass(frozen=True)
class Certificate:
    """What there is to know about one. `fingerprint`: SHA-256 as XAPI writes it; `rsa_bits`: None if the key is no RSA key."""

    fingerprint: str
    not_before: datetime
    not_after: datetime
    self_signed: bool
    rsa_bits: int | None
    accepted_signature: bool


def view(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of class Certificate: fingerprint (SHA-256) and dates as text in UTC."""
    return {
        "fingerprint": fingerprint(record), "not_before": text_of(record["not_before"]), "not_after": text_of(record["not_after"]),
    }


def presents(record: Mapping[str, Any], host: str) -> bool:
    """Whether a record of class Certificate is what the host presents to its clients; older XAPI knows no other type."""
    return record["host"] == host and record.get("type", "host") == "host"


def fingerprint(record: Mapping[str, Any]) -> str:
    """The SHA-256 of a record of class Certificate; older XAPI has but the one field."""
    return (record.get("fingerprint_sha256") or record["fingerprint"]).upper()


def text_of(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def pem_certificates(text: str) -> list[bytes]:
    """The certificates of a PEM text as DER. Raises ValueError where one is broken."""
    return [ssl.PEM_cert_to_DER_cert(block) for block in _ONE.findall(text.replace("\r\n", "\n"))]


def read(text: str, option: str = "certificate") -> Certificate:
    """The one certificate of a PEM text. Raises ValueError where it is none, or more than one."""
    try:
        ders = pem_certificates(text)
        if len(ders) == 1:
            return _parse(ders[0])
    except _MALFORMED as error:
        raise ValueError(f"{option} is no PEM certificate: {error}") from error
    raise ValueError(
        f"{option} has to be one certificate as PEM text, from -----BEGIN CERTIFICATE----- on; there are {len(ders)}."
    )


def check(text: str, private_key: str, chain: str, now: datetime) -> Certificate:
    """The certificate, if a host would accept it with this key and chain at this time. Raises ValueError where not."""
    leaf = read(text)
    if now > leaf.not_after:
        raise ValueError(f"The certificate has expired: it was valid until {text_of(leaf.not_after)}.")
    if now < leaf.not_before:
        raise ValueError(f"The certificate is not valid yet: it is from {text_of(leaf.not_before)} on.")
    if leaf.rsa_bits is None or not 2048 <= leaf.rsa_bits <= 4096:
        what = "no RSA key" if leaf.rsa_bits is None else f"an RSA key of {leaf.rsa_bits} bits"
        raise ValueError(f"The certificate is for {what}. XAPI takes RSA keys of 2048 to 4096 bits.")
    if not leaf.accepted_signature:
        raise ValueError("The certificate is signed with a hash that XAPI does not take: it takes SHA-256 and SHA-512.")
    if chain:
        try:
            found = [_parse(der) for der in pem_certificates(chain)]
        except _MALFORMED as error:
            raise ValueError(f"chain holds what is no PEM certificate: {error}") from error
        if not found:
            raise ValueError("chain has to be certificates as PEM text, from -----BEGIN CERTIFICATE----- on.")
    if "ENCRYPTED" in private_key:
        raise ValueError("private_key is encrypted with a passphrase, which XAPI cannot ask for. Give it without.")
    if not _KEY.search(private_key):
        raise ValueError("private_key has to be a private key as PEM text, from -----BEGIN PRIVATE KEY----- on.")
    server_context(text, private_key, chain)
    return leaf


def server_context(text: str, private_key: str, chain: str) -> ssl.SSLContext:
    """What a server needs to present the certificate. Raises ValueError where the key is not the certificate's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The ssl module reads keys from files only. This one is its owner's alone, and gone at once.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write("\n".join([private_key, text, chain]))
        file.flush()
        try:
            context.load_cert_chain(file.name, password="")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ValueError("The private key is not that of the certificate.") from error
            raise ValueError(f"Certificate and private key cannot be used: {error.reason or error}.") from error
    return context


# -- as much of DER (X.690) as a certificate's outline needs (RFC 5280, 4.1)


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The values that follow one another in data: (tag, content). Raises one of _MALFORMED where it is no DER."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at:at + size], "big")
            at += size
        if at + length > len(data):
            raise ValueError("it is cut off")
        yield tag, data[at:at + length]
        at += length


def _parse(der: bytes) -> Certificate:
    outer = [content for _tag, content in _parts(next(_parts(der))[1])]
    fields = list(_parts(outer[0]))
    if fields[0][0] == _CONTEXT_0:  # the version, which the first one does not have
        del fields[0]
    _serial, signature, issuer, validity, subject, key = (content for _tag, content in fields[:6])
    not_before, not_after = (_moment(*part) for part in _parts(validity))
    return Certificate(
        fingerprint=":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest()),
        not_before=not_before, not_after=not_after, self_signed=issuer == subject, rsa_bits=_rsa_bits(key),
        accepted_signature=next(_parts(signature))[1] in _SIGNATURES,
    )


def _moment(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)


def _rsa_bits(key: bytes) -> int | None:
    (_tag, algorithm), (_tag2, bits) = _parts(key)
    if next(_parts(algorithm))[1] != _RSA:
        return None
    modulus = next(_parts(next(_parts(bits[1:]))[1]))[1]  # after the count of unused bits
    return int.from_bytes(modulus, "big").bit_length()
