"""The operations that read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from agent_persistence.operations.base import BaseOperation, Shape, filtered_columns, needed_by
from agent_persistence.operations.including import Include, includes
from agent_persistence.operations.scope import Scope
from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import Comparison, Filter, Operator
from agent_persistence.query.records import Record


@dataclass(frozen=True, slots=True)
class Read(BaseOperation):
    """The one row whose `id_column` equals `id_value`, or None."""

    verb: ClassVar[str] = "read"
    returns: ClassVar[Shape] = "row"

    id_value: Any = field(repr=False)
    id_column: str = "id"

    @property
    def filter(self) -> Filter:
        return Comparison(Operator.EQ, self.id_value, self.id_column)

    def as_query(self) -> Query:
        """The same as a query, whose rows `only_row` makes one of."""
        return Query(self.table, self.filter, 2)

    def columns(self) -> tuple[str, ...]:
        return (self.id_column,)

    def columns_read(self) -> Iterable[str]:
        return (self.id_column,)

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> Query:
        return self.as_query().restricted(scope, primary_key)

    def asking_for(self, columns: tuple[str, ...]) -> Query:
        return self.as_query().asking_for(columns)

    def asking_also_for(self, column: str) -> Self:
        return self


@dataclass(frozen=True, slots=True)
class Query(BaseOperation):
    """The rows that `filters` selects, in `order`, `limit` of them after `offset`."""

    verb: ClassVar[str] = "query"
    returns: ClassVar[Shape] = "rows"

    filters: Filter | None = None
    limit: int | None = None
    order: tuple[Order, ...] = ()
    select: tuple[str, ...] | None = None
    offset: int = 0
    counted: bool = field(default=False, kw_only=True, repr=False)
    """Whether the answer is to say how many rows there are without limit and offset."""
    include: tuple[Include, ...] = field(default=(), kw_only=True)
    """The related rows that come with each row."""
    _named: tuple[str, ...] | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def filter(self) -> Filter | None:
        return self.filters

    @property
    def included(self) -> tuple[Include, ...]:
        return self.include

    @property
    def asked_columns(self) -> tuple[str, ...] | None:
        return self.select

    @property
    def shown(self) -> tuple[str, ...] | None:
        """The names that each row has, those of related rows among them; None is all of the table's."""
        return None if self.select is None else (*self.select, *(each.name for each in self.include))

    def columns(self) -> tuple[str, ...]:
        """Looked for once: the guard asks for them, and the audit."""
        if self._named is None:
            filtered = filtered_columns(self.filters)
            shown, sorted_by = self.select or (), [key.column for key in self.order]
            found_by = [each.link.ours for each in self.include]
            object.__setattr__(self, "_named", (*shown, *filtered, *sorted_by, *found_by))
        return self._named or ()

    def columns_read(self) -> Iterable[str]:
        return self.columns()

    def telling_columns(self) -> Iterable[str]:
        return [*(key.column for key in self.order), *(each.link.ours for each in self.include)]

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> Query:
        return replace(self, filters=scope.both(self.filters))

    def asking_for(self, columns: tuple[str, ...]) -> Query:
        return replace(self, select=columns) if self.select is None else self

    def asking_also_for(self, column: str) -> Query:
        return self if self.select is None else replace(self, select=(*self.select, column))

    def capabilities(self) -> Iterator[str]:
        if self.filters is not None:
            yield from needed_by(self.filters)
        if self.order:
            yield "ordering"
        if self.select is not None:
            yield "projections"
        if self.limit is not None:
            yield "limit"
        if self.offset:
            yield "offset"
        if self.include:
            yield "include"
            for each in includes(self):
                yield from needed_by(each.query.filters)


@dataclass(frozen=True, slots=True)
class Count(BaseOperation):
    """The number of rows that `filters` selects."""

    verb: ClassVar[str] = "count"
    returns: ClassVar[Shape] = "count"

    filters: Filter | None = None
    counting: str | None = field(default=None, kw_only=True, repr=False)
    """A column that may be read, where not all of them may be."""
    estimated: bool = field(default=False, kw_only=True)
    """Whether the number may come of statistics, where the back end has any."""

    @property
    def filter(self) -> Filter | None:
        return self.filters

    def columns(self) -> tuple[str, ...]:
        return filtered_columns(self.filters)

    def columns_read(self) -> Iterable[str]:
        return filtered_columns(self.filters)

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> Count:
        return replace(self, filters=scope.both(self.filters))

    def asking_for(self, columns: tuple[str, ...]) -> Count:
        return replace(self, counting=columns[0] if columns else None)

    def asking_also_for(self, column: str) -> Self:
        return self

    def capabilities(self) -> Iterator[str]:
        yield "count"
        yield from needed_by(self.filters)


@dataclass(frozen=True, slots=True)
class Call(BaseOperation):
    """Call the function named by `table`, which only reads; the value is what it returns."""

    verb: ClassVar[str] = "call"
    right: ClassVar[str] = "call"
    returns: ClassVar[Shape] = "value"

    arguments: Record = field(repr=False)

    def columns(self) -> tuple[str, ...]:
        return tuple(self.arguments)

    def given(self) -> Iterator[tuple[str, Record]]:
        yield "arguments", self.arguments

    def with_records(self, change: Callable[[Record], Record]) -> Self:
        return replace(self, arguments=change(self.arguments))

    def capabilities(self) -> Iterator[str]:
        yield "call"


@dataclass(frozen=True, slots=True)
class WritingCall(Call):
    """Call a function that may write."""

    right: ClassVar[str] = "call_write"
    writes: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class GetColumns(BaseOperation):
    """The table's column names in their order, or None where they cannot be known."""

    verb: ClassVar[str] = "get_columns"
    returns: ClassVar[Shape] = "columns"

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> Self:
        return self

    def asking_for(self, columns: tuple[str, ...]) -> Self:
        return self
