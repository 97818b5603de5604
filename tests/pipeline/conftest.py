"""Stores of rows that are related, over every back end."""

# persistence-guard: allow-file AP001 every back end is under test

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agent_persistence import (
    AsyncPersistenceService,
    InMemoryAdapter,
    PersistenceAdapter,
    PostgresAdapter,
    SupabaseAdapter,
)
from agent_persistence.schema_registry import default_schema
from tests.pipeline.related import POLICY, Made, fill
from tests.server import LocalServer


@pytest_asyncio.fixture(params=["memory", "supabase", "postgres"])
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[PersistenceAdapter]:
    """A store that holds two clients; the leads of one, with their conversations and messages."""
    made: PersistenceAdapter
    if request.param == "memory":
        made = InMemoryAdapter(schema=default_schema())
    else:
        server: LocalServer = request.getfixturevalue("server")
        over_rest = request.param == "supabase"
        made = SupabaseAdapter(server.url, server.service_key) if over_rest else PostgresAdapter(server.database_url)
    await fill(AsyncPersistenceService(made, policy=POLICY))
    yield made
    await made.aclose()


@pytest.fixture
def made(adapter: PersistenceAdapter) -> Made:
    return lambda **options: AsyncPersistenceService(
        adapter, **{"policy": POLICY, "schema": default_schema(), "row_cap": 1000, **options}
    )
