"""A graph of 200 steps that is interrupted again and again ends as one that is not: no step is lost or doubled."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from agent_persistence import AdapterError, PersistenceAdapter, create_persistence_agent
from agent_persistence.ext.langgraph import Checkpointer
from agent_persistence.query.records import Record
from tests.ext.backends import BackEnd, allowing
from tests.ext.counting_graph import go_on
from tests.ext.killed_graph import beside_the_way, over_rest, over_sql
from tests.server import LocalServer

INTERRUPTIONS = 300 if os.environ.get("AGENT_PERSISTENCE_DEEP") else 25
KILLS = 3


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
    """While one request in twenty gets no answer.

    A run that was cancelled is still being stored for a while, so that each graph has a thread of its own.
    """
    chances = random.Random(back_end.name)
    adapter: Any = Faulty(back_end.adapter(), chances)
    agent = create_persistence_agent(adapter=adapter, **allowing(Checkpointer.tables()))
    cancelled, ended = 0, 0
    while cancelled < INTERRUPTIONS:
        saver = Checkpointer(agent)  # nothing of it is kept between two runs
        with anyio.move_on_after(chances.uniform(0.005, 0.12)) as run:
            await go_on(saver, f"graph {ended}")
        if run.cancelled_caught:
            cancelled += 1
        else:
            await beside_the_way(saver, f"graph {ended}")
            ended += 1
    await beside_the_way(Checkpointer(agent), f"graph {ended}")
    await adapter.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("over", [over_rest, over_sql])
async def test_a_process_that_is_killed_loses_and_doubles_no_step(installed: LocalServer, over: Any) -> None:
    """By SIGKILL, behind connections that break; `python -m tests.ext.killed_graph` does it hundreds of times."""
    installed.reset()
    figures = await over(installed, KILLS, random.Random(1))
    assert (figures.outcomes["killed"] >= KILLS, figures.threads >= 1) == (True, True)
