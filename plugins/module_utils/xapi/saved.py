# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session that many processes share: a file, as good as a password, that only its owner can read.

It lies where other users make files, too. So what is not ours, or may be read by others, is not used.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
from typing import Any

from .session import Session

PREFIX = "nobloat-xen-session-"
_LONGEST = 65536  # bytes
_FIELDS: dict[str, tuple[type, ...]] = {
    "url": (str,), "reference": (str,), "validate_certs": (bool,), "ca_path": (str, type(None)), "server_name": (str,),
}  # fmt: skip


class NoSession(ValueError):
    """There is no such file."""


class DamagedSession(ValueError):
    """The file is ours, but no session can be read from it."""


def save_session(session: Session, validate_certs: bool, ca_path: str | None) -> str:
    """Write what another process needs to join the session to a file; returns its path."""
    saved = {"url": session.url, "reference": session.reference, "validate_certs": validate_certs, "ca_path": ca_path}
    return _write(saved, tempfile.gettempdir())


def load_session(path: str, timeout: float) -> Session:
    """The session in a file. Raises ValueError."""
    saved = _read(path)
    return Session(
        saved["url"], reference=saved["reference"], validate_certs=saved["validate_certs"], ca_path=saved["ca_path"],
        timeout=timeout, server_name=saved["server_name"],
    )  # fmt: skip


def move_session(path: str, session: Session) -> None:
    """Let those who share a session find the coordinator where it is now. They see the old file or the new one, nothing between."""
    saved = {**_read(path), "url": session.url, "server_name": session.server_name}
    fresh = _write(saved, os.path.dirname(path) or ".")
    try:
        os.replace(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise


def _write(saved: dict[str, Any], folder: str) -> str:
    handle, path = tempfile.mkstemp(prefix=PREFIX, dir=folder)
    with open(handle, "w", encoding="utf-8") as stream:
        json.dump(saved, stream)
        stream.flush()
        os.fsync(handle)
    return path


def _read(path: str) -> dict[str, Any]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NoSession(f"There is no session {path} (any more). Was it logged out, or opened on another host?") from None
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise ValueError(f"Session {path} cannot be used: {why}. Log in again (module nobloat.xen.session).") from error
    try:
        why = _strange(os.fstat(handle))
        if why:
            raise ValueError(f"Session {path} cannot be used: {why}. Log in again (module nobloat.xen.session), and look who made it.")
        text = os.read(handle, _LONGEST + 1)
    finally:
        os.close(handle)
    try:
        saved = json.loads(text) if len(text) <= _LONGEST else None
    except (ValueError, RecursionError):
        saved = None
    if isinstance(saved, dict):
        saved = {"server_name": "", **saved}
        if all(isinstance(saved.get(key), kinds) for key, kinds in _FIELDS.items()):
            return saved
    raise DamagedSession(
        f"The file of session {path} is damaged. Log in again (module nobloat.xen.session, which removes it by state: absent)."
    )


def _strange(found: os.stat_result) -> str:
    """Why a file is not one that we have made; "" if it is."""
    if not stat.S_ISREG(found.st_mode):
        return "it is no file"
    if found.st_uid != os.geteuid():
        return f"it belongs to the user with the number {found.st_uid}, not to you"
    return "others than you may read or write it" if stat.S_IMODE(found.st_mode) & 0o077 else ""
