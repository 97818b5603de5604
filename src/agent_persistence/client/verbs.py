"""The verbs, written once for everything that has them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, overload
from uuid import UUID

from pydantic import BaseModel

from agent_persistence.backends.base import only_row
from agent_persistence.client.including import Includes, parse_include
from agent_persistence.client.views import Views
from agent_persistence.exceptions import UnsupportedOperationError, ValidationError, printable
from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Call,
    Count,
    Delete,
    GetColumns,
    Include,
    Operation,
    Page,
    Query,
    Read,
    Result,
    Unit,
    Update,
    Upsert,
    UpsertMany,
    Write,
    WritingCall,
)
from agent_persistence.query.computed import Increment, Merge
from agent_persistence.query.filters import (
    Filters,
    all_of,
    any_of,
    gt,
    lt,
    not_null,
)
from agent_persistence.query.identifiers import is_path
from agent_persistence.query.ordering import OrderBy, parse_order
from agent_persistence.query.predicates import Comparison, Filter, Operator, conjunction
from agent_persistence.query.records import Deferred, Record, Row, as_mapping, distinct, encode_record, encode_value
from agent_persistence.schema.client_keys import ClientKeys
from agent_persistence.schema.links import linked_filters, linked_rows
from agent_persistence.schema.registry import Column, Schema
from agent_persistence.schema.types import Family, family

if TYPE_CHECKING:
    from agent_persistence.client.unit_of_work import UnitOfWork


OnDuplicate: TypeAlias = Literal["error", "ignore"]
"""What becomes of a record whose key a stored row has."""


class Closing(ABC):
    """An async context manager that ends with `aclose()`."""

    __slots__ = ()

    @abstractmethod
    async def aclose(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_class: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class ReadingVerbs(Views):
    """The verbs that cannot change anything.

    All of them raise TableNotAllowedError or ColumnNotAllowedError where the policy refuses, ValidationError where
    the call is malformed (both before any request leaves), and AdapterError where the backend fails. Transient
    failures are retried until the deadline.
    """

    __slots__ = ()

    @abstractmethod
    async def _invoke(self, operation: Operation) -> Result: ...

    @property
    @abstractmethod
    def capabilities(self) -> Mapping[str, bool]:
        """What the adapter can do, by the names in `adapter.CAPABILITIES`."""

    async def read(
        self, table: str, id_value: object, id_column: str = "id", *, include: Includes | None = None
    ) -> Row | None:
        """Return the one row whose `id_column` equals `id_value`, or None. More than one match is refused.

        A key of several columns is a mapping, `read("order_lines", {"order_id": 7, "line": 2})`; it is read by a
        query. `include` brings related rows with it, as in `query`. Raises what `query` does.
        """
        asked = self._read_of(table, id_value, id_column)
        if isinstance(asked, Read) and include is None:
            row: Row | None = (await self._invoke(asked)).value
            return row
        query = asked.as_query() if isinstance(asked, Read) else asked
        related = () if include is None else self._parse_include(table, include)
        rows = (await self._invoke(replace(query, include=related))).value
        return only_row(table, ", ".join(map(str, id_value)) if isinstance(id_value, Mapping) else id_column, rows)

    def _read_of(self, table: str, id_value: object, id_column: str) -> Read | Query:
        """The operation that reads the row of a key: by a mapping, the two rows at most that have its values."""
        if isinstance(id_value, Mapping):
            if not id_value or id_column != "id":
                raise ValidationError(
                    table, "id_value maps the columns of a key to their values; id_column is left out"
                )
            terms = [Comparison(Operator.EQ, self._key_value(table, id_value[name]), name) for name in id_value]
            return Query(table, conjunction(terms) if len(terms) > 1 else terms[0], 2)
        return Read(table, self._key_value(table, id_value), id_column)

    def _key_value(self, table: str, value: object) -> Any:
        encoded = encode_value(table, value, "id_value")
        if encoded is None or isinstance(encoded, (list, dict)):
            raise ValidationError(table, f"id_value is one key, not {type(value).__name__}")
        return encoded

    async def query(
        self,
        table: str,
        filters: Filters | None = None,
        limit: int | None = None,
        order_by: OrderBy | None = None,
        descending: bool = False,
        select: Sequence[str] | None = None,
        *,
        offset: int = 0,
        include: Includes | None = None,
    ) -> list[Row]:
        """Return the rows that `filters` selects, sorted by `order_by`, at most `limit` of them after `offset`.

        `filters` maps columns to values or to operators (`gte(0.5)`); None as a value means IS NULL. `select` lists
        the columns to return, all by default. Ties, and everything without `order_by`, are sorted by the declared key.
        `include` brings rows of other tables with each row, along declared foreign keys, in the same request:
        `{"customers": ["name"], "comments": {"select": ["body"], "order_by": desc("created_at"), "limit": 5}}`; each of
        these tables is checked as if it were queried alone.

        Raises TableNotAllowedError and ColumnNotAllowedError where the policy refuses, ValidationError where the call
        is malformed or more rows match than the policy's `max_rows`, UnsupportedOperationError where the adapter lacks
        what it needs, all but for the number of rows before anything is sent; AuthenticationError, AdapterError where
        the database refuses, and BackendUnavailableError where it was not reached in time.
        """
        operation = Query(
            table,
            linked_filters(self.schema, table, filters),
            _at_least(table, "limit", limit, 1),
            parse_order(table, order_by, descending),
            _names(table, "select", select),
            _at_least(table, "offset", offset, 0) or 0,
            include=() if include is None else self._parse_include(table, include),
        )
        rows: list[Row] = (await self._invoke(operation)).value
        return rows

    async def page(
        self,
        table: str,
        filters: Filters | None = None,
        *,
        limit: int,
        offset: int = 0,
        order_by: OrderBy | None = None,
        descending: bool = False,
        select: Sequence[str] | None = None,
        include: Includes | None = None,
    ) -> Page:
        """Return at most `limit` of the rows that `filters` selects, after `offset`, and how many it selects in all.

        Both are of one request, and so of one moment, where the backend counts with a query (PostgREST, PostgreSQL,
        memory); else the total is counted in a request of its own. The total is exact. Raises what `query` does.
        """
        asked = _at_least(table, "limit", limit, 1)
        if asked is None:
            raise ValidationError(table, "limit is an int of at least 1, not None")
        predicate = linked_filters(self.schema, table, filters)
        operation = Query(
            table,
            predicate,
            asked,
            parse_order(table, order_by, descending),
            _names(table, "select", select),
            _at_least(table, "offset", offset, 0) or 0,
            counted=True,
            include=() if include is None else self._parse_include(table, include),
        )
        result = await self._invoke(operation)
        total = result.total
        if total is None:
            total = (await self._invoke(Count(table, predicate))).value
        return Page(result.value, total)

    def _parse_include(self, table: str, include: Includes) -> tuple[Include, ...]:
        return parse_include(self.schema, table, include, _names, _at_least) if type(table) is str else ()

    async def count(self, table: str, filters: Filters | None = None, *, estimated: bool = False) -> int:
        """Return the number of rows that `filters` selects, all by default: exact, unless `estimated`.

        An estimate reads statistics in place of the rows, and so takes milliseconds whatever the table's size.
        PostgreSQL's is that of its planner, which is as old as the table's last ANALYZE, is never 0, and may be far off
        where a filter combines columns. PostgREST counts exactly up to its max-rows and takes the planner's beyond
        (`Prefer: count=estimated`). Memory, and adapters of others, count exactly. Raises what `query` does.
        """
        if type(estimated) is not bool:
            raise ValidationError(table, "estimated is True or False")
        asked = Count(table, linked_filters(self.schema, table, filters), estimated=estimated)
        counted: int = (await self._invoke(asked)).value
        return counted

    async def call(self, function: str, arguments: Record | None = None) -> Any:
        """Return what the database function returns. Denied unless the policy names the function.

        A function listed in the policy's `call` is only read from; declare it STABLE, so that the server runs it in a
        read-only transaction also where its arguments are too long for a GET. One listed in `call_write` may
        write, and is never called again after a failure that leaves its outcome open: that is OutcomeUnknownError.
        Raises TableNotAllowedError, ValidationError, AdapterError where there is no such function (PGRST202), and
        BackendUnavailableError.
        """
        given = {} if arguments is None else as_mapping(function, arguments, "arguments")
        encoded = encode_record(function, given, "arguments") if given else {}
        made = WritingCall if function in [*self._writing_functions] else Call
        return (await self._invoke(made(function, encoded))).value

    @property
    @abstractmethod
    def _writing_functions(self) -> frozenset[str]: ...

    @property
    @abstractmethod
    def schema(self) -> Schema:
        """The declared tables."""

    async def iterate(
        self,
        table: str,
        filters: Filters | None = None,
        *,
        page_size: int = 500,
        order_by: str | Sequence[str] = "id",
        descending: bool = False,
        select: Sequence[str] | None = None,
        include: Includes | None = None,
    ) -> AsyncGenerator[Row]:
        """Yield the rows that `filters` selects, by `order_by`, one page in memory at a time.

        Ascending with NULLs last, or `descending` with NULLs first, as in `query`. `order_by` is a column, or several;
        where a declared table has no column `id`, the default is its key.

        Each page is a query of its own that begins behind the last row seen (keyset paging), ties broken by the
        table's key, or by a unique set of columns that are never NULL; a table with neither is refused. Rows written
        meanwhile are seen if they belong behind it, and no row is seen twice or left out. All pages are read as whoever
        asked for the first. Raises what `query` does, at the first row or any later one.
        """
        size = _at_least(table, "page_size", page_size, 1)
        if size is None:
            raise ValidationError(table, "page_size is an int of at least 1, not None")
        keys = _ordering(self.schema, table, order_by)
        columns = _names(table, "select", select)
        unasked = {*keys}.difference(columns or keys)
        given: list[Filters] = [] if filters is None else [filters]
        position: Row | None = None
        reader = await self.pinned()
        while True:
            behind = given if position is None else [*given, _behind(keys, position, descending)]
            page = await reader.query(
                table,
                all_of(*behind),
                size,
                list(keys),
                descending,
                select=columns and distinct((*columns, *keys)),
                include=include,
            )
            _check_scalar(table, keys, page)
            for row in page:
                yield row if columns is None else {name: value for name, value in row.items() if name not in unasked}
            if len(page) < page_size:
                return
            position = page[-1]

    async def get_columns(self, table: str) -> list[str] | None:
        """Return the table's column names in their order, or None where neither server nor schema has them.

        Raises TableNotAllowedError, AdapterError, and BackendUnavailableError.
        """
        columns: list[str] | None = (await self._invoke(GetColumns(table))).value
        return columns


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
        target = _names(table, "on_conflict", on_conflict) or ()
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
        target = _names(table, "on_conflict", on_conflict) or ()
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
            _at_least(table, "max_affected", max_affected, 1),
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
            table, linked_rows(self.schema, table, filters), _at_least(table, "max_affected", max_affected, 1)
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
        told = "units of work are made by a service, an agent or a view of one"
        raise UnsupportedOperationError(unit.table, "transactions", told)

    def _bulk_of(self, table: str, records: object, on_conflict: object = None) -> BulkWrite:
        """What `bulk_write` sends; an import says more of it than the verb may."""
        target = _names(table, "on_conflict", on_conflict)
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
                told = 'on_conflict names the key by which duplicates are ignored, which needs on_duplicate "ignore"'
                raise ValidationError(table, f"{told}; to merge with the row that is there, upsert")
            return None
        if on_duplicate != "ignore":
            raise ValidationError(table, 'on_duplicate is "error" or "ignore"')
        named = _names(table, "on_conflict", on_conflict)
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


class AllVerbs(ReadingVerbs, WritingVerbs):
    """The verbs that read and those that change rows."""

    __slots__ = ()


def _ordering(schema: Schema, table: str, order_by: object) -> tuple[str, ...]:
    """The columns to page by: those asked for, and behind them the table's key."""
    columns = (order_by,) if isinstance(order_by, str) else order_by
    if not isinstance(columns, Sequence) or not columns or not all(isinstance(name, str) for name in columns):
        raise ValidationError(table, f"order_by is the name of a column here, or of several; not {order_by!r:.40}")
    declared = schema.tables.get(table) if type(table) is str else None
    key = declared.key if declared else ()
    if order_by == "id" and declared is not None and "id" not in declared.columns:
        columns = key
    if not key and tuple(columns) != ("id",):
        asked = ", ".join(map(printable, columns))
        told = f"ties of {asked} need the table's key, which is not known" if asked else "it has no key to page by"
        raise ValidationError(table, f"{told}; use query with a limit, or order by id", "or declare it in the Schema")
    for name in columns:
        _check_ordering(table, name, declared.column(name) if declared else None)
    return distinct((*columns, *(key or ("id",))))


def _check_ordering(table: str, name: str, declared: Column | None) -> None:
    if is_path(name):
        raise ValidationError(table, f"order_by is a column here, whose value every row tells, not {name}")
    if declared is not None and family(declared.type) in (Family.JSON, Family.ARRAY):
        raise ValidationError(table, f"order_by is a column of plain values here; {name} is {declared.type}")


def _check_scalar(table: str, columns: Sequence[str], page: Sequence[Row]) -> None:
    """Refuse a column by whose values no next page can begin, before a row of the first one is yielded."""
    for name in columns:
        kind = next((type(row[name]).__name__ for row in page if isinstance(row.get(name), (list, dict))), None)
        if kind is not None:
            raise ValidationError(table, f"order_by is a column of plain values here; {name} holds a {kind}")


def _behind(keys: Sequence[str], position: Row, descending: bool) -> Filter:
    """The rows that come after `position` in the order of the keys, in which NULL is above every value."""
    key, *ties = keys
    value = position[key]
    later: list[Filters]
    if descending:
        later = [{key: not_null()}] if value is None else [{key: lt(value)}]
    else:
        later = [] if value is None else [{key: gt(value)}, {key: None}]
    tied = [all_of({key: value}, _behind(ties, position, descending))] if ties else []
    return any_of(*later, *tied)


def _at_least(table: str, option: str, value: object, least: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or value < least:
        given = value if type(value) is int and abs(value) < 10**9 else type(value).__name__
        raise ValidationError(table, f"{option} is an int of at least {least}, not {given}")
    return value


def _check_alone(table: str, max_affected: object) -> None:
    if max_affected is not None:
        raise ValidationError(table, "expect says how many rows are affected; max_affected would say it again")


def _listed(names: str) -> str:
    """What to write instead of names in one text."""
    meant = [printable(name.strip())[1:-1] for name in names.split(",", _FEW_NAMES) if name.strip()]
    if meant in ([], ["*"]):
        return "leave it out for the default"
    more = ", …" if len(meant) > _FEW_NAMES else ""
    return "write [" + ", ".join(f'"{name}"' for name in meant[:_FEW_NAMES]) + more + "]"


_FEW_NAMES: Final = 20


def _names(table: str, option: str, names: object) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str):
        raise ValidationError(table, f"{option} is a list of column names, not a single text; {_listed(names)}")
    if not isinstance(names, Sequence) or isinstance(names, (bytes, bytearray)):
        raise ValidationError(table, f"{option} is a list of column names, not {type(names).__name__}")
    if not names:
        raise ValidationError(table, f"{option} is empty; leave it out for the default")
    return tuple(names)
