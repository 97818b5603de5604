"""Rows merged together that come back, over every back end, and what becomes of them when an answer is lost."""

# persistence-guard: allow-file AP001 every back end is under test

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    AuditEvent,
    ColumnNotAllowedError,
    ConflictError,
    InMemoryAdapter,
    OutcomeUnknownError,
    PersistenceAdapter,
    PostgresAdapter,
    Redaction,
    RetryPolicy,
    SupabaseAdapter,
    TablePolicy,
    TenantScope,
    UnsupportedOperationError,
    ValidationError,
)
from agent_persistence.context import CallContext
from agent_persistence.exceptions import FailureState
from agent_persistence.operations import Operation, Result, UpsertMany
from agent_persistence.redaction import allow, redact
from agent_persistence.schema_registry import Column, Schema, Table, default_schema
from tests.doubles import FakeTime, RecordingAdapter
from tests.server import LocalServer

pytestmark = pytest.mark.asyncio

NEW, OLD = "new@x.example", "old@x.example"


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


async def test_rows_are_merged_or_inserted_and_come_back_in_order(adapter: PersistenceAdapter) -> None:
    """What a record does not name stays as it is; a new row has the database's defaults."""
    records = [{"email": NEW, "company": "N"}, {"email": OLD, "company": "O"}]
    rows = await service(adapter).upsert_many("leads", records, ["email"])
    assert [(row["email"], row["company"], row["status"]) for row in rows] == [(NEW, "N", "new"), (OLD, "O", "won")]
    assert await adapter.query("leads", order_by="email") == rows
    assert await service(adapter).upsert_many("leads", []) == []


async def test_all_are_stored_or_none(adapter: PersistenceAdapter) -> None:
    """One that the database refuses keeps the others out."""
    records: list[dict[str, Any]] = [{"email": NEW, "status": "new"}, {"email": OLD, "status": None}]
    with pytest.raises(ConflictError):
        await AsyncPersistenceService(adapter, row_cap=1000)._invoke(UpsertMany("leads", tuple(records), ("email",)))
    assert [(row["email"], row["status"]) for row in await adapter.query("leads")] == [(OLD, "won")]


async def test_two_for_one_row_are_refused(adapter: PersistenceAdapter) -> None:
    """The database would have to say which of them wins."""
    records = [{"email": NEW, "company": "1"}, {"email": NEW, "company": "2"}]
    with pytest.raises(AdapterError) as caught:
        await service(adapter).upsert_many("leads", records, ["email"])
    assert (caught.value.code, await adapter.query("leads", {"email": NEW})) == ("21000", [])


async def test_records_of_other_columns_are_refused() -> None:
    """A column that one lacks would be set to its default in a row that has a value."""
    adapter = RecordingAdapter()
    with pytest.raises(ValidationError, match="have the same columns"):
        await service(adapter).upsert_many("leads", [{"email": NEW}, {"email": OLD, "company": "O"}], ["email"])
    assert adapter.calls == []


async def test_columns_and_masks_hold(adapter: PersistenceAdapter) -> None:
    """As for a single upsert: what may not be written is not, what is masked is stored masked."""
    policy = TablePolicy(read={"leads"}, write={"leads"}, columns={"leads": {"write": ["email", "company"]}})
    with pytest.raises(ColumnNotAllowedError):
        await service(adapter, policy=policy).upsert_many("leads", [{"email": NEW, "status": "won"}], ["email"])
    masks = Redaction(columns={"leads": {"company": redact("company")}}, unknown=allow())
    masked = service(adapter, mask_writes=masks)
    rows = await masked.upsert_many("leads", [{"email": OLD, "company": "Apex"}], ["email"])
    assert "Apex" not in str(rows)


async def test_a_tenant_merges_with_rows_of_its_own() -> None:
    """Its value is in every record, and in the columns by which rows are merged."""
    table = Table(
        {"id": Column("integer"), "tenant_id": Column("text"), "name": Column("text")},
        primary_key=("id", "tenant_id"),
    )
    schema = Schema({"notes": table})
    store = InMemoryAdapter({"notes": [{"id": 1, "tenant_id": "b", "name": "theirs"}]}, schema=schema)
    own = AsyncPersistenceService(
        store,
        policy=TablePolicy(read={"notes"}, write={"notes"}),
        schema=schema,
        tenant=TenantScope("a"),
    )
    await own.upsert_many("notes", [{"id": 1, "name": "mine"}], ["id"])
    assert [(row["tenant_id"], row["name"]) for row in await store.query("notes", order_by="tenant_id")] == [
        ("a", "mine"),
        ("b", "theirs"),
    ]


async def test_one_event_has_the_keys_of_all(adapter: PersistenceAdapter) -> None:
    """And the names of the columns."""
    events: list[AuditEvent] = []
    rows = await service(adapter, audit=events.append).upsert_many("leads", [{"email": NEW}, {"email": OLD}], ["email"])
    (event,) = events
    assert (event.verb, event.row_count, event.keys) == ("upsert_many", 2, tuple(row["id"] for row in rows))


class Unsteady(InMemoryAdapter):
    """Loses the answers to its first writes, before or after they are applied."""

    def __init__(self, *, applied: bool, times: int = 1) -> None:
        super().__init__(schema=default_schema())
        self.applied = applied
        self.times = times
        self.sent = 0

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        lost = operation.writes and self.sent < self.times
        self.sent += operation.writes
        result = await super().execute(operation, context) if self.applied or not lost else None
        if lost or result is None:
            raise AdapterError("lost", state=FailureState.AMBIGUOUS)
        return result


def over(adapter: PersistenceAdapter, **retry: Any) -> AsyncPersistenceService:
    clockwork = FakeTime()
    policy = RetryPolicy(base_s=0.001, **retry)
    return service(adapter, retry=policy, clock=clockwork.clock, sleep=clockwork.sleep)


RECORDS = [{"email": NEW, "company": "N"}, {"email": OLD, "company": "O"}]


@pytest.mark.parametrize("applied", [True, False])
async def test_new_rows_under_keys_of_ours_are_sent_again_and_stored_once(applied: bool) -> None:
    """They are an insertion, whose key is its fence."""
    adapter = Unsteady(applied=applied)
    rows = await over(adapter).upsert_many("leads", RECORDS)
    assert [row["company"] for row in rows] == ["N", "O"]
    assert await adapter.count("leads") == 2


async def test_a_merge_whose_answer_was_lost_is_found_as_it_was_sent() -> None:
    """It is not sent again: somebody may have written since."""
    adapter = Unsteady(applied=True)
    rows = await over(adapter).upsert_many("leads", RECORDS, ["email"])
    assert ([row["company"] for row in rows], adapter.sent) == (["N", "O"], 1)


async def test_a_merge_that_is_not_there_is_told_as_unknown() -> None:
    """Or sent again, where the caller lets the last write win."""
    adapter = Unsteady(applied=False)
    with pytest.raises(OutcomeUnknownError):
        await over(adapter).upsert_many("leads", RECORDS, ["email"])
    assert adapter.sent == 1
    adapter = Unsteady(applied=False)
    assert len(await over(adapter, last_write_wins=True).upsert_many("leads", RECORDS, ["email"])) == 2


async def test_an_adapter_that_lacks_it_is_not_asked() -> None:
    """It would insert, where merging is meant."""
    adapter = RecordingAdapter()
    with pytest.raises(UnsupportedOperationError, match="upsert_many"):
        await service(adapter).upsert_many("leads", RECORDS, ["email"])
    assert adapter.calls == []
