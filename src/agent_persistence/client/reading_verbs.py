"""The verbs that read, written once for everything that has them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent_persistence.backends.base import only_row
from agent_persistence.client.arguments import at_least, column_names
from agent_persistence.client.including import Includes, parse_include
from agent_persistence.client.keyset import behind, check_scalar, ordering
from agent_persistence.client.views import Views
from agent_persistence.exceptions import ValidationError
from agent_persistence.operations import (
    Call,
    Count,
    GetColumns,
    Include,
    Operation,
    Page,
    Query,
    Read,
    Result,
    WritingCall,
)
from agent_persistence.query.filters import (
    Filters,
    all_of,
)
from agent_persistence.query.ordering import OrderBy, parse_order
from agent_persistence.query.predicates import Comparison, Operator, conjunction
from agent_persistence.query.records import Record, Row, as_mapping, distinct, encode_record, encode_value
from agent_persistence.schema.links import linked_filters
from agent_persistence.schema.registry import Schema


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
            at_least(table, "limit", limit, 1),
            parse_order(table, order_by, descending),
            column_names(table, "select", select),
            at_least(table, "offset", offset, 0) or 0,
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
        asked = at_least(table, "limit", limit, 1)
        if asked is None:
            raise ValidationError(table, "limit is an int of at least 1, not None")
        predicate = linked_filters(self.schema, table, filters)
        operation = Query(
            table,
            predicate,
            asked,
            parse_order(table, order_by, descending),
            column_names(table, "select", select),
            at_least(table, "offset", offset, 0) or 0,
            counted=True,
            include=() if include is None else self._parse_include(table, include),
        )
        result = await self._invoke(operation)
        total = result.total
        if total is None:
            total = (await self._invoke(Count(table, predicate))).value
        return Page(result.value, total)

    def _parse_include(self, table: str, include: Includes) -> tuple[Include, ...]:
        return parse_include(self.schema, table, include) if type(table) is str else ()

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
        size = at_least(table, "page_size", page_size, 1)
        if size is None:
            raise ValidationError(table, "page_size is an int of at least 1, not None")
        keys = ordering(self.schema, table, order_by)
        columns = column_names(table, "select", select)
        unasked = {*keys}.difference(columns or keys)
        given: list[Filters] = [] if filters is None else [filters]
        position: Row | None = None
        reader = await self.pinned()
        while True:
            chosen = given if position is None else [*given, behind(keys, position, descending)]
            page = await reader.query(
                table,
                all_of(*chosen),
                size,
                list(keys),
                descending,
                select=columns and distinct((*columns, *keys)),
                include=include,
            )
            check_scalar(table, keys, page)
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
