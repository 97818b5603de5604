"""One attempt: its time limit, which does not run while it waits for its turn, whether it sent anything, and whether it
needs a connection of its own."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import Any, TypeVar

import anyio

from agent_persistence.runtime.event_loop import current_time
from agent_persistence.runtime.time_limits import TimeLimit, ended_by, ending_in

T = TypeVar("T")


class _Attempt:
    """`latest` is the call's own deadline on the event loop's clock, `limit_s` what the attempt alone may take."""

    __slots__ = ("is_over", "latest", "limit", "limit_s", "unsent")

    def __init__(self, limit: TimeLimit, latest: float, limit_s: float) -> None:
        self.limit = limit
        self.latest = latest
        self.limit_s = limit_s
        self.unsent = False
        self.is_over = False


_current: ContextVar[_Attempt | None] = ContextVar("attempt", default=None)
"""This task's latest attempt."""


async def limited(remaining_s: float, attempt_s: float, call: Coroutine[Any, Any, T]) -> T:
    """What one attempt of a call returns that has `remaining_s` seconds left. It may take that long, or `attempt_s`;
    EndedError is raised then."""
    limit_s = min(remaining_s, attempt_s)
    limit = ending_in(limit_s)
    attempt = _Attempt(limit, limit.deadline + remaining_s - limit_s, limit_s)
    _current.set(attempt)
    try:
        return await ended_by(limit, call)
    finally:
        attempt.is_over = True


def ends_at() -> float:
    """When this task's attempt ends, or a scope around it, on the event loop's clock; infinity where neither does."""
    attempt = _current.get()
    ends = anyio.current_effective_deadline()
    return ends if attempt is None or attempt.is_over else min(ends, attempt.limit.deadline)


def ended_unsent() -> bool:
    """Whether the latest attempt ended while it waited for its turn, or was connecting, so that nothing was sent."""
    attempt = _current.get()
    return attempt is not None and attempt.unsent


class waiting_in_line:  # noqa: N801  it is used as a function; as one it would take 2 microseconds more
    """Only the call's own deadline counts within; behind it the limit on the attempt starts anew.

    For adapters that admit a bounded number of requests: who has waited long for a connection keeps the place.
    Nothing is sent within.
    """

    def __init__(self) -> None:
        self._attempt = _current.get()

    def __enter__(self) -> None:
        attempt = self._attempt
        if attempt is not None:
            attempt.unsent = True
            attempt.limit.deadline = attempt.latest

    def __exit__(self, error_class: type[BaseException] | None, *_: object) -> None:
        attempt = self._attempt
        if attempt is not None and error_class is None:
            attempt.unsent = False
            attempt.limit.deadline = min(attempt.latest, current_time() + attempt.limit_s)


class connecting:  # noqa: N801  as above
    """Nothing of a request is sent within: an attempt that ends there has applied nothing. Its limit runs on."""

    def __init__(self) -> None:
        self._attempt = _current.get()

    def __enter__(self) -> None:
        if self._attempt is not None:
            self._attempt.unsent = True

    def __exit__(self, error_class: type[BaseException] | None, *_: object) -> None:
        if self._attempt is not None and error_class is None:
            self._attempt.unsent = False


_apart: ContextVar[bool] = ContextVar("apart", default=False)


@contextmanager
def set_apart() -> Iterator[None]:
    """What is asked within has a connection of its own, where the protocol does not say which request an answer belongs
    to: one that nothing was asked on before, and nothing is asked on afterwards.

    No answer to an earlier request, that comes again or late, can then be taken for this one's, nor this one's for a
    later one's.
    """
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


def is_set_apart() -> bool:
    """Whether a connection of its own is asked for."""
    return _apart.get()


class starting:  # noqa: N801  as above
    """The server is started within: the call's deadline does not run, and what was left of it is left behind it.

    Nothing is sent within.
    """

    def __init__(self) -> None:
        self._attempt = _current.get()
        self._began = anyio.current_time()

    def __enter__(self) -> None:
        if self._attempt is not None:
            self._attempt.unsent = True
            self._attempt.limit.deadline = inf

    def __exit__(self, error_class: type[BaseException] | None, *_: object) -> None:
        attempt = self._attempt
        if attempt is not None and error_class is None:
            now = anyio.current_time()
            attempt.unsent = False
            attempt.latest += now - self._began
            attempt.limit.deadline = min(attempt.latest, now + attempt.limit_s)
