# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""session: logging in and out."""

from __future__ import annotations

from ..db import new_ref
from ..registry import Context, XapiError, message


@message("session.login_with_password")
def login_with_password(ctx: Context, uname: str, pwd: str, version: str, originator: str) -> object:
    """A session of the pool, on the coordinator only (dispatch has answered HOST_IS_SLAVE before)."""
    user = ctx.pool.sessions.authenticate(uname, pwd)
    return ctx.pool.sessions.open(user, ctx.host, originator)


@message("session.slave_local_login_with_password")
def slave_local_login_with_password(ctx: Context, uname: str, pwd: str) -> str:
    """A local session, on any host, good for emergency calls only."""
    user = ctx.pool.sessions.authenticate(uname, pwd)
    if user.role is not None:
        raise XapiError("SESSION_AUTHENTICATION_FAILED", uname, "Authentication failure")
    ref = new_ref()
    ctx.pool.runtime(ctx.host).local_sessions.add(ref)
    return ref


@message("session.slave_local_login")
def slave_local_login(ctx: Context, psecret: str) -> None:
    """Login with the pool secret, which no client knows."""
    raise XapiError("SESSION_AUTHENTICATION_FAILED", "localhost", "Pool credentials invalid")


@message("session.logout")
def logout(ctx: Context) -> None:
    """End the caller's session."""
    if ctx.session is not None:
        ctx.pool.sessions.close(ctx.session)


@message("session.local_logout")
def local_logout(ctx: Context) -> None:
    """End the local sessions of this host."""
    ctx.pool.runtime(ctx.host).local_sessions.clear()


@message("session.change_password")
def change_password(ctx: Context, old_pwd: str, new_pwd: str) -> None:
    """Change root's pass word."""
    root = ctx.pool.sessions.users["root"]
    if root.password != old_pwd:
        raise XapiError("SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure")
    root.password = new_pwd


@message("session.get_all_subject_identifiers")
def get_all_subject_identifiers(ctx: Context) -> list[str]:
    """The users of all open sessions that are not root's."""
    return sorted({s.row.auth_user_sid for s in ctx.pool.sessions.all()} - {""})


@message("session.logout_subject_identifier")
def logout_subject_identifier(ctx: Context, subject_identifier: str) -> None:
    """End all other sessions of a user."""
    for login in ctx.pool.sessions.all():
        if login.row.auth_user_sid == subject_identifier and login.row != ctx.session:
            ctx.pool.sessions.close(login.row)
