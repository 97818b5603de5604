"""Answers are bounded in rows and bytes, and their cursors reach every row once, after a restart as well."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import UUID

import anyio
import pytest
from hypothesis import given, settings, strategies as st

from agent_persistence import (
    AsyncPersistenceService,
    InMemoryAdapter,
    Redaction,
    Schema,
    SupabaseAdapter,
    TablePolicy,
    asc,
    desc,
)
from agent_persistence.ext._tools.bounding import shortened, written
from agent_persistence.ext._tools.cursors import Cursors
from agent_persistence.ext.mcp import create_server
from agent_persistence.redaction.redacting import allow, pseudonymize
from agent_persistence.schema.registry import Column, Table
from tests.ext.served import McpClient, served
from tests.server import LocalServer

# persistence-guard: allow-file AP001 the adapter itself is under test

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
SCHEMA = Schema(
    {
        "notes": Table(
            {
                "id": Column("uuid", nullable=False),
                "rank": Column("integer"),
                "price": Column("numeric"),
                "name": Column("text"),
                "body": Column("text"),
                "meta": Column("jsonb"),
            }
        ),
        "log": Table({"line": Column("text")}, primary_key=()),
    }
)
POLICY = TablePolicy(read={"notes", "log"})


def key(number: int) -> str:
    return str(UUID(int=number << 96 | 0x4000_8000 << 64))


def service(rows: Any, policy: TablePolicy = POLICY, **options: Any) -> AsyncPersistenceService:
    adapter = InMemoryAdapter({"notes": rows}, schema=SCHEMA)
    return AsyncPersistenceService(adapter, policy=policy, schema=SCHEMA, **options)


ROWS = [
    {"id": key(number), "rank": number % 3 or None, "name": f"n{number}", "body": "x" * number} for number in range(9)
]

values = st.fixed_dictionaries(
    {
        "rank": st.none() | st.integers(0, 3),
        "price": st.none() | st.sampled_from(["1.10", "0.1", "12345678901234567890.12"]),
        "name": st.none() | st.text(st.sampled_from("aß,\"'\\ж🚀"), max_size=3),
        "body": st.text(st.sampled_from('x"\n🚀'), max_size=400),
    }
)
orders = st.lists(st.sampled_from(["rank", "-rank", "price", "-price", "name", "-name"]), max_size=3)


@settings(max_examples=20)
@given(st.lists(values, max_size=12), orders, st.integers(1, 5), st.sampled_from([1_000, 1_500, 20_000]))
def test_the_pages_are_the_rows_of_one_query(
    anyio_backend: str, rows: list[dict[str, Any]], order: list[str], limit: int, max_bytes: int
) -> None:
    """In its order, none twice and none left out, each page within its bounds, each by a server of its own."""
    made = service([{"id": key(number), **row} for number, row in enumerate(rows)])
    columns = {name.removeprefix("-"): name for name in reversed(order)}

    async def check() -> None:
        by = [name for name in order if columns[name.removeprefix("-")] == name]
        cursor, seen = "", []
        for _ in range(len(rows) + 1):
            async with served(create_server(made, max_bytes=max_bytes)) as client:
                answer = await client.call("query_rows", table="notes", order_by=by, limit=limit, cursor=cursor)
            assert not answer.failed, answer.text
            assert len(answer.text.encode()) <= max_bytes
            assert len(answer.rows) <= limit
            seen += [row["id"] for row in answer.rows]
            cursor = answer.document.get("next_cursor", "")
            if not cursor:
                break
        keys = [desc(name[1:]) if name.startswith("-") else asc(name) for name in by]
        assert seen == [row["id"] for row in await made.query("notes", order_by=keys or None)]

    anyio.run(check)


async def test_a_row_written_meanwhile_moves_no_page() -> None:
    """Paging goes on behind the last row seen, not after so many rows."""
    made = service(ROWS)
    async with served(create_server(made, max_rows=4)) as client:
        first = await client.call("query_rows", table="notes", order_by=["name"], select=["name"])
        await made._adapter.write("notes", {"id": key(100), "name": "n0a"})
        rest = await client.call(
            "query_rows", table="notes", order_by=["name"], select=["name"], cursor=first.document["next_cursor"]
        )
    assert [row["name"] for row in first.rows + rest.rows] == [f"n{number}" for number in range(8)]


async def _cursor(client: McpClient, **arguments: Any) -> str:
    answer = await client.call("query_rows", table="notes", limit=2, **arguments)
    cursor: str = answer.document["next_cursor"]
    return cursor


ASKED: dict[str, Any] = {"filters": {"name": {"like": "n%"}}, "order_by": ["-rank"]}


@pytest.mark.parametrize(
    "other",
    [
        {"table": "log"},
        {"filters": {}},
        {"filters": {"name": {"like": "n_"}}},
        {"order_by": ["rank"]},
        {"order_by": []},
        {"order_by": ["-rank", "name"]},
    ],
    ids=repr,
)
async def test_a_cursor_belongs_to_its_query(other: dict[str, Any]) -> None:
    """Beside another table, other filters or another order it would skip rows, or tell of some."""
    async with served(create_server(service(ROWS))) as client:
        cursor = await _cursor(client, **ASKED)
        assert not (await client.call("query_rows", table="notes", **ASKED, cursor=cursor)).failed
        refused = await client.call("query_rows", **{"table": "notes", **ASKED, **other}, cursor=cursor)
    assert refused.failed
    assert "cursor" in refused.text


async def test_a_cursor_that_was_changed_is_refused() -> None:
    """At whatever place; and so is one that was made up."""
    async with served(create_server(service(ROWS), cursor_key="sixteen bytes are enough")) as client:
        cursor = await _cursor(client, **ASKED)
        changed = [cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :] for place in range(40)]
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_")
        other_values = base64.urlsafe_b64encode(sealed[:16] + json.dumps([None, key(0)]).encode()).decode().rstrip("=")
        unkeyed = Cursors().write(["notes", ASKED["filters"], [("rank", True), ("id", False)]], [None, key(0)])
        for bad in (*changed, cursor[:-4], cursor + "AAAA", other_values, unkeyed, "a", "%%%", "ж", "=" * 100):
            refused = await client.call("query_rows", table="notes", **ASKED, cursor=bad)
            assert refused.failed, bad
            assert "cursor is none that this query gave" in refused.text


async def test_a_cursor_is_good_for_any_server_with_the_key_and_for_no_other() -> None:
    """After a restart, and in another process."""
    made = service(ROWS)
    servers = [
        create_server(made, cursor_key=secret)
        for secret in ("the first secret!", "the first secret!", "another secret 1")
    ]
    async with served(servers[0]) as client:
        cursor = await _cursor(client, **ASKED)
    async with served(servers[1]) as client:
        assert not (await client.call("query_rows", table="notes", **ASKED, cursor=cursor)).failed
    async with served(servers[2]) as client:
        assert (await client.call("query_rows", table="notes", **ASKED, cursor=cursor)).failed


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        (TablePolicy(read={"notes"}, columns={"notes": ["name", "rank"]}), {}),
        (POLICY, {"mask_reads": Redaction({"notes": {"id": pseudonymize("id"), "name": allow()}}, key=b"k" * 32)}),
    ],
    ids=["a key that may not be read", "a key that is masked"],
)
async def test_without_a_key_there_is_a_first_page_and_no_cursor(policy: TablePolicy, options: dict[str, Any]) -> None:
    """The answer says that there is more; a cursor by columns that are not unique would leave rows out."""
    async with served(create_server(service(ROWS, policy, **options), max_rows=2)) as client:
        answer = await client.call("query_rows", table="notes", select=["name"])
        assert answer.document["more"] is True
        assert len(answer.rows) == 2
        assert "next_cursor" not in answer.document
        refused = await client.call("query_rows", table="notes", select=["name"], cursor="AAAA")
    assert refused.failed
    assert "cursor" in refused.text


async def test_what_does_not_fit_is_cut_and_said_to_be() -> None:
    """The longest values, so that there is something of every column."""
    long = [{"id": key(1), "name": "ada", "body": "ж" * 50_000, "meta": {"list": ["x" * 100] * 200}}]
    async with served(create_server(service(long), max_bytes=2_000)) as client:
        answers = [
            await client.call("query_rows", table="notes"),
            await client.call("read_row", table="notes", key=key(1)),
        ]
    for answer in answers:
        (row,) = answer.rows
        assert len(answer.text.encode()) <= 2_000
        assert (row["id"], row["name"]) == (key(1), "ada")
        assert row["body"].startswith("жж")
        assert row["body"].endswith("…")
        assert row["meta"].startswith('{"list":["xx')
        assert answer.document["cut"] == ["body", "meta"]


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=300) | st.lists(st.integers(), max_size=50) | st.none()))
def test_a_shortened_row_fits(anyio_backend: str, row: dict[str, Any]) -> None:
    """And says which columns are not whole."""
    told, cut = shortened(row, 400)
    shown = json.loads(told)
    assert len(told) <= 400 or len(shown) <= 1
    assert {name for name in row if name not in shown or shown[name] != row[name]} <= set(cut)
    if len(written(row)) <= 300:
        assert cut == []


async def test_sort_values_that_no_cursor_holds_leave_it_out() -> None:
    """The rows are there, and that there are more; the answer keeps within its bytes."""
    long = [{"id": key(number), "name": f"{number}" + "x" * 30_000} for number in range(3)]
    for max_bytes in (1_000, 200_000):
        async with served(create_server(service(long), max_bytes=max_bytes, max_rows=1)) as client:
            answer = await client.call("query_rows", table="notes", order_by=["name"], select=["id", "name"])
        assert [row["id"] for row in answer.rows] == [key(0)]
        assert answer.document["more"] is True
        assert "next_cursor" not in answer.document
        assert len(answer.text.encode()) <= max_bytes


async def test_a_policy_of_few_rows_bounds_the_page() -> None:
    """A page of more than the policy's max_rows is not asked for."""
    async with served(create_server(service(ROWS, TablePolicy(read={"notes"}, max_rows=3)))) as client:
        pages = await client.pages(table="notes", order_by=["name"])
    assert [len(page) for page in pages] == [3, 3, 3, 0]


async def test_pages_of_a_real_server_hold_every_row_once(server: LocalServer) -> None:
    """Times to the microsecond, exact numbers and NULLs go into the cursor and come back as they were."""
    server.execute(
        "insert into leads (email, score, created_at) select 'l' || n || '@x.example',"
        " case when n % 4 = 0 then null else round(n / 7.0, 20) end, now() + n % 3 * interval '1 microsecond'"
        " from generate_series(1, 40) n"
    )
    adapter = SupabaseAdapter(server.url, server.service_key)
    made = AsyncPersistenceService(adapter, policy=TablePolicy(read={"leads"}), owns_adapter=True)
    async with made, served(create_server(made, max_rows=7)) as client:
        for order in (["created_at"], ["-created_at", "score"], ["-score"], ["score", "-email"]):
            pages = await client.pages(table="leads", order_by=order, select=["email"])
            assert len(pages) == 6
            emails = [row["email"] for page in pages for row in page]
            assert len(set(emails)) == len(emails) == 40
