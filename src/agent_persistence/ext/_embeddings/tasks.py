"""Several things at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

T = TypeVar("T")


async def together(work: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """What each returns, in the order given. The first failure ends the others and is raised as itself."""
    results: dict[int, T] = {}
    failures: dict[int, Exception] = {}

    async def run(number: int, job: Callable[[], Awaitable[T]], siblings: anyio.CancelScope) -> None:
        try:
            results[number] = await job()
        except Exception as error:  # raised below, where no task group can wrap it
            failures[number] = error
            siblings.cancel()

    async with anyio.create_task_group() as group:
        for number, job in enumerate(work):
            group.start_soon(run, number, job, group.cancel_scope)
    if failures:
        raise failures[min(failures)]
    return [results[number] for number in range(len(work))]
