"""A unit as one call: one identity, one deadline, retried as a whole, on either event loop."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    AuditEvent,
    AuditLog,
    BackendUnavailableError,
    InMemoryAdapter,
    Operation,
    OutcomeUnknownError,
    PostgresAdapter,
    Result,
    RetryPolicy,
    verify_audit_log,
)
from agent_persistence.context import CallContext
from agent_persistence.exceptions import FailureState
from agent_persistence.metrics import Metrics
from agent_persistence.operations import Unit
from agent_persistence.schema.registry import default_schema
from tests.server import LocalServer
from tests.units.conftest import POLICY

pytestmark = pytest.mark.anyio


class Failing(InMemoryAdapter):
    """Carries units out, and loses the first answers, or does so before it has carried anything out."""

    def __init__(self, *, times: int, state: FailureState) -> None:
        super().__init__(schema=default_schema())
        self.times = times
        self.state = state
        self.keys: list[str | None] = []

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        if isinstance(operation, Unit):
            self.keys.append(operation.key)
        failing = len(self.keys) <= self.times
        if failing and self.state is not FailureState.AMBIGUOUS:
            raise AdapterError("not now", state=self.state)
        result = await super().execute(operation, context)
        if failing and isinstance(operation, Unit):
            raise AdapterError("the connection broke", state=self.state)
        return result


async def _no_pause(pause_s: float) -> None:
    """A pause that does not last."""


def _service(adapter: Any, **options: Any) -> AsyncPersistenceService:
    return AsyncPersistenceService(adapter, policy=POLICY, sleep=_no_pause, metrics=Metrics(), log=False, **options)


async def _committed(service: AsyncPersistenceService) -> Any:
    unit = service.unit_of_work()
    note = unit.write("inquiries", {"body": "a"})
    unit.update("inquiries", {"handled": True}, {"body": "a"}, expect=1)
    results = await unit.commit()
    return results[note], results.attempts


@pytest.mark.parametrize("state", [FailureState.AMBIGUOUS, FailureState.RETRYABLE, FailureState.NOT_SENT])
async def test_it_is_retried_as_a_whole_under_one_key(state: FailureState) -> None:
    """Two failures, one key, one row; the attempts are told."""
    adapter = Failing(times=2, state=state)
    service = _service(adapter)
    _, attempts = await _committed(service)
    assert (attempts, len(set(adapter.keys)), await service.count("inquiries")) == (3, 1, 1)


@pytest.mark.parametrize(
    ("state", "error"),
    [(FailureState.AMBIGUOUS, OutcomeUnknownError), (FailureState.RETRYABLE, BackendUnavailableError)],
)
async def test_what_is_given_up_on_can_be_committed_again(state: FailureState, error: type[AdapterError]) -> None:
    """Under the same key: it is applied once, whatever had become of it."""
    adapter = Failing(times=4, state=state)
    service = _service(adapter)
    unit = service.unit_of_work()
    note = unit.write("inquiries", {"body": "a"})
    with pytest.raises(error) as given_up:
        await unit.commit()
    assert getattr(given_up.value, "key", adapter.keys[0]) == adapter.keys[0]
    assert (await unit.commit())[note]["body"] == "a"
    assert (len(set(adapter.keys)), await service.count("inquiries")) == (1, 1)


async def test_one_deadline_holds_for_all() -> None:
    """However many operations there are."""

    class Hanging(InMemoryAdapter):
        async def execute(self, operation: Operation, context: CallContext) -> Result:
            await anyio.sleep_forever()
            raise AssertionError

    service = _service(Hanging(), retry=RetryPolicy(attempts=1)).with_options(deadline_s=0.05)
    unit = service.unit_of_work()
    for number in range(20):
        unit.write("inquiries", {"body": str(number)})
    with anyio.fail_after(5), pytest.raises(OutcomeUnknownError):
        await unit.commit()


async def test_a_cancelled_commit_ends_its_operations() -> None:
    """Each is told to the audit hooks as unknown, and nothing is left behind."""

    class Waiting(InMemoryAdapter):
        begun: anyio.Event

        async def execute(self, operation: Operation, context: CallContext) -> Result:
            self.begun.set()
            await anyio.sleep_forever()
            raise AssertionError

    events: list[AuditEvent] = []
    adapter = Waiting()
    adapter.begun = anyio.Event()
    service = _service(adapter, audit=events.append)
    unit = service.unit_of_work()
    unit.write("inquiries", {"body": "a"})
    unit.write("inquiries", {"body": "b"})
    async with anyio.create_task_group() as group:
        group.start_soon(unit.commit)
        await adapter.begun.wait()
        group.cancel_scope.cancel()
    assert [event.outcome for event in events] == ["unknown", "unknown"]


async def test_the_audit_log_has_one_line_an_operation(tmp_path: Path) -> None:
    """Which verify, and say which unit they are of."""
    path, key = tmp_path / "audit.jsonl", "k" * 64
    await _committed(_service(InMemoryAdapter(schema=default_schema()), audit=AuditLog(path, key)))
    units = [line.partition('"unit":"')[2][:36] for line in path.read_text().splitlines() if '"event"' in line]
    report = verify_audit_log(path, key)
    assert (len(units), len({*units}), report.ok, report.entries) == (2, 1, True, 2)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_user_is_asked_for_once(units_server: LocalServer) -> None:
    """All operations run as who asks when it is committed, and only as that."""
    asked: list[str] = []

    def claims() -> dict[str, str]:
        asked.append("00000000-0000-0000-0000-00000000000a")
        return {"role": "authenticated", "sub": asked[-1]}

    adapter = PostgresAdapter(units_server.database_url, claims=claims)
    async with _service(adapter, owns_adapter=True, ledger=True) as service:
        await _committed(service)
        assert len(asked) == 1
    (entry,) = units_server.execute("select owner from agent_persistence.ledger")
    assert entry["owner"] == f"authenticated {asked[0]}"
