"""Many rows in one call: what every layer of the chain does with them, and what becomes of a lost answer."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field

from agent_persistence import (
    NULL,
    AdapterError,
    AuditEvent,
    ColumnNotAllowedError,
    ConflictError,
    InMemoryAdapter,
    OutcomeUnknownError,
    Redaction,
    RetryPolicy,
    TableNotAllowedError,
    TablePolicy,
    UnsupportedOperationError,
    ValidationError,
)
from agent_persistence.bulk.writing import stored_rows
from agent_persistence.exceptions import FailureState
from agent_persistence.metrics import Metrics
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.redaction import allow, redact
from agent_persistence.schema_registry import default_schema
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import FakeTime, RecordingAdapter

pytestmark = pytest.mark.anyio

LOST = AdapterError("lost", state=FailureState.AMBIGUOUS)
EMAILS = [{"email": "a@a.example"}, {"email": "b@a.example"}]
KEYS = [str(UUID(int=number)) for number in (1, 2)]
KEYED = [{"id": key, **record} for key, record in zip(KEYS, EMAILS, strict=True)]


class Forgetful(RecordingAdapter):
    """Applies the first bulk write and loses its answer."""

    lost = False

    async def bulk_write(self, *args: Any, **options: Any) -> int:
        stored = await super().bulk_write(*args, **options)
        if not self.lost:
            self.lost = True
            raise LOST
        return stored


def service(adapter: RecordingAdapter, **options: Any) -> AsyncPersistenceService:
    clockwork = FakeTime()
    return AsyncPersistenceService(
        adapter, retry=RetryPolicy(base_s=0.001), clock=clockwork.clock, sleep=clockwork.sleep, **options
    )


def sent(adapter: RecordingAdapter) -> list[dict[str, Any]]:
    """The records of the last bulk write that arrived."""
    records = [arguments[1] for verb, arguments in adapter.calls if verb == "bulk_write"]
    return [dict(record) for record in records[-1]]


async def test_every_row_gets_its_key_and_is_counted() -> None:
    """The value is how many rows there are; nothing is read back."""
    adapter = RecordingAdapter()
    assert await service(adapter).bulk_write("leads", EMAILS) == 2
    assert adapter.verbs == ["bulk_write"]
    assert all(UUID(record["id"]).version == 7 for record in sent(adapter))


@pytest.mark.parametrize(
    ("policy", "records", "on_conflict", "refusal"),
    [
        (TablePolicy(read={"leads"}, write={"messages"}), EMAILS, None, TableNotAllowedError),
        (
            TablePolicy(read={"leads"}, write={"leads"}, columns={"leads": {"write": ["first_name"]}}),
            EMAILS,
            None,
            ColumnNotAllowedError,
        ),
        (
            TablePolicy(read={"leads"}, write={"leads"}, columns={"leads": {"read": ["id"]}}),
            EMAILS,
            ["email"],
            ColumnNotAllowedError,
        ),
        (TablePolicy(read={"leads"}, write={"leads"}, max_batch=1), EMAILS, None, ValidationError),
        (TablePolicy.default(), [{"email": "a"}, {"company": "b"}], ["email"], ValidationError),
        (TablePolicy.default(), [{"email": "a"}, "b"], None, ValidationError),
        (TablePolicy.default(), [{"email": "a", "id::text": "1"}], None, ColumnNotAllowedError),
        (TablePolicy.default(), EMAILS, ["email::text"], ColumnNotAllowedError),
        (
            TablePolicy(read={"leads"}, write={"leads"}, rows={"leads": {"status": "new"}}),
            [{"email": "a", "status": "won"}],
            None,
            ColumnNotAllowedError,
        ),
    ],
    ids=["table", "written", "merged by", "bound", "columns that differ", "no record", "name", "target", "rows"],
)
async def test_what_the_policy_or_the_shape_forbids_never_leaves(
    policy: TablePolicy, records: Any, on_conflict: Any, refusal: type[Exception]
) -> None:
    """Every row is checked as a single one is."""
    adapter = RecordingAdapter()
    with pytest.raises(refusal):
        await service(adapter, policy=policy).bulk_write("leads", records, on_conflict)
    assert adapter.calls == []


async def test_a_declared_schema_checks_every_row_and_the_target() -> None:
    """All problems are told, with the place of each."""
    checked = service(RecordingAdapter(), schema=default_schema())
    with pytest.raises(ValidationError, match=r"records\[1\].*on_conflict: \(status\) is no declared key"):
        await checked.bulk_write("leads", [{"email": "a"}, {"email": NULL}], ["status"])


async def test_a_tenant_is_in_every_row_and_in_the_target() -> None:
    """A row of another tenant is no match for a merge."""
    adapter = RecordingAdapter(InMemoryAdapter(schema=default_schema()))
    own = service(adapter, tenant=TenantScope(KEYS[0], column="client_id"))
    with pytest.raises(AdapterError, match="no unique constraint on"):  # one that holds the tenant's column, too
        await own.bulk_write("leads", EMAILS, ["email"])
    assert [record["client_id"] for record in sent(adapter)] == [KEYS[0], KEYS[0]]
    assert adapter.calls[-1][1][2] == ("email", "client_id")


async def test_rows_are_masked_before_they_are_stored_and_a_merge_finds_none_by_a_masked_column() -> None:
    """What a Redaction hides is in no row that leaves."""
    adapter = RecordingAdapter()
    masked = service(adapter, mask_writes=Redaction(columns={"leads": {"email": redact("email")}}, unknown=allow()))
    await masked.bulk_write("leads", EMAILS[:1])
    assert "a@a.example" not in sent(adapter)[0]["email"]
    with pytest.raises(ColumnNotAllowedError, match="masked values are not told apart"):
        await masked.bulk_write("leads", EMAILS, ["email"])


async def test_the_audit_tells_of_every_row_and_the_metrics_of_one_call() -> None:
    """One event and one latency for one call."""
    events: list[AuditEvent] = []
    metrics = Metrics()
    audited = service(RecordingAdapter(), audit=events.append, metrics=metrics)
    await audited.bulk_write("leads", KEYED)
    (event,) = events
    assert (event.verb, event.row_count, event.keys, event.outcome) == ("bulk_write", 2, tuple(KEYS), "ok")
    assert metrics.snapshot()["bulk_write"]["leads"]["count"] == 1


async def test_an_adapter_without_the_capability_is_not_asked() -> None:
    """The error names what is missing."""
    adapter = RecordingAdapter(without={"bulk"})
    with pytest.raises(UnsupportedOperationError, match="bulk"):
        await service(adapter).bulk_write("leads", EMAILS)
    assert adapter.calls == []


@pytest.mark.parametrize(
    "policy", [TablePolicy.default(), TablePolicy(read=set(), write={"leads"})], ids=["readable", "write only"]
)
async def test_rows_whose_answer_was_lost_are_there_once(policy: TablePolicy) -> None:
    """The keys made for them tell that they are there already."""
    adapter = Forgetful()
    assert await service(adapter, policy=policy).bulk_write("leads", EMAILS) == 2
    assert adapter.verbs.count("bulk_write") == 2
    assert len(await adapter.query("leads")) == 2


async def test_a_merge_whose_answer_was_lost_is_read_back_and_not_sent_again() -> None:
    """Others may have changed the rows since."""
    adapter = Forgetful()
    assert await service(adapter).bulk_write("leads", EMAILS, ["email"]) == 2
    assert adapter.verbs == ["bulk_write", "query"]


async def test_rows_of_an_earlier_process_are_no_conflict() -> None:
    """With `resent`, rows that are there as they were sent are stored, whoever made their keys."""
    adapter = RecordingAdapter()
    await service(adapter).bulk_write("leads", KEYED)
    assert (await stored_rows(service(adapter), "leads", KEYED, resent=True)).rows == 2
    assert len(await adapter.query("leads")) == 2


async def test_rows_of_others_are_a_conflict_also_when_resent() -> None:
    """Another row under the same e-mail address is not ours, and nothing of the batch is stored."""
    adapter = RecordingAdapter(InMemoryAdapter(schema=default_schema()))
    await adapter.write("leads", {"email": "b@a.example"})
    with pytest.raises(ConflictError):
        await stored_rows(service(adapter), "leads", KEYED, resent=True)
    assert len(await adapter.query("leads")) == 1


async def test_without_resent_the_same_rows_are_a_conflict() -> None:
    """Control: what the flag changes."""
    adapter = RecordingAdapter()
    await service(adapter).bulk_write("leads", KEYED)
    with pytest.raises(ConflictError):
        await service(adapter).bulk_write("leads", KEYED)


async def test_keys_made_elsewhere_for_these_rows_alone_need_no_right_to_read() -> None:
    """A violation of the primary key then means that the rows are there."""
    adapter = RecordingAdapter()
    blind = service(adapter, policy=TablePolicy(read=set(), write={"leads"}))
    await stored_rows(blind, "leads", KEYED, generated_key="id")
    assert (await stored_rows(blind, "leads", KEYED, generated_key="id", resent=True)).rows == 2


@pytest.mark.parametrize("option", ["generated_key", "resent"])
async def test_the_verb_takes_the_word_of_no_caller_for_what_an_import_knows(option: str) -> None:
    """`generated_key` would carry a column past the policy, `resent` take another's row for the caller's own."""
    adapter = RecordingAdapter()
    verb: Any = service(adapter).bulk_write
    with pytest.raises(TypeError, match=option):
        await verb("leads", KEYED, **{option: "notes"})
    assert adapter.calls == []


class Lead(BaseModel):
    id: UUID = Field(default_factory=uuid4)
    email: str
    status: str = "new"
    first_name: str | None = None


@pytest.mark.parametrize("verb", ["upsert", "bulk_write"])
async def test_a_merge_changes_only_what_was_set_in_a_model(verb: str) -> None:
    """Neither a default nor a key that the model makes is put over what is stored."""
    adapter = RecordingAdapter(InMemoryAdapter(schema=default_schema()))
    await adapter.write("leads", {"id": KEYS[0], "email": "a@a.example", "status": "won"})
    given = Lead(email="a@a.example", first_name="Ada")
    made = service(adapter)
    await (made.upsert("leads", given, ["email"]) if verb == "upsert" else made.bulk_write("leads", [given], ["email"]))
    (row,) = await adapter.query("leads")
    assert (row["id"], row["status"], row["first_name"]) == (KEYS[0], "won", "Ada")


async def test_an_inserted_model_is_stored_with_its_defaults() -> None:
    """Control: there is no stored value that they could overwrite."""
    adapter = RecordingAdapter()
    given = Lead(email="a@a.example")
    await service(adapter).bulk_write("leads", [given])
    assert sent(adapter) == [{"id": str(given.id), "email": "a@a.example", "status": "new"}]


@pytest.mark.parametrize("resent", [True, False])
async def test_rows_that_nothing_tells_apart_are_never_sent_twice(resent: bool) -> None:
    """A table whose keys the database makes gives no way to know."""
    adapter = Forgetful()
    with pytest.raises(OutcomeUnknownError):
        await stored_rows(service(adapter), "inquiries", [{"body": "one"}], resent=resent)
    assert adapter.verbs == ["bulk_write"]
