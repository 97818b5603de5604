"""Admission to the connections of one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from agent_persistence.attempts import waiting_in_line
from agent_persistence.exceptions import AdapterError, FailureState, OverloadedError

MAX_WAITING: Final = 10_000
MARGIN_S: Final = 0.02
"""By so much a request gives up waiting before its deadline: in time to say that it was never sent."""


class Slots:
    """At most `total` requests at once; of reads alone, or of writes alone, at most three quarters of that.

    Neither can then keep the other waiting. Within its kind, who came first goes first.
    """

    def __init__(self, total: int) -> None:
        kind = max(1, total - max(1, total // 4))
        self._total = total
        self._all = anyio.Semaphore(total, fast_acquire=True)
        self._reads = anyio.Semaphore(kind, fast_acquire=True)
        self._writes = anyio.Semaphore(kind, fast_acquire=True)

    @asynccontextmanager
    async def taken(self, *, writing: bool) -> AsyncIterator[None]:
        """Hold a slot. Too many that wait are an OverloadedError, waiting until the deadline is "not_sent"."""
        kind = self._writes if writing else self._reads
        await self._take(kind)
        try:
            await self._take(self._all)
            try:
                yield
            finally:
                self._all.release()
        finally:
            kind.release()

    async def _take(self, semaphore: anyio.Semaphore) -> None:
        try:
            semaphore.acquire_nowait()
        except anyio.WouldBlock:
            await self._wait(semaphore)

    async def _wait(self, semaphore: anyio.Semaphore) -> None:
        if self.waiting >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} calls are waiting for a connection already")
        with waiting_in_line(), anyio.CancelScope(deadline=anyio.current_effective_deadline() - MARGIN_S):
            await semaphore.acquire()
            return
        raise AdapterError("no connection became free in time; nothing was sent", state=FailureState.NOT_SENT)

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot."""
        return sum(each.statistics().tasks_waiting for each in (self._all, self._reads, self._writes))

    async def drained(self, within_s: float) -> bool:
        """Wait until nobody holds a slot, for `within_s` seconds at most; whether it came to that."""
        held = 0
        try:
            with anyio.move_on_after(within_s):
                while held < self._total:
                    await self._all.acquire()
                    held += 1
        finally:
            for _ in range(held):
                self._all.release()
        return held == self._total
