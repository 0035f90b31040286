# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate: authorities that a pool trusts (certificates.ml)."""

from __future__ import annotations

import hashlib
import re
import ssl
from typing import TYPE_CHECKING

from ..errors import XapiError
from ..registry import message

if TYPE_CHECKING:
    from ..db import Row
    from ..registry import Context

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def _fingerprint(name: str, text: str, kind: str) -> str:
    """Hexadecimal digits with colons, in capitals."""
    try:
        der = ssl.PEM_cert_to_DER_cert(text.strip())
    except ValueError:
        raise XapiError("CERTIFICATE_CORRUPT", name) from None
    return ":".join(f"{byte:02X}" for byte in hashlib.new(kind, der, usedforsecurity=False).digest())


def _known(ctx: Context, name: str) -> list[Row]:
    return ctx.db.rows("Certificate", type="ca", name=name)


@message("pool.install_ca_certificate", "pool.certificate_install")
def install_ca_certificate(ctx: Context, name: str, text: str) -> None:
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise XapiError("CERTIFICATE_NAME_INVALID", name)
    if _known(ctx, name):
        raise XapiError("CERTIFICATE_ALREADY_EXISTS", name)
    sha256 = _fingerprint(name, text, "sha256")
    ctx.db.create(
        "Certificate", type="ca", name=name, fingerprint=sha256, fingerprint_sha256=sha256,
        fingerprint_sha1=_fingerprint(name, text, "sha1"),
    )  # fmt: skip


@message("pool.uninstall_ca_certificate")
def uninstall_ca_certificate(ctx: Context, name: str, force: bool) -> None:
    found = _known(ctx, name)
    if not found and not force:
        raise XapiError("CERTIFICATE_DOES_NOT_EXIST", name)
    for row in found:
        ctx.db.destroy(row)


@message("pool.certificate_uninstall")
def certificate_uninstall(ctx: Context, name: str) -> None:
    uninstall_ca_certificate(ctx, name, False)


@message("pool.certificate_list")
def certificate_list(ctx: Context) -> list[str]:
    return [row.name for row in ctx.db.rows("Certificate", type="ca")]


@message("pool.certificate_sync")
def certificate_sync(ctx: Context) -> None:
    for host in ctx.db.rows("host"):
        ctx.forward(host)
