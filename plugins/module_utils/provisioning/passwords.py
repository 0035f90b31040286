# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes of passwords, for those who check them with dom0's glibc 2.17: of its kinds, SHA-512 crypt is the strongest."""

from __future__ import annotations

import re

from .values import HASH, NO_PASSWORD_YET

# glibc takes a tenth of a second for them on an old server, at each login. Its default, 5000, is from 2007.
ROUNDS = 100_000
_OURS = re.compile(rf"\$6\$rounds={ROUNDS}\$[./0-9A-Za-z]{{16}}\$[./0-9A-Za-z]{{86}}")
_HASH_LIKE = re.compile(
    r"\$([0-9a-z][0-9a-z,=_.-]{0,31}|[A-Z])\$|\{(?i:s?sha\d*|s?md5|crypt|pbkdf2[\w-]*|argon2\w*)\}|\$ANSIBLE_VAULT;")
_LOCK = re.compile(r"[!*]+(\$.*)?|!!.*|\*(LK|NP)\*.*")


def hashed(password: str, known: str = "") -> str:
    """A clear-text password as SHA-512 crypt, with a random salt; a hash as it is.

    A hash in the text `known` that fits the password is taken again, so that what is made of it stays the same.
    Raises ValueError for what nobody means as a password: a lock, a hash that dom0 cannot check, something with lines.
    """
    if password == NO_PASSWORD_YET or HASH.fullmatch(password):
        return password
    if not password.strip():
        raise ValueError("root_password is empty. Leave it out to be asked for it at the first boot.")
    if not password.isprintable():
        raise ValueError("root_password has a line break or another sign that nobody can type. It has to be one line, without its end.")
    if _LOCK.fullmatch(password):
        raise ValueError("root_password looks like that of a locked account. Write !! to be asked for it at the first boot.")
    if _HASH_LIKE.match(password.lstrip()):
        raise ValueError("root_password looks like a hash that the host cannot check. Write a whole one of $6$, $5$ or $1$, "
                         "as openssl passwd -6 prints it.")
    from passlib.hash import sha512_crypt

    for old in _OURS.findall(known):
        if sha512_crypt.verify(password, old):
            return str(old)
    return str(sha512_crypt.using(rounds=ROUNDS).hash(password))
