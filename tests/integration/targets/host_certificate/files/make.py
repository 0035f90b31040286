# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print certificates and keys for the tests, as JSON: pems {name: options of the module}, facts {name: {fingerprint, not_after}}."""
from __future__ import annotations

import datetime
import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PEM, NOW = serialization.Encoding.PEM, datetime.datetime.now(datetime.timezone.utc)
PLAIN = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


def make(private: rsa.RSAPrivateKey, start: int = -1, end: int = 90, algorithm: hashes.HashAlgorithm | None = None,
         issuer: str = "authority") -> tuple[dict[str, str], dict[str, str]]:
    """A certificate that is valid from `start` to `end`, in days from now. Nobody checks who has signed it."""
    subject, authority = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("xcp1", issuer))
    built = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(authority).public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + datetime.timedelta(days=start)).not_valid_after(NOW + datetime.timedelta(days=end))
        .sign(private, algorithm or hashes.SHA256())
    )
    return {"certificate": built.public_bytes(PEM).decode(), "private_key": private.private_bytes(PEM, *PLAIN).decode()}, {
        "fingerprint": built.fingerprint(hashes.SHA256()).hex(":").upper(),
        "not_after": built.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


key, other, small = (rsa.generate_private_key(65537, bits) for bits in (2048, 2048, 1024))
all_of_them = {
    "one": make(key), "two": make(other), "expired": make(key, -9, -2), "future": make(key, 5, 90),
    "small": make(small), "sha384": make(key, algorithm=hashes.SHA384()), "authority": make(other, issuer="xcp1"),
}
print(json.dumps({
    "pems": {name: options for name, (options, _facts) in all_of_them.items()},
    "facts": {name: facts for name, (_options, facts) in all_of_them.items()},
}))
