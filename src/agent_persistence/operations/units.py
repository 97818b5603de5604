"""Several operations as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, TypeAlias

from agent_persistence.operations.base import BaseOperation, Shape, filtered_columns, needed_by
from agent_persistence.operations.reading import WritingCall
from agent_persistence.operations.scope import Scope
from agent_persistence.operations.writing import BatchWrite, Delete, Update, Upsert, Write
from agent_persistence.query.predicates import Comparison, Filter, map_comparisons
from agent_persistence.query.records import Record
from agent_persistence.query.references import Reference, references_in


@dataclass(frozen=True, slots=True)
class Require(BaseOperation):
    """In a unit of work: as many rows must be selected as its part expects; the value is how many they are.

    They stay as they are until the unit is committed if `lock`, which needs the right to UPDATE.
    """

    verb: ClassVar[str] = "require"
    writes: ClassVar[bool] = True  # it is carried out with writes, and no cache answers it
    returns: ClassVar[Shape] = "count"

    filters: Filter | None = None
    lock: bool = True

    @property
    def filter(self) -> Filter | None:
        return self.filters

    def columns(self) -> tuple[str, ...]:
        return filtered_columns(self.filters)

    def columns_read(self) -> Iterable[str]:
        return filtered_columns(self.filters)

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> Require:
        return replace(self, filters=scope.both(self.filters))

    def asking_for(self, columns: tuple[str, ...]) -> Self:
        return self

    def asking_also_for(self, column: str) -> Self:
        return self

    def capabilities(self) -> Iterator[str]:
        yield from needed_by(self.filters)


PartOperation: TypeAlias = Write | BatchWrite | Upsert | Update | Delete | Require | WritingCall
"""What may be part of a unit of work."""


@dataclass(frozen=True, slots=True)
class UnitPart:
    """One operation of a unit of work; `expect` is how many rows it must affect or find, where that is said."""

    operation: PartOperation
    expect: int | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        """What is written: the records, or the changes."""
        return tuple(record for _, record in self.operation.given())

    def with_filters(self, filters: Filter) -> UnitPart:
        """The part over other rows."""
        if isinstance(self.operation, (Update, Delete, Require)):
            return replace(self, operation=replace(self.operation, filters=filters))
        return self

    def references(self) -> Iterator[Reference]:
        """What it takes of earlier parts."""
        yield from (value for record in self.records for value in record.values() if isinstance(value, Reference))
        yield from references_in(self.operation.filter)

    def resolved(self, meant: Callable[[Reference], Any]) -> UnitPart:
        """The part with what its references mean in their place."""

        def known(value: Any) -> Any:
            return meant(value) if isinstance(value, Reference) else value

        def compared(leaf: Comparison) -> Comparison:
            return replace(leaf, operand=known(leaf.operand)) if isinstance(leaf.operand, Reference) else leaf

        filled = self.operation.with_records(lambda record: {name: known(value) for name, value in record.items()})
        part = replace(self, operation=filled)
        filters = filled.filter
        return part if filters is None else part.with_filters(map_comparisons(filters, compared))


@dataclass(frozen=True, slots=True)
class Unit(BaseOperation):
    """Carry out all parts in order, as one transaction, or none; the value is the list of their values.

    `key` names the unit: under a key that was applied, the value is what it was then, and nothing is applied again.
    Without one nothing is remembered. `table` lists the tables, for messages. No layer that checks single operations
    takes it for one: its parts have passed them by themselves.
    """

    verb: ClassVar[str] = "unit_of_work"
    right: ClassVar[str] = "write"
    writes: ClassVar[bool] = True
    returns: ClassVar[Shape] = "value"

    parts: tuple[UnitPart, ...] = field(repr=False)
    key: str | None = None

    def capabilities(self) -> Iterator[str]:
        yield "transactions"
        for part in self.parts:
            yield from part.operation.capabilities()
