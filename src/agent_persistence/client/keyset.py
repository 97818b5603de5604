"""Paging by a key: in which order, and what comes behind a row (keyset paging)."""

from __future__ import annotations

from collections.abc import Sequence

from agent_persistence.exceptions import ValidationError, printable
from agent_persistence.query.filters import (
    Filters,
    all_of,
    any_of,
    gt,
    lt,
    not_null,
)
from agent_persistence.query.identifiers import is_path
from agent_persistence.query.predicates import Filter
from agent_persistence.query.records import Row, distinct
from agent_persistence.schema.registry import Column, Schema
from agent_persistence.schema.types import Family, family


def ordering(schema: Schema, table: str, order_by: object) -> tuple[str, ...]:
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
        reason = f"ties of {asked} need the table's key, which is not known" if asked else "it has no key to page by"
        raise ValidationError(table, f"{reason}; use query with a limit, or order by id", "or declare it in the Schema")
    for name in columns:
        _check_ordering(table, name, declared.column(name) if declared else None)
    return distinct((*columns, *(key or ("id",))))


def _check_ordering(table: str, name: str, declared: Column | None) -> None:
    if is_path(name):
        raise ValidationError(table, f"order_by is a column here, whose value every row tells, not {name}")
    if declared is not None and family(declared.type) in (Family.JSON, Family.ARRAY):
        raise ValidationError(table, f"order_by is a column of plain values here; {name} is {declared.type}")


def check_scalar(table: str, columns: Sequence[str], page: Sequence[Row]) -> None:
    """Refuse a column by whose values no next page can begin, before a row of the first one is yielded."""
    for name in columns:
        kind = next((type(row[name]).__name__ for row in page if isinstance(row.get(name), (list, dict))), None)
        if kind is not None:
            raise ValidationError(table, f"order_by is a column of plain values here; {name} holds a {kind}")


def behind(keys: Sequence[str], position: Row, descending: bool) -> Filter:
    """The rows that come after `position` in the order of the keys, in which NULL is above every value."""
    key, *ties = keys
    value = position[key]
    later: list[Filters]
    if descending:
        later = [{key: not_null()}] if value is None else [{key: lt(value)}]
    else:
        later = [] if value is None else [{key: gt(value)}, {key: None}]
    tied = [all_of({key: value}, behind(ties, position, descending))] if ties else []
    return any_of(*later, *tied)
