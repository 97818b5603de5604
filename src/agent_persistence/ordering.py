"""The order of a query's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from agent_persistence.exceptions import ValidationError


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key. NULLs come last when ascending and first when descending, as in PostgreSQL."""

    column: str
    descending: bool = False


OrderBy: TypeAlias = str | Order | Sequence[str | Order]


def asc(column: str) -> Order:
    """Ascending by `column`, NULLs last."""
    return Order(column)


def desc(column: str) -> Order:
    """Descending by `column`, NULLs first."""
    return Order(column, descending=True)


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
