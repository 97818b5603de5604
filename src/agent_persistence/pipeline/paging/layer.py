"""Reads past the server's cap on rows, so that no query comes back silently short."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import replace
from math import inf
from typing import Final

from agent_persistence.context import CallContext
from agent_persistence.exceptions import AdapterError, ValidationError
from agent_persistence.operations import Include, Operation, Query, Result, includes
from agent_persistence.pipeline.chain import Rest
from agent_persistence.query.ordering import Order
from agent_persistence.query.records import Row, distinct
from agent_persistence.schema.registry import Schema

COUNTED_ABOVE: Final = 1_000
"""A query for more rows than this asks how many there are: counting them costs no more than reading them."""

SHORT_PAGE: Final = 10
MOST_REPEATS: Final = 3
"""As many rows as a short page has, inserted in front of it meanwhile, push it behind the offset: it comes again."""


class Paging:
    """Runs once per caller's call; each of its pages goes through the layers below, and is retried, by itself.

    PostgREST cuts a result at its `max-rows` and does not say so. Where `row_cap` is known, a page shorter than it is
    the last. Where it is not (None), a page that is shorter than asked, and not empty, is the last only if the server
    `counts` and says that there are no more; else it is followed by another request. Nothing is concluded from earlier
    calls: the cap may have changed.

    Pages follow the caller's order, ties broken by the declared key; where neither is known, a second page that holds
    rows is refused. A row that others' writes have moved into a later page is dropped there, by its key. A server that
    answers with the same page again is an AdapterError. A key of which a part is not `readable` is not sorted by. More
    rows than `max_rows` are refused. Without `pages`, for adapters that know no order, limit or offset, only that is
    checked.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        max_rows: int,
        row_cap: float | None,
        counts: bool = False,
        pages: bool = True,
        readable: Callable[[str], frozenset[str] | None] = lambda table: None,
    ) -> None:
        self._schema = schema
        self._readable = readable
        self._pages = pages
        self._counts = counts
        self._max_rows = max_rows
        self._row_cap = row_cap

    def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Awaitable[Result]:
        if not isinstance(operation, Query):
            return call_next(operation, context)
        if operation.counted and not self._counts:
            operation = replace(operation, counted=False)
        limit, cap = operation.limit, self._row_cap
        if limit is not None and cap is not None and limit <= cap and self._pages and not operation.include:
            return call_next(self._in_order(operation, self._key(operation)), context)
        return self._whole(operation, context, call_next)

    async def _whole(self, operation: Query, context: CallContext, call_next: Rest) -> Result:
        self._check_known_cap(operation)
        ask = self._in_pages(operation, context, call_next) if self._pages else call_next(operation, context)
        result = await ask
        for include in operation.include:
            self._check_whole(include, result.value)
        if operation.limit is None and len(result.value) > self._max_rows:
            raise ValidationError(
                operation.table,
                f"more than {self._max_rows} rows match, the policy's max_rows; pass a limit, or stream with iterate()",
            )
        return result

    async def _in_pages(self, operation: Query, context: CallContext, call_next: Rest) -> Result:
        key = self._key(operation)
        wanted = self._max_rows + 1 if operation.limit is None else operation.limit
        asked = self._in_order(operation, key)
        if self._row_cap is not None and wanted <= self._row_cap:
            return await call_next(replace(asked, limit=wanted), context)
        asked = replace(
            asked,
            select=operation.select and distinct((*operation.select, *key)),
            counted=self._counts and self._row_cap is None and wanted > COUNTED_ABOVE,
        )
        collected = _Collected(operation, key)
        attempts, skipped = 0, 0
        while True:
            limit = wanted - len(collected.rows)
            page = await call_next(replace(asked, limit=limit, offset=operation.offset + skipped), context)
            attempts = max(attempts, page.attempts)
            skipped += len(page.value)
            collected.add(page.value, is_ordered=bool(asked.order))
            if self._is_last(page, asked=limit, end=operation.offset + skipped) or len(collected.rows) >= wanted:
                return Result(collected.as_selected(wanted), attempts)

    def _check_known_cap(self, query: Query) -> None:
        """Refuse lists of related rows where nobody knows at how many of them the server cuts a list."""
        if self._row_cap is None and any(each.link.many for each in includes(query)):
            raise ValidationError(
                query.table,
                "lists of related rows are cut at the server's own limit of rows, which is not known here",
                "say row_cap= (a Supabase project has 1000 unless changed, inf is none)",
            )

    def _check_whole(self, include: Include, rows: Sequence[Row]) -> None:
        """Refuse a list of related rows that may have been cut, or is longer than the policy allows."""
        query = include.query
        for row in rows:
            value = row.get(include.name)
            inner = value if isinstance(value, list) else [] if value is None else [value]
            most = min(self._row_cap or inf, self._max_rows + 1)
            if include.link.many and query.limit is None and len(inner) >= most:
                raise ValidationError(
                    query.table,
                    f"a row has {len(inner)} of these, as many as the server sends or the policy's max_rows allows;"
                    f" give the include a limit, or query {query.table} by itself",
                )
            for each in query.include:
                self._check_whole(each, inner)

    def _in_order(self, query: Query, key: tuple[str, ...]) -> Query:
        """The query with its ties broken by the key."""
        named = [order.column for order in query.order]
        ties = [Order(column) for column in key if column not in named]
        return replace(query, order=(*query.order, *ties)) if ties else query

    def _is_last(self, page: Result, *, asked: int, end: int) -> bool:
        """Whether no row follows, by what this one request could have brought."""
        length = len(page.value)
        if length >= asked or not length:
            return True
        if self._row_cap is not None:
            return length < self._row_cap
        return page.total is not None and end >= page.total

    def _key(self, operation: Query) -> tuple[str, ...]:
        """The table's declared key, if all of it may be read; else nothing."""
        table, readable = self._schema.tables.get(operation.table), self._readable(operation.table)
        key = table.primary_key if table else ()
        return () if readable is not None and not readable.issuperset(key) else key


class _Collected:
    """The rows of the pages so far, each once where the key distinguishes them."""

    def __init__(self, query: Query, key: tuple[str, ...]) -> None:
        self.rows: list[Row] = []
        self._query = query
        self._key = key
        self._seen: set[Hashable] = set()
        self._last: list[Row] = []
        self._repeats = 0

    def add(self, page: list[Row], *, is_ordered: bool) -> None:
        if self.rows and page and not is_ordered:
            raise ValidationError(
                self._query.table,
                "the server sends these rows in several pages, and no order is known to keep them apart; pass order_by",
                "or declare the table's key in the Schema",
            )
        self._repeats = self._repeats + 1 if page and page == self._last else 0
        if self._repeats > (MOST_REPEATS if self._key and len(page) < SHORT_PAGE else 0):
            raise AdapterError(
                f"query on {self._query.table}: the server sent the same page again, so that it seems to ignore offset"
            )
        self._last = page
        for row in page:
            key = tuple(row.get(column) for column in self._key)
            if not key or None in key or key not in self._seen:
                self._seen.add(key)
                self.rows.append(row)

    def as_selected(self, wanted: int) -> list[Row]:
        """The first `wanted` rows, without the key's columns where these were not asked for."""
        rows, select = self.rows[:wanted], self._query.shown
        if select is None or set(self._key) <= set(select):
            return rows
        return [{column: row[column] for column in select if column in row} for row in rows]
