# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions and users of one pool."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .db import Row
from .errors import XapiError
from .schema import Message
from .types import NULL

if TYPE_CHECKING:
    from .pool import Pool

IDLE = 24 * 3600.0  # seconds, xapi_globs.ml
PER_ORIGINATOR = 500
TOUCH_EVERY = 60.0  # last_active is not written more often than this


@dataclass
class User:
    """An account. `role` is None for root, who may do everything, and "" for one without a role."""

    name: str
    password: str
    role: str | None = None
    subject: str = NULL


@dataclass
class Login:
    """What the database record of a session does not hold."""

    row: Row
    user: User
    active: float
    roles: frozenset[str] | None = None  # None: everything is allowed
    subscribed: dict[str, None] = field(default_factory=dict)  # event.register
    registered: bool = False
    token: int = 0  # generations up to which event.next has told
    messages_token: int = 0


class Sessions:
    """Open sessions. Call with the pool lock held."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.users: dict[str, User] = {}
        self._logins: dict[str, Login] = {}

    def authenticate(self, name: str, password: str) -> User:
        """The user of a name and pass word; SESSION_AUTHENTICATION_FAILED [name, reason] when they do not match."""
        user = self.users.get(name)
        if user is None or user.password != password:
            raise XapiError("SESSION_AUTHENTICATION_FAILED", name, "Authentication failure")
        if user.role == "":
            raise XapiError(
                "RBAC_PERMISSION_DENIED",
                "session.login_with_password",
                f"Subject {name} has no role assigned in this pool",
            )
        return user

    def open(self, user: User, host: Row, originator: str) -> Row:
        """A new session; the oldest of the originator goes when there are too many."""
        same = [s for s in self._logins.values() if s.row.originator == originator]
        for login in same[: max(0, len(same) - PER_ORIGINATOR + 1)]:
            self.close(login.row)
        root = user.role is None
        row = self._pool.db.create(
            "session",
            this_host=host,
            this_user=NULL,
            last_active=self._pool.clock.datetime(),
            is_local_superuser=root,
            subject=user.subject,
            validation_time=self._pool.clock.datetime(),
            auth_user_sid="" if root else f"u-{user.name}",
            auth_user_name=user.name,
            rbac_permissions=[] if root else self._pool.permissions(str(user.role)),
            originator=originator,
        )
        roles = None if root else frozenset([str(user.role)])
        self._logins[row.ref] = Login(row, user, self._pool.clock.now(), roles)
        return row

    def find(self, ref: str) -> Login:
        """The login of a session reference; SESSION_INVALID [reference] when there is none."""
        login = self._logins.get(ref)
        if login is None:
            raise XapiError("SESSION_INVALID", ref)
        now = self._pool.clock.now()
        if now - login.active > TOUCH_EVERY:
            login.active = now
            login.row.last_active = self._pool.clock.datetime()
        return login

    def close(self, row: Row) -> None:
        """End a session."""
        self._logins.pop(row.ref, None)
        if row.exists:
            self._pool.db.destroy(row)
        self._pool.lock.notify_all()

    def close_all(self) -> int:
        """End all sessions; how many there were."""
        logins = list(self._logins.values())
        for login in logins:
            self.close(login.row)
        return len(logins)

    def collect(self) -> None:
        """End sessions that have been idle for a day."""
        now = self._pool.clock.now()
        for login in [s for s in self._logins.values() if now - s.active > IDLE]:
            self.close(login.row)

    def all(self) -> list[Login]:
        """All open ones."""
        return list(self._logins.values())

    def allow(self, login: Login, message: Message, args: list[object]) -> None:
        """Check the roles of a call; RBAC_PERMISSION_DENIED [permission, text] when none suffices."""
        if login.roles is None:
            return
        allowed, permission = message.roles, message.wire.lower()
        if message.name.startswith(("add_to_", "remove_from_")) and len(args) > 1:
            name = message.name.removeprefix("add_to_").removeprefix("remove_from_")
            for key, roles in self._pool.db.schema.classes[message.cls].key_roles.get(name, []):
                wanted = str(args[1])
                if wanted == key or (key.endswith("*") and wanted.startswith(key[:-1])):
                    allowed, permission = roles, f"{permission}/key:{key.lower()}"
                    break
        if login.roles.isdisjoint(allowed):
            names = ", ".join(allowed)
            raise XapiError(
                "RBAC_PERMISSION_DENIED",
                permission,
                f"No permission in user session. (Roles with this permission: {names})",
            )
