"""Columns and rows of a policy, over the memory adapter and over a real server; and the bytes that ask for them."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeAlias

import httpx
import pytest
from pydantic import BaseModel

from agent_persistence import (
    ColumnNotAllowedError,
    InMemoryAdapter,
    Next,
    Operation,
    OutcomeUnknownError,
    PersistenceAdapter,
    PersistenceError,
    ReadOnlyPersistenceFacade,
    Result,
    SupabaseAdapter,
    TablePolicy,
    ValidationError,
    any_of,
    build_rag_context,
    gt,
    gte,
    increment,
    not_,
)
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.operations import Query
from agent_persistence.schema_registry import default_schema
from agent_persistence.service import AsyncPersistenceService
from tests.backends.doubles import Recorder, rows
from tests.doubles import RecordingAdapter, shown
from tests.server import LocalServer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
Call: TypeAlias = Callable[[AsyncPersistenceService], Awaitable[Any]]

A, B, C = (f"00000000-0000-4000-8000-00000000000{digit}" for digit in "abc")
LEADS: list[dict[str, Any]] = [
    {"id": A, "email": "a@example.com", "phone": "+1", "status": "open", "score": 0.9, "custom": {"role": "cto"}},
    {"id": B, "email": "b@example.com", "phone": "+2", "status": "open", "score": 0.1, "custom": {"role": "ceo"}},
    {"id": C, "email": "c@example.com", "phone": "+3", "status": "won", "score": 0.9, "custom": {"role": "cto"}},
]
COLUMNS = TablePolicy(
    read={"leads"},
    write={"leads"},
    delete={"leads"},
    columns={"leads": {"read": ["id", "email", "status"], "write": ["id", "email", "phone", "notes"]}},
)
ROWS = TablePolicy(
    read={"leads"}, write={"leads"}, delete={"leads"}, rows={"leads": {"status": "open", "score": gte(0.5)}}
)


@pytest.fixture(params=["memory", "postgres", "server"])
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[PersistenceAdapter]:
    """Three leads in each adapter."""
    if request.param == "memory":
        made: Any = InMemoryAdapter(schema=default_schema())
    else:
        server: LocalServer = request.getfixturevalue("server")
        supabase = partial(SupabaseAdapter, server.url, server.service_key)
        made = supabase() if request.param == "server" else PostgresAdapter(server.database_url, role="service_role")
    await made.batch_write("leads", LEADS)
    yield made
    await made.aclose()


@pytest.fixture
def columns(adapter: PersistenceAdapter) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter, policy=COLUMNS, retry=False)


@pytest.fixture
def limited(adapter: PersistenceAdapter) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter, policy=ROWS, retry=False)


async def stored(adapter: PersistenceAdapter) -> dict[str, dict[str, Any]]:
    """What the adapter holds, by e-mail, without the times."""
    found = await adapter.query("leads", select=["id", "email", "phone", "status", "notes"])
    return {row["email"]: row for row in found}


# --- columns ----------------------------------------------------------------------------------------------------------


async def test_only_readable_columns_come_back(columns: AsyncPersistenceService) -> None:
    """Of read, query and iterate, with and without a projection."""
    whole = {"id": A, "email": "a@example.com", "status": "open"}
    assert await columns.read("leads", A) == whole
    assert await columns.read("leads", "a@example.com", "email") == whole
    assert await columns.query("leads", {"id": A}) == [whole]
    assert await columns.query("leads", {"id": A}, select=["email"]) == [{"email": "a@example.com"}]
    assert [row async for row in columns.iterate("leads", {"id": A})] == [whole]
    assert await columns.count("leads", {"status": "open"}) == 2


async def test_only_readable_columns_come_back_from_writes(columns: AsyncPersistenceService) -> None:
    """Update and delete show nothing else."""
    whole = {"id": A, "email": "a@example.com", "status": "open"}
    assert await columns.update("leads", {"phone": "+9"}, {"id": A}) == [whole]
    assert await columns.upsert("leads", {"id": A, "email": "a@example.com"}) == whole
    assert await columns.delete("leads", {"id": A}) == [whole]
    written = await columns.write("leads", {"email": "d@example.com"})
    assert written.keys() == {"id", "email", "status"}


async def test_columns_to_write_and_to_read_are_both_told(columns: AsyncPersistenceService) -> None:
    """`get_columns` tells no other name."""
    told = await columns.get_columns("leads")
    assert told == ["id", "email", "phone", "status", "notes"]


FORBIDDEN: dict[str, tuple[str, Call]] = {
    "select": ("phone", lambda made: made.query("leads", select=["phone"])),
    "filter": ("phone", lambda made: made.query("leads", {"phone": "+1"})),
    "null filter": ("phone", lambda made: made.query("leads", {"phone": None})),
    "nested filter": ("phone", lambda made: made.query("leads", any_of({"id": A}, not_({"phone": gt("+1")})))),
    "order": ("phone", lambda made: made.query("leads", order_by="phone")),
    "second order": ("phone", lambda made: made.query("leads", order_by=["id", "phone"])),
    "count": ("phone", lambda made: made.count("leads", {"phone": "+1"})),
    "id_column": ("phone", lambda made: made.read("leads", "+1", "phone")),
    "path": ("custom->>role", lambda made: made.query("leads", {"custom->>role": "cto"})),
    "selected path": ("custom->>role", lambda made: made.query("leads", select=["custom->>role"])),
    "filter of an update": ("phone", lambda made: made.update("leads", {"email": "x"}, {"phone": "+1"})),
    "filter of a delete": ("phone", lambda made: made.delete("leads", {"phone": "+1"})),
    "order of iterate": ("phone", lambda made: anext(aiter(made.iterate("leads", order_by="phone")))),
    "target of a merge": ("phone", lambda made: made.upsert("leads", {"phone": "+1", "email": "x"}, ["phone"])),
    "write": ("status", lambda made: made.write("leads", {"email": "x", "status": "won"})),
    "second row": ("status", lambda made: made.batch_write("leads", [{"email": "x"}, {"email": "y", "status": "z"}])),
    "upsert": ("status", lambda made: made.upsert("leads", {"id": A, "status": "won"})),
    "unwritable target": ("status", lambda made: made.upsert("leads", {"email": "x"}, ["status"])),
    "update": ("status", lambda made: made.update("leads", {"status": "won"}, {"id": A})),
    "created_at": ("created_at", lambda made: made.write("leads", {"email": "x", "created_at": "2020-01-01"})),
}


@pytest.mark.parametrize(("column", "call"), FORBIDDEN.values(), ids=FORBIDDEN)
async def test_a_column_that_the_policy_does_not_list_is_refused(column: str, call: Call) -> None:
    """Wherever it stands; the error says which would be allowed, and nothing is sent."""
    adapter = RecordingAdapter(InMemoryAdapter(schema=default_schema()))
    with pytest.raises(ColumnNotAllowedError) as caught:
        await call(AsyncPersistenceService(adapter, policy=COLUMNS))
    assert caught.value.column == column
    assert adapter.calls == []
    if column != "custom->>role":
        assert "allowed here: email, id, " in str(caught.value)


@pytest.mark.parametrize("place", [place for place in FORBIDDEN if "path" not in place])
async def test_without_the_rule_these_calls_reach_the_adapter(place: str) -> None:
    """Control: it is the rule that refuses them. Paths need to be declared, too."""
    adapter = RecordingAdapter()
    with suppress(PersistenceError, StopAsyncIteration):
        await FORBIDDEN[place][1](
            AsyncPersistenceService(adapter, policy=TablePolicy(read={"leads"}, write={"leads"}, delete={"leads"}))
        )
    assert adapter.calls


async def test_a_key_made_by_the_service_needs_no_right_to_write_it(adapter: PersistenceAdapter) -> None:
    """The service adds it; a caller who names it, even with NULL or in one row of a batch, is refused."""
    policy = TablePolicy(
        read={"leads"}, write={"leads"}, columns={"leads": {"read": ["id", "email"], "write": ["email"]}}
    )
    made = AsyncPersistenceService(adapter, policy=policy, retry=False)
    assert (await made.write("leads", {"email": "d@example.com"})).keys() == {"id", "email"}
    assert (await made.upsert("leads", {"email": "e@example.com"})).keys() == {"id", "email"}
    assert len(await made.batch_write("leads", [{"email": "f@example.com"}, {"email": "g@example.com"}])) == 2
    own_key: dict[str, Any] = {"id": "00000000-0000-4000-8000-00000000000f", "email": "h@example.com"}
    for call in (
        made.write("leads", own_key),
        made.upsert("leads", own_key),
        made.batch_write("leads", [{"email": "i@example.com"}, own_key]),
        made.update("leads", own_key, {"id": A}),
    ):
        with pytest.raises(ColumnNotAllowedError, match="'id'"):
            await call
    assert "h@example.com" not in await stored(adapter)


async def test_a_table_that_may_only_be_written_tells_nothing_but_what_was_sent(adapter: PersistenceAdapter) -> None:
    """Not even the key that the database made."""
    made = AsyncPersistenceService(adapter, policy=TablePolicy(read=(), write={"inquiries"}), retry=False)
    assert await made.write("inquiries", {"email": "x"}) == {"email": "x"}
    assert await made.batch_write("inquiries", [{"email": "y"}, {"email": "z"}]) == [{"email": "y"}, {"email": "z"}]


class Lead(BaseModel):
    __tablename__: ClassVar[str] = "leads"
    id: str | None = None
    email: str
    status: str | None = None


async def test_typed_tables_keep_to_the_columns(columns: AsyncPersistenceService) -> None:
    """A model sees what a mapping would."""
    table = columns.table(Lead)
    assert await table.read(A) == Lead(id=A, email="a@example.com", status="open")
    assert [lead.id async for lead in table.iterate(order_by="email")] == [A, B, C]
    assert await table.count({"status": "open"}) == 2
    with pytest.raises(ColumnNotAllowedError):
        await table.query({"phone": "+1"})
    with pytest.raises(ColumnNotAllowedError):
        await table.write(Lead(email="x", status="won"))


async def test_a_facade_keeps_to_the_columns(columns: AsyncPersistenceService) -> None:
    """It is a narrower view of the same service."""
    facade: ReadOnlyPersistenceFacade = columns.readonly()
    assert await facade.read("leads", A) == {"id": A, "email": "a@example.com", "status": "open"}
    with pytest.raises(ColumnNotAllowedError):
        await facade.with_options(deadline_s=1).query("leads", order_by="phone")


async def test_pages_of_a_table_whose_key_may_not_be_read_are_not_sorted_by_it() -> None:
    """The order would tell of the key, and a role that may not read it would be refused; a second page is refused."""
    recorder = Recorder(lambda request: rows({"email": "a"}))
    policy = TablePolicy(read={"leads"}, write={"leads"}, columns={"leads": {"read": ["email"]}})
    made = AsyncPersistenceService(recorder.adapter(), policy=policy, row_cap=2, retry=False)
    await made.query("leads")
    assert [request.url.query.decode() for request in recorder.requests] == ["select=email&limit=100001"]


# --- rows -------------------------------------------------------------------------------------------------------------


async def test_only_rows_of_the_policy_are_read(limited: AsyncPersistenceService) -> None:
    """By read, query, count and iterate; a filter of the caller's cannot widen that."""
    assert [row["id"] for row in await limited.query("leads")] == [A]
    assert [row["id"] async for row in limited.iterate("leads", page_size=1)] == [A]
    assert await limited.count("leads", any_of({"status": "won"}, {"score": gte(0)})) == 1
    assert await limited.query("leads", {"status": "won"}) == []
    assert await limited.read("leads", A) is not None
    assert await limited.read("leads", B) is None
    assert await limited.read("leads", "c@example.com", "email") is None


async def test_only_rows_of_the_policy_are_changed(
    limited: AsyncPersistenceService, adapter: PersistenceAdapter
) -> None:
    """By update and delete, whatever the filter says."""
    changed = await limited.update("leads", {"notes": "x"}, any_of({"status": "won"}, {"score": gte(0)}))
    assert [row["id"] for row in changed] == [A]
    assert await limited.delete("leads", {"id": C}) == []
    assert [row["id"] for row in await limited.delete("leads", {"score": gte(0)})] == [A]
    assert [row["notes"] for row in (await stored(adapter)).values()] == [None, None]


async def test_what_is_written_gets_the_values_of_the_policy(
    limited: AsyncPersistenceService, adapter: PersistenceAdapter
) -> None:
    """Of every equality; the same value may be given, another one is refused."""
    assert (await limited.write("leads", {"email": "d@example.com"}))["status"] == "open"
    assert (await limited.write("leads", {"email": "e@example.com", "status": "open"}))["status"] == "open"
    assert {row["status"] for row in await limited.batch_write("leads", [{"email": "f@example.com"}])} == {"open"}
    assert (await limited.upsert("leads", {"email": "g@example.com"}))["status"] == "open"
    assert len(await stored(adapter)) == 7


OUTSIDE: dict[str, Call] = {
    "write": lambda made: made.write("leads", {"email": "x", "status": "won"}),
    "null": lambda made: made.upsert("leads", {"email": "x", "status": ""}),
    "second row": lambda made: made.batch_write("leads", [{"email": "x"}, {"email": "y", "status": "won"}]),
    "update": lambda made: made.update("leads", {"status": "won"}, {"id": A}),
    "upsert": lambda made: made.upsert("leads", {"id": A, "email": "x", "status": "won"}),
    "compared column": lambda made: made.write("leads", {"email": "x", "score": 1}),
    "sum in a column of the rule": lambda made: made.update("leads", {"status": increment(1)}, {"id": A}),
    "sum in a compared column": lambda made: made.update("leads", {"score": increment(1)}, {"id": A}),
    "update of a compared column": lambda made: made.update("leads", {"score": 0.1}, {"id": A}),
    "batch with a compared column": lambda made: made.batch_write("leads", [{"email": "x", "score": 1}]),
}


@pytest.mark.parametrize("call", OUTSIDE.values(), ids=OUTSIDE)
async def test_no_row_is_written_or_moved_outside_of_the_policy(call: Call) -> None:
    """Another value of an equality, or any value of a column that the filter compares otherwise."""
    adapter = RecordingAdapter()
    with pytest.raises(ColumnNotAllowedError):
        await call(AsyncPersistenceService(adapter, policy=ROWS))
    assert adapter.calls == []


async def test_a_merge_is_refused_where_the_rows_are_no_equality() -> None:
    """Nothing in the merge's target would keep it from a row outside."""
    adapter = RecordingAdapter()
    with pytest.raises(ValidationError, match="a row outside of those this policy allows"):
        await AsyncPersistenceService(adapter, policy=ROWS).upsert("leads", {"id": A, "email": "x"})
    assert adapter.calls == []


async def test_the_target_of_a_merge_gets_the_values_of_the_policy() -> None:
    """So that a row outside is no match."""
    adapter = RecordingAdapter()
    policy = TablePolicy(read={"leads"}, write={"leads"}, rows={"leads": {"status": "open"}})
    await AsyncPersistenceService(adapter, policy=policy).upsert("leads", {"id": A, "email": "x"})
    assert adapter.calls == [("upsert", ("leads", {"id": A, "email": "x", "status": "open"}, ("id", "status")))]


@pytest.mark.parametrize("rule", [{"custom->>role": "cto"}, {"custom->>role": gt("a")}], ids=shown)
async def test_a_rule_on_a_part_of_a_column_is_not_written_and_protects_the_whole(rule: Any) -> None:
    """A path is no column of a record; writing the column would move the row."""
    adapter = RecordingAdapter()
    made = AsyncPersistenceService(adapter, policy=TablePolicy(read={"leads"}, write={"leads"}, rows={"leads": rule}))
    with pytest.raises(ColumnNotAllowedError, match="custom"):
        await made.update("leads", {"custom": {"role": "x"}}, {"id": A})
    await made.write("leads", {"email": "x"})
    [(_, (_, record))] = adapter.calls
    assert record.keys() == {"id", "email"}


# --- two guards -------------------------------------------------------------------------------------------------------


async def test_a_middleware_sees_the_callers_operation_and_the_rules_hold_below_it(
    adapter: PersistenceAdapter,
) -> None:
    """What the policy adds, also by columns that the caller may not name, is added below it and not refused."""
    seen: list[Operation] = []

    async def watching(operation: Operation, call_next: Next) -> Result:
        seen.append(operation)
        return await call_next(operation)

    policy = TablePolicy(
        read={"leads"}, write={"leads"}, columns={"leads": ["id", "email"]}, rows={"leads": {"status": "open"}}
    )
    made = AsyncPersistenceService(adapter, policy=policy, middleware=[watching], retry=False)
    assert await made.read("leads", A) == {"id": A, "email": "a@example.com"}
    assert [row["id"] for row in await made.query("leads", order_by="email")] == [A, B]
    assert (await made.write("leads", {"email": "d@example.com"})).keys() == {"id", "email"}
    assert await made.read("leads", C) is None
    assert [operation.verb for operation in seen] == ["read", "query", "write", "read"]
    assert (await stored(adapter))["d@example.com"]["status"] == "open"


async def test_what_a_middleware_makes_up_is_stripped_too() -> None:
    """Rows that never saw the adapter leave with the columns of the policy."""

    async def inventing(operation: Operation, call_next: Next) -> Result:
        return Result([{"id": 1, "phone": "+1"}] * 5)

    made = AsyncPersistenceService(RecordingAdapter(), policy=COLUMNS, middleware=[inventing])
    assert await made.query("leads", limit=2) == [{"id": 1}] * 2


async def test_a_middleware_that_asks_for_more_is_refused() -> None:
    """The inner guard checks what the middleware made of the operation."""

    async def renaming(operation: Operation, call_next: Next) -> Result:
        assert isinstance(operation, Query)
        return await call_next(replace(operation, select=("phone",)))

    adapter = RecordingAdapter()
    with pytest.raises(ColumnNotAllowedError):
        await AsyncPersistenceService(adapter, policy=COLUMNS, middleware=[renaming]).query("leads")
    assert adapter.calls == []


# --- bytes ------------------------------------------------------------------------------------------------------------

ASKED: dict[str, tuple[Call, str, str]] = {
    "query": (
        lambda made: made.query("leads", {"status": "new"}, 5),
        "GET",
        "leads?select=id,email,status&status=eq.new&order=id.asc&limit=5",
    ),
    "select": (
        lambda made: made.query("leads", limit=5, select=["email"]),
        "GET",
        "leads?select=email&order=id.asc&limit=5",
    ),
    "read": (lambda made: made.read("leads", A), "GET", f"leads?select=id,email,status&id=eq.{A}&order=id.asc&limit=2"),
    "count": (lambda made: made.count("leads", {"id": A}), "GET", f"leads?select=id&id=eq.{A}&limit=0"),
    "write": (lambda made: made.write("leads", {"id": A, "phone": "+1"}), "POST", "leads?select=id,email,status"),
    "batch": (
        lambda made: made.batch_write("leads", [{"id": A, "phone": "+1"}]),
        "POST",
        "leads?select=id,email,status",
    ),
    "upsert": (
        lambda made: made.upsert("leads", {"id": A, "phone": "+1"}, ["id"]),
        "POST",
        "leads?select=id,email,status&on_conflict=id",
    ),
    "update": (
        lambda made: made.update("leads", {"phone": "+1"}, {"id": A}),
        "PATCH",
        f"leads?select=id,email,status&id=eq.{A}",
    ),
    "delete": (lambda made: made.delete("leads", {"id": A}), "DELETE", f"leads?select=id,email,status&id=eq.{A}"),
}


@pytest.mark.parametrize(("call", "method", "target"), ASKED.values(), ids=ASKED)
async def test_the_server_is_asked_for_readable_columns_alone(call: Call, method: str, target: str) -> None:
    """Byte for byte; and what it sends unasked is stripped."""
    unasked = {"id": A, "email": "a", "status": "new", "phone": "+1", "ssn": "secret"}

    def respond(request: Any) -> Any:
        response = rows(unasked)
        response.headers["content-range"] = "*/1"
        return response

    recorder = Recorder(respond)
    policy = TablePolicy(
        read={"leads"},
        write={"leads"},
        delete={"leads"},
        columns={"leads": {"read": ["id", "email", "status"], "write": ["id", "phone"]}},
    )
    made = AsyncPersistenceService(recorder.adapter(), policy=policy, row_cap=1000, retry=False)
    told = await call(made)
    [request] = recorder.requests
    assert (request.method, request.url.raw_path.decode()) == (method, f"/rest/v1/{target}")
    assert "ssn" not in repr(told)
    if "POST" in method:
        assert request.headers["prefer"].startswith("return=representation")


async def test_a_table_that_may_only_be_written_is_not_asked_for_rows() -> None:
    """`return=minimal` needs no right to read; rows that come back nevertheless answer another call, and are passed on
    in no error either."""
    answers = iter([httpx.Response(201), rows({"id": 7, "secret": "a5ecret"})])
    recorder = Recorder(lambda request: next(answers))
    made = AsyncPersistenceService(recorder.adapter(), policy=TablePolicy(read=(), write={"inquiries"}), retry=False)
    assert await made.write("inquiries", {"email": "x"}) == {"email": "x"}
    with pytest.raises(OutcomeUnknownError, match="nobody asked for") as caught:
        await made.write("inquiries", {"email": "x"})
    assert "a5ecret" not in "".join(traceback.format_exception(caught.value))
    request = recorder.requests[0]
    assert request.url.raw_path == b"/rest/v1/inquiries"
    assert request.headers["prefer"] == "return=minimal, count=exact"


@pytest.mark.parametrize("policy", [TablePolicy.default(), COLUMNS], ids=["without rules", "with rules"])
async def test_what_was_not_asked_for_is_cut(policy: TablePolicy) -> None:
    """Columns beside the projection and rows above the limit, with and without rules for the table."""
    unasked = [{"id": str(number), "email": "e", "clients": {"ssn": 1}} for number in range(5)]
    recorder = Recorder(lambda request: rows(*unasked))
    made = AsyncPersistenceService(recorder.adapter(), policy=policy, retry=False)
    assert await made.query("leads", limit=2, select=["email"]) == [{"email": "e"}] * 2


# --- prompts ----------------------------------------------------------------------------------------------------------


async def test_a_prompt_is_built_from_readable_columns_and_rows(adapter: PersistenceAdapter) -> None:
    """A façade tells the builder what it may read; what it may not is in no row of the context."""
    policy = TablePolicy(
        read={"leads"}, columns={"leads": ["id", "status", "created_at"]}, rows={"leads": {"status": "open"}}
    )
    facade = AsyncPersistenceService(adapter, policy=policy, retry=False).readonly()
    context = await build_rag_context(facade)
    assert {row["id"] for row in context.leads} == {A, B}
    assert {name for row in context.leads for name in row} == {"id", "status", "created_at"}
    assert "example.com" not in context.to_prompt()
    with pytest.raises(ColumnNotAllowedError):
        await build_rag_context(facade, lead_filters={"email": "a@example.com"})


async def test_a_table_whose_key_is_hidden_is_left_out_of_a_prompt(adapter: PersistenceAdapter) -> None:
    """With a warning that says so; where no other table may be read, that is the error."""
    columns = {"leads": ["email", "status"]}
    alone = AsyncPersistenceService(adapter, policy=TablePolicy(read={"leads"}, columns=columns), retry=False)
    with pytest.raises(ValidationError, match="leads: left out, because its key id is not readable"):
        await build_rag_context(alone.readonly())
    policy = TablePolicy(read={"leads", "clients"}, columns=columns)
    context = await build_rag_context(AsyncPersistenceService(adapter, policy=policy, retry=False).readonly())
    assert list(context.leads) == []
    assert any("leads" in str(warning) and "key" in str(warning) for warning in context.warnings)
