"""The attacks on names, filters and bounds as a client of the MCP server sends them: refused, and no request leaves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings, strategies as st

from agent_persistence import AuditEvent, PersistenceAgent, TablePolicy
from agent_persistence.ext.mcp import Writes, create_server
from agent_persistence.service import AsyncPersistenceService
from tests.backends.doubles import SECRET, Recorder, rows
from tests.doubles import shown
from tests.ext.served import McpClient, served
from tests.security import test_attacks as known

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
TABLES = [table for table in known.TABLES if type(table) in (str, int, list, dict, type(None))]
COLUMNS = [column for column in known.COLUMNS if type(column) is str]
POLICY = TablePolicy(
    read={"leads", "messages"},
    write={"leads"},
    columns={"leads": {"read": ["id", "email", "score", "tags", "custom"], "write": ["id", "email", "tags"]}},
    max_filters=50,
    max_list=500,
)


@pytest.fixture
def recorder() -> Recorder:
    """Counts what leaves."""
    return Recorder(lambda request: rows({"id": "1", "email": "a"}))


@pytest.fixture
def events() -> list[AuditEvent]:
    return []


@pytest.fixture
async def client(recorder: Recorder, events: list[AuditEvent]) -> AsyncIterator[McpClient]:
    """Of a server with every tool that there is."""
    made = AsyncPersistenceService(recorder.adapter(), policy=POLICY, row_cap=1000, retry=False, audit=events.append)
    writes = Writes(PersistenceAgent(made), upsert=["leads"], update=["leads"])
    async with served(create_server(made, writes=writes, context=True)) as client:
        yield client


ON_TABLES: dict[str, dict[str, Any]] = {
    "query_rows": {},
    "read_row": {"key": "1"},
    "count_rows": {},
    "list_columns": {},
    "search_text": {"column": "email", "words": "a"},
    "upsert_row": {"record": {"email": "a"}},
    "update_rows": {"changes": {"email": "a"}, "filters": {"id": "1"}},
}
FORMS: dict[str, Any] = {
    "select": lambda column: ("query_rows", {"select": [column]}),
    "select beside another": lambda column: ("query_rows", {"select": ["id", column]}),
    "read select": lambda column: ("read_row", {"key": "1", "select": [column]}),
    "filter": lambda column: ("query_rows", {"filters": {column: 1}}),
    "null filter": lambda column: ("query_rows", {"filters": {column: None}}),
    "deep filter": lambda column: (
        "count_rows",
        {"filters": {"not": {"any_of": [{"id": 1}, {"all_of": [{column: {"ne": 1}}, {"id": 2}]}]}}},
    ),
    "order": lambda column: ("query_rows", {"order_by": [column]}),
    "second order": lambda column: ("query_rows", {"order_by": ["id", f"-{column}"]}),
    "search": lambda column: ("search_text", {"column": column, "words": "a"}),
    "upsert": lambda column: ("upsert_row", {"record": {"email": "a", column: 1}}),
    "change": lambda column: ("update_rows", {"changes": {column: 1}, "filters": {"id": "1"}}),
    "change where": lambda column: ("update_rows", {"changes": {"email": "a"}, "filters": {column: 1}}),
}


@pytest.mark.parametrize("table", TABLES, ids=shown)
async def test_a_table_that_is_not_listed_is_refused(table: Any, client: McpClient, recorder: Recorder) -> None:
    """By every tool, in whatever disguise; the answer tells what is allowed, and never how to get more."""
    for tool, arguments in ON_TABLES.items():
        answer = await client.call(tool, table=table, **arguments)
        assert answer.failed, tool
        assert recorder.requests == [], tool
        assert "PERSIST_" not in answer.text
        assert "TablePolicy" not in answer.text
        assert len(answer.text) < 1_000


@pytest.mark.parametrize("column", COLUMNS, ids=shown)
async def test_a_name_that_is_no_allowed_column_is_refused(column: str, client: McpClient, recorder: Recorder) -> None:
    """Wherever a column may stand."""
    for form, made in FORMS.items():
        tool, arguments = made(column)
        answer = await client.call(tool, table="leads", **arguments)
        assert answer.failed, form
        assert recorder.requests == [], form
        assert len(answer.text) < 2_000


@pytest.mark.parametrize("table", ["clients", "conversations", "campaigns", "messages", "leads", "pg_catalog"])
async def test_related_rows_that_may_not_be_read_are_not_asked_about(
    table: str, client: McpClient, recorder: Recorder
) -> None:
    """Nor those that are related by nothing that is declared; a condition would tell their values bit by bit."""
    asked = {"exists": {"table": table, "filters": {"id": {"gt": "1"}}}}
    for filters in (asked, {"not": asked}, {"id": "1", "any_of": [asked, {"email": "a"}]}):
        for tool, arguments in (("query_rows", {}), ("count_rows", {}), ("update_rows", {"changes": {"email": "a"}})):
            answer = await client.call(tool, table="leads", filters=filters, **arguments)
            assert answer.failed, tool
            assert recorder.requests == [], tool
            assert "TablePolicy" not in answer.text
            assert "Schema" not in answer.text
            assert len(answer.text) < 1_000


async def test_the_names_that_are_allowed_are_not_refused(client: McpClient, recorder: Recorder) -> None:
    """Control: the same calls leave for what is listed."""
    for tool, arguments in ON_TABLES.items():
        before = len(recorder.requests)
        await client.call(tool, table="leads", **arguments)
        assert len(recorder.requests) > before, tool
    for form, made in FORMS.items():
        before = len(recorder.requests)
        tool, arguments = made("email")
        await client.call(tool, table="leads", **arguments)
        assert len(recorder.requests) > before, form


@pytest.mark.parametrize(
    "arguments",
    [
        {"filters": {"any_of": [{"id": number} for number in range(51)]}},
        {"filters": {"id": {"in": list(range(501))}}},
        {"filters": {"email": "x" * 100_000}},
        {"filters": {"not": {"not": {"not": {"score": {"raw": "1)or(1=1"}}}}}},
        {"limit": 10**9},
        {"limit": -1},
        {"limit": True},
        {"limit": 1.5},
        {"select": ["id"] * 101},
        {"order_by": ["id"] * 11},
        {"cursor": "x" * 20_001},
        {"cursor": "eyJhIjoxfQ"},
        {"offset": 1},
        {"include": {"clients": ["*"]}},
        {"include": ["clients"]},
        {"include": ["messages", "clients(*)"]},
        {"include": ["messages"] * 6},
        {"as_user": {"access_token": "t"}},
        {"filters": {"id": {"eq": {"a": 1}}}},
        {"filters": {"email": {"like": "a*"}}},
        {"filters": {"email": "\0"}},
        {"filters": {"email": {"text_search": {"query": "a", "config": "x'); drop table leads; --"}}}},
    ],
    ids=lambda arguments: json.dumps(arguments)[:50],
)
async def test_what_exceeds_a_bound_or_is_no_argument_is_refused(
    arguments: dict[str, Any], client: McpClient, recorder: Recorder
) -> None:
    """Before anything is sent."""
    answer = await client.call("query_rows", table="leads", **arguments)
    assert answer.failed
    assert recorder.requests == []


async def test_a_value_stays_a_value(client: McpClient, recorder: Recorder) -> None:
    """Whatever it holds, no parameter is added to the request, and its path is the table's."""
    for value in ("1&select=*", "a,b)", "eq.1", 'x","or":"', "*)or(true", "%26", "../clients", "\r\nX: y", "ж🚀"):
        await client.call(
            "query_rows", table="leads", filters={"email": value, "any_of": [{"id": value}, {"score": 1}]}
        )
    for request in recorder.requests:
        assert request.url.path.endswith("/leads")
        assert {name for name, _ in request.url.params.multi_items()} <= {
            "select",
            "email",
            "or",
            "and",
            "order",
            "limit",
        }


async def test_denials_are_audited(client: McpClient, events: list[AuditEvent]) -> None:
    """A model that tries doors is seen."""
    await client.call("query_rows", table="clients")
    await client.call("query_rows", table="leads", filters={"phone": 1})
    assert [(event.verb, event.outcome) for event in events] == [("query", "denied")] * 2


async def test_no_answer_holds_the_key_of_the_backend() -> None:
    """Neither an error of its nor one of ours."""
    made = AsyncPersistenceService(Recorder(lambda request: _broken()).adapter(), policy=POLICY, retry=False)
    async with served(create_server(made, context=True)) as client:
        for tool, arguments in ON_TABLES.items():
            if tool not in ("upsert_row", "update_rows"):
                answer = await client.call(tool, table="leads", **arguments)
                assert SECRET not in answer.text
                assert "project.example" not in answer.text


def _broken() -> httpx.Response:
    return httpx.Response(500, json={"code": "XX000", "message": f"{SECRET} at project.example", "details": SECRET})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
calls = st.tuples(
    st.sampled_from([*ON_TABLES]),
    st.dictionaries(
        st.sampled_from(
            ["table", "filters", "select", "order_by", "limit", "cursor", "key", "record", "changes", "column"]
        )
        | st.text(max_size=5),
        anything | st.sampled_from(["leads", {"id": "1"}, ["email"], 1]),
        max_size=5,
    ),
)


@settings(max_examples=60)
@given(st.lists(calls, min_size=1, max_size=5))
def test_whatever_is_sent_is_answered_and_nothing_that_is_not_listed_is_asked_for(
    anyio_backend: str, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    """Never a fault of the server, and only requests for the table that the policy lists."""
    recorder = Recorder(lambda request: rows({"id": "1", "email": "a"}))
    made = AsyncPersistenceService(recorder.adapter(), policy=POLICY, row_cap=1000, retry=False)
    writes = Writes(PersistenceAgent(made), upsert=["leads"], update=["leads"])

    async def check() -> None:
        async with served(create_server(made, writes=writes)) as client:
            for tool, arguments in asked:
                answer = await client.call(tool, **{str(name): value for name, value in arguments.items() if name})
                assert answer.text != "The call failed."
        assert all(request.url.path.rpartition("/")[2] in ("leads", "messages") for request in recorder.requests)

    anyio.run(check)
