"""A merge by a partial or expression index: refused by every back end with what helps, and nothing is stored."""

# persistence-guard: allow-file AP001 every back end is under test

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    InMemoryAdapter,
    PostgresAdapter,
    SupabaseAdapter,
    TablePolicy,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.schema_registry import Column, Schema, Table
from tests.server import LocalServer

pytestmark = pytest.mark.asyncio
DROP = "drop table if exists pages cascade;"
SQL = """
create table pages (id uuid primary key, slug text, email text, mail text generated always as (lower(email)) stored,
  deleted_at timestamptz);
create unique index on pages (slug) where deleted_at is null;
create unique index on pages (lower(email));
create unique index on pages (mail);
grant all on pages to service_role;
"""
COLUMNS = {name: Column("text") for name in ("slug", "email", "mail")}
PAGES = Table({"id": Column("uuid", nullable=False), **COLUMNS}, primary_key=("id",))


@pytest.fixture(scope="module")
def _table(local_server: LocalServer) -> Iterator[None]:
    local_server.execute(DROP + SQL)
    local_server.reload_schema()
    yield
    local_server.execute(DROP)
    local_server.reload_schema()


@pytest_asyncio.fixture(params=["memory", "supabase", "postgres"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[AsyncPersistenceService]:
    if request.param == "memory":
        adapter: Any = InMemoryAdapter(schema=Schema({"pages": PAGES}))
    else:
        request.getfixturevalue("_table")
        server: LocalServer = request.getfixturevalue("local_server")
        server.execute("truncate pages")
        over_rest = request.param == "supabase"
        adapter = SupabaseAdapter(server.url, server.service_key) if over_rest else PostgresAdapter(server.database_url)
    policy = TablePolicy(read={"pages"}, write={"pages"})
    keys = {"pages": "id"}
    async with AsyncPersistenceService(
        adapter, policy=policy, client_keys=keys, row_cap=1000, owns_adapter=True
    ) as made:
        yield made


@pytest.mark.parametrize("column", ["slug", "email"])
@pytest.mark.parametrize("verb", ["upsert", "upsert_many", "bulk_write", "write"])
async def test_it_is_refused_with_what_helps(pages: AsyncPersistenceService, column: str, verb: str) -> None:
    """By its code, and in words for whoever made the index."""
    record: Any = {column: "a"}
    options: dict[str, Any] = {"on_conflict": [column]}
    if verb == "write":
        options["on_duplicate"] = "ignore"
    with pytest.raises(AdapterError) as caught:
        await getattr(pages, verb)("pages", [record] if verb in ("upsert_many", "bulk_write") else record, **options)
    assert (caught.value.code, caught.value.state) == ("42P10", FailureState.REJECTED)
    assert "an index with WHERE or on an expression is none" in str(caught.value)
    assert "No unique rule covers the columns" in caught.value.for_model()
    assert await pages.count("pages") == 0
