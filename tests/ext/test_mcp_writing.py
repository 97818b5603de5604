"""Writing tools are there where they are named, for the tables that are named, and a call that comes twice is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent_persistence import (
    AsyncPersistenceService,
    ConfigurationError,
    InMemoryAdapter,
    PersistenceAgent,
    Schema,
    TablePolicy,
    create_persistence_agent,
)
from agent_persistence.ext.mcp import Writes, create_server
from tests.ext.served import McpClient, served

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
TABLES = {"leads", "clients", "inquiries"}
POLICY = TablePolicy(
    read=TABLES,
    write=TABLES,
    columns={
        "leads": {"read": ["id", "email", "status", "score"], "write": ["id", "email", "status", "score", "phone"]}
    },
)


def made(policy: TablePolicy = POLICY) -> PersistenceAgent:
    adapter = InMemoryAdapter({"leads": [{"email": "a@x.example"}, {"email": "b@x.example"}]}, schema=Schema.default())
    return PersistenceAgent(AsyncPersistenceService(adapter, policy=policy, schema=Schema.default()))


@pytest.fixture
def agent() -> PersistenceAgent:
    return made()


@pytest.fixture
async def client(agent: PersistenceAgent) -> AsyncIterator[McpClient]:
    writes = Writes(agent, write=["leads"], upsert={"leads": ["email"]}, update=["leads"])
    async with served(create_server(agent, writes=writes)) as client:
        yield client


async def test_a_tool_that_is_not_named_is_not_there(agent: PersistenceAgent) -> None:
    """Each by itself; none by default, whatever the policy allows."""
    for writes, expected in (
        (None, set()),
        (Writes(agent), set()),
        (Writes(agent, write=["leads"]), {"write_row"}),
        (Writes(agent, upsert=["clients"]), {"upsert_row"}),
        (Writes(agent, update=["clients"]), {"update_rows"}),
    ):
        async with served(create_server(agent, writes=writes)) as client:
            reading = {"query_rows", "read_row", "count_rows", "list_columns", "search_text"}
            assert set(await client.tools()) - reading == expected


async def test_the_hints_say_what_a_call_may_do(client: McpClient) -> None:
    """None of them only reads; writing a row destroys nothing; none does more when it comes twice."""
    tools = await client.tools()
    hints = {name: tools[name].annotations for name in ("write_row", "upsert_row", "update_rows")}
    told = {
        name: (hint.read_only_hint, hint.destructive_hint, hint.idempotent_hint) for name, hint in hints.items() if hint
    }
    assert told == {
        "write_row": (False, False, True),
        "upsert_row": (False, True, True),
        "update_rows": (False, True, True),
    }
    assert tools["write_row"].input_schema["properties"]["table"]["enum"] == ["leads"]
    assert "phone text" in (tools["write_row"].description or "")
    assert "leads by email" in (tools["upsert_row"].description or "")


async def test_a_row_is_written_once(client: McpClient, agent: PersistenceAgent) -> None:
    """The same call again gives the row as it is now; another request key, or another record, is another row."""
    asked: dict[str, Any] = {"table": "leads", "record": {"email": "c@x.example"}, "request_key": "one"}
    (first,) = (await client.call("write_row", **asked)).rows
    await agent.update("leads", {"status": "won"}, {"id": first["id"]})
    (again,) = (await client.call("write_row", **asked)).rows
    assert again == {**first, "status": "won"}
    for other in ({"request_key": "two", "record": {"email": "d@x.example"}}, {"record": {"email": "e@x.example"}}):
        (row,) = (await client.call("write_row", **{**asked, **other})).rows
        assert row["id"] != first["id"]
    assert await agent.count("leads") == 5


async def test_a_row_that_meets_another_is_refused(client: McpClient, agent: PersistenceAgent) -> None:
    """A unique column is no call that came twice."""
    answer = await client.call("write_row", table="leads", record={"email": "a@x.example"}, request_key="one")
    assert answer.failed
    assert "A row with this unique value exists already" in answer.text
    assert await agent.count("leads") == 2


async def test_a_row_is_merged_by_the_columns_that_were_set(client: McpClient, agent: PersistenceAgent) -> None:
    """What the record does not name stays; null empties a column."""
    await agent.update("leads", {"score": 0.5}, {"email": "a@x.example"})
    merged = await client.call("upsert_row", table="leads", record={"email": "a@x.example", "status": "won"})
    assert (merged.rows[0]["status"], merged.rows[0]["score"]) == ("won", 0.5)
    emptied = await client.call("upsert_row", table="leads", record={"email": "a@x.example", "score": None})
    assert emptied.rows[0]["score"] is None
    assert await agent.count("leads") == 2


async def test_no_more_rows_are_changed_than_were_expected(client: McpClient, agent: PersistenceAgent) -> None:
    """One by default; every row is never meant."""
    asked = {"table": "leads", "changes": {"status": "won"}}
    for filters, told in (({"status": "new"}, "More rows match than may be changed"), ({}, "select every row")):
        refused = await client.call("update_rows", **asked, filters=filters)
        assert refused.failed
        assert told in refused.text
    assert await agent.count("leads", {"status": "won"}) == 0
    changed = await client.call("update_rows", **asked, filters={"status": "new"}, max_rows=2)
    assert changed.document["changed"] == 2
    assert (await client.call("update_rows", **asked, filters={"status": "new"}, max_rows=101)).failed


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("write_row", {"table": "clients", "record": {"name": "n"}, "request_key": "1"}),
        ("write_row", {"table": "leads", "record": {"email": "n@x.example", "notes": "n"}, "request_key": "1"}),
        ("write_row", {"table": "leads", "record": {"id": "1", "email": "n@x.example"}, "request_key": "1"}),
        ("write_row", {"table": "leads", "record": {"email": "n@x.example"}}),
        ("upsert_row", {"table": "clients", "record": {"name": "n"}}),
        ("upsert_row", {"table": "leads", "record": {"email": "n@x.example"}, "on_conflict": ["status"]}),
        ("update_rows", {"table": "clients", "changes": {"name": "n"}, "filters": {"name": "m"}}),
        ("update_rows", {"table": "leads", "changes": {"notes": "n"}, "filters": {"email": "a@x.example"}}),
        ("update_rows", {"table": "leads", "changes": {"status": "n"}, "filters": {"phone": "1"}}),
        ("update_rows", {"table": "leads", "changes": {"status": "won"}}),
    ],
)
async def test_what_is_not_named_is_not_written(
    tool: str, arguments: dict[str, Any], client: McpClient, agent: PersistenceAgent
) -> None:
    """Though the agent's policy may list the table for other code."""
    before = await agent.query("leads")
    answer = await client.call(tool, **arguments)
    assert answer.failed
    assert "PERSIST_" not in answer.text
    assert await agent.query("leads") == before
    assert await agent.count("clients") == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"write": ["messages"]}, "write: the policy does not list messages in write"),
        ({"upsert": ["messages"]}, "upsert: the policy does not list messages in write and read"),
        ({"write": ["inquiries"]}, "inquiries has no declared uuid key"),
        ({"update": "leads"}, "update is a collection of names"),
    ],
    ids=repr,
)
async def test_what_cannot_be_written_is_refused_when_the_server_is_made(
    options: dict[str, Any], told: str, agent: PersistenceAgent
) -> None:
    """Not when the model calls."""
    with pytest.raises(ConfigurationError, match=told):
        Writes(agent, **options)


async def test_a_key_that_may_not_be_written_is_refused_when_the_server_is_made() -> None:
    """By it a call that comes twice is known."""
    policy = TablePolicy(read={"leads"}, write={"leads"}, columns={"leads": {"write": ["email"]}})
    with pytest.raises(ConfigurationError, match=r"leads\.id, its key"):
        Writes(made(policy), write=["leads"])


async def test_writes_are_those_of_an_agent() -> None:
    """A façade has none."""
    async with create_persistence_agent("memory") as agent:
        with pytest.raises(ConfigurationError, match="takes a PersistenceAgent"):
            Writes(agent.readonly())  # type: ignore[arg-type]
