"""Units of work, and single writes that the ledger makes into one, under faults, with SQL as the judge.

`python -m tests.units.faults --cases 3000` runs so many over PostgREST and half as many over PostgreSQL, and prints the
scores. `many_faults` runs many more before a model of the server.
"""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final

import anyio

from agent_persistence import (
    AsyncPersistenceService,
    OutcomeUnknownError,
    PostgresAdapter,
    RetryPolicy,
    SupabaseAdapter,
)
from agent_persistence.adapters.supabase import Transport
from agent_persistence.metrics import Metrics
from tests.backends.pg_proxies import Relay as BytesRelay, listening, through
from tests.faults.answers import ANSWERS
from tests.faults.cases import cuts
from tests.faults.faults import (
    Answered,
    AnsweredForAnother,
    AnsweredTwice,
    Cut,
    Delayed,
    Dribbled,
    Fault,
    HalfClosed,
    IdleClosed,
    Mangled,
    Refused,
)
from tests.faults.loop import run
from tests.faults.manglers import MANGLERS
from tests.faults.proxy import Proxy, Upstream
from tests.faults.sql import relay
from tests.server import LocalServer, running_server
from tests.units.called import CALLS, POLICY, TORN, Call
from tests.units.conftest import install
from tests.units.stores import SqlStore, Store

RETRY: Final = RetryPolicy(
    attempts=10, base_s=0.001, cap_s=0.01, attempt_s=2.0, read_deadline_s=60.0, write_deadline_s=60.0
)


class Judge:
    """Runs a call on rows of its own, and compares what it told with what is there."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.scores: Counter[str] = Counter()
        self.findings: list[str] = []
        self._number = 0

    def seeded(self, call: Call) -> str:
        """The mark of the rows of the next case."""
        self._number += 1
        mark = f"case {self._number} of {call.name}"
        call.seed(self.store, mark)
        return mark

    def judge(self, call: Call, mark: str, told: Any, about: object) -> None:
        """`told` is what the call returned, or the error that it raised."""
        applied = call.effect(self.store, mark)
        acknowledged = not isinstance(told, BaseException)
        kind = "acknowledged" if acknowledged else "unknown" if isinstance(told, OutcomeUnknownError) else "refused"
        self.scores.update(["cases", kind])
        wrong = {
            "torn": applied == TORN,
            "doubled": applied > 1,
            "lost": acknowledged and applied == 0,
            "applied though refused": kind == "refused" and applied > 0,
            "wrong": acknowledged and not call.right(told),
        }
        for name, holds in wrong.items():
            if holds:
                self.scores[name] += 1
                self.findings.append(f"{call.name}, {about}: {name}, {applied} times; {told!r}")


def service_over(
    adapter: SupabaseAdapter | PostgresAdapter,
    retry: RetryPolicy,
    sleep: Callable[[float], Awaitable[None]],
    *,
    ledger: bool,
) -> AsyncPersistenceService:
    return AsyncPersistenceService(
        adapter,
        policy=POLICY,
        retry=retry,
        metrics=Metrics(),
        log=False,
        row_cap=1000,
        ledger=ledger,
        sleep=sleep,
        owns_adapter=True,
    )


async def _told(work: Awaitable[Any]) -> Any:
    try:
        with anyio.fail_after(60):
            return await work
    except Exception as error:  # whatever it is, it is judged
        return error


# --- PostgREST --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def before(
    upstream: Upstream,
    key: str,
    *,
    ledger: bool = True,
    retry: RetryPolicy = RETRY,
    adapter: type[SupabaseAdapter] = SupabaseAdapter,
    transport: Transport = "auto",
) -> AsyncIterator[tuple[Proxy, AsyncPersistenceService]]:
    """A service before a proxy that prepares the next fault between two attempts."""
    async with Proxy.before(upstream) as proxy:

        async def sleep(pause_s: float) -> None:
            await proxy.next_attempt()
            await asyncio.sleep(pause_s)

        made = adapter(proxy.named_url, key, transport=transport)
        async with service_over(made, retry, sleep, ledger=ledger) as service:
            yield proxy, service


def transient(request_bytes: int, response_bytes: int, attempt_s: float) -> Iterator[Fault]:
    """Every fault after which asking again helps: none that lies about what it refuses or applies, which nobody sees
    through, and no refusal of the request itself."""
    for fault in _every(request_bytes, response_bytes, attempt_s):
        refuses = isinstance(fault, Answered) and ANSWERS[fault.name].says == "rejected"
        if not (fault.denies or fault.claims or refuses):
            yield fault


def _every(request_bytes: int, response_bytes: int, attempt_s: float) -> Iterator[Fault]:
    yield from cuts(request_bytes, response_bytes)
    for name in ANSWERS:
        yield from (Answered(name, "before"), Answered(name, "after"))
    yield from map(Mangled, MANGLERS)
    yield from (Dribbled(0.0), HalfClosed(), Refused(), IdleClosed("FIN"), IdleClosed("RST"), AnsweredTwice(0.01))
    yield from (Delayed(part, attempt_s * 1.2) for part in ("request", "response"))
    yield from (AnsweredForAnother("before"), AnsweredForAnother("after"))


async def measured(judge: Judge, call: Call, proxy: Proxy, service: AsyncPersistenceService) -> tuple[int, int]:
    """The bytes of the call's request and response."""
    told = await _told(call.call(service, judge.seeded(call)))
    assert call.right(told), told
    return proxy.sizes


async def befallen(
    judge: Judge, call: Call, faults: Sequence[Fault], proxy: Proxy, service: AsyncPersistenceService
) -> None:
    """The call, whose first attempts these faults befall, and what became of it."""
    mark = judge.seeded(call)
    await proxy.arm(*faults)
    told = await _told(call.call(service, mark))
    await proxy.arm()
    await proxy.settled()
    judge.judge(call, mark, told, "; ".join(map(str, faults)))


async def http_cases(
    judge: Judge, server: LocalServer, name: str, count: int, random: Random, *, ledger: bool = True
) -> None:
    """So many cases of the call, half of them no cuts, one in four of two faults."""
    call = CALLS[name]
    async with before(relay(server.url), server.service_key, ledger=ledger) as (proxy, service):
        every = [*transient(*await measured(judge, call, proxy, service), RETRY.attempt_s)]
        others = [fault for fault in every if not isinstance(fault, Cut)]
        some = random.sample(others, min(len(others), count // 2))
        often = [fault for fault in every if isinstance(fault, Cut)]
        for number, fault in enumerate(some + random.sample(often, min(len(often), count - len(some)))):
            faults = (fault,) if number % 4 else (fault, random.choice(others))
            await befallen(judge, call, faults, proxy, service)


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


async def postgres_cases(
    judge: Judge, server: LocalServer, name: str, count: int, random: Random, *, ledger: bool = True
) -> None:
    """So many cuts of the call's bytes, either way, one in four followed by another one."""
    call = CALLS[name]

    async def at_once(pause_s: float) -> None:
        """A pause that does not last."""

    wire = BytesRelay(server.database_url)
    async with listening(wire.handle) as port:
        adapter = PostgresAdapter(through(server.database_url, port), role="service_role", max_connections=1)
        async with service_over(adapter, replace(RETRY, attempt_s=10.0), at_once, ledger=ledger) as service:
            for _ in range(2):  # what is learnt once is learnt
                mark = judge.seeded(call)
                wire.arm()
                await call.call(service, mark)
            sizes = dict(wire.passed)
            for number in range(count):
                way = ("request", "response")[number % 2]
                place = random.randrange(1, sizes[way])
                mark = judge.seeded(call)
                wire.arm(**{f"{way}_bytes": place}, cuts=2 if number % 4 == 0 else 1)
                told = await _told(call.call(service, mark))
                wire.arm()
                await _idle(server)
                judge.judge(call, mark, told, f"{way} cut at byte {place}")


async def _idle(server: LocalServer) -> None:
    """No session of the adapter has a transaction under way."""
    asked = "select 1 from pg_stat_activity where application_name like 'agent-persistence%' and state <> 'idle'"
    while await asyncio.to_thread(server.execute, asked):
        pass


async def _all(server: LocalServer, judge: Judge, count: int, seed: int) -> None:
    for over, cases, share in (("PostgREST", http_cases, 1), ("PostgreSQL", postgres_cases, 2)):
        for name in CALLS:
            judge.store.reset()
            await cases(judge, server, name, count // share // len(CALLS), Random(seed))
            print(f"{over}, {name}: {dict(judge.scores)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=20261129)
    given = parser.parse_args()
    with running_server() as server:
        install(server)
        judge = Judge(SqlStore(server))
        run(_all(server, judge, given.cases, given.seed))
    for finding in judge.findings:
        print(finding[:400])
    print(dict(judge.scores))


if __name__ == "__main__":
    main()
