"""A query never comes back silently short."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    InMemoryAdapter,
    Schema,
    SupabaseAdapter,
    TablePolicy,
    ValidationError,
    desc,
    gte,
)
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.backend import Capabilities
from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.operations import Page
from agent_persistence.pipeline.paging.layer import COUNTED_ABOVE, MOST_REPEATS
from agent_persistence.query.records import Row
from agent_persistence.schema_registry import default_schema
from tests.server import LocalServer, running_server

pytestmark = pytest.mark.asyncio


class Capped(InMemoryAdapter):
    """A server that cuts every result at `cap` rows and does not tell, as PostgREST does."""

    def __init__(self, count: int, *, cap: int, table: str = "leads", schema: Schema | None = None) -> None:
        rows = {table: [{"email": f"{number:04}@x.io", "score": number % 3} for number in range(count)]}
        super().__init__(rows, schema=schema or default_schema())
        self._capabilities = Capabilities(self._capabilities.can)
        self.cap = cap
        self.pages: list[int] = []

    async def query(
        self, table: str, filters: Any = None, limit: int | None = None, *args: Any, **options: Any
    ) -> list[Row]:
        rows = await super().query(table, filters, min(limit or self.cap, self.cap), *args, **options)
        self.pages.append(len(rows))
        return rows


def _service(adapter: PersistenceAdapter, **options: Any) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter, retry=False, **options)


@pytest.mark.parametrize(
    ("count", "limit", "pages"),
    [
        (25, None, [10, 10, 5, 0]),
        (20, None, [10, 10, 0]),
        (7, None, [7, 0]),
        (0, None, [0]),
        (25, 10, [10]),
        (25, 12, [10, 2]),
        (25, 3, [3]),
        (8, 9, [8, 0]),
    ],
)
async def test_a_page_shorter_than_asked_is_followed_by_another(
    count: int, limit: int | None, pages: list[int]
) -> None:
    """Unless it is empty: nothing is known of the server's cap, and nothing is concluded from earlier pages."""
    adapter = Capped(count, cap=10)
    rows = await _service(adapter).query("leads", limit=limit, order_by="email")
    assert [row["email"] for row in rows] == [f"{n:04}@x.io" for n in range(min(count, limit or count))]
    assert adapter.pages == pages


class Counted(Capped):
    """A server that says how many rows there are without limit and offset."""

    def __init__(self, count: int, *, cap: int) -> None:
        super().__init__(count, cap=cap)
        self._capabilities = replace(self._capabilities, counts_pages=True)

    async def page(self, table: str, filters: Any = None, *args: Any, **options: Any) -> Page:
        return Page(await self.query(table, filters, *args, **options), await self.count(table, filters))


@pytest.mark.parametrize(
    ("count", "limit", "pages"),
    [
        (25, None, [10, 10, 5]),
        (20, None, [10, 10]),
        (7, None, [7]),
        (0, None, [0]),
        (25, COUNTED_ABOVE + 1, [10, 10, 5]),
        (25, 12, [10, 2]),
        (8, 9, [8, 0]),
    ],
)
async def test_a_server_that_counts_says_which_page_is_the_last(
    count: int, limit: int | None, pages: list[int]
) -> None:
    """It is asked for the total where as many rows are wanted as counting them would cost to read."""
    adapter = Counted(count, cap=10)
    rows = await _service(adapter).query("leads", limit=limit, order_by="email")
    assert [row["email"] for row in rows] == [f"{n:04}@x.io" for n in range(min(count, limit or count))]
    assert adapter.pages == pages


@pytest.mark.parametrize("make", [Capped, Counted])
async def test_a_cap_that_shrinks_shortens_no_result(make: type[Capped]) -> None:
    """The server was told another max-rows between two calls."""
    adapter = make(25, cap=10)
    service = _service(adapter)
    assert len(await service.query("leads")) == 25
    adapter.cap = 4
    assert len(await service.query("leads")) == 25
    assert len(await service.query("leads", limit=9)) == 9


class Shifting(Capped):
    """Between its pages somebody writes a row in front of all others."""

    async def query(self, *args: Any, **options: Any) -> list[Row]:
        rows = await super().query(*args, **options)
        await self.write("leads", {"email": f"!{len(self.pages)}", "score": -1})
        return rows


@pytest.mark.parametrize("select", [None, ["email"]])
async def test_a_row_that_is_moved_into_the_next_page_comes_once(select: list[str] | None) -> None:
    """Others write in front of it meanwhile; its key tells, also where it is not asked for."""
    rows = await _service(Shifting(25, cap=10)).query("leads", {"score": gte(0)}, order_by="email", select=select)
    emails = [row["email"] for row in rows]
    assert len(emails) == len(set(emails)) == 25
    assert select is None or all(list(row) == select for row in rows)


class Stuck(Capped):
    """Ignores offset."""

    async def query(self, *args: Any, offset: int = 0, **options: Any) -> list[Row]:
        return await super().query(*args, **options)


async def test_a_server_that_ignores_offset_is_found_out_by_the_first_repeated_page() -> None:
    """It would be asked for ever."""
    adapter = Stuck(25, cap=10)
    with pytest.raises(AdapterError, match="ignore offset"):
        await _service(adapter).query("leads")
    assert len(adapter.pages) == 2


async def test_a_server_that_ignores_offset_is_found_out_for_a_few_rows_too() -> None:
    """Some repeats are taken for others' rows; but not for ever."""
    adapter = Stuck(3, cap=10)
    with pytest.raises(AdapterError, match="ignore offset"):
        await _service(adapter).query("leads")
    assert len(adapter.pages) == 2 + MOST_REPEATS


class Growing(Capped):
    """Others insert as many rows in front as the page has, so that it comes again behind its own offset."""

    inserted = 0

    async def query(
        self, table: str, filters: Any = None, limit: int | None = None, *args: Any, **options: Any
    ) -> list[Row]:
        rows = await super().query(table, filters, limit, *args, **options)
        if self.inserted < MOST_REPEATS:
            self.inserted += 1
            await self.batch_write(table, [{"email": f"!{self.inserted}{n}@x.io"} for n in range(len(rows))])
        return rows


async def test_a_page_that_others_push_behind_its_offset_is_read_on() -> None:
    """Each row comes once."""
    adapter = Growing(3, cap=10)
    rows = await _service(adapter).query("leads", order_by="email")
    assert [row["email"] for row in rows] == ["0000@x.io", "0001@x.io", "0002@x.io"]
    assert adapter.pages == [3, 3, 3, 3, 0]


async def test_a_known_cap_saves_the_question() -> None:
    """`row_cap` tells what a full page is; the in-memory store has no cap at all."""
    adapter = Capped(7, cap=10)
    await _service(adapter, row_cap=10).query("leads")
    assert adapter.pages == [7]


async def test_an_offset_is_kept() -> None:
    """Pages go on from where the caller began."""
    rows = await _service(Capped(25, cap=10)).query("leads", order_by="email", offset=4, limit=15)
    assert [row["email"][:4] for row in rows] == [f"{n:04}" for n in range(4, 19)]


async def test_ties_are_broken_by_the_key_so_that_no_row_repeats_or_is_lost() -> None:
    """Many rows share a score; every row comes once."""
    rows = await _service(Capped(25, cap=4)).query("leads", order_by=desc("score"))
    assert len({row["id"] for row in rows}) == 25
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)


async def test_more_rows_than_the_policy_allows_are_refused() -> None:
    """The error says what to do instead."""
    service = _service(Capped(25, cap=10), policy=TablePolicy(read={"leads"}, write={"leads"}, max_rows=20))
    with pytest.raises(ValidationError, match="max_rows"):
        await service.query("leads")
    assert len(await service.query("leads", limit=20)) == 20


async def test_a_second_page_without_any_known_order_is_refused() -> None:
    """Nothing keeps such pages apart: rows could repeat or be lost."""
    service = _service(Capped(25, cap=10, table="odd", schema=Schema()), policy=TablePolicy(read=frozenset({"odd"})))
    with pytest.raises(ValidationError, match="order_by"):
        await service.query("odd")
    assert len(await service.query("odd", order_by="email")) == 25


async def test_one_page_without_any_known_order_is_complete() -> None:
    """An empty second page proves that the first one was everything."""
    adapter = Capped(7, cap=10, table="odd", schema=Schema())
    service = _service(adapter, policy=TablePolicy(read=frozenset({"odd"})))
    assert len(await service.query("odd")) == 7
    assert adapter.pages == [7, 0]


async def test_past_the_real_servers_cap(server: LocalServer) -> None:
    """Hosted Supabase sends 1,000 rows at most, whatever the limit; the control asks the adapter itself."""
    server.execute("insert into inquiries (email) select n || '@x.io' from generate_series(1, 2300) n")
    adapter = SupabaseAdapter(server.url, server.service_key)
    async with _service(adapter, owns_adapter=True) as service:
        assert len(await adapter.query("inquiries")) == 1000
        rows = await service.query("inquiries")
        assert sorted(row["id"] for row in rows) == list(range(1, 2301))
        assert len(await service.query("inquiries", limit=1500)) == 1500


class Wire(httpx.AsyncHTTPTransport):
    """Counts the requests."""

    sent = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        return await super().handle_async_request(request)


@pytest.fixture(scope="module")
def capped_at_five() -> Iterator[LocalServer]:
    """A real server that sends five rows at most, and has thirteen."""
    with running_server(max_rows=5) as server:
        server.execute("insert into inquiries (email) select n || '@x.io' from generate_series(1, 13) n")
        yield server


@pytest.mark.parametrize(
    ("limit", "row_cap", "requests"),
    [(None, None, 3), (None, 5, 3), (12, None, 3), (10, None, 2), (5, None, 1), (3, None, 1), (99, None, 4)],
)
async def test_past_a_small_cap_of_the_real_server(
    capped_at_five: LocalServer, limit: int | None, row_cap: int | None, requests: int
) -> None:
    """It cuts in silence; where it counts, its total says which page is the last, else an empty one does."""
    wire = Wire()
    async with httpx.AsyncClient(transport=wire) as client:
        adapter = SupabaseAdapter(capped_at_five.url, capped_at_five.service_key, client=client)
        rows = await _service(adapter, row_cap=row_cap).query("inquiries", limit=limit)
    assert [row["id"] for row in rows] == list(range(1, min(13, limit or 13) + 1))
    assert wire.sent == requests


async def test_the_total_of_the_real_server_is_that_of_the_filter(capped_at_five: LocalServer) -> None:
    """And an offset counts: the rows before it are not asked for again."""
    adapter = SupabaseAdapter(capped_at_five.url, capped_at_five.service_key)
    async with _service(adapter, owns_adapter=True) as service:
        rows = await service.query("inquiries", {"id": gte(4)}, offset=2)
    assert [row["id"] for row in rows] == list(range(6, 14))


@pytest.mark.parametrize(
    ("url", "cap"),
    [("https://p.supabase.co", 1000), ("https://rest.example.org", None), ("https://p.supabase.co.example.org", None)],
)
async def test_only_hosted_supabase_is_known_to_send_a_thousand(url: str, cap: int | None) -> None:
    """Its default for max-rows; elsewhere the cap is found out."""
    assert SupabaseAdapter(url, "sb_secret_c2VjcmV0_1a2b3c4d").capabilities.row_cap == cap


class OneByOne(PostgresAdapter):
    """Before each of its transactions somebody writes a row in front of all others."""

    def __init__(self, server: LocalServer) -> None:
        super().__init__(server.database_url)
        self.judge = server
        self.transactions = 0

    async def _run(self, verb: str, *args: Any, **options: Any) -> Any:
        if verb == "query":
            self.transactions += 1
            self.judge.execute("insert into visits values (%s)", -self.transactions)
        return await super()._run(verb, *args, **options)


@pytest.fixture
def visits(server: LocalServer) -> Iterator[LocalServer]:
    """A table that no schema declares, with 2,500 rows."""
    server.execute("create table visits (id int primary key)")
    server.execute("insert into visits select generate_series(1, 2500)")
    yield server
    server.execute("drop table visits")


@pytest.mark.parametrize("limit", [None, 2500, 3000])
async def test_postgresql_is_asked_once(visits: LocalServer, limit: int | None) -> None:
    """It has no cap: one transaction, which is one snapshot, also of a table that no schema declares."""
    adapter = OneByOne(visits)
    async with _service(adapter, policy=TablePolicy(read=frozenset({"visits"})), owns_adapter=True) as service:
        ids = [row["id"] for row in await service.query("visits", limit=limit)]
    assert len(ids) == len(set(ids)) == min(limit or 2501, 2501)
    assert adapter.transactions == 1


async def test_a_stream_out_of_postgresql_doubles_no_row(visits: LocalServer) -> None:
    """Each page of `iterate` begins behind the last row, whatever is written in front of it meanwhile."""
    adapter = OneByOne(visits)
    async with _service(adapter, policy=TablePolicy(read=frozenset({"visits"})), owns_adapter=True) as service:
        ids = [row["id"] async for row in service.iterate("visits", page_size=400)]
    assert ids == [-1, *range(1, 2501)]
