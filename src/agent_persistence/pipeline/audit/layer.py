"""Reports to the audit hooks what each call did."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Container, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from inspect import isawaitable
from time import perf_counter
from typing import Any, Final

import anyio

from agent_persistence.context import CallContext
from agent_persistence.exceptions import (
    OutcomeUnknownError,
    PersistenceError,
    PersistencePermissionError,
    RowsDroppedError,
    printable,
)
from agent_persistence.operations import Operation, Query, Read, Result, Write, includes
from agent_persistence.pipeline.audit.event import AuditEvent, AuditHook, Outcome
from agent_persistence.pipeline.chain import Rest
from agent_persistence.query.identifiers import is_identifier
from agent_persistence.query.records import distinct
from agent_persistence.query.references import Reference
from agent_persistence.runtime.background import in_background
from agent_persistence.schema.registry import Schema

HOOK_TIMEOUT_S: Final = 1.0

_logger = logging.getLogger("agent_persistence.audit")


class Audit:
    """Runs once per caller's call and emits one event, after the call has ended in whatever way.

    The hooks are called in order after the result is settled, and nothing they do can change it. What async ones have
    to wait for runs concurrently and delays the caller by HOOK_TIMEOUT_S in all, also when the call is cancelled.
    """

    def __init__(
        self, hooks: Sequence[AuditHook], key_columns: Callable[[str], tuple[str, ...]], schema: Schema
    ) -> None:
        self._hooks = tuple(hooks)
        self._key_columns = key_columns
        self._schema = schema

    async def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Result:
        at = datetime.now(UTC)
        start = perf_counter()
        try:
            result = await call_next(operation, context)
        except GeneratorExit:  # the event loop is gone: nothing can be awaited any more
            raise
        except BaseException as error:
            pending = self._emit(self._event(operation, context, at, start, error=error))
            if pending is not None:
                await pending
            raise
        pending = self._emit(self._event(operation, context, at, start, result=result))
        if pending is not None:
            await pending
        return result

    def _event(
        self,
        operation: Operation,
        context: CallContext,
        at: datetime,
        start: float,
        *,
        result: Result | None = None,
        error: BaseException | None = None,
    ) -> AuditEvent:
        unread = result is None or operation.returns == "count"
        rows = operation.inserted if unread or result is None else _returned(result.value)
        table, columns = operation.table, operation.columns()
        if isinstance(operation, Query) and operation.include:
            columns = (*columns, *_included(operation))
        if error is not None:  # what the guard has let pass needs no second look
            declared = self._schema.columns(table) if type(table) is str else {}
            columns = tuple(_shown(name, declared) for name in columns)
            table = _shown(table, self._schema.tables)
        return AuditEvent(
            verb=operation.verb,
            table=table,
            outcome=outcome_of(operation, error) if error else "spooled" if result and result.spooled else "ok",
            columns=columns if isinstance(operation, (Write, Read)) else distinct(columns),
            row_count=0 if result is None else len(rows),
            keys=self._keys(operation, rows),
            duration_s=perf_counter() - start,
            attempts=result.attempts
            if result
            else getattr(error, "attempts", int(not isinstance(error, PersistenceError))),
            actor=context.identity.actor,
            error_type=type(error).__name__ if error else None,
            at=at,
            unit=None if context.gathered is None else context.gathered.unit_id,
        )

    def _keys(self, operation: Operation, rows: Sequence[Any]) -> tuple[Any, ...]:
        key = self._key_columns(operation.table) if type(operation.table) is str else ()
        if isinstance(operation, Read) and key == (operation.id_column,):
            return (operation.id_value,)
        if len(key) == 1:
            (column,) = key
            return tuple([row[column] for row in rows if column in row and type(row[column]) is not Reference])
        return tuple([tuple(row[column] for column in key) for row in rows if key and _has(row, key)])

    def _emit(self, event: AuditEvent) -> Awaitable[None] | None:
        """Call the hooks; what is returned, if anything, is what async ones still have to do."""
        waiting: tuple[Awaitable[None], ...] = ()
        for hook in self._hooks:
            pending = _call_hook(hook, event)
            if pending is not None:
                waiting += (pending,)
        return self._wait(waiting, event) if waiting else None

    async def _wait(self, waiting: Sequence[Awaitable[None]], event: AuditEvent) -> None:
        """The hooks run in a task of their own: a shield holds scopes off, but not asyncio's own task.cancel()."""
        ended = anyio.Event()
        in_background(partial(_finish_all, waiting, event, ended))
        with anyio.CancelScope(shield=True):
            await ended.wait()


async def _finish_all(waiting: Sequence[Awaitable[None]], event: AuditEvent, ended: anyio.Event) -> None:
    try:
        with anyio.move_on_after(HOOK_TIMEOUT_S) as scope:
            async with anyio.create_task_group() as group:
                for pending in waiting:
                    group.start_soon(_finish, pending, event)
        if scope.cancelled_caught:
            _logger.error("an audit hook did not end in %s s on %s of %s", HOOK_TIMEOUT_S, event.verb, event.table)
    finally:
        ended.set()


def _call_hook(hook: AuditHook, event: AuditEvent) -> Awaitable[None] | None:
    try:
        returned = hook(event)
        return returned if returned is not None and isawaitable(returned) else None
    except Exception:  # a hook is the user's code: whatever it raises must not undo a settled write
        _logger.exception("an audit hook failed on %s of %s", event.verb, event.table)
        return None


async def _finish(pending: Awaitable[None], event: AuditEvent) -> None:
    try:
        await pending
    except Exception:  # as above
        _logger.exception("an audit hook failed on %s of %s", event.verb, event.table)


def outcome_of(operation: Operation, error: BaseException) -> Outcome:
    if isinstance(error, PersistencePermissionError):
        return "denied"
    if isinstance(error, OutcomeUnknownError) or (isinstance(error, RowsDroppedError) and error.stored):
        return "unknown"
    if isinstance(error, Exception) or not operation.writes:
        return "error"
    return "unknown"  # cancelled: the write may have left already


def _has(row: Any, key: Sequence[str]) -> bool:
    return all(column in row and type(row[column]) is not Reference for column in key)


def _included(query: Query) -> Iterator[str]:
    """The columns of related rows, each behind the name that these have."""
    for each in includes(query):
        yield from (f"{each.name}.{column}" for column in each.query.columns())


def _returned(value: object) -> Sequence[Any]:
    if isinstance(value, list):
        return [row for row in value if isinstance(row, dict)]
    return (value,) if isinstance(value, dict) else ()


def _shown(name: object, declared: Container[str]) -> str:
    """The name as it is, if it is a plain or a declared one; any other came from a caller."""
    return str(name) if is_identifier(name) or (type(name) is str and name in declared) else printable(name)
