"""Single reads and writes over PostgreSQL, whole stack on, for 1, 10 and 64 callers: against asyncpg in the same run.

The server is the PostgreSQL of the tests, which does not wait for its disk, on this machine: a round trip costs next to
nothing, so that what the clients compute, and what they make the server compute, is all there is. asyncpg has a pool of
ten connections as ours, and is used in two ways: by itself, and as one does for a user by hand: `begin`, the role and
the claims for the transaction, the statement, `commit`. Beside the wall clock stands the processor's time of this
process alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias
from uuid import uuid4

from _measure import Rounds, Target, arguments, interleave, missing, report, speedup

sys.path.insert(0, str(Path(__file__).parents[1]))

from throughput import ignore, pass_on

from agent_persistence import AsyncPersistenceService, TablePolicy
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.metrics import Metrics
from tests.server import running_server

Call: TypeAlias = Callable[[], Awaitable[object]]

CALLERS: Final = (1, 10, 64)
CALLS: Final = 640
TABLES: Final = Path(__file__).parents[1] / "examples" / "fastapi_service.sql"
INSERT: Final = "insert into leads (email, company, owner) values ($1, $2, $3) returning *"
SELECT: Final = "select * from leads where id = $1"
CLAIM: Final = "select set_config('request.jwt.claims', $1, true)"
CLAIMS: Final = {"sub": str(uuid4()), "role": "authenticated", "aud": "authenticated"}
OURS, PEER = "agent_persistence", "asyncpg"
PLAIN, NAMED = "nobody named", "role and claims"
TARGETS: Final = {PLAIN: 0.9, NAMED: 1.5}


def record() -> dict[str, str]:
    return {"email": f"{uuid4()}@tannheim.example", "company": "Molkerei", "owner": CLAIMS["sub"]}


@asynccontextmanager
async def calls(database_url: str) -> AsyncIterator[dict[str, dict[str, Call]]]:
    """A call of each client, by who is named and what it does."""
    import asyncpg

    async def by_hand(statement: str, *values: Any) -> Any:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("set local role authenticated")
            await connection.execute(CLAIM, json.dumps(CLAIMS))
            return await connection.fetchrow(statement, *values)

    # persistence-guard: allow AP001 it is what is measured
    adapter = PostgresAdapter(database_url)
    policy = TablePolicy(read={"leads"}, write={"leads"})
    options: dict[str, Any] = {"policy": policy, "metrics": Metrics(), "log": False, "owns_adapter": True}
    async with (
        asyncpg.create_pool(database_url, min_size=10, max_size=10) as pool,
        AsyncPersistenceService(adapter, middleware=[pass_on], audit=ignore, **options) as service,
    ):
        user = service.as_user(claims=CLAIMS)
        key = (await user.write("leads", record()))["id"]
        yield {
            f"read, {PLAIN}": {OURS: lambda: service.read("leads", key), PEER: lambda: pool.fetchrow(SELECT, key)},
            f"write, {PLAIN}": {
                OURS: lambda: service.write("leads", record()),
                PEER: lambda: pool.fetchrow(INSERT, *record().values()),
            },
            f"read, {NAMED}": {OURS: lambda: user.read("leads", key), PEER: lambda: by_hand(SELECT, key)},
            f"write, {NAMED}": {
                OURS: lambda: user.write("leads", record()),
                PEER: lambda: by_hand(INSERT, *record().values()),
            },
        }


async def at_once(call: Call, callers: int, computing: dict[str, list[float]], name: str) -> float:
    """The seconds for CALLS calls, which so many callers share."""

    async def calling() -> None:
        for _ in range(CALLS // callers):
            await call()

    start, computed = time.perf_counter(), time.process_time()
    await asyncio.gather(*[calling() for _ in range(callers)])
    computing.setdefault(name, []).append((time.process_time() - computed) / CALLS)
    return (time.perf_counter() - start) / CALLS


async def measure(database_url: str, rounds: int) -> tuple[dict[str, dict[str, Rounds]], dict[str, dict[str, float]]]:
    """By what is done: the seconds of a call of each client, and those that this process computed."""
    found: dict[str, dict[str, Rounds]] = {}
    computed: dict[str, dict[str, float]] = {}
    async with calls(database_url) as made:
        for what, clients in made.items():
            for callers in CALLERS:
                computing: dict[str, list[float]] = {}
                cases = {name: partial(at_once, call, callers, computing, name) for name, call in clients.items()}
                of = f"{what}, {callers} callers"
                found[of] = await interleave(cases, rounds=rounds)
                computed[of] = {name: median(seconds) for name, seconds in computing.items()}
    return found, computed


def table(found: Mapping[str, Mapping[str, Rounds]], computed: Mapping[str, Mapping[str, float]]) -> list[str]:
    lines = [f"{'microseconds a call':<40} {OURS:>18} {PEER:>8}  {'vs asyncpg':<20} computed here"]
    for what, cases in found.items():
        mine, base = cases[OURS], cases[PEER]
        here = f"{computed[what][OURS] * 1e6:5.0f} beside {computed[what][PEER] * 1e6:4.0f}"
        lines.append(f"{what:<40} {mine.median * 1e6:18.0f} {base.median * 1e6:8.0f}  {speedup(mine, base):<20} {here}")
    return lines


def targets(found: Mapping[str, Mapping[str, Rounds]]) -> list[Target]:
    return [
        Target(f"{what} vs {PEER}", median(cases[OURS].speedups(cases[PEER])), TARGETS[named], "x", is_floor=True)
        for what, cases in found.items()
        for named in TARGETS
        if named in what and ", 1 callers" not in what
    ]


def main(rounds: int, as_json: bool) -> None:
    with running_server(TABLES) as server:
        found, computed = asyncio.run(measure(server.database_url, rounds))
    figures = {what: {name: case.summary() for name, case in cases.items()} for what, cases in found.items()}
    report(table(found, computed), targets(found), {"cases": figures, "computed_s": computed}, as_json=as_json)


if __name__ == "__main__":
    options = arguments(__doc__, rounds=7).parse_args()
    if absent := missing("asyncpg"):
        sys.exit(absent)
    main(options.rounds, options.json)
