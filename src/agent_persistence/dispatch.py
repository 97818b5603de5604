"""The end of the chain: one operation, one call of the adapter."""

from __future__ import annotations

from collections.abc import Callable
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

    async def dispatch(operation: Operation) -> Result:
        for capability in operation.capabilities():
            if not adapter.capabilities.get(capability, False):
                raise UnsupportedOperationError(operation.table, capability)
        remaining_s = operation.deadline - clock()
        if remaining_s <= 0:
            raise _late(operation, FailureState.NOT_SENT)
        with anyio.CancelScope(deadline=anyio.current_time() + remaining_s):
            try:
                return Result(await _call(adapter, operation))
            except PersistenceError:
                raise
            except Exception as error:  # the boundary to adapters that others write
                raise _foreign(adapter, operation, error) from error
        raise _late(operation, FailureState.AMBIGUOUS)

    return dispatch


async def _call(adapter: PersistenceAdapter, operation: Operation) -> Any:
    match operation:
        case Write():
            return await adapter.write(operation.table, operation.record)
        case BatchWrite():
            return await adapter.batch_write(operation.table, operation.records)
        case Upsert():
            return await adapter.upsert(operation.table, operation.record, operation.on_conflict or None)
        case Read():
            return await adapter.read(operation.table, operation.id_value, operation.id_column)
        case Query():
            return await adapter.query(
                operation.table,
                operation.filters,
                operation.limit,
                operation.order or None,
                select=operation.select,
                offset=operation.offset,
            )
        case GetColumns():
            return await adapter.get_columns(operation.table)
        case Count():
            return await cast("Counts", adapter).count(operation.table, operation.filters)
        case Update(table=table, changes=changes, filters=filters):
            return await cast("Updates", adapter).update(table, changes, filters, max_affected=operation.max_affected)
        case Delete(table=table, filters=filters):
            return await cast("Deletes", adapter).delete(table, filters, max_affected=operation.max_affected)
        case Call():
            function, arguments = operation.table, operation.arguments
            return await cast("Calls", adapter).call(function, arguments, may_write=operation.may_write)


def _late(operation: Operation, state: FailureState) -> AdapterError:
    return AdapterError(f"{operation.verb} on {operation.table} reached its deadline", state=state)


def _foreign(adapter: PersistenceAdapter, operation: Operation, error: Exception) -> AdapterError:
    unsure = operation.writes or isinstance(error, OSError)
    return AdapterError(
        f"{type(adapter).__name__} failed in {operation.verb} on {operation.table} with {type(error).__name__}",
        state=FailureState.AMBIGUOUS if unsure else FailureState.REJECTED,
    )
