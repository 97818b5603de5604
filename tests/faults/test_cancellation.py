"""Calls cancelled at every await: at most one row, nothing leaks, the next call works, and the audit knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest

from agent_persistence import AsyncPersistenceService, AuditEvent
from tests.faults.faults import Answered, Fault
from tests.faults.house import SLOTS
from tests.faults.lane import POLICY_AFTERWARDS, POLICY_UNDER_FAULTS, service
from tests.faults.stacks import COALESCING, HTTPTOOLS, HTTPX, Stack
from tests.faults.steps import WAYS, Way, cancelled_at
from tests.faults.threaded import Threaded, threaded
from tests.faults.verbs import VERBS, Verb

FAULTS: dict[str, tuple[Fault, ...]] = {
    "no fault": (),
    "no connection": (),
    "not applied, retried": (Answered("503 with PGRST000", "before"),),
    "applied, answer lost": (Answered("502 with HTML", "after"),),
}
LEAST_STEPS = {"no fault": 1, "no connection": 2, "not applied, retried": 3, "applied, answer lost": 3}
"""A call awaits every connection, answer and pause once at least; over httptools that is all."""
MOST_STEPS = 200
ROUNDS = 5
KINDS = 2
"""What reads and what writes have connections of their own."""
POLICY = replace(POLICY_UNDER_FAULTS, attempt_s=20.0, read_deadline_s=60.0, write_deadline_s=60.0)
"""Here the proxy has a thread of its own, and no fault is a silence."""
SEED = 20260303

Loop = Literal["asyncio", "trio"]


@pytest.fixture(scope="module")
def there() -> Iterator[Threaded]:
    with threaded() as running:
        yield running


def tasks(loop: Loop) -> int:
    """How many tasks the event loop has."""
    if loop == "asyncio":
        return len(asyncio.all_tasks())
    import trio.lowlevel

    return trio.lowlevel.current_statistics().tasks_living


async def every_step(loop: Loop, way: Way, stack: Stack, verb: Verb, there: Threaded, fault: str) -> int:
    """Cancel the verb at its first await, its second, and so on until it gets through; how many awaits there were."""
    adapter = there.adapter(stack)
    options: dict[str, Any] = {"coalesce": stack.coalesce}
    before = tasks(loop)
    try:
        for step in range(MOST_STEPS):
            events: list[AuditEvent] = []
            there.prepare(verb, *FAULTS[fault], cold=fault == "no connection")
            value = await cancelled_at(
                step, way, _call(verb, service(adapter, verb, POLICY, audit=events.append, **options))
            )
            doubled = await service(adapter, VERBS["call"], POLICY_AFTERWARDS).call("double", {"n": 4})
            assert doubled == {"doubled": 8}
            await there.settled(KINDS)
            effect = verb.effect(there.rows(verb.table))
            assert effect in (0, 1)
            [event] = events
            if value is None and effect:
                assert event.outcome == ("unknown" if event.error_type else "ok")
            if value is not None:
                await there.full_house(adapter)
                assert tasks(loop) - before in ((0, 1) if loop == "trio" else (0,))  # what will close idle connections
                return step
        raise AssertionError(f"{verb.name} never got through")
    finally:
        await adapter.aclose()
        await there.settled(0)


async def _call(verb: Verb, client: AsyncPersistenceService) -> object:
    """The call; whatever it raises but cancellation is a value too."""
    try:
        return await verb.call(client)
    except Exception as error:
        return error


@pytest.mark.parametrize(("loop", "way"), [(loop, way) for loop, ways in WAYS.items() for way in ways])
def test_a_step_is_an_await(loop: Loop, way: Way) -> None:
    """Control: what awaits three times is cancelled at each of them, and not at a fourth."""
    done: list[int] = []

    async def thrice() -> str:
        for number in range(3):
            await anyio.lowlevel.checkpoint()
            done.append(number)
        return "through"

    async def main() -> list[str | None]:
        return [await cancelled_at(step, way, thrice()) for step in range(4)]

    assert anyio.run(main, backend=loop) == [None, None, None, "through"]
    assert done[:3] == [0, 0, 1]


CLOSELY = ("write", "batch_write", "upsert, merging", "update by key", "read")
"""Verbs that are cancelled in every way under every fault; the others by a scope alone."""


LOOPS: list[tuple[Stack, Loop]] = [(HTTPX, "asyncio"), (HTTPX, "trio"), (HTTPTOOLS, "asyncio")]
"""httptools is for asyncio alone."""


def combinations() -> Iterator[tuple[str, Stack, Loop, Way, str]]:
    for stack, loop in LOOPS:
        for verb in VERBS if stack is HTTPX else CLOSELY:
            for fault in FAULTS if verb in CLOSELY else ("no connection", "applied, answer lost"):
                for way in WAYS[loop] if verb in CLOSELY else WAYS[loop][:1]:
                    yield verb, stack, loop, way, fault
    for stack in COALESCING:
        for verb, fault in product(("write", "read"), FAULTS):
            yield verb, stack, "asyncio", "scope", fault


@pytest.mark.parametrize(("verb", "stack", "loop", "way", "fault"), list(combinations()), ids=str)
def test_a_call_may_be_cancelled_at_every_await(
    verb: str, stack: Stack, loop: Loop, way: Way, fault: str, there: Threaded
) -> None:
    """At most one row, one audit event, no leaked connection, task or slot, and the next call works."""
    steps = anyio.run(every_step, loop, way, stack, VERBS[verb], there, fault, backend=loop)
    assert steps >= LEAST_STEPS[fault] + stack.coalesce


@pytest.mark.parametrize(("stack", "loop"), LOOPS, ids=str)
def test_calls_that_stand_in_line_may_be_cancelled_too(stack: Stack, loop: Loop, there: Threaded) -> None:
    """Three times as many calls as slots, each cancelled somewhere: every slot is free afterwards."""
    anyio.run(_crowd, stack, there, Random(SEED), backend=loop)


async def _crowd(stack: Stack, there: Threaded, random: Random) -> None:
    adapter = there.adapter(stack)
    verb = VERBS["write"]
    there.prepare(verb)
    try:
        for _ in range(ROUNDS):
            async with anyio.create_task_group() as group:
                for _ in range(3 * SLOTS):
                    call = _call(verb, service(adapter, verb, POLICY))
                    group.start_soon(cancelled_at, random.randrange(14), "scope", call)
        await there.full_house(adapter)
    finally:
        await adapter.aclose()
        await there.settled(0)
