"""A chunk into the table: whole, or where the database refuses it, without the rows that are to blame."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio.to_thread

from agent_persistence.bulk.chunks import Chunk
from agent_persistence.bulk.journal import Ledger
from agent_persistence.bulk.refusals import is_about_rows, is_open, reason
from agent_persistence.bulk.values import Reject
from agent_persistence.exceptions import OutcomeUnknownError, PersistenceError
from agent_persistence.query.records import NULL, Record


@dataclass(frozen=True, slots=True)
class StoredRows:
    """How many rows one write has stored, and how many it has ignored as duplicates; of others a trigger or rule of the
    database stored nothing."""

    rows: int
    ignored: int = 0


class BatchWriter(Protocol):
    """`writing.stored_rows` of a target, or what stands in for it."""

    def __call__(
        self,
        table: str,
        records: Sequence[Record],
        on_conflict: Sequence[str] | None = None,
        *,
        generated_key: str | None = None,
        resent: bool = False,
    ) -> Awaitable[StoredRows]: ...


@dataclass(slots=True)
class Outcome:
    """What became of a chunk: the rows that are in, those that are not, and the error that ended it, if one did.

    The database stored nothing for `skipped` rows, which it took, and for those `ignored`, whose key is taken.
    """

    chunk: Chunk
    rows: int = 0
    skipped: int = 0
    ignored: int = 0
    rejects: list[Reject] = field(default_factory=list)
    lines: list[tuple[int, int]] = field(default_factory=list)
    unknown_lines: list[tuple[int, int]] = field(default_factory=list)
    error: Exception | None = None
    is_sent: bool = True


class TooManyRejectsError(Exception):
    """More rows are rejected than the caller puts up with."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Writes chunks. A part that is refused for what its rows hold is written in halves, down to the single row.

    That is at most twice as many requests as the chunk has rows. `most_rejects` ends a chunk that has more; 0 ends it
    at the first one, when all rows before it are in. Rows that have their values in `on_conflict` are merged, or, if it
    `ignores` duplicates, left as they are.
    """

    table: str
    write: BatchWriter
    on_conflict: tuple[str, ...] | None
    key_column: str | None
    journal: Ledger
    most_rejects: float
    ignores: bool = False

    async def send(self, chunk: Chunk) -> Outcome:
        outcome = Outcome(chunk)
        try:
            await self._part(outcome, 0, len(chunk.records), chunk.resent)
        except TooManyRejectsError:
            pass
        except Exception as error:  # of a middleware of the caller's, too
            outcome.error = error
        else:
            first, last = chunk.lines
            last -= self.most_rejects == 0 and bool(chunk.rejects)
            outcome.lines = [(first, last)] if first <= last else []
        rejects = sorted([*outcome.rejects, *chunk.rejects], key=lambda reject: reject.line)
        outcome.rejects = rejects if self.most_rejects else rejects[:1]
        chunk.records, chunk.begins, chunk.raws = [], [], []
        return outcome

    async def _part(self, outcome: Outcome, start: int, stop: int, resent: bool) -> None:
        chunk, count = outcome.chunk, stop - start
        part = (chunk.first, start, stop)
        if not count:
            return None
        if part not in self.journal.done.refused:
            try:
                skipped, ignored = await self._write(chunk, chunk.records[start:stop], resent)
            except PersistenceError as error:
                if isinstance(error, OutcomeUnknownError):
                    outcome.unknown_lines.append((chunk.begins[start], chunk.begins[stop - 1]))
                if not is_about_rows(error, count):
                    raise
                resent = resent or is_open(error)
                if count == 1:
                    return self._reject(outcome, start, error)
                await anyio.to_thread.run_sync(self.journal.refuse, part)
            else:
                outcome.rows += count - skipped - ignored
                outcome.skipped += skipped
                outcome.ignored += ignored
                outcome.lines.append((chunk.begins[start], chunk.begins[stop - 1]))
                return None
        middle = (start + stop) // 2
        await self._part(outcome, start, middle, resent)
        return await self._part(outcome, middle, stop, resent)

    async def _write(self, chunk: Chunk, records: list[dict[str, Any]], resent: bool) -> tuple[int, int]:
        """Write the records; how many of them the database did not store, and how many were ignored."""
        if self.on_conflict is not None and not self.ignores:
            records = merged(records, self.on_conflict)
        made = self.key_column if chunk.has_made_keys else None
        stored = await self.write(self.table, records, self.on_conflict, generated_key=made, resent=resent)
        return len(records) - stored.rows - stored.ignored, stored.ignored

    def _reject(self, outcome: Outcome, place: int, error: PersistenceError) -> None:
        line, raw = outcome.chunk.begins[place], outcome.chunk.raws[place]
        outcome.rejects.append(Reject(line, reason(error, self.table), _column(error), raw))
        if len(outcome.rejects) > self.most_rejects:
            raise TooManyRejectsError


def _column(error: PersistenceError) -> str | None:
    column: Any = getattr(error, "column", None)
    return column if isinstance(column, str) else None


def merged(records: Sequence[dict[str, Any]], on_conflict: Sequence[str]) -> list[dict[str, Any]]:
    """The records with one for each key: what merging them one after the other would leave, in one statement."""
    by_key: dict[Any, dict[str, Any]] = {}
    for record in records:
        key = key_of(record, on_conflict)
        earlier = by_key.get(key)
        by_key[key] = record if earlier is None else {**earlier, **record}
    return list(by_key.values())


def key_of(record: Record, on_conflict: Sequence[str]) -> tuple[object, ...]:
    """The values by which the record is merged, so that equal ones are found; NULL equals nothing, not even itself."""
    values = [record.get(column) for column in on_conflict]
    if any(value is None or value is NULL for value in values):
        return (id(record),)
    return tuple(value if isinstance(value, (str, int, float)) else repr(value) for value in values)
