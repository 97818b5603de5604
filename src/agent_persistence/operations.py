"""Operations: every call as an immutable value, and the Result that comes back up the chain.

Values in records and filters are already JSON (see `records`); filters and orders are in canonical form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, ClassVar, TypeAlias

from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import AllOf, AnyOf, Filter, Not, comparisons
from agent_persistence.query.records import Record, Row, distinct
from agent_persistence.query.references import Reference, references_in


@dataclass(frozen=True, slots=True)
class _Operation:
    verb: ClassVar[str]
    right: ClassVar[str] = "read"
    """The rule of a TablePolicy that must name the table."""
    writes: ClassVar[bool] = False
    """Whether the call may change the database."""

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
    def asked_columns(self) -> tuple[str, ...] | None:
        """The columns of rows to ask for; None is all of them."""
        return None

    @property
    def referred_columns(self) -> tuple[str, ...]:
        """The columns of its rows whose values other operations of a unit of work take."""
        return ()

    @property
    def was_sent(self) -> bool:
        """Whether an earlier call, of this process or another, may have stored the rows."""
        return False

    def columns(self) -> tuple[str, ...]:
        """Every name the call uses as a column, in order of appearance, and as often."""
        return ()

    def capabilities(self) -> Iterator[str]:
        """Every key of an adapter's `capabilities` that the call needs."""
        return iter(())


@dataclass(frozen=True, slots=True)
class _Writing(_Operation):
    right: ClassVar[str] = "write"
    writes: ClassVar[bool] = True

    returning: tuple[str, ...] | None = field(default=None, kw_only=True, repr=False)
    """The columns of the stored rows to ask for, for which they must be readable; None is all of them."""
    referred: tuple[str, ...] = field(default=(), kw_only=True, repr=False)
    """The columns of the stored rows whose values later parts of a unit of work take; as good as read by them."""

    @property
    def asked_columns(self) -> tuple[str, ...] | None:
        return self.returning

    @property
    def referred_columns(self) -> tuple[str, ...]:
        return self.referred


@dataclass(frozen=True, slots=True)
class _Inserting(_Writing):
    generated_key: str | None = field(default=None, kw_only=True, repr=False)
    """As `own_key` says it."""

    @property
    def own_key(self) -> str | None:
        return self.generated_key


@dataclass(frozen=True, slots=True)
class Write(_Inserting):
    """Insert one row; the value of the result is that row."""

    verb: ClassVar[str] = "write"

    record: Record = field(repr=False)

    def columns(self) -> tuple[str, ...]:
        return tuple(self.record)


@dataclass(frozen=True, slots=True)
class BatchWrite(_Inserting):
    """Insert all rows or none; the value is the rows in the order given."""

    verb: ClassVar[str] = "batch_write"

    records: tuple[Record, ...] = field(repr=False)

    def columns(self) -> tuple[str, ...]:
        return tuple(column for record in self.records for column in record)


@dataclass(frozen=True, slots=True)
class Upsert(_Inserting):
    """Insert one row, or merge it into the one it conflicts with; the value is that row."""

    verb: ClassVar[str] = "upsert"

    record: Record = field(repr=False)
    on_conflict: tuple[str, ...] = ()

    @property
    def merges_by(self) -> tuple[str, ...] | None:
        return None if self.generated_key else self.on_conflict

    def columns(self) -> tuple[str, ...]:
        return (*self.record, *self.on_conflict)


@dataclass(frozen=True, slots=True)
class BulkWrite(BatchWrite):
    """Insert or merge all rows or none, and read nothing back; the value is how many they are."""

    verb: ClassVar[str] = "bulk_write"

    on_conflict: tuple[str, ...] | None = None
    """As in Upsert; None inserts."""
    resent: bool = field(default=False, kw_only=True)
    """As `was_sent` says it."""

    @property
    def was_sent(self) -> bool:
        return self.resent

    @property
    def merges_by(self) -> tuple[str, ...] | None:
        return self.on_conflict

    def columns(self) -> tuple[str, ...]:
        """Each name once: a chunk of an import has tens of thousands of them."""
        return (*distinct(chain.from_iterable(self.records)), *(self.on_conflict or ()))

    def capabilities(self) -> Iterator[str]:
        yield "bulk"


@dataclass(frozen=True, slots=True)
class Read(_Operation):
    """The one row whose `id_column` equals `id_value`, or None."""

    verb: ClassVar[str] = "read"

    id_value: Any = field(repr=False)
    id_column: str = "id"

    def columns(self) -> tuple[str, ...]:
        return (self.id_column,)


@dataclass(frozen=True, slots=True)
class Query(_Operation):
    """The rows that `filters` selects, in `order`, `limit` of them after `offset`."""

    verb: ClassVar[str] = "query"

    filters: Filter | None = None
    limit: int | None = None
    order: tuple[Order, ...] = ()
    select: tuple[str, ...] | None = None
    offset: int = 0
    counted: bool = field(default=False, kw_only=True, repr=False)
    """Whether the answer is to say how many rows there are without limit and offset."""

    @property
    def asked_columns(self) -> tuple[str, ...] | None:
        return self.select

    def columns(self) -> tuple[str, ...]:
        ordered = (key.column for key in self.order)
        return (*(self.select or ()), *filtered_columns(self.filters), *ordered)

    def capabilities(self) -> Iterator[str]:
        yield from _needs(self.filters)
        if self.order:
            yield "ordering"
        if self.select is not None:
            yield "projections"
        if self.limit is not None:
            yield "limit"
        if self.offset:
            yield "offset"


@dataclass(frozen=True, slots=True)
class Count(_Operation):
    """The number of rows that `filters` selects."""

    verb: ClassVar[str] = "count"

    filters: Filter | None = None
    counting: str | None = field(default=None, kw_only=True, repr=False)
    """A column that may be read, where not all of them may be."""

    def columns(self) -> tuple[str, ...]:
        return filtered_columns(self.filters)

    def capabilities(self) -> Iterator[str]:
        yield "count"
        yield from _needs(self.filters)


@dataclass(frozen=True, slots=True)
class Update(_Writing):
    """Set `changes` in the rows that `filters` selects, in all of them or none; the value is those rows.

    More than `max_affected` of them is an error and changes nothing.
    """

    verb: ClassVar[str] = "update"

    changes: Record = field(repr=False)
    filters: Filter
    max_affected: int | None = None

    def columns(self) -> tuple[str, ...]:
        return (*self.changes, *filtered_columns(self.filters))

    def capabilities(self) -> Iterator[str]:
        yield "update"
        yield from _needs(self.filters)


@dataclass(frozen=True, slots=True)
class Delete(_Writing):
    """Delete the rows that `filters` selects, all of them or none; the value is those rows.

    More than `max_affected` of them is an error and deletes nothing.
    """

    verb: ClassVar[str] = "delete"
    right: ClassVar[str] = "delete"

    filters: Filter
    max_affected: int | None = None

    def columns(self) -> tuple[str, ...]:
        return filtered_columns(self.filters)

    def capabilities(self) -> Iterator[str]:
        yield "delete"
        yield from _needs(self.filters)


@dataclass(frozen=True, slots=True)
class Require(Count):
    """In a unit of work: as many rows must be selected as its part expects, and stay so until the unit is committed
    if `lock` (which needs the right to UPDATE); the value is how many they are."""

    verb: ClassVar[str] = "require"
    writes: ClassVar[bool] = True  # it is carried out with writes, and never answered by a cache

    lock: bool = True


@dataclass(frozen=True, slots=True)
class Call(_Operation):
    """Call the function named by `table`, which only reads; the value is what it returns."""

    verb: ClassVar[str] = "call"
    right: ClassVar[str] = "call"

    arguments: Record = field(repr=False)

    def columns(self) -> tuple[str, ...]:
        return tuple(self.arguments)

    def capabilities(self) -> Iterator[str]:
        yield "call"


@dataclass(frozen=True, slots=True)
class WritingCall(Call):
    """Call a function that may write."""

    right: ClassVar[str] = "call_write"
    writes: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Part:
    """One operation of a unit of work; `expect` is how many rows it must affect or find, where that is said."""

    operation: Write | BatchWrite | Upsert | Update | Delete | Require
    expect: int | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        """What is written: the records, or the changes."""
        match self.operation:
            case BatchWrite(records=records):
                return records
            case Write(record=record) | Upsert(record=record):
                return (record,)
            case Update(changes=changes):
                return (changes,)
            case _:
                return ()

    @property
    def filters(self) -> Filter | None:
        """Which rows are meant, of those that are there."""
        return self.operation.filters if isinstance(self.operation, (Update, Delete, Count)) else None

    def with_filters(self, filters: Filter) -> Part:
        """The part over other rows."""
        match self.operation:
            case Update() | Delete() | Require():
                return replace(self, operation=replace(self.operation, filters=filters))
            case _:
                return self

    def references(self) -> Iterator[Reference]:
        """What it takes of earlier parts."""
        yield from (value for record in self.records for value in record.values() if isinstance(value, Reference))
        yield from references_in(self.filters)

    def value(self, rows: list[Row], affected: int) -> Any:
        """The value of the operation, whose rows are these."""
        match self.operation:
            case BulkWrite() | Require():
                return affected
            case Write() | Upsert():
                return rows[0]
            case _:
                return rows


@dataclass(frozen=True, slots=True)
class Unit(_Operation):
    """Carry out all parts in order, as one transaction, or none; the value is the list of their values.

    `key` names the unit: under a key that was applied, the value is what it was then, and nothing is applied again.
    Without one nothing is remembered. `table` lists the tables, for messages.
    """

    verb: ClassVar[str] = "unit_of_work"
    right: ClassVar[str] = "write"
    writes: ClassVar[bool] = True

    parts: tuple[Part, ...] = field(repr=False)
    key: str | None = None

    def columns(self) -> tuple[str, ...]:
        return tuple(column for part in self.parts for column in part.operation.columns())

    def capabilities(self) -> Iterator[str]:
        yield "transactions"
        for part in self.parts:
            yield from part.operation.capabilities()


@dataclass(frozen=True, slots=True)
class GetColumns(_Operation):
    """The table's column names in their order, or None where they cannot be known."""

    verb: ClassVar[str] = "get_columns"


Operation: TypeAlias = (
    Write | BatchWrite | BulkWrite | Upsert | Update | Delete | Read | Query | Count | GetColumns | Call | Unit
)


@dataclass(frozen=True, slots=True)
class Result:
    """What came back: the verb's value, how many attempts it took, and the total that a `counted` query asked for."""

    value: Any
    attempts: int = 1
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the rows that a filter selects, and how many it selects in all; None where that is not known."""

    rows: list[Row]
    total: int | None


def filtered_columns(predicate: Filter | None) -> tuple[str, ...]:
    """The columns that a filter compares."""
    return tuple("" if leaf.column is None else leaf.column for leaf in comparisons(predicate))


def _needs(predicate: Filter | None) -> Iterator[str]:
    yield from (leaf.capability for leaf in comparisons(predicate))
    if _nests(predicate):
        yield "logic"


def _nests(predicate: Filter | None) -> bool:
    """Whether the filter is more than comparisons that must all hold."""
    if isinstance(predicate, AllOf):
        return any(isinstance(term, (AllOf, AnyOf, Not)) for term in predicate.terms)
    return isinstance(predicate, (AnyOf, Not))
