"""`include=` as people write it, turned into what is to be joined, by the foreign keys that the schema declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeAlias, TypedDict

from agent_persistence.client.arguments import at_least, column_names
from agent_persistence.exceptions import ValidationError, printable
from agent_persistence.operations import Include, Query
from agent_persistence.query.filters import Filters
from agent_persistence.query.ordering import Order, OrderBy, parse_order
from agent_persistence.schema.links import link, linked_filters
from agent_persistence.schema.registry import Schema


class RelatedRows(TypedDict, total=False):
    """Which related rows come with each row, and what of them.

    `table` is theirs, by default the name that they are included under. `via` is the column of the foreign key, where
    there are several between the two tables; `many` says, where one within a table leads both ways, whether the rows
    that refer to it are meant (True) or the one that it refers to. `limit` counts for each row by itself.
    """

    table: str
    via: str
    many: bool
    select: Sequence[str]
    filters: Filters
    order_by: OrderBy
    descending: bool
    limit: int
    include: Includes


Includes: TypeAlias = Mapping[str, Sequence[str] | RelatedRows] | Sequence[str]
"""By the name that related rows get: their columns, or more of them. A list of names takes all columns."""

_OPTIONS: Final = tuple(RelatedRows.__annotations__)


def parse_include(schema: Schema, table: str, include: object) -> tuple[Include, ...]:
    """What a query of the table includes. ValidationError for a relation that the schema does not declare, or several
    of which none is named, and for an option that there is not."""
    if include is None:
        return ()
    if isinstance(include, str) or not isinstance(include, (Mapping, Sequence)):
        raise ValidationError(table, f"include maps names to columns, as in {{'comments': ['body']}}, {_got(include)}")
    named = include if isinstance(include, Mapping) else {name: {} for name in include}
    return tuple(_parsed(schema, table, name, rows) for name, rows in named.items())


def _parsed(schema: Schema, table: str, name: object, rows: object) -> Include:
    if not isinstance(name, str) or name in schema.columns(table):
        raise ValidationError(table, f"include: {printable(name)} is a column of it; give related rows another name")
    options: Mapping[str, Any] = rows if isinstance(rows, Mapping) else {"select": rows}
    for option in options:
        if option not in _OPTIONS:
            meant = get_close_matches(str(option), _OPTIONS, n=1)
            hint = f", did you mean {meant[0]}?" if meant else f"; there are {', '.join(_OPTIONS)}"
            raise ValidationError(table, f"include of {name}: no option {printable(option)}{hint}")
    target = options.get("table", name)
    way = link(schema, table, target, options.get("via"), options.get("many"), option="include")
    order = parse_order(target, options.get("order_by"), options.get("descending", False))
    named = {key.column for key in order}
    ties = tuple(Order(column) for column in schema.primary_key(target) if column not in named) if way.many else ()
    query = Query(
        target,
        linked_filters(schema, target, options.get("filters")),
        at_least(target, "limit", options.get("limit"), 1),
        order + ties,
        column_names(target, "select", options.get("select")),
        include=parse_include(schema, target, options.get("include")),
    )
    return Include(name, way, query)


def _got(value: object) -> str:
    return f"not {type(value).__name__}"
