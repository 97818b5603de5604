"""What is kept while the database cannot be reached, what the caller sees of it, and what comes of it."""

from __future__ import annotations

import gc
import logging
import pickle
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import BaseModel, Field

from agent_persistence import (
    AsyncPersistenceService,
    AuditEvent,
    BackendUnavailableError,
    ConfigurationError,
    NotStoredYetError,
    Operation,
    OutcomeUnknownError,
    Redaction,
    Result,
    Spool,
    SpoolError,
    SpoolFullError,
    TableNotAllowedError,
    TablePolicy,
    TenantScope,
    ValidationError,
    create_persistence_agent,
    create_readonly_rag_facade,
    is_spooled,
    sync,
)
from agent_persistence.metrics import Metrics
from agent_persistence.operations.spooled import SpooledRow, SpooledRows
from agent_persistence.presets.crm import BUSINESS_TABLES
from agent_persistence.redaction import allow, redact
from agent_persistence.schema_registry import default_schema
from tests.spool.stage import Fate, Switched, drained, made, until

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]

CLIENT = "11111111-0000-4000-8000-000000000001"
Call = Callable[[AsyncPersistenceService], Awaitable[Any]]
ALL = TablePolicy(read=BUSINESS_TABLES, write=BUSINESS_TABLES, delete=BUSINESS_TABLES, call_write={"f"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def adapter() -> Switched:
    return Switched(functions={"f": lambda: 1})


def exists(path: Path) -> bool:
    return path.exists()


def broken(path: Path) -> None:
    path.write_bytes(b"broken" * 100)
    path.chmod(0o600)


def email(value: str = "a@x.io") -> dict[str, Any]:
    return {"email": value}


KEPT: dict[str, Call] = {
    "write with a key of ours": lambda s: s.write("leads", email()),
    "write with a key of the caller's": lambda s: s.write("leads", {**email(), "id": CLIENT}),
    "batch_write": lambda s: s.batch_write("leads", [email(), email("b@x.io")]),
    "upsert of a new row": lambda s: s.upsert("leads", email()),
    "upsert_many of new rows": lambda s: s.upsert_many("leads", [email()]),
}
LEFT: dict[str, Call] = {
    "write without a key": lambda s: s.write("inquiries", {"body": "a"}),
    "upsert that merges": lambda s: s.upsert("leads", email(), on_conflict=["email"]),
    "upsert_many that merges": lambda s: s.upsert_many("leads", [email()], on_conflict=["email"]),
    "bulk_write": lambda s: s.bulk_write("leads", [email()]),
    "update": lambda s: s.update("leads", {"status": "won"}, {"id": CLIENT}),
    "delete": lambda s: s.delete("leads", {"id": CLIENT}),
    "call": lambda s: s.call("f"),
    "read": lambda s: s.read("leads", CLIENT),
}
WITH_LEDGER = ("write without a key", "upsert that merges", "upsert_many that merges")


@pytest.mark.parametrize("call", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("fate", ["down", "lost", "lost before"])
async def test_what_is_applied_once_is_kept(call: Call, fate: Fate, path: Path, adapter: Switched) -> None:
    """Also where the answer was lost: whether it was applied or not, it is there once."""
    async with made(path, adapter) as service:
        adapter.fate = fate
        given = await call(service)
        assert is_spooled(given)
        adapter.fate = "up"
        await drained(service)
        rows = await service.query("leads", order_by="email")
        sent = given if isinstance(given, list) else [given]
        assert [{name: row[name] for name in of} for row, of in zip(rows, sent, strict=True)] == sent
        assert service.spool is not None
        assert (await service.spool.status()).refused == 0


@pytest.mark.parametrize("name", LEFT)
@pytest.mark.parametrize("ledger", [False, True], ids=["", "with a ledger"])
async def test_what_is_not_fails_as_ever(name: str, ledger: bool, path: Path, adapter: Switched) -> None:
    """With a word about why it was not kept; with the ledger single writes and merges are kept."""
    async with made(path, adapter, policy=ALL, ledger=ledger) as service:
        adapter.fate = "down"
        if ledger and name in WITH_LEDGER:
            assert is_spooled(await LEFT[name](service))
            return
        with pytest.raises(BackendUnavailableError) as failed:
            await LEFT[name](service)
        assert any("not kept" in note for note in getattr(failed.value, "__notes__", ())) == (name != "read")
        assert not exists(path)


@pytest.mark.parametrize("fate", ["lost", "lost before"])
@pytest.mark.parametrize("name", WITH_LEDGER)
async def test_a_write_that_only_the_ledger_knows_is_there_once(
    name: str, fate: Fate, path: Path, adapter: Switched
) -> None:
    """It is sent again under the key of the first try."""
    async with made(path, adapter, ledger=True) as service:
        adapter.fate = fate
        assert is_spooled(await LEFT[name](service))
        adapter.fate = "up"
        await drained(service)
        assert await service.count("inquiries") + await service.count("leads") == 1


@pytest.mark.parametrize("fate", ["throttled", "denied"])
async def test_a_database_that_answers_is_reached(fate: Fate, path: Path, adapter: Switched) -> None:
    """What it refuses, or asks to be sent later, is not kept."""
    async with made(path, adapter) as service:
        adapter.fate = fate
        with pytest.raises(Exception, match="cut"):
            await service.write("leads", email())
        assert not exists(path)


async def test_a_row_that_waits_is_not_taken_for_a_stored_one(path: Path, adapter: Switched) -> None:
    """It has what was sent; what only the database knows is no KeyError like any other, and no None."""
    async with made(path, adapter) as service:
        adapter.fate = "down"
        row = await service.write("leads", email())
        assert row == {"email": "a@x.io", "id": row["id"]}
        with pytest.raises(NotStoredYetError) as missing:
            row["created_at"]
        assert missing.value.column == "created_at"
        rows = await service.batch_write("leads", [email("b"), email("c")])
        assert is_spooled(rows)
        assert all(map(is_spooled, rows))
        assert is_spooled(rows[:1])
        assert pickle.loads(pickle.dumps(row)) == row
        assert is_spooled(pickle.loads(pickle.dumps(row)))
        assert not is_spooled(dict(row))
        assert repr(row).startswith("SpooledRow(")
        assert isinstance(rows, SpooledRows)
        assert isinstance(row, SpooledRow)


class Lead(BaseModel):
    id: Any
    email: str
    score: float | None = None
    priority: int | None = Field(None, alias="status")
    created_at: Any


async def test_a_model_that_waits_is_marked(path: Path, adapter: Switched) -> None:
    """It has the fields that were sent, and no value that the database would have made."""
    async with made(path, adapter) as service:
        adapter.fate = "down"
        lead = await service.table(Lead, "leads").write({"email": "a@x.io", "score": 1, "status": "7"})
        assert isinstance(lead, Lead)
        assert is_spooled(lead)
        assert (lead.email, lead.score, lead.priority) == ("a@x.io", 1.0, 7)
        assert lead.model_fields_set == {"id", "email", "score", "priority"}
        with pytest.raises(AttributeError):
            _ = lead.created_at
        adapter.fate = "up"
        await drained(service)
        assert not is_spooled(await service.table(Lead, "leads").write({**email("b@x.io"), "status": "8"}))
        adapter.fate = "down"
        misfit = await service.table(Lead, "leads").write({**email("c@x.io"), "status": "SENTINEL"})
        assert misfit.priority == "SENTINEL"  # type: ignore[comparison-overlap]


async def test_a_unit_waits_whole(path: Path, adapter: Switched) -> None:
    """Its inserts are as they were sent, without what its handles stand for; of the rest nothing is known."""
    async with made(path, adapter, policy=ALL) as service:
        adapter.fate = "down"
        unit = service.unit_of_work()
        lead = unit.upsert("leads", email(), on_conflict=["email"])
        talk = unit.write("conversations", {"lead_id": lead["id"], "subject": "s"})
        notes = unit.batch_write("inquiries", [{"body": "one"}, {"body": "two"}])
        changed = unit.update("leads", {"status": "open"}, {"id": lead["id"]}, expect=1)
        checked = unit.require("clients", {"name": "nobody"}, expect=0)
        results = await unit.commit()
        assert results.spooled
        assert is_spooled(results[lead])
        assert results[talk].keys() == {"id", "subject"}
        assert [is_spooled(each) for each in (results[notes], results[notes[1]])] == [True, True]
        for handle in (changed, checked):
            with pytest.raises(NotStoredYetError):
                results[handle]
        adapter.fate = "up"
        await drained(service)
        (row,) = await service.query("leads")
        (talked,) = await service.query("conversations")
        assert (row["status"], talked["lead_id"], await service.count("inquiries")) == ("open", row["id"], 2)


async def test_later_writes_of_a_table_go_behind(path: Path, adapter: Switched) -> None:
    """Though the database is back; those of other tables do not wait, and what cannot wait is not sent."""
    async with made(path, adapter, policy=ALL, ledger=True) as service:
        adapter.fate = "down"
        await service.write("inquiries", {"body": "first"})
        async with hindered(service):
            adapter.fate = "up"
            assert is_spooled(await service.write("inquiries", {"body": "second"}))
            assert not is_spooled(await service.write("leads", email()))
            unit = service.unit_of_work()
            unit.write("leads", email("b@x.io"))
            unit.write("inquiries", {"body": "third"})
            assert (await unit.commit()).spooled
            with pytest.raises(BackendUnavailableError, match="cannot wait behind them: only the database knows"):
                await service.update("inquiries", {"handled": True}, {"body": "first"})
            assert await service.count("inquiries") == 0
        await drained(service)
        rows = await service.query("inquiries", order_by="id")
        assert [row["body"] for row in rows] == ["first", "second", "third"]
        assert len(await service.update("inquiries", {"handled": True}, {"body": "first"})) == 1


class hindered:  # noqa: N801  a context manager
    """Within, another process has the turn to apply what waits."""

    def __init__(self, service: AsyncPersistenceService) -> None:
        assert service.spool is not None
        from agent_persistence.spool.turn import Turn

        self._turn = Turn(service.spool.path.with_name(f"{service.spool.path.name}.lock"))

    async def __aenter__(self) -> None:
        async def taken() -> bool:
            return self._turn.take()

        await until(taken)

    async def __aexit__(self, *_: object) -> None:
        self._turn.give_back()


async def test_only_one_applies_what_waits(path: Path, adapter: Switched) -> None:
    """The others say so, and apply nothing."""
    async with made(path, adapter) as service:
        adapter.fate = "down"
        await service.write("leads", email())
        async with hindered(service):
            adapter.fate = "up"
            report = await service.flush_spool()
            assert (report.applied, report.waiting) == (0, 1)
            assert report.stopped_by == "another process applies them"


async def test_audit_metrics_and_observers_say_spooled(path: Path, adapter: Switched) -> None:
    """It is neither stored nor an error; once it is applied, another event says so, with the actor."""
    events: list[AuditEvent] = []
    outcomes: list[str] = []

    class Watching:
        def attempt_failed(self, attempt: object) -> None: ...

        def ended(self, end: Any) -> None:
            outcomes.append(end.outcome)

    metrics = Metrics()
    service = made(path, adapter, audit=events.append, metrics=metrics, observers=lambda call: Watching(), actor="ada")
    async with service:
        adapter.fate = "down"
        await service.write("leads", email())
        assert (events[0].outcome, events[0].row_count, len(events[0].keys)) == ("spooled", 1, 1)
        assert outcomes[0] == "spooled"
        figures = metrics.snapshot()["write"]["leads"]
        assert (figures["count"], figures["spooled"], figures["errors"]) == (1, 1, 0)
        adapter.fate = "up"
        await drained(service)
        assert (events[-1].outcome, events[-1].keys, events[-1].actor) == ("ok", events[0].keys, "ada")


async def test_a_middleware_cannot_take_the_mark_away(path: Path, adapter: Switched) -> None:
    """It sees `result.spooled`; a result of its own making is marked too."""
    seen: list[bool] = []

    async def remade(operation: Operation, call_next: Any) -> Result:
        result = await call_next(operation)
        seen.append(result.spooled)
        return Result(dict(result.value))

    async with made(path, adapter, middleware=[remade]) as service:
        adapter.fate = "down"
        assert is_spooled(await service.write("leads", email()))
        assert seen == [True]


async def test_masks_hold_before_and_once(path: Path, adapter: Switched) -> None:
    """What is masked does not reach the disk, and is not masked again when it is applied."""
    masks = Redaction({"leads": {"phone": redact()}}, unknown=allow())
    async with made(path, adapter, mask_writes=masks) as service:
        adapter.fate = "down"
        row = await service.write("leads", {**email(), "phone": "SENTINELPHONE"})
        assert all(b"SENTINELPHONE" not in each.read_bytes() for each in path.parent.iterdir())
        adapter.fate = "up"
        await drained(service)
        assert [each["phone"] for each in await service.query("leads")] == [row["phone"]]


async def test_a_call_that_is_refused_is_not_kept(path: Path, adapter: Switched) -> None:
    """Policy and schema are asked before."""
    async with made(path, adapter, schema=default_schema()) as service:
        adapter.fate = "down"
        with pytest.raises(TableNotAllowedError):
            await service.write("clients", {"name": "x"})
        with pytest.raises(ValidationError):
            await service.write("leads", {"email": "a@x.io", "scoer": 1})
        assert not exists(path)


async def test_a_tenants_write_is_applied_as_the_tenants(path: Path, adapter: Switched) -> None:
    """With the tenant's column, and no other tenant sees it."""
    scope = TenantScope(CLIENT, column="client_id", shared={"clients"})
    async with made(path, adapter, tenant=scope, ledger=True) as service:
        other_client = CLIENT.replace("1", "2")
        await adapter.batch_write("clients", [{"id": each, "name": "n"} for each in (CLIENT, other_client)])
        adapter.fate = "down"
        row = await service.write("leads", email())
        assert row["client_id"] == CLIENT
        other = service.as_user(tenant=other_client)
        await other.write("leads", email("b@x.io"))
        adapter.fate = "up"
        await drained(service)
        assert [each["email"] for each in await service.query("leads")] == ["a@x.io"]
        assert [each["email"] for each in await other.query("leads")] == ["b@x.io"]


async def test_the_policy_is_asked_again(path: Path, adapter: Switched) -> None:
    """What a later one refuses, in a table or in its rows, is set aside with the reason; the rest is applied."""
    allowed = TablePolicy(read={"leads", "inquiries"}, write={"leads", "inquiries"})
    async with made(path, adapter, policy=allowed, ledger=True) as service:
        adapter.fate = "down"
        await service.write("leads", email())
        await service.write("inquiries", {"body": "b"})
        unit = service.unit_of_work()
        unit.write("inquiries", {"body": "c"})
        unit.update("leads", {"notes": "d"}, {"email": "a@x.io"})
        await unit.commit()
    adapter.fate = "up"
    narrower = replace(allowed, write=frozenset({"leads"}))
    async with made(path, adapter, policy=narrower, ledger=True) as service:
        assert (await service.flush_spool()).applied == 1
        assert service.spool is not None
        refused = await service.spool.writes(refused=True)
        assert [each.reason.partition(":")[0] for each in refused if each.reason] == ["TableNotAllowedError"] * 2
        assert not any(each.tried for each in refused)
        assert await service.count("leads") == 1
        assert len(await service.spool.writes()) == 0
    names = {"leads", "inquiries"}
    within = TablePolicy(read=names, write=names, rows={"leads": {"status": "new"}, "inquiries": {"email": "z"}})
    async with made(path, adapter, policy=within, ledger=True) as service:
        assert service.spool is not None
        assert await service.spool.retry() == 2
        assert (await service.flush_spool()).refused == 2
        reasons = [each.reason for each in await service.spool.writes(refused=True)]
        assert all(reason and "limits it to other rows" in reason for reason in reasons)
    async with made(path, adapter, policy=allowed, ledger=True) as service:
        assert service.spool is not None
        await service.spool.retry()
        assert (await service.flush_spool()).applied == 2
        assert [row["notes"] for row in await service.query("leads")] == ["d"]


async def test_what_the_database_refuses_is_set_aside_without_its_content(path: Path, adapter: Switched) -> None:
    """And what came behind it is applied."""
    async with made(path, adapter) as service:
        await service.write("leads", {**email("SENTINELTAKEN"), "id": CLIENT})
        adapter.fate = "down"
        await service.write("leads", email("SENTINELTAKEN"))
        await service.write("leads", email("b@x.io"))
        adapter.fate = "up"
        await drained(service)
        assert service.spool is not None
        (refused,) = await service.spool.writes(refused=True)
        assert refused.reason is not None
        assert refused.reason.startswith("ConflictError")
        assert "SENTINELTAKEN" not in refused.reason
        assert await service.count("leads") == 2


async def test_refused_credentials_set_nothing_aside(path: Path, adapter: Switched) -> None:
    """They are no fault of what waits, which is applied when they are right again."""
    async with made(path, adapter) as service:
        adapter.fate = "down"
        await service.write("leads", email())
        adapter.fate = "signed out"
        report = await service.flush_spool()
        assert (report.applied, report.refused, report.waiting) == (0, 0, 1)
        assert (report.stopped_by or "").startswith("AuthenticationError")
        adapter.fate = "up"
        await service.flush_spool()
        assert await service.count("leads") == 1


async def test_a_given_key_that_was_taken_meanwhile_is_a_conflict(path: Path, adapter: Switched) -> None:
    """What was never sent is not looked for, and another's row is not taken for ours."""
    async with made(path, adapter) as service:
        adapter.fate = "down"
        await service.write("leads", {**email(), "id": CLIENT})
        async with hindered(service):
            adapter.fate = "up"
            await adapter.write("leads", {"email": "a@x.io", "id": CLIENT})
        await drained(service)
        assert service.spool is not None
        (refused,) = await service.spool.writes(refused=True)
        assert refused.reason is not None
        assert refused.reason.startswith("ConflictError")


@pytest.mark.parametrize("coalesce", [False, True], ids=["", "coalesced"])
@pytest.mark.parametrize("cache", [False, True], ids=["", "cached"])
async def test_it_goes_together_with_cache_and_shared_requests(
    coalesce: bool, cache: bool, path: Path, adapter: Switched
) -> None:
    """Many callers at once: each has its own row, all are applied once, and no read is answered from before."""
    async with made(path, adapter, coalesce=coalesce, cache=cache) as service:
        assert await service.count("leads") == 0
        adapter.fate = "lost"
        given: list[Any] = []

        async def one(number: int) -> None:
            given.append(await service.write("leads", email(f"{number}@x.io")))

        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(one, number)
        assert all(map(is_spooled, given))
        adapter.fate = "up"
        await drained(service)
        rows = await service.query("leads")
        assert await service.count("leads") == 12
        assert {row["id"] for row in rows} == {row["id"] for row in given}


async def test_a_full_one_is_an_error_that_says_so(path: Path, adapter: Switched) -> None:
    """With what the database's own error said; an outcome that is unknown stays unknown."""
    async with made(path, adapter, spool=Spool(path, max_rows=1)) as service:
        adapter.fate = "down"
        await service.write("leads", email())
        with pytest.raises(SpoolFullError) as full:
            await service.batch_write("conversations", [{"subject": "a"}])
        assert isinstance(full.value.__cause__, BackendUnavailableError)
        with pytest.raises(SpoolFullError):  # one that would go behind
            await service.write("leads", email("b@x.io"))
        adapter.fate = "lost before"
        with pytest.raises(OutcomeUnknownError) as unknown:
            await service.write("conversations", {"subject": "b"})
        assert any("the spool is full" in note for note in unknown.value.__notes__)


async def test_a_file_that_cannot_be_written_changes_no_error(tmp_path: Path, adapter: Switched) -> None:
    """The write failed, and was not kept: both are said."""
    async with made(tmp_path / "missing" / "spool", adapter) as service:
        adapter.fate = "down"
        with pytest.raises(BackendUnavailableError) as failed:
            await service.write("leads", email())
        assert any("cannot be made" in note for note in failed.value.__notes__)
        adapter.fate = "up"
        assert not is_spooled(await service.write("leads", email()))


async def test_a_write_that_cannot_ask_what_waits_is_not_sent(path: Path, adapter: Switched) -> None:
    """It might overtake."""
    broken(path)
    async with made(path, adapter) as service:
        with pytest.raises(SpoolError, match="cannot be used"):
            await service.write("leads", email())
        assert await service.query("leads") == []


@pytest.mark.parametrize("coalesce", [False, True], ids=["", "coalesced"])
async def test_a_write_that_got_no_answer_until_its_deadline_is_kept(
    coalesce: bool, path: Path, adapter: Switched
) -> None:
    """Its outcome is not known, and by its key it is found out; one of those that share a request may be told that it
    is not known, and is there once."""
    async with made(path, adapter, coalesce=coalesce) as service:
        adapter.fate = "hung"
        view = service.with_options(deadline_s=0.3)
        try:
            given: Any = await view.write("leads", email())
        except OutcomeUnknownError:
            assert coalesce
        else:
            assert is_spooled(given)
        adapter.fate = "up"
        await service.query("conversations")
        await drained(service)
        assert await service.count("leads") == 1


async def test_a_cancelled_write_is_kept_whole_or_not(path: Path, adapter: Switched) -> None:
    """Whenever it is cancelled, the row is there once or not at all, and the spool goes on."""
    async with made(path, adapter) as service:
        adapter.fate = "down"
        for number in range(12):
            with anyio.move_on_after(number * 0.002):
                await service.write("leads", email(f"{number}@x.io"))
        adapter.fate = "up"
        await drained(service)
        found = [row["email"] for row in await service.query("leads")]
        assert len(found) == len({*found})


async def test_closing_ends_the_background(path: Path, adapter: Switched) -> None:
    """In the middle of a pause; what waits is applied by the next service, at its first call."""
    adapter.fate = "down"
    async with made(path, adapter) as service:
        await service.write("leads", email())
        view = service.with_options(deadline_s=5)
        await view.aclose()  # closes nothing
        tries = len(adapter.sent)

        async def tried() -> bool:
            return len(adapter.sent) > tries

        await until(tried)
    tries = len(adapter.sent)
    adapter.fate = "up"
    await anyio.sleep(0.7)
    assert len(adapter.sent) == tries
    async with made(path, adapter) as service:
        await service.query("conversations")
        await drained(service)
        assert await service.count("leads") == 1


async def test_a_background_that_fails_goes_on(
    path: Path, adapter: Switched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody waits for is logged, and tried again."""
    async with made(path, adapter) as service:
        adapter.fate = "down"
        await service.write("leads", email())
        assert service.spool is not None
        right, broken = service.spool.take, [True]

        async def take(most: int, place: str) -> Any:
            if broken.pop() if broken else False:
                raise RuntimeError("once")
            return await right(most, place)

        monkeypatch.setattr(service.spool, "take", take)
        adapter.fate = "up"
        with caplog.at_level(logging.ERROR, "agent_persistence.spool"):
            await service.query("leads")
            await drained(service)
        assert not broken


async def test_the_spool_of_another_database_is_refused(path: Path, adapter: Switched) -> None:
    """Its rows would end in the wrong place."""

    class Another(Switched):
        pass

    async with made(path, adapter) as service:
        adapter.fate = "down"
        await service.write("leads", email())
    another = Another()
    async with made(path, another) as service:
        with pytest.raises(SpoolError, match="holds writes for Switched, and this service writes to Another"):
            await service.flush_spool()
        assert another.sent == []


async def test_without_one_nothing_is_kept(adapter: Switched) -> None:
    """It is off by default, and a flush says so."""
    async with AsyncPersistenceService(adapter) as service:
        assert service.spool is None
        with pytest.raises(ConfigurationError, match="no spool"):
            await service.flush_spool()
    with pytest.raises(ConfigurationError, match="spool is"):
        AsyncPersistenceService(adapter, spool="a path")  # type: ignore[arg-type]


async def test_the_factory_takes_it_and_the_environment_names_it(
    path: Path, adapter: Switched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For agents; a façade writes nothing, and has none."""
    adapter.fate = "down"
    monkeypatch.setenv("PERSIST_SPOOL", str(path))
    async with create_persistence_agent(adapter=adapter, retry=False) as agent:
        assert is_spooled(await agent.write("leads", email()))
    before = len(adapter.sent)
    adapter.fate = "up"
    async with create_readonly_rag_facade(adapter=adapter) as facade:
        await facade.count("leads")
        await anyio.sleep(0.2)
    assert len(adapter.sent) == before + 1
    async with create_persistence_agent(adapter=adapter, spool=None) as agent:
        assert agent.service.spool is None


def test_it_works_without_await(path: Path, adapter: Switched, anyio_backend: str) -> None:
    """In the event loop of the blocking verbs."""
    adapter.fate = "down"
    with sync.PersistenceService(adapter, spool=Spool(path), retry=False) as service:
        assert is_spooled(service.write("leads", email()))
        adapter.fate = "up"
        report = service.flush_spool()
        assert report.waiting == 0
        assert service.count("leads") == 1
    gc.collect()


def test_it_goes_from_one_event_loop_to_the_next(path: Path, adapter: Switched, anyio_backend: str) -> None:
    """What one could not apply before it ended, in the middle of a pause, the next one does."""
    service = made(path, adapter)

    async def keep() -> None:
        adapter.fate = "down"
        assert is_spooled(await service.write("leads", email()))

    async def apply() -> None:
        adapter.fate = "up"
        assert is_spooled(await service.write("leads", email("b@x.io")))
        await drained(service)
        assert await service.count("leads") == 2
        await service.aclose()

    anyio.run(keep, backend=anyio_backend)
    anyio.run(apply, backend=anyio_backend)
