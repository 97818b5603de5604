"""Slots: who may send now, who waits, and for how long."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock

from agent_persistence import AdapterError, AsyncPersistenceService, InMemoryAdapter, RetryPolicy
from agent_persistence.backends.transport.admission import Slots
from agent_persistence.exceptions import FailureState
from agent_persistence.policy.retry import LEAST_DEADLINE_S
from agent_persistence.query.records import Record, Row

pytestmark = pytest.mark.anyio


class Door:
    """Lets requests in through slots and holds them until `open` is set; tells how many of each kind are inside."""

    def __init__(self, total: int) -> None:
        self.slots = Slots(total)
        self.open = anyio.Event()
        self.inside = {"read": 0, "write": 0}
        self.order: list[int] = []

    async def enter(self, kind: str, number: int = 0) -> None:
        async with self.slots.taken(writing=kind == "write"):
            self.inside[kind] += 1
            self.order.append(number)
            await self.open.wait()
            self.inside[kind] -= 1


@pytest.mark.parametrize(("total", "alone"), [(1, 1), (2, 1), (3, 2), (4, 3), (20, 16)])
@pytest.mark.parametrize("kind", ["read", "write"])
async def test_neither_kind_can_take_all_the_slots(kind: str, total: int, alone: int) -> None:
    """With more than one slot, there is always one for the other kind."""
    door = Door(total)
    other = {"read": "write", "write": "read"}[kind]
    async with anyio.create_task_group() as group:
        for _ in range(3 * total):
            group.start_soon(door.enter, kind)
        await anyio.wait_all_tasks_blocked()
        assert door.inside == {kind: alone, other: 0}
        group.start_soon(door.enter, other)
        await anyio.wait_all_tasks_blocked()
        assert door.inside == {kind: alone, other: int(total > 1)}
        door.open.set()
    assert door.slots.waiting == 0


async def test_who_came_first_goes_first() -> None:
    """Also after one that waits has been cancelled."""
    door = Door(1)
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(door.enter, "write", number)
            await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as impatient:
            impatient.start_soon(door.enter, "write", 99)
            await anyio.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        door.open.set()
    assert door.order == [0, 1, 2, 3, 4]


async def test_a_slot_that_is_given_to_one_who_has_just_given_up_is_not_lost() -> None:
    """Both in the same turn of the event loop, in either order."""
    for cancelled_first in (True, False):
        slots = Slots(1)
        await slots.take(writing=True)
        async with anyio.create_task_group() as group:
            group.start_soon(_entered, slots)
            await anyio.wait_all_tasks_blocked()
            steps = [group.cancel_scope.cancel, lambda slots=slots: slots.release(writing=True)]
            for step in steps if cancelled_first else reversed(steps):
                step()
        assert slots.take_free(writing=True)
        assert slots.waiting == 0


async def _entered(slots: Slots) -> None:
    async with slots.taken(writing=True):
        pass


class Narrow(InMemoryAdapter):
    """One write at a time, and each takes `takes_s`."""

    def __init__(self, takes_s: float) -> None:
        super().__init__()
        self._slots = Slots(1)
        self._takes_s = takes_s
        self.begun = 0

    async def write(self, table: str, record: Record) -> Row:
        async with self._slots.taken(writing=True):
            self.begun += 1
            await anyio.sleep(self._takes_s)
            return await super().write(table, record)


def written(adapter: Narrow, retry: RetryPolicy, times: int) -> list[Row | AdapterError]:
    """What so many writes at once came to, by a clock that moves on when all wait: nothing takes real time."""
    outcomes: list[Row | AdapterError] = []

    async def write(service: AsyncPersistenceService, number: int) -> None:
        try:
            outcomes.append(await service.write("inquiries", {"body": str(number)}))
        except AdapterError as error:
            outcomes.append(error)

    async def main() -> None:
        service = AsyncPersistenceService(adapter, retry=retry, clock=anyio.current_time)
        async with anyio.create_task_group() as group:
            for number in range(times):
                group.start_soon(write, service, number)

    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    return outcomes


def test_the_limit_on_an_attempt_does_not_run_while_it_waits_in_line() -> None:
    """Five writes that take 60 ms each, one after the other, with 250 ms for an attempt: none is cut short."""
    adapter = Narrow(0.06)
    outcomes = written(adapter, RetryPolicy(attempts=1, attempt_s=0.25), 5)
    assert (adapter.begun, [outcome for outcome in outcomes if isinstance(outcome, AdapterError)]) == (5, [])


def test_who_waits_until_the_deadline_is_told_that_nothing_was_sent() -> None:
    """The one that had its turn may have been applied; the one behind it cannot."""
    adapter = Narrow(60)
    outcomes = written(adapter, RetryPolicy(attempts=1, write_deadline_s=LEAST_DEADLINE_S), 2)
    assert (sorted(states(outcomes)), adapter.begun) == ([FailureState.AMBIGUOUS, FailureState.NOT_SENT], 1)


def test_the_limit_on_an_attempt_runs_once_it_has_its_turn() -> None:
    """The control: a write that takes longer than an attempt may is cut, also behind a line."""
    adapter = Narrow(60)
    outcomes = written(adapter, RetryPolicy(attempts=1, attempt_s=LEAST_DEADLINE_S), 2)
    assert (states(outcomes), adapter.begun) == ([FailureState.AMBIGUOUS] * 2, 2)


def states(outcomes: list[Row | AdapterError]) -> list[FailureState]:
    return [outcome.state for outcome in outcomes if isinstance(outcome, AdapterError)]


async def test_draining_waits_for_those_inside() -> None:
    """And says whether all of them left in time; those who wait are let in afterwards."""
    door = Door(2)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(door.enter, "write")
        await anyio.wait_all_tasks_blocked()
        assert not await door.slots.drained(0.01)
        door.open.set()
        assert await door.slots.drained(5)
    assert await door.slots.drained(0.01)
