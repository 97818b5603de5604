"""Asks for long lists in several requests, so that no URL grows beyond what gateways accept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from agent_persistence.context import CallContext
from agent_persistence.exceptions import ValidationError
from agent_persistence.operations import Count, Operation, Query, Result
from agent_persistence.pipeline.chain import Rest
from agent_persistence.pipeline.paging.ranks import rank_of
from agent_persistence.query.ordering import Order, with_nulls_placed
from agent_persistence.query.predicates import AllOf, Comparison, Filter, Operator, comparisons
from agent_persistence.query.records import Row, distinct
from agent_persistence.runtime.concurrency import together
from agent_persistence.schema.registry import Schema

MAX_URL_BYTES: Final = 4096
AT_ONCE: Final = 5

UrlSize = Callable[[Query], int]
"""How many bytes of URL a query would need."""


class Splitting:
    """Runs once per caller's call, above paging: each part is a whole query of its own.

    A query or count whose URL would exceed MAX_URL_BYTES is split along its longest `in_` list, AT_ONCE parts at a
    time. The parts have no row in common; they are merged by the order keys, NULLs as in PostgreSQL, ties by the
    declared key. Refused are a list that stands under any_of or not_, and an order by a column whose order depends on
    the server's collation (text, or a type that is not declared).
    """

    def __init__(self, schema: Schema, url_size: UrlSize) -> None:
        self._schema = schema
        self._url_size = url_size

    def __call__(self, operation: Operation, context: CallContext, /, call_next: Rest) -> Awaitable[Result]:
        if isinstance(operation, Count) and _may_be_long(operation.filters):
            return self._summed(operation, context, call_next)
        if isinstance(operation, Query) and self._is_too_long(operation):
            return self._merged(operation, context, call_next)
        return call_next(operation, context)

    def _is_too_long(self, query: Query) -> bool:
        return _may_be_long(query.filters) and self._url_size(query) > MAX_URL_BYTES

    async def _summed(self, count: Count, context: CallContext, call_next: Rest) -> Result:
        parts = [replace(count, filters=part.filters) for part in self._parts(Query(count.table, count.filters))]
        results = await together([partial(call_next, part, context) for part in parts], at_once=AT_ONCE)
        return Result(sum(result.value for result in results), max(result.attempts for result in results))

    async def _merged(self, query: Query, context: CallContext, call_next: Rest) -> Result:
        order = self._total_order(query)
        ranks = [self._rank(query.table, key.column) for key in order]
        keys = tuple(key.column for key in order)
        last = None if query.limit is None else query.offset + query.limit
        part = replace(
            query, select=query.select and distinct((*query.select, *keys)), order=order, limit=last, offset=0
        )
        results = await together([partial(call_next, each, context) for each in self._parts(part)], at_once=AT_ONCE)
        rows = [row for result in results for row in result.value]
        for key, rank in reversed(list(zip(order, ranks, strict=True))):
            rows = _sorted(rows, key, rank)
        rows = rows[query.offset : last]
        if query.shown is not None:
            rows = [{column: row[column] for column in query.shown} for row in rows]
        return Result(rows, max(result.attempts for result in results))

    def _parts(self, query: Query) -> list[Query]:
        """The query, or as many as it takes, each of them short enough or down to one value."""
        if query.filters is None or self._url_size(query) <= MAX_URL_BYTES:
            return [query]
        longest = _longest_list(query)
        if longest is None:
            return [query]
        values = distinct(longest.operand)
        if len(values) < 2:
            return [replace(query, filters=_with_values(query.filters, longest, values))]
        halves = values[: len(values) // 2], values[len(values) // 2 :]
        return [
            part
            for half in halves
            for part in self._parts(replace(query, filters=_with_values(query.filters, longest, half)))
        ]

    def _total_order(self, query: Query) -> tuple[Order, ...]:
        named = {key.column for key in query.order}
        declared = self._schema.tables.get(query.table)
        key = declared.primary_key if declared else ()
        return query.order + tuple(Order(column) for column in key if column not in named)

    def _rank(self, table: str, column: str) -> Callable[[Any], tuple[bool, Any]]:
        declared = self._schema.column(table, column)
        rank = rank_of(declared.type) if declared else None
        if rank is None:
            raise ValidationError(
                table,
                f"the list in the filter is too long for one request, and parts of it cannot be merged by {column},"
                " whose order depends on the server's collation; order by another column, or ask for fewer values",
            )
        return lambda value: (value is None, None if value is None else rank(value))


def _sorted(rows: list[Row], key: Order, rank: Callable[[Any], tuple[bool, Any]]) -> list[Row]:
    return with_nulls_placed(sorted(rows, key=lambda row: rank(row[key.column]), reverse=key.descending), key)


def _may_be_long(filters: Filter | None) -> bool:
    """Whether the lists in the filter are worth measuring."""
    size = 0
    for leaf in comparisons(filters):
        if leaf.operator is Operator.IN:
            size += sum(len(str(value)) + 3 for value in leaf.operand)
    return size > MAX_URL_BYTES // 10


def _longest_list(query: Query) -> Comparison | None:
    lists = [leaf for leaf in comparisons(query.filters) if leaf.operator is Operator.IN]
    if not lists:
        return None
    longest = max(lists, key=lambda leaf: len(leaf.operand))
    terms = query.filters.terms if isinstance(query.filters, AllOf) else (query.filters,)
    if not any(term is longest for term in terms):
        raise ValidationError(
            query.table,
            "the list in the filter is too long for one request, and under any_of or not_ it cannot be split;"
            " move it to the top of the filter, or ask for fewer values",
        )
    return longest


def _with_values(filters: Filter, leaf: Comparison, values: tuple[Any, ...]) -> Filter:
    """The filter with other values in its list."""
    if filters is leaf:
        return replace(leaf, operand=values)
    assert isinstance(filters, AllOf)  # noqa: S101  the leaf was found among its terms
    return AllOf(tuple(replace(leaf, operand=values) if term is leaf else term for term in filters.terms))
