"""What a caller gets of a write that waits on disk: what was sent, with a mark that it is not stored yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex, overload

from agent_persistence.exceptions import NotStoredYetError
from agent_persistence.query.records import Row


class Spooled:
    """The mark. `is_spooled(value)` asks for it."""

    __slots__ = ()


class SpooledRow(Spooled, dict[str, Any]):
    """A row as it was sent. `row["column"]` of a column that was not sent raises NotStoredYetError, a KeyError."""

    __slots__ = ()

    def __missing__(self, column: str) -> Any:
        raise NotStoredYetError(column)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict.__repr__(self)})"


class SpooledRows(Spooled, list[Row]):
    """The rows of a batch as they were sent, each a SpooledRow."""

    __slots__ = ()

    def __init__(self, rows: Iterable[Row]) -> None:
        super().__init__(map(SpooledRow, rows))

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Row: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Row]: ...
    def __getitem__(self, index: Any, /) -> Any:
        found = super().__getitem__(index)
        return SpooledRows(found) if isinstance(index, slice) else found


def is_spooled(value: object) -> bool:
    """Whether a row, the rows of a batch, or a model waits on disk, and is not stored yet."""
    return isinstance(value, Spooled)


def marked(value: Any) -> Any:
    """The row or rows with the mark."""
    return SpooledRows(value) if isinstance(value, list) else SpooledRow(value)
