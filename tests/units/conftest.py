"""The server with what units of work need, and a service over each back end."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, PostgresAdapter, SupabaseAdapter, TablePolicy
from agent_persistence.backends.installation import unit_of_work_sql
from agent_persistence.schema.registry import default_schema
from tests.server import LocalServer

TABLES = {"clients", "leads", "conversations", "messages", "sequences", "inquiries"}
POLICY = TablePolicy(read=TABLES, write=TABLES, delete=TABLES)
BACKENDS = ("memory", "postgres", "supabase")


@pytest.fixture(scope="session")
def _installed(local_server: LocalServer) -> LocalServer:
    install(local_server)
    return local_server


@pytest.fixture
def units_server(_installed: LocalServer) -> LocalServer:
    """The real server with the function and an empty ledger, and empty tables."""
    _installed.reset()
    _installed.execute("truncate agent_persistence.ledger")
    return _installed


def install(server: LocalServer) -> None:
    server.execute(unit_of_work_sql())
    server.reload_schema()


def adapter_of(backend: str, server: LocalServer) -> Any:
    if backend == "memory":
        return InMemoryAdapter(schema=default_schema())
    if backend == "postgres":
        return PostgresAdapter(server.database_url, role="service_role")
    return SupabaseAdapter(server.url, server.service_key)


Make = Callable[..., AsyncPersistenceService]


@pytest.fixture(params=BACKENDS)
def adapter(request: pytest.FixtureRequest, units_server: LocalServer) -> Any:
    return adapter_of(request.param, units_server)


@pytest_asyncio.fixture
async def service(adapter: Any) -> AsyncIterator[AsyncPersistenceService]:
    """A service with a ledger, over each back end."""
    async with AsyncPersistenceService(adapter, policy=POLICY, ledger=True, owns_adapter=True) as made:
        yield made
