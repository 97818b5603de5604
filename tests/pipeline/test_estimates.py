"""Counts that may be estimates, over every back end, and what is shared with exact ones: nothing."""

# persistence-guard: allow-file AP001 every back end is under test

from __future__ import annotations

from typing import Any

import anyio
import pytest

from agent_persistence import (
    AsyncPersistenceService,
    ColumnNotAllowedError,
    InMemoryAdapter,
    PostgresAdapter,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
    TenantScope,
    ValidationError,
    in_,
)
from agent_persistence.context import CallContext
from agent_persistence.operations import Count, Operation, Result
from agent_persistence.schema_registry import default_schema
from agent_persistence.sync import PersistenceService
from tests.doubles import RecordingAdapter
from tests.server import LocalServer

pytestmark = pytest.mark.asyncio
FEW, MANY = 3, 4_000


def over(adapter: Any, **options: Any) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter, **{"schema": default_schema(), "row_cap": 1000, **options})


def filled(server: LocalServer, rows: int) -> None:
    """Leads of which the planner knows how many they are; a tenth is lost."""
    server.execute(
        "insert into leads (email, status) select i || '@x.example', case when i % 10 = 0 then 'lost' else 'new' end"
        f" from generate_series(1, {rows}) i; analyze leads"
    )


@pytest.mark.parametrize("make", [SupabaseAdapter, PostgresAdapter])
async def test_many_rows_are_estimated_within_a_tenth(server: LocalServer, make: Any) -> None:
    """After ANALYZE the planner knows the table, and how frequent each status is."""
    filled(server, MANY)
    adapter = make(server.database_url) if make is PostgresAdapter else make(server.url, server.service_key)
    async with over(adapter, owns_adapter=True) as service:
        assert await service.count("leads", estimated=True) == pytest.approx(MANY, rel=0.1)
        assert await service.count("leads", {"status": "lost"}, estimated=True) == pytest.approx(MANY / 10, rel=0.1)
        assert await service.count("leads", {"status": in_([])}, estimated=True) == 0
        assert await service.count("leads") == MANY


async def test_postgresql_reads_no_row_for_it(server: LocalServer) -> None:
    """The plan is made and not carried out: what was inserted since ANALYZE is not counted one by one."""
    filled(server, MANY)
    server.execute("insert into leads (email) values ('late@x.example')")
    async with over(PostgresAdapter(server.database_url), owns_adapter=True) as service:
        assert await service.count("leads", {"email": "nobody@x.example"}, estimated=True) >= 1
        assert await service.count("leads", {"email": "nobody@x.example"}) == 0


async def test_postgrest_is_asked_for_an_estimate() -> None:
    """By the preference; an exact count asks for an exact one."""
    from agent_persistence.backends.postgrest.rendering import render_count

    asked = [dict(render_count("leads", None, estimated=each).headers)["Prefer"] for each in (True, False)]
    assert asked == ["count=estimated", "count=exact"]


async def test_memory_and_adapters_of_others_count_exactly() -> None:
    """They have no statistics, and an exact number is an estimate too."""
    rows = {"leads": [{"email": f"{n}@x.example"} for n in range(FEW)]}
    adapter = RecordingAdapter(InMemoryAdapter(rows))
    for store in (InMemoryAdapter(rows), adapter):
        assert await over(store).count("leads", estimated=True) == FEW
    assert PersistenceService(InMemoryAdapter(rows)).count("leads", estimated=True) == FEW
    assert await over(InMemoryAdapter(rows)).readonly().count("leads", estimated=True) == FEW
    with pytest.raises(ValidationError, match="True or False"):
        await over(adapter).count("leads", estimated="yes")  # type: ignore[arg-type]
    assert adapter.verbs == ["count"]


class Guessing(InMemoryAdapter):
    """Its estimates are a hundred too high, so that one can be told from a count."""

    def __init__(self) -> None:
        super().__init__({"leads": [{"email": f"{n}@x.example"} for n in range(FEW)]})
        self.counts: list[Count] = []

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        result = await super().execute(operation, context)
        if isinstance(operation, Count):
            self.counts.append(operation)
            return Result(result.value + 100 * operation.estimated)
        return result


@pytest.mark.parametrize("options", [{"cache": True}, {"coalesce": True}, {"cache": True, "coalesce": True}], ids=str)
async def test_neither_cache_nor_shared_requests_mix_the_two(options: dict[str, Any]) -> None:
    """Whoever asks for an exact number gets one, also while an estimate is under way or kept."""
    store = Guessing()
    service, counted = over(store, **options), dict[int, int]()

    async def ask(place: int) -> None:
        counted[place] = await service.count("leads", estimated=place % 2 == 1)

    for _ in range(2):
        async with anyio.create_task_group() as group:
            for place in range(8):
                group.start_soon(ask, place)
        assert counted == {place: FEW + 100 * (place % 2) for place in range(8)}
    assert len(store.counts) == (2 if "cache" in options else 4)


async def test_an_estimate_is_held_to_policy_tenant_and_rows() -> None:
    """As an exact count is."""
    store = Guessing()
    with pytest.raises(TableNotAllowedError):
        await over(store, policy=TablePolicy(read={"clients"})).count("leads", estimated=True)
    hidden = TablePolicy(read={"leads"}, columns={"leads": ["id"]})
    with pytest.raises(ColumnNotAllowedError):
        await over(store, policy=hidden).count("leads", {"email": "0@x.example"}, estimated=True)
    mine = InMemoryAdapter({"notes": [{"tenant_id": tenant} for tenant in "aab"]})
    service = AsyncPersistenceService(mine, policy=TablePolicy(read={"notes"}), tenant=TenantScope("a"))
    assert await service.count("notes", estimated=True) == 2
