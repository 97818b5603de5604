"""Servers that cannot be reached at all: no name, no listener, no answer to the first packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio
import pytest

from agent_persistence import BackendUnavailableError, OutcomeUnknownError, PersistenceError, RetryPolicy
from agent_persistence.exceptions import FailureState
from agent_persistence.query.records import Row
from tests.faults.backend import Backend
from tests.faults.faults import Cut, Fault, Refused, Swallowed, Unresolved
from tests.faults.lane import HANG_S, Lane, service
from tests.faults.loop import run
from tests.faults.stacks import STACKS, TRANSPORTS, Stack
from tests.faults.verbs import CROWDS, EVERY, VERBS, Verb

AWAY: tuple[Fault, ...] = (Refused(), Unresolved(), Swallowed())
BRIEFLY = RetryPolicy(attempts=3, attempt_s=0.05, base_s=0.001, cap_s=0.001)
LONGER = replace(BRIEFLY, attempt_s=0.5)
"""For requests that are to arrive, however busy the machine is."""
UNTIL_DEADLINE = RetryPolicy(attempts=9, attempt_s=5.0, write_deadline_s=0.5, read_deadline_s=0.1)


@dataclass(frozen=True)
class Called:
    """How one call ended, what arrived at the proxy, and the rows afterwards."""

    error: PersistenceError | None
    pauses: int
    requests: int
    rows: list[Row]


async def _called(verb: Verb, faults: Sequence[Fault], stack: Stack, retry: RetryPolicy) -> Called:
    backend, error, pauses = Backend(), None, 0
    async with Lane.open(backend, backend, stack=stack) as lane:

        async def sleep(pause_s: float) -> None:
            nonlocal pauses
            pauses += 1
            await lane.proxy.next_attempt()

        await backend.reset(verb.table, list(verb.seed))
        await lane.proxy.arm(*faults)
        try:
            with anyio.fail_after(HANG_S):
                await verb.call(service(lane.adapter, verb, retry, sleep=sleep, coalesce=stack.coalesce))
        except PersistenceError as raised:
            error = raised
        return Called(error, pauses, lane.proxy.requests, await backend.rows(verb.table))


def called(verb: str, *faults: Fault, stack: Stack, retry: RetryPolicy = BRIEFLY) -> Called:
    """What came of a call behind a proxy that is armed with these faults."""
    return run(_called(EVERY[verb], faults, stack, retry))


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("fault", AWAY, ids=str)
@pytest.mark.parametrize("verb", ["write", "update by key", "read"])
def test_who_cannot_be_reached_is_given_up_on_with_nothing_sent(verb: str, fault: Fault, stack: Stack) -> None:
    """It is tried as often as the policy says, and the error denies that anything was applied."""
    found = called(verb, *[fault] * 9, stack=stack)
    assert type(found.error) is BackendUnavailableError
    assert found.error.state is FailureState.NOT_SENT
    assert (found.error.attempts, found.pauses, found.requests) == (3, 2, 0)
    assert found.rows == list(VERBS[verb].seed)


@pytest.mark.parametrize("stack", TRANSPORTS, ids=str)
@pytest.mark.parametrize("verb", ["write", "update by key", "read"])
def test_a_deadline_that_passes_while_connecting_leaves_nothing_in_doubt(verb: str, stack: Stack) -> None:
    """The first packet of the connection is all that left."""
    found = called(verb, Swallowed(), stack=stack, retry=UNTIL_DEADLINE)
    assert type(found.error) is BackendUnavailableError
    assert (found.error.state, found.requests) == (FailureState.NOT_SENT, 0)


@pytest.mark.parametrize("stack", TRANSPORTS, ids=str)
def test_a_deadline_that_passes_after_connecting_does(stack: Stack) -> None:
    """Control: one byte of the request has arrived, and the call does not claim to know what became of it."""
    found = called("write", Cut("request", 1, "blackhole"), stack=stack, retry=UNTIL_DEADLINE)
    assert type(found.error) is OutcomeUnknownError
    assert found.requests == 1


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("fault", AWAY, ids=str)
def test_who_is_back_is_reached(fault: Fault, stack: Stack) -> None:
    """Control: the same server, away for two attempts, gets the third."""
    found = called("write", fault, fault, stack=stack, retry=LONGER)
    assert (found.error, found.pauses, found.requests, len(found.rows)) == (None, 2, 1, 1)


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("crowd", CROWDS)
def test_calls_at_once_are_one_request_where_the_service_coalesces(crowd: str, stack: Stack) -> None:
    """Control: what befalls that request befalls all of them."""
    assert called(crowd, stack=stack, retry=LONGER).requests == (1 if stack.coalesce else len(CROWDS[crowd].each))
