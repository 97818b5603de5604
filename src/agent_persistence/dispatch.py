"""The end of the chain: one operation, one call of the adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, cast

import anyio

from agent_persistence.adapter import Calls, Counts, Deletes, PersistenceAdapter, Updates
from agent_persistence.chain import Next
from agent_persistence.exceptions import AdapterError, FailureState, PersistenceError, UnsupportedOperationError
from agent_persistence.operations import (
    BatchWrite,
    Call,
    Count,
    Delete,
    GetColumns,
    Operation,
    Query,
    Read,
    Result,
    Update,
    Upsert,
    Write,
)


def dispatch_to(adapter: PersistenceAdapter, clock: Callable[[], float]) -> Next:
    """Return the chain's endpoint: it calls the adapter's verb and ends the call at the operation's deadline.

    What the adapter lacks is refused before it is called. A failure that is no error of this package becomes an
    AdapterError: "ambiguous" where the adapter may have written or its connection broke, else "rejected".
    """

    capabilities = adapter.capabilities

    async def dispatch(operation: Operation) -> Result:
        for capability in operation.capabilities():
            if not capabilities.get(capability, False):
                raise UnsupportedOperationError(operation.table, capability)
        remaining_s = operation.deadline - clock()
        if remaining_s <= 0:
            raise _late(operation, FailureState.NOT_SENT)
        with _move_on_after(remaining_s):
            try:
                return Result(await _call(adapter, operation))
            except PersistenceError:
                raise
            except Exception as error:  # the boundary to adapters that others write
                raise _foreign(adapter, operation, error) from error
        raise _late(operation, FailureState.AMBIGUOUS)

    return dispatch


def _call(adapter: PersistenceAdapter, operation: Operation) -> Awaitable[Any]:
    match operation:
        case Write():
            return adapter.write(operation.table, operation.record)
        case BatchWrite():
            return adapter.batch_write(operation.table, operation.records)
        case Upsert():
            return adapter.upsert(operation.table, operation.record, operation.on_conflict or None)
        case Read():
            return adapter.read(operation.table, operation.id_value, operation.id_column)
        case Query():
            return adapter.query(
                operation.table,
                operation.filters,
                operation.limit,
                operation.order or None,
                select=operation.select,
                offset=operation.offset,
            )
        case GetColumns():
            return adapter.get_columns(operation.table)
        case Count():
            return cast("Counts", adapter).count(operation.table, operation.filters)
        case Update(table=table, changes=changes, filters=filters):
            return cast("Updates", adapter).update(table, changes, filters, max_affected=operation.max_affected)
        case Delete(table=table, filters=filters):
            return cast("Deletes", adapter).delete(table, filters, max_affected=operation.max_affected)
        case Call():
            function, arguments = operation.table, operation.arguments
            return cast("Calls", adapter).call(function, arguments, may_write=operation.writes)


def _move_on_after(delay_s: float) -> anyio.CancelScope:
    """anyio.move_on_after, which searches for the event loop's library three times: 3 of the chain's microseconds.

    Where asyncio runs this task, the class of scope that the search found once serves from then on.
    """
    try:
        if asyncio.current_task() is not None:
            return _asyncio_scope()(deadline=asyncio.get_running_loop().time() + delay_s)
    except RuntimeError:  # no asyncio loop in this thread
        pass
    return anyio.move_on_after(delay_s)


@cache
def _asyncio_scope() -> type[anyio.CancelScope]:
    return type(anyio.CancelScope())


def _late(operation: Operation, state: FailureState) -> AdapterError:
    return AdapterError(f"{operation.verb} on {operation.table} reached its deadline", state=state)


def _foreign(adapter: PersistenceAdapter, operation: Operation, error: Exception) -> AdapterError:
    unsure = operation.writes or isinstance(error, OSError)
    return AdapterError(
        f"{type(adapter).__name__} failed in {operation.verb} on {operation.table} with {type(error).__name__}",
        state=FailureState.AMBIGUOUS if unsure else FailureState.REJECTED,
    )
