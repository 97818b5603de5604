"""Audit: one event per caller's call, and hooks that can change nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from agent_persistence import (
    AdapterError,
    AuditEvent,
    ColumnNotAllowedError,
    ConfigurationError,
    ConflictError,
    InMemoryAdapter,
    Next,
    Operation,
    OutcomeUnknownError,
    PersistenceError,
    Result,
    RetryPolicy,
    TableNotAllowedError,
    UnsupportedOperationError,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.pipeline.audit import layer as audit_module
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import HangingAdapter, RecordingAdapter, shown

pytestmark = pytest.mark.anyio
SECRET = "ada@secret.example"


@pytest.fixture
def events() -> list[AuditEvent]:
    return []


@pytest.fixture
def service(events: list[AuditEvent]) -> AsyncPersistenceService:
    return AsyncPersistenceService(RecordingAdapter(), audit=events.append, actor="worker-7")


async def test_every_verb_emits_one_event(service: AsyncPersistenceService, events: list[AuditEvent]) -> None:
    """It tells verb, table, outcome, columns, rows returned, and the primary keys touched."""
    row = await service.write("leads", {"email": SECRET})
    two = await service.batch_write("leads", [{"email": "b"}, {"email": "c", "notes": "n"}])
    await service.upsert("leads", {"id": row["id"], "notes": SECRET})
    await service.read("leads", row["id"])
    await service.query("leads", {"email": SECRET})
    await service.get_columns("leads")
    keys = [each["id"] for each in two]
    assert [(e.verb, e.outcome, e.columns, e.row_count, e.keys) for e in events] == [
        ("write", "ok", ("email", "id"), 1, (row["id"],)),
        ("batch_write", "ok", ("email", "id", "notes"), 2, tuple(keys)),
        ("upsert", "ok", ("id", "notes"), 1, (row["id"],)),
        ("read", "ok", ("id",), 1, (row["id"],)),
        ("query", "ok", ("email",), 1, (row["id"],)),
        ("get_columns", "ok", (), 0, ()),
    ]
    assert {(e.table, e.actor, e.error_type, e.attempts) for e in events} == {("leads", "worker-7", None, 1)}


async def test_no_value_but_keys_is_in_an_event(service: AsyncPersistenceService, events: list[AuditEvent]) -> None:
    """Neither a record's nor a filter's nor a row's values, nor what a key by another column was."""
    await service.write("leads", {"email": SECRET, "custom": {"note": SECRET}})
    await service.read("leads", SECRET, "email")
    await service.query("leads", {"email": SECRET})
    with pytest.raises(PersistenceError):
        await service.write("clients", {"email": SECRET})
    assert len(events) == 4
    assert all(SECRET not in repr(asdict(event)) for event in events)


async def test_an_event_tells_when_the_call_began_and_how_long_it_took(
    service: AsyncPersistenceService, events: list[AuditEvent]
) -> None:
    """`at` is in UTC, `duration_s` in seconds; an event is frozen."""
    before = datetime.now(UTC)
    await service.query("leads")
    (event,) = events
    assert before <= event.at <= datetime.now(UTC)
    assert event.at.tzinfo is UTC
    assert 0 < event.duration_s < 5
    with pytest.raises(FrozenInstanceError):
        event.outcome = "denied"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("failure", "outcome", "error_type"),
    [
        (AdapterError("x"), "error", "AdapterError"),
        (ConflictError("x", constraint="c"), "error", "ConflictError"),
        (RuntimeError("x"), "unknown", "OutcomeUnknownError"),
        (AdapterError("x", state=FailureState.AMBIGUOUS), "unknown", "OutcomeUnknownError"),
        (AdapterError("x", state=FailureState.NOT_SENT), "error", "BackendUnavailableError"),
    ],
    ids=shown,
)
async def test_a_failed_write_is_an_error_or_unknown(
    failure: Exception, outcome: str, error_type: str, events: list[AuditEvent]
) -> None:
    """ "unknown" where the row may be there; the keys are those of the record, where it has them."""
    service = AsyncPersistenceService(RecordingAdapter(failures=[failure]), audit=events.append, retry=False)
    with pytest.raises(AdapterError):
        await service.write("leads", {"id": "k1", "email": SECRET})
    (event,) = events
    assert (event.outcome, event.error_type, event.row_count, event.keys) == (outcome, error_type, 0, ("k1",))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda service: service.write("clients", {"name": "x"}), TableNotAllowedError),
        (lambda service: service.query("leads", {"clients.ssn": 1}), ColumnNotAllowedError),
    ],
    ids=["table", "column"],
)
async def test_a_refusal_is_denied(
    call: Callable[[AsyncPersistenceService], Any],
    error: type[Exception],
    service: AsyncPersistenceService,
    events: list[AuditEvent],
) -> None:
    """The guard stands inside the audit, so that attempts are on record."""
    with pytest.raises(error):
        await call(service)
    assert [(event.outcome, event.error_type) for event in events] == [("denied", error.__name__)]


async def test_a_missing_capability_is_an_error(events: list[AuditEvent]) -> None:
    """It is no refusal by the policy."""
    service = AsyncPersistenceService(RecordingAdapter(without={"offset"}), audit=events.append)
    with pytest.raises(UnsupportedOperationError):
        await service.query("leads", offset=1)
    assert [event.outcome for event in events] == ["error"]


@pytest.mark.parametrize(("verb", "outcome"), [("write", "unknown"), ("query", "error")])
async def test_a_cancelled_call_emits_its_event(verb: str, outcome: str, events: list[AuditEvent]) -> None:
    """A cancelled write may have left already; the hooks run although the caller is being cancelled."""
    adapter = HangingAdapter()

    async def hook(event: AuditEvent) -> None:
        await anyio.lowlevel.checkpoint()
        events.append(event)

    service = AsyncPersistenceService(adapter, audit=hook)
    arguments: tuple[Any, ...] = ("leads", {"id": "k1"}) if verb == "write" else ("leads",)
    async with anyio.create_task_group() as group:
        group.start_soon(getattr(service, verb), *arguments)
        await adapter.hanging.wait()
        group.cancel_scope.cancel()
    assert [(event.verb, event.outcome) for event in events] == [(verb, outcome)]


async def test_attempts_are_counted_in_the_event(events: list[AuditEvent]) -> None:
    """One event however often the call was tried, also when it failed in the end."""

    async def at_once(pause_s: float) -> None:
        pass

    busy = [AdapterError("busy", state=FailureState.RETRYABLE) for _ in range(5)]
    service = AsyncPersistenceService(
        RecordingAdapter(failures=[*busy[:2], None, *busy[2:]]),
        audit=events.append,
        retry=RetryPolicy(attempts=3),
        sleep=at_once,
    )
    await service.query("leads")
    with pytest.raises(AdapterError):
        await service.query("leads")
    assert [(event.outcome, event.attempts) for event in events] == [("ok", 3), ("error", 3)]


async def test_a_composite_key_is_told_as_a_tuple(events: list[AuditEvent]) -> None:
    """In the order of the key's columns; a row without all of them has no key."""
    from agent_persistence.schema_registry import Column, Schema, Table

    schema = Schema({"leads": Table({"a": Column("text"), "b": Column("text")}, primary_key=("b", "a"))})
    service = AsyncPersistenceService(
        RecordingAdapter(InMemoryAdapter(schema=schema)), schema=schema, audit=events.append
    )
    await service.write("leads", {"a": "1", "b": "2"})
    await service.query("leads", select=["a"])
    assert [event.keys for event in events] == [(("2", "1"),), ()]


async def test_a_middlewares_own_answer_is_audited(events: list[AuditEvent]) -> None:
    """The audit stands outside of the user's middleware: a cached answer is a call as well."""

    async def cached(operation: Operation, call_next: Next) -> Result:
        return Result([{"id": "k1"}])

    adapter = RecordingAdapter()
    await AsyncPersistenceService(adapter, audit=events.append, middleware=[cached]).query("leads")
    assert [(event.outcome, event.keys) for event in events] == [("ok", ("k1",))]
    assert adapter.calls == []


def _raises(event: AuditEvent) -> None:
    raise RuntimeError("hook")


async def _raises_later(event: AuditEvent) -> None:
    raise RuntimeError("hook")


async def _hangs(event: AuditEvent) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("hook", [_raises, _raises_later, _hangs])
async def test_a_broken_hook_changes_nothing(
    hook: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The row is written and returned, a failure is raised as itself; the hook's own failure is logged."""
    monkeypatch.setattr(audit_module, "HOOK_TIMEOUT_S", 0.01)
    service = AsyncPersistenceService(RecordingAdapter(), audit=hook)
    with caplog.at_level(logging.ERROR, "agent_persistence.audit"):
        row = await service.write("leads", {"email": SECRET})
        with pytest.raises(TableNotAllowedError):
            await service.write("clients", {"email": SECRET})
    assert row["email"] == SECRET
    assert len(caplog.records) == 2
    assert SECRET not in caplog.text


async def test_hooks_run_in_order_and_after_one_that_raises(
    events: list[AuditEvent],
) -> None:
    """What one hook raises does not keep the event from the next."""
    told: list[str] = []

    async def second(event: AuditEvent) -> None:
        told.append("second")

    service = AsyncPersistenceService(RecordingAdapter(), audit=[_raises, events.append, second, _raises_later])
    await service.query("leads")
    assert (len(events), told) == (1, ["second"])


async def test_a_hook_that_hangs_does_not_keep_the_event_from_the_next(
    events: list[AuditEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An audit log does not depend on the good behaviour of a metrics exporter before it."""
    monkeypatch.setattr(audit_module, "HOOK_TIMEOUT_S", 0.01)
    await AsyncPersistenceService(RecordingAdapter(), audit=[_hangs, events.append]).query("leads")
    assert len(events) == 1


async def test_without_hooks_nothing_is_emitted() -> None:
    """Control, and the rule of the chain: what is not configured is not in it."""
    assert await AsyncPersistenceService(RecordingAdapter()).query("leads") == []


@pytest.mark.parametrize("hooks", ["text", [None], [5]], ids=shown)
def test_a_hook_is_callable(hooks: Any) -> None:
    """Anything else is refused at construction, not at the first call."""
    with pytest.raises(ConfigurationError, match="audit"):
        AsyncPersistenceService(RecordingAdapter(), audit=hooks)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_hook_whose_own_task_was_cancelled_changes_nothing() -> None:
    """A hook that waits for a cancelled task of its own raises CancelledError; the write is settled all the same."""

    async def hook(event: AuditEvent) -> None:
        flush = asyncio.ensure_future(anyio.sleep_forever())
        flush.cancel()
        await flush

    service = AsyncPersistenceService(RecordingAdapter(), audit=hook)
    row: dict[str, Any] | None = None
    with contextlib.suppress(asyncio.CancelledError):
        row = await service.write("leads", {"email": SECRET})
    assert row is not None


async def test_a_lost_answer_is_unknown_to_caller_and_audit_alike(events: list[AuditEvent]) -> None:
    """The event says what the error says."""
    adapter = RecordingAdapter(failures=[ConnectionResetError()])
    service = AsyncPersistenceService(adapter, audit=events.append, retry=False)
    with pytest.raises(OutcomeUnknownError) as caught:
        await service.write("leads", {"email": SECRET})
    assert (events[0].outcome, events[0].keys, adapter.verbs) == ("unknown", (caught.value.key,), ["write"])


class Storing(RecordingAdapter):
    """Has something to wait for before a row is stored, and after it."""

    async def write(self, table: str, record: Any) -> Any:
        await asyncio.sleep(0)
        row = await super().write(table, record)
        await asyncio.sleep(0)
        return row


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize("times", [1, 2])
async def test_an_async_hook_is_told_of_a_write_whose_task_was_cancelled(steps: int, times: int) -> None:
    """By asyncio's own means, at whatever await, and once more while the hook runs: a row that is there was told of."""
    told: list[str] = []

    async def hook(event: AuditEvent) -> None:
        await asyncio.sleep(0)
        told.append(event.outcome)

    adapter = Storing()
    service = AsyncPersistenceService(adapter, audit=hook)
    task = asyncio.ensure_future(service.write("leads", {"email": SECRET}))
    for _ in range(steps):
        await asyncio.sleep(0)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    for _ in range(10):
        await asyncio.sleep(0)
    if adapter.calls:
        assert told in (["unknown"], ["ok"])
