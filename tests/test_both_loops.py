"""One agent over several event loops, on asyncio and on trio."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agent_persistence import (
    AuditEvent,
    InMemoryAdapter,
    PersistenceAgent,
    TableNotAllowedError,
    create_persistence_agent,
    create_readonly_rag_facade,
)

BACKENDS = ["asyncio", "trio"]


async def _use(agent: PersistenceAgent, email: str) -> list[dict[str, Any]]:
    await agent.write("leads", {"email": email})
    await agent.upsert("leads", {"email": email, "company": "A"}, ["email"])
    with pytest.raises(TableNotAllowedError):
        await agent.write("clients", {"name": "x"})
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(agent.query, "leads")
    return await agent.query("leads", order_by="email")


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_agent_works_over_several_event_loops(backend: str) -> None:
    """Each `run` has a loop of its own, and the rows stay."""
    agent = create_persistence_agent("memory")
    for number in range(3):
        rows = anyio.run(_use, agent, f"{number}@a.example", backend=backend)
        assert [row["email"][0] for row in rows] == [str(n) for n in range(number + 1)]


def test_one_agent_works_over_several_calls_of_asyncio_run() -> None:
    """Without anyio's own entrance, and also after it was closed in one of them."""
    agent = create_persistence_agent("memory")
    asyncio.run(_use(agent, "0@a.example"))
    asyncio.run(agent.aclose())
    assert len(asyncio.run(_use(agent, "1@a.example"))) == 2


def test_one_agent_changes_between_asyncio_and_trio() -> None:
    """Nothing in it is bound to a loop, the audit included."""
    told: list[AuditEvent] = []

    async def hook(event: AuditEvent) -> None:
        await anyio.lowlevel.checkpoint()
        told.append(event)

    agent = create_persistence_agent("memory", audit=hook)
    for number, backend in enumerate(BACKENDS * 2):
        anyio.run(_use, agent, f"{number}@a.example", backend=backend)
    assert len(told) == 4 * 9


def test_agents_in_several_threads_share_one_store() -> None:
    """Each thread runs its own loop; no row is lost."""

    def work(number: int) -> None:
        agent = create_persistence_agent("memory")
        anyio.run(_use, agent, f"{number}@a.example", backend=BACKENDS[number % 2])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(8)))
    assert len(asyncio.run(create_readonly_rag_facade("memory").query("leads"))) == 8


def test_a_private_store_works_over_several_loops_too() -> None:
    """The store itself holds nothing of a loop."""
    adapter = InMemoryAdapter()
    for number, backend in enumerate(BACKENDS):
        rows = anyio.run(_use, create_persistence_agent("memory", adapter=adapter), f"{number}@a", backend=backend)
        assert len(rows) == number + 1
