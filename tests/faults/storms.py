"""Many calls that give up early, and many callers while nothing answers.

A storm of deadlines must leave every connection usable; in an outage all callers together must not send much more than
one request each.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import anyio

from agent_persistence import AsyncPersistenceService, OutcomeUnknownError, PersistenceError, RetryPolicy
from agent_persistence.policy.retry import LEAST_DEADLINE_S
from tests.backends.stub_server import answer
from tests.faults.backend import Backend, Fate
from tests.faults.judge import SLACK_S
from tests.faults.lane import Lane, service
from tests.faults.soak_server import Ledger
from tests.faults.stacks import Stack
from tests.faults.verbs import VERBS

IMPATIENT: Final = 40
PATIENCE_S: Final = 0.03
NEXT: Final = 100
MOST_TRIES: Final = 1.1
MOST_KIB_A_CALLER: Final = 32


@dataclass(frozen=True)
class Storm:
    """Tasks wrote with 0 to 30 ms for most calls; `passed` of the next hundred calls passed. `leaked` is what is wrong
    with the slots and connections afterwards."""

    stack: str
    seconds: float
    calls: int
    acknowledged: int
    lost: int
    duplicated: int
    passed: int
    leaked: str | None

    @property
    def holds(self) -> bool:
        whole = not (self.lost or self.duplicated or self.leaked)
        return whole and self.acknowledged > 0 and self.passed == NEXT

    def line(self) -> str:
        return (
            f"storm of deadlines, {self.stack}: {self.calls:,} writes, most within 0 to {PATIENCE_S * 1000:.0f} ms, in"
            f" {self.seconds:.0f} s: {self.acknowledged:,} acknowledged, {self.lost} lost, {self.duplicated} doubled,"
            f" {self.leaked or 'nothing leaked'}; of the next {NEXT} calls {self.passed} passed"
        )


@dataclass(frozen=True)
class Outage:
    """So many callers at once wrote to a server that was away. `overrun_s` is by how much the slowest of them outlived
    its deadline; memory is what the process grew by, at its peak."""

    stack: str
    kind: str
    callers: int
    tries: int
    told: dict[str, int]
    seconds: float
    overrun_s: float
    grown_mib: float

    @property
    def holds(self) -> bool:
        bounded = self.grown_mib * 1024 <= MOST_KIB_A_CALLER * self.callers
        return self.tries <= MOST_TRIES * self.callers and self.overrun_s <= SLACK_S and bounded

    def line(self) -> str:
        told = ", ".join(f"{count:,} {name}" for name, count in self.told.items())
        return (
            f"outage, {self.stack}, {self.kind}: {self.callers:,} callers, {self.tries / self.callers:.3f} tries each,"
            f" {told}, in {self.seconds:.1f} s, the slowest {-self.overrun_s:.2f} s before its deadline;"
            f" {self.grown_mib:.1f} MiB more at the peak"
        )


async def storm(stack: Stack, seconds: float, seed: int) -> Storm:
    """Let tasks write for so many seconds, half of the calls cancelled early, half under a short deadline; one in
    twenty may take its time."""
    ledger, backend, random = Ledger(), Backend(), Random(seed)
    acknowledged: set[str] = set()
    calls = 0
    until_s = anyio.current_time() + seconds

    async def impatient(agent: AsyncPersistenceService) -> None:
        nonlocal calls
        while anyio.current_time() < until_s:
            calls += 1
            number, patience_s = str(calls), random.uniform(0, PATIENCE_S)
            bounded = agent.with_options(deadline_s=max(LEAST_DEADLINE_S, patience_s))
            caller, cancelled_s = ((agent, patience_s), (bounded, None), (agent, None))[_kind(calls)]
            with anyio.move_on_after(cancelled_s):
                if await _told(caller, number) == "acknowledged":
                    acknowledged.add(number)

    async with Lane.open(backend, backend, stack=stack) as lane:
        lane.proxy.upstream = ledger
        agent = _agent(lane, RetryPolicy())
        async with asyncio.TaskGroup() as group:
            for _ in range(IMPATIENT):
                group.create_task(impatient(agent))
        passed = [await _told(agent, "0") for _ in range(NEXT)].count("acknowledged")
        await lane.proxy.settled()
        lane.proxy.upstream = backend
        leaked = await lane.full_house() or await lane.closed()
    times = Counter(ledger.numbers.values())
    return Storm(
        stack=str(stack),
        seconds=seconds,
        calls=calls,
        acknowledged=len(acknowledged),
        lost=len(acknowledged - times.keys()),
        duplicated=sum(count > 1 for number, count in times.items() if number != "0"),
        passed=passed,
        leaked=leaked,
    )


def _kind(call: int) -> int:
    return 2 if call % 20 == 1 else call % 2


class Down:
    """A gateway whose server is away."""

    async def answer(self, raw: bytes, fate: Fate | None = None) -> bytes:
        return answer(b"<html>bad gateway</html>", status=502, headers={"Content-Type": "text/html"})


async def outage(stack: Stack, callers: int, *, refused: bool) -> Outage:
    """Let so many callers write at once while connections are refused, or while a gateway answers 502."""
    backend, policy, pauses = Backend(), RetryPolicy(), 0
    told: Counter[str] = Counter()
    elapsed_s: list[float] = []

    async def sleep(pause_s: float) -> None:
        nonlocal pauses
        pauses += 1
        await anyio.sleep(pause_s)

    async def write(agent: AsyncPersistenceService) -> None:
        begun_s = anyio.current_time()
        told[await _told(agent, "0")] += 1
        elapsed_s.append(anyio.current_time() - begun_s)

    before_mib = _peak_mib()
    async with Lane.open(backend, backend, stack=stack) as lane:
        lane.proxy.upstream = Down()
        if refused:
            lane.proxy.refuse()
        agent = _agent(lane, policy, sleep=sleep)
        start_s = anyio.current_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(write(agent))
        seconds = anyio.current_time() - start_s
        tries = callers + pauses
    return Outage(
        stack=str(stack),
        kind="connections refused" if refused else "502 by a gateway",
        callers=callers,
        tries=tries if refused else max(tries, lane.proxy.requests),
        told=dict(told),
        seconds=seconds,
        overrun_s=max(elapsed_s) - policy.write_deadline_s,
        grown_mib=_peak_mib() - before_mib,
    )


def _agent(lane: Lane, retry: RetryPolicy, **options: Any) -> AsyncPersistenceService:
    return service(lane.adapter, VERBS["write"], retry, coalesce=lane.stack.coalesce, **options)


async def _told(agent: AsyncPersistenceService, number: str) -> str:
    try:
        await agent.write("conversations", {"subject": number})
    except OutcomeUnknownError:
        return "unknown"
    except PersistenceError:
        return "refused"
    return "acknowledged"


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
