"""A graph of 200 steps that is interrupted again and again ends as one that is not: no step is lost or doubled."""

# persistence-guard: allow-file AP001 an adapter that fails

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from agent_persistence import AdapterError, PersistenceAdapter, SupabaseAdapter, create_persistence_agent
from agent_persistence.ext.langgraph import Checkpointer
from agent_persistence.query.records import Record
from tests.ext.backends import BackEnd, allowing
from tests.ext.counting_graph import STEPS, go_on, steps_in_store
from tests.server import LocalServer

INTERRUPTIONS = 300 if os.environ.get("AGENT_PERSISTENCE_DEEP") else 25
KILLS = 4


class Faulty:
    """An adapter of which one bulk write in twenty fails, before or after it was applied."""

    def __init__(self, adapter: PersistenceAdapter, chances: random.Random) -> None:
        self._adapter: Any = adapter
        self._chances = chances

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        fate = self._chances.choices(["well", "before", "after"], [18, 1, 1])[0]
        if fate == "before":
            raise AdapterError("the connection broke", state="ambiguous")
        stored: int = await self._adapter.bulk_write(table, records, on_conflict=on_conflict)
        if fate == "after":
            raise AdapterError("the connection broke", state="ambiguous")
        return stored


@pytest.mark.asyncio
async def test_a_graph_that_is_cancelled_at_random_loses_and_doubles_no_step(back_end: BackEnd) -> None:
    """While one request in twenty gets no answer."""
    chances = random.Random(back_end.name)
    adapter: Any = Faulty(back_end.adapter(), chances)
    agent = create_persistence_agent(adapter=adapter, **allowing(Checkpointer.tables()))
    cancelled = 0
    while cancelled < INTERRUPTIONS:
        saver = Checkpointer(agent)  # nothing of it is kept between two runs
        with anyio.move_on_after(chances.uniform(0.005, 0.12)) as run:
            await go_on(saver)
        if run.cancelled_caught:
            cancelled += 1
        else:
            await is_whole(saver)
            await saver.adelete_thread("counting")
    await is_whole(Checkpointer(agent))
    await adapter.aclose()


async def is_whole(saver: Checkpointer) -> None:
    """The graph ends with every step once, and so does its history."""
    assert await go_on(saver) == [*range(STEPS)]
    counts = await steps_in_store(saver)
    assert {*counts} == {*range(STEPS + 1)}
    assert all(later - earlier in (0, 1) for later, earlier in itertools.pairwise(counts))


def kill_after(command: Sequence[str], seconds: float) -> None:
    """Let the process run its graph for so long."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)


@pytest.mark.asyncio
async def test_a_process_that_is_killed_loses_and_doubles_no_step(installed: LocalServer) -> None:
    """By SIGKILL, which lets it finish nothing."""
    installed.reset()
    command = [sys.executable, "-m", "tests.ext.counting_graph", installed.url, installed.service_key]
    chances = random.Random(1)
    for _ in range(KILLS):
        await anyio.to_thread.run_sync(kill_after, command, chances.uniform(0.1, 0.7))
    ended = await anyio.run_process(command)
    assert ended.stdout.decode().split() == ["begins", str(STEPS)]
    adapter = SupabaseAdapter(installed.url, installed.service_key)
    agent = create_persistence_agent(adapter=adapter, **allowing(Checkpointer.tables()))
    await is_whole(Checkpointer(agent))
    await adapter.aclose()
