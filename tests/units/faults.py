"""Units of work, and single writes that the ledger makes into one, under faults, with SQL as the judge.

`python -m tests.units.faults --cases 3000` runs so many over PostgREST and half as many over PostgreSQL, and prints the
scores.
"""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

import anyio

from agent_persistence import (
    AsyncPersistenceService,
    OutcomeUnknownError,
    PostgresAdapter,
    RetryPolicy,
    SupabaseAdapter,
    TablePolicy,
)
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
from tests.faults.proxy import Proxy
from tests.faults.sql import relay
from tests.server import LocalServer, running_server
from tests.units.conftest import TABLES, install

RETRY: Final = RetryPolicy(
    attempts=10, base_s=0.001, cap_s=0.01, attempt_s=2.0, read_deadline_s=60.0, write_deadline_s=60.0
)
POLICY: Final = TablePolicy(read=TABLES, write=TABLES, delete=TABLES, call_write={"noted_twice"})
TORN: Final = -1
_INQUIRIES: Final = "insert into inquiries (email, body) select %s, 'seeded' from generate_series(1, 2)"


@dataclass(frozen=True, slots=True)
class Call:
    """What is called, on rows of its own; `effect` counts how often it was applied, TORN for a part of it."""

    name: str
    call: Callable[[AsyncPersistenceService, str], Awaitable[Any]]
    effect: Callable[[LocalServer, str], int]
    right: Callable[[Any], bool]
    seed: str | None = None


def _count(server: LocalServer, sql: str, mark: str) -> int:
    (row,) = server.execute(f"select count(*) as n from {sql}", mark)
    return int(row["n"])


def _times(count: int, size: int) -> int:
    return TORN if count % size else count // size


def _all_or_none(count: int, size: int) -> int:
    return {0: 0, size: 1}.get(count, TORN)


async def _turn(service: AsyncPersistenceService, mark: str) -> Any:
    unit = service.unit_of_work()
    talk = unit.write("conversations", {"subject": mark})
    said = unit.batch_write("messages", [{"conversation_id": talk["id"], "role": role} for role in ("a", "b")])
    changed = unit.update("inquiries", {"handled": True}, {"email": mark, "handled": False}, expect=2)
    gone = unit.delete("inquiries", {"email": mark, "handled": True}, expect=2)
    results = await unit.commit()
    return results[talk], results[said], results[changed], results[gone]


def _turns(server: LocalServer, mark: str) -> int:
    talks = _count(server, "conversations where subject = %s", mark)
    said = _count(server, "messages m join conversations c on c.id = m.conversation_id where c.subject = %s", mark)
    left = _count(server, "inquiries where email = %s", mark)
    handled = _count(server, "inquiries where handled and email = %s", mark)
    if (talks, said, left, handled) == (0, 0, 2, 0):
        return 0
    return talks if said == 2 * talks and left == 0 else TORN


CALLS: Final = {
    one.name: one
    for one in (
        Call(
            "unit",
            _turn,
            _turns,
            lambda told: [len(part) if isinstance(part, list) else 1 for part in told] == [1, 2, 2, 2],
            _INQUIRIES,
        ),
        Call(
            "write",
            lambda service, mark: service.write("inquiries", {"body": mark}),
            lambda server, mark: _count(server, "inquiries where body = %s", mark),
            lambda told: isinstance(told["id"], int),
        ),
        Call(
            "batch_write",
            lambda service, mark: service.batch_write("inquiries", [{"body": mark}] * 3),
            lambda server, mark: _times(_count(server, "inquiries where body = %s", mark), 3),
            lambda told: len(told) == 3,
        ),
        Call(
            "bulk_write",
            lambda service, mark: service.bulk_write("inquiries", [{"body": mark}] * 3),
            lambda server, mark: _times(_count(server, "inquiries where body = %s", mark), 3),
            lambda told: told == 3,
        ),
        Call(
            "upsert",
            lambda service, mark: service.upsert("leads", {"email": mark, "company": "new"}, ["email"]),
            lambda server, mark: _count(server, "leads where company = 'new' and email = %s", mark),
            lambda told: told["company"] == "new",
            "insert into leads (email, company) values (%s, 'old')",
        ),
        Call(
            "update of many",
            lambda service, mark: service.update("inquiries", {"handled": True}, {"email": mark}),
            lambda server, mark: _all_or_none(_count(server, "inquiries where handled and email = %s", mark), 2),
            lambda told: [row["handled"] for row in told] == [True, True],
            _INQUIRIES,
        ),
        Call(
            "call",
            lambda service, mark: service.call("noted_twice", {"text": mark}),
            lambda server, mark: _times(_count(server, "inquiries where body = %s", mark), 2),
            lambda told: told == 2,
        ),
        Call(
            "delete of many",
            lambda service, mark: service.delete("inquiries", {"email": mark}),
            lambda server, mark: _all_or_none(2 - _count(server, "inquiries where email = %s", mark), 2),
            lambda told: len(told) == 2,
            _INQUIRIES,
        ),
    )
}


def prepare(server: LocalServer) -> None:
    """The function that is called is there."""
    server.execute(
        "create or replace function noted_twice(text text) returns bigint language sql volatile as $$"
        " with made as (insert into inquiries (body) select $1 from generate_series(1, 2) returning 1)"
        " select count(*) from made $$"
    )
    server.reload_schema()


class Judge:
    """Runs a call on rows of its own, and compares what it told with what is there."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.scores: Counter[str] = Counter()
        self.findings: list[str] = []
        self._number = 0

    def seeded(self, call: Call) -> str:
        """The mark of the rows of the next case."""
        self._number += 1
        mark = f"case {self._number} of {call.name}"
        if call.seed is not None:
            self.server.execute(call.seed, mark)
        return mark

    async def judge(self, call: Call, mark: str, told: Any, about: object) -> None:
        """`told` is what the call returned, or the error that it raised."""
        applied = await asyncio.to_thread(call.effect, self.server, mark)
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

    def reset(self) -> None:
        self.server.reset()
        prepare(self.server)
        self.server.execute("truncate agent_persistence.ledger")


def _service(
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
async def over_http(
    server: LocalServer, *, ledger: bool = True
) -> AsyncIterator[tuple[Proxy, AsyncPersistenceService]]:
    async with Proxy.before(relay(server.url)) as proxy:

        async def sleep(pause_s: float) -> None:
            await proxy.next_attempt()
            await asyncio.sleep(pause_s)

        adapter = SupabaseAdapter(proxy.named_url, server.service_key)
        async with _service(adapter, RETRY, sleep, ledger=ledger) as service:
            yield proxy, service


def faults_of(request_bytes: int, response_bytes: int) -> Iterator[Fault]:
    """Every single fault that lies neither about what it refuses nor about what it applies."""
    yield from cuts(request_bytes, response_bytes)
    for name in ANSWERS:
        yield from (Answered(name, "before"), Answered(name, "after"))
    yield from map(Mangled, MANGLERS)
    yield from (Dribbled(0.0), HalfClosed(), Refused(), IdleClosed("FIN"), IdleClosed("RST"), AnsweredTwice(0.01))
    yield from (Delayed(part, RETRY.attempt_s * 1.2) for part in ("request", "response"))
    yield from (AnsweredForAnother("before"), AnsweredForAnother("after"))


def is_transient(fault: Fault) -> bool:
    """Whether asking again helps: a refusal of the request itself is final, and lies nobody sees through."""
    if isinstance(fault, Answered):
        said = ANSWERS[fault.name].says
        return not fault.denies and not fault.claims and said != "rejected"
    return not fault.denies and not fault.claims


async def http_cases(judge: Judge, name: str, count: int, random: Random, *, ledger: bool = True) -> None:
    """So many cases of the call, half of them no cuts."""
    call = CALLS[name]
    async with over_http(judge.server, ledger=ledger) as (proxy, service):
        mark = judge.seeded(call)
        await call.call(service, mark)
        every = [fault for fault in faults_of(*proxy.sizes) if is_transient(fault)]
        others = [fault for fault in every if not isinstance(fault, Cut)]
        some = random.sample(others, min(len(others), count // 2))
        often = [fault for fault in every if isinstance(fault, Cut)]
        for fault in some + random.sample(often, min(len(often), count - len(some))):
            mark = judge.seeded(call)
            await proxy.arm(fault)
            told = await _told(call.call(service, mark))
            await proxy.arm()
            await proxy.settled()
            await judge.judge(call, mark, told, fault)


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


async def postgres_cases(judge: Judge, name: str, count: int, random: Random, *, ledger: bool = True) -> None:
    """So many cuts of the call's bytes, either way."""
    call, server = CALLS[name], judge.server

    async def at_once(pause_s: float) -> None:
        """A pause that does not last."""

    wire = BytesRelay(server.database_url)
    async with listening(wire.handle) as port:
        adapter = PostgresAdapter(through(server.database_url, port), role="service_role", max_connections=1)
        async with _service(adapter, replace(RETRY, attempt_s=10.0), at_once, ledger=ledger) as service:
            for _ in range(2):  # what is learnt once is learnt
                mark = judge.seeded(call)
                wire.arm()
                await call.call(service, mark)
            sizes = dict(wire.passed)
            for number in range(count):
                way = ("request", "response")[number % 2]
                place = random.randrange(1, sizes[way])
                mark = judge.seeded(call)
                wire.arm(**{f"{way}_bytes": place}, cuts=1)
                told = await _told(call.call(service, mark))
                wire.arm()
                await _idle(server)
                await judge.judge(call, mark, told, f"{way} cut at byte {place}")


async def _idle(server: LocalServer) -> None:
    """No session of the adapter has a transaction under way."""
    asked = "select 1 from pg_stat_activity where application_name like 'agent-persistence%' and state <> 'idle'"
    while await asyncio.to_thread(server.execute, asked):
        pass


async def _all(judge: Judge, count: int, seed: int) -> None:
    for name in CALLS:
        judge.reset()
        await http_cases(judge, name, count // len(CALLS), Random(seed))
        print(f"PostgREST, {name}: {dict(judge.scores)}", flush=True)
    for name in CALLS:
        judge.reset()
        await postgres_cases(judge, name, count // 2 // len(CALLS), Random(seed))
        print(f"PostgreSQL, {name}: {dict(judge.scores)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=20261129)
    given = parser.parse_args()
    with running_server() as server:
        install(server)
        judge = Judge(server)
        run(_all(judge, given.cases, given.seed))
    for finding in judge.findings:
        print(finding[:400])
    print(dict(judge.scores))


if __name__ == "__main__":
    main()
