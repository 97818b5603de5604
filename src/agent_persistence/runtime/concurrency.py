"""Several calls at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def together(calls: Sequence[Callable[[], Awaitable[T]]], *, at_once: int | None = None) -> list[T]:
    """What each call returns, in the order given; no more than `at_once` of them run at a time.

    A failure cancels the others and is raised as itself: the first in the order given, where there are several.
    """
    if len(calls) == 1:
        return [await calls[0]()]
    results: dict[int, T] = {}
    failures: dict[int, Exception] = {}
    slots: AbstractAsyncContextManager[Any] = nullcontext() if at_once is None else anyio.Semaphore(at_once)

    async def settle(place: int, call: Callable[[], Awaitable[T]], siblings: anyio.CancelScope) -> None:
        try:
            async with slots:
                results[place] = await call()
        except Exception as error:  # raised below, where no task group can wrap it
            failures[place] = error
            siblings.cancel()

    async with anyio.create_task_group() as group:
        for place, call in enumerate(calls):
            group.start_soon(settle, place, call, group.cancel_scope)
    if failures:
        raise failures[min(failures)]
    return [results[place] for place in range(len(calls))]
