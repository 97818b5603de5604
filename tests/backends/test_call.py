"""One call of a function means one thing, however its arguments travel."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agent_persistence import (
    AsyncPersistenceService,
    OutcomeUnknownError,
    SupabaseAdapter,
    TablePolicy,
    ValidationError,
)
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.backends.postgrest.rendering import CALL_BY_URL
from agent_persistence.exceptions import AdapterError, FailureState
from tests.backends.doubles import Recorder
from tests.server import LocalServer, running_server

pytestmark = pytest.mark.asyncio

SQL = """
create function c_json(a json, pad text default '') returns jsonb immutable language sql as 'select to_jsonb(a)';
create function c_jsonb(a jsonb, pad text default '') returns jsonb immutable language sql as 'select a';
create function c_text(a text, pad text default '') returns jsonb immutable language sql as 'select to_jsonb(a)';
create function c_ints(a int[], pad text default '') returns jsonb immutable language sql as 'select to_jsonb(a)';
create function c_variadic(variadic a text[]) returns jsonb immutable language sql as 'select to_jsonb(a)';
create function c_listed(pad text, variadic a text[]) returns jsonb immutable language sql as 'select to_jsonb(a)';
create function c_volatile(n int) returns setof int language sql as
  'insert into inquiries (email) select ''v'' from generate_series(1, n) returning 1';
create function c_many(n int) returns setof int stable language sql as 'select generate_series(1, n)';
create function c_one(n int) returns jsonb stable language sql
  as 'select jsonb_agg(i) from generate_series(1, n) i';
"""
DROP = "drop function c_json, c_listed, c_jsonb, c_text, c_ints, c_variadic, c_volatile, c_many, c_one"
READ = frozenset({"c_json", "c_jsonb", "c_text", "c_ints", "c_variadic", "c_many", "c_one"})
PAD = "x" * (2 * CALL_BY_URL)


@pytest.fixture(scope="module")
def functions(local_server: LocalServer) -> Iterator[LocalServer]:
    """The functions above."""
    local_server.execute(SQL)
    local_server.reload_schema()
    yield local_server
    local_server.execute(DROP)
    local_server.reload_schema()


def _made(server: LocalServer, kind: str) -> PersistenceAdapter:
    if kind == "postgres":
        return PostgresAdapter(server.database_url)
    return SupabaseAdapter(server.url, server.service_key)


@pytest_asyncio.fixture(params=["postgrest", "postgres"])
async def adapter(functions: LocalServer, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    made = _made(functions, request.param)
    yield made
    await made.aclose()


VALUES: list[tuple[str, Any]] = [
    *((name, value) for name in ("c_json", "c_jsonb") for value in ([], [1, 2], [[1], ["a", None]], {}, {"a": [1]})),
    *((name, value) for name in ("c_json", "c_jsonb") for value in ("text", 'a "b"', 5, True)),
    *(("c_text", value) for value in ("", "5", "null", "true", "[1,2]", '"text"', "text", " 5 ", "{}", "a,b(c)")),
    *(("c_ints", value) for value in ([], [1, 2], [3, None])),
    *(("c_variadic", value) for value in ([], ["x"], ["x", "y"], ["a,b", 'c"d', "null"])),
]


@pytest.mark.parametrize(("function", "value"), VALUES, ids=str)
async def test_an_argument_arrives_as_it_is(adapter: Any, function: str, value: Any) -> None:
    """By GET or by POST, by a read or a call that may write, beside short arguments and long ones."""
    arrived = [await adapter.call(function, {"a": value}, may_write=may_write) for may_write in (False, True)]
    if function != "c_variadic":
        arrived += [await adapter.call(function, {"a": value, "pad": PAD}, may_write=w) for w in (False, True)]
    assert arrived == [value] * len(arrived)


@pytest.mark.parametrize("value", ["5", "null", "[1,2]", '"text"'])
@pytest.mark.parametrize("function", ["c_json", "c_jsonb"])
async def test_a_text_in_the_form_of_a_document_means_one_thing(
    functions: LocalServer, function: str, value: str
) -> None:
    """A parameter of type json takes it for a text, short or long, reading or writing."""
    adapter = SupabaseAdapter(functions.url, functions.service_key)
    found = [
        await adapter.call(function, {"a": value, **pad}, may_write=may_write)
        for pad in ({}, {"pad": PAD})
        for may_write in (False, True)
    ]
    await adapter.aclose()
    assert found == [value] * 4


async def test_a_function_that_writes_cannot_do_so_in_a_call_that_reads(adapter: Any, functions: LocalServer) -> None:
    """A short call is a GET, which PostgREST runs read-only; PostgreSQL itself is told so."""
    functions.reset()
    with pytest.raises(AdapterError) as caught:
        await adapter.call("c_volatile", {"n": 1})
    assert caught.value.code == "25006"
    assert functions.execute("select count(*) from inquiries") == [{"count": 0}]


@pytest.fixture(scope="module")
def capped() -> Iterator[LocalServer]:
    """A server that sends five rows at most."""
    with running_server(max_rows=5) as server:
        server.execute(SQL)
        server.reload_schema()
        yield server


def _service(adapter: PersistenceAdapter) -> AsyncPersistenceService:
    return AsyncPersistenceService(
        adapter, policy=TablePolicy(call=READ, call_write=frozenset({"c_volatile"})), owns_adapter=True, retry=False
    )


async def test_rows_that_the_server_cut_are_refused(capped: LocalServer) -> None:
    """The error says how many there are and what helps."""
    async with _service(_made(capped, "postgrest")) as service:
        assert await service.call("c_many", {"n": 5}) == [1, 2, 3, 4, 5]
        with pytest.raises(ValidationError, match="5 of 13 rows"):
            await service.call("c_many", {"n": 13})


async def test_one_array_is_not_cut(capped: LocalServer) -> None:
    """The remedy that the error names: it is one row."""
    async with _service(_made(capped, "postgrest")) as service:
        assert await service.call("c_one", {"n": 13}) == list(range(1, 14))


async def test_a_write_whose_rows_were_cut_says_that_it_was_applied() -> None:
    """What it returned is not known in full, and is not to be had by calling again."""
    cut = httpx.Response(206, json=[1] * 5, headers={"Content-Range": "0-4/13"})
    async with _service(Recorder(lambda request: cut).adapter()) as service:
        with pytest.raises(OutcomeUnknownError, match=r"was applied.* 5 of 13 rows") as caught:
            await service.call("c_volatile", {"n": 13})
    assert caught.value.state is FailureState.APPLIED


async def test_a_variadic_argument_may_come_before_others(functions: LocalServer) -> None:
    """PostgreSQL wants it last."""
    adapter = PostgresAdapter(functions.database_url)
    found = await adapter.call("c_listed", {"a": ["x", "y"], "pad": ""})
    await adapter.aclose()
    assert found == ["x", "y"]


async def test_postgresql_cuts_no_rows(functions: LocalServer) -> None:
    """It has no cap."""
    async with _service(_made(functions, "postgres")) as service:
        assert await service.call("c_many", {"n": 2500}) == list(range(1, 2501))
