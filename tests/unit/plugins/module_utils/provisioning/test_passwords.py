# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes of passwords, checked by openssl: their salts are random, and what fits is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.provisioning.passwords import ROUNDS, hashed

MODULE = "ansible_collections.nobloat.xen.plugins.modules.answerfile"


def made_again(password: str, known: str) -> str:
    """The same hash as openssl makes it, with the same salt."""
    salt = known.rpartition("$")[0].removeprefix("$6$")
    return subprocess.run(
        ["openssl", "passwd", "-6", "-salt", salt, "-stdin"], input=password, text=True, capture_output=True, check=True
    ).stdout.strip()


def test_each_hash_has_a_salt_of_its_own_and_many_rounds() -> None:
    first, second = hashed("secret"), hashed("secret")
    assert first != second and first.startswith(f"$6$rounds={ROUNDS}$") and ROUNDS >= 100_000
    assert made_again("secret", first) == first and made_again("secret", second) == second
    assert len(first.rpartition("$")[2]) == 86


def test_what_fits_is_kept_and_nothing_else() -> None:
    old, other = hashed("secret"), hashed("another")
    for text in (f'<root-password type="hash">{old}</root-password>', f"printf '%s' '{other} {old}'"):
        assert hashed("secret", text) == old
    assert hashed("secret", f"<root-password>{other}</root-password>") not in (old, other)
    weak = "$6$0123456789abcdef$" + made_again("secret", "$6$0123456789abcdef$").rpartition("$")[2]
    assert hashed("secret", weak).startswith(f"$6$rounds={ROUNDS}$")


def test_a_hash_stays_as_it_is() -> None:
    old = hashed("secret")
    assert hashed(old, hashed("secret")) == old


@pytest.mark.parametrize("text", [
    "!", "!!!", "*", "!*", "!$6$salt$abc", "!!x", "*LK*", "!!$6$salt$abc", "$pbkdf2-sha512$25000$salt$abc", "$bcrypt-sha256$v=2,t=2b$a$a",
    "$argon2id$v=19$m=65536,t=3,p=4$salt$abc", "$2b$12$abc", "$P$Babcdefgh", "$H$9abc", "$md5,rounds=904$salt$$abc", "{SSHA}c2FsdA==",
    "{ssha512}c2FsdA==", "{CRYPT}$6$salt$abc", "$ANSIBLE_VAULT;1.1;AES256", "$6$salt$short", f" $6$saltsalt${'a' * 86}",
    f"$6$saltsalt${'a' * 86}\n", "secret\n", "sec\nret", "secret\r\n", "sec\x00ret", "sec\tret", "", "  "])
def test_what_nobody_means_as_a_password_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"^root_password ") as refused:
        hashed(text)
    assert len(text.strip()) < 6 or text.strip() not in str(refused.value)


@pytest.mark.parametrize("text", ["!secret", "*secret*", "$ecret", "sec$6$ret", "{secret}", "a b", "p\u00e4ss", "x" * 128])
def test_strange_passwords_are_passwords(text: str) -> None:
    assert hashed(text).startswith("$6$")


def run(tmp_path: Path, **options: object) -> dict[str, str]:
    """What the module says, in a Python without any library for hashes."""
    args = {"version": "xcp-ng-8.3", "sr_type": "ext", "disk": {"names": ["sda"]}, "sources": [{"type": "local"}],
            "interface": {"name": "eth0"}, **options}
    (tmp_path / "passlib.py").write_text("raise ImportError('none here')\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", MODULE, json.dumps({"ANSIBLE_MODULE_ARGS": args})], text=True, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])})
    said: dict[str, str] = json.loads(done.stdout)
    return said


def test_without_the_library_the_message_names_it(tmp_path: Path) -> None:
    said = run(tmp_path, root_password="secret")
    assert "libpass" in said["msg"] and "openssl passwd -6" in said["msg"]


@pytest.mark.parametrize("text", ["", "hidden\n", "!$6$hidden$hidden", "{SSHA}hidden"])
def test_the_module_refuses_what_is_no_password(tmp_path: Path, text: str) -> None:
    said = run(tmp_path, root_password=text)
    assert said["msg"].startswith("root_password ") and "hidden" not in str(said)
