# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marked secrets, and how one is recognised wherever it has got to."""
from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

CORE = "Secr3tMark"  # part of all
# What has no business in a secret's surroundings is in some of them, as in real ones: it must not help one to get out.
MARKS = {
    **{name: f"{CORE}-{name}'\"\\{{# #}}" for name in ("pool", "install", "wrong", "root", "bmc", "user", "meta", "wifi")},
    **{name: f"{CORE}-{name}" for name in ("chap", "mutual", "callback", "default")},
}


def pem(name: str) -> tuple[str, str]:
    """A certificate and its private key."""
    key, now = rsa.generate_private_key(65537, 2048), datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=90)).sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    private = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return built.public_bytes(form).decode(), private.decode()


def in_base64(text: str) -> Iterator[str]:
    """What of it is the same in base64, wherever in the encoded text it begins."""
    for before in range(3):
        encoded = base64.b64encode(b"?" * before + text.encode()).decode().rstrip("=")
        yield encoded[4 if before else 0:-2]


def pattern(key: str, others: list[str]) -> re.Pattern[str]:
    """What finds a mark as it is, in base64 or in hexadecimal; a hash of crypt(3); a line of a private key; other secrets."""
    lines = key.splitlines()[1:-1]
    changed = [line.replace("A", "B") for line in lines]
    words = [CORE, CORE.encode().hex(), *lines, *changed, *others, *(part for text in (CORE, *others) for part in in_base64(text))]
    return re.compile("|".join([*map(re.escape, words), r"\$[56]\$[^\s\"'\\]{8,}"]))
