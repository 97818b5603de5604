"""The writing verbs of a unit of work over one table, with models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic

from agent_persistence.client.handles import BatchHandle, Handle, RowHandle
from agent_persistence.client.typed import Model, TypedTable
from agent_persistence.query.filters import Filters
from agent_persistence.query.records import Record, Row

if TYPE_CHECKING:
    from agent_persistence.client.unit_of_work import UnitOfWork


class UnitTable(Generic[Model]):
    """The writing verbs of a unit over one table: they take models or mappings, and results are models."""

    __slots__ = ("_table", "_unit")

    def __init__(self, unit: UnitOfWork, table: TypedTable[Model]) -> None:
        self._unit = unit
        self._table = table

    def write(self, record: Model | Record) -> RowHandle[Model]:
        """Insert one row; its result is the row as stored."""
        return self._of_one(self._unit.write(self._table.name, record))

    def batch_write(self, records: Sequence[Model | Record]) -> BatchHandle[list[Model]]:
        """Insert all rows; the result is the rows in the order given."""
        handle = self._unit.batch_write(self._table.name, records)
        return BatchHandle(self._unit, handle._index, self._several, handle._size)

    def upsert(self, record: Model | Record, on_conflict: Sequence[str] | None = None) -> RowHandle[Model]:
        """Insert the row, or merge it into the one with the same values in `on_conflict`; the result is that row."""
        return self._of_one(self._unit.upsert(self._table.name, record, on_conflict))

    def upsert_many(
        self, records: Sequence[Model | Record], on_conflict: Sequence[str] | None = None
    ) -> BatchHandle[list[Model]]:
        """Insert all rows, each merged into the one with the same values in `on_conflict`; the result is these rows."""
        handle = self._unit.upsert_many(self._table.name, records, on_conflict)
        return BatchHandle(self._unit, handle._index, self._several, handle._size)

    def update(self, changes: Record, filters: Filters, *, expect: int | None = None) -> RowHandle[list[Model]]:
        """Set the columns of `changes` in the rows that `filters` selects; the result is these rows."""
        handle = self._unit.update(self._table.name, changes, filters, expect=expect)
        return RowHandle(self._unit, handle._index, self._several)

    def delete(self, filters: Filters, *, expect: int | None = None) -> RowHandle[list[Model]]:
        """Delete the rows that `filters` selects; the result is these rows."""
        handle = self._unit.delete(self._table.name, filters, expect=expect)
        return RowHandle(self._unit, handle._index, self._several)

    def require(self, filters: Filters, *, expect: int | None = None, lock: bool = True) -> Handle[int]:
        """Go on only if `filters` selects `expect` rows, at least one by default; the result is how many."""
        return self._unit.require(self._table.name, filters, expect=expect, lock=lock)

    def _of_one(self, handle: RowHandle[Row]) -> RowHandle[Model]:
        return RowHandle(self._unit, handle._index, self._table._as_stored)

    def _several(self, rows: list[Row]) -> list[Model]:
        return [self._table._as_stored(row) for row in rows]
