"""The run of an import: chunks are sent a few at a time, and entered in the journal in the order of the source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any, Final

import anyio

from agent_persistence.bulk.chunks import Chunk
from agent_persistence.bulk.journal import Ledger
from agent_persistence.bulk.pace import Pace
from agent_persistence.bulk.rejecting import Sink
from agent_persistence.bulk.sending import Outcome, Sender, key_of
from agent_persistence.bulk.values import ImportReport, Ranges, Reject

AHEAD: Final = 64
"""How many chunks may be in before an earlier one is entered."""


class Run:
    """One run of an import. After `over`, `failure` is what ended it early, and `stopped_by` the row that did, if one.

    Chunks that hold rows of one key, by which rows are merged or ignored, are written one after the other in the order
    of the source; nothing is promised about the order of others.
    """

    def __init__(
        self,
        sender: Sender,
        journal: Ledger,
        sink: Sink | None,
        pace: Pace,
        *,
        concurrency: int,
        max_rejects: float,
    ) -> None:
        self._sender = sender
        self._journal = journal
        self._sink = sink
        self._pace = pace
        self._max_rejects = max_rejects
        self._slots = anyio.Semaphore(concurrency)
        self._ahead = anyio.Semaphore(AHEAD)
        self._entering = anyio.Lock()
        self._under_way: dict[int, tuple[frozenset[object], anyio.Event]] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._is_stopping = False
        self._is_broken = False
        self._lines: Ranges = ()
        self._unknown_lines: Ranges = ()
        self._first_reject: Reject | None = None
        self._last_reject: Reject | None = None
        self._skipped = self._ignored = 0
        self.failure: Exception | None = None
        self.stopped_by: Reject | None = None
        self.chunks = 0

    async def over(self, chunks: AsyncIterator[Chunk]) -> None:
        """Write the chunks until the source ends or something fails; those that were begun are brought to their end."""
        unreadable: Exception | None = None
        async with anyio.create_task_group() as group:
            try:
                async for chunk in chunks:
                    await self._slots.acquire()
                    await self._ahead.acquire()
                    if self._is_stopping:
                        break
                    group.start_soon(self._carry, chunk, *self._registered(chunk))
            except Exception as error:  # what the source raises, which may be an iterable of the caller's
                unreadable = error
        self.failure = self.failure or unreadable
        if self.failure is None and self.stopped_by is None:
            self._journal.end()

    def _registered(self, chunk: Chunk) -> tuple[list[anyio.Event], anyio.Event]:
        """What is to be waited for before the chunk is sent: earlier ones that hold a row of the same key."""
        ended = anyio.Event()
        if self._sender.on_conflict is None:
            return [], ended
        keys = frozenset(key_of(record, self._sender.on_conflict) for record in chunk.records)
        earlier = [event for held, event in self._under_way.values() if not held.isdisjoint(keys)]
        self._under_way[chunk.index] = keys, ended
        return earlier, ended

    async def _carry(self, chunk: Chunk, earlier: list[anyio.Event], ended: anyio.Event) -> None:
        try:
            for event in earlier:
                await event.wait()
            outcome = Outcome(chunk, is_sent=False) if self._is_stopping else await self._sender.send(chunk)
        finally:
            self._under_way.pop(chunk.index, None)
            ended.set()
            self._slots.release()
        self._is_stopping = self._is_stopping or outcome.error is not None or self._has_too_many(outcome)
        self._pace.rows_read += chunk.end - chunk.first
        self._pace.rows_written += outcome.rows
        await self._enter_all(outcome)

    def _has_too_many(self, outcome: Outcome) -> bool:
        return self._pace.rejected + len(outcome.rejects) > self._max_rejects

    async def _enter_all(self, outcome: Outcome) -> None:
        """Enter the outcomes that are next in the order of the source."""
        self._outcomes[outcome.chunk.index] = outcome
        async with self._entering:
            while (due := self._outcomes.pop(self.chunks, None)) is not None:
                self.chunks += 1
                try:
                    await self._enter(due)
                    self._pace.step()
                except Exception as error:  # what the disk raises, or a function of the caller's
                    self._fail(error)
                self._ahead.release()

    async def _enter(self, outcome: Outcome) -> None:
        chunk, rejects = outcome.chunk, outcome.rejects
        self._lines = _joined([*self._lines, *outcome.lines])
        self._unknown_lines = _joined([*self._unknown_lines, *outcome.unknown_lines])
        if rejects:
            self._first_reject = self._first_reject or replace(rejects[0], record="")
            self._last_reject = replace(rejects[-1], record="")
        self._pace.rejected += len(rejects)
        self._skipped += outcome.skipped
        self._ignored += outcome.ignored
        if self._sink is not None:
            await self._sink.put(rejects)
        if outcome.error is not None or not outcome.is_sent:
            self._fail(outcome.error)
        elif self._pace.rejected > self._max_rejects:
            self._fail(None, rejects[-1])
        elif not self._is_broken:
            size = 0 if self._sink is None else self._sink.size
            self._journal.finish(
                chunk.first,
                chunk.end,
                rows=outcome.rows,
                rejected=len(rejects),
                skipped=outcome.skipped,
                ignored=outcome.ignored,
                rejects_bytes=size,
            )

    def _fail(self, error: Exception | None, reject: Reject | None = None) -> None:
        """From here on nothing is entered in the journal, so that the next run begins here."""
        self._is_stopping = self._is_broken = True
        if self.failure is None and self.stopped_by is None:
            self.failure, self.stopped_by = error, reject

    def report(self, table: str, **about: Any) -> ImportReport:
        """How it ended, of earlier runs too."""
        done = self._journal.done
        return ImportReport(
            table,
            rows=done.rows + self._pace.rows_written,
            rejected=done.rejected + self._pace.rejected,
            chunks=self.chunks,
            seconds=self._pace.seconds,
            bytes_read=self._pace.bytes_read,
            lines=self._lines,
            unknown_lines=self._unknown_lines,
            first_reject=self._first_reject,
            last_reject=self._last_reject,
            resumed_rows=done.rows,
            skipped_by_database=done.skipped + self._skipped,
            ignored=done.ignored + self._ignored,
            **about,
        )


def _joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The ranges in ascending order, neighbours as one."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)
