# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for hosts that restart: the API of a pool may be gone meanwhile, and the session with it."""
from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ansible_collections.nobloat.xen.plugins.module_utils.module import XapiModule
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError, XapiUnreachable
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

Found = TypeVar("Found")

# What a pool answers whose hosts or toolstacks are restarting, beside nothing at all.
RESTARTING = {"HOST_STILL_BOOTING", "HOST_IS_SLAVE", "SESSION_INVALID", "HOST_OFFLINE", "CANNOT_CONTACT_HOST",
              "HOST_IN_EMERGENCY_MODE", "TASK_CANCELLED"}


def passing(error: XapiError) -> bool:
    """Whether an error may go away by waiting."""
    return error.code in RESTARTING or (isinstance(error, XapiUnreachable) and error.code in ("UNREACHABLE", "TIMEOUT"))


def until(module: XapiModule, text: str, look: Callable[[Session], Found | None], *, pause: float = 2.0) -> Found:
    """What `look(session)` finds once it finds something, within `wait_timeout`; logs in again where the session is lost.

    `text` says what is waited for ("host xcp2 is back"). Raises XapiError TIMEOUT, with the last error if there was one.
    """
    seconds = module.params["wait_timeout"]
    deadline = time.monotonic() + seconds
    module.progress(f"waiting until {text}")
    last = ""
    while True:
        try:
            found = look(module.xapi)
            if found:
                return found
            last = ""
        except XapiError as error:
            if not passing(error):
                raise
            last = f" ({error})"
            _again(module)
        if time.monotonic() + pause > deadline:
            raise XapiError("TIMEOUT", (text, seconds), f"{seconds} seconds have passed and it is not so that {text}{last}",
                            "Look at the host's console, or allow more time with wait_timeout.")
        time.sleep(pause)


def _again(module: XapiModule) -> None:
    """A new session where there can be one: that of module `session` cannot be had again."""
    if module.params["session"]:
        return
    try:
        session = module.open_session()
    except XapiError as error:
        if not passing(error):
            raise
        return
    module.xapi.close()
    module.xapi = session


def can_log_in_again(module: XapiModule, why: str) -> None:
    """Raise ValueError unless the module has what a new login needs."""
    if module.params["session"]:
        raise ValueError(f"{why}, and with it all sessions end. Give hostname and password instead of session here, "
                         "and log in again with nobloat.xen.session afterwards.")
