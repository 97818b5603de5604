"""Reads past the server's cap on rows, so that no query comes back silently short."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from agent_persistence.chain import Rest
from agent_persistence.context import CallContext
from agent_persistence.exceptions import ValidationError
from agent_persistence.operations import Operation, Query, Result
from agent_persistence.ordering import Order
from agent_persistence.schema_registry import Schema


class Paging:
    """Runs once per caller's call; each of its pages goes through the layers below, and is retried, by itself.

    PostgREST cuts a result at its `max-rows` and does not tell. A page that is shorter than asked, and not empty, is
    therefore followed by another request, unless it is shorter than `row_cap` or than a page seen before. Pages
    follow the caller's order, ties broken by the declared key; where neither is known, a second page that holds rows
    is refused. A key of which a part is not `readable` is not sorted by. More rows than `max_rows` are refused too.
    Without `pages`, for adapters that know no order, limit or offset, only that is checked.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        max_rows: int,
        row_cap: float | None,
        pages: bool = True,
        readable: Callable[[str], frozenset[str] | None] = lambda table: None,
    ) -> None:
        self._schema = schema
        self._readable = readable
        self._pages = pages
        self._max_rows = max_rows
        self._longest_page: float = row_cap or 0

    def __call__(self, operation: Operation, context: CallContext, call_next: Rest, /) -> Awaitable[Result]:
        if isinstance(operation, Query):
            return self._whole(operation, context, call_next)
        return call_next(operation, context)

    async def _whole(self, operation: Query, context: CallContext, call_next: Rest) -> Result:
        ask = self._in_pages(operation, context, call_next) if self._pages else call_next(operation, context)
        result = await ask
        if operation.limit is None and len(result.value) > self._max_rows:
            raise ValidationError(
                operation.table,
                f"more than {self._max_rows} rows match, the policy's max_rows; pass a limit, or stream with iterate()",
            )
        return result

    async def _in_pages(self, operation: Query, context: CallContext, call_next: Rest) -> Result:
        ordered = replace(operation, order=self._total_order(operation))
        wanted = self._max_rows + 1 if operation.limit is None else operation.limit
        rows: list[Any] = []
        attempts = 0
        while True:
            asked = wanted - len(rows)
            page = await call_next(replace(ordered, limit=asked, offset=operation.offset + len(rows)), context)
            attempts = max(attempts, page.attempts)
            if rows and page.value and not ordered.order:
                raise ValidationError(
                    operation.table,
                    "the server tells these rows in several pages, and no order is known to keep them apart;"
                    " pass order_by",
                    "or declare the table's key in the Schema",
                )
            rows += page.value
            if self._is_last(page.value, asked=asked):
                return Result(rows, attempts)

    def _is_last(self, page: Sequence[Any], *, asked: int) -> bool:
        complete = len(page) >= asked or not page or len(page) < self._longest_page
        self._longest_page = max(self._longest_page, len(page))
        return complete

    def _total_order(self, operation: Query) -> tuple[Order, ...]:
        named = {key.column for key in operation.order}
        table, readable = self._schema.tables.get(operation.table), self._readable(operation.table)
        key = table.primary_key if table else ()
        if readable is not None and not readable.issuperset(key):
            return operation.order
        return operation.order + tuple(Order(column) for column in key if column not in named)
