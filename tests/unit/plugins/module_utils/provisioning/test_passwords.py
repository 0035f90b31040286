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
