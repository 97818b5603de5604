"""Rows of other tables that an operation looks at: those that come with each row, and those its filters are about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from agent_persistence.operations.base import BaseOperation
from agent_persistence.query.predicates import TRUE, Exists, RowLink, existence, map_existence
from agent_persistence.query.records import Row

if TYPE_CHECKING:
    from agent_persistence.operations.reading import Query

AnyOperation = TypeVar("AnyOperation", bound=BaseOperation)


@dataclass(frozen=True, slots=True)
class Include:
    """The related rows that each row has under `name`: a list of those that refer to it, or the one that it refers to
    (None without one). `query` says which of them, in which order, with which columns; its limit counts for each row by
    itself.
    """

    name: str
    link: RowLink
    query: Query


@dataclass(frozen=True, slots=True)
class Related:
    """A table that is looked into beside another, along `link`, as if by `query`."""

    link: RowLink
    query: Query
    name: str | None = None
    """That under which its rows are included; None where a filter is about them."""


def looked_for(exists: Exists) -> Related:
    """The condition as a query of the related table."""
    from agent_persistence.operations.reading import Query

    return Related(exists.chosen, Query(exists.table, exists.term))


def looks_elsewhere(operation: BaseOperation) -> bool:
    """Whether the operation looks into any table beside its own."""
    return bool(existence(operation.filter) or operation.included)


def related(operation: BaseOperation, *, but: Sequence[Exists] = ()) -> Iterator[Related]:
    """Every table that the operation looks into beside its own, at any depth; `but` are conditions to leave out."""
    for each in beside(operation, but=but):
        yield each
        yield from related(each.query, but=but)


def beside(operation: BaseOperation, *, but: Sequence[Exists] = ()) -> Iterator[Related]:
    """The tables that the operation looks into directly."""
    for exists in existence(operation.filter):
        if not any(exists is known for known in but):
            yield looked_for(exists)
    for include in operation.included:
        yield Related(include.link, include.query, include.name)


def includes(query: Query) -> Iterator[Include]:
    """Everything that the query includes, at any depth."""
    for include in query.include:
        yield include
        yield from includes(include.query)


def with_related(operation: AnyOperation, change: Callable[[Query], Query]) -> AnyOperation:
    """The operation with every query within it changed, the innermost first; of those that its filters are about, only
    the filters count."""

    def changed(exists: Exists) -> Exists:
        within = change(with_related(looked_for(exists).query, change)).filters
        return replace(exists, term=TRUE if within is None else within)

    filters = operation.filter
    if existence(filters):
        assert filters is not None  # noqa: S101  it has conditions
        operation = replace(operation, filters=map_existence(filters, changed))  # type: ignore[call-arg]
    if operation.included:
        inner = [replace(each, query=change(with_related(each.query, change))) for each in operation.included]
        operation = replace(operation, include=tuple(inner))  # type: ignore[call-arg]
    return operation


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
    if include.link.many:
        return each_level(include.query, value[: include.query.limit] if isinstance(value, list) else [], change)
    return each_level(include.query, [value], change)[0] if isinstance(value, dict) else None
