"""The operations of a unit of work as their results are asked for, before and after it is committed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agent_persistence.exceptions import NotStoredYetError, ValidationError
from agent_persistence.operations.spooled import marked

if TYPE_CHECKING:
    from agent_persistence.client.unit_of_work import UnitOfWork

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Handle(Generic[T_co]):
    """One operation of a unit, by which its result is found."""

    __slots__ = ("_index", "_result", "_unit")

    def __init__(self, unit: UnitOfWork, index: int, result: Callable[[Any], T_co]) -> None:
        self._unit = unit
        self._index = index
        self._result = result


class RowHandle(Handle[T_co]):
    """The row that an operation will have. `handle["id"]` stands in later records and filters of the same unit for a
    value that only the database knows yet; the policy must let the column be read."""

    __slots__ = ("_row",)

    def __init__(self, unit: UnitOfWork, index: int, result: Callable[[Any], T_co], row: int = 0) -> None:
        super().__init__(unit, index, result)
        self._row = row

    def __getitem__(self, column: str) -> Any:
        """The column's value: that of a key that was made here, or a reference to what the database will return."""
        return self._unit._value_of(self._index, self._row, column)


class BatchHandle(Handle[T_co]):
    """The rows of a batch: `handle[0]["id"]` is a column of the first."""

    __slots__ = ("_size",)

    def __init__(self, unit: UnitOfWork, index: int, result: Callable[[Any], T_co], size: int) -> None:
        super().__init__(unit, index, result)
        self._size = size

    def __getitem__(self, row: int) -> RowHandle[Any]:
        if type(row) is not int or not 0 <= row < self._size:
            raise ValidationError("the batch", f"a row of it has a number from 0 to {self._size - 1}, such as batch[0]")
        return RowHandle(self._unit, self._index, lambda value: value[row], row)


@dataclass(frozen=True, slots=True)
class UnitResults:
    """What became of each operation: `results[handle]` is what the verb returns by itself.

    NotStoredYetError for what an update, a deletion, a call or a check came to in a unit that waits on disk (see
    `Spool`).
    """

    values: tuple[Any, ...]
    attempts: int
    """How often the unit was sent."""
    _unit: UnitOfWork
    spooled: bool = False
    """Whether the unit waits on disk: what it inserts is then as it was sent, and of the rest nothing is known."""

    def __getitem__(self, handle: Handle[T]) -> T:
        if handle._unit is not self._unit:
            raise ValidationError("results", "the results of a unit of work are found by its own handles")
        return handle._result(self._known(handle._index))

    def _known(self, index: int) -> Any:
        if not self.spooled:
            return self.values[index]
        if not self._unit._parts[index].operation.inserted:
            raise NotStoredYetError
        return marked(self.values[index])
