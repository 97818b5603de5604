"""Limits on what a task does: they end it, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
from trio.testing import MockClock

from agent_persistence.runtime import time_limits
from agent_persistence.runtime.attempts import ends_at, limited, waiting_in_line
from agent_persistence.runtime.event_loop import current_time
from agent_persistence.runtime.time_limits import EndedError, ended_by, ending_in

pytestmark = pytest.mark.anyio
SHORT_S = 0.01


async def never() -> None:
    await anyio.sleep_forever()


async def value_of(value: object, after_turns: int = 0) -> object:
    for _ in range(after_turns):
        await anyio.lowlevel.checkpoint()
    return value


async def failing(error: Exception, after_turns: int = 0) -> None:
    await value_of(None, after_turns)
    raise error


async def test_what_takes_too_long_is_ended() -> None:
    """And what follows goes on, without any cancellation left."""
    for _ in range(2):
        with pytest.raises(EndedError):
            await ended_by(ending_in(SHORT_S), never())
    await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_a_value_or_an_error_in_time_is_the_calls_own(turns: int) -> None:
    """Whether it comes at once or after some turns of the event loop."""
    assert await ended_by(ending_in(60), value_of("it", turns)) == "it"
    with pytest.raises(KeyError):
        await ended_by(ending_in(60), failing(KeyError("it"), turns))


async def test_a_scope_around_it_ends_both() -> None:
    """The limit does not take that cancellation for its own."""
    with anyio.move_on_after(SHORT_S) as scope:
        await ended_by(ending_in(60), never())
    assert scope.cancelled_caught


async def test_a_scope_within_it_is_the_calls_own() -> None:
    """Nor is its cancellation the limit's."""

    async def call() -> str:
        with anyio.move_on_after(SHORT_S):
            await never()
        async with anyio.create_task_group() as group:
            group.start_soon(never)
            group.cancel_scope.cancel()
        return "went on"

    assert await ended_by(ending_in(60), call()) == "went on"


async def test_a_task_group_within_is_ended_with_it() -> None:
    """Its tasks are cancelled, and nothing comes as a group of exceptions."""
    ended = []

    async def child() -> None:
        try:
            await never()
        finally:
            ended.append("child")

    async def call() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(child)
            group.start_soon(child)
            await never()

    with pytest.raises(EndedError):
        await ended_by(ending_in(SHORT_S), call())
    assert ended == ["child", "child"]


@pytest.mark.parametrize("outer_is_first", [True, False])
async def test_of_two_limits_the_one_that_is_over_ends_its_own_call(outer_is_first: bool) -> None:
    """The inner one's error can be handled within the outer one."""
    seen = []

    async def call() -> None:
        try:
            await ended_by(ending_in(60 if outer_is_first else SHORT_S), never())
        except EndedError:
            seen.append("inner")
            raise

    with pytest.raises(EndedError):
        await ended_by(ending_in(SHORT_S if outer_is_first else 60), call())
    assert seen == ([] if outer_is_first else ["inner"])


async def test_a_deadline_may_be_moved() -> None:
    """Later, earlier than the first one, and to never."""
    limit = ending_in(SHORT_S)

    async def call() -> None:
        limit.deadline = inf
        await anyio.sleep(3 * SHORT_S)
        limit.deadline = current_time() + 60
        await anyio.lowlevel.checkpoint()
        limit.deadline = current_time() + SHORT_S
        await never()

    started = current_time()
    with pytest.raises(EndedError):
        await ended_by(limit, call())
    assert 3 * SHORT_S < current_time() - started < 60


async def test_a_limit_of_many_hours_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer is set anew until then."""
    monkeypatch.setattr(time_limits, "_LONGEST_S", SHORT_S / 10)
    with pytest.raises(EndedError):
        await ended_by(ending_in(SHORT_S), never())


async def test_an_attempt_is_over_for_what_follows_it() -> None:
    """What asks by when to be done is not held to an earlier call."""

    async def asked() -> float:
        return ends_at() - current_time()

    assert 0 < await limited(60, 50, asked()) <= 50
    assert ends_at() == inf
    with anyio.move_on_after(20):
        assert await limited(60, 50, asked()) <= 20


async def test_waiting_in_line_is_bounded_by_the_call_alone() -> None:
    """The attempt's own limit begins behind it."""

    async def call() -> str:
        with waiting_in_line():
            await anyio.sleep(3 * SHORT_S)
        await anyio.lowlevel.checkpoint()
        await never()
        return "not reached"

    with pytest.raises(EndedError):
        await limited(60, SHORT_S, call())


# --- under asyncio ----------------------------------------------------------------------------------------------------


def test_a_call_that_waits_for_nothing_sets_no_timer() -> None:
    """Control: one that waits does."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        timers = []

        async def looks(turns: int) -> None:
            await value_of(None, turns)
            timers.append(len(loop._scheduled))

        await ended_by(ending_in(60), looks(0))
        await ended_by(ending_in(60), looks(1))
        assert timers == [0, 1]

    asyncio.run(main())


@pytest.mark.parametrize("first", ["limit", "cancel"])
def test_a_cancellation_in_the_same_turn_is_not_taken_for_the_limits(first: str) -> None:
    """Whichever came first, the task ends as cancelled."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limit = ending_in(60)

        async def limited_call() -> None:
            await ended_by(limit, never())

        task = asyncio.create_task(limited_call())
        await asyncio.sleep(0)
        steps: list[Callable[[], object]] = [lambda: setattr(limit, "deadline", loop.time()), task.cancel]
        for step in steps if first == "limit" else reversed(steps):
            step()
        loop.call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_what_holds_off_the_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of others does not outlive its limit for long."""
    monkeypatch.setattr(time_limits, "REPEAT_S", SHORT_S)
    held = []

    async def stubborn() -> None:
        for _ in range(3):
            try:
                await never()
            except asyncio.CancelledError:
                held.append("off")
        await never()

    async def main() -> None:
        with pytest.raises(EndedError):
            await ended_by(ending_in(SHORT_S), stubborn())
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())
    assert len(held) == 3


def test_what_comes_in_spite_of_the_limit_is_the_calls_value() -> None:
    """A write that was applied is not said to have ended without an answer."""

    async def late() -> str:
        try:
            await never()
        except asyncio.CancelledError:
            return "it"
        return "not reached"

    async def main() -> None:
        assert await ended_by(ending_in(SHORT_S), late()) == "it"
        await asyncio.sleep(0)

    asyncio.run(main())


# --- under trio -------------------------------------------------------------------------------------------------------


def test_trios_clock_is_followed() -> None:
    """A limit of a day is over when the clock says so."""

    async def main() -> None:
        with pytest.raises(EndedError):
            await ended_by(ending_in(86_400), never())

    trio.run(main, clock=MockClock(autojump_threshold=0))
