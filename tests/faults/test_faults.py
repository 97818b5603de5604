"""A sample of the fault cases: whatever befalls a call, its write is there once if it was acknowledged."""

from __future__ import annotations

from random import Random

import pytest

from agent_persistence.backends.postgrest.expected import ExpectedRows
from agent_persistence.backends.transport.connections import HttpPool
from tests.faults.blind import BLIND_VERBS, blind
from tests.faults.cases import ANSWERED_AGAIN, Case, Sizes, cuts, others, pairs, sample, singles
from tests.faults.faults import (
    AnsweredForAnother,
    AnsweredTwice,
    Dropped,
    Fault,
    HeldUncommitted,
    IdleClosed,
    LookUpFails,
    Refused,
    Swallowed,
    Unresolved,
)
from tests.faults.judge import Scores
from tests.faults.lane import ATTEMPT_S, MakeClient, patient, protocol
from tests.faults.loop import run
from tests.faults.runs import measured, run_cases
from tests.faults.stacks import COALESCING, HTTPTOOLS, HTTPX, TRANSPORTS, Stack
from tests.faults.verbs import CROWDS, VERBS

CASES_A_VERB = {HTTPX: 80, HTTPTOOLS: 50}
CASES_A_CROWD = 50
PAIRS = 500
SEED = 20260301


@pytest.fixture(scope="module")
def sizes() -> Sizes:
    """The bytes of every verb's request and response."""
    return run(measured())


def scored(cases: list[Case], make_client: MakeClient = protocol) -> Scores:
    """The scores of the cases; what they took is judged where the policy has the judge's deadline."""
    return run(run_cases(cases, timed=make_client is protocol, make_client=make_client))


def shown(scores: Scores) -> list[str]:
    return [str(finding)[:600] for finding in scores.findings]


@pytest.mark.parametrize("stack", TRANSPORTS, ids=str)
@pytest.mark.parametrize("verb", VERBS)
def test_a_fault_neither_loses_nor_doubles_anything(verb: str, stack: Stack, sizes: Sizes) -> None:
    """Acknowledged is there once, refused is not there, unknown is there at most once; and the next call works."""
    cases = sample(list(singles(sizes, ATTEMPT_S, verbs=[verb], stacks=[stack])), CASES_A_VERB[stack], Random(SEED))
    assert shown(scored(cases)) == []


@pytest.mark.parametrize("stack", COALESCING, ids=str)
@pytest.mark.parametrize("crowd", CROWDS)
def test_nor_does_one_that_befalls_a_shared_request(crowd: str, stack: Stack, sizes: Sizes) -> None:
    """The same holds for each of the calls that went as one."""
    cases = sample(list(singles(sizes, ATTEMPT_S, verbs=[crowd], stacks=[stack])), CASES_A_CROWD, Random(SEED))
    assert shown(scored(cases)) == []


def test_what_something_between_muddles_neither_loses_nor_doubles_anything(sizes: Sizes) -> None:
    """Answers that come twice or are another call's, rows that are dropped, and look-ups that fail: every case of them,
    over every stack, alone and shared."""
    kinds = (AnsweredTwice, AnsweredForAnother, Dropped, LookUpFails)
    cases = [case for case in singles(sizes, ATTEMPT_S) if isinstance(case.first, kinds)]
    assert {type(case.first) for case in cases} == {*kinds}
    assert shown(scored(cases)) == []


def test_an_adapter_that_looks_at_no_key_is_caught(sizes: Sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: taken as they come, the answers of other calls lose rows and are returned as one's own."""
    monkeypatch.setattr(ExpectedRows, "_kept", lambda *given: {})
    cases = [case for case in singles(sizes, ATTEMPT_S, stacks=[HTTPX]) if isinstance(case.first, AnsweredForAnother)]
    total = scored(cases).total
    assert total["lost"] > 0
    assert total["wrong"] > 0


def looked_for_twice(stack: Stack) -> list[Case]:
    """A merge that is not applied, whose look-up is answered again when it is sent once more."""
    verb = VERBS["upsert, merging"]
    lost = [fault for fault in others(verb, ATTEMPT_S) if "before the commit" in str(fault)]
    return [Case(verb.name, fault, ANSWERED_AGAIN, stack) for fault in lost]


@pytest.mark.parametrize("stack", TRANSPORTS, ids=str)
def test_the_second_answer_to_a_look_up_is_not_taken_for_that_to_the_merge(stack: Stack) -> None:
    """The row that comes back is the one that is stored, not the one that was there before."""
    assert shown(scored(looked_for_twice(stack))) == []


def test_reads_and_writes_that_share_connections_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: where they do, the row of the look-up is returned as that of the merge, whose key it has."""
    monkeypatch.setattr(HttpPool, "_kind", lambda *given: "any")
    assert scored(looked_for_twice(HTTPX)).total["wrong"] > 0


def test_two_faults_in_a_row_neither_lose_nor_double_anything(sizes: Sizes) -> None:
    """The same with a fault on the second attempt too."""
    assert shown(scored(list(pairs(sizes, ATTEMPT_S, PAIRS, Random(SEED))))) == []


def test_a_client_that_retries_blindly_is_caught(sizes: Sizes) -> None:
    """Control: without a key the same faults make duplicates, and the judge sees them."""
    cases = sample(list(singles(sizes, ATTEMPT_S, verbs=BLIND_VERBS, stacks=[HTTPX])), 300, Random(SEED))
    total = scored(cases, blind).total
    assert total["cases"] == 300
    assert total["duplicated"] > 10


def acknowledged(cases: list[Case]) -> bool:
    """Whether every one of the cases is, if it may take its time; and nothing is wrong."""
    scores = scored(cases, patient)
    assert shown(scores) == []
    return scores.total["acknowledged"] == len(cases)


SUCCEEDING = [name for name, verb in VERBS.items() if verb.succeeds]


def test_what_was_cut_is_acknowledged_in_the_end(sizes: Sizes) -> None:
    """The protocol does not merely give up: whatever is cut off, asking again tells the outcome."""
    verbs = [name for name in SUCCEEDING if not VERBS[name].cautious]
    assert acknowledged([Case(name, fault) for name in verbs for fault in list(cuts(*sizes[HTTPX, name]))[::67]])


@pytest.mark.parametrize("fault", [HeldUncommitted("commits"), HeldUncommitted("rolls back")], ids=str)
def test_a_retry_waits_for_the_statement_that_it_repeats(fault: Fault) -> None:
    """While the first INSERT is uncommitted the second waits; whichever ends it, there is one row, acknowledged."""
    assert acknowledged([Case(name, fault) for name in ("write", "write, key given", "batch_write")])


@pytest.mark.parametrize("stack", TRANSPORTS, ids=str)
@pytest.mark.parametrize("fault", [Refused(), Unresolved(), Swallowed()], ids=str)
def test_a_server_that_is_away_for_a_moment_is_waited_for(fault: Fault, stack: Stack) -> None:
    """What could not even be connected is tried again, whatever the verb: nothing was sent."""
    assert acknowledged([Case(name, fault, fault, stack) for name in SUCCEEDING])


@pytest.mark.parametrize("fault", [IdleClosed("FIN"), IdleClosed("RST")], ids=str)
def test_a_connection_that_ended_while_it_was_idle_costs_nothing(fault: Fault) -> None:
    """The request is sent on another, and nothing is in doubt. The first case opens the connection that ends."""
    assert acknowledged([Case(name, fault) for name in SUCCEEDING for _ in range(2)])
