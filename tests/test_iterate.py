"""Streaming a table by its key, with one page in memory."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import pytest_asyncio

from agent_persistence import (
    AsyncPersistenceService,
    InMemoryAdapter,
    Schema,
    SupabaseAdapter,
    TablePolicy,
    ValidationError,
    gte,
    sync,
)
from agent_persistence.schema_registry import Column, Table, default_schema
from tests.doubles import RecordingAdapter
from tests.server import LocalServer

LEADS = [
    {"email": f"{number:03}@x.io", "score": None if number % 5 == 0 else number % 4, "company": f"c{number % 3}"}
    for number in range(103)
]


def _memory() -> InMemoryAdapter:
    return InMemoryAdapter({"leads": LEADS}, schema=default_schema())


@pytest_asyncio.fixture(params=["memory", "supabase"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[AsyncPersistenceService]:
    if request.param == "memory":
        yield AsyncPersistenceService(_memory())
        return
    server: LocalServer = request.getfixturevalue("server")
    async with AsyncPersistenceService(
        SupabaseAdapter(server.url, server.service_key), owns_adapter=True, policy=TablePolicy.default()
    ) as service:
        await service.batch_write("leads", LEADS)
        yield service


@pytest.mark.asyncio
@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize("page_size", [1, 10, 102, 103, 104])
@pytest.mark.parametrize("order_by", ["id", "email", "score", "company"])
async def test_every_row_comes_once_in_order(
    service: AsyncPersistenceService, order_by: str, page_size: int, descending: bool
) -> None:
    """Whatever the page size, with ties and NULLs in the column, as one query would give them."""
    if page_size == 1 and order_by != "email":
        page_size = 2
    found = service.iterate("leads", order_by=order_by, page_size=page_size, descending=descending)
    assert [row async for row in found] == await service.query("leads", None, None, [order_by, "id"], descending)


@pytest.mark.asyncio
async def test_filters_and_columns_hold_on_every_page(service: AsyncPersistenceService) -> None:
    """The keys that paging needs are not shown unless they were asked for."""
    rows = [row async for row in service.iterate("leads", {"score": gte(2)}, page_size=7, select=["company"])]
    assert len(rows) == await service.count("leads", {"score": gte(2)})
    assert {tuple(row) for row in rows} == {("company",)}


@pytest.mark.asyncio
async def test_rows_written_meanwhile_do_not_repeat_or_hide_others() -> None:
    """Offsets would shift when a row is inserted before the position; a key does not."""
    service = AsyncPersistenceService(_memory())
    emails = []
    async for row in service.iterate("leads", order_by="email", page_size=10):
        emails.append(row["email"])
        if len(emails) % 10 == 5:
            await service.write("leads", {"email": f"!{len(emails)}@x.io"})
    assert emails == [lead["email"] for lead in LEADS]


@pytest.mark.asyncio
async def test_only_one_page_is_asked_for_at_a_time() -> None:
    """A caller that stops early costs one page."""
    adapter = RecordingAdapter(_memory())
    async for _ in AsyncPersistenceService(adapter, row_cap=1000).iterate("leads", page_size=10):
        break
    assert adapter.verbs == ["query"]


def test_it_streams_on_trio() -> None:
    """The same loop on the other event loop."""

    async def count() -> int:
        return len([row async for row in AsyncPersistenceService(_memory()).iterate("leads", page_size=9)])

    assert anyio.run(count, backend="trio") == 103


def test_it_streams_without_await() -> None:
    """The sync module gives a plain iterator."""
    service = sync.PersistenceService(_memory())
    assert sum(1 for _ in service.iterate("leads", page_size=25)) == 103
    assert next(iter(service.iterate("leads", order_by="email")))["email"] == "000@x.io"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "wrong", [{"page_size": 0}, {"page_size": "5"}, {"order_by": []}, {"order_by": [5]}, {"select": "id"}]
)
async def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    """With a typed error, before anything is read."""
    adapter = RecordingAdapter(_memory())
    with pytest.raises(ValidationError):
        async for _ in AsyncPersistenceService(adapter).iterate("leads", **wrong):
            pass
    assert adapter.calls == []


@pytest.mark.asyncio
async def test_ties_in_a_table_without_a_known_key_are_refused() -> None:
    """Nothing would keep equal rows apart."""
    service = AsyncPersistenceService(
        InMemoryAdapter({"odd": [{"a": 1}, {"a": 1}]}), policy=TablePolicy(read=frozenset({"odd"}))
    )
    with pytest.raises(ValidationError, match="Schema"):
        async for _ in service.iterate("odd", order_by="a"):
            pass
    assert [row["a"] async for row in service.iterate("odd")] == [1, 1]


@pytest.mark.anyio
async def test_ties_in_a_table_that_is_declared_without_a_key_are_refused() -> None:
    """A view has none; by `id`, which is taken to be unique, it can be streamed."""
    view = Table({"id": Column("bigint"), "email": Column("text")}, primary_key=())
    adapter = RecordingAdapter(InMemoryAdapter({"leads": [{"id": 1}, {"id": 2}]}))
    service = AsyncPersistenceService(adapter, schema=Schema({"leads": view}))
    with pytest.raises(ValidationError, match="ties of 'email'"):
        await anext(aiter(service.iterate("leads", order_by="email")))
    assert [row["id"] async for row in service.iterate("leads", page_size=1)] == [1, 2]


DOCUMENTED = Schema({"notes": Table({"id": Column("integer"), "doc": Column("jsonb"), "tags": Column("text[]")})})


@pytest.mark.parametrize("order_by", ["doc", "tags"])
@pytest.mark.asyncio
async def test_a_document_or_an_array_is_no_order(order_by: str) -> None:
    """Refused before anything is sent where the schema tells the type: no filter says "behind this row" by them."""
    adapter = RecordingAdapter()
    service = AsyncPersistenceService(adapter, policy=TablePolicy(read={"notes"}), schema=DOCUMENTED)
    with pytest.raises(ValidationError, match="plain values"):
        await anext(service.iterate("notes", order_by=order_by))
    assert adapter.calls == []


@pytest.mark.parametrize("value", [{"a": 1}, [1], [], {}])
@pytest.mark.asyncio
async def test_a_document_under_another_declaration_is_found_before_the_first_row(value: Any) -> None:
    """The first page shows it; not one row of it is given."""
    rows = [{"id": 1, "doc": None}, {"id": 2, "doc": value}]
    adapter = InMemoryAdapter({"notes": rows}, schema=Schema())
    wrong = Schema({"notes": Table({"id": Column("integer"), "doc": Column("text")})})
    service = AsyncPersistenceService(adapter, policy=TablePolicy(read={"notes"}), schema=wrong)
    with pytest.raises(ValidationError, match="plain values"):
        await anext(service.iterate("notes", order_by="doc"))
