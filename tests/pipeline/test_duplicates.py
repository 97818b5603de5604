"""Writes that ignore duplicates, over every back end: what is stored, and how a caller sees what is not."""

# persistence-guard: allow-file AP001 every back end is under test

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import anyio
import pytest
import pytest_asyncio
from pydantic import BaseModel

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    AuditEvent,
    ColumnNotAllowedError,
    ConfigurationError,
    ConflictError,
    InMemoryAdapter,
    OutcomeUnknownError,
    PersistenceAdapter,
    PostgresAdapter,
    Redaction,
    RetryPolicy,
    RowsDroppedError,
    SupabaseAdapter,
    TablePolicy,
    TenantScope,
    UnsupportedOperationError,
    ValidationError,
    sync,
)
from agent_persistence.backends.postgrest.parsing import parse_added
from agent_persistence.backends.transport.messages import Response
from agent_persistence.context import CallContext
from agent_persistence.exceptions import FailureState
from agent_persistence.operations import Operation, Query, Result, Write, WriteNew
from agent_persistence.redaction import allow, redact
from agent_persistence.schema_registry import Column, Schema, Table, default_schema
from tests.doubles import FakeTime, RecordingAdapter
from tests.server import LocalServer

pytestmark = pytest.mark.asyncio

NEW, OLD = "new@x.example", "old@x.example"
DROP = "drop table if exists kept, owned, padded, slugs, rooms cascade; drop function if exists keep_out cascade;"
SQL = """
create table kept (id uuid primary key, name text not null unique);
create function keep_out() returns trigger language plpgsql
  as 'begin if new.name like ''drop%'' then return null; end if; return new; end';
create trigger keep_out before insert on kept for each row execute function keep_out();
create table owned (id uuid primary key, owner text not null, name text not null unique);
alter table owned enable row level security;
create policy own on owned for all to authenticated
  using (owner = auth.jwt()->>'sub') with check (owner = auth.jwt()->>'sub');
create table padded (code char(5) primary key, note text);
create table slugs (code text primary key);
create table rooms (id uuid primary key, tenant_id text not null, name text not null, unique (name, tenant_id));
"""
TABLES = frozenset({"kept", "owned", "padded", "slugs", "rooms"})
KEY = Column("uuid", nullable=False)
SCHEMA = Schema(
    {
        "kept": Table({"id": KEY, "name": Column("text")}, primary_key=("id",), unique=(("name",),)),
        "owned": Table(
            {"id": KEY, "owner": Column("text"), "name": Column("text")}, primary_key=("id",), unique=(("name",),)
        ),
        "padded": Table({"code": Column("text"), "note": Column("text")}, primary_key=("code",)),
        "slugs": Table({"code": Column("text")}, primary_key=("code",)),
        "rooms": Table(
            {"id": KEY, "tenant_id": Column("text"), "name": Column("text")},
            primary_key=("id",),
            unique=(("name", "tenant_id"),),
        ),
    }
)


@pytest_asyncio.fixture(params=["memory", "supabase", "postgres"])
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[PersistenceAdapter]:
    """A store of one lead."""
    made: PersistenceAdapter
    if request.param == "memory":
        made = InMemoryAdapter(schema=default_schema())
    else:
        server: LocalServer = request.getfixturevalue("server")
        over_rest = request.param == "supabase"
        made = SupabaseAdapter(server.url, server.service_key) if over_rest else PostgresAdapter(server.database_url)
    await made.write("leads", {"email": OLD, "company": "Old", "status": "won"})
    yield made
    await made.aclose()


def service(adapter: PersistenceAdapter, **options: Any) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter, **{"schema": default_schema(), "row_cap": 1000, **options})


async def stored(adapter: PersistenceAdapter) -> list[tuple[Any, ...]]:
    rows = await adapter.query("leads", order_by="email")
    return [(row["email"], row["company"], row["status"]) for row in rows]


async def test_a_row_whose_key_is_free_is_stored_and_comes_back(adapter: PersistenceAdapter) -> None:
    """One whose key is taken gives None, and the stored row stays as it is."""
    leads = service(adapter)
    row = await leads.write("leads", {"email": NEW, "company": "N"}, on_duplicate="ignore")
    assert row is not None
    assert (row["email"], row["company"], row["status"]) == (NEW, "N", "new")
    assert await leads.write("leads", {"email": OLD, "company": "X"}, on_duplicate="ignore") is None
    assert await stored(adapter) == [(NEW, "N", "new"), (OLD, "Old", "won")]


async def test_a_batch_has_none_in_the_place_of_each_record_that_is_ignored(adapter: PersistenceAdapter) -> None:
    """Whether a stored row has its key or an earlier record of the batch; keys may be missing, and those are new."""
    records = [
        {"email": NEW, "company": "1"},
        {"email": OLD},
        {"email": NEW, "company": "2"},
        {"email": "third@x.example"},
    ]
    rows = await service(adapter).batch_write("leads", records, on_duplicate="ignore")
    assert [row and (row["email"], row["company"]) for row in rows] == [
        (NEW, "1"),
        None,
        None,
        ("third@x.example", None),
    ]
    assert await service(adapter).batch_write("leads", records, on_duplicate="ignore") == [None] * 4
    assert await service(adapter).batch_write("leads", [], on_duplicate="ignore") == []


async def test_a_bulk_write_returns_how_many_are_stored(adapter: PersistenceAdapter) -> None:
    """The rest were ignored; more of them than one look at the table takes."""
    records = [{"email": f"{number}@x.example"} for number in range(130)]
    leads = service(adapter)
    assert await leads.bulk_write("leads", records[:120], on_duplicate="ignore") == 120
    assert await leads.bulk_write("leads", records, ["email"], on_duplicate="ignore") == 10
    assert await leads.bulk_write("leads", [], on_duplicate="ignore") == 0
    assert await adapter.count("leads") == 131  # type: ignore[attr-defined]


async def test_another_rule_than_the_key_is_an_error_as_ever(adapter: PersistenceAdapter) -> None:
    """And none of the rows is stored."""
    (there,) = await adapter.query("leads")
    records = [{"email": NEW}, {"email": "other@x.example", "id": there["id"]}]
    with pytest.raises(ConflictError) as caught:
        await service(adapter).batch_write("leads", records, on_duplicate="ignore", on_conflict=["email"])
    assert (caught.value.code, caught.value.constraint) == ("23505", "leads_pkey")
    assert len(await stored(adapter)) == 1


async def test_a_key_without_a_unique_rule_is_refused(adapter: PersistenceAdapter) -> None:
    """By validation, or where nothing is declared by the database."""
    with pytest.raises(ValidationError, match="is no declared key"):
        await service(adapter).write(
            "leads", {"email": NEW, "company": "A"}, on_duplicate="ignore", on_conflict=["company"]
        )
    unchecked = AsyncPersistenceService(adapter, row_cap=1000)
    with pytest.raises(AdapterError) as caught:
        await unchecked.write("leads", {"email": NEW, "company": "A"}, on_duplicate="ignore", on_conflict=["company"])
    assert caught.value.code == "42P10"
    assert len(await stored(adapter)) == 1


async def test_one_event_has_the_rows_that_were_stored(adapter: PersistenceAdapter) -> None:
    """Also where reads are kept and requests are shared; the verb is the caller's."""
    events: list[AuditEvent] = []
    leads = service(adapter, audit=events.append, cache=True, coalesce=True)
    assert await leads.count("leads") == 1
    row = await leads.write("leads", {"email": NEW}, on_duplicate="ignore")
    await leads.batch_write("leads", [{"email": NEW}, {"email": OLD}], on_duplicate="ignore")
    assert await leads.count("leads") == 2
    assert [(event.verb, event.outcome, event.row_count) for event in events[1:3]] == [
        ("write", "ok", 1),
        ("batch_write", "ok", 0),
    ]
    assert events[1].keys == (row and row["id"],)


@pytest.mark.parametrize("options", [{}, {"coalesce": True}, {"ledger": True}], ids=str)
async def test_of_many_at_once_one_is_stored(adapter: PersistenceAdapter, options: dict[str, Any]) -> None:
    """Each caller has its own answer, and exactly one of them the row."""
    leads = service(adapter, **options)
    told: list[Any] = []

    async def one(number: int) -> None:
        told.append(await leads.write("leads", {"email": NEW, "company": str(number)}, on_duplicate="ignore"))

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(one, number)
    (row,) = [each for each in told if each is not None]
    assert (len(told), await stored(adapter)) == (12, [(NEW, row["company"], "new"), (OLD, "Old", "won")])


# --- the key ----------------------------------------------------------------------------------------------------------


async def test_the_only_key_that_the_records_name_is_taken() -> None:
    """The primary key that is made here is none of them; with another one, or none, it must be said."""
    adapter = InMemoryAdapter({"leads": [{"email": OLD}]}, schema=default_schema())
    leads = service(adapter)
    with pytest.raises(ValidationError, match=r"the records name \(id\) and \(email\)") as caught:
        await leads.write("leads", {"email": OLD, "id": "0" * 32}, on_duplicate="ignore")
    assert "on_conflict=" in str(caught.value)
    assert "on_conflict" not in caught.value.for_model()
    with pytest.raises(ValidationError, match="name no known key"):
        await leads.write("leads", {"company": "A"}, on_duplicate="ignore")
    with pytest.raises(ValidationError, match=r"no record has the columns \('email'\)"):
        await leads.write("leads", {"company": "A"}, on_duplicate="ignore", on_conflict=["email"])
    assert await leads.count("leads") == 1


async def test_what_cannot_be_meant_is_refused() -> None:
    """Before anything is sent."""
    adapter = RecordingAdapter()
    leads = service(adapter)
    with pytest.raises(ValidationError, match='"error" or "ignore"'):
        await leads.write("leads", {"email": NEW}, on_duplicate="skip")  # type: ignore[call-overload]
    with pytest.raises(ValidationError, match='needs on_duplicate "ignore"'):
        await leads.batch_write("leads", [{"email": NEW}], on_conflict=["email"])  # type: ignore[call-overload]
    assert adapter.calls == []


@pytest.mark.parametrize("verb", ["write", "batch_write", "bulk_write"])
async def test_an_adapter_of_others_is_not_asked(verb: str) -> None:
    """It has no verb for it, and would store the row or fail."""
    adapter = RecordingAdapter()
    record: Any = {"email": NEW} if verb == "write" else [{"email": NEW}]
    with pytest.raises(UnsupportedOperationError, match="ignore_duplicates"):
        await getattr(service(adapter), verb)("leads", record, on_duplicate="ignore")
    assert adapter.calls == []


async def test_typed_tables_and_blocking_verbs_have_it() -> None:
    """A model, or None."""

    class Lead(BaseModel):
        email: str

    adapter = InMemoryAdapter({"leads": [{"email": OLD}]}, schema=default_schema())
    leads = service(adapter).table(Lead, "leads")
    assert await leads.write(Lead(email=NEW), on_duplicate="ignore") == Lead(email=NEW)
    assert await leads.write(Lead(email=NEW), on_duplicate="ignore") is None
    rows = await leads.batch_write([Lead(email=OLD), Lead(email="c@x.example")], on_duplicate="ignore")
    assert rows == [None, Lead(email="c@x.example")]
    blocking = sync.PersistenceService(adapter, schema=default_schema())
    assert blocking.write("leads", {"email": OLD}, on_duplicate="ignore") is None


# --- who may ----------------------------------------------------------------------------------------------------------


async def test_the_key_must_be_readable(adapter: PersistenceAdapter) -> None:
    """Whether it is taken is what the answer tells. Of the row no more comes back than may be read."""
    rules = {"leads": {"read": ["company"], "write": ["email", "company"]}}
    hidden = service(adapter, policy=TablePolicy(read={"leads"}, write={"leads"}, columns=rules))
    with pytest.raises(ColumnNotAllowedError, match="email"):
        await hidden.write("leads", {"email": OLD}, on_duplicate="ignore")
    with pytest.raises(ColumnNotAllowedError):
        await service(adapter, policy=TablePolicy(write={"leads"})).write(
            "leads", {"email": OLD}, on_duplicate="ignore"
        )
    rules = {"leads": {"read": ["email", "status"], "write": ["email", "company"]}}
    shown = service(adapter, policy=TablePolicy(read={"leads"}, write={"leads"}, columns=rules))
    rows = await shown.batch_write("leads", [{"email": OLD}, {"email": NEW, "company": "N"}], on_duplicate="ignore")
    assert rows == [None, {"email": NEW, "status": "new", "company": "N"}] or rows == [
        None,
        {"email": NEW, "status": "new"},
    ]
    assert len(await stored(adapter)) == 2


async def test_masks_hold(adapter: PersistenceAdapter) -> None:
    """What is masked is stored masked; by a key whose masked values are all the same none is a duplicate."""
    masks = Redaction(columns={"leads": {"company": redact("company")}}, unknown=allow())
    row = await service(adapter, mask_writes=masks).write(
        "leads", {"email": NEW, "company": "Apex"}, on_duplicate="ignore"
    )
    assert row is not None
    assert "Apex" not in str(row)
    shown = service(adapter, mask_reads=Redaction(columns={"leads": {"status": redact("status")}}, unknown=allow()))
    rows = await shown.batch_write("leads", [{"email": NEW}, {"email": "c@x.example"}], on_duplicate="ignore")
    assert [row and row["status"] != "new" for row in rows] == [None, True]
    blurred = Redaction(columns={"leads": {"email": redact("email")}}, unknown=allow())
    with pytest.raises(ColumnNotAllowedError, match="not told apart"):
        await service(adapter, mask_writes=blurred).write("leads", {"email": "d@x.example"}, on_duplicate="ignore")


async def test_a_middleware_sees_the_write_and_a_unit_of_work_takes_none(adapter: PersistenceAdapter) -> None:
    """One call, whatever is looked up below; what a unit sends together is stored or refused."""
    seen: list[Operation] = []

    async def watch(operation: Operation, call_next: Any) -> Result:
        seen.append(operation)
        result: Result = await call_next(operation)
        return result

    await service(adapter, middleware=[watch]).write("leads", {"email": OLD}, on_duplicate="ignore")
    assert [(operation.verb, operation.found_by) for operation in seen] == [("write", ("email",))]

    async def ignoring(operation: Operation, call_next: Any) -> Result:
        changed = replace(operation, ignoring=("email",)) if isinstance(operation, Write) else operation
        result: Result = await call_next(changed)
        return result

    memory = InMemoryAdapter(schema=default_schema())
    unit = service(memory, middleware=[ignoring]).unit_of_work()
    unit.write("leads", {"email": NEW})
    with pytest.raises(ConfigurationError, match="ignore duplicates"):
        await unit.commit()
    assert await memory.count("leads") == 0


# --- lost answers -----------------------------------------------------------------------------------------------------


class Unsteady(InMemoryAdapter):
    """Loses the answers to its first writes, before or after they are applied, and then those to reads."""

    def __init__(self, *, applied: bool, times: int = 1, reads: int = 0) -> None:
        super().__init__({"leads": [{"email": OLD}]}, schema=default_schema())
        self.applied = applied
        self.times = times
        self.reads = reads
        self.sent: list[Operation] = []

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        if isinstance(operation, Query) and self.reads:
            self.reads -= 1
            raise AdapterError("lost", state=FailureState.AMBIGUOUS)
        lost = operation.writes and sum(each.writes for each in self.sent) < self.times
        self.sent.append(operation)
        result = await super().execute(operation, context) if self.applied or not lost else None
        if lost or result is None:
            raise AdapterError("lost", state=FailureState.AMBIGUOUS)
        return result


def over(adapter: PersistenceAdapter, **options: Any) -> AsyncPersistenceService:
    clockwork = FakeTime()
    return service(
        adapter,
        **{
            "retry": RetryPolicy(base_s=0.001, attempts=4),
            "clock": clockwork.clock,
            "sleep": clockwork.sleep,
            **options,
        },
    )


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("reads", [0, 2])
async def test_a_row_that_a_lost_try_has_stored_is_no_duplicate(applied: bool, times: int, reads: int) -> None:
    """Its primary key was made for it; those of others are ignored, and each is told from the other."""
    adapter = Unsteady(applied=applied, times=times, reads=reads)
    records = [{"email": NEW}, {"email": OLD}, {"email": "c@x.example"}, {"email": NEW}]
    rows = await over(adapter).batch_write("leads", records, on_duplicate="ignore")
    assert [row and row["email"] for row in rows] == [NEW, None, "c@x.example", None]
    assert await adapter.count("leads") == 3
    single = Unsteady(applied=applied, times=times)
    row = await over(single).write("leads", {"email": NEW}, on_duplicate="ignore")
    assert row is not None
    assert row == await single.read("leads", NEW, "email")
    taken = Unsteady(applied=applied, times=times)
    assert await over(taken).write("leads", {"email": OLD}, on_duplicate="ignore") is None
    bulk = Unsteady(applied=applied, times=times)
    assert await over(bulk).bulk_write("leads", records, on_duplicate="ignore") == 2


async def test_without_a_key_of_ours_it_is_not_known_whose_the_row_is() -> None:
    """The call says so, whatever was applied, also with a ledger: nothing is told as ignored that may be our own."""
    for options in ({"client_keys": False}, {"client_keys": False, "ledger": True}):
        for applied in (True, False):
            adapter = Unsteady(applied=applied)
            with pytest.raises(OutcomeUnknownError):
                await over(adapter, **options).write("leads", {"email": NEW}, on_duplicate="ignore")
            assert sum(operation.writes for operation in adapter.sent) == 1


async def test_rows_without_the_key_are_stored_once() -> None:
    """NULL equals nothing, so that the primary key that was made is their fence."""
    schema = Schema({"notes": Table({"id": KEY, "code": Column("text")}, primary_key=("id",), unique=(("code",),))})

    class Losing(InMemoryAdapter):
        losses = 1

        async def execute(self, operation: Operation, context: CallContext) -> Result:
            result = await super().execute(operation, context)
            if operation.writes and self.losses:
                self.losses -= 1
                raise AdapterError("lost", state=FailureState.AMBIGUOUS)
            return result

    adapter = Losing({"notes": [{"id": "00000000-0000-0000-0000-000000000001", "code": "a"}]}, schema=schema)
    policy = TablePolicy(read={"notes"}, write={"notes"})
    records: list[dict[str, Any]] = [{"code": "a"}, {"code": "b"}, {"id": "00000000-0000-0000-0000-000000000009"}]
    rows = await over(adapter, schema=schema, policy=policy).batch_write(
        "notes", [records[0], records[1]], on_duplicate="ignore"
    )
    assert [row and row["code"] for row in rows] == [None, "b"]
    adapter.losses = 1
    from agent_persistence import NULL

    rows = await over(adapter, schema=schema, policy=policy).batch_write(
        "notes", [{"code": "a"}, {"code": NULL}], on_duplicate="ignore", on_conflict=["code"]
    )
    assert [row and row["code"] is None for row in rows] == [None, True]
    assert await adapter.count("notes") == 3


async def test_where_the_look_at_duplicates_fails_the_error_says_what_was_applied() -> None:
    """The rows are in; which of the others were ignored is not known."""
    adapter = Unsteady(applied=True, times=0, reads=99)
    with pytest.raises(OutcomeUnknownError, match="1 of 2 rows were stored") as caught:
        await over(adapter).batch_write("leads", [{"email": OLD}, {"email": NEW}], on_duplicate="ignore")
    assert caught.value.state is FailureState.APPLIED
    assert await adapter.count("leads") == 2


async def test_a_server_that_does_not_count_is_not_believed() -> None:
    """Rows that are missing from an answer that was cut would be taken for duplicates."""
    as_json = {"content-type": "application/json"}
    cut = Response(201, {**as_json, "content-range": "0-0/2"}, b'[{"email":"a"}]')
    for headers in (cut.headers, as_json):
        with pytest.raises(AdapterError, match="does not confirm") as caught:
            parse_added(replace(cut, headers=headers), "batch_write", "leads", sent=3, keys=())
        assert caught.value.state is FailureState.APPLIED
    whole = replace(cut, headers={**as_json, "content-range": "0-0/1"})
    assert parse_added(whole, "batch_write", "leads", sent=3, keys=()) == [{"email": "a"}]


async def test_a_cancelled_call_leaves_the_service_usable() -> None:
    """Also while it looks for what was ignored."""

    class Slow(InMemoryAdapter):
        async def execute(self, operation: Operation, context: CallContext) -> Result:
            if isinstance(operation, Query):
                scope.cancel()
                await anyio.sleep_forever()
            return await super().execute(operation, context)

    leads = service(Slow({"leads": [{"email": OLD}]}, schema=default_schema()), cache=True)
    with anyio.CancelScope() as scope:
        await leads.batch_write("leads", [{"email": OLD}, {"email": NEW}], on_duplicate="ignore")
    assert scope.cancelled_caught
    assert await leads.count("leads") == 2


# --- what else keeps rows out -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _tables(local_server: LocalServer) -> Iterator[None]:
    local_server.execute(DROP + SQL)
    local_server.execute(f"grant all on {', '.join(TABLES)} to service_role, authenticated")
    local_server.reload_schema()
    yield
    local_server.execute(DROP)
    local_server.reload_schema()


Make = Callable[..., AsyncPersistenceService]


@pytest_asyncio.fixture(params=["REST", "SQL"])
async def make(request: pytest.FixtureRequest, local_server: LocalServer, _tables: None) -> AsyncIterator[Make]:
    """What makes services of either kind over empty tables."""
    local_server.execute(f"truncate {', '.join(TABLES)}")
    url, key = local_server.url, local_server.service_key
    adapter: Any = SupabaseAdapter(url, key) if request.param == "REST" else PostgresAdapter(local_server.database_url)
    policy = TablePolicy(read=TABLES, write=TABLES)
    yield lambda **options: AsyncPersistenceService(
        adapter, **{"policy": policy, "schema": SCHEMA, "row_cap": 1000, **options}
    )
    await adapter.aclose()


async def test_a_row_that_a_trigger_drops_is_not_told_as_ignored(make: Make) -> None:
    """The error counts the rows whose key was free; those that were stored are in it."""
    kept = make()
    assert await kept.write("kept", {"name": "keep 1"}, on_duplicate="ignore") is not None
    with pytest.raises(RowsDroppedError) as caught:
        await kept.write("kept", {"name": "drop 1"}, on_duplicate="ignore")
    assert (caught.value.sent, caught.value.stored, caught.value.state) == (1, 0, FailureState.REJECTED)
    records = [{"name": name} for name in ("keep 1", "drop 2", "keep 3", "keep 1")]
    with pytest.raises(RowsDroppedError) as caught:
        await kept.batch_write("kept", records, on_duplicate="ignore")
    assert (caught.value.sent, caught.value.stored, caught.value.state) == (2, 1, FailureState.APPLIED)
    assert [row["name"] for row in caught.value.rows] == ["keep 3"]
    with pytest.raises(RowsDroppedError):
        await kept.bulk_write("kept", [{"name": "keep 4"}, {"name": "drop 5"}], on_duplicate="ignore")
    assert await kept.count("kept") == 3


async def test_a_duplicate_that_row_security_hides_is_not_told_as_ignored(
    make: Make, local_server: LocalServer
) -> None:
    """Nor that it is there: it may as well have been a trigger. One's own is ignored."""
    await make().batch_write("owned", [{"owner": "ada", "name": "mine"}, {"owner": "bob", "name": "theirs"}])
    view = make()
    over_rest = isinstance(view._adapter, SupabaseAdapter)
    user = (
        view.as_user(access_token=local_server.token(sub="ada"))
        if over_rest
        else view.as_user(claims={"sub": "ada", "role": "authenticated"})
    )
    rows = await user.batch_write(
        "owned", [{"owner": "ada", "name": "mine"}, {"owner": "ada", "name": "new"}], on_duplicate="ignore"
    )
    assert [row and row["name"] for row in rows] == [None, "new"]
    with pytest.raises(RowsDroppedError, match="a row that this user may not read") as caught:
        await user.write("owned", {"owner": "ada", "name": "theirs"}, on_duplicate="ignore")
    assert caught.value.stored == 0
    assert sorted(row["name"] for row in await make().query("owned")) == ["mine", "new", "theirs"]


async def test_texts_that_the_database_takes_for_equal_are_duplicates(make: Make) -> None:
    """char(5) knows no blanks at the end; what comes back has them."""
    padded = make()
    assert await padded.bulk_write("padded", [{"code": "a"}, {"code": "b"}], on_duplicate="ignore") == 2
    records = [{"code": code} for code in ("a", "b", "c")]
    assert await padded.bulk_write("padded", records[:2], on_duplicate="ignore") == 0
    assert await padded.write("padded", {"code": "b "}, on_duplicate="ignore") is None


async def test_long_keys_are_looked_for_in_short_requests(make: Make) -> None:
    """A list that has to be split could not be put together again by a text, whose order is the server's."""
    slugs = make()
    records = [{"code": f"{number:03}/ä, {'x' * 200}"} for number in range(60)]
    assert await slugs.bulk_write("slugs", records[:50], on_duplicate="ignore") == 50
    assert await slugs.bulk_write("slugs", records, on_duplicate="ignore") == 10


async def test_a_tenant_ignores_duplicates_of_its_own_rows(make: Make) -> None:
    """The row of another one with the same name is no duplicate; the key has the tenant's column."""
    rooms = {tenant: make(tenant=TenantScope(tenant)) for tenant in "ab"}
    for tenant in "ab":
        row = await rooms[tenant].write("rooms", {"name": "blue"}, on_duplicate="ignore", on_conflict=["name"])
        assert (row and row["tenant_id"]) == tenant
        assert await rooms[tenant].write("rooms", {"name": "blue"}, on_duplicate="ignore", on_conflict=["name"]) is None
        assert await rooms[tenant].count("rooms") == 1


async def test_a_tenant_is_not_told_of_the_rows_of_others(make: Make) -> None:
    """A key that all tenants share would tell: the database has no unique rule on it and the tenant's column."""
    kept = make(
        tenant=TenantScope("a", column="name"),
    )
    with pytest.raises(AdapterError):
        await kept.write(
            "kept", {"id": "00000000-0000-0000-0000-000000000001"}, on_duplicate="ignore", on_conflict=["id"]
        )


async def test_looking_for_many_rows_that_were_dropped_takes_few_queries() -> None:
    """Fifty keys at a time, by the key and by the primary keys that were made; none is asked for by itself."""

    class Dropping(Unsteady):
        async def execute(self, operation: Operation, context: CallContext) -> Result:
            self.sent.append(operation)
            return Result([])

    adapter = Dropping(applied=True)
    records = [{"email": f"{number}@x.example"} for number in range(120)]
    with pytest.raises(RowsDroppedError) as caught:
        await service(adapter).batch_write("leads", records, on_duplicate="ignore")
    assert (caught.value.sent, caught.value.stored) == (120, 0)
    assert [type(each) for each in adapter.sent] == [WriteNew, *[Query] * 6]


async def test_what_a_back_end_is_asked_is_one_operation() -> None:
    """A look at the table follows only where a row was left out."""
    adapter = Unsteady(applied=True, times=0)
    await service(adapter).bulk_write("leads", [{"email": NEW}], on_duplicate="ignore")
    assert [type(each) for each in adapter.sent] == [WriteNew]
    await service(adapter).bulk_write("leads", [{"email": NEW}], on_duplicate="ignore")
    assert [type(each) for each in adapter.sent[1:]] == [WriteNew, Query]
