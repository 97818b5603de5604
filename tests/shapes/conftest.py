"""A server with tables of any shape, what the catalogues tell of them, and agents over each back end."""

# persistence-guard: allow-file AP001 the suite runs over each adapter

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent_persistence import (
    InMemoryAdapter,
    PersistenceAdapter,
    PersistenceAgent,
    PostgresAdapter,
    Schema,
    SupabaseAdapter,
    TablePolicy,
    create_persistence_agent,
)
from agent_persistence.cli.catalogue import pulled_schema
from agent_persistence.cli.database import Database
from tests.server import LocalServer, running_server


@pytest.fixture(scope="session")
def shapes_server() -> Iterator[LocalServer]:
    """The server of shapes.sql."""
    with running_server(schema=Path(__file__).parent / "shapes.sql", exposed=("public", "audit")) as server:
        yield server


def pulled(server: LocalServer, db_schema: str = "public") -> Schema:
    """What the catalogues of the server's database tell."""

    async def main() -> Schema:
        adapter = PostgresAdapter(server.database_url)
        try:
            return await pulled_schema(Database(adapter), db_schema)
        finally:
            await adapter.aclose()

    return anyio.run(main)


@pytest.fixture(scope="session")
def shapes(shapes_server: LocalServer) -> Schema:
    """The pulled schema, with what no catalogue tells: which parts of JSON columns may be asked for."""
    document = pulled(shapes_server).to_document()
    document["tables"]["User"]["paths"] = ["custom Data->>role", "custom Data->tags->0"]
    return Schema.from_document(document)


@dataclass(frozen=True)
class BackEnd:
    """One place for rows of any shape: empty, whatever was there before."""

    name: str
    server: LocalServer
    schema: Schema
    memory: InMemoryAdapter

    def adapter(self) -> PersistenceAdapter:
        if self.name == "memory":
            return self.memory
        if self.name == "postgres":
            return PostgresAdapter(self.server.database_url, role="service_role")
        return SupabaseAdapter(self.server.url, self.server.service_key, schema=self.schema)

    @asynccontextmanager
    async def agent(self, **options: Any) -> AsyncIterator[PersistenceAgent]:
        """An agent that may do everything with the declared tables."""
        tables = list(self.schema.tables)
        policy = TablePolicy(read=tables, write=tables, delete=tables)
        adapter = options.pop("adapter", None) or self.adapter()
        agent = create_persistence_agent(adapter=adapter, **{"schema": self.schema, "policy": policy, **options})
        try:
            yield agent
        finally:
            await agent.aclose()
            await adapter.aclose()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "postgres", "supabase"])
def backend(request: pytest.FixtureRequest, shapes_server: LocalServer, shapes: Schema) -> BackEnd:
    """Each back end, empty."""
    shapes_server.reset()
    return BackEnd(request.param, shapes_server, shapes, InMemoryAdapter(schema=shapes))


@pytest.fixture(params=["postgres", "supabase"])
def database(request: pytest.FixtureRequest, shapes_server: LocalServer, shapes: Schema) -> BackEnd:
    """Each back end that asks PostgreSQL, empty."""
    shapes_server.reset()
    return BackEnd(request.param, shapes_server, shapes, InMemoryAdapter(schema=shapes))
