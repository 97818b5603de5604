"""The verbs that change rows, written once for everything that has them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload
from uuid import UUID

from pydantic import BaseModel

from agent_persistence.client.arguments import at_least, column_names
from agent_persistence.exceptions import UnsupportedOperationError, ValidationError
from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Delete,
    Operation,
    Result,
    Unit,
    Update,
    Upsert,
    UpsertMany,
    Write,
)
from agent_persistence.query.computed import Increment, Merge
from agent_persistence.query.filters import (
    Filters,
)
from agent_persistence.query.records import Deferred, Record, Row, as_mapping, encode_record
from agent_persistence.schema.client_keys import ClientKeys
from agent_persistence.schema.links import linked_rows
from agent_persistence.schema.registry import Schema

if TYPE_CHECKING:
    from agent_persistence.client.unit_of_work import UnitOfWork

OnDuplicate: TypeAlias = Literal["error", "ignore"]
"""What becomes of a record whose key a stored row has."""


class WritingVerbs(ABC):
    """The verbs that change rows.

    Beside the errors of the reading verbs: ConflictError where a rule of the database refuses the row, RowSecurityError
    where a policy of row-level security does, and OutcomeUnknownError where the write was sent and its fate could not
    be learned. A write whose answer was lost is sent again only where it cannot be applied twice: see
    docs/reliability.md.
    """

    __slots__ = ()
    _client_keys: ClientKeys

    @abstractmethod
    async def _invoke(self, operation: Operation) -> Result: ...

    @property
    @abstractmethod
    def schema(self) -> Schema:
        """The declared tables."""

    @abstractmethod
    def _clean(self, record: Record) -> Record: ...

    @overload
    async def write(
        self, table: str, record: Record | BaseModel, *, on_duplicate: Literal["error"] = "error"
    ) -> Row: ...

    @overload
    async def write(
        self,
        table: str,
        record: Record | BaseModel,
        *,
        on_duplicate: OnDuplicate,
        on_conflict: Sequence[str] | None = None,
    ) -> Row | None: ...

    async def write(
        self,
        table: str,
        record: Record | BaseModel,
        *,
        on_duplicate: OnDuplicate = "error",
        on_conflict: Sequence[str] | None = None,
    ) -> Row | None:
        """Insert one row and return it as stored, with the values the backend generated.

        None values are stripped, so that the column takes its default; `NULL` writes an explicit null.

        Raises TableNotAllowedError and ColumnNotAllowedError where the policy refuses, ValidationError where the record
        cannot be meant, all before anything is sent; ConflictError and RowSecurityError where the database refuses the
        row, RowsDroppedError where a trigger keeps it out, BackendUnavailableError (nothing was applied) and
        OutcomeUnknownError (it may have been).

        With `on_duplicate="ignore"` a record whose key a stored row has is ignored: that row stays as it is, and None
        comes back. The key is the unique one that `on_conflict` names, or else the only declared one that the record
        has the columns of, which must be readable; another rule that the record breaks is a ConflictError as ever.
        A row that a lost try of this call has stored is not taken for somebody else's, by the primary key that was made
        for it; where none was, OutcomeUnknownError. RowsDroppedError where the record was not stored and no row that
        may be read has its key, UnsupportedOperationError for adapters of others.
        """
        prepared = self._prepare(table, record)
        ignoring = None
        if on_duplicate != "error" or on_conflict is not None:
            ignoring = self._key_of_duplicates(table, (prepared,), on_duplicate, on_conflict)
        made = self._client_keys.complete(table, prepared)
        row: Row | None = (await self._invoke(Write(table, prepared, generated_key=made, ignoring=ignoring))).value
        return row

    @overload
    async def batch_write(
        self, table: str, records: Sequence[Record | BaseModel], *, on_duplicate: Literal["error"] = "error"
    ) -> list[Row]: ...

    @overload
    async def batch_write(
        self,
        table: str,
        records: Sequence[Record | BaseModel],
        *,
        on_duplicate: OnDuplicate,
        on_conflict: Sequence[str] | None = None,
    ) -> list[Row | None]: ...

    async def batch_write(
        self,
        table: str,
        records: Sequence[Record | BaseModel],
        *,
        on_duplicate: OnDuplicate = "error",
        on_conflict: Sequence[str] | None = None,
    ) -> list[Row] | list[Row | None]:
        """Insert all rows or none, in one request, and return them in the order given; [] gives [].

        With `on_duplicate="ignore"` records whose key a stored row has, or an earlier record, are ignored as in
        `write`, and have None in their places; all others are stored, or none. Raises what `write` does; of a
        RowsDroppedError some rows may be stored.
        """
        prepared, made, ignoring = self._prepare_new(table, records, on_duplicate, on_conflict)
        operation = BatchWrite(table, prepared, generated_key=made, ignoring=ignoring)
        rows: list[Row] = (await self._invoke(operation)).value
        return rows

    async def bulk_write(
        self,
        table: str,
        records: Sequence[Record | BaseModel],
        on_conflict: Sequence[str] | None = None,
        *,
        on_duplicate: OnDuplicate = "error",
    ) -> int:
        """Insert all rows or none, in one request that reads nothing back, and return how many are stored; [] gives 0.

        That is fewer than were sent where a trigger or rule of the database drops some. With `on_conflict` rows that
        have the same values in these columns are merged; all records then have the same columns, no two of them the
        same values in these, and fields of a model that were not set are left as they are.

        With `on_duplicate="ignore"` they are not merged but ignored, as in `write`: fewer stored than sent are then
        ignored ones, for rows that were dropped are a RowsDroppedError. The keys of stored rows are read back for it.
        Raises what `write` does else, and UnsupportedOperationError for adapters without it.
        """
        if on_duplicate == "error":
            operation = self._bulk_of(table, records, on_conflict)
        else:
            operation = self._bulk_of_new(table, records, on_conflict, on_duplicate=on_duplicate)
        stored: int = (await self._invoke(operation)).value
        return stored

    async def upsert(self, table: str, record: Record | BaseModel, on_conflict: Sequence[str] | None = None) -> Row:
        """Insert the row, or merge it into the one that has the same values in the `on_conflict` columns.

        Without `on_conflict` the primary key decides; a table without one gets a new row. Columns the record does not
        name keep their values, and so do fields of a model that were not set; the row is returned as stored. Raises
        what `write` does, and AdapterError (42P10) where no unique rule of the whole table is on these columns.
        """
        target = column_names(table, "on_conflict", on_conflict) or ()
        prepared = self._prepare(table, record, only_set=True)
        made = self._client_keys.complete(table, prepared, target)
        row: Row = (await self._invoke(Upsert(table, prepared, target, generated_key=made))).value
        return row

    async def upsert_many(
        self, table: str, records: Sequence[Record | BaseModel], on_conflict: Sequence[str] | None = None
    ) -> list[Row]:
        """Insert all rows or none, each merged into the one that has the same values in the `on_conflict` columns.

        Without `on_conflict` the primary key decides. One request and one transaction; the rows come back as stored, in
        the order given, and [] gives []. All records have the same columns, so that none is set to a default in a row
        that has a value; no two of them have the same values in `on_conflict` (AdapterError 21000, nothing is stored).
        Raises what `upsert` does, and UnsupportedOperationError for adapters without it.
        """
        target = column_names(table, "on_conflict", on_conflict) or ()
        prepared, key = self._prepare_all(table, records, target, only_set=True)
        if any(record.keys() != prepared[0].keys() for record in prepared):
            raise ValidationError(table, "records that are merged have the same columns; send those of others apart")
        rows: list[Row] = (await self._invoke(UpsertMany(table, prepared, target, generated_key=key))).value
        return rows

    async def update(
        self,
        table: str,
        changes: Record | BaseModel,
        filters: Filters,
        *,
        max_affected: int | None = None,
        expect: int | None = None,
    ) -> list[Row]:
        """Set the columns of `changes` in the rows that `filters` selects, in all or none, and return these rows.

        Empty changes or filters are refused. More rows than `max_affected` is an AdapterError (PGRST124), and another
        number than `expect` an ExpectationFailedError; either way nothing changes. `expect` makes the call a unit of
        work of one operation: over PostgREST it needs what `agent-persistence sql install` makes, and an adapter
        without transactions is an UnsupportedOperationError. Raises what `write` does else, but for RowsDroppedError.

        `increment(1)` and `merge({...})` as a value let the database compute it of the one that is there, which the
        policy must let be read. Never applied twice: over PostgREST, which needs `agent-persistence sql install` for
        them, and in memory a lost answer is asked for again; over PostgreSQL with `ledger=True`, else it is an
        OutcomeUnknownError.
        """
        if expect is not None:
            _check_alone(table, max_affected)
            unit = self.unit_of_work()
            changed = unit.update(table, changes, filters, expect=expect)
            return (await unit.commit())[changed]
        operation = Update(
            table,
            self._prepare(table, changes, "changes", only_set=True, deferred=(Increment, Merge)),
            linked_rows(self.schema, table, filters),
            at_least(table, "max_affected", max_affected, 1),
        )
        rows: list[Row] = (await self._invoke(operation)).value
        return rows

    async def delete(
        self, table: str, filters: Filters, *, max_affected: int | None = None, expect: int | None = None
    ) -> list[Row]:
        """Delete the rows that `filters` selects, all or none, and return them.

        Denied unless the policy names the table. Empty filters are refused. `max_affected` and `expect` are as in
        `update`: too many rows, or another number, and nothing is deleted. Raises what `update` does; ConflictError
        where other rows refer to one of them.
        """
        if expect is not None:
            _check_alone(table, max_affected)
            unit = self.unit_of_work()
            deleted = unit.delete(table, filters, expect=expect)
            return (await unit.commit())[deleted]
        operation = Delete(
            table, linked_rows(self.schema, table, filters), at_least(table, "max_affected", max_affected, 1)
        )
        rows: list[Row] = (await self._invoke(operation)).value
        return rows

    def unit_of_work(self, key: UUID | str | None = None) -> UnitOfWork:
        """Several writes that are applied together or not at all, in one request; nothing is sent before `commit()`.

        Under a `key` they are applied once, also when the same unit is made and committed again, by this or another
        process. See `UnitOfWork`, whose methods raise ValidationError, and `commit()` what the verbs do.
        """
        from agent_persistence.client.unit_of_work import UnitOfWork

        return UnitOfWork(self, key)

    async def _commit(self, unit: Unit, unit_id: str) -> Result:
        problem = "units of work are made by a service, an agent or a view of one"
        raise UnsupportedOperationError(unit.table, "transactions", problem)

    def _bulk_of(self, table: str, records: object, on_conflict: object = None) -> BulkWrite:
        """What `bulk_write` sends; an import says more of it than the verb may."""
        target = column_names(table, "on_conflict", on_conflict)
        prepared, made = self._prepare_all(table, records, target or (), only_set=target is not None)
        if target is not None and any(record.keys() != prepared[0].keys() for record in prepared):
            raise ValidationError(table, "records that are merged have the same columns; send those of others apart")
        return BulkWrite(table, prepared, target, generated_key=made)

    def _bulk_of_new(
        self,
        table: str,
        records: object,
        on_conflict: object = None,
        *,
        on_duplicate: object = "ignore",
        generated_key: str | None = None,
    ) -> BulkWrite:
        """What `bulk_write` sends that ignores duplicates; an import makes the keys itself."""
        prepared, made, ignoring = self._prepare_new(table, records, on_duplicate, on_conflict, made=generated_key)
        return BulkWrite(table, prepared, generated_key=generated_key or made, ignoring=ignoring)

    def _prepare_new(
        self, table: str, records: object, on_duplicate: object, on_conflict: object, *, made: str | None = None
    ) -> tuple[tuple[dict[str, Any], ...], str | None, tuple[str, ...] | None]:
        """The records with the keys made for them, the column of these, and the key by which duplicates are ignored."""
        prepared = self._prepare_each(table, records)
        ignoring = self._key_of_duplicates(table, prepared, on_duplicate, on_conflict, made)
        keys = [self._client_keys.complete(table, record) for record in prepared]
        return prepared, keys[0] if keys and all(keys) else None, ignoring

    def _key_of_duplicates(
        self,
        table: str,
        records: Sequence[Record],
        on_duplicate: object,
        on_conflict: object,
        made: str | None = None,
    ) -> tuple[str, ...] | None:
        if on_duplicate == "error":
            if on_conflict is not None:
                problem = 'on_conflict names the key by which duplicates are ignored, which needs on_duplicate "ignore"'
                raise ValidationError(table, f"{problem}; to merge with the row that is there, upsert")
            return None
        if on_duplicate != "ignore":
            raise ValidationError(table, 'on_duplicate is "error" or "ignore"')
        named = column_names(table, "on_conflict", on_conflict)
        given = [{name: value for name, value in record.items() if name != made} for record in records]
        return self._client_keys.key_of_duplicates(table, given if made else records, named)

    def _prepare_all(
        self, table: str, records: object, on_conflict: tuple[str, ...] = (), *, only_set: bool = False
    ) -> tuple[tuple[dict[str, Any], ...], str | None]:
        """The records with the keys made for them; and the column of these, if all have one."""
        prepared = self._prepare_each(table, records, only_set=only_set)
        made = [self._client_keys.complete(table, record, on_conflict) for record in prepared]
        return prepared, made[0] if made and all(made) else None

    def _prepare_each(self, table: str, records: object, *, only_set: bool = False) -> tuple[dict[str, Any], ...]:
        if isinstance(records, (str, bytes, Mapping, BaseModel)) or not isinstance(records, Sequence):
            raise ValidationError(table, f"records is a list of records, not {type(records).__name__}")
        return tuple(
            self._prepare(table, record, f"records[{i}]", only_set=only_set) for i, record in enumerate(records)
        )

    def _prepare(
        self,
        table: str,
        record: object,
        where: str = "",
        *,
        only_set: bool = False,
        deferred: tuple[type[Deferred], ...] = (),
    ) -> dict[str, Any]:
        given = as_mapping(table, record, where, only_set=only_set)
        return encode_record(table, self._clean(given), where, deferred=deferred)


def _check_alone(table: str, max_affected: object) -> None:
    if max_affected is not None:
        raise ValidationError(table, "expect says how many rows are affected; max_affected would say it again")
