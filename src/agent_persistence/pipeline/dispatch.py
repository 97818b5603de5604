"""The end of the chain: one operation, one call of the adapter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from agent_persistence.backends.base import (
    ActsAs,
    BulkWrites,
    Calls,
    Counts,
    Deletes,
    Pages,
    PersistenceAdapter,
    ReturnsColumns,
    Transacts,
    Updates,
)
from agent_persistence.context import CallContext
from agent_persistence.exceptions import AdapterError, FailureState, PersistenceError, UnsupportedOperationError
from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Call,
    Count,
    Delete,
    GetColumns,
    Operation,
    Page,
    Query,
    Read,
    Result,
    Unit,
    Update,
    Upsert,
    Write,
)
from agent_persistence.pipeline.chain import Rest
from agent_persistence.policy.identity import Identity
from agent_persistence.runtime.attempts import ended_unsent, limited


def dispatch_to(adapter: PersistenceAdapter, clock: Callable[[], float]) -> Rest:
    """Return the chain's endpoint: it calls the adapter's verb as whom the context says, and ends the call at the
    context's deadline or after its `attempt_s` seconds (see `attempts`), whichever is earlier.

    What the adapter lacks is refused before it is called. A failure that is no error of this package becomes an
    AdapterError: "ambiguous" where the adapter may have written or its connection broke, else "rejected".
    """

    capabilities = adapter.capabilities
    chooses_columns = isinstance(adapter, ReturnsColumns)

    async def dispatch(operation: Operation, context: CallContext) -> Result:
        for capability in operation.capabilities():
            if not capabilities.get(capability, False):
                raise UnsupportedOperationError(operation.table, capability)
        remaining_s = context.deadline - clock()
        if remaining_s <= 0:
            raise _late(operation, FailureState.NOT_SENT)
        with limited(remaining_s, context.retry.attempt_s):
            try:
                value = await _call(_acting(adapter, context.identity), operation, chooses_columns=chooses_columns)
                return Result(value.rows, total=value.total) if isinstance(value, Page) else Result(value)
            except PersistenceError:
                raise
            except Exception as error:  # the boundary to adapters that others write
                raise _foreign(adapter, operation, error) from error
        raise _late(operation, FailureState.NOT_SENT if ended_unsent() else FailureState.AMBIGUOUS)

    return dispatch


def _acting(adapter: PersistenceAdapter, identity: Identity) -> PersistenceAdapter:
    return adapter if identity.own else cast("ActsAs", adapter).acting_as(identity)


def _call(adapter: PersistenceAdapter, operation: Operation, *, chooses_columns: bool) -> Awaitable[Any]:
    match operation:
        case Write() | BatchWrite() | Upsert():
            return _store(adapter, operation, chooses_columns=chooses_columns)
        case Read():
            return adapter.read(operation.table, operation.id_value, operation.id_column)
        case Query():
            ask = cast("Pages", adapter).page if operation.counted else adapter.query
            return ask(
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
            counting = {"select": (operation.counting,)} if operation.counting and chooses_columns else {}
            return cast("Counts", adapter).count(operation.table, operation.filters, **counting)
        case Update(table=table, changes=changes, filters=filters):
            only = _returning(operation) if chooses_columns else {}
            return cast("Updates", adapter).update(table, changes, filters, max_affected=operation.max_affected, **only)
        case Delete(table=table, filters=filters):
            only = _returning(operation) if chooses_columns else {}
            return cast("Deletes", adapter).delete(table, filters, max_affected=operation.max_affected, **only)
        case Unit():
            return cast("Transacts", adapter).transact(operation)
        case Call():
            function, arguments = operation.table, operation.arguments
            return cast("Calls", adapter).call(function, arguments, may_write=operation.writes)


def _store(
    adapter: PersistenceAdapter, operation: Write | BatchWrite | Upsert, *, chooses_columns: bool
) -> Awaitable[Any]:
    match operation:
        case BulkWrite(table, records, on_conflict):
            return cast("BulkWrites", adapter).bulk_write(table, records, on_conflict=on_conflict)
        case _ if operation.returning is not None and chooses_columns:
            return _insert(cast("ReturnsColumns", adapter), operation, operation.returning)
        case Write(table, record):
            return adapter.write(table, record)
        case BatchWrite(table, records):
            return adapter.batch_write(table, records)
        case Upsert(table, record, on_conflict):
            return adapter.upsert(table, record, on_conflict or None)


async def _insert(adapter: ReturnsColumns, operation: Write | BatchWrite | Upsert, returning: tuple[str, ...]) -> Any:
    """Write and ask for these columns only; without any, the value is what was sent."""
    records = operation.records if isinstance(operation, BatchWrite) else (operation.record,)
    merges = isinstance(operation, Upsert) and not operation.generated_key  # a merge needs the right to UPDATE
    on_conflict = operation.on_conflict if isinstance(operation, Upsert) and merges else None
    stored = await adapter.insert(operation.table, records, on_conflict=on_conflict, returning=returning)
    rows = stored if returning else [dict(record) for record in records]
    return rows if isinstance(operation, BatchWrite) else rows[0]


def _returning(operation: Update | Delete) -> dict[str, Any]:
    return {} if operation.returning is None else {"returning": operation.returning}


def _late(operation: Operation, state: FailureState) -> AdapterError:
    told = "reached its deadline" if state is FailureState.NOT_SENT else "got no answer in time"
    return AdapterError(f"{operation.verb} on {operation.table} {told}", state=state)


def _foreign(adapter: PersistenceAdapter, operation: Operation, error: Exception) -> AdapterError:
    unsure = operation.writes or isinstance(error, OSError)
    return AdapterError(
        f"{type(adapter).__name__} failed in {operation.verb} on {operation.table} with {type(error).__name__}",
        state=FailureState.AMBIGUOUS if unsure else FailureState.REJECTED,
    )
