"""Rows of other tables that come with each row of a query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent_persistence.query.records import Row

if TYPE_CHECKING:
    from agent_persistence.operations.reading import Query


@dataclass(frozen=True, slots=True)
class Include:
    """The related rows that each row has under `name`: those whose `theirs` equals the row's `ours`.

    `many` says whether it is a list, of the rows that refer to it, or the one row that it refers to (None without one).
    `via` is the column of the foreign key. `query` says which of them, in which order, with which columns; its limit
    counts for each row by itself.
    """

    name: str
    ours: str
    theirs: str
    many: bool
    via: str
    query: Query


def includes(query: Query) -> Iterator[Include]:
    """Everything that the query includes, at any depth."""
    for include in query.include:
        yield include
        yield from includes(include.query)


def with_related(query: Query, change: Callable[[Query], Query]) -> Query:
    """The query with every query within it changed, the innermost first."""
    if not query.include:
        return query
    changed = [replace(each, query=change(with_related(each.query, change))) for each in query.include]
    return replace(query, include=tuple(changed))


Change = Callable[["Query", list[Row]], list[Row]]


def each_level(query: Query, rows: list[Row], change: Change) -> list[Row]:
    """The rows changed table by table: `change` gets rows of one query without what they include, and returns as many
    in the same order."""
    if not query.include:
        return change(query, rows)
    names = {include.name for include in query.include}
    changed = change(query, [{name: row[name] for name in row if name not in names} for row in rows])
    return [
        {**row, **{each.name: _changed(each, whole.get(each.name), change) for each in query.include}}
        for row, whole in zip(changed, rows, strict=True)
    ]


def _changed(include: Include, value: Any, change: Change) -> Any:
    """The related rows changed, and no more of them than were asked for."""
    if include.many:
        return each_level(include.query, value[: include.query.limit] if isinstance(value, list) else [], change)
    return each_level(include.query, [value], change)[0] if isinstance(value, dict) else None
