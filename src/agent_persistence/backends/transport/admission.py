"""Admission to the connections of one event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from agent_persistence.exceptions import OverloadedError
from agent_persistence.runtime.attempts import waiting_in_line
from agent_persistence.runtime.event_loop import gate

MAX_WAITING: Final = 10_000


class _Emptying:
    """What some are within, who can be waited for."""

    _emptied: anyio.Event | None = None

    @property
    def under_way(self) -> int:
        """How many are within."""
        raise NotImplementedError

    async def drained(self, within_s: float) -> bool:
        """Wait until nobody is within, for `within_s` seconds at most; whether it came to that."""
        with anyio.move_on_after(within_s):
            while self.under_way:
                self._emptied = anyio.Event()
                await self._emptied.wait()
        return not self.under_way

    def _wake(self) -> None:
        """Wake those who wait, if nobody is within any more."""
        if self._emptied is not None and not self.under_way:
            self._emptied.set()


class UnderWay(_Emptying):
    """Counts who is within, in one event loop, and keeps nobody out."""

    def __init__(self) -> None:
        self._within = 0

    def __enter__(self) -> None:
        self._within += 1

    def __exit__(self, *_: object) -> None:
        self._within -= 1
        self._wake()

    @property
    def under_way(self) -> int:
        return self._within


class Slots(_Emptying):
    """At most `total` requests at once; of reads alone, or of writes alone, at most four fifths of that.

    Neither can then keep the other waiting. Who came first goes first, but for a kind that has its four fifths.
    """

    def __init__(self, total: int) -> None:
        kind = max(1, total - max(1, total // 5))
        self._total = total
        self._free = total
        self._reads = _Line(kind)
        self._writes = _Line(kind)
        self._came = 0

    @asynccontextmanager
    async def taken(self, *, writing: bool) -> AsyncIterator[None]:
        """Hold a slot, as `take` gives it."""
        await self.take(writing=writing)
        try:
            yield
        finally:
            self.release(writing=writing)

    async def take(self, *, writing: bool) -> None:
        """Take a slot, which must be released. Too many that wait are an OverloadedError.

        A call whose deadline passes while it waits learns so from its attempt: nothing was sent.
        """
        if not self.take_free(writing=writing):
            await self._wait(self._writes if writing else self._reads)

    def take_free(self, *, writing: bool) -> bool:
        """Take a slot if nobody need wait for one; whether it was taken."""
        line = self._writes if writing else self._reads
        if line.length or not (line.free and self._free):
            return False
        self._free -= 1
        line.free -= 1
        return True

    def release(self, *, writing: bool) -> None:
        self._return(self._writes if writing else self._reads)

    def _return(self, line: _Line) -> None:
        self._free += 1
        line.free += 1
        if self._reads.length or self._writes.length:
            self._admit()
        self._wake()

    def _admit(self) -> None:
        """Give what is free to those who wait."""
        while self._free and (line := self._next_line()) is not None:
            self._free -= 1
            line.free -= 1
            line.leave().admit()

    def _next_line(self) -> _Line | None:
        """The line whose first has waited longest, of those whose kind has a slot left."""
        reads, writes = self._reads, self._writes
        if not (reads.length and reads.free):
            return writes if writes.length and writes.free else None
        if not (writes.length and writes.free):
            return reads
        return min(reads, writes, key=_came)

    async def _wait(self, line: _Line) -> None:
        if self.waiting >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} calls are waiting for a connection already")
        self._came += 1
        waiter = _Waiter(self._came)
        line.join(waiter)
        try:
            with waiting_in_line():
                await waiter.gate.wait()
        except BaseException:
            if waiter.is_admitted:
                self._return(line)
            else:
                line.drop(waiter)
            raise

    @property
    def under_way(self) -> int:
        """How many requests hold a slot; while there is none, nobody waits for one."""
        return self._total - self._free

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot."""
        return self._reads.length + self._writes.length


class _Waiter:
    __slots__ = ("came", "gate", "gone", "is_admitted")

    def __init__(self, came: int) -> None:
        self.came = came
        self.gate = gate()
        self.is_admitted = False
        self.gone = False

    def admit(self) -> None:
        """Let it in; if it has just given up, it gives the slot back."""
        self.is_admitted = True
        self.gate.set()


class _Line:
    """Those of one kind that wait; `free` slots of the kind are left."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.length = 0
        self._waiters: deque[_Waiter] = deque()

    def join(self, waiter: _Waiter) -> None:
        self._waiters.append(waiter)
        self.length += 1

    def drop(self, waiter: _Waiter) -> None:
        """Forget one that has given up; it is taken out when its turn comes."""
        waiter.gone = True
        self.length -= 1

    def first(self) -> _Waiter:
        while self._waiters[0].gone:
            self._waiters.popleft()
        return self._waiters[0]

    def leave(self) -> _Waiter:
        """The first, who waits no longer."""
        first = self.first()
        self._waiters.popleft()
        self.length -= 1
        return first


def _came(line: _Line) -> int:
    return line.first().came
