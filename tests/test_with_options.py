"""One call under other bounds."""

from __future__ import annotations

from typing import Any

import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    BackendUnavailableError,
    ConfigurationError,
    PersistenceAgent,
    ReadOnlyError,
    RetryPolicy,
    TableNotAllowedError,
    TablePolicy,
    sync,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.metrics import Metrics
from tests.doubles import FakeTime, HangingAdapter, RecordingAdapter, shown

pytestmark = pytest.mark.anyio

DOWN = AdapterError("down", state=FailureState.NOT_SENT)
FORMS = pytest.mark.parametrize(
    "form",
    [lambda service: service, PersistenceAgent, lambda service: service.readonly()],
    ids=["service", "agent", "façade"],
)


def failing(**options: Any) -> tuple[AsyncPersistenceService, RecordingAdapter]:
    adapter, clockwork = RecordingAdapter(failures=[DOWN] * 99), FakeTime()
    return AsyncPersistenceService(adapter, clock=clockwork.clock, sleep=clockwork.sleep, **options), adapter


@FORMS
@pytest.mark.parametrize(
    ("options", "tries"),
    [
        ({}, 4),
        ({"retry": False}, 1),
        ({"retry": True}, 4),
        ({"retry": RetryPolicy(attempts=2)}, 2),
        ({"retry": False, "deadline_s": 3}, 1),
    ],
    ids=shown,
)
async def test_the_retries_of_one_call_can_be_others(form: Any, options: Any, tries: int) -> None:
    """What is None stays, and so do the bounds of every other call."""
    service, adapter = failing()
    whole = form(service)
    with pytest.raises(BackendUnavailableError):
        await whole.with_options(**options).query("leads")
    assert len(adapter.calls) == tries
    with pytest.raises(BackendUnavailableError):
        await whole.query("leads")
    assert len(adapter.calls) == tries + 4


@FORMS
async def test_the_deadline_of_one_call_can_be_another(form: Any) -> None:
    """It bounds all attempts together."""
    service = AsyncPersistenceService(HangingAdapter(), clock=lambda: 0.0)
    with pytest.raises(BackendUnavailableError, match="no answer in time"):
        await form(service).with_options(deadline_s=0.02).query("leads")


@FORMS
@pytest.mark.parametrize(
    "options",
    [
        {"deadline_s": 0},
        {"deadline_s": -1},
        {"deadline_s": "2"},
        {"deadline_s": 0.001},
        {"deadline_s": 10**400},
        {"retry": 3},
    ],
    ids=shown,
)
async def test_bounds_that_make_no_sense_are_refused(form: Any, options: Any) -> None:
    """Before anything is called."""
    service, adapter = failing()
    with pytest.raises(ConfigurationError):
        form(service).with_options(**options)
    assert adapter.calls == []


async def test_everything_else_is_shared() -> None:
    """Policy, middleware, metrics, overridden methods; and a façade stays read-only."""

    class Masking(AsyncPersistenceService):
        def _clean(self, record: Any) -> Any:
            return {**record, "notes": "***"}

    seen: list[str] = []

    async def note(operation: Any, call_next: Any) -> Any:
        seen.append(operation.verb)
        return await call_next(operation)

    metrics = Metrics()
    adapter = RecordingAdapter()
    service = Masking(
        adapter, policy=TablePolicy(read={"leads"}, write=frozenset({"leads"})), middleware=[note], metrics=metrics
    ).with_options(deadline_s=2)
    assert (await service.write("leads", {"email": "a", "notes": "secret"}))["notes"] == "***"
    with pytest.raises(TableNotAllowedError):
        await service.write("inquiries", {"body": "b"})
    with pytest.raises(ReadOnlyError):
        getattr(service.readonly().with_options(deadline_s=2), "write")  # noqa: B009
    assert seen == ["write"]
    assert metrics.snapshot()["write"]["leads"]["count"] == 1


@FORMS
async def test_closing_it_closes_nothing(form: Any) -> None:
    """The one it was made of is still in use."""
    adapter = RecordingAdapter()
    service = AsyncPersistenceService(adapter, owns_adapter=True)
    async with form(service).with_options(deadline_s=2) as bounded:
        await bounded.query("leads")
    assert adapter.closed == 0
    await service.aclose()
    assert adapter.closed == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_blocking_verbs_have_it_too() -> None:
    """Agent, façade and service alike."""
    service, adapter = failing()
    agent = sync.PersistenceAgent(PersistenceAgent(service))
    for blocking in (agent, agent.readonly()):
        with pytest.raises(BackendUnavailableError):
            blocking.with_options(retry=False).query("leads")
    assert len(adapter.calls) == 2
    assert type(agent.with_options(deadline_s=1)) is sync.PersistenceAgent
