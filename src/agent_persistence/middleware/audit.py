"""Tells the audit hooks what each call did."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from inspect import isawaitable
from time import perf_counter
from typing import Any, Final

import anyio

from agent_persistence.audit import AuditEvent, AuditHook, Outcome
from agent_persistence.chain import Next
from agent_persistence.exceptions import OutcomeUnknownError, PersistencePermissionError, printable
from agent_persistence.identifiers import is_identifier
from agent_persistence.operations import BatchWrite, Operation, Read, Result, Upsert, Write

HOOK_TIMEOUT_S: Final = 1.0

_logger = logging.getLogger("agent_persistence.audit")


class Audit:
    """Runs once per caller's call and emits one event, after the call has ended in whatever way.

    The hooks are called in order after the result is settled, and nothing they do can change it. What async ones have
    to wait for runs concurrently and delays the caller by HOOK_TIMEOUT_S in all, also when the call is cancelled.
    """

    def __init__(
        self, hooks: Sequence[AuditHook], key_columns: Callable[[str], tuple[str, ...]], *, actor: str | None
    ) -> None:
        self._hooks = tuple(hooks)
        self._key_columns = key_columns
        self._actor = actor

    async def __call__(self, operation: Operation, call_next: Next, /) -> Result:
        at = datetime.now(UTC)
        start = perf_counter()
        try:
            result = await call_next(operation)
        except GeneratorExit:  # the event loop is gone: nothing can be awaited any more
            raise
        except BaseException as error:
            await self._emit(self._event(operation, at, start, error=error))
            raise
        await self._emit(self._event(operation, at, start, result=result))
        return result

    def _event(
        self,
        operation: Operation,
        at: datetime,
        start: float,
        *,
        result: Result | None = None,
        error: BaseException | None = None,
    ) -> AuditEvent:
        rows = _rows(operation) if result is None else _returned(result.value)
        return AuditEvent(
            verb=operation.verb,
            table=operation.table if is_identifier(operation.table) else printable(operation.table),
            outcome="ok" if error is None else _outcome(operation, error),
            columns=tuple(name if is_identifier(name) else printable(name) for name in operation.columns()),
            row_count=0 if result is None else len(rows),
            keys=tuple(self._keys(operation, rows)),
            duration_s=perf_counter() - start,
            attempts=result.attempts if result else getattr(error, "attempts", 1),
            actor=self._actor,
            error_type=type(error).__name__ if error else None,
            at=at,
        )

    def _keys(self, operation: Operation, rows: Iterable[Any]) -> Iterable[Any]:
        columns = self._key_columns(operation.table) if is_identifier(operation.table) else ()
        if isinstance(operation, Read) and columns == (operation.id_column,):
            yield operation.id_value
            return
        for row in rows:
            key = tuple(row[column] for column in columns if column in row)
            if key and len(key) == len(columns):
                yield key[0] if len(key) == 1 else key

    async def _emit(self, event: AuditEvent) -> None:
        waiting = [told for hook in self._hooks if isawaitable(told := _tell(hook, event))]
        if not waiting:
            return
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + HOOK_TIMEOUT_S) as scope:
            async with anyio.create_task_group() as group:
                for told in waiting:
                    group.start_soon(_finish, told, event)
        if scope.cancelled_caught:
            _logger.error("an audit hook did not end in %s s on %s of %s", HOOK_TIMEOUT_S, event.verb, event.table)


def _tell(hook: AuditHook, event: AuditEvent) -> object:
    try:
        return hook(event)
    except Exception:  # a hook is the user's code: whatever it raises must not undo a settled write
        _logger.exception("an audit hook failed on %s of %s", event.verb, event.table)
        return None


async def _finish(told: Awaitable[None], event: AuditEvent) -> None:
    try:
        await told
    except Exception:  # as above
        _logger.exception("an audit hook failed on %s of %s", event.verb, event.table)


def _outcome(operation: Operation, error: BaseException) -> Outcome:
    if isinstance(error, PersistencePermissionError):
        return "denied"
    if isinstance(error, OutcomeUnknownError):
        return "unknown"
    if isinstance(error, Exception) or not operation.writes:
        return "error"
    return "unknown"  # cancelled: the write may have left already


def _rows(operation: Operation) -> Sequence[Any]:
    match operation:
        case Write(record=record) | Upsert(record=record):
            return (record,)
        case BatchWrite(records=records):
            return records
        case _:
            return ()


def _returned(value: object) -> Sequence[Any]:
    if isinstance(value, list):
        return [row for row in value if isinstance(row, dict)]
    return (value,) if isinstance(value, dict) else ()
