"""Whose row is whose, where the database stored fewer rows than were sent together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_persistence.exceptions import FailureState, OutcomeUnknownError, PersistenceError, RowsDroppedError
from agent_persistence.operations import Result, Write
from agent_persistence.query.records import Row

_UNKNOWN: Final = "stored fewer rows than were sent together, and nothing tells which"


def own_rows(stored: int, rows: Sequence[Row], writes: Sequence[Write]) -> list[Result | PersistenceError]:
    """Each caller's row, known by the key that was made for it, or the error that it was dropped.

    Where rows were stored and not all of them name their key, nobody can know what became of his.
    """
    key = writes[0].generated_key or ""
    by_key = {str(row[key]): row for row in rows if row.get(key) is not None}
    is_known = len(by_key) == stored
    return [_own(by_key.get(str(write.record.get(key))), write, is_known=is_known) for write in writes]


def _own(row: Row | None, write: Write, *, is_known: bool) -> Result | PersistenceError:
    if row is not None:
        return Result(row)
    if is_known:
        return RowsDroppedError(write.verb, write.table, sent=1, stored=0)
    return OutcomeUnknownError(
        f"{write.verb} on {write.table} may have been applied: the database {_UNKNOWN}",
        key=write.record.get(write.generated_key or ""),
        state=FailureState.AMBIGUOUS,
    )
