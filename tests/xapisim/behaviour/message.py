# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""message: alerts about objects."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..errors import internal
from ..messages import TABLES
from ..registry import Context, XapiError, message
from ..types import parse_date


@message("message.create")
def create(ctx: Context, name: str, priority: int, cls: str, obj_uuid: str, body: str) -> str:
    """A new message about an object that must exist, else UUID_INVALID [class, uuid]."""
    try:
        ctx.db.by_uuid(TABLES[cls], obj_uuid)
    except XapiError:
        raise XapiError("UUID_INVALID", cls, obj_uuid) from None
    return ctx.pool.messages.add(name, priority, cls, obj_uuid, body)


@message("message.destroy")
def destroy(ctx: Context, ref: str) -> None:
    """Delete one."""
    ctx.pool.messages.remove(ref)


@message("message.destroy_many")
def destroy_many(ctx: Context, refs: list[str]) -> None:
    """Delete several; the first that does not exist ends it."""
    for ref in refs:
        ctx.pool.messages.remove(ref)


@message("message.destroy_all")
def destroy_all(ctx: Context, filters: dict[str, str]) -> None:
    """Delete those that match: after, before (dates), priority."""
    try:
        after = parse_date(filters["after"]) if "after" in filters else None
        before = parse_date(filters["before"]) if "before" in filters else None
        priority = int(filters["priority"]) if "priority" in filters else None
    except ValueError as error:
        raise internal(f'Failure("{error}")') from None
    for ref, record in list(ctx.pool.messages.records.items()):
        if after is not None and record["timestamp"] <= after:
            continue
        if before is not None and record["timestamp"] >= before:
            continue
        if priority is None or record["priority"] == priority:
            ctx.pool.messages.remove(ref)


@message("message.get_all")
def get_all(ctx: Context) -> list[str]:
    """References of all messages."""
    return list(ctx.pool.messages.records)


@message("message.get_all_records")
def get_all_records(ctx: Context) -> dict[str, Any]:
    """All messages."""
    return dict(ctx.pool.messages.records)


@message("message.get_all_records_where")
def get_all_records_where(ctx: Context, expr: str) -> dict[str, Any]:
    """All messages: xapi ignores the expression, since messages are not in its database."""
    return dict(ctx.pool.messages.records)


@message("message.get_since")
def get_since(ctx: Context, since: datetime) -> dict[str, Any]:
    """The messages after a moment."""
    return {k: v for k, v in ctx.pool.messages.records.items() if v["timestamp"] > since}


@message("message.get")
def get(ctx: Context, cls: str, obj_uuid: str, since: datetime) -> dict[str, Any]:
    """The messages about one object after a moment; UUID_INVALID when there is no such object."""
    try:
        ctx.db.by_uuid(TABLES[cls], obj_uuid)
    except XapiError:
        raise XapiError("UUID_INVALID", cls, obj_uuid) from None
    return {
        k: v
        for k, v in ctx.pool.messages.records.items()
        if v["cls"] == cls and v["obj_uuid"] == obj_uuid and v["timestamp"] > since
    }


@message("message.get_record")
def get_record(ctx: Context, ref: str) -> dict[str, Any]:
    """One message."""
    return ctx.pool.messages.record(ref)


@message("message.get_by_uuid")
def get_by_uuid(ctx: Context, uuid: str) -> str:
    """Reference of the message with a uuid."""
    for ref, record in ctx.pool.messages.records.items():
        if record["uuid"] == uuid:
            return ref
    raise XapiError("UUID_INVALID", "message", uuid)
