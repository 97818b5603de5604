"""What every operation can be asked, so that no layer has to know which operations there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

from agent_persistence.query.predicates import AllOf, AnyOf, Filter, Not, comparisons, existence
from agent_persistence.query.records import Record

if TYPE_CHECKING:
    from agent_persistence.operations.including import Include
    from agent_persistence.operations.scope import Scope

Shape: TypeAlias = Literal["row", "rows", "count", "columns", "value"]
"""What a result's value is: a row or None, a list of rows, a number, names of columns, or what a function returned."""


@dataclass(frozen=True, slots=True)
class BaseOperation:
    verb: ClassVar[str]
    right: ClassVar[str] = "read"
    """The rule of a TablePolicy that must name the table."""
    writes: ClassVar[bool] = False
    """Whether the call may change the database."""
    returns: ClassVar[Shape]

    table: str

    @property
    def own_key(self) -> str | None:
        """The column of the primary key, if every key in it was made for this call, and nobody else can have one."""
        return None

    @property
    def merges_by(self) -> tuple[str, ...] | None:
        """The columns by which rows that exist are merged, () for the primary key; None where rows are only added."""
        return None

    @property
    def found_by(self) -> tuple[str, ...] | None:
        """The columns by which stored rows are found, to be merged with or to leave a record out for; as above."""
        return self.merges_by

    @property
    def asked_columns(self) -> tuple[str, ...] | None:
        """The columns of rows to ask for; None is all of them."""
        return None

    @property
    def referred_columns(self) -> tuple[str, ...]:
        """The columns of its rows whose values later operations of a unit of work take."""
        return ()

    @property
    def was_sent(self) -> bool:
        """Whether an earlier call, of this process or another, may have stored the rows."""
        return False

    @property
    def filter(self) -> Filter | None:
        """What the rows that the call reads or changes have in common; None where it chooses none."""
        return None

    @property
    def included(self) -> tuple[Include, ...]:
        """The related rows that come with each row."""
        return ()

    @property
    def inserted(self) -> tuple[Record, ...]:
        """The rows that are inserted or merged."""
        return ()

    def given(self) -> Iterator[tuple[str, Record]]:
        """Everything that holds values by name, each beside the argument it came in."""
        return iter(())

    def with_records(self, change: Callable[[Record], Record]) -> Self:
        """The operation with each of the records that it gives changed."""
        return self

    def columns(self) -> tuple[str, ...]:
        """Every name the call uses as a column, in order of appearance, and as often."""
        return ()

    def columns_read(self) -> Iterable[str]:
        """The columns that rows are chosen, sorted or shown by."""
        return ()

    def columns_written(self) -> Iterable[str]:
        """The columns that get values, and those by which rows are merged."""
        return ()

    def telling_columns(self) -> Iterable[str]:
        """The columns beside those of the filter whose values decide which rows come back, and in which order."""
        return ()

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> Any:
        """The operation within the scope; a row that would be written outside of it is refused.

        The target of a merge gets the scope's columns, so that a row of another scope is no match for it; without a
        unique index on all of them the database refuses the merge.
        """
        raise NotImplementedError

    def asking_for(self, columns: tuple[str, ...]) -> Any:
        """The operation that asks for no columns but these."""
        raise NotImplementedError

    def asking_also_for(self, column: str) -> Any:
        """The operation that asks for this column beside those it asks for."""
        raise NotImplementedError

    def capabilities(self) -> Iterator[str]:
        """Every key of an adapter's `capabilities` that the call needs."""
        return iter(())


def filtered_columns(predicate: Filter | None) -> tuple[str, ...]:
    """The table's columns that a filter compares, or finds related rows by."""
    compared = ["" if leaf.column is None else leaf.column for leaf in comparisons(predicate)]
    compared += [each.chosen.ours for each in existence(predicate)]
    return tuple(compared)


def needed_by(predicate: Filter | None) -> Iterator[str]:
    """The capabilities that a filter needs."""
    yield from (leaf.capability for leaf in comparisons(predicate))
    for each in existence(predicate):
        yield "exists"
        yield from needed_by(each.term)
    if _nests(predicate):
        yield "logic"


def _nests(predicate: Filter | None) -> bool:
    """Whether the filter is more than comparisons that must all hold."""
    if isinstance(predicate, AllOf):
        return any(isinstance(term, (AllOf, AnyOf, Not)) for term in predicate.terms)
    return isinstance(predicate, (AnyOf, Not))
