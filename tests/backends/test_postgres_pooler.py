"""Through a transaction pooler, where each transaction may meet another session."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import psycopg
import pytest

from agent_persistence import AsyncPersistenceService
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.postgres.statements import Statement
from agent_persistence.testing import CONTRACT, Law
from tests.backends.pg_proxies import Pooler, listening, through
from tests.server import LocalServer

pytestmark = pytest.mark.anyio
SESSIONS = 3
PREPARED = Statement("select count(*)::text from pg_prepared_statements where name like 'agent_persistence%'")


@asynccontextmanager
async def pooled(server: LocalServer, **options: Any) -> AsyncIterator[tuple[PostgresAdapter, Pooler]]:
    """An adapter with twice as many connections as the pooler has sessions."""
    pooler = Pooler(server.database_url, SESSIONS)
    try:
        async with listening(pooler.handle) as port:
            adapter = PostgresAdapter(
                through(server.database_url, port),
                max_connections=2 * SESSIONS,
                claims={"role": "service_role"},
                **options,
            )
            try:
                yield adapter, pooler
            finally:
                await adapter.aclose()
    finally:
        pooler.close()


@pytest.mark.parametrize("law", CONTRACT, ids=lambda law: law.__name__)
async def test_every_law_holds_through_a_transaction_pooler(server: LocalServer, law: Law) -> None:
    """Prepared statements, settings or temporary tables of a session would break some."""
    async with pooled(server) as (adapter, _):
        await law(adapter)


async def test_each_transaction_meets_another_session(server: LocalServer) -> None:
    """Control: the pooler does change them, also under many calls at once."""
    async with pooled(server) as (adapter, pooler):
        for _ in range(SESSIONS):
            await adapter.count("leads")
        first, *others = pooler.pids
        assert pooler.used == [first, *others, first]  # by the first of them the pooler was noticed
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(adapter.query, "leads")
        assert len(pooler.used) >= SESSIONS + 21


async def test_nothing_is_prepared_through_a_pooler(server: LocalServer) -> None:
    """The process that answers is not the one that let the client in."""
    async with pooled(server) as (adapter, _):
        for _ in range(4 * SESSIONS):
            await adapter.count("leads")
        for _ in range(SESSIONS):
            assert await adapter.ask(PREPARED) == b"0"


@pytest.mark.parametrize("law", [law for law in CONTRACT if "concurrent" in law.__name__ or "write" in law.__name__])
async def test_a_pooler_that_cannot_be_noticed_costs_no_call(server: LocalServer, law: Law) -> None:
    """What is prepared in one session is missing in another, which refuses it; the call is made again as text."""
    async with pooled(server, prepare=True) as (adapter, _), AsyncPersistenceService(adapter) as service:
        for number in range(4 * SESSIONS):
            await service.write("leads", {"email": f"{number}@b.example"})
            assert await service.count("leads") == number + 1
        await service.update("leads", {"company": "B"}, {"company": None})
        await adapter.delete("leads", {"company": "B"})
        await law(adapter)


async def test_a_session_that_is_relied_upon_is_noticed(server: LocalServer) -> None:
    """Control: a client that sets something for its session does not find it in the next transaction."""
    pooler = Pooler(server.database_url, SESSIONS)
    async with listening(pooler.handle) as port:

        def ask() -> str:
            with psycopg.connect(through(server.database_url, port), autocommit=True) as connection:
                connection.execute("set work_mem = '5MB'")
                row = connection.execute("show work_mem").fetchone()
                return str(row and row[0])

        assert await anyio.to_thread.run_sync(ask) != "5MB"
    pooler.close()
