"""How a chunk's rows are written: by `bulk_write`, by `batch_write` where an adapter lacks that, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, Self

from agent_persistence.bulk.sending import BatchWriter, StoredRows
from agent_persistence.client.verbs import WritingVerbs
from agent_persistence.exceptions import RowsDroppedError, UnsupportedOperationError
from agent_persistence.operations import BatchWrite, BulkWrite, Operation, Result
from agent_persistence.policy.retry import RetryPolicy
from agent_persistence.query.filters import Filters
from agent_persistence.query.ordering import OrderBy
from agent_persistence.query.records import Record, Row
from agent_persistence.schema.client_keys import ClientKeys
from agent_persistence.schema.registry import Schema
from agent_persistence.service import AsyncPersistenceService


class Writing(Protocol):
    """A service, or what works through one, such as an agent; records are cleaned as it cleans them."""

    _client_keys: ClientKeys

    @property
    def schema(self) -> Schema: ...

    def _bulk_of(self, table: str, records: object, on_conflict: object = None) -> BulkWrite: ...

    def _bulk_of_new(
        self, table: str, records: object, on_conflict: object = None, *, generated_key: str | None = None
    ) -> BulkWrite: ...

    async def _invoke(self, operation: Operation) -> Result: ...

    def _clean(self, record: Record) -> Record: ...

    async def pinned(self) -> Self: ...

    async def query(
        self, table: str, filters: Filters | None = None, *, order_by: OrderBy | None, select: Sequence[str] | None
    ) -> list[Row]: ...

    def with_options(self, *, retry: RetryPolicy | bool | None = None) -> Self: ...


class _Borrowed(WritingVerbs):
    """The writing verbs of a target, which prepare records as it does, with an end of their own."""

    def __init__(self, target: Writing) -> None:
        self._target = target
        self._client_keys: ClientKeys = target._client_keys

    @property
    def schema(self) -> Schema:
        return self._target.schema

    def _clean(self, record: Record) -> Record:
        return self._target._clean(record)


class DryRun(_Borrowed):
    """Applies every rule of the service to the rows, reports nothing and sends nothing."""

    def __init__(self, target: Writing, service: AsyncPersistenceService) -> None:
        super().__init__(target)
        self._service = service

    async def _invoke(self, operation: Operation) -> Result:
        await self._service.check(operation)
        return Result(len(operation.inserted))


class Batches(_Borrowed):
    """Writes by `batch_write`, for adapters without the capability "bulk"; they cannot merge."""

    async def _invoke(self, operation: Operation) -> Result:
        if not isinstance(operation, BulkWrite):
            return await self._target._invoke(operation)
        batch = BatchWrite(operation.table, operation.records, generated_key=operation.generated_key)
        try:
            result = await self._target._invoke(batch)
        except RowsDroppedError as error:
            return Result(error.stored)
        return replace(result, value=len(operation.records))


async def stored_rows(
    target: Writing | _Borrowed,
    table: str,
    records: Sequence[Record],
    on_conflict: Sequence[str] | None = None,
    *,
    generated_key: str | None = None,
    resent: bool = False,
) -> StoredRows:
    """How many of the rows the database stored, by one bulk write.

    `generated_key` is the column of the keys that an import made for these rows alone; the policy's columns do not bind
    it. `resent` says that an earlier process may have stored them; then they are stored once.
    """
    made = target._bulk_of(table, records, on_conflict)
    operation = replace(made, generated_key=generated_key or made.generated_key, resent=resent)
    return StoredRows((await target._invoke(operation)).value)


async def new_rows(
    target: Writing | _Borrowed,
    table: str,
    records: Sequence[Record],
    on_conflict: Sequence[str] | None = None,
    *,
    generated_key: str | None = None,
    resent: bool = False,
) -> StoredRows:
    """The same of rows of which those are ignored whose values in `on_conflict` are taken; what an earlier process has
    stored under keys that were made for these rows counts as stored."""
    made = target._bulk_of_new(table, records, on_conflict, generated_key=generated_key)
    try:
        stored: int = (await target._invoke(replace(made, resent=resent))).value
    except RowsDroppedError as error:
        return StoredRows(error.stored, ignored=len(records) - error.sent)
    return StoredRows(stored, ignored=len(records) - stored)


def writer(
    target: Writing, service: AsyncPersistenceService, table: str, *, merges: bool, ignores: bool, dry_run: bool
) -> BatchWriter:
    """What writes chunks, which it merges with rows that exist, or leaves out of them what exists.

    Merging rows is the import's own doing: a merge whose answer was lost is sent again, though it may overwrite what
    others wrote in between.
    """
    if ignores and not service.capabilities.get("ignore_duplicates"):
        raise UnsupportedOperationError(table, "ignore_duplicates")
    if dry_run:
        return partial(new_rows if ignores else stored_rows, DryRun(target, service))
    if ignores:
        return partial(new_rows, target)
    if merges:
        target = target.with_options(retry=replace(service._retry, last_write_wins=True))
    if service.capabilities.get("bulk"):
        return partial(stored_rows, target)
    if merges:
        raise UnsupportedOperationError(table, "bulk", "on_conflict needs an adapter with the capability 'bulk'")
    return partial(stored_rows, Batches(target))
