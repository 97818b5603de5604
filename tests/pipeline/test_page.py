"""Rows and their total in one answer, over every back end."""

# persistence-guard: allow-file AP001 every back end is under test

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from agent_persistence import (
    AsyncPersistenceService,
    AuditEvent,
    InMemoryAdapter,
    PersistenceAdapter,
    PostgresAdapter,
    SupabaseAdapter,
    TablePolicy,
    TenantScope,
    ValidationError,
    gte,
)
from agent_persistence.operations import Page
from agent_persistence.schema_registry import default_schema
from tests.doubles import RecordingAdapter
from tests.server import LocalServer

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["memory", "supabase", "postgres"])
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[PersistenceAdapter]:
    """A store of ten leads."""
    made: PersistenceAdapter
    if request.param == "memory":
        made = InMemoryAdapter(schema=default_schema())
    else:
        server: LocalServer = request.getfixturevalue("server")
        over_rest = request.param == "supabase"
        made = SupabaseAdapter(server.url, server.service_key) if over_rest else PostgresAdapter(server.database_url)
    await made.batch_write("leads", [{"email": f"{n}@x.example", "score": n} for n in range(10)])
    yield made
    await made.aclose()


def _service(adapter: PersistenceAdapter, **options: Any) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter, **{"schema": default_schema(), "row_cap": 1000, **options})


@pytest.mark.parametrize("row_cap", [1000, 2])
@pytest.mark.parametrize(
    ("offset", "emails"), [(0, ["2", "3", "4"]), (6, ["8", "9"]), (20, [])], ids=["first", "last", "behind the last"]
)
async def test_a_page_has_its_rows_and_the_number_of_all(
    adapter: PersistenceAdapter, offset: int, emails: list[str], row_cap: int
) -> None:
    """Whatever the page holds, and however few rows the server sends at once."""
    page = await _service(adapter, row_cap=row_cap).page(
        "leads", {"score": gte(2)}, limit=3, offset=offset, order_by="email", select=["email"]
    )
    assert page == Page([{"email": f"{name}@x.example"} for name in emails], 8)


async def test_it_is_one_call_to_whoever_watches(adapter: PersistenceAdapter) -> None:
    """And one request."""
    events: list[AuditEvent] = []
    await _service(adapter, audit=events.append).page("leads", limit=3)
    assert [(event.verb, event.row_count) for event in events] == [("query", 3)]


@pytest.mark.parametrize("options", [{"cache": True}, {"coalesce": True}, {"cache": True, "coalesce": True}])
async def test_the_total_is_kept_with_the_rows(adapter: PersistenceAdapter, options: dict[str, Any]) -> None:
    """By a cache, and where callers share a request."""
    service = _service(adapter, **options)
    first = await service.page("leads", limit=3, order_by="email")
    assert (first.total, len(first.rows)) == (10, 3)
    assert await service.page("leads", limit=3, order_by="email") == first
    if service.cache is not None:
        assert (service.cache.stats.hits, service.cache.stats.misses) == (1, 1)


async def test_the_rules_of_a_policy_hold_for_the_total(adapter: PersistenceAdapter) -> None:
    """It counts what the caller may see, and nothing else."""
    policy = TablePolicy(
        read={"leads"}, rows={"leads": {"email": "3@x.example"}}, columns={"leads": {"read": ["email"]}}
    )
    page = await _service(adapter, policy=policy).page("leads", limit=5)
    assert page == Page([{"email": "3@x.example"}], 1)


async def test_a_tenant_counts_its_own() -> None:
    """The rows of others are not in the total."""
    rows = [{"id": n, "tenant_id": "ab"[n % 2]} for n in range(5)]
    service = AsyncPersistenceService(
        InMemoryAdapter({"notes": rows}), policy=TablePolicy(read={"notes"}), tenant=TenantScope("a")
    )
    assert await service.page("notes", limit=1, order_by="id", select=["id"]) == Page([{"id": 0}], 3)


async def test_an_adapter_that_counts_apart_is_asked_apart() -> None:
    """One of six verbs and a count."""
    adapter = RecordingAdapter()
    page = await AsyncPersistenceService(adapter, row_cap=1000).page("leads", limit=3)
    assert [call[0] for call in adapter.calls] == ["query", "count"]
    assert page.total is not None


@pytest.mark.parametrize("limit", [0, -1, None, "3", True])
async def test_a_page_has_a_limit(limit: Any) -> None:
    """Of at least one row."""
    with pytest.raises(ValidationError, match="limit is an int of at least 1"):
        await _service(InMemoryAdapter()).page("leads", limit=limit)
