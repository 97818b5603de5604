"""Rows that are deleted by a mark, under a policy that hides them: who can delete, restore and write over them."""

# persistence-guard: allow-file AP001 every back end is under test

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from agent_persistence import (
    NULL,
    AsyncPersistenceService,
    ColumnNotAllowedError,
    ConflictError,
    InMemoryAdapter,
    PostgresAdapter,
    SupabaseAdapter,
    TablePolicy,
    ValidationError,
)
from agent_persistence.schema_registry import Column, Generated, Schema, Table
from tests.server import LocalServer

pytestmark = pytest.mark.asyncio

DROP = "drop table if exists docs cascade;"
SQL = """
create table docs (id uuid primary key default gen_random_uuid(), slug text not null unique,
  title text, deleted_at timestamptz);
grant all on docs to service_role;
"""
SCHEMA = Schema(
    {
        "docs": Table(
            {
                "id": Column("uuid", nullable=False, default=Generated.UUID),
                "slug": Column("text", nullable=False),
                "title": Column("text"),
                "deleted_at": Column("timestamptz"),
            },
            primary_key=("id",),
            unique=(("slug",),),
        )
    }
)
EVERYTHING = TablePolicy(read={"docs"}, write={"docs"}, delete={"docs"})
LIVE = TablePolicy(read={"docs"}, write={"docs"}, delete={"docs"}, rows={"docs": {"deleted_at": None}})
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def _table(local_server: LocalServer) -> Iterator[None]:
    local_server.execute(DROP + SQL)
    local_server.reload_schema()
    yield
    local_server.execute(DROP)
    local_server.reload_schema()


@pytest_asyncio.fixture(params=["memory", "supabase", "postgres"])
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A store of two documents, of which one is deleted."""
    if request.param == "memory":
        made: Any = InMemoryAdapter(schema=SCHEMA)
    else:
        request.getfixturevalue("_table")
        server: LocalServer = request.getfixturevalue("local_server")
        server.execute("truncate docs")
        over_rest = request.param == "supabase"
        made = SupabaseAdapter(server.url, server.service_key) if over_rest else PostgresAdapter(server.database_url)
    async with over(made, EVERYTHING) as keeper:
        await keeper.batch_write("docs", [{"slug": "here"}, {"slug": "gone", "title": "T", "deleted_at": NOON}])
    yield made
    await made.aclose()


def over(adapter: Any, policy: TablePolicy, **options: Any) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter, policy=policy, **{"schema": SCHEMA, "row_cap": 1000, **options})


async def test_a_deleted_row_is_as_one_that_does_not_exist(adapter: Any) -> None:
    """For reads, counts, changes and deletions, also where it is kept in a cache."""
    live = over(adapter, LIVE, cache=True, coalesce=True)
    assert [row["slug"] for row in await live.query("docs")] == ["here"]
    assert await live.read("docs", "gone", "slug") is None
    assert await live.count("docs") == 1
    assert await live.update("docs", {"title": "new"}, {"slug": "gone"}) == []
    assert await live.delete("docs", {"slug": "gone"}) == []
    assert [row["slug"] async for row in live.iterate("docs")] == ["here"]


async def test_the_service_that_sees_all_rows_deletes_and_restores(adapter: Any) -> None:
    """By the mark, over the same adapter; the other one sees the row go and come back."""
    live, keeper = over(adapter, LIVE), over(adapter, EVERYTHING)
    changed = await keeper.update("docs", {"deleted_at": NOON}, {"slug": "here", "deleted_at": None}, max_affected=1)
    assert (len(changed), await live.count("docs")) == (1, 0)
    restored = await keeper.update("docs", {"deleted_at": NULL}, {"slug": "gone"}, max_affected=1)
    assert [row["title"] for row in restored] == ["T"]
    assert [row["slug"] for row in await live.query("docs")] == ["gone"]


async def test_the_service_that_sees_all_rows_writes_over_a_deleted_one(adapter: Any) -> None:
    """An upsert that clears the mark brings the row back, with its key."""
    live, keeper = over(adapter, LIVE), over(adapter, EVERYTHING)
    row = await keeper.upsert("docs", {"slug": "gone", "title": "again", "deleted_at": NULL}, on_conflict=["slug"])
    assert (row["title"], await live.count("docs")) == ("again", 2)
    assert await keeper.write("docs", {"slug": "gone"}, on_duplicate="ignore") is None


async def test_the_service_that_sees_live_rows_says_why_it_cannot_and_who_can(adapter: Any) -> None:
    """It neither sets the mark nor merges or ignores by a key that a row it does not see may have."""
    live = over(adapter, LIVE)
    for call in (
        live.update("docs", {"deleted_at": NOON}, {"slug": "here"}),
        live.update("docs", {"deleted_at": NULL}, {"slug": "gone"}),
        live.write("docs", {"slug": "new", "deleted_at": NOON}),
    ):
        with pytest.raises(ColumnNotAllowedError, match="limits the rows that this policy allows") as refused:
            await call
        assert "Soft delete" in str(refused.value)
        assert "rows=" not in refused.value.for_model()
    for other in (
        live.upsert("docs", {"slug": "gone", "title": "mine"}, on_conflict=["slug"]),
        live.upsert_many("docs", [{"slug": "gone", "title": "mine"}], ["slug"]),
        live.bulk_write("docs", [{"slug": "gone", "title": "mine"}], ["slug"]),
        live.bulk_write("docs", [{"slug": "gone"}], on_duplicate="ignore"),
        live.write("docs", {"slug": "gone"}, on_duplicate="ignore"),
    ):
        with pytest.raises(ValidationError, match="a row outside of those this policy allows") as unmerged:
            await other
        assert "Soft delete" in str(unmerged.value)
        assert "rows=" not in unmerged.value.for_model()
    with pytest.raises(ConflictError) as taken:
        await live.write("docs", {"slug": "gone"})
    assert taken.value.code == "23505"
    (row,) = await over(adapter, EVERYTHING).query("docs", {"slug": "gone"})
    assert (row["title"], row["deleted_at"] is not None) == ("T", True)


async def test_a_unit_of_work_holds_it_as_well() -> None:
    """Nothing of it is applied."""
    adapter = InMemoryAdapter({"docs": [{"id": str(UUID(int=1)), "slug": "gone", "deleted_at": NOON}]}, schema=SCHEMA)
    live = over(adapter, LIVE)
    unit = live.unit_of_work()
    unit.write("docs", {"slug": "new"})
    unit.update("docs", {"deleted_at": NULL}, {"slug": "gone"})
    with pytest.raises(ColumnNotAllowedError):
        await unit.commit()
    assert await adapter.count("docs") == 1
