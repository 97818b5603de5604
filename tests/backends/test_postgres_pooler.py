"""Through a transaction pooler, where each transaction may meet another session."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import psycopg
import pytest

from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.testing import CONTRACT, Law
from tests.backends.pg_proxies import Pooler, listening, through
from tests.server import LocalServer

pytestmark = pytest.mark.anyio
SESSIONS = 3


@asynccontextmanager
async def pooled(server: LocalServer) -> AsyncIterator[tuple[PostgresAdapter, Pooler]]:
    """An adapter with twice as many connections as the pooler has sessions."""
    pooler = Pooler(server.database_url, SESSIONS)
    try:
        async with listening(pooler.handle) as port:
            adapter = PostgresAdapter(
                through(server.database_url, port), max_connections=2 * SESSIONS, claims={"role": "service_role"}
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
        for _ in range(SESSIONS + 1):
            await adapter.count("leads")
        assert pooler.used == [*pooler.pids, pooler.pids[0]]
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(adapter.query, "leads")
        assert len(pooler.used) == SESSIONS + 21


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
