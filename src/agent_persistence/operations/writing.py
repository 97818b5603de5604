"""The operations that change rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import ClassVar, Self

from agent_persistence.operations.base import BaseOperation, Shape, filtered_columns, needed_by
from agent_persistence.operations.scope import Scope
from agent_persistence.query.computed import Computed, computed_in
from agent_persistence.query.predicates import Filter
from agent_persistence.query.records import Record, distinct


@dataclass(frozen=True, slots=True)
class _Writing(BaseOperation):
    right: ClassVar[str] = "write"
    writes: ClassVar[bool] = True

    returning: tuple[str, ...] | None = field(default=None, kw_only=True, repr=False)
    """The columns of the stored rows to ask for, for which they must be readable; None is all of them."""
    referred: tuple[str, ...] = field(default=(), kw_only=True, repr=False)
    """As `referred_columns` says it; as good as read."""

    @property
    def referred_columns(self) -> tuple[str, ...]:
        return self.referred

    def telling_columns(self) -> Iterable[str]:
        return self.referred

    @property
    def asked_columns(self) -> tuple[str, ...] | None:
        return self.returning

    def asking_for(self, columns: tuple[str, ...]) -> Self:
        return replace(self, returning=columns)

    def asking_also_for(self, column: str) -> Self:
        return replace(self, returning=(*(self.returning or ()), column))


@dataclass(frozen=True, slots=True)
class _Inserting(_Writing):
    generated_key: str | None = field(default=None, kw_only=True, repr=False)
    """As `own_key` says it."""
    resent: bool = field(default=False, kw_only=True, repr=False)
    """As `was_sent` says it."""
    ignoring: tuple[str, ...] | None = field(default=None, kw_only=True, repr=False)
    """A key by which a record that a stored row has the values of is ignored: it has None in its place in the value,
    and is not in the number of a bulk write. Of a merge it means nothing. None: it is an error."""

    @property
    def was_sent(self) -> bool:
        return self.resent

    def columns_read(self) -> Iterable[str]:
        return (*self.referred, *(self.ignoring or ()))

    @property
    def own_key(self) -> str | None:
        return self.generated_key

    @property
    def found_by(self) -> tuple[str, ...] | None:
        return self.merges_by if self.ignoring is None else self.ignoring


@dataclass(frozen=True, slots=True)
class _OneRow(_Inserting):
    returns: ClassVar[Shape] = "row"

    record: Record = field(repr=False)

    @property
    def inserted(self) -> tuple[Record, ...]:
        return (self.record,)

    def capabilities(self) -> Iterator[str]:
        if self.ignoring is not None:
            yield "ignore_duplicates"

    def given(self) -> Iterator[tuple[str, Record]]:
        yield "record", self.record

    def with_records(self, change: Callable[[Record], Record]) -> Self:
        return replace(self, record=change(self.record))


@dataclass(frozen=True, slots=True)
class Write(_OneRow):
    """Insert one row; the value of the result is that row."""

    verb: ClassVar[str] = "write"

    def columns(self) -> tuple[str, ...]:
        return (*self.record, *(self.ignoring or ()), *self.referred)

    def columns_written(self) -> Iterable[str]:
        return self.record

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> Write:
        record = scope.completed(self.table, self.record)
        return replace(self, record=record, ignoring=_within(scope, self.table, self.ignoring))


@dataclass(frozen=True, slots=True)
class Upsert(_OneRow):
    """Insert one row, or merge it into the one it conflicts with; the value is that row."""

    verb: ClassVar[str] = "upsert"

    on_conflict: tuple[str, ...] = ()

    @property
    def merges_by(self) -> tuple[str, ...] | None:
        return None if self.generated_key else self.on_conflict

    def columns(self) -> tuple[str, ...]:
        return (*self.record, *self.on_conflict, *self.referred)

    def columns_written(self) -> Iterable[str]:
        return (*self.record, *self.on_conflict)

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> Upsert:
        record = scope.completed(self.table, self.record)
        if self.generated_key:
            return replace(self, record=record)
        return replace(self, record=record, on_conflict=scope.merging(self.table, self.on_conflict or primary_key))


@dataclass(frozen=True, slots=True)
class BatchWrite(_Inserting):
    """Insert all rows or none; the value is the rows in the order given."""

    verb: ClassVar[str] = "batch_write"
    returns: ClassVar[Shape] = "rows"

    records: tuple[Record, ...] = field(repr=False)

    @property
    def inserted(self) -> tuple[Record, ...]:
        return self.records

    def given(self) -> Iterator[tuple[str, Record]]:
        return ((f"records[{index}]", record) for index, record in enumerate(self.records))

    def with_records(self, change: Callable[[Record], Record]) -> Self:
        return replace(self, records=tuple(map(change, self.records)))

    def columns(self) -> tuple[str, ...]:
        return (*self.columns_written(), *(self.ignoring or ()), *self.referred)

    def columns_written(self) -> Iterable[str]:
        return chain.from_iterable(self.records)

    def capabilities(self) -> Iterator[str]:
        if self.ignoring is not None:
            yield "ignore_duplicates"

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> Self:
        completed = self.with_records(lambda record: scope.completed(self.table, record))
        return replace(completed, ignoring=_within(scope, self.table, self.ignoring))


@dataclass(frozen=True, slots=True)
class BulkWrite(BatchWrite):
    """Insert or merge all rows or none, and read nothing back; the value is how many they are."""

    verb: ClassVar[str] = "bulk_write"
    returns: ClassVar[Shape] = "count"

    on_conflict: tuple[str, ...] | None = None
    """As in Upsert; None inserts."""

    @property
    def merges_by(self) -> tuple[str, ...] | None:
        return self.on_conflict

    def columns(self) -> tuple[str, ...]:
        """Each name once: a chunk of an import has tens of thousands of them."""
        return (*distinct(chain.from_iterable(self.records)), *(self.on_conflict or self.ignoring or ()))

    def columns_written(self) -> Iterable[str]:
        return (*distinct(chain.from_iterable(self.records)), *(self.on_conflict or ()))

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> BulkWrite:
        completed = self.with_records(lambda record: scope.completed(self.table, record))
        if self.on_conflict is None:
            return replace(completed, ignoring=_within(scope, self.table, self.ignoring))
        return replace(completed, on_conflict=scope.merging(self.table, self.on_conflict or primary_key))

    def capabilities(self) -> Iterator[str]:
        yield "bulk" if self.ignoring is None else "ignore_duplicates"


@dataclass(frozen=True, slots=True)
class WriteNew(BatchWrite):
    """Insert the rows whose values in `key` no stored row has, all of these or none; the value is the rows stored.

    They are in the order given. It is what a back end is asked to do for a write that ignores duplicates; see
    `pipeline.duplicates`, which finds out whose row each one is.
    """

    key: tuple[str, ...]

    @property
    def own_key(self) -> str | None:
        """None: that one of the keys made here exists says nothing of the other rows."""
        return None

    @property
    def found_by(self) -> tuple[str, ...]:
        return self.key

    def columns(self) -> tuple[str, ...]:
        return (*distinct(chain.from_iterable(self.records)), *self.key)

    def columns_read(self) -> Iterable[str]:
        return self.key

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> WriteNew:
        completed = self.with_records(lambda record: scope.completed(self.table, record))
        return replace(completed, key=scope.merging(self.table, self.key))

    def capabilities(self) -> Iterator[str]:
        yield "ignore_duplicates"


@dataclass(frozen=True, slots=True)
class UpsertMany(BatchWrite):
    """Insert all rows or none, each merged into the one it conflicts with; the value is the rows in the order given."""

    verb: ClassVar[str] = "upsert_many"

    on_conflict: tuple[str, ...] = ()

    @property
    def merges_by(self) -> tuple[str, ...] | None:
        return None if self.generated_key else self.on_conflict

    def columns(self) -> tuple[str, ...]:
        return (*distinct(chain.from_iterable(self.records)), *self.on_conflict, *self.referred)

    def columns_written(self) -> Iterable[str]:
        return (*distinct(chain.from_iterable(self.records)), *self.on_conflict)

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> UpsertMany:
        completed = self.with_records(lambda record: scope.completed(self.table, record))
        if self.generated_key:
            return completed
        return replace(completed, on_conflict=scope.merging(self.table, self.on_conflict or primary_key))

    def capabilities(self) -> Iterator[str]:
        yield "upsert_many"


@dataclass(frozen=True, slots=True)
class Update(_Writing):
    """Set `changes` in the rows that `filters` selects, in all of them or none; the value is those rows.

    More than `max_affected` of them is an error and changes nothing.
    """

    verb: ClassVar[str] = "update"
    returns: ClassVar[Shape] = "rows"

    changes: Record = field(repr=False)
    filters: Filter
    max_affected: int | None = None

    @property
    def filter(self) -> Filter:
        return self.filters

    def given(self) -> Iterator[tuple[str, Record]]:
        yield "changes", self.changes

    def with_records(self, change: Callable[[Record], Record]) -> Self:
        return replace(self, changes=change(self.changes))

    @property
    def computed(self) -> dict[str, Computed]:
        """The changes that the database computes of the values that are there; as good as read."""
        return computed_in(self.changes)

    def columns(self) -> tuple[str, ...]:
        return (*self.changes, *filtered_columns(self.filters), *self.referred)

    def columns_read(self) -> Iterable[str]:
        return (*filtered_columns(self.filters), *self.referred, *self.computed)

    def telling_columns(self) -> Iterable[str]:
        return (*self.referred, *self.computed)

    def columns_written(self) -> Iterable[str]:
        return self.changes

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> Update:
        scope.check(self.table, self.changes)
        return replace(self, filters=scope.both(self.filters))

    def capabilities(self) -> Iterator[str]:
        yield "update"
        if self.computed:
            yield "computed"
        yield from needed_by(self.filters)


@dataclass(frozen=True, slots=True)
class Delete(_Writing):
    """Delete the rows that `filters` selects, all of them or none; the value is those rows.

    More than `max_affected` of them is an error and deletes nothing.
    """

    verb: ClassVar[str] = "delete"
    right: ClassVar[str] = "delete"
    returns: ClassVar[Shape] = "rows"

    filters: Filter
    max_affected: int | None = None

    @property
    def filter(self) -> Filter:
        return self.filters

    def columns(self) -> tuple[str, ...]:
        return (*filtered_columns(self.filters), *self.referred)

    def columns_read(self) -> Iterable[str]:
        return (*filtered_columns(self.filters), *self.referred)

    def restricted(self, scope: Scope, primary_key: tuple[str, ...]) -> Delete:
        return replace(self, filters=scope.both(self.filters))

    def capabilities(self) -> Iterator[str]:
        yield "delete"
        yield from needed_by(self.filters)


def _within(scope: Scope, table: str, key: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The key, so that no row outside of the scope has it."""
    return None if key is None else scope.merging(table, key)
