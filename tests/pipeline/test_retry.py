"""Retry: what may be tried again, when, and what the caller is told in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import pytest

from agent_persistence import (
    AdapterError,
    AuditEvent,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    OutcomeUnknownError,
    OverloadedError,
    RetryPolicy,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.service import AsyncPersistenceService
from tests.doubles import FakeTime, HangingAdapter, RecordingAdapter, shown

pytestmark = pytest.mark.anyio

VERBS: dict[str, tuple[Any, ...]] = {
    "write": ("inquiries", {"email": "a"}),
    "batch_write": ("inquiries", [{"email": "a"}]),
    "upsert": ("inquiries", {"email": "a"}),
    "read": ("leads", "1"),
    "query": ("leads",),
    "get_columns": ("leads",),
}
WRITES = {"write", "batch_write", "upsert"}


def _failures(state: FailureState, count: int = 99, **about: Any) -> list[AdapterError]:
    return [AdapterError(f"failure {number}", state=state, **about) for number in range(1, count + 1)]


def _service(
    failures: Iterable[BaseException | None] | RecordingAdapter,
    clockwork: FakeTime,
    retry: RetryPolicy | bool | None = None,
    audit: Callable[[AuditEvent], None] = lambda event: None,
) -> tuple[AsyncPersistenceService, RecordingAdapter]:
    adapter = failures if isinstance(failures, RecordingAdapter) else RecordingAdapter(failures=failures)
    return AsyncPersistenceService(
        adapter, retry=retry, clock=clockwork.clock, sleep=clockwork.sleep, random=lambda: 1.0, audit=audit
    ), adapter


@pytest.fixture
def clockwork() -> FakeTime:
    return FakeTime()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("state", "tries", "error", "tries_of_a_write", "error_of_a_write"),
    [
        (FailureState.NOT_SENT, 4, BackendUnavailableError, 4, BackendUnavailableError),
        (FailureState.RETRYABLE, 4, BackendUnavailableError, 4, BackendUnavailableError),
        (FailureState.AMBIGUOUS, 4, BackendUnavailableError, 1, OutcomeUnknownError),
        (FailureState.REJECTED, 1, AdapterError, 1, AdapterError),
    ],
)
async def test_the_state_decides_whether_a_verb_is_tried_again(
    state: FailureState,
    tries: int,
    error: type[AdapterError],
    tries_of_a_write: int,
    error_of_a_write: type[AdapterError],
    verb: str,
    clockwork: FakeTime,
) -> None:
    """Nothing applied: try again. Perhaps applied: reads only. Rejected: never. Given up on: a class that says so."""
    service, adapter = _service(_failures(state, status=503, code="57P03"), clockwork)
    with pytest.raises(AdapterError) as caught:
        await getattr(service, verb)(*VERBS[verb])
    expected = (tries_of_a_write, error_of_a_write) if verb in WRITES else (tries, error)
    assert (len(adapter.calls), type(caught.value)) == expected
    assert (caught.value.attempts, caught.value.status, caught.value.code) == (expected[0], 503, "57P03")
    assert len(clockwork.slept_s) == expected[0] - 1


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("failed", [0, 1, 3])
async def test_success_ends_the_retries(verb: str, failed: int, clockwork: FakeTime) -> None:
    """The caller gets the value; the audit is told how often it was tried."""
    events: list[AuditEvent] = []
    service, adapter = _service(_failures(FailureState.RETRYABLE, failed), clockwork, audit=events.append)
    await getattr(service, verb)(*VERBS[verb])
    assert (len(adapter.calls), events[0].outcome, events[0].attempts) == (failed + 1, "ok", failed + 1)


async def test_a_rejection_is_raised_as_itself(clockwork: FakeTime) -> None:
    """The adapter's own error object reaches the caller."""
    failure = ConflictError("taken", constraint="leads_email_key", code="23505")
    service, _ = _service([failure], clockwork)
    with pytest.raises(ConflictError) as caught:
        await service.write("leads", {"email": "a"})
    assert caught.value is failure


async def test_what_is_given_up_has_the_last_failure_as_its_cause(clockwork: FakeTime) -> None:
    """The backend's own words are one `__cause__` away."""
    failures = _failures(FailureState.NOT_SENT)
    service, _ = _service(failures, clockwork)
    with pytest.raises(BackendUnavailableError) as caught:
        await service.query("leads")
    assert caught.value.__cause__ is failures[3]
    assert caught.value.state is FailureState.NOT_SENT


async def test_an_attempt_that_was_lost_leaves_the_outcome_open(clockwork: FakeTime) -> None:
    """A write that was refused, tried again and then lost may have been applied."""
    failures = [*_failures(FailureState.RETRYABLE, 1), *_failures(FailureState.AMBIGUOUS, 1)]
    service, adapter = _service(failures, clockwork)
    with pytest.raises(OutcomeUnknownError) as caught:
        await service.write("inquiries", {"email": "a"})
    assert (caught.value.attempts, len(adapter.calls)) == (2, 2)


async def test_a_conflict_after_a_retry_knows_its_attempts(clockwork: FakeTime) -> None:
    """Attempts are counted in errors of every class."""
    service, _ = _service([*_failures(FailureState.NOT_SENT, 2), ConflictError("taken")], clockwork)
    with pytest.raises(ConflictError) as caught:
        await service.write("leads", {"email": "a"})
    assert caught.value.attempts == 3


async def test_a_local_refusal_is_not_tried_again(clockwork: FakeTime) -> None:
    """OverloadedError asks for less, and trying again would be more."""
    service, adapter = _service([OverloadedError("full")], clockwork)
    with pytest.raises(OverloadedError):
        await service.query("leads")
    assert (len(adapter.calls), clockwork.slept_s) == (1, [])


async def test_pauses_double_up_to_the_cap(clockwork: FakeTime) -> None:
    """Full jitter: `random() * min(cap, base * 2 ** (attempt - 1))`, here with random() = 1."""
    retry = RetryPolicy(attempts=6, base_s=0.1, cap_s=0.5)
    service, _ = _service(_failures(FailureState.RETRYABLE), clockwork, retry)
    with pytest.raises(BackendUnavailableError):
        await service.query("leads")
    assert clockwork.slept_s == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5])


@pytest.mark.parametrize(
    ("retry_after_s", "pauses_s"), [(0.0, [0.1, 0.2, 0.4]), (0.3, [0.3, 0.3, 0.4]), (3600.0, [30.0, 30.0, 30.0])]
)
async def test_a_pause_is_never_shorter_than_the_server_asks(
    retry_after_s: float, pauses_s: list[float], clockwork: FakeTime
) -> None:
    """Retry-After is a lower bound, itself bounded by `retry_after_cap_s`."""
    failures = _failures(FailureState.RETRYABLE, retry_after_s=retry_after_s)
    service, _ = _service(failures, clockwork, RetryPolicy(read_deadline_s=1000))
    with pytest.raises(BackendUnavailableError):
        await service.query("leads")
    assert clockwork.slept_s == pytest.approx(pauses_s)


@pytest.mark.parametrize(("verb", "slept_s"), [("query", 2.0), ("write", 4.0)])
async def test_no_pause_reaches_beyond_the_deadline(verb: str, slept_s: float, clockwork: FakeTime) -> None:
    """A call that could not be tried again in time fails now; reads and writes have deadlines of their own."""
    retry = RetryPolicy(attempts=99, base_s=1, cap_s=1, read_deadline_s=2.5, write_deadline_s=4.5)
    service, _ = _service(_failures(FailureState.RETRYABLE), clockwork, retry)
    with pytest.raises(BackendUnavailableError):
        await getattr(service, verb)(*VERBS[verb])
    assert sum(clockwork.slept_s) == slept_s


@pytest.mark.parametrize("retry", [False, RetryPolicy(attempts=1)], ids=shown)
async def test_retries_can_be_turned_off(retry: RetryPolicy | bool, clockwork: FakeTime) -> None:
    """Then a failure is given up on at once, under the same classes."""
    service, adapter = _service(_failures(FailureState.NOT_SENT), clockwork, retry)
    with pytest.raises(BackendUnavailableError):
        await service.query("leads")
    assert len(adapter.calls) == 1


async def test_cancellation_of_a_second_attempt_is_never_swallowed(clockwork: FakeTime) -> None:
    """Neither taken for a failure nor tried again."""
    adapter = HangingAdapter(failures=_failures(FailureState.NOT_SENT, 1))
    service, _ = _service(adapter, clockwork)
    ended: list[str] = []

    async def call() -> None:
        try:
            await service.query("leads")
        except anyio.get_cancelled_exc_class():
            ended.append("cancelled")
            raise
        ended.append("returned")

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await adapter.hanging.wait()
        group.cancel_scope.cancel()
    assert (ended, len(adapter.calls)) == (["cancelled"], 2)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancelled_asyncio_task_ends_cancelled(clockwork: FakeTime) -> None:
    """Also by asyncio's own means, which do not know scopes."""
    adapter = HangingAdapter(failures=_failures(FailureState.NOT_SENT, 1))
    service, _ = _service(adapter, clockwork)
    task = asyncio.ensure_future(service.query("leads"))
    await adapter.hanging.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(adapter.calls) == 2


async def test_cancellation_of_a_pause_ends_the_call() -> None:
    """No further attempt is made."""
    adapter = RecordingAdapter(failures=_failures(FailureState.NOT_SENT))
    pausing = anyio.Event()

    async def sleep(pause_s: float) -> None:
        pausing.set()
        await anyio.sleep_forever()

    service = AsyncPersistenceService(adapter, sleep=sleep)
    async with anyio.create_task_group() as group:
        group.start_soon(service.query, "leads")
        await pausing.wait()
        group.cancel_scope.cancel()
    assert len(adapter.calls) == 1


async def test_calls_do_not_share_their_attempts(clockwork: FakeTime) -> None:
    """Each call has all of its attempts."""
    service, adapter = _service([*_failures(FailureState.NOT_SENT, 3), None] * 2, clockwork)
    await service.query("leads")
    await service.query("leads")
    assert len(adapter.calls) == 8


class PoolError(AdapterError):
    """An adapter's own class."""


async def test_an_adapters_own_class_of_error_is_judged_by_its_state(clockwork: FakeTime) -> None:
    """The retry layer reads the state and nothing else: a lost answer to a write is an unknown outcome."""
    service, _ = _service([PoolError("lost", state=FailureState.AMBIGUOUS)], clockwork)
    with pytest.raises(OutcomeUnknownError):
        await service.write("inquiries", {"email": "a"})


@pytest.mark.parametrize("verb", ["write", "query"])
async def test_the_servers_hint_survives(verb: str, clockwork: FakeTime) -> None:
    """`.hint` is part of every AdapterError."""
    service, _ = _service(_failures(FailureState.AMBIGUOUS, hint="wait for the restart"), clockwork)
    with pytest.raises(AdapterError) as caught:
        await getattr(service, verb)(*VERBS[verb])
    assert caught.value.hint == "wait for the restart"


def test_the_pause_is_bounded_for_every_attempt() -> None:
    """However many attempts the policy grants."""
    policy = RetryPolicy(attempts=2000, cap_s=0.001)
    assert policy.wait_s(1025, None, lambda: 1.0) == 0.001


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("attempts", 0),
        ("attempts", True),
        ("attempts", 1.5),
        ("base_s", 0),
        ("cap_s", -1),
        ("read_deadline_s", float("nan")),
        ("write_deadline_s", "5"),
        ("retry_after_cap_s", None),
        ("base_s", True),
        ("base_s", float("inf")),
        ("attempt_s", 0),
        ("attempt_s", 0.001),
        ("read_deadline_s", 0.001),
        ("write_deadline_s", -1),
        ("budget", -1),
        ("budget", 1.5),
        ("last_write_wins", "yes"),
    ],
)
def test_a_policy_with_senseless_bounds_is_refused(option: str, value: Any) -> None:
    """At construction, with the name of the option."""
    options = {option: value}
    with pytest.raises(ConfigurationError, match=option):
        RetryPolicy(**options)


@pytest.mark.parametrize("retry", [4, "yes", {"attempts": 2}], ids=shown)
def test_a_retry_argument_is_a_policy_or_a_bool(retry: Any) -> None:
    """Anything else is refused at construction."""
    with pytest.raises(ConfigurationError, match="retry is a RetryPolicy"):
        AsyncPersistenceService(RecordingAdapter(), retry=retry)
