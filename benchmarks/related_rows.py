"""A list of 50 tickets with their customer and three comments each: one request, beside a peer's and a join by hand.

The server is @supabase/lite on PostgreSQL, directly and 20 ms away. By hand means three queries, of which the second
and third name the keys that the first brought, and a join in Python. The peer is postgrest-py's embedded select.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from _measure import Rounds, Target, arguments, interleave, missing, report, speedup

sys.path.insert(0, str(Path(__file__).parents[1]))

from distant_server import distant

from agent_persistence import AsyncPersistenceService, SupabaseAdapter, TablePolicy, in_
from agent_persistence.metrics import Metrics
from agent_persistence.schema_registry import default_schema
from tests.server import LocalServer, running_server

TABLES: Final = frozenset({"leads", "clients", "conversations"})
LEADS: Final = 50
TALKS: Final = 3
ROUND_TRIP_S: Final = 0.02
PEER: Final = "postgrest-py, embedded select"
INCLUDED: Final = "include=, one request"
BY_HAND: Final = "three queries and a join by hand"


async def fill(service: AsyncPersistenceService) -> None:
    # persistence-guard: allow AP002 a database made for this benchmark
    client = await service.write("clients", {"name": "Molkerei Tannheim"})
    leads = await service.batch_write(
        "leads", [{"email": f"{n:02}@tannheim.example", "client_id": client["id"]} for n in range(LEADS)]
    )
    talks = [{"lead_id": lead["id"], "subject": f"talk {n}"} for lead in leads for n in range(TALKS)]
    await service.batch_write("conversations", talks)


async def by_hand(service: AsyncPersistenceService) -> list[dict[str, Any]]:
    leads = await service.query("leads", limit=LEADS, order_by="email")
    clients = {
        row["id"]: row
        for row in await service.query(
            "clients", {"id": in_({lead["client_id"] for lead in leads})}, select=["id", "name"]
        )
    }
    talks = defaultdict(list)
    asked = {"lead_id": in_([lead["id"] for lead in leads])}
    for talk in await service.query("conversations", asked, select=["lead_id", "subject"]):
        talks[talk["lead_id"]].append({"subject": talk["subject"]})
    return [{**lead, "clients": clients[lead["client_id"]], "conversations": talks[lead["id"]]} for lead in leads]


async def included(service: AsyncPersistenceService) -> list[dict[str, Any]]:
    include = {"clients": ["name"], "conversations": ["subject"]}
    return await service.query("leads", limit=LEADS, order_by="email", include=include)


async def embedded(peer: Any) -> list[dict[str, Any]]:
    asked = peer.from_("leads").select("*,clients(name),conversations(subject)").order("email").limit(LEADS)
    found: list[dict[str, Any]] = (await asked.execute()).data
    return found


async def timed(call: Callable[[], Awaitable[list[dict[str, Any]]]]) -> float:
    start = time.perf_counter()
    rows = await call()
    took_s = time.perf_counter() - start
    if len(rows) != LEADS or any(len(row["conversations"]) != TALKS or not row["clients"] for row in rows):
        raise RuntimeError("the rows did not all arrive")
    return took_s


async def measure(server: LocalServer, rounds: int) -> dict[str, dict[str, Rounds]]:
    from postgrest import AsyncPostgrestClient

    found = {}
    with distant(server.url, round_trip_s=ROUND_TRIP_S) as far:
        for place, url in (("beside it", server.url), ("20 ms away", far)):
            # persistence-guard: allow AP001 it is what is measured
            adapter = SupabaseAdapter(url, server.service_key)
            policy = TablePolicy(
                read={"leads", "clients", "conversations"}, write={"leads", "clients", "conversations"}
            )
            headers = {"apikey": server.service_key, "Authorization": f"Bearer {server.service_key}"}
            # persistence-guard: allow AP003 it is the peer
            peer = AsyncPostgrestClient(f"{url}/rest/v1", headers=headers)
            options: dict[str, Any] = {"policy": policy, "schema": default_schema(), "row_cap": 1000}
            async with AsyncPersistenceService(
                adapter, owns_adapter=True, metrics=Metrics(), log=False, **options
            ) as service:
                if place == "beside it":
                    await fill(service)
                calls: dict[str, Callable[[], Awaitable[list[dict[str, Any]]]]] = {
                    PEER: lambda peer=peer: embedded(peer),  # type: ignore[misc]
                    INCLUDED: lambda service=service: included(service),  # type: ignore[misc]
                    BY_HAND: lambda service=service: by_hand(service),  # type: ignore[misc]
                }
                cases = {name: lambda call=call: timed(call) for name, call in calls.items()}
                found[place] = await interleave(cases, rounds=rounds)
            await peer.aclose()
    return found


async def main(rounds: int, as_json: bool) -> None:
    with running_server() as server:
        found = await measure(server, rounds)
    lines = []
    for place, cases in found.items():
        lines.append(f"{place:<36} {'ms':>8}  beside the peer")
        for name, case in cases.items():
            lines.append(f"  {name:<34} {case.median * 1e3:8.2f}  {speedup(case, cases[PEER])}")
    near, far = found["beside it"], found["20 ms away"]
    targets = [
        Target("include= beside the peer's embedded select", near[INCLUDED].median / near[PEER].median, 1.15, "x"),
        Target(
            "20 ms away, beside a join by hand", far[BY_HAND].median / far[INCLUDED].median, 3.0, "x", is_floor=True
        ),
    ]
    figures = {place: {name: case.summary() for name, case in cases.items()} for place, cases in found.items()}
    report(lines, targets, figures, as_json=as_json)


if __name__ == "__main__":
    options = arguments(__doc__, rounds=20).parse_args()
    absent = missing("postgrest")
    if absent:
        sys.exit(absent)
    asyncio.run(main(options.rounds, options.json))
