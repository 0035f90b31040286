# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that are known by their SHA-256 fingerprint: that of a fresh host, which no authority vouches for."""

from __future__ import annotations

import hashlib
import re
import ssl
from typing import Any

# How a human gets it, on the host's own console. XAPI's gencert makes the file at the first boot.
COMMAND = "openssl x509 -in /etc/xensource/xapi-ssl.pem -noout -fingerprint -sha256"


def normal_fingerprint(text: str) -> str:
    """As XAPI writes it, `AB:CD:...`, of what OpenSSL prints or hexadecimal digits. Raises ValueError."""
    digits = text.rpartition("=")[2].strip().replace(":", "").upper()
    if not re.fullmatch("[0-9A-F]{64}", digits):
        raise ValueError(f"'{text}' is no SHA-256 fingerprint of a certificate; on the host, {COMMAND} prints it.")
    return ":".join(re.findall("..", digits))


def shown_by(connection: Any) -> str:
    """The fingerprint of the certificate that the other side of a TLS socket has shown."""
    return normal_fingerprint(hashlib.sha256(connection.getpeercert(True) or b"").hexdigest())


class Pinned(ssl.SSLContext):
    """TLS with whoever has the key of one certificate, whoever has signed it and whatever names are in it. See `pinned`."""

    fingerprint = ""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Nothing is sent before the fingerprint was compared."""
        connection = super().wrap_socket(*args, **options)
        shown = shown_by(connection)
        if shown != self.fingerprint:
            connection.close()
            error = ssl.SSLCertVerificationError(f"its fingerprint is {shown}")
            error.verify_message = f"its fingerprint is {shown}, not {self.fingerprint}"
            raise error
        return connection


def pinned(fingerprint: str) -> Pinned:
    context = Pinned(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.fingerprint = normal_fingerprint(fingerprint)
    return context
