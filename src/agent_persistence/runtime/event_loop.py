"""Which event loop runs, what time it is on it, and waiting for one event: anyio's own functions search for the loop's
library at every call, which takes a microsecond."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Protocol
from weakref import ref

import anyio


def asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of asyncio that runs the task which asks; None under trio, be it as a guest of asyncio's loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # there is none in this thread
        return None
    return None if asyncio.current_task(loop) is None else loop


def current_time() -> float:
    """The time in seconds on the running event loop's clock: anyio.current_time."""
    loop = asyncio_loop()
    return anyio.current_time() if loop is None else loop.time()


def clock() -> Callable[[], float]:
    """What tells the time on the running event loop's clock, for as long as the loop runs; it does not keep it."""
    loop = asyncio_loop()
    return anyio.current_time if loop is None else partial(_time, ref(loop))


def _time(loop: ref[asyncio.AbstractEventLoop]) -> float:
    running = loop()
    return inf if running is None else running.time()


class Gate(Protocol):
    """What one task waits for, until it is set."""

    def set(self) -> object:
        """Let the task go on, if it still waits."""
        ...

    async def wait(self) -> object: ...


def gate() -> Gate:
    """A gate of the running event loop."""
    loop = asyncio_loop()
    return anyio.Event() if loop is None else _FutureGate(loop)


class _FutureGate:
    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        await self._future
