"""Long lists are asked for in several requests, and the caller does not notice."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    Schema,
    SupabaseAdapter,
    TablePolicy,
    ValidationError,
    any_of,
    asc,
    desc,
    in_,
    not_in,
)
from agent_persistence.pipeline.paging.splitting import MAX_URL_BYTES
from agent_persistence.schema_registry import Column, Table
from tests.server import LocalServer

pytestmark = pytest.mark.asyncio

COUNT = 600


class Wire(httpx.AsyncHTTPTransport):
    """Notes the size of every URL and how many requests were under way together."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.under_way = self.most_under_way = 0
        self.refuse_after = 10**9

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sizes.append(len(request.url.raw_path))
        if len(self.sizes) > self.refuse_after:
            return httpx.Response(403, json={"code": "42501", "message": "permission denied for table leads"})
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await super().handle_async_request(request)
        finally:
            self.under_way -= 1


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest_asyncio.fixture
async def service(server: LocalServer, wire: Wire) -> AsyncIterator[AsyncPersistenceService]:
    server.execute(
        "insert into leads (email, score, status, last_contacted_at)"
        " select n || '@x.io', nullif(n % 7, 0), 'new', now() - n * interval '1 minute'"
        f" from generate_series(1, {COUNT}) n"
    )
    async with httpx.AsyncClient(transport=wire) as client:
        adapter = SupabaseAdapter(server.url, server.service_key, client=client)
        yield AsyncPersistenceService(adapter, retry=False, row_cap=1000)


@pytest_asyncio.fixture
async def ids(service: AsyncPersistenceService) -> list[str]:
    return [row["id"] for row in await service.query("leads", select=["id"])]


@pytest.mark.parametrize(
    "order_by",
    [
        None,
        "id",
        desc("score"),
        asc("score", nulls="first"),
        [asc("score"), desc("last_contacted_at")],
        desc("created_at"),
        asc("last_contacted_at"),
    ],
    ids=str,
)
@pytest.mark.parametrize(("limit", "offset"), [(None, 0), (50, 0), (50, 575), (7, 100)])
async def test_the_rows_are_those_of_one_query_in_its_order(
    service: AsyncPersistenceService, wire: Wire, ids: list[str], order_by: Any, limit: int | None, offset: int
) -> None:
    """Ties, NULLs, limits and offsets included; no URL is longer than 4 KB."""
    wanted = await service.query("leads", None, limit, order_by, offset=offset)
    wire.sizes.clear()
    rows = await service.query("leads", {"id": in_([*ids, str(uuid4()), ids[0]])}, limit, order_by, offset=offset)
    assert rows == wanted
    assert len(wire.sizes) > 1
    assert max(wire.sizes) <= MAX_URL_BYTES


async def test_projections_show_what_was_asked_for(service: AsyncPersistenceService, ids: list[str]) -> None:
    """The columns that merging needs are not among them."""
    rows = await service.query("leads", {"id": in_(ids)}, order_by=desc("score"), select=["email"])
    assert len(rows) == COUNT
    assert set(rows[0]) == {"email"}


async def test_other_conditions_hold_in_every_part(service: AsyncPersistenceService, ids: list[str]) -> None:
    """The list is one condition among several."""
    rows = await service.query("leads", {"id": in_(ids), "score": 3}, order_by="id")
    assert {row["score"] for row in rows} == {3}
    assert len(rows) == await service.count("leads", {"score": 3})


async def test_a_count_is_the_sum_of_its_parts(service: AsyncPersistenceService, wire: Wire, ids: list[str]) -> None:
    """A value that stands twice in the list counts once."""
    assert await service.count("leads", {"id": in_([*ids, *ids])}) == COUNT
    assert max(wire.sizes) <= MAX_URL_BYTES


async def test_parts_run_at_once_but_not_all(service: AsyncPersistenceService, wire: Wire) -> None:
    """Five at a time."""
    await service.query("leads", {"id": in_([str(uuid4()) for _ in range(3000)])})
    assert 1 < wire.most_under_way <= 5


async def test_a_failing_part_is_raised_as_itself(service: AsyncPersistenceService, wire: Wire, ids: list[str]) -> None:
    """No ExceptionGroup."""
    wire.sizes.clear()
    wire.refuse_after = 2
    with pytest.raises(AdapterError) as caught:
        await service.query("leads", {"id": in_(ids)})
    assert caught.value.code == "42501"


async def test_an_order_that_only_the_server_knows_is_refused(
    service: AsyncPersistenceService, wire: Wire, ids: list[str]
) -> None:
    """Text sorts by the server's collation; the error says so, before anything is sent."""
    wire.sizes.clear()
    with pytest.raises(ValidationError, match="collation"):
        await service.query("leads", {"id": in_(ids)}, order_by="email")
    assert wire.sizes == []


async def test_a_list_that_cannot_be_split_is_refused(
    service: AsyncPersistenceService, wire: Wire, ids: list[str]
) -> None:
    """Under any_of its parts would overlap with the other alternatives."""
    wire.sizes.clear()
    with pytest.raises(ValidationError, match="any_of"):
        await service.query("leads", any_of({"id": in_(ids)}, {"score": 1}))
    assert wire.sizes == []


async def test_a_list_of_exclusions_is_sent_whole(service: AsyncPersistenceService, wire: Wire) -> None:
    """`not_in` cannot be split into parts whose union is the result; a moderate one fits."""
    rows = await service.query("leads", {"email": not_in([f"{n}@x.io" for n in range(1, 301)])}, limit=400)
    assert len(rows) == COUNT - 300


async def test_short_lists_are_one_request(service: AsyncPersistenceService, wire: Wire, ids: list[str]) -> None:
    """Control: nothing is split that fits."""
    wire.sizes.clear()
    await service.query("leads", {"id": in_(ids[:20])}, order_by="email")
    assert len(wire.sizes) == 1


SPANS = """
create table spans (
  id int primary key, exact numeric, ratio double precision, day date, here timestamp, at timestamptz);
insert into spans (id, exact) select n, v from unnest('{NaN,Infinity,-Infinity,0,1.5,-1e40,1e40,NULL,NaN}'::numeric[])
  with ordinality as one(v, n);
insert into spans (id, ratio) select 100 + n, v from
  unnest('{NaN,Infinity,-Infinity,0,1.5,-1e300,1e300,NULL,-0}'::float8[]) with ordinality as one(v, n);
insert into spans (id, day) select 200 + n, v from unnest(array['infinity', '-infinity', '0044-03-15 BC', '0001-01-01',
  '0001-12-31 BC', '10000-01-01', '9999-12-31', '2000-02-29', '4713-01-01 BC', '5874897-12-31', '0400-02-29',
  '0401-02-28 BC', null]::date[]) with ordinality as one(v, n);
insert into spans (id, here) select 300 + n, v from unnest(array['infinity', '-infinity', '0044-03-15 12:00:00.5 BC',
  '0044-03-15 12:00:00 BC', '0001-01-01', '10000-01-01 00:00:00.000001', '10000-01-01', '294276-12-31 23:59:59.999999',
  '9999-12-31 23:59:59.999999', null]::timestamp[]) with ordinality as one(v, n);
insert into spans (id, at) select 400 + n, v from unnest(array['infinity', '-infinity', '0044-03-15 12:00:00+02 BC',
  '0044-03-15 12:00:00-02 BC', '0001-01-01 00:00:00+05', '10000-01-01 00:00:00-05', '9999-12-31 23:59:59.999999+00',
  '2026-01-01 00:00:00+14', '2025-12-31 11:00:00+00', null]::timestamptz[]) with ordinality as one(v, n);
"""
SPANS_SCHEMA = Schema(
    {
        "spans": Table(
            {
                "id": Column("integer"),
                "exact": Column("numeric"),
                "ratio": Column("double precision"),
                "day": Column("date"),
                "here": Column("timestamp"),
                "at": Column("timestamptz"),
            }
        )
    }
)


@pytest.fixture(scope="module")
def spans(local_server: LocalServer) -> Iterator[LocalServer]:
    local_server.execute(SPANS)
    local_server.reload_schema()
    yield local_server
    local_server.execute("drop table spans")
    local_server.reload_schema()


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("column", ["exact", "ratio", "day", "here", "at"])
async def test_parts_are_merged_as_postgresql_sorts(
    spans: LocalServer, wire: Wire, column: str, descending: bool
) -> None:
    """Values that no number and no datetime of Python holds, too: NaN, infinities, years before 1 and after 9999."""
    wanted = [*range(1, 700), *range(10_000, 10_500)]
    direction = "desc" if descending else "asc"
    judged = spans.execute(f"select id from spans order by {column} {direction}, id")
    async with httpx.AsyncClient(transport=wire) as client:
        adapter = SupabaseAdapter(spans.url, spans.service_key, client=client, schema=SPANS_SCHEMA)
        service = AsyncPersistenceService(
            adapter, policy=TablePolicy(read=frozenset({"spans"})), schema=SPANS_SCHEMA, retry=False, row_cap=1000
        )
        rows = await service.query("spans", {"id": in_(wanted)}, order_by=column, descending=descending)
    assert len(wire.sizes) > 1
    assert [row["id"] for row in rows] == [row["id"] for row in judged]
