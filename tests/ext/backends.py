"""Agents over each back end, for integrations that keep their rows in tables of their own."""

# persistence-guard: allow-file AP001 the suites run over each adapter

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from agent_persistence import (
    InMemoryAdapter,
    PersistenceAdapter,
    PersistenceAgent,
    PostgresAdapter,
    Schema,
    SupabaseAdapter,
    Table,
    TablePolicy,
    create_persistence_agent,
)
from tests.server import LocalServer

NAMES = ("memory", "postgres", "supabase")
UID = """create or replace function auth.uid() returns uuid stable language sql as $$ select coalesce(
  nullif(current_setting('request.jwt.claim.sub', true), ''),
  nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$"""
"""As the hosted one: the local server says who it is in a form of its own."""


@dataclass(frozen=True)
class BackEnd:
    """One place for rows: agents that are opened on it see each other's."""

    name: str
    server: LocalServer | None
    memory: InMemoryAdapter | None

    def adapter(self) -> PersistenceAdapter:
        if self.memory is not None:
            return self.memory
        assert self.server is not None
        if self.name == "postgres":
            return PostgresAdapter(self.server.database_url)
        return SupabaseAdapter(self.server.url, self.server.service_key)

    @asynccontextmanager
    async def agent(self, tables: Mapping[str, Table], **options: Any) -> AsyncIterator[PersistenceAgent]:
        """An agent that may do everything with these tables."""
        adapter = self.adapter()
        policy = TablePolicy(read=tables, write=tables, delete=tables)
        try:
            yield create_persistence_agent(adapter=adapter, **{"schema": Schema(tables), "policy": policy, **options})
        finally:
            if self.memory is None:
                await adapter.aclose()


def allowing(tables: Mapping[str, Table]) -> dict[str, Any]:
    """The options of an agent that may do everything with these tables."""
    return {"schema": Schema(tables), "policy": TablePolicy(read=tables, write=tables, delete=tables)}
