"""How long a connection lives: idle ones and old ones are closed, and never one in use."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

from agent_persistence import ConfigurationError, SupabaseAdapter
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.transport import connections
from agent_persistence.backends.transport.connections import Lifetimes, Pool
from agent_persistence.runtime.background import Work
from tests.backends.doubles import SECRET
from tests.backends.stub_server import PATIENCE_S, answer, stub_server

pytestmark = pytest.mark.anyio

IDLE_S, AGE_S = 60.0, 900.0


class Line:
    """A connection that says back what it was sent; "held" waits for the gate."""

    def __init__(self, gate: anyio.Event) -> None:
        self.gate = gate
        self.closed = anyio.Event()

    async def exchange(self, request: str, /) -> str:
        if request == "held":
            await self.gate.wait()
        return request

    def is_spoilt(self) -> bool:
        return False

    def is_stale(self) -> bool:
        return False

    async def aclose(self) -> None:
        self.closed.set()


class Lines(Pool[str, str]):
    """A pool of such connections, which it counts."""

    def __init__(self, lifetimes: Lifetimes) -> None:
        super().__init__(lifetimes=lifetimes)
        self.gate = anyio.Event()
        self.made: list[Line] = []

    def _new_connection(self) -> Line:
        self.made.append(Line(self.gate))
        return self.made[-1]

    def _is_writing(self, request: str) -> bool:
        return False

    @property
    def open(self) -> list[bool]:
        return [not line.closed.is_set() for line in self.made]


class Timer:
    """A clock that a test moves, and what was asked to be done later."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.asked: list[tuple[float, Work]] = []
        self.called_off = 0

    def later(self, delay_s: float, work: Work) -> Callable[[], None]:
        self.asked.append((delay_s, work))
        return self._call_off

    def _call_off(self) -> None:
        self.called_off += 1

    async def pass_s(self, seconds: float) -> None:
        """Let the time pass, and what was asked for last be done."""
        self.now_s += seconds
        await self.asked[-1][1]()


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Timer:
    made = Timer()
    monkeypatch.setattr(connections, "clock", lambda: lambda: made.now_s)
    monkeypatch.setattr(connections, "later", made.later)
    return made


async def test_an_idle_connection_is_closed_when_its_time_is_over(timer: Timer) -> None:
    """By a timer, which needs no traffic; with nothing left there is no timer either."""
    lines = Lines(Lifetimes(IDLE_S, AGE_S))
    await lines.send("a")
    assert [delay_s for delay_s, _ in timer.asked] == [IDLE_S]
    await timer.pass_s(IDLE_S)
    assert lines.open == [False]
    assert len(timer.asked) == 1
    await lines.send("a")
    assert (lines.open, len(timer.asked)) == ([False, True], 2)


async def test_use_makes_a_connection_young_as_to_its_idleness(timer: Timer) -> None:
    """One timer serves however many requests; when it comes too early, it is set again."""
    lines = Lines(Lifetimes(IDLE_S, AGE_S))
    for _ in range(5):
        timer.now_s += 10
        await lines.send("a")
    assert len(timer.asked) == 1
    await timer.pass_s(20)
    assert lines.open == [True]
    assert timer.asked[-1][0] == IDLE_S - 20


async def test_an_old_connection_is_closed_however_busy(timer: Timer) -> None:
    """After a failover the server's name leads elsewhere, and only a new connection follows it."""
    lines = Lines(Lifetimes(IDLE_S, AGE_S))
    for _ in range(31):
        await lines.send("a")
        timer.now_s += 30
    assert lines.open == [False, True]


async def test_a_connection_whose_time_is_over_is_not_used_again(timer: Timer) -> None:
    """Also where the timer has not come yet, as after the machine has slept."""
    lines = Lines(Lifetimes(IDLE_S, AGE_S))
    await lines.send("a")
    timer.now_s += IDLE_S
    await lines.send("a")
    assert lines.open == [False, True]


async def test_a_connection_in_use_is_not_closed(timer: Timer) -> None:
    """Its answer comes; then its time is over at once."""
    lines = Lines(Lifetimes(IDLE_S, AGE_S))
    async with anyio.create_task_group() as group:
        group.start_soon(lines.send, "held")
        await anyio.wait_all_tasks_blocked()
        await lines.send("a")
        await timer.pass_s(AGE_S)
        assert lines.open == [True, False]
        lines.gate.set()
    assert lines.open == [True, False]
    assert timer.asked[-1][0] == 0
    await timer.pass_s(0)
    assert lines.open == [False, False]


async def test_closing_calls_the_timer_off(timer: Timer) -> None:
    """And closes what is idle; nothing is asked for any more."""
    lines = Lines(Lifetimes(IDLE_S, AGE_S))
    await lines.send("a")
    await lines.aclose()
    assert (lines.open, timer.called_off, len(timer.asked)) == ([False], 1, 1)


async def test_a_timer_that_comes_after_closing_changes_nothing(timer: Timer) -> None:
    """It may be under way already."""
    lines = Lines(Lifetimes(IDLE_S, AGE_S))
    await lines.send("a")
    await lines.aclose()
    await timer.pass_s(IDLE_S)
    assert len(timer.asked) == 1


@pytest.mark.parametrize("lifetimes", [Lifetimes(0.01, AGE_S), Lifetimes(IDLE_S, 0.01)], ids=["idle", "old"])
async def test_the_event_loops_own_timer_does_it(lifetimes: Lifetimes) -> None:
    """Control for the clock above."""
    lines = Lines(lifetimes)
    await lines.send("a")
    with anyio.fail_after(PATIENCE_S):
        await lines.made[0].closed.wait()


@pytest.mark.parametrize("transport", ["httpx", "httptools"])
async def test_the_server_sees_an_idle_connection_end(anyio_backend_name: str, transport: Any) -> None:
    """Nobody has to ask for anything."""
    transport = transport if anyio_backend_name == "asyncio" else "httpx"
    with stub_server(answer()) as server:
        adapter = SupabaseAdapter(server.url, SECRET, transport=transport, max_idle_s=0.01)
        assert await adapter.query("leads") == []
        assert await anyio.to_thread.run_sync(server.left.wait, PATIENCE_S)
        await adapter.aclose()


@pytest.mark.parametrize("option", ["max_idle_s", "max_age_s"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), True, "60", None])
async def test_a_lifetime_is_a_number_of_seconds(option: str, seconds: Any) -> None:
    """Nonsense is refused where the adapter is made."""
    options: dict[str, Any] = {option: seconds}
    with pytest.raises(ConfigurationError, match=option):
        SupabaseAdapter("https://p.supabase.co", SECRET, **options)
    with pytest.raises(ConfigurationError, match=option):
        PostgresAdapter("postgresql://localhost/x", **options)
