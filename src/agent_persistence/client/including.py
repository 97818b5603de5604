"""`include=` as people write it, turned into what is to be joined, by the foreign keys that the schema declares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, TypeAlias, TypedDict

from agent_persistence.exceptions import ValidationError, printable
from agent_persistence.operations import Include, Query
from agent_persistence.query.filters import Filters, parse_filters
from agent_persistence.query.ordering import Order, OrderBy, parse_order
from agent_persistence.schema.registry import ForeignKey, Schema, Table


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


@dataclass(frozen=True, slots=True)
class _Link:
    """One way from a table to another, by a foreign key of either."""

    ours: str
    theirs: str
    many: bool
    via: str


def parse_include(
    schema: Schema,
    table: str,
    include: object,
    names: Callable[[str, str, object], tuple[str, ...] | None],
    at_least: Callable[[str, str, object, int], int | None],
) -> tuple[Include, ...]:
    """What a query of the table includes. ValidationError for a relation that the schema does not declare, or several
    of which none is named, and for an option that there is not."""
    if include is None:
        return ()
    if isinstance(include, str) or not isinstance(include, (Mapping, Sequence)):
        raise ValidationError(table, f"include maps names to columns, as in {{'comments': ['body']}}, {_got(include)}")
    told = include if isinstance(include, Mapping) else {name: {} for name in include}
    return tuple(_parsed(schema, table, name, each, names, at_least) for name, each in told.items())


def _parsed(schema: Schema, table: str, name: object, told: object, names: Any, at_least: Any) -> Include:
    if not isinstance(name, str) or name in schema.columns(table):
        raise ValidationError(table, f"include: {printable(name)} is a column of it; give related rows another name")
    options: Mapping[str, Any] = told if isinstance(told, Mapping) else {"select": told}
    for option in options:
        if option not in _OPTIONS:
            meant = get_close_matches(str(option), _OPTIONS, n=1)
            hint = f", did you mean {meant[0]}?" if meant else f"; there are {', '.join(_OPTIONS)}"
            raise ValidationError(table, f"include of {name}: no option {printable(option)}{hint}")
    target = options.get("table", name)
    link = _link(schema, table, target, options.get("via"), options.get("many"))
    order = parse_order(target, options.get("order_by"), options.get("descending", False))
    named = {key.column for key in order}
    ties = tuple(Order(column) for column in schema.primary_key(target) if column not in named) if link.many else ()
    query = Query(
        target,
        parse_filters(target, options.get("filters")),
        at_least(target, "limit", options.get("limit"), 1),
        order + ties,
        names(target, "select", options.get("select")),
        include=parse_include(schema, target, options.get("include"), names, at_least),
    )
    return Include(name, link.ours, link.theirs, link.many, link.via, query)


def _link(schema: Schema, table: str, target: object, via: object, many: object) -> _Link:
    """The one way between the tables, by the foreign key of `via` and in the direction of `many` where given."""
    declared = dict(_links(schema, table))
    ways = declared.get(target, []) if isinstance(target, str) else []
    found = [way for way in ways if via in (None, way.via) and many in (None, way.many)]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(f"via={way.via!r}, many={way.many}" for way in found)
        raise ValidationError(table, f"include: several ways lead to {printable(target)}; say which: {several}")
    if ways:
        raise ValidationError(
            table,
            f"include: no foreign key {printable(via)} leads to {printable(target)}; there are"
            f" {', '.join(sorted({way.via for way in ways}))}",
        )
    if target in {key.table for key in _composite(schema, table)} or table in {
        key.table for key in _composite(schema, str(target))
    }:
        told = f"include: the foreign key between it and {printable(target)} has several columns; query them apart"
        raise ValidationError(table, told)
    known = ", ".join(sorted(declared)) or "none"
    raise ValidationError(
        table,
        f"include: no foreign key is declared between it and {printable(target)}; related tables are {known}",
        "where the rows are to have another name than their table, say table=; declare foreign keys in the Schema",
    )


def _links(schema: Schema, table: str) -> Iterator[tuple[str, list[_Link]]]:
    """Every way from the table, by the table that it leads to."""
    found: dict[str, list[_Link]] = {}
    for target, column, references in _single(schema.tables.get(table)):
        found.setdefault(target, []).append(_Link(column, references, False, column))
    for name, other in schema.tables.items():
        for target, column, references in _single(other):
            if target == table:
                found.setdefault(name, []).append(_Link(references, column, True, column))
    yield from found.items()


def _composite(schema: Schema, table: str) -> list[ForeignKey]:
    declared = schema.tables.get(table)
    return [key for key in declared.foreign_keys if len(key.columns) > 1] if declared else []


def _single(declared: Table | None) -> Iterator[tuple[str, str, str]]:
    """The foreign keys of one column: the table that each leads to, its column and the one that it refers to."""
    for key in declared.foreign_keys if declared else ():
        if len(key.columns) == 1:
            yield key.table, key.columns[0], key.targets[0]


def _got(value: object) -> str:
    return f"not {type(value).__name__}"
