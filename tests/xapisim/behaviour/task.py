# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""task: made by clients, cancelled, destroyed, written by their owners."""

from __future__ import annotations

from ..registry import Context, Row, XapiError, message
from ..tasks import DONE


@message("task.create")
def create(ctx: Context, label: str, description: str) -> Row:
    """A task that the client keeps itself, or that an HTTP transfer fills in."""
    return ctx.pool.tasks.start(label, ctx.session, ctx.host, description, running=False)


def _own_or_operator(ctx: Context, task: Row, permission: str) -> None:
    session = ctx.session
    if session is None or session.is_local_superuser or ctx.pool.tasks.owner(task) == session.ref:
        return
    if not {"pool.set_name_label"} & set(session.rbac_permissions):  # a pool-operator may
        raise XapiError(
            "RBAC_PERMISSION_DENIED",
            permission,
            "No permission in user session. (Roles with this permission: pool-admin, pool-operator)",
        )


@message("task.destroy")
def destroy(ctx: Context, task: Row) -> None:
    """Remove a completed task at once, a pending one when its call ends."""
    _own_or_operator(ctx, task, "task.destroy/any")
    ctx.pool.tasks.destroy(task)


@message("task.cancel")
def cancel(ctx: Context, task: Row) -> None:
    """Ask a call to stop. Succeeds, without effect, for a completed one."""
    _own_or_operator(ctx, task, "task.cancel/any")
    if task.status not in DONE and not task.allowed_operations and ctx.pool.tasks.owner(task) == "":
        raise XapiError("OPERATION_NOT_ALLOWED", "Task cannot be cancelled")
    ctx.pool.tasks.cancel(task)


@message("task.set_status")
def set_status(ctx: Context, task: Row, value: str) -> None:
    """Complete (or not) a task of one's own."""
    _own_or_operator(ctx, task, "task.set_status")
    if value in DONE:
        task.finished = ctx.pool.clock.datetime()
    task.status = value


@message("task.set_progress")
def set_progress(ctx: Context, task: Row, value: float) -> None:
    """Show progress of a task of one's own."""
    _own_or_operator(ctx, task, "task.set_progress")
    task.progress = value


@message("task.set_result")
def set_result(ctx: Context, task: Row, value: str) -> None:
    """Store the result of a task of one's own."""
    _own_or_operator(ctx, task, "task.set_result")
    task.result = value


@message("task.set_error_info")
def set_error_info(ctx: Context, task: Row, value: list[str]) -> None:
    """Store the error of a task of one's own."""
    _own_or_operator(ctx, task, "task.set_error_info")
    task.error_info = value


@message("task.set_resident_on")
def set_resident_on(ctx: Context, task: Row, value: str) -> None:
    """Hidden: where the task runs."""
    task.resident_on = value


@message("task.set_other_config")
def set_other_config(ctx: Context, task: Row, value: dict[str, str]) -> None:
    """Replace other_config."""
    task.other_config = value


@message("task.add_to_other_config")
def add_to_other_config(ctx: Context, task: Row, key: str, value: str) -> None:
    """Add a key; MAP_DUPLICATE_KEY when it is there."""
    if key in task.other_config:
        raise XapiError("MAP_DUPLICATE_KEY", "task", "other_config", task, key)
    task.other_config = {**task.other_config, key: value}


@message("task.remove_from_other_config")
def remove_from_other_config(ctx: Context, task: Row, key: str) -> None:
    """Remove a key if it is there."""
    task.other_config = {k: v for k, v in task.other_config.items() if k != key}
