"""Changes that the database computes of the value that is there: `increment` and `merge`."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import BaseModel

from agent_persistence import (
    NULL,
    AdapterError,
    AsyncPersistenceService,
    ColumnNotAllowedError,
    InMemoryAdapter,
    OutcomeUnknownError,
    PostgresAdapter,
    SupabaseAdapter,
    TablePolicy,
    TenantScope,
    UnsupportedOperationError,
    ValidationError,
    increment,
    merge,
    sync,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.operations import Unit
from agent_persistence.redaction import Redaction, allow, redact
from agent_persistence.schema.registry import Column, Schema, Table, default_schema
from tests.server import LocalServer
from tests.units.conftest import BACKENDS, POLICY, adapter_of, install
from tests.units.test_calls import Failing
from tests.units.test_ledger import Watched


async def _lead(service: AsyncPersistenceService, **columns: Any) -> dict[str, Any]:
    return await service.write("leads", {"email": f"{uuid4()}@x.example", **columns})


async def _updated(service: AsyncPersistenceService, lead: dict[str, Any], **changes: Any) -> dict[str, Any]:
    (row,) = await service.update("leads", changes, {"id": lead["id"]})
    return row


# --- what is computed -------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_number_grows_and_a_document_is_merged_beside_plain_changes(service: AsyncPersistenceService) -> None:
    """In one statement; the row comes back as it is then."""
    lead = await _lead(service, score=Decimal("0.1"), custom={"city": "Rome", "deep": {"a": 1, "b": 2}})
    document = {"city": "Valletta", "deep": {"a": 3}, "none": None}
    row = await _updated(service, lead, score=increment(Decimal("0.2")), custom=merge(document), status="open")
    assert (row["score"], row["status"]) == (0.3, "open")
    assert row["custom"] == {"city": "Valletta", "deep": {"a": 3}, "none": None}
    assert (await service.read("leads", lead["id"])) == row


@pytest.mark.asyncio
async def test_decimals_are_added_exactly(service: AsyncPersistenceService) -> None:
    """With more digits than a float has."""
    lead = await _lead(service, score=Decimal("12345678901234567890.000000001"))
    row = await _updated(service, lead, score=increment(Decimal("0.000000000000000000002")))
    assert row["score"] == Decimal("12345678901234567890.000000001000000000002")


@pytest.mark.asyncio
async def test_null_stays_null_and_an_absent_document_becomes_the_given_one(service: AsyncPersistenceService) -> None:
    """As documented."""
    lead = await _lead(service, score=NULL, custom=NULL)
    row = await _updated(service, lead, score=increment(1), custom=merge({"a": 1}))
    assert (row["score"], row["custom"]) == (None, {"a": 1})


@pytest.mark.asyncio
@pytest.mark.parametrize("value", [[1], "text", 1, True])
async def test_what_is_no_object_is_not_merged_into(service: AsyncPersistenceService, value: Any) -> None:
    """`||` would make a list of both."""
    lead = await _lead(service, custom=value)
    with pytest.raises(AdapterError) as refused:
        await _updated(service, lead, custom=merge({"a": 1}))
    assert refused.value.code == "22023"
    assert (await service.read("leads", lead["id"]) or {})["custom"] == value


@pytest.mark.asyncio
async def test_a_sum_that_the_type_does_not_hold_changes_nothing(service: AsyncPersistenceService) -> None:
    """Of several rows none is changed."""
    talk = await service.write("conversations", {"subject": "a"})
    records = [{"conversation_id": talk["id"], "role": "user", "tokens": tokens} for tokens in (1, 2**31 - 1)]
    await service.batch_write("messages", records)
    with pytest.raises(AdapterError) as refused:
        await service.update("messages", {"tokens": increment(1)}, {"conversation_id": talk["id"]})
    assert refused.value.code == "22003"
    found = await service.query("messages", {"conversation_id": talk["id"]}, order_by="id")
    assert [row["tokens"] for row in found] == [1, 2**31 - 1]


@pytest.mark.asyncio
async def test_a_half_is_not_rounded_into_an_integer(service: AsyncPersistenceService) -> None:
    talk = await service.write("conversations", {"subject": "a"})
    await service.write("messages", {"conversation_id": talk["id"], "role": "user", "tokens": 1})
    with pytest.raises(AdapterError) as refused:
        await service.update("messages", {"tokens": increment(0.5)}, {"conversation_id": talk["id"]})
    assert refused.value.code == "22P02"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("column", "change"), [("status", increment(1)), ("is_qualified", increment(1)), ("created_at", increment(1))]
)
async def test_only_numbers_grow(service: AsyncPersistenceService, column: str, change: Any) -> None:
    """The database's refusal where no schema was given that would say so first."""
    lead = await _lead(service)
    with pytest.raises(AdapterError) as refused:
        await _updated(service, lead, **{column: change})
    assert refused.value.code in ("42883", "22P02", "22007")


@pytest.mark.asyncio
@pytest.mark.parametrize("column", ["status", "tags", "score"])
async def test_only_documents_are_merged_into(service: AsyncPersistenceService, column: str) -> None:
    """Not a text, which `||` would lengthen."""
    lead = await _lead(service, score=1, tags=["a"])
    with pytest.raises(AdapterError) as refused:
        await _updated(service, lead, **{column: merge({"a": 1})})
    assert refused.value.code in ("42883", "22P02")
    assert await service.read("leads", lead["id"]) == lead


@pytest.mark.asyncio
async def test_of_many_at_the_same_time_each_counts(service: AsyncPersistenceService) -> None:
    """None writes what it has read before."""
    lead = await _lead(service, score=0, custom={})
    await asyncio.gather(
        *(_updated(service, lead, score=increment(1), custom=merge({str(number): number})) for number in range(20))
    )
    row = await service.read("leads", lead["id"])
    assert row is not None
    assert (row["score"], len(row["custom"])) == (20, 20)


@pytest.mark.asyncio
async def test_it_may_be_part_of_a_unit(service: AsyncPersistenceService) -> None:
    """Beside references, and with `expect`; a unit that fails leaves the number as it was."""
    unit = service.unit_of_work()
    lead = unit.write("leads", {"email": "a@x.example", "score": 1, "custom": {"a": 1}})
    talk = unit.write("conversations", {"lead_id": lead["id"], "subject": "hello"})
    changes = {"score": increment(2), "custom": merge({"b": 2}), "notes": talk["subject"]}
    changed = unit.update("leads", changes, {"id": lead["id"]}, expect=1)
    results = await unit.commit()
    assert [(row["score"], row["custom"], row["notes"]) for row in results[changed]] == [(3, {"a": 1, "b": 2}, "hello")]
    failing = service.unit_of_work()
    failing.update("leads", {"score": increment(5)}, {"email": "a@x.example"}, expect=1)
    failing.write("leads", {"email": "a@x.example"})
    with pytest.raises(AdapterError):
        await failing.commit()
    assert (await service.query("leads", select=["score"])) == [{"score": 3}]


@pytest.mark.asyncio
async def test_more_rows_than_allowed_change_nothing(service: AsyncPersistenceService) -> None:
    await service.batch_write("leads", [{"email": name, "score": 1} for name in ("a", "b")])
    with pytest.raises(AdapterError, match="max_affected"):
        await service.update("leads", {"score": increment(1)}, {"status": "new"}, max_affected=1)
    assert [row["score"] for row in await service.query("leads")] == [1, 1]


# --- the same under a schema, in types, and without await -------------------------------------------------------------


class Scored(BaseModel):
    email: str
    score: Decimal | None = None


@pytest.mark.asyncio
async def test_tables_with_models_take_it(service: AsyncPersistenceService) -> None:
    leads = service.table(Scored, "leads")
    await leads.write(Scored(email="a@x.example", score=Decimal("1.5")))
    (row,) = await leads.update({"score": increment(2)}, {"email": "a@x.example"})
    unit = service.unit_of_work()
    changed = unit.table(Scored, "leads").update({"score": increment(-1)}, {"email": "a@x.example"})
    assert (row.score, (await unit.commit())[changed][0].score) == (Decimal("3.5"), Decimal("2.5"))


def test_without_await() -> None:
    with sync.create_persistence_agent(adapter=InMemoryAdapter()) as agent:
        agent.write("leads", {"email": "a@x.example", "score": 1})
        assert agent.update("leads", {"score": increment()}, {"email": "a@x.example"})[0]["score"] == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"status": increment(1)}, "status is text, to which no number is added"),
        ({"score": merge({"a": 1})}, "score is numeric, into which no document is merged"),
        ({"missing": increment(1)}, "no column 'missing'"),
    ],
)
async def test_a_schema_refuses_before_anything_is_sent(changes: dict[str, Any], problem: str) -> None:
    store = Watched()
    service = AsyncPersistenceService(store, policy=POLICY, schema=default_schema())
    with pytest.raises(ValidationError, match=problem):
        await service.update("leads", changes, {"email": "a"})
    assert store.asked == []


@pytest.mark.asyncio
@pytest.mark.parametrize("value", [increment(1), merge({"a": 1}), {"deep": increment(1)}, [merge({"a": 1})]])
async def test_it_stands_in_changes_alone(value: Any) -> None:
    """As a whole value: not in records that are inserted or merged, nor within a document."""
    service = AsyncPersistenceService(InMemoryAdapter(), policy=POLICY)
    unit = service.unit_of_work()
    calls: list[Any] = [
        service.write("leads", {"email": "a", "custom": value}),
        service.upsert("leads", {"email": "a", "custom": value}, ["email"]),
        service.batch_write("leads", [{"email": "a", "custom": value}]),
        service.update("leads", {"custom": {"deep": value}}, {"email": "a"}),
    ]
    for call in calls:
        with pytest.raises(ValidationError, match="in the changes of an update"):
            await call
    with pytest.raises(ValidationError, match="in the changes of an update"):
        unit.write("leads", {"email": "a", "custom": value})


@pytest.mark.parametrize("by", [True, "1", None, float("nan"), Decimal("Infinity")])
def test_an_increment_is_a_number(by: Any) -> None:
    with pytest.raises(ValidationError):
        increment(by)


@pytest.mark.parametrize("document", [{}, [1], "text", {"a": object()}, {1: 2}])
def test_what_is_merged_is_a_mapping(document: Any) -> None:
    with pytest.raises(ValidationError):
        merge(document)


# --- rights -----------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("readable", "writable"), [({"id", "email"}, {"score"}), ({"id", "email", "score"}, {"email"}), ({"id"}, {"email"})]
)
async def test_the_column_must_be_readable_and_writable(readable: set[str], writable: set[str]) -> None:
    """Whether a rule of the database is broken by the sum would tell what is there."""
    store = Watched()
    policy = TablePolicy(
        read={"leads"}, write={"leads"}, columns={"leads": {"read": sorted(readable), "write": sorted(writable)}}
    )
    service = AsyncPersistenceService(store, policy=policy)
    unit = service.unit_of_work()
    unit.update("leads", {"score": increment(1)}, {"id": str(uuid4())})
    for call in (service.update("leads", {"score": increment(1)}, {"id": str(uuid4())}), unit.commit()):
        with pytest.raises(ColumnNotAllowedError):
            await call
    assert store.asked == []


@pytest.mark.asyncio
@pytest.mark.parametrize("masks", [{"mask_reads": redact()}, {"mask_writes": redact()}])
async def test_a_masked_column_is_not_computed(masks: dict[str, Any]) -> None:
    """What is hidden is not told by its sum, and what is to be masked is known."""
    store = Watched()
    options = {name: Redaction(columns={"leads": {"score": action}}, unknown=allow()) for name, action in masks.items()}
    service = AsyncPersistenceService(store, policy=POLICY, **options)  # type: ignore[arg-type]
    with pytest.raises(ColumnNotAllowedError, match="masked"):
        await service.update("leads", {"score": increment(1)}, {"email": "a"})
    assert store.asked == []


@pytest.mark.asyncio
async def test_the_columns_of_rules_and_tenants_are_not_computed(service: AsyncPersistenceService) -> None:
    """And only rows within them are."""
    rows = TablePolicy(read={"messages"}, write={"messages"}, rows={"messages": {"tokens": 1}})
    ruled = AsyncPersistenceService(InMemoryAdapter(schema=default_schema()), policy=rows)
    with pytest.raises(ColumnNotAllowedError):
        await ruled.update("messages", {"tokens": increment(1)}, {"role": "user"})
    tenant = AsyncPersistenceService(
        InMemoryAdapter(), policy=POLICY, tenant=TenantScope(1, column="client_id", shared=())
    )
    with pytest.raises(ColumnNotAllowedError):
        await tenant.update("leads", {"client_id": increment(1)}, {"email": "a"})


@pytest.mark.asyncio
async def test_a_document_is_held_to_the_bounds() -> None:
    policy = TablePolicy(read={"leads"}, write={"leads"}, max_value_bytes=1000)
    service = AsyncPersistenceService(InMemoryAdapter(), policy=policy)
    with pytest.raises(ValidationError, match="max_value_bytes"):
        await service.update("leads", {"custom": merge({"a": "x" * 1000})}, {"email": "a"})


@pytest.mark.asyncio
async def test_a_role_that_may_not_read_the_column_is_refused(units_server: LocalServer) -> None:
    """By the database, with its code, over either way."""
    units_server.execute("revoke select on leads from service_role; grant select (id, email) on leads to service_role")
    try:
        for backend in ("postgres", "supabase"):
            adapter = adapter_of(backend, units_server)
            policy = TablePolicy(read={"leads"}, write={"leads"})
            async with AsyncPersistenceService(adapter, policy=policy, ledger=True, owns_adapter=True) as service:
                with pytest.raises(AdapterError) as refused:
                    await service.update("leads", {"score": increment(1)}, {"email": "a"})
                assert refused.value.code == "42501"
    finally:
        units_server.execute("grant select on leads to service_role")


# --- exactly once -----------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("backend", ["memory", "supabase"])
async def test_it_goes_by_way_of_the_ledger_without_being_asked(backend: str, units_server: LocalServer) -> None:
    """Where units are remembered anyway; plain changes do not."""
    adapter = adapter_of(backend, units_server)
    seen: list[str] = []
    execute = adapter.execute

    async def watched(operation: Any, context: Any) -> Any:
        seen.append(type(operation).__name__ if not isinstance(operation, Unit) or operation.key else "keyless")
        return await execute(operation, context)

    adapter.execute = watched
    async with AsyncPersistenceService(adapter, policy=POLICY, owns_adapter=True) as service:
        lead = await _lead(service, score=1)
        assert (await _updated(service, lead, score=increment(1)))["score"] == 2
        await _updated(service, lead, status="open")
    assert seen == ["Write", "Unit", "Update"]


@pytest.mark.asyncio
async def test_a_lost_answer_is_asked_for_again() -> None:
    """The sum is made once."""
    adapter = Failing(times=2, state=FailureState.AMBIGUOUS)
    service = AsyncPersistenceService(adapter, policy=POLICY, sleep=lambda _: asyncio.sleep(0))
    lead = await _lead(service, score=1)
    assert (await _updated(service, lead, score=increment(1)))["score"] == 2
    assert len({*adapter.keys}) == 1


@pytest.mark.asyncio
async def test_without_a_ledger_it_is_not_sent_again(units_server: LocalServer) -> None:
    """Over PostgreSQL: nobody could say whether it was applied."""

    class Losing(PostgresAdapter):
        sent = 0

        async def execute(self, operation: Any, context: Any) -> Any:
            result = await super().execute(operation, context)
            if operation.verb == "update":
                type(self).sent += 1
                raise AdapterError("the connection broke", state=FailureState.AMBIGUOUS)
            return result

    adapter = Losing(units_server.database_url, role="service_role")
    async with AsyncPersistenceService(adapter, policy=POLICY, owns_adapter=True) as service:
        lead = await _lead(service, score=1)
        with pytest.raises(OutcomeUnknownError):
            await _updated(service, lead, score=increment(1))
        assert (Losing.sent, (await service.read("leads", lead["id"]) or {})["score"]) == (1, 2)


OLDER = (
    "create or replace function agent_persistence_apply(unit json) returns json language plpgsql as"
    " $$ begin raise exception using errcode = 'AP003', message = 'x', hint = 'operation 0'; end $$"
)


@pytest.mark.asyncio
async def test_where_the_function_is_not_installed_the_error_says_what_to_run(local_server: LocalServer) -> None:
    """Over PostgREST; nothing is changed. So does a function of an older release, which knew no sums."""
    local_server.reset()
    policy = TablePolicy(read={"leads"}, write={"leads"})
    try:
        adapter = SupabaseAdapter(local_server.url, local_server.service_key)
        async with AsyncPersistenceService(adapter, policy=policy, owns_adapter=True) as service:
            lead = await _lead(service, score=1)
            for sql in (
                "drop function if exists agent_persistence_apply",
                OLDER,
            ):
                local_server.execute(sql)
                local_server.reload_schema()
                with pytest.raises(UnsupportedOperationError, match="agent-persistence sql install"):
                    await _updated(service, lead, score=increment(1))
                assert (await service.read("leads", lead["id"]) or {})["score"] == 1
            with pytest.raises(UnsupportedOperationError, match="sql install"):
                await adapter.update("leads", {"score": increment(1)}, {"id": lead["id"]})
    finally:
        install(local_server)


@pytest.mark.asyncio
async def test_an_adapter_of_verbs_alone_is_not_asked() -> None:
    """It would store the change as a value."""

    class Verbs:
        capabilities: ClassVar = {"equality_filters": True, "update": True}

        async def update(self, *_: Any, **__: Any) -> Any:
            raise AssertionError

        write = batch_write = upsert = read = query = get_columns = aclose = update

    service = AsyncPersistenceService(Verbs(), policy=POLICY)
    with pytest.raises(UnsupportedOperationError, match="computed"):
        await service.update("leads", {"score": increment(1)}, {"email": "a"})


# --- every type of number ---------------------------------------------------------------------------------------------

TYPES = ("smallint", "integer", "bigint", "numeric", "numeric(6,2)", "real", "double precision")
COLUMNS = {f"c{place}": Column(kind) for place, kind in enumerate(TYPES)}
_COUNTER = Table({"id": Column("integer"), **COLUMNS, "doc": Column("jsonb")}, primary_key=("id",))
COUNTERS = Schema({"counters": _COUNTER})


@pytest.fixture(scope="module")
def counters(local_server: LocalServer) -> Iterator[LocalServer]:
    install(local_server)
    columns = ", ".join(f"{name} {column.type}" for name, column in COLUMNS.items())
    local_server.execute(f"create table counters (id integer primary key, {columns}, doc jsonb)")
    local_server.execute("grant all on counters to service_role")
    local_server.reload_schema()
    yield local_server
    local_server.execute("drop table counters")
    local_server.reload_schema()


async def _gives(backend: str, server: LocalServer, column: str, before: Any, by: Any) -> Any:
    adapter = InMemoryAdapter(schema=COUNTERS) if backend == "memory" else adapter_of(backend, server)
    policy = TablePolicy(read={"counters"}, write={"counters"}, delete={"counters"})
    async with AsyncPersistenceService(adapter, policy=policy, owns_adapter=True) as service:
        await service.delete("counters", {"id": 1})
        try:
            await service.write("counters", {"id": 1, column: before})
            (row,) = await service.update("counters", {column: by}, {"id": 1})
        except AdapterError as error:
            return error.code
        return row[column]


_NUMBERS = st.one_of(
    st.integers(-(2**15), 2**15),
    st.integers(-(2**63), 2**63 - 1),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=4),
    st.floats(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column=st.sampled_from(sorted(COLUMNS)), before=_NUMBERS, by=_NUMBERS)
def test_every_back_end_adds_as_postgresql_does(counters: LocalServer, column: str, before: Any, by: Any) -> None:
    """Sums to the last digit, and refusals with their codes."""
    told = {backend: asyncio.run(_gives(backend, counters, column, before, increment(by))) for backend in BACKENDS}
    assert told["memory"] == told["postgres"] == told["supabase"]


_DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_DOCUMENTS, document=st.dictionaries(st.text("ab", max_size=1), _DOCUMENTS, min_size=1, max_size=2))
def test_every_back_end_merges_as_postgresql_does(counters: LocalServer, before: Any, document: Any) -> None:
    told = {backend: asyncio.run(_gives(backend, counters, "doc", before, merge(document))) for backend in BACKENDS}
    assert told["memory"] == told["postgres"] == told["supabase"]
