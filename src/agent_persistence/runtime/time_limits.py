"""How long a task may do something: cancel scopes, but lighter ones where asyncio runs the task.

anyio.move_on_after searches for the event loop's library three times, and keeps a tree of scopes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType, coroutine
from typing import Any, Final, Protocol, TypeVar, cast

import anyio

from agent_persistence.runtime.event_loop import asyncio_loop

T = TypeVar("T")
REPEAT_S: Final = 1.0
"""How long after it was cancelled a task is cancelled again, if it goes on nevertheless."""
_LONGEST_S: Final = 3600.0
"""Timers of more are set anew meanwhile: not every event loop knows infinite ones."""


class EndedError(Exception):
    """The limit ended what it was for."""


class TimeLimit(Protocol):
    """Ends what runs within at its `deadline`, on the event loop's clock, which may be moved; what follows goes on."""

    @property
    def deadline(self) -> float: ...

    @deadline.setter
    def deadline(self, value: float) -> None: ...

    def __enter__(self) -> object: ...

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...


def ending_in(delay_s: float) -> TimeLimit:
    """A limit of so many seconds from now on."""
    loop = asyncio_loop()
    return anyio.move_on_after(delay_s) if loop is None else _OfTask(loop, delay_s)


def ended_by(limit: TimeLimit, call: Coroutine[Any, Any, T]) -> Awaitable[T]:
    """What the call returns; EndedError where the limit ends it first."""
    return _begun(limit, call) if isinstance(limit, _OfTask) else _within(limit, call)


async def _within(limit: TimeLimit, call: Coroutine[Any, Any, T]) -> T:
    with limit:
        return await call
    raise EndedError


class _OfTask:
    """A limit on what one task of asyncio does, as asyncio.timeout has it: cancellations from elsewhere, which
    Task.cancelling counts, are distinguished and go on."""

    __slots__ = ("_before", "_cancels", "_deadline", "_loop", "_task", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, delay_s: float) -> None:
        self._loop = loop
        self._deadline = loop.time() + delay_s
        self._timer: asyncio.TimerHandle | None = None
        self._cancels = 0

    @property
    def deadline(self) -> float:
        return self._deadline

    @deadline.setter
    def deadline(self, value: float) -> None:
        """A later one costs nothing: the timer that is set finds out that it is too early."""
        self._deadline = value
        if self._timer is not None and value < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(value, self._look)

    def __enter__(self) -> None:
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101  `ending_in` has seen that asyncio runs one
        self._task = task
        self._before = task.cancelling()
        self._timer = self._loop.call_at(min(self._deadline, self._loop.time() + _LONGEST_S), self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if now >= self._deadline:
            self._cancels += 1
            self._task.cancel()
            self._deadline = now + REPEAT_S
        self._timer = self._loop.call_at(min(self._deadline, now + _LONGEST_S), self._look)

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for _ in range(self._cancels):
            self._task.uncancel()
        is_cancelled = error_class is not None and issubclass(error_class, asyncio.CancelledError)
        return bool(self._cancels) and is_cancelled and self._task.cancelling() <= self._before


@coroutine
def _begun(limit: _OfTask, call: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """The call is begun before its limit is set: one that has nothing to wait for needs none."""
    step: Callable[[Any], Any] = call.send
    given: Any = None
    try:
        waits_for = step(given)
    except StopIteration as ended:
        return cast("T", ended.value)
    with limit:
        while True:
            try:
                given = yield waits_for
                step = call.send
            except BaseException as thrown:  # it is for the call
                given, step = thrown, call.throw
            try:
                waits_for = step(given)
            except StopIteration as ended:
                return cast("T", ended.value)
    raise EndedError
