"""The order of a query's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from agent_persistence.exceptions import ValidationError
from agent_persistence.query.records import Row

Nulls: TypeAlias = Literal["first", "last"]


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key. NULLs come last when ascending and first when descending, as in PostgreSQL, unless `nulls` says."""

    column: str
    descending: bool = False
    nulls: Nulls | None = None

    def __post_init__(self) -> None:
        if self.nulls not in (None, "first", "last"):
            raise ValidationError("order_by", f"nulls is 'first' or 'last', not {self.nulls!r:.40}")


OrderBy: TypeAlias = str | Order | Sequence[str | Order]


def asc(column: str, *, nulls: Nulls | None = None) -> Order:
    """Ascending by `column`, NULLs last unless `nulls="first"`."""
    return Order(column, nulls=nulls)


def desc(column: str, *, nulls: Nulls | None = None) -> Order:
    """Descending by `column`, NULLs first unless `nulls="last"`."""
    return Order(column, descending=True, nulls=nulls)


def parse_order(table: object, order_by: OrderBy | None, descending: bool = False) -> tuple[Order, ...]:
    """The sort keys, most significant first. `descending` applies to the keys given as plain names."""
    if type(descending) is not bool:
        raise ValidationError(table, f"descending is True or False, not {descending!r}")
    if order_by is None:
        return ()
    if isinstance(order_by, (str, Order)):
        return (_key(table, order_by, descending),)
    if not isinstance(order_by, (list, tuple)):
        raise ValidationError(
            table, f"order_by is a column, asc(…), desc(…) or a list of these, not {type(order_by).__name__}"
        )
    return tuple(_key(table, key, descending) for key in order_by)


def _key(table: object, key: object, descending: bool) -> Order:
    if isinstance(key, Order):
        return key
    if isinstance(key, str):
        return Order(key, descending)
    raise ValidationError(table, f"order_by holds {type(key).__name__}; use column names, asc(…) or desc(…)")


def with_nulls_placed(rows: list[Row], key: Order) -> list[Row]:
    """Rows that are sorted by the key's values, with the NULLs where the key wants them."""
    if key.nulls is None:
        return rows
    return sorted(rows, key=lambda row: (row.get(key.column) is None) is (key.nulls == "last"))
