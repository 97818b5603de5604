"""The MCP server as the SDK's own client sees it, in the protocol's old form and in the new one."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from mcp import MCPError

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    ConfigurationError,
    InMemoryAdapter,
    Redaction,
    Schema,
    TablePolicy,
    build_rag_context,
)
from agent_persistence.ext.embeddings import HybridRetriever, Searched
from agent_persistence.ext.mcp import create_server
from agent_persistence.rag_context import RAGContext
from agent_persistence.schema.registry import Column, Table
from tests.ext.served import served

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

POLICY = TablePolicy(
    read={"leads", "messages"},
    write={"leads"},
    columns={"leads": {"read": ["id", "email", "score", "status", "notes"]}},
)
LEADS = [
    {
        "email": f"{number}@x.example",
        "score": None if number == 3 else number / 10,
        "notes": f"note {number}",
        "phone": "1",
    }
    for number in range(7)
]


def service(policy: TablePolicy = POLICY, rows: Any = None, **options: Any) -> AsyncPersistenceService:
    adapter = InMemoryAdapter(
        {"leads": LEADS} if rows is None else rows, schema=options.get("schema", Schema.default())
    )
    return AsyncPersistenceService(adapter, policy=policy, owns_adapter=True, **{"schema": Schema.default(), **options})


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """The protocol of 2026, and the one with a handshake."""
    return str(request.param)


# --- what there is ----------------------------------------------------------------------------------------------------


async def test_every_tool_reads_and_says_so(mode: str) -> None:
    """A client need not ask its user before each call."""
    async with served(create_server(service(), context=True), mode) as client:
        tools = await client.tools()
    assert set(tools) == {"query_rows", "read_row", "count_rows", "list_columns", "search_text", "get_context"}
    for tool in tools.values():
        assert tool.annotations is not None
        hints = tool.annotations
        assert (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint) == (True, False, True)
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema is not None


async def test_a_model_sees_the_tables_and_columns_of_the_policy_and_no_others() -> None:
    """Neither in schemas nor in descriptions nor in what a tool lists."""
    async with served(create_server(service(), context=True)) as client:
        told = json.dumps([tool.model_dump(mode="json") for tool in (await client.tools()).values()])
        columns = await client.call("list_columns", table="leads")
    schema = (await _tools(service()))["query_rows"].input_schema
    assert schema["properties"]["table"]["enum"] == ["leads", "messages"]
    assert [column["name"] for column in columns.document["columns"]] == ["id", "email", "status", "score", "notes"]
    assert columns.document["key"] == ["id"]
    assert "score numeric" in told
    for hidden in ("phone", "company", "campaigns", "clients", "is_qualified", "client_id"):
        assert hidden not in told + columns.text


async def _tools(made: AsyncPersistenceService, **options: Any) -> dict[str, Any]:
    async with served(create_server(made, **options)) as client:
        return dict(await client.tools())


async def test_a_relation_is_told_where_its_other_end_may_be_read() -> None:
    """And nothing of a table that may not."""
    policy = TablePolicy(read={"messages", "conversations"})
    async with served(create_server(service(policy))) as client:
        messages = (await client.call("list_columns", table="messages")).document["columns"]
        conversations = (await client.call("list_columns", table="conversations")).document["columns"]
    assert {"references": "conversations.id"}.items() <= _named(messages, "conversation_id").items()
    assert "references" not in _named(conversations, "lead_id")


def _named(columns: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(column for column in columns if column["name"] == name)


async def test_a_policy_that_allows_nothing_gives_no_tool() -> None:
    """Not one that fails."""
    assert await _tools(service(TablePolicy())) == {}


async def test_columns_that_are_only_written_are_not_listed() -> None:
    """What a model may not read, it does not see."""
    policy = TablePolicy(read={"leads"}, write={"leads"}, columns={"leads": {"read": ["id"], "write": ["email"]}})
    async with served(create_server(service(policy))) as client:
        columns = (await client.call("list_columns", table="leads")).document["columns"]
    assert [column["name"] for column in columns] == ["id"]


async def test_a_long_schema_is_told_by_the_names_of_its_tables() -> None:
    """The columns of a hundred tables would fill the model's memory; list_columns tells those of one."""
    columns = {f"column_{number}": Column("text") for number in range(50)} | {"id": Column("uuid")}
    schema = Schema({f"table_{number}": Table(columns) for number in range(40)})
    made = service(TablePolicy(read=schema.tables), {}, schema=schema)
    description = (await _tools(made))["query_rows"].description
    assert "table_39" in description
    assert "column_1" not in description
    assert len(description) < 7_000


# --- what comes back --------------------------------------------------------------------------------------------------


async def test_rows_are_found_as_python_finds_them(mode: str) -> None:
    """Filters, order, columns and the limit."""
    async with served(create_server(service()), mode) as client:
        answer = await client.call(
            "query_rows",
            table="leads",
            filters={"score": {"gte": 0.2, "lt": 0.6}, "not": {"email": "4@x.example"}},
            order_by=["-score"],
            select=["email", "score"],
            limit=1,
        )
        assert answer.rows == [{"email": "5@x.example", "score": 0.5}]
        assert (await client.call("count_rows", table="leads", filters={"score": None})).document == {"count": 1}
        (row,) = (await client.call("query_rows", table="leads", limit=1)).rows
        assert (await client.call("read_row", table="leads", key=row["id"])).rows == [row]
        assert (await client.call("read_row", table="leads", key=row["id"], select=["email"])).rows == [
            {"email": row["email"]}
        ]
        assert (await client.call("read_row", table="leads", key="0190b0b0-0000-7000-8000-000000000000")).rows == []
        assert json.loads(answer.text) == answer.document


async def test_words_are_searched_in_the_configuration_that_was_set() -> None:
    """With filters, and a page at a time."""
    async with served(create_server(service(), text_config="simple", max_rows=2)) as client:
        first = await client.call("search_text", table="leads", column="notes", words="note -3", select=["notes"])
        assert len(first.rows) == 2
        second = await client.call(
            "search_text",
            table="leads",
            column="notes",
            words="note -3",
            select=["notes"],
            cursor=first.document["next_cursor"],
        )
        found = {row["notes"] for row in first.rows + second.rows}
        assert len(found) == 4
        assert "note 3" not in found
        elsewhere = await client.call(
            "search_text", table="leads", column="notes", words="other", cursor=first.document["next_cursor"]
        )
        assert elsewhere.failed


async def test_a_retriever_finds_rows_best_first() -> None:
    """Only those that the façade gives, with their table and score."""
    retriever = HybridRetriever({"leads": Searched(text="notes")})
    async with served(create_server(service(), retriever=retriever)) as client:
        assert "search" in await client.tools()
        answer = await client.call("search", question="note 5", limit=2)
        elsewhere = await client.call("search", question="note 5", tables=["clients"])
        assert elsewhere.failed
        assert "'clients' is not allowed" in elsewhere.text
        assert (await client.call("search", question="note 5", tables=["messages"])).rows == []
    assert answer.rows[0]["table"] == "leads"
    assert answer.rows[0]["row"]["notes"] == "note 5"
    assert answer.rows[0]["score"] >= answer.rows[1]["score"]
    assert "phone" not in answer.text


async def test_the_context_is_a_tool_and_a_prompt(mode: str) -> None:
    """The same text, of which the prompt ends with the question."""
    async with served(create_server(service(), context=True), mode) as client:
        told = (await client.call("get_context", question="Who is 5@x.example?")).document
        assert told["complete"] is True
        (prompt,) = (await client.sdk.list_prompts()).prompts
        assert prompt.name == "context"
        (message,) = (await client.sdk.get_prompt("context", {"question": "Who is 5@x.example?"})).messages
        text = message.content.text if message.content.type == "text" else ""
        assert "<email>5@x.example</email>" in text
        assert "<email>5@x.example</email>" in told["context"]
        assert text.endswith("Who is 5@x.example?")
        with pytest.raises(MCPError, match="takes a question"):
            await client.sdk.get_prompt("context", {"question": " "})
        with pytest.raises(MCPError, match="the prompt is"):
            await client.sdk.get_prompt("other", {"question": "?"})


async def test_the_context_of_the_application_is_used() -> None:
    """Any async function of a façade and a question."""

    async def build(source: Any, /, *, query: str) -> RAGContext:
        return await build_rag_context(source, lead_filters={"email": "1@x.example"}, query=query)

    async with served(create_server(service(), context=build)) as client:
        told = (await client.call("get_context", question="?")).document["context"]
    assert "1@x.example" in told
    assert "2@x.example" not in told


@pytest.mark.parametrize("max_bytes", [1_000, 2_000, 20_000])
async def test_the_context_keeps_within_the_bytes_of_an_answer(max_bytes: int) -> None:
    """However many records there are, and whatever letters they are in."""
    rows = {"leads": [{"email": f"{number}@x.example", "notes": 'ж"<\n' * 200} for number in range(60)]}
    async with served(create_server(service(rows=rows), context=True, max_bytes=max_bytes)) as client:
        answer = await client.call("get_context", question="who?")
    assert not answer.failed
    assert len(answer.text.encode()) <= max_bytes


async def test_masked_columns_come_masked_or_not_at_all() -> None:
    """And cannot be searched, sorted or filtered by."""
    async with served(create_server(service(mask_reads=Redaction.default()), context=True)) as client:
        answer = await client.call("query_rows", table="leads")
        context = await client.call("get_context", question="who?")
        for arguments in ({"filters": {"email": "5@x.example"}}, {"order_by": ["email"]}):
            refused = await client.call("query_rows", table="leads", **arguments)
            assert refused.failed
            assert "it is masked" in refused.text
            assert "allow()" not in refused.text
    assert len(answer.rows) == 7
    assert "x.example" not in answer.text + context.text


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("query_rows", {"table": "clients"}, "query on table 'clients' is not allowed; allowed here: leads, messages."),
        ("query_rows", {"table": "lead"}, "did you mean leads?"),
        ("query_rows", {"table": "leads", "filters": {"phone": "1"}}, "'phone' is not allowed as a column of leads"),
        ("query_rows", {"table": "leads", "select": ["phone"]}, "'phone' is not allowed"),
        ("query_rows", {"table": "leads", "order_by": ["-phone"]}, "'phone' is not allowed"),
        ("query_rows", {"table": "leads", "filters": {"score": {"gtt": 1}}}, "did you mean 'gt'?"),
        ("query_rows", {"table": "leads", "filters": {"score": "many"}}, "A value is not valid for its column"),
        ("query_rows", {"table": "leads", "where": {}}, "where: Extra inputs are not permitted"),
        ("query_rows", {"table": "leads", "limit": "3"}, "limit: Input should be a valid integer"),
        ("query_rows", {"table": "leads", "limit": 0}, "limit: Input should be greater than or equal to 1"),
        ("query_rows", {"table": ["leads"]}, "table: Input should be a valid string"),
        ("query_rows", {"table": None}, "table: Input should be a valid string"),
        ("query_rows", {}, "table: Field required"),
        ("query_rows", {"table": "leads", "filters": '{"score": 1}'}, "filters: Input should be a valid dictionary"),
        ("query_rows", {"table": "leads", "filters": {"notes": "x" * 100_001}}, "larger than 100000 bytes"),
        ("read_row", {"table": "leads", "key": {"a": 1}}, "key"),
        ("count_rows", {"table": "leads", "filters": {"phone": None}}, "'phone' is not allowed"),
        ("list_columns", {"table": "clients"}, "is not allowed"),
        ("search_text", {"table": "leads", "column": "phone", "words": "1"}, "'phone' is not allowed"),
        ("get_context", {"question": ""}, "at least 1 character"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
async def test_what_is_wrong_and_what_is_allowed_is_told(
    tool: str, arguments: dict[str, Any], told: str, mode: str
) -> None:
    """As an error of the tool, which the model reads and mends; never how to get more rights."""
    async with served(create_server(service(), context=True), mode) as client:
        answer = await client.call(tool, **arguments)
    assert answer.failed
    assert told in answer.text
    assert "PERSIST_" not in answer.text
    assert "TablePolicy" not in answer.text


async def test_a_tool_that_there_is_not_is_an_error_of_the_protocol(mode: str) -> None:
    """Writing tools among them, unless they are named."""
    async with served(create_server(service()), mode) as client:
        for name in ("write_row", "upsert_row", "update_rows", "delete_rows", "search", "_query", ""):
            with pytest.raises(MCPError, match="there is no such tool"):
                await client.call(name, table="leads")


async def test_what_fails_inside_is_told_to_the_operator_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The client learns that it failed; the log learns why."""

    async def broken(source: Any, /, *, query: str) -> RAGContext:
        raise RuntimeError("postgres://admin:secret@db.internal")

    async with served(create_server(service(), context=broken)) as client:
        with caplog.at_level(logging.ERROR, "agent_persistence.mcp"):
            answer = await client.call("get_context", question="?")
            with pytest.raises(MCPError) as refused:
                await client.sdk.get_prompt("context", {"question": "?"})
    assert answer.failed
    assert answer.text == "The call failed."
    assert "secret" not in str(refused.value)
    assert "secret" in caplog.text


async def test_a_failure_of_the_database_is_told_in_our_words() -> None:
    """Not in those of its server."""

    class Failing(InMemoryAdapter):
        async def query(self, *arguments: Any, **options: Any) -> Any:
            raise AdapterError("relation leads at db.internal:5432 is broken", status=500)

    made = AsyncPersistenceService(Failing(), policy=POLICY, retry=False)
    async with served(create_server(made)) as client:
        answer = await client.call("query_rows", table="leads")
    assert answer.failed
    assert "The database could not carry out the call" in answer.text
    assert "internal" not in answer.text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_rows": 0}, "max_rows is a number of rows from 1 to 1000"),
        ({"max_rows": 1001}, "max_rows"),
        ({"max_rows": True}, "max_rows"),
        ({"max_bytes": 999}, "max_bytes is a number of bytes of at least 1000"),
        ({"max_bytes": "many"}, "max_bytes"),
        ({"cursor_key": "short"}, "cursor_key is a secret of at least 16 bytes"),
    ],
    ids=repr,
)
async def test_a_server_that_cannot_work_is_refused_when_it_is_made(options: dict[str, Any], told: str) -> None:
    """With what would be right."""
    with pytest.raises(ConfigurationError, match=told):
        create_server(service(), **options)
