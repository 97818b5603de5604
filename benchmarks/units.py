"""An agent's turn of five writes as one unit of work, against five requests of ours and of postgrest-py; a single write
by way of the ledger against a plain one; and 1,000 units by 64 callers at once against transactions of asyncpg.

The first two are measured before the test server on loopback, directly and through a relay that is 20 ms away; the last
over SQL, with ten connections each. A transaction of asyncpg is what a program writes with it: a statement, its answer,
the next one.
"""

# persistence-guard: allow-file AP001 the adapter itself is measured
# persistence-guard: allow-file AP003 the peer is measured

from __future__ import annotations

import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from _measure import Rounds, Target, arguments, interleave, missing, report
from distant_server import distant

DISTANCES_S = (0.0, 0.02)
TURNS = 10
UNITS, CALLERS, CONNECTIONS = 1_000, 64, 10
UNITS_BY_SQL, TRANSACTIONS = "1,000 units by 64 callers, over SQL", "1,000 transactions of asyncpg"


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    given = parser.parse_args()
    if told := missing("postgrest", "asyncpg"):
        sys.exit(told)
    measured = anyio.run(_measured, given.rounds)
    table = [f"{name:42} {rounds.median * 1000:8.2f} ms" for name, rounds in measured.items()]
    report(table, list(_targets(measured)), {name: one.summary() for name, one in measured.items()}, as_json=given.json)


def _targets(measured: dict[str, Rounds]) -> list[Target]:
    targets = []
    for distance_s, least in zip(DISTANCES_S, (2.0, 4.0), strict=True):
        far = f"{distance_s * 1000:g} ms away"
        unit = measured[f"a unit, {far}"]
        for peer in ("five requests", "five requests of postgrest-py"):
            speed = 1 / unit.ratio(measured[f"{peer}, {far}"])
            targets.append(Target(f"a unit against {peer}, {far}", speed, least, "x", is_floor=True))
        cost = measured[f"a write by the ledger, {far}"].ratio(measured[f"a write, {far}"])
        targets.append(Target(f"a write by the ledger, {far}, against a plain one", cost, 1.5, "x"))
    speed = 1 / measured[UNITS_BY_SQL].ratio(measured[TRANSACTIONS])
    targets.append(Target(f"{UNITS_BY_SQL}, against asyncpg", speed, 0.5, "x", is_floor=True))
    return targets


async def _measured(rounds: int) -> dict[str, Rounds]:
    from tests.server import running_server
    from tests.units.conftest import install

    told: dict[str, Rounds] = {}
    with running_server() as server:
        install(server)
        for distance_s in DISTANCES_S:
            with distant(server.url, round_trip_s=distance_s) as away:
                url = f"http://127.0.0.1:{urlsplit(away).port if distance_s else urlsplit(server.url).port}"
                cases = await _cases(url, server.service_key)
                far = f"{distance_s * 1000:g} ms away"
                found = await interleave(cases, rounds=rounds)
                told |= {f"{name}, {far}": one for name, one in found.items()}
        told |= await _over_sql(server.database_url, rounds)
    return told


async def _over_sql(database_url: str, rounds: int) -> dict[str, Rounds]:
    import asyncpg

    from agent_persistence import AsyncPersistenceService, PostgresAdapter

    adapter = PostgresAdapter(database_url, max_connections=CONNECTIONS)
    async with (
        asyncpg.create_pool(database_url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool,
        AsyncPersistenceService(adapter, owns_adapter=True) as service,
    ):
        cases = {
            UNITS_BY_SQL: lambda: _by_callers(lambda: _unit(service)),
            TRANSACTIONS: lambda: _by_callers(lambda: _transaction(pool)),
        }
        return await interleave(cases, rounds=rounds)


async def _by_callers(call: Callable[[], Awaitable[object]]) -> float:
    """How long it takes until all are done."""
    waiting = iter(range(UNITS))

    async def caller() -> None:
        for _ in waiting:
            await call()

    start = perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(CALLERS):
            group.start_soon(caller)
    return perf_counter() - start


async def _transaction(pool: Any) -> None:
    async with pool.acquire() as connection, connection.transaction():
        lead = await connection.fetchrow(
            "insert into leads (email, first_name) values ($1, $2) on conflict (email)"
            " do update set first_name = excluded.first_name returning *",
            f"{uuid.uuid4()}@x.io",
            "Ada",
        )
        talk = await connection.fetchrow(
            "insert into conversations (lead_id, subject) values ($1, $2) returning *", lead["id"], "hello"
        )
        for role in ("user", "assistant"):
            await connection.fetchrow(
                "insert into messages (conversation_id, role, content) values ($1, $2, $3) returning *",
                talk["id"],
                role,
                "hello",
            )
        await connection.fetch("update leads set status = $1 where id = $2 returning *", "open", lead["id"])


async def _cases(url: str, key: str) -> dict[str, Callable[[], Awaitable[float]]]:
    from postgrest import AsyncPostgrestClient

    from agent_persistence import AsyncPersistenceService, SupabaseAdapter

    service = AsyncPersistenceService(SupabaseAdapter(url, key))
    remembering = AsyncPersistenceService(SupabaseAdapter(url, key), ledger=True)
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    peer = AsyncPostgrestClient(f"{url}/rest/v1", headers=headers)
    return {
        "a unit": _taking(lambda: _unit(service), TURNS),
        "five requests": _taking(lambda: _requests(service), TURNS),
        "five requests of postgrest-py": _taking(lambda: _requests_of(peer), TURNS),
        "a write": _taking(lambda: service.write("inquiries", {"body": "x"}), 3 * TURNS),
        "a write by the ledger": _taking(lambda: remembering.write("inquiries", {"body": "x"}), 3 * TURNS),
    }


def _taking(call: Callable[[], Awaitable[object]], times: int) -> Callable[[], Awaitable[float]]:
    async def taking() -> float:
        start = perf_counter()
        for _ in range(times):
            await call()
        return (perf_counter() - start) / times

    return taking


async def _unit(service: Any) -> None:
    unit = service.unit_of_work()
    lead = unit.upsert("leads", {"email": f"{uuid.uuid4()}@x.io", "first_name": "Ada"}, on_conflict=["email"])
    talk = unit.write("conversations", {"lead_id": lead["id"], "subject": "hello"})
    unit.write("messages", {"conversation_id": talk["id"], "role": "user", "content": "hello"})
    unit.write("messages", {"conversation_id": talk["id"], "role": "assistant", "content": "hello"})
    unit.update("leads", {"status": "open"}, {"id": lead["id"]}, expect=1)
    await unit.commit()


async def _requests(service: Any) -> None:
    record = {"email": f"{uuid.uuid4()}@x.io", "first_name": "Ada"}
    lead = await service.upsert("leads", record, on_conflict=["email"])
    talk = await service.write("conversations", {"lead_id": lead["id"], "subject": "hello"})
    for role in ("user", "assistant"):
        await service.write("messages", {"conversation_id": talk["id"], "role": role, "content": "hello"})
    await service.update("leads", {"status": "open"}, {"id": lead["id"]})


async def _requests_of(peer: Any) -> None:
    record = {"email": f"{uuid.uuid4()}@x.io", "first_name": "Ada"}
    lead = (await peer.table("leads").upsert(record, on_conflict="email").execute()).data[0]
    talk = (await peer.table("conversations").insert({"lead_id": lead["id"], "subject": "hello"}).execute()).data[0]
    for role in ("user", "assistant"):
        message = {"conversation_id": talk["id"], "role": role, "content": "hello"}
        await peer.table("messages").insert(message).execute()
    await peer.table("leads").update({"status": "open"}).eq("id", lead["id"]).execute()


if __name__ == "__main__":
    main()
