# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a call on the wire to its reply: the checks in xapi's order, roles, tasks, and the generic messages.

Order (xapi-behaviour.md 1.1): known method, number of parameters, decoding, session, roles, operation.
"""

from __future__ import annotations

import threading
import traceback
from typing import Any, Protocol

from . import where, xmlrpc
from .db import Row
from .errors import XapiError, internal
from .pool import HostRuntime, Pool
from .registry import HANDLERS, Context, refresh
from .schema import Class, Message, Param
from .sessions import Login
from .types import Type, describe, parse_type

TASK_REF = parse_type("task ref")
# what a session of session.slave_local_login_with_password may call, on any host and without the coordinator
EMERGENCY = {
    "session.local_logout",
    "session.logout",
    "pool.emergency_transition_to_master",
    "pool.emergency_reset_master",
    "host.is_in_emergency_mode",
    "host.local_management_reconfigure",
    "host.management_disable",
    "host.get_management_interface",
    "host.emergency_ha_disable",
    "host.shutdown_agent",
}


class Codec(Protocol):
    """Builds the body of a reply. `value` holds no Rows."""

    def success(self, type_: Type, value: Any) -> bytes:
        """A call's result."""

    def failure(self, error: list[str]) -> bytes:
        """A call's error."""

    def bare(self, type_: Type, value: Any) -> bytes:
        """A value alone."""


def call(pool: Pool, runtime: HostRuntime, wire: str, params: list[Any], codec: Codec, originator: str = "") -> bytes:
    """Run one call that came in at a host; the encoded reply."""
    with pool.lock:
        pool.calls[wire] += 1
        try:
            if wire == "system.listMethods":
                names = [m.wire for m in pool.schema.messages.values() if not m.hidden]
                return codec.bare(parse_type("string set"), names)
            if wire.startswith("system.isAlive:"):
                return codec.bare(parse_type("string"), describe(params[0]) if params else "")
            type_, value = _call(pool, runtime, wire, params)
            return codec.success(type_, value)
        except XapiError as error:
            pool.log(wire, "->", error)
            return codec.failure(error.description)
        except Exception as error:  # noqa: BLE001 - a mistake in a behaviour must not hang the client
            traceback.print_exc()
            return codec.failure(["INTERNAL_ERROR", f"xapisim: {error!r}"])


def _call(pool: Pool, runtime: HostRuntime, wire: str, params: list[Any]) -> tuple[Type, Any]:
    _check_utf8(params)
    run_async = wire.startswith("Async.")
    name = wire[6:] if run_async else wire
    message = pool.schema.messages.get(name)
    if message is None and not run_async:
        cls, _unused, rest = name.partition("_")
        while message is None and rest:  # VM_start, and PIF_metrics_get_all for classes with an underscore
            message = pool.schema.messages.get(f"{cls}.{rest}")
            more, _unused, rest = rest.partition("_")
            cls = f"{cls}_{more}"
    if message is None:
        if params:
            _session(pool, runtime, _text(params[0]), None)
        raise XapiError("MESSAGE_METHOD_UNKNOWN", wire)
    session_ref, args = _unpack(pool, message, params)
    login = _session(pool, runtime, session_ref, message) if message.session else None
    if message.session is False and message.name == "login_with_password":
        _only_on_coordinator(pool, runtime)
    if message.state == "Removed":
        raise XapiError("MESSAGE_REMOVED")
    if run_async and not message.is_async:
        raise XapiError("Fault", f"No async mode for this operation (rpc: {message.wire})")
    session = login.row if login is not None else None
    host = runtime.row
    if not message.is_async:
        return message.result, _run(Context(pool, host, session), login, message, args)
    task = pool.tasks.start(wire, session, host)
    ctx = Context(pool, host, session, task)
    if run_async:
        threading.Thread(target=_run_async, args=(ctx, login, message, args), name=wire, daemon=True).start()
        return TASK_REF, task.ref
    try:
        return message.result, _run(ctx, login, message, args)
    finally:
        pool.tasks.drop(task)


def _run_async(ctx: Context, login: Login | None, message: Message, args: list[Any]) -> None:
    pool = ctx.pool
    with pool.lock:
        try:
            value = _run(ctx, login, message, args)
            pool.tasks.succeed(
                ctx.task, xmlrpc.value(message.result, value) if message.result.kind != "void" else "<value></value>"
            )
        except XapiError as error:
            pool.log(f"Async.{message.wire}", "->", error)
            pool.tasks.fail(ctx.task, error)
        except Exception as error:  # noqa: BLE001 - a mistake in a behaviour must not hang the client
            traceback.print_exc()
            pool.tasks.fail(ctx.task, internal(f"xapisim: {error!r}"))


def _run(ctx: Context, login: Login | None, message: Message, args: list[Any]) -> Any:
    pool = ctx.pool
    if login is not None:
        pool.sessions.allow(login, message, args)
    delay = pool.faults.delay_for(message.wire) + ctx.duration(message.wire)
    if delay:
        ctx.wait(delay)
    pool.faults.check(message.wire)
    if message.kind == "create":
        ctx.given = args[0].given
    handler = HANDLERS.get(message.wire)
    if handler is None and message.kind in ("get_all_records", "get_all_records_where", "get_record"):
        return _generic(ctx, message, args)  # already plain
    return message.result.plain(execute(ctx, message, args))


def execute(ctx: Context, message: Message, args: list[Any]) -> Any:
    """Run the behaviour of a message, or what is generic; Python values in and out."""
    handler = HANDLERS.get(message.wire)
    if handler is None:
        return _generic(ctx, message, args)
    if message.own_ref:
        args = [ctx.db.row(message.cls, args[0]), *args[1:]]
    return handler(ctx, *args)


def call_inside(ctx: Context, method: str, args: tuple[Any, ...]) -> Any:
    """See Context.call."""
    message = ctx.db.schema.messages[method]
    if len(args) < message.required or len(args) > len(message.params):
        raise TypeError(f"{method} takes {message.required} to {len(message.params)} arguments, not {len(args)}")
    values: list[Any] = [_row_to_ref(a) for a in args]
    values += [p.default for p in message.params[len(values) :]]
    given = ctx.given
    if message.kind == "create":
        values = [_complete(ctx.db.schema.classes[message.cls], values[0], decode=False)]
        ctx.given = values[0].given
    try:
        result = execute(ctx, message, values)
        return {row.ref: row.record() for row in result.rows} if isinstance(result, xmlrpc.Records) else result
    finally:
        ctx.given = given


def _row_to_ref(value: Any) -> Any:
    if isinstance(value, Row):
        return value.ref
    if isinstance(value, list):
        return [_row_to_ref(v) for v in value]
    if isinstance(value, dict):
        return {_row_to_ref(k): _row_to_ref(v) for k, v in value.items()}
    return value


# -- the checks


def _check_utf8(params: list[Any]) -> None:
    for param in params:
        if isinstance(param, xmlrpc.BadText):
            raise XapiError("INVALID_VALUE", "Invalid UTF-8 string in parameter", str(param))


def _text(value: Any) -> str:
    return parse_type("string").decode(value)


def _unpack(pool: Pool, message: Message, params: list[Any]) -> tuple[str, list[Any]]:
    """Check the number of parameters and decode them: session reference and arguments, defaults filled in."""
    received = len(params) - message.session
    if received < message.required or (received > message.required and not message.optional):
        raise XapiError("MESSAGE_PARAMETER_COUNT_MISMATCH", message.wire, message.required, received)
    session_ref = ""
    if message.session:
        session_ref, params = _text(params[0]), params[1:]
    declared = message.params
    args = [p.type.decode(v) for p, v in zip(declared, params, strict=False)]
    args += [_copy(p) for p in declared[len(args) :]]
    if message.kind == "create":
        args = [_complete(pool.schema.classes[message.cls], args[0], decode=True)]
    return session_ref, args


def _copy(param: Param) -> Any:
    return param.default.copy() if isinstance(param.default, (list, dict)) else param.default


class _Constructed(dict[str, Any]):
    """The argument of a constructor, and which of its fields the client sent."""

    given: set[str]


def _complete(cls: Class, given: dict[str, Any], *, decode: bool) -> _Constructed:
    """The record of a constructor: the settable fields, defaults where they were not sent. Unknown keys are ignored."""
    record = _Constructed()
    record.given = set(given)
    for field in cls.fields.values():
        if field.qualifier == "RO/runtime":
            continue
        if field.name in given:
            record[field.name] = field.type.decode(given[field.name]) if decode else given[field.name]
        elif field.has_default or not decode:
            default = field.default
            record[field.name] = default.copy() if isinstance(default, (list, dict)) else default
        else:
            raise internal(f'Server_helpers.Dispatcher_FieldNotFound("{field.name}")')
    return record


def _only_on_coordinator(pool: Pool, runtime: HostRuntime) -> None:
    if runtime.booting:
        raise XapiError("HOST_STILL_BOOTING")
    if runtime.row != pool.master:
        raise XapiError("HOST_IS_SLAVE", runtime.coordinator or pool.runtime(pool.master).address)


def _session(pool: Pool, runtime: HostRuntime, ref: str, message: Message | None) -> Login | None:
    """The login of a session, None for a local session that may make this call."""
    if ref in runtime.local_sessions:
        if message is not None and message.wire in EMERGENCY:
            return None
        if runtime.row == pool.master and not runtime.booting:
            raise XapiError("SESSION_INVALID", ref)
    _only_on_coordinator(pool, runtime)
    login = pool.sessions.find(ref)
    if message is not None and message.internal:
        raise internal(f'Internal API "{message.wire}" call attempted with non-pool (external) session')
    return login


# -- generic messages


def _generic(ctx: Context, message: Message, args: list[Any]) -> Any:
    function = _GENERIC.get(message.kind)
    if function is None:
        raise XapiError("NOT_IMPLEMENTED", message.wire)
    return function(ctx, message, args)


def _get_all_records(ctx: Context, message: Message, args: list[Any]) -> Any:
    return xmlrpc.Records(ctx.db.table(message.cls).values())


def _get_all_records_where(ctx: Context, message: Message, args: list[Any]) -> Any:
    return xmlrpc.Records(_where(ctx, message, args))


def _where(ctx: Context, message: Message, args: list[Any]) -> list[Row]:
    return where.select(ctx.db.schema.classes[message.cls], ctx.db.table(message.cls), ctx.db.values, args[0])


def _own(ctx: Context, message: Message, args: list[Any]) -> Row:
    return ctx.db.row(message.cls, args[0])


def _get_field(ctx: Context, message: Message, args: list[Any]) -> Any:
    return getattr(_own(ctx, message, args), message.field.name)  # type: ignore[union-attr]


def _set_field(ctx: Context, message: Message, args: list[Any]) -> None:
    ctx.db.set(_own(ctx, message, args), message.field.name, args[1])  # type: ignore[union-attr]


def _add_to(ctx: Context, message: Message, args: list[Any]) -> None:
    row, name = _own(ctx, message, args), message.field.name  # type: ignore[union-attr]
    value = getattr(row, name)
    if args[1] in value:
        raise XapiError("MAP_DUPLICATE_KEY", message.cls, name, row, args[1])
    ctx.db.set(row, name, {**value, args[1]: args[2]})


def _remove_from(ctx: Context, message: Message, args: list[Any]) -> None:
    row, name = _own(ctx, message, args), message.field.name  # type: ignore[union-attr]
    ctx.db.set(row, name, {k: v for k, v in getattr(row, name).items() if k != args[1]})


def _add(ctx: Context, message: Message, args: list[Any]) -> None:
    row, name = _own(ctx, message, args), message.field.name  # type: ignore[union-attr]
    value = getattr(row, name)
    if args[1] not in value:
        ctx.db.set(row, name, [*value, args[1]])


def _remove(ctx: Context, message: Message, args: list[Any]) -> None:
    row, name = _own(ctx, message, args), message.field.name  # type: ignore[union-attr]
    ctx.db.set(row, name, [v for v in getattr(row, name) if v != args[1]])


def _by_label(ctx: Context, message: Message, args: list[Any]) -> list[Row]:
    return ctx.db.rows(message.cls, name_label=args[0])


def _create(ctx: Context, message: Message, args: list[Any]) -> Row:
    row = ctx.db.create(message.cls, **args[0])
    refresh(row)
    return row


_GENERIC = {
    "get_field": _get_field,
    "set_field": _set_field,
    "add_to": _add_to,
    "remove_from": _remove_from,
    "add": _add,
    "remove": _remove,
    "get_record": lambda ctx, message, args: _own(ctx, message, args).record(),
    "get_all": lambda ctx, message, args: list(ctx.db.table(message.cls)),
    "get_all_records": _get_all_records,
    "get_all_records_where": _get_all_records_where,
    "get_all_where": _where,
    "get_by_uuid": lambda ctx, message, args: ctx.db.by_uuid(message.cls, args[0]),
    "get_by_name_label": _by_label,
    "create": _create,
    "destroy": lambda ctx, message, args: ctx.db.destroy(_own(ctx, message, args)),
}
