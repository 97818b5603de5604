"""Applies what waits, in its order, when the database is back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio

from agent_persistence.exceptions import (
    AdapterError,
    AuthenticationError,
    FailureState,
    OutcomeUnknownError,
    OverloadedError,
    PersistenceError,
)
from agent_persistence.pipeline.spooling.rules import is_unreachable
from agent_persistence.runtime.background import later
from agent_persistence.runtime.per_loop import PerLoop
from agent_persistence.spool.entry import Entry
from agent_persistence.spool.file import SpooledWrite
from agent_persistence.spool.spool import Spool

AT_ONCE: Final = 32
"""How many are marked as tried, and settled, in one transaction of the file."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
LONGEST_REASON: Final = 500

_logger = logging.getLogger("agent_persistence.spool")


@dataclass(frozen=True, slots=True)
class FlushReport:
    """What a flush did: how many writes it applied and set aside, and how many wait still.

    `stopped_by` says why it ended before all were through, as text without content: the database cannot be reached, or
    another process is applying them.
    """

    applied: int = 0
    refused: int = 0
    waiting: int = 0
    stopped_by: str | None = None


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Here:
    """The background task of one event loop."""

    flushing: anyio.Lock = field(default_factory=anyio.Lock)
    looked: bool = False
    running: bool = False
    asked: bool = False
    """Whether something came since it last looked."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    woken: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)


class Draining:
    """Applies entries by `apply`, one after another, as the only process that does.

    The background task begins with the first call or entry, and ends when nothing waits, when it is closed, or with the
    event loop. Between tries it pauses, from FIRST_PAUSE_S to LONGEST_PAUSE_S seconds, or until a call succeeds.
    """

    def __init__(self, spool: Spool, apply: Callable[[Entry], Awaitable[None]], place: str) -> None:
        self._spool = spool
        self._apply = apply
        self._place = place
        self._here: PerLoop[_Here] = PerLoop(_Here)

    def look_once(self) -> None:
        """Begin, if nobody in this event loop has looked yet whether anything waits."""
        here = self._here.get()
        if not here.looked:
            here.looked = True
            self.wake()

    def wake(self) -> None:
        """Begin, unless it has begun."""
        here = self._here.get()
        here.asked = True
        if not here.running:
            here.running, here.scope, here.ended = True, anyio.CancelScope(), anyio.Event()
            later(0, partial(self._run, here))

    def hurry(self) -> None:
        """End a pause: the database was just reached."""
        self._here.get().woken.set()

    async def aclose(self) -> None:
        """The background task of this event loop has ended."""
        here = self._here.found()
        if here is not None and here.running:
            here.scope.cancel()
            await here.ended.wait()

    async def flush(self) -> FlushReport:
        """Apply what waits, until nothing does or the database cannot be reached; a flush under way ends before."""
        async with self._here.get().flushing, self._spool.turn() as mine:
            applied, refused, stopped_by = await self._drained() if mine else (0, 0, "another process applies them")
        return FlushReport(applied, refused, (await self._spool.status()).waiting, stopped_by)

    async def _run(self, here: _Here) -> None:
        try:
            with here.scope:
                await self._until_empty(here)
        finally:
            here.running = False
            here.ended.set()

    async def _until_empty(self, here: _Here) -> None:
        pause_s = FIRST_PAUSE_S
        while here.asked:
            here.asked, here.woken = False, anyio.Event()
            try:
                report = await self._flushed()
                if not report.waiting:
                    continue
                pause_s = FIRST_PAUSE_S if report.applied or report.refused else pause_s
            except Exception:  # nobody waits for this task: what it raises would be lost, and end trio's loop
                _logger.exception("what waits in the spool could not be applied")
            here.asked = True
            with anyio.move_on_after(pause_s):
                await anyio.sleep(FIRST_PAUSE_S)
                await here.woken.wait()
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _flushed(self) -> FlushReport:
        return await self.flush() if await self._spool.is_waiting() else FlushReport()

    async def _drained(self) -> tuple[int, int, str | None]:
        applied = refused = 0
        while taken := await self._spool.take(AT_ONCE, self._place):
            batch = _Batch(taken)
            try:
                await batch.run(self._apply)
            finally:
                await self._spool.settle(batch.applied, batch.untried, batch.refused)
            applied, refused = applied + len(batch.applied), refused + len(batch.refused)
            if batch.stopped_by is not None:
                return applied, refused, batch.stopped_by
        return applied, refused, None


class _Batch:
    """Writes that were taken together, and what became of them."""

    def __init__(self, taken: list[SpooledWrite]) -> None:
        self._left = taken
        self.applied: list[int] = []
        self.refused: list[tuple[int, str, bool]] = []
        self.stopped_by: str | None = None

    @property
    def untried(self) -> list[int]:
        """Those that are as they were: nothing of them was sent."""
        return [each.id for each in self._left if not each.tried]

    async def run(self, apply: Callable[[Entry], Awaitable[None]]) -> None:
        while self._left and self.stopped_by is None:
            each = self._left.pop(0)
            try:
                await apply(each.entry)
            except PersistenceError as error:
                self._failed(each, error)
            else:
                self.applied.append(each.id)

    def _failed(self, each: SpooledWrite, error: PersistenceError) -> None:
        if not _passes(error):
            self.refused.append((each.id, _reason(error), _in_doubt(error)))
            return
        self.stopped_by = _reason(error)
        if not _in_doubt(error):
            self._left.insert(0, each)


def _passes(error: PersistenceError) -> bool:
    """Whether the same write may be applied later, without anybody's doing, or when credentials are right again."""
    if isinstance(error, OutcomeUnknownError):
        return is_unreachable(error)
    return isinstance(error, AdapterError) and (
        error.may_be_retried or isinstance(error, (AuthenticationError, OverloadedError))
    )


def _in_doubt(error: PersistenceError) -> bool:
    """Whether it may be applied all the same."""
    return isinstance(error, AdapterError) and error.state in (FailureState.AMBIGUOUS, FailureState.APPLIED)


def _reason(error: PersistenceError) -> str:
    return f"{type(error).__name__}: {error}"[:LONGEST_REASON]
