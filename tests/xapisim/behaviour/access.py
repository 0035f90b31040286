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


def _directory(ctx: Context) -> dict[str, dict[str, str]]:
    """What the directory knows, by lower-case name: the scenario's `backends: {directory: {name: {..}}}`, and all subjects."""
    if not ctx.host.external_auth_type:
        raise XapiError("AUTH_IS_DISABLED")
    found = {}
    for name, more in (ctx.pool.backends.get("directory") or {}).items():
        entry = {"subject-name": name, "subject-sid": f"u-{name}", "subject-is-group": "false"}
        found[name.lower()] = {**entry, **{key: str(value) for key, value in (more or {}).items()}}
    for subject in ctx.db.rows("subject"):
        name = subject.other_config.get("subject-name", "")
        found.setdefault(name.lower(), {**subject.other_config, "subject-sid": subject.subject_identifier})
    return found


@message("auth.get_subject_identifier")
def get_subject_identifier(ctx: Context, subject_name: str) -> str:
    """Identifier of a user or group that the directory knows."""
    found = _directory(ctx).get(subject_name.lower())
    if found is None:
        raise XapiError("SUBJECT_CANNOT_BE_RESOLVED")
    return found["subject-sid"]


@message("auth.get_subject_information_from_identifier")
def get_subject_information_from_identifier(ctx: Context, subject_identifier: str) -> dict[str, str]:
    """What the directory says of one."""
    for found in _directory(ctx).values():
        if found["subject-sid"] == subject_identifier:
            return found
    raise XapiError("SUBJECT_CANNOT_BE_RESOLVED")
