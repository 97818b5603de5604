"""How much one call may ask for and send. Pure."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from pydantic_core import to_json

from agent_persistence.exceptions import ValidationError
from agent_persistence.operations import Operation, Query, Read, beside, related
from agent_persistence.operations.base import BaseOperation
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.query.computed import Merge
from agent_persistence.query.predicates import Filter, TextQuery, comparisons, existence
from agent_persistence.query.records import Record

MAX_OFFSET: Final = 2**63 - 1
_SMALL: Final = frozenset({int, float, bool, type(None)})
_MOST_BYTES_A_CHARACTER: Final = 6  # \u0000


def check_bounds(operation: Operation, policy: TablePolicy) -> None:
    """Refuse a call that exceeds one of the policy's bounds; the error names it."""
    if isinstance(operation, Read):
        return _check_value(operation.table, operation.id_column, operation.id_value, policy)
    table, rows = operation.table, len(operation.inserted)
    if rows > policy.max_batch:
        raise _above(table, f"a batch of {rows} rows", "max_batch", policy.max_batch)
    filters = operation.filter
    if filters is not None:
        _check_filters(table, filters, policy)
    for _, record in operation.given():
        _check_record(table, record, policy)
    if isinstance(operation, Query):
        _check_page(operation, policy)
    return None


MAX_RELATED: Final = 16
MAX_RELATED_DEPTH: Final = 4


def check_related(operation: Operation) -> None:
    """Refuse more related tables than a request should have, or deeper ones; each has bounds of its own beside."""
    table = operation.table
    if len([*islice(related(operation), MAX_RELATED + 1)]) > MAX_RELATED:
        raise ValidationError(table, f"a call includes, and has conditions on, at most {MAX_RELATED} related tables")
    level: list[BaseOperation] = [operation]
    for _ in range(MAX_RELATED_DEPTH + 1):
        level = [each.query for one in level for each in beside(one)]
        if not level:
            return
    raise ValidationError(table, f"related rows are at most {MAX_RELATED_DEPTH} tables away")


def _check_page(query: Query, policy: TablePolicy) -> None:
    if query.limit is not None and query.limit > policy.max_rows:
        raise _above(query.table, "the limit", "max_rows", policy.max_rows)
    if query.offset > MAX_OFFSET:
        raise ValidationError(query.table, f"offset is above {MAX_OFFSET}, the most that PostgreSQL can skip")


def _check_record(table: str, record: Record, policy: TablePolicy) -> None:
    short = policy.max_value_bytes // _MOST_BYTES_A_CHARACTER
    for column, value in record.items():
        if (type(value) is not str or len(value) >= short) and type(value) not in _SMALL:
            _check_value(table, column, value.operand if isinstance(value, Merge) else value, policy)


def _check_filters(table: str, filters: Filter, policy: TablePolicy) -> None:
    number = _count(filters)
    if number > policy.max_filters:
        raise _above(table, f"a filter of {number} comparisons", "max_filters", policy.max_filters)
    for leaf in comparisons(filters):
        operand = leaf.operand
        if type(operand) in _SMALL:
            continue
        if isinstance(operand, tuple) and len(operand) > policy.max_list:
            raise _above(table, f"a list of {len(operand)} values", "max_list", policy.max_list)
        for value in operand if isinstance(operand, tuple) else (operand,):
            _check_value(table, leaf.column, value.text if isinstance(value, TextQuery) else value, policy)


def _count(filters: Filter) -> int:
    """The comparisons of the filter, those with related rows among them."""
    return len(comparisons(filters)) + sum(1 + _count(each.term) for each in existence(filters))


def _check_value(table: str, column: str | None, value: Any, policy: TablePolicy) -> None:
    """Refuse a value that takes too many bytes as JSON; most texts are too short to need counting."""
    size = policy.max_value_bytes
    if isinstance(value, str) and len(value) < size // _MOST_BYTES_A_CHARACTER:
        return
    if isinstance(value, (str, list, dict)) and len(to_json(value)) > size:
        raise _above(table, f"a value for {column}", "max_value_bytes", size)


def _above(table: str, what: str, bound: str, most: int) -> ValidationError:
    return ValidationError(table, f"{what} is above the policy's {bound} of {most}")
