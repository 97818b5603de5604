"""The REST process killed, and PostgreSQL's backends terminated, in the middle of a write; with SQL as the judge."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from agent_persistence import AsyncPersistenceService
from tests.faults.backend import Fate
from tests.faults.blind import blind
from tests.faults.cases import Case
from tests.faults.faults import Fault
from tests.faults.judge import Scores
from tests.faults.lane import PATIENT_POLICY, Lane, MakeClient, service, under
from tests.faults.loop import run
from tests.faults.machine import Killed, Machine, Terminated
from tests.faults.sql import SqlStore
from tests.faults.stacks import HTTPTOOLS, HTTPX, TRANSPORTS, Stack
from tests.faults.verbs import VERBS
from tests.server import LocalServer

ANOTHER_STARTS = replace(PATIENT_POLICY, attempt_s=12.0, write_deadline_s=14.0, budget=10**6)
MANY, ROWS = 8, 40

patient: MakeClient = under(ANOTHER_STARTS)
MakeFault = Callable[[Machine], Fault]
killed_before: MakeFault = partial(Killed, when="before")
killed_after: MakeFault = partial(Killed, when="after")


@pytest.fixture(scope="module")
def machine(local_server: LocalServer) -> Iterator[Machine]:
    """A REST process that may be killed."""
    with Machine.before(local_server) as machine:
        yield machine


async def _scored(
    server: LocalServer, machine: Machine, verb: str, fault: Fault, stack: Stack, make_client: MakeClient
) -> Scores:
    scores = Scores()
    opened = Lane.open(machine, SqlStore(server), stack=stack, key=server.service_key, make_client=make_client)
    async with opened as lane:
        await lane.run(Case(verb, fault, stack=stack), scores)
        await lane.store.reset("conversations", [])
    return scores


def scored(
    server: LocalServer,
    machine: Machine,
    verb: str,
    fault: Fault,
    *,
    stack: Stack = HTTPX,
    make_client: MakeClient = patient,
) -> Scores:
    """The scores of one case before the real server."""
    return run(_scored(server, machine, verb, fault, stack, make_client))


def shown(scores: Scores) -> list[str]:
    return [str(finding)[:600] for finding in scores.findings]


@pytest.mark.parametrize(
    ("verb", "make_fault", "stack"),
    [
        *(("batch_write", make_fault, stack) for make_fault in (killed_before, killed_after) for stack in TRANSPORTS),
        ("upsert, merging", killed_before, HTTPX),
        ("update by key", killed_after, HTTPX),
    ],
)
def test_a_server_killed_in_mid_write_costs_nothing(
    verb: str, make_fault: MakeFault, stack: Stack, server: LocalServer, machine: Machine
) -> None:
    """Before the commit PostgreSQL rolls back, after it the rows are there: sent to the next process, all are there
    once."""
    scores = scored(server, machine, verb, make_fault(machine), stack=stack)
    assert (shown(scores), scores.total["acknowledged"]) == ([], 1)


def test_a_client_that_retries_blindly_doubles_what_was_committed(server: LocalServer, machine: Machine) -> None:
    """Control: the batch was applied before the process was killed."""
    patiently = partial(blind, attempt_s=ANOTHER_STARTS.attempt_s)
    scores = scored(server, machine, "batch_write", killed_after(machine), make_client=patiently)
    assert scores.total["duplicated"] == 1


@pytest.mark.parametrize(
    ("verb", "stack"),
    [
        *((name, HTTPX) for name, verb in VERBS.items() if verb.kind != "read" and verb.succeeds and not verb.cautious),
        ("batch_write", HTTPTOOLS),
    ],
)
def test_a_backend_terminated_in_mid_write_costs_nothing(
    verb: str, stack: Stack, server: LocalServer, machine: Machine
) -> None:
    """The server says that its connection broke, which tells nothing; what is sent again is there once."""
    scores = scored(server, machine, verb, Terminated(machine), stack=stack)
    assert (shown(scores), scores.total["acknowledged"]) == ([], 1)


class Doomed:
    """Passes requests on until so many have been answered; then disaster strikes, and the last answer is lost."""

    def __init__(self, machine: Machine, disaster: Callable[[], Awaitable[None]], after: int) -> None:
        self._machine = machine
        self._disaster = disaster
        self._left = after

    async def answer(self, raw: bytes, fate: Fate | None = None) -> bytes:
        response = await self._machine.answer(raw, fate)
        self._left -= 1
        if not self._left:
            await self._disaster()
            raise EOFError("the answer went down with the server")
        return response


async def _batches(service: AsyncPersistenceService) -> list[list[str]]:
    """The keys of many batches written at once, each marked with its number."""
    records = [[{"subject": f"{number}", "channel": f"{place}"} for place in range(ROWS)] for number in range(MANY)]
    written = await asyncio.gather(*(service.batch_write("conversations", batch) for batch in records))
    return [[row["id"] for row in rows] for rows in written]


@pytest.mark.parametrize("disaster", ["restart", "terminate"])
def test_of_many_batches_under_way_each_is_there_whole_and_once(
    disaster: str, server: LocalServer, machine: Machine
) -> None:
    """Whether a batch was waiting, running or committed when the process was killed or those in a transaction were
    ended."""
    server.execute("delete from conversations")

    async def main() -> list[list[str]]:
        doomed = Doomed(machine, getattr(machine, disaster), after=MANY // 3)
        async with Lane.open(doomed, SqlStore(server), key=server.service_key) as lane:
            policy = replace(ANOTHER_STARTS, attempts=100, base_s=0.05, cap_s=0.2)
            return await _batches(service(lane.adapter, VERBS["batch_write"], policy))

    acknowledged = run(main())
    stored = server.execute("select id::text, subject from conversations")
    assert Counter(row["subject"] for row in stored) == {str(number): ROWS for number in range(MANY)}
    assert sorted(row["id"] for row in stored) == sorted(key for keys in acknowledged for key in keys)
