"""The event loop of the fault tests: what its clock counts, and what it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.faults.loop import run

PATIENCE_S = 0.05


async def _blocked() -> None:
    time.sleep(4 * PATIENCE_S)  # the thread does not run, as on a busy machine
    await asyncio.sleep(0)


async def _waiting() -> None:
    await asyncio.Event().wait()


async def _computing() -> None:
    while True:
        await asyncio.sleep(0)
        sum(range(1000))


async def _bounded(call: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await call()


def test_the_clock_stands_still_while_the_thread_does_not_run() -> None:
    """No deadline passes meanwhile."""
    run(_bounded(_blocked))


@pytest.mark.parametrize("call", [_waiting, _computing])
def test_what_waits_or_computes_takes_time(call: Callable[[], Awaitable[None]]) -> None:
    """Control: a deadline ends it."""
    with pytest.raises(TimeoutError):
        run(_bounded(call))
