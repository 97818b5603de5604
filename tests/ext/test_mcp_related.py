"""Rows of related tables come with the rows that they belong to, as far as the policy lets both be read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, Schema, SupabaseAdapter, TablePolicy
from agent_persistence.ext.mcp import create_server
from agent_persistence.schema.registry import Column, ForeignKey, Table
from tests.ext.served import served
from tests.server import LocalServer

# persistence-guard: allow-file AP001 the adapter itself is under test

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
KEY = Column("integer", nullable=False)
SCHEMA = Schema(
    {
        "customers": Table({"id": KEY, "name": Column("text"), "secret": Column("text")}),
        "tickets": Table(
            {"id": KEY, "customer_id": Column("integer"), "title": Column("text"), "comments": Column("text")},
            foreign_keys=(ForeignKey("customer_id", "customers"),),
        ),
        "replies": Table(
            {"id": KEY, "ticket_id": Column("integer"), "body": Column("text")},
            foreign_keys=(ForeignKey("ticket_id", "tickets"),),
        ),
        "comments": Table({"id": KEY, "t": Column("integer")}, foreign_keys=(ForeignKey("t", "tickets"),)),
        "moves": Table(
            {"id": KEY, "a": Column("integer"), "b": Column("integer")},
            foreign_keys=(ForeignKey("a", "customers"), ForeignKey("b", "customers")),
        ),
    }
)
ROWS: dict[str, Any] = {
    "customers": [{"id": 1, "name": "Ada", "secret": "s"}, {"id": 2, "name": "Bob", "secret": "s"}],
    "tickets": [{"id": 10, "customer_id": 1, "title": "a"}, {"id": 11, "customer_id": None, "title": "b"}],
    "replies": [{"id": 100 + number, "ticket_id": 10, "body": f"r{number}"} for number in range(12)]
    + [{"id": 200, "ticket_id": 11, "body": "last"}],
}
POLICY = TablePolicy(
    read={"customers", "tickets", "replies", "comments", "moves"},
    columns={"customers": ["id", "name"]},
)


def service(policy: TablePolicy = POLICY) -> AsyncPersistenceService:
    return AsyncPersistenceService(InMemoryAdapter(ROWS, schema=SCHEMA), policy=policy, schema=SCHEMA)


async def test_a_row_comes_with_what_it_belongs_to_and_what_belongs_to_it() -> None:
    """In both directions, in the order of the keys; what is more than ten is said to be there."""
    async with served(create_server(service())) as client:
        answer = await client.call(
            "query_rows", table="tickets", select=["title"], include=["customers", "replies"], order_by=["id"]
        )
    first, second = answer.rows
    assert first["customers"] == {"id": 1, "name": "Ada"}
    assert [reply["body"] for reply in first["replies"]] == [f"r{number}" for number in range(10)]
    assert second == {"title": "b", "customers": None, "replies": [{"id": 200, "ticket_id": 11, "body": "last"}]}
    assert answer.document["more_related"] == ["replies"]


async def test_pages_go_on_with_their_related_rows() -> None:
    """The cursor is that of the rows themselves."""
    async with served(create_server(service(), max_rows=1)) as client:
        pages = await client.pages(table="customers", include=["tickets"], order_by=["-name"])
    assert [[(row["name"], len(row["tickets"])) for row in page] for page in pages] == [[("Bob", 0)], [("Ada", 1)]]


@pytest.mark.parametrize(
    ("table", "name", "told"),
    [
        ("tickets", "moves", "'moves' has no declared relation to it; related tables are comments, customers, replies"),
        ("customers", "moves", "related in several ways"),
        ("tickets", "comments", "related in several ways"),
        ("tickets", "secrets", "query on table 'secrets' is not allowed"),
        ("tickets", "customers(*)", "is not allowed"),
        ("tickets", "auth.users", "is not allowed"),
    ],
)
async def test_what_is_not_related_is_not_included(table: str, name: str, told: str) -> None:
    """Nor what is related in more ways than one, or has the name of a column."""
    async with served(create_server(service())) as client:
        answer = await client.call("query_rows", table=table, include=[name])
    assert answer.failed
    assert told in answer.text


async def test_a_relation_ends_where_the_policy_does() -> None:
    """A table or a key that may not be read is no relation, in no schema and no answer."""
    policy = TablePolicy(read={"tickets", "customers"}, columns={"customers": ["name"]})
    async with served(create_server(service(policy))) as client:
        told = json.dumps([tool.input_schema for tool in (await client.tools()).values()])
        for name in ("customers", "replies"):
            assert (await client.call("query_rows", table="tickets", include=[name])).failed
    assert "replies" not in told


async def test_the_rows_of_related_tables_keep_to_their_rule() -> None:
    """A policy's rows hold for them as for any query."""
    policy = TablePolicy(read={"tickets", "replies"}, rows={"replies": {"body": "last"}})
    async with served(create_server(service(policy))) as client:
        first, second = (await client.call("query_rows", table="tickets", include=["replies"], order_by=["id"])).rows
    assert first["replies"] == []
    assert [reply["body"] for reply in second["replies"]] == ["last"]


async def test_related_rows_of_a_real_server(server: LocalServer) -> None:
    """By uuid keys, for each page by one query a relation."""
    server.execute("insert into clients (name) values ('Acme')")
    server.execute(
        "insert into leads (email, client_id) select n || '@x.example', id from clients, generate_series(1, 3) n"
    )
    made = AsyncPersistenceService(
        SupabaseAdapter(server.url, server.service_key),
        policy=TablePolicy(read={"leads", "clients"}),
        owns_adapter=True,
    )
    async with made, served(create_server(made)) as client:
        leads = await client.call("query_rows", table="leads", select=["email"], include=["clients"])
        (acme,) = (await client.call("query_rows", table="clients", include=["leads"])).rows
    assert [row["clients"]["name"] for row in leads.rows] == ["Acme"] * 3
    assert len(acme["leads"]) == 3
