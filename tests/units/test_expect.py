"""A change of exactly so many rows, or of none: `expect` of a single update or delete, over every back end."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from agent_persistence import (
    AsyncPersistenceService,
    AuditEvent,
    ExpectationFailedError,
    InMemoryAdapter,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
    TenantScope,
    UnsupportedOperationError,
    ValidationError,
    sync,
)
from agent_persistence.exceptions import FailureState
from tests.doubles import RecordingAdapter
from tests.server import LocalServer
from tests.units.conftest import POLICY

pytestmark = pytest.mark.asyncio
NAMES = ("ada", "bob", "cyd")


async def filled(service: AsyncPersistenceService) -> None:
    await service.batch_write("leads", [{"email": f"{name}@x.io", "company": "A"} for name in NAMES])


async def statuses(service: AsyncPersistenceService) -> list[str]:
    return [row["status"] for row in await service.query("leads", order_by="email")]


async def test_as_many_rows_as_expected_are_changed_and_come_back(service: AsyncPersistenceService) -> None:
    """Also none, where none is expected."""
    await filled(service)
    changed = await service.update("leads", {"status": "open"}, {"company": "A"}, expect=3)
    assert sorted((row["email"][:3], row["status"]) for row in changed) == [(name, "open") for name in NAMES]
    assert await service.update("leads", {"status": "won"}, {"company": "B"}, expect=0) == []
    assert await service.update("leads", {"status": "won"}, {"email": "ada@x.io"}, expect=1) != []
    assert await statuses(service) == ["won", "open", "open"]


@pytest.mark.parametrize("expect", [0, 1, 2, 4])
async def test_another_number_changes_nothing(service: AsyncPersistenceService, expect: int) -> None:
    """More of them as well as fewer; the error says how many there are."""
    await filled(service)
    with pytest.raises(ExpectationFailedError) as caught:
        await service.update("leads", {"status": "open"}, {"company": "A"}, expect=expect)
    error = caught.value
    assert (error.verb, error.table, error.expected, error.found) == ("update", "leads", expect, 3)
    assert (error.state, error.http_status) == (FailureState.REJECTED, 409)
    with pytest.raises(ExpectationFailedError):
        await service.delete("leads", {"company": "A"}, expect=expect)
    assert await statuses(service) == ["new"] * 3


async def test_a_deletion_takes_as_many_as_expected(service: AsyncPersistenceService) -> None:
    """And returns them."""
    await filled(service)
    gone = await service.delete("leads", {"email": "bob@x.io"}, expect=1)
    assert ([row["email"] for row in gone], await service.count("leads")) == (["bob@x.io"], 2)


async def test_the_call_is_held_to_policy_rows_and_audit(adapter: Any) -> None:
    """As an update without it: it is one update to whoever watches."""
    events: list[AuditEvent] = []
    rows = {"leads": {"company": "A"}}
    policy = TablePolicy(read={"leads"}, write={"leads"}, rows=rows)
    async with AsyncPersistenceService(adapter, policy=POLICY) as every:
        await filled(every)
        await every.write("leads", {"email": "other@x.io", "company": "B"})
    service = AsyncPersistenceService(adapter, policy=policy, audit=events.append, owns_adapter=True)
    async with service:
        assert len(await service.update("leads", {"status": "open"}, {"status": "new"}, expect=3)) == 3
        with pytest.raises(TableNotAllowedError):
            await service.delete("leads", {"status": "open"}, expect=3)
    assert [(event.verb, event.outcome, event.row_count) for event in events] == [
        ("update", "ok", 3),
        ("delete", "denied", 0),
    ]


async def test_typed_tables_views_and_blocking_verbs_have_it() -> None:
    """With the rows as models where they are typed."""

    class Note(BaseModel):
        id: int
        text: str

    rows = {"notes": [{"id": number, "text": "old", "tenant_id": "a"} for number in range(2)]}
    policy = TablePolicy(read={"notes"}, write={"notes"}, delete={"notes"})
    service = AsyncPersistenceService(InMemoryAdapter(rows), policy=policy, tenant=TenantScope("a"))
    notes = service.table(Note, "notes")
    assert [note.text for note in await notes.update({"text": "new"}, {"id": 1}, expect=1)] == ["new"]
    with pytest.raises(ExpectationFailedError):
        await notes.delete({"text": "new"}, expect=2)
    blocking = sync.PersistenceService(InMemoryAdapter(rows), policy=policy)
    assert len(blocking.delete("notes", {"text": "old"}, expect=2)) == 2


async def test_what_cannot_be_meant_is_refused() -> None:
    """Before anything is sent."""
    adapter = RecordingAdapter()
    service = AsyncPersistenceService(adapter, policy=POLICY)
    with pytest.raises(ValidationError, match="max_affected would say it again"):
        await service.update("leads", {"status": "open"}, {"id": "1"}, expect=1, max_affected=1)
    with pytest.raises(ValidationError, match="number of rows from 0"):
        await service.delete("leads", {"id": "1"}, expect=-1)
    with pytest.raises(UnsupportedOperationError, match="transactions"):
        await AsyncPersistenceService(RecordingAdapter(without={"transactions"}), policy=POLICY).update(
            "leads", {"status": "open"}, {"id": "1"}, expect=1
        )
    assert adapter.calls == []


async def test_a_server_without_the_function_is_told_what_to_install(server: LocalServer) -> None:
    """Nothing is changed; an upper bound alone would let fewer rows pass."""
    server.execute(
        "drop function if exists agent_persistence_apply(json); drop schema if exists agent_persistence cascade"
    )
    server.reload_schema()
    try:
        adapter = SupabaseAdapter(server.url, server.service_key)
        async with AsyncPersistenceService(adapter, policy=POLICY, owns_adapter=True) as service:
            await filled(service)
            with pytest.raises(UnsupportedOperationError, match="sql install"):
                await service.update("leads", {"status": "open"}, {"company": "A"}, expect=3)
            assert await statuses(service) == ["new"] * 3
    finally:
        from tests.units.conftest import install

        install(server)
