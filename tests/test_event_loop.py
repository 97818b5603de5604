"""What is asked of the running event loop: which it is, what time it is, and a value of its own."""

from __future__ import annotations

import asyncio
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
import trio
from trio.testing import MockClock

from agent_persistence.runtime.event_loop import asyncio_loop, clock, current_time, gate
from agent_persistence.runtime.per_loop import PerLoop

Backend = Literal["asyncio", "trio"]
BACKENDS: tuple[Backend, ...] = ("asyncio", "trio")


class Value:
    """One that can be referred to weakly."""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.param
    return found


def test_asyncios_loop_is_known_where_asyncio_runs_the_task() -> None:
    """And nowhere else: outside of any loop, or under trio."""

    async def found() -> object:
        return asyncio_loop()

    async def running() -> object:
        return asyncio_loop() is asyncio.get_running_loop()

    assert asyncio_loop() is None
    assert anyio.run(running) is True
    assert anyio.run(found, backend="trio") is None


def test_the_time_is_that_of_the_loop(backend: Backend) -> None:
    """By whichever function it is asked for."""

    async def main() -> None:
        now = clock()
        before = anyio.current_time()
        assert before <= current_time() <= now() <= anyio.current_time()

    anyio.run(main, backend=backend)


def test_a_clock_that_a_test_moves_is_followed() -> None:
    """trio's, whose tests need not wait."""

    async def main() -> float:
        now = clock()
        before = now()
        await trio.sleep(1_000)
        return now() - before

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == pytest.approx(1_000)


def test_a_clock_does_not_keep_its_loop() -> None:
    """It may outlive it, where it tells that all time is over."""

    async def main() -> Any:
        return clock(), weakref.ref(asyncio.get_running_loop())

    now, loop = asyncio.run(main())
    gc.collect()
    assert loop() is None
    assert now() == float("inf")


def test_who_waits_at_a_gate_goes_on_when_it_is_set(backend: Backend) -> None:
    """Also if it was set before; setting it again changes nothing."""

    async def main() -> None:
        early, late = gate(), gate()
        early.set()
        early.set()
        await early.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(late.wait)
            await anyio.wait_all_tasks_blocked()
            late.set()

    with_limit(main, backend)


def test_a_gate_may_be_set_for_one_who_has_given_up(backend: Backend) -> None:
    """Nobody is there to go on."""

    async def main() -> None:
        deserted = gate()
        with anyio.move_on_after(0):
            await deserted.wait()
        deserted.set()

    with_limit(main, backend)


def with_limit(main: Any, backend: Backend) -> None:
    async def limited() -> None:
        with anyio.fail_after(10):
            await main()

    anyio.run(limited, backend=backend)


@pytest.mark.parametrize("make", [Value, dict], ids=["an object", "a dict"])
def test_every_loop_has_a_value_of_its_own(make: Any, backend: Backend) -> None:
    """The same one whenever it asks, and another for the next loop."""
    owner: PerLoop[Any] = PerLoop(make)
    found: list[Any] = []

    async def main() -> None:
        found.append(owner.get())
        assert owner.get() is found[-1]
        await anyio.lowlevel.checkpoint()
        assert owner.found() is owner.get() is found[-1]

    for _ in range(3):
        anyio.run(main, backend=backend)
    assert len({id(each) for each in found}) == 3


def test_loops_of_several_threads_do_not_meet() -> None:
    """Each asks in turn with the others, so that none is ever the one that asked last."""
    owner, together = PerLoop(Value), Barrier(4)

    async def main() -> set[int]:
        found = set()
        for _ in range(200):
            found.add(id(owner.get()))
            await asyncio.sleep(0)
        together.wait()  # all are alive, so that no address is used again
        return found

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: asyncio.run(main()), range(4)))
    assert [len(each) for each in found] == [1, 1, 1, 1]
    assert len(set.union(*found)) == 4


def test_a_loop_that_has_ended_takes_its_value_along() -> None:
    """The owner, which knows who asked last, keeps neither."""
    owner = PerLoop(Value)

    async def main() -> Any:
        return weakref.ref(owner.get()), weakref.ref(asyncio.get_running_loop())

    value, loop = asyncio.run(main())
    gc.collect()
    assert (value(), loop()) == (None, None)


def test_a_guest_of_asyncios_loop_has_a_value_of_its_own() -> None:
    """trio's, though asyncio's loop runs in the same thread and has asked before."""
    owner = PerLoop(Value)

    async def guest() -> object:
        return owner.get()

    async def host() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        mine, outcomes = owner.get(), []

        def over(outcome: Any) -> None:
            outcomes.append(outcome)
            ended.set()

        trio.lowlevel.start_guest_run(guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=over)
        await ended.wait()
        assert outcomes[0].unwrap() is not mine
        assert owner.get() is mine

    asyncio.run(host())
