"""Adapters that others write, as back ends: an operation becomes a call of the verb for it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, Protocol, cast

from agent_persistence.backends.backend import VERBS, Backend, Capabilities, sent_rows
from agent_persistence.backends.base import (
    ActsAs,
    BulkWrites,
    Calls,
    Counts,
    Deletes,
    Located,
    Pages,
    PersistenceAdapter,
    ReturnsColumns,
    Updates,
)
from agent_persistence.context import CallContext
from agent_persistence.exceptions import UnsupportedOperationError
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
    Update,
    Upsert,
    UpsertMany,
    Write,
    WriteNew,
    unknown,
)


class Executes(Protocol):
    """What stands at the end of the chain."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def execute(self, operation: Operation, context: CallContext) -> Result: ...


def executing(adapter: PersistenceAdapter) -> Executes:
    """The adapter as the end of the chain: itself, if it carries out operations and none of its verbs was replaced."""
    if isinstance(adapter, Backend) and all(_is_ours(adapter, verb) for verb in VERBS):
        return adapter
    return SixVerbs(adapter)


def _is_ours(adapter: Backend, verb: str) -> bool:
    return getattr(getattr(adapter, verb), "__func__", None) is getattr(Backend, verb)


class SixVerbs:
    """An adapter of which only its verbs are known."""

    def __init__(self, adapter: PersistenceAdapter) -> None:
        self._adapter = adapter
        self.capabilities: Final = described(adapter)

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        value = await self._called(operation, context)
        return Result(value.rows, total=value.total) if isinstance(value, Page) else Result(value)

    def _called(self, operation: Operation, context: CallContext) -> Awaitable[Any]:
        own = context.identity.own
        adapter = self._adapter if own else cast("ActsAs", self._adapter).acting_as(context.identity)
        only = self._returning(operation)
        match operation:
            case UpsertMany() | WriteNew():
                raise UnsupportedOperationError(operation.table, *operation.capabilities())
            case Write() | BatchWrite() | Upsert():
                return self._stored(adapter, operation)
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
            case Count(table=table, filters=filters):
                return cast("Counts", adapter).count(table, filters, **only)
            case Update(table=table, changes=changes, filters=filters, max_affected=most):
                return cast("Updates", adapter).update(table, changes, filters, max_affected=most, **only)
            case Delete(table=table, filters=filters, max_affected=most):
                return cast("Deletes", adapter).delete(table, filters, max_affected=most, **only)
            case Call(table=function, arguments=arguments):
                return cast("Calls", adapter).call(function, arguments, may_write=operation.writes)
        raise unknown(operation)

    def _returning(self, operation: Operation) -> dict[str, Any]:
        """The columns that may be read, for an adapter that can be given them."""
        if not self.capabilities.returning:
            return {}
        if isinstance(operation, Count):
            return {"select": (operation.counting,)} if operation.counting else {}
        return {} if operation.asked_columns is None else {"returning": operation.asked_columns}

    def _stored(self, adapter: PersistenceAdapter, operation: Write | BatchWrite | Upsert) -> Awaitable[Any]:
        match operation:
            case BulkWrite(table, records, on_conflict):
                return cast("BulkWrites", adapter).bulk_write(table, records, on_conflict=on_conflict)
            case _ if operation.returning is not None and self.capabilities.returning:
                return _inserted(cast("ReturnsColumns", adapter), operation, operation.returning)
            case Write(table, record):
                return adapter.write(table, record)
            case BatchWrite(table, records):
                return adapter.batch_write(table, records)
            case Upsert(table, record, on_conflict):
                return adapter.upsert(table, record, on_conflict or None)


_WITHOUT_VERB: Final = ("include", "exists", "upsert_many", "ignore_duplicates", "computed")


async def _inserted(adapter: ReturnsColumns, operation: Write | BatchWrite | Upsert, returning: tuple[str, ...]) -> Any:
    """Write and ask for these columns only; without any, the value is what was sent."""
    merged_by = operation.merges_by  # a merge needs the right to UPDATE
    stored = await adapter.insert(operation.table, operation.inserted, on_conflict=merged_by, returning=returning)
    if not returning:
        return sent_rows(operation)
    return stored[0] if operation.returns == "row" else stored


def described(adapter: PersistenceAdapter) -> Capabilities:
    """What the adapter declares; of one that declares only its verbs, what its further Protocols say."""
    declared = adapter.capabilities
    if isinstance(declared, Capabilities):
        return declared
    located = adapter if isinstance(adapter, Located) else None
    return Capabilities(
        {**declared, **dict.fromkeys(_WITHOUT_VERB, False)},
        returning=isinstance(adapter, ReturnsColumns),
        counts_pages=isinstance(adapter, Pages),
        server=None if located is None else located.server,
        namespace=None if located is None else located.namespace,
    )
