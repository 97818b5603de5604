"""Cancels a call where it waits: at its first suspension, its second, and so on."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Final, Literal, TypeAlias, TypeVar

import anyio

T = TypeVar("T")

Way: TypeAlias = Literal["scope", "task", "task, late", "task, twice"]
"""How a call is cancelled: by an anyio scope; or, on asyncio alone, by `task.cancel()`: at once, or when what it waited
for has happened and it has not yet run on, or at once and again where it waits next."""

WAYS: Final[dict[Literal["asyncio", "trio"], tuple[Way, ...]]] = {
    "asyncio": ("scope", "task", "task, late", "task, twice"),
    "trio": ("scope",),
}


@types.coroutine
def stepped(awaitable: Awaitable[T], suspended: Callable[[int, Any], None]) -> Generator[Any, Any, T]:
    """Await, and call `suspended` at every suspension with its number and what the event loop is asked for."""
    inner: Any = awaitable.__await__()
    number = 0
    run = partial(inner.send, None)
    while True:
        try:
            asked = run()
        except StopIteration as stop:
            value: T = stop.value
            return value
        suspended(number, asked)
        number += 1
        try:
            answered = yield asked
        except BaseException as error:
            run = partial(inner.throw, error)
        else:
            run = partial(inner.send, answered)


async def cancelled_at(step: int, way: Way, call: Awaitable[T]) -> T | None:
    """Cancel the call at the step. What it returns is the call's value, or None if the cancellation had its way."""
    if way == "scope":
        return await _by_scope(step, call)
    task = asyncio.create_task(_by_task(step, way, call))
    try:
        return await task
    except asyncio.CancelledError:
        return None


async def _by_scope(step: int, call: Awaitable[T]) -> T | None:
    with anyio.CancelScope() as scope:
        return await stepped(call, lambda number, asked: scope.cancel() if number == step else None)
    return None


async def _by_task(step: int, way: Way, call: Awaitable[T]) -> T:
    task = asyncio.current_task()
    assert task is not None

    def suspended(number: int, asked: Any) -> None:
        if number == step and way == "task, late" and isinstance(asked, asyncio.Future):
            asked.add_done_callback(lambda _: task.cancel())
        elif number == step or (number == step + 1 and way == "task, twice"):
            task.cancel()

    return await stepped(call, suspended)
