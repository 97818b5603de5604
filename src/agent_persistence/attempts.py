"""The time limit of one attempt, which does not run while the attempt waits for its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import anyio

_current: ContextVar[tuple[anyio.CancelScope, float, float] | None] = ContextVar("attempt", default=None)
"""This task's latest attempt: its scope, the call's deadline on the event loop's clock, and the limit in seconds."""


def limited(remaining_s: float, attempt_s: float) -> anyio.CancelScope:
    """A scope for one attempt of a call that has `remaining_s` seconds left: it ends then, or after `attempt_s`."""
    if remaining_s <= attempt_s:
        return _ending_in(remaining_s)
    scope = _ending_in(attempt_s)
    _current.set((scope, scope.deadline + remaining_s - attempt_s, attempt_s))
    return scope


@contextmanager
def waiting_in_line() -> Iterator[None]:
    """Only the call's own deadline counts within; behind it the limit on the attempt starts anew.

    For adapters that admit a bounded number of requests: who has waited long for a connection keeps the place.
    """
    attempt = _current.get()
    if attempt is None:
        yield
        return
    scope, latest, limit_s = attempt
    scope.deadline = latest
    try:
        yield
    finally:
        scope.deadline = min(latest, anyio.current_time() + limit_s)


def _ending_in(delay_s: float) -> anyio.CancelScope:
    """anyio.move_on_after, which searches for the event loop's library three times: 3 of the chain's microseconds.

    Where asyncio runs this task, the class of scope that the search found once serves from then on.
    """
    try:
        if asyncio.current_task() is not None:
            return _asyncio_scope()(deadline=asyncio.get_running_loop().time() + delay_s)
    except RuntimeError:  # no asyncio loop in this thread
        pass
    return anyio.move_on_after(delay_s)


@cache
def _asyncio_scope() -> type[anyio.CancelScope]:
    return type(anyio.CancelScope())
