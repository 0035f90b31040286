# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""role, subject and secret."""

from __future__ import annotations

from typing import Any

from ..registry import Context, Row, XapiError, message


@message("role.get_permissions_name_label")
def get_permissions_name_label(ctx: Context, role: Row) -> list[str]:
    """Names of all permissions of a role."""
    return ctx.pool.permissions(role.name_label)


@message("role.get_by_permission_name_label")
def get_by_permission_name_label(ctx: Context, label: str) -> list[Row]:
    """The roles that have a permission."""
    return [r for r in ctx.db.rows("role") if label.lower() in ctx.pool.permissions(r.name_label)]


@message("subject.create")
def subject_create(ctx: Context, args: dict[str, Any]) -> Row:
    """A user of the directory that may log in, once external authentication is on."""
    if not ctx.host.external_auth_type:
        raise XapiError("AUTH_IS_DISABLED")
    if ctx.db.rows("subject", subject_identifier=args["subject_identifier"]):
        raise XapiError("SUBJECT_ALREADY_EXISTS")
    return ctx.db.create("subject", **args, roles=[])


@message("subject.add_to_roles")
def add_to_roles(ctx: Context, subject: Row, role: str) -> None:
    """Give a role."""
    if ctx.db.maybe("role", role) is None:
        raise XapiError("ROLE_NOT_FOUND")
    if role in subject.roles:
        raise XapiError("ROLE_ALREADY_EXISTS")
    subject.roles = [*subject.roles, role]
    _follow(ctx, subject)


@message("subject.remove_from_roles")
def remove_from_roles(ctx: Context, subject: Row, role: str) -> None:
    """Take a role away."""
    if role not in subject.roles:
        raise XapiError("ROLE_NOT_FOUND")
    subject.roles = [r for r in subject.roles if r != role]
    _follow(ctx, subject)


def _follow(ctx: Context, subject: Row) -> None:
    """New logins of the user have what the subject has now; sessions keep what they got, as in XAPI."""
    names = [ctx.db.row("role", r).name_label for r in subject.roles]
    strongest = next((r.name_label for r in ctx.db.rows("role") if r.name_label in names), "")
    for user in ctx.pool.sessions.users.values():
        if user.subject == subject.ref:
            user.role = strongest


@message("subject.get_permissions_name_label")
def subject_permissions(ctx: Context, subject: Row) -> list[str]:
    """Names of all permissions of a subject."""
    found: set[str] = set()
    for ref in subject.roles:
        found.update(ctx.pool.permissions(ctx.db.row("role", ref).name_label))
    return sorted(found)


@message("auth.get_subject_identifier")
def get_subject_identifier(ctx: Context, subject_name: str) -> str:
    """Identifier of a user that the directory knows."""
    if not ctx.host.external_auth_type:
        raise XapiError("AUTH_IS_DISABLED")
    for subject in ctx.db.rows("subject"):
        if subject.other_config.get("subject-name") == subject_name:
            return subject.subject_identifier
    raise XapiError("SUBJECT_CANNOT_BE_RESOLVED")
