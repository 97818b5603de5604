"""200 users at once, each with a write and a query as themselves: against supabase-py over REST, and asyncpg over SQL.

Over REST the canned server answers, so that the clients are what is measured; each request has the token of its user.
supabase-py is used in three ways: a client made for each user, as its documentation has it; the same over one
httpx.AsyncClient; and one client of postgrest-py that is given the token before each request, which is the fastest.
Over SQL it is the PostgreSQL of the tests with row-level security. asyncpg, with a pool of ten connections as ours, is
used as one does by hand: `begin`, the role and the claims for the transaction, the statement, `commit`. It is measured
on this machine, where a round trip costs next to nothing, and once more with a relay between that makes it a
millisecond, as between two machines of a region.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias
from uuid import uuid4

import httpx
from _measure import Rounds, Target, arguments, interleave, missing, report, speedup
from canned_server import canned_server
from distant_server import distant

sys.path.insert(0, str(Path(__file__).parents[1]))

from shared_requests import all_at_once

from agent_persistence import AsyncPersistenceService, SupabaseAdapter, TablePolicy
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.metrics import Metrics
from tests.server import running_server
from tests.server.tokens import sign

USERS: Final = 200
KEY: Final = "sb_publishable_benchmark"
TABLES: Final = Path(__file__).parents[1] / "examples" / "fastapi_service.sql"
INSERT: Final = "insert into leads (email, company, status) values ($1, $2, $3) returning *"
SELECT: Final = "select * from leads where status = $1 limit 1"
CLAIM: Final = "select set_config('request.jwt.claims', $1, true)"
POSTGREST, ASYNCPG = "postgrest-py, auth(token)", "asyncpg, by hand"
BY_TOKEN, BY_CLAIMS = "as_user(access_token=)", "as_user(claims=)"
ROUND_TRIP_S: Final = 0.001
REST, NEAR, FAR = "REST", "SQL, same machine", "SQL, 1 ms away"
TARGETS: Final = {REST: (BY_TOKEN, POSTGREST, 3.0), NEAR: (BY_CLAIMS, ASYNCPG, 1.0), FAR: (BY_CLAIMS, ASYNCPG, 1.0)}


@dataclass(frozen=True)
class User:
    token: str
    claims: Mapping[str, str]

    @classmethod
    def new(cls) -> User:
        claims = {"sub": str(uuid4()), "role": "authenticated", "aud": "authenticated"}
        return cls(sign(claims, "a secret of the benchmark that is long enough"), claims)

    def record(self) -> dict[str, str]:
        return {"email": f"{uuid4()}@tannheim.example", "company": "Molkerei", "status": "new"}


Turn: TypeAlias = Callable[[User], Awaitable[None]]
"""What one user does: a write, and then a query of theirs."""


@asynccontextmanager
async def ours(adapter: PersistenceAdapter, identity: Callable[[User], dict[str, Any]]) -> AsyncIterator[Turn]:
    policy = TablePolicy(read={"leads"}, write={"leads"})
    options: dict[str, Any] = {"policy": policy, "metrics": Metrics(), "log": False, "owns_adapter": True}
    async with AsyncPersistenceService(adapter, **options) as service:

        async def turn(user: User) -> None:
            view = service.as_user(**identity(user))
            await view.write("leads", user.record())
            await view.query("leads", {"status": "new"}, limit=1)

        yield turn


async def both(client: Any, user: User) -> None:
    """A write and a query by a client of supabase-py or postgrest-py that sends the token."""
    await client.from_("leads").insert(user.record()).execute()
    await client.from_("leads").select("*").eq("status", "new").limit(1).execute()


async def a_client_each(url: str, user: User, *, http: httpx.AsyncClient | None = None) -> None:
    from supabase import AsyncClientOptions, acreate_client

    options = AsyncClientOptions(headers={"Authorization": f"Bearer {user.token}"}, httpx_client=http)
    # persistence-guard: allow AP003 it is the peer
    client = await acreate_client(url, KEY, options)
    await both(client, user)
    if http is None:
        await client.postgrest.aclose()


@asynccontextmanager
async def over_rest(url: str) -> AsyncIterator[dict[str, Turn]]:
    from postgrest import AsyncPostgrestClient

    class Authorised:
        """The builder copies the headers before anything is awaited, so that users do not get each other's."""

        def __init__(self, user: User) -> None:
            self._token = user.token

        def from_(self, table: str) -> Any:
            return peer.auth(self._token).from_(table)

    # persistence-guard: allow AP001 it is what is measured
    adapter = SupabaseAdapter(url, KEY)
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with (
        httpx.AsyncClient(limits=limits) as http,
        # persistence-guard: allow AP003 it is the peer
        AsyncPostgrestClient(f"{url}/rest/v1", headers={"apikey": KEY}) as peer,
        ours(adapter, lambda user: {"access_token": user.token}) as turn,
    ):
        yield {
            "supabase-py, a client each": partial(a_client_each, url),
            "supabase-py, one httpx client": partial(a_client_each, url, http=http),
            POSTGREST: lambda user: both(Authorised(user), user),
            BY_TOKEN: turn,
        }


@asynccontextmanager
async def over_sql(database_url: str) -> AsyncIterator[dict[str, Turn]]:
    import asyncpg

    async def by_hand(user: User) -> None:
        claims = json.dumps(user.claims)
        for statement, *values in ((INSERT, *user.record().values()), (SELECT, "new")):
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("set local role authenticated")
                await connection.execute(CLAIM, claims)
                [dict(row) for row in await connection.fetch(statement, *values)]

    # persistence-guard: allow AP001 it is what is measured
    adapter = PostgresAdapter(database_url)
    async with (
        asyncpg.create_pool(database_url, min_size=10, max_size=10) as pool,
        ours(adapter, lambda user: {"claims": user.claims}) as turn,
    ):
        yield {ASYNCPG: by_hand, BY_CLAIMS: turn}


async def measure(turns: Mapping[str, Turn], rounds: int, prepare: Callable[[], None]) -> dict[str, Rounds]:
    """The seconds until the last of all users is done, who start together."""

    def users() -> list[User]:
        prepare()
        return [User.new() for _ in range(USERS)]

    return await interleave({name: partial(all_at_once, turn, users) for name, turn in turns.items()}, rounds=rounds)


async def measured(rounds: int) -> dict[str, dict[str, Rounds]]:
    found = {}
    with canned_server() as url:
        async with over_rest(url) as turns:
            found[REST] = await measure(turns, rounds, lambda: None)
    with running_server(TABLES) as server, distant(server.database_url, round_trip_s=ROUND_TRIP_S) as far:
        for way, database_url in ((NEAR, server.database_url), (FAR, far)):
            async with over_sql(database_url) as turns:
                found[way] = await measure(turns, rounds, server.reset)
    return found


def table(found: Mapping[str, Mapping[str, Rounds]]) -> list[str]:
    lines = []
    for way, cases in found.items():
        _, peer, _ = TARGETS[way]
        lines.append(f"{way:<32} {'ms':>8} {'calls/s':>9}  vs {peer}")
        for name, case in cases.items():
            rate = 2 * USERS / case.median
            lines.append(f"  {name:<30} {case.median * 1e3:8.1f} {rate:9,.0f}  {speedup(case, cases[peer])}")
        lines.append("")
    return lines


def targets(found: Mapping[str, Mapping[str, Rounds]]) -> list[Target]:
    made = []
    for way, (ours, peer, floor) in TARGETS.items():
        cases = dict(found[way])
        mine, base = cases.pop(ours), cases.pop(peer)
        beside = ", ".join(f"{median(mine.speedups(case)):.0f}x {name}" for name, case in cases.items())
        what = f"{way}, {USERS} users vs {peer}"
        made.append(Target(what, median(mine.speedups(base)), floor, "x", is_floor=True, beside=beside))
    return made


def main(rounds: int, as_json: bool) -> None:
    found = asyncio.run(measured(rounds))
    figures = {way: {name: case.summary() for name, case in cases.items()} for way, cases in found.items()}
    report(table(found), targets(found), {"cases": figures}, as_json=as_json)


if __name__ == "__main__":
    options = arguments(__doc__, rounds=7).parse_args()
    if absent := missing("asyncpg", "postgrest", "supabase"):
        sys.exit(absent)
    main(options.rounds, options.json)
