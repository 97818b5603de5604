"""Many callers at once, each with one row: coalescing against postgrest-py and against asyncpg, on a real server.

The server is the one of the tests: a PostgREST-compatible one in Node, far slower than PostgREST itself, on a
PostgreSQL of its own, which does not wait for its disk. All callers start together and each writes, or reads by its
key, one row; what is timed is until the last has its row. asyncpg goes straight to PostgreSQL, with a pool of ten
connections. `asked` counts requests.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias, TypeVar
from uuid import uuid4

from _measure import Rounds, Target, arguments, drawing, interleave, missing, report, speedup
from _plot import bars, write

sys.path.insert(0, str(Path(__file__).parents[1]))

from throughput import ignore, pass_on

from agent_persistence import AsyncPersistenceService, SupabaseAdapter
from agent_persistence.backends.transport.connections import HttpTransport
from agent_persistence.backends.transport.messages import Request, Response
from agent_persistence.metrics import Metrics
from tests.server import LocalServer, running_server

T = TypeVar("T")
Call: TypeAlias = Callable[[Any], Awaitable[object]]

PEER: Final = "postgrest-py"
COALESCING: Final = "coalescing, httpx"
DIRECT: Final = "asyncpg, 10 connections"
WRITERS: Final = (64, 1000)
READERS: Final = 64
WRITE_TARGETS: Final = {64: 15.0, 1000: 30.0}
READ_TARGET: Final = 15.0
DIRECT_TARGET: Final = 1.0
INSERT: Final = "insert into leads (email, first_name, company, status) values ($1, $2, $3, $4) returning *"
SELECT: Final = "select * from leads where id = $1"


def record() -> dict[str, str]:
    return {"email": f"{uuid4()}@tannheim.example", "first_name": "Ada", "company": "Molkerei", "status": "qualified"}


@dataclass
class Counting:
    """A transport that counts what it sends."""

    inner: HttpTransport
    sent: int = field(default=0)

    async def send(self, request: Request) -> Response:
        self.sent += 1
        return await self.inner.send(request)

    async def ask(self, request: Request, parse: Callable[[Response], T]) -> T:
        self.sent += 1
        return await self.inner.ask(request, parse)

    async def aclose(self) -> None:
        await self.inner.aclose()


@dataclass
class Clients:
    """A write of one record and a read of one key, by the client's name; and what the coalescing ones have asked."""

    writes: dict[str, Call]
    reads: dict[str, Call]
    counts: dict[str, Counting]


@asynccontextmanager
async def clients(server: LocalServer) -> AsyncIterator[Clients]:
    import asyncpg
    from postgrest import AsyncPostgrestClient

    key = server.service_key
    # persistence-guard: allow AP003 it is the peer
    peer = AsyncPostgrestClient(f"{server.url}/rest/v1", headers={"apikey": key, "Authorization": f"Bearer {key}"})
    services, counts = {}, {}
    for transport in ("httpx", "httptools"):
        # persistence-guard: allow AP001 it is what is measured
        adapter = SupabaseAdapter(server.url, key, transport=transport)
        counts[f"coalescing, {transport}"] = counting = Counting(adapter._http)
        adapter._http = counting
        services[f"coalescing, {transport}"] = AsyncPersistenceService(
            adapter, coalesce=True, middleware=[pass_on], audit=ignore, metrics=Metrics(), log=False, owns_adapter=True
        )
    async with asyncpg.create_pool(server.database_url, min_size=10, max_size=10) as pool:
        yield Clients(
            writes={
                PEER: lambda row: peer.from_("leads").insert(row).execute(),
                DIRECT: lambda row: pool.fetchrow(INSERT, *row.values()),
                **{name: partial(each.write, "leads") for name, each in services.items()},
            },
            reads={
                PEER: lambda key: peer.from_("leads").select("*").eq("id", key).execute(),
                DIRECT: lambda key: pool.fetchrow(SELECT, key),
                **{name: partial(each.read, "leads") for name, each in services.items()},
            },
            counts=counts,
        )
    await peer.aclose()
    for each in services.values():
        await each.aclose()


async def all_at_once(call: Call, prepare: Callable[[], Iterable[Any]]) -> float:
    given = list(prepare())
    start = time.perf_counter()
    await asyncio.gather(*map(call, given))
    return time.perf_counter() - start


def emptied(server: LocalServer, callers: int) -> Iterable[Any]:
    server.reset()
    return (record() for _ in range(callers))


async def measure(server: LocalServer, rounds: int) -> tuple[dict[str, dict[str, Rounds]], dict[str, float]]:
    """By what is done and client, the seconds until the last caller has its row; and requests sent, of one round."""
    found: dict[str, dict[str, Rounds]] = {}
    asked: dict[str, float] = {}
    async with clients(server) as made:

        async def taken(what: str, calls: dict[str, Call], prepare: Callable[[], Iterable[Any]]) -> None:
            before = {name: counting.sent for name, counting in made.counts.items()}
            cases = {name: partial(all_at_once, call, prepare) for name, call in calls.items()}
            found[what] = await interleave(cases, rounds=rounds)
            for name, counting in made.counts.items():
                asked[f"{what}, {name}"] = (counting.sent - before[name]) / (rounds + 1)

        for callers in WRITERS:
            await taken(f"write, {callers} callers", made.writes, partial(emptied, server, callers))
        server.reset()
        stored = [await made.writes[DIRECT](record()) for _ in range(READERS)]
        keys = [str(row["id"]) for row in stored]  # type: ignore[index]
        await taken(f"read, {READERS} callers", made.reads, lambda: keys)
    return found, asked


def callers_of(what: str) -> int:
    return int(what.split()[1])


def table(found: dict[str, dict[str, Rounds]], asked: dict[str, float]) -> list[str]:
    lines = []
    for what, cases in found.items():
        lines.append(f"{what:<28} {'ms':>8} {'rows/s':>9} {'asked':>6}  {'vs postgrest-py':<24} {'vs asyncpg':<24}")
        for name, case in cases.items():
            per_second = callers_of(what) / case.median
            requests = f"{asked[f'{what}, {name}']:.1f}" if f"{what}, {name}" in asked else ""
            ratios = f"{speedup(case, cases[PEER]):<24} {speedup(case, cases[DIRECT]):<24}"
            lines.append(f"  {name:<26} {case.median * 1e3:8.1f} {per_second:9,.0f} {requests:>6}  {ratios}")
        lines.append("")
    return lines


def targets(found: dict[str, dict[str, Rounds]]) -> list[Target]:
    made = []
    for what, cases in found.items():
        verb, callers = what.split(",")[0], callers_of(what)
        floor = WRITE_TARGETS[callers] if verb == "write" else READ_TARGET
        ours = cases[COALESCING]
        made.append(Target(f"{what} vs {PEER}", median(ours.speedups(cases[PEER])), floor, "x", is_floor=True))
        if verb == "write":
            ratio = median(ours.speedups(cases[DIRECT]))
            made.append(Target(f"{what} vs {DIRECT}", ratio, DIRECT_TARGET, "x", is_floor=True))
    return made


def drawn(found: dict[str, dict[str, Rounds]]) -> str:
    rates = {
        what: {name: callers_of(what) / case.median for name, case in cases.items()} for what, cases in found.items()
    }
    return bars("Rows a second, all callers at once with a row each", rates, unit="rows/s")


def main(rounds: int, as_json: bool, svg: Path | None) -> None:
    with running_server() as server:
        found, asked = asyncio.run(measure(server, rounds))
    if svg is not None:
        write(svg, {"shared-requests": drawn(found)})
    figures = {what: {name: case.summary() for name, case in cases.items()} for what, cases in found.items()}
    report(table(found, asked), targets(found), {"cases": figures, "requests": asked}, as_json=as_json)


if __name__ == "__main__":
    options = drawing(arguments(__doc__, rounds=7)).parse_args()
    if absent := missing("httptools", "asyncpg", "postgrest"):
        sys.exit(absent)
    main(options.rounds, options.json, options.svg)
