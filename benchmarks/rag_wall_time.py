"""Wall time of build_rag_context over five tables on a server that answers after 50 ms, against its critical path.

The critical path is one query where the tables are independent, and three in turn (leads, conversations, messages)
where relations are followed; one again where a filter names the lead, for all that belongs to it is asked for with it.
The server is a stub on 127.0.0.1 in a process of its own, which answers whatever the filters are: below /full with one
row more than the default limits, below /lead with the world of one lead. A cold call has to open its connections, a
warm one finds them open. The last cases tell what the server's cap on rows saves where it is known: without it, a short
answer from a server that never gave a longer one is followed by another request.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from _measure import Rounds, Target, arguments, interleave, per_call, report

from agent_persistence import AsyncPersistenceService, SupabaseAdapter, build_rag_context, desc

TARGET: Final = 1.15
LATENCY_S: Final = 0.05
WORLDS: Final = {
    "full": {"clients": 11, "campaigns": 11, "leads": 11, "conversations": 21, "messages": 51},
    "lead": {"clients": 1, "campaigns": 1, "leads": 1, "conversations": 7, "messages": 23},
}
ASKED: Final = WORLDS["full"]
IN_TURN: Final = ("leads", "conversations", "messages")
DATA: Final = Path(__file__).parent.parent / "examples" / "data"
HOSTED_ROW_CAP: Final = 1_000
PROMISED: Final = ("five tables", "five tables, following relations", "one lead's world", "the world of a named lead")
FEWER: Final = 2.0
"""Two round trips of three are saved where a lead is named; the least of it that must be seen."""


def bodies() -> dict[str, bytes]:
    rows = {table: [json.loads(line) for line in (DATA / f"{table}.jsonl").open("rb")] for table in ASKED}
    worlds = {"full": rows, "lead": _world_of_the_talkative(rows)}
    return {
        f"{world}/{table}": json.dumps(worlds[world][table][:count]).encode()
        for world, counts in WORLDS.items()
        for table, count in counts.items()
    }


def _world_of_the_talkative(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """What belongs to the lead with the most conversations."""
    (found, _), *_ = Counter(talk["lead_id"] for talk in rows["conversations"]).most_common(1)
    (lead,) = (row for row in rows["leads"] if row["id"] == found)
    talks = [row for row in rows["conversations"] if row["lead_id"] == found]
    ids = {talk["id"] for talk in talks}
    return {
        "leads": [lead],
        "clients": [row for row in rows["clients"] if row["id"] == lead["client_id"]],
        "campaigns": [row for row in rows["campaigns"] if row["id"] == lead["campaign_id"]],
        "conversations": talks,
        "messages": [row for row in rows["messages"] if row["conversation_id"] in ids],
    }


def serve(tell_port: Connection, answers: Mapping[str, bytes]) -> None:
    """Answer requests for ever, each LATENCY_S after its last byte has come."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await _next_request(reader):
            path, _, asked = request.split(b" ", 2)[1].decode().partition("?")
            world, *_, table = path.strip("/").split("/")
            body = b"[]" if "offset=" in asked else answers[f"{world}/{table}"]
            await asyncio.sleep(LATENCY_S)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(converse, "127.0.0.1", 0)
        tell_port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(listen())


async def _next_request(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return b""


def service(port: int, world: str, row_cap: int | None = None) -> AsyncPersistenceService:
    # persistence-guard: allow AP001 it is what is measured
    adapter = SupabaseAdapter(f"http://127.0.0.1:{port}/{world}", "sb_secret_benchmark")
    return AsyncPersistenceService(adapter, owns_adapter=True, log=False, row_cap=row_cap)


async def queries(source: AsyncPersistenceService, *tables: str) -> None:
    """One query after the other, each as build_rag_context asks it."""
    for table in tables:
        await source.query(table, limit=ASKED[table], order_by=[desc("created_at"), desc("id")])


async def build(
    source: AsyncPersistenceService, *, world: str = "full", follow_relations: bool, lead: str | None = None
) -> None:
    named = None if lead is None else {"id": lead}
    context = await build_rag_context(source, follow_relations=follow_relations, lead_filters=named)
    if any(len(getattr(context, table)) < min(count, ASKED[table] - 1) for table, count in WORLDS[world].items()):
        raise RuntimeError("the stub's rows did not all arrive")


async def cold(
    port: int,
    call: Callable[[AsyncPersistenceService], Awaitable[None]],
    world: str = "full",
    row_cap: int | None = None,
) -> float:
    async with service(port, world, row_cap) as source:
        start = time.perf_counter()
        await call(source)
        return time.perf_counter() - start


async def measure(port: int, rounds: int) -> dict[str, Rounds]:
    independent, following = partial(build, follow_relations=False), partial(build, follow_relations=True)
    one = partial(build, world="lead", follow_relations=True)
    named = partial(one, lead=json.loads(bodies()["lead/leads"])[0]["id"])
    async with service(port, "full") as warm, service(port, "lead", HOSTED_ROW_CAP) as warm_lead:
        return await interleave(
            {
                "one query": partial(per_call, partial(queries, warm, "leads"), 1),
                "five tables": partial(per_call, partial(independent, warm), 1),
                "one query, cold": partial(cold, port, queries_of(("leads",))),
                "five tables, cold": partial(cold, port, independent),
                "three queries in turn": partial(per_call, partial(queries, warm, *IN_TURN), 1),
                "five tables, following relations": partial(per_call, partial(following, warm), 1),
                "three queries in turn, one lead": partial(per_call, partial(queries, warm_lead, *IN_TURN), 1),
                "one lead's world": partial(per_call, partial(one, warm_lead), 1),
                "one query, one lead": partial(per_call, partial(queries, warm_lead, "leads"), 1),
                "the world of a named lead": partial(per_call, partial(named, warm_lead), 1),
                "three queries in turn, cap unknown": partial(cold, port, queries_of(IN_TURN), "lead"),
                "one lead's world, cap unknown": partial(cold, port, one, "lead"),
            },
            rounds=rounds,
        )


def queries_of(tables: Sequence[str]) -> Callable[[AsyncPersistenceService], Awaitable[None]]:
    return lambda source: queries(source, *tables)


def main(rounds: int, as_json: bool) -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, bodies()), daemon=True)
    server.start()
    found = asyncio.run(measure(ours.recv(), rounds))
    server.terminate()
    names = list(found)
    ratios = {many: found[many].ratio(found[one]) for one, many in zip(names[::2], names[1::2], strict=True)}
    table = [f"{'':<36} {'ms':>8} {'least':>8} {'ratio':>8}"]
    for name, case in found.items():
        ratio = f"{ratios[name]:8.2f}" if name in ratios else ""
        table.append(f"  {name:<34} {case.median * 1e3:8.1f} {case.least * 1e3:8.1f} {ratio}")
    report(
        table,
        [
            *(Target(f"{name} / critical path", ratios[name], TARGET, "x") for name in PROMISED),
            Target(
                "one lead's world / that of a named lead",
                found["one lead's world"].ratio(found["the world of a named lead"]),
                FEWER,
                "x",
                is_floor=True,
            ),
        ],
        {name: case.summary() | ({"ratio": ratios[name]} if name in ratios else {}) for name, case in found.items()},
        as_json=as_json,
    )


if __name__ == "__main__":
    options = arguments(__doc__, rounds=20).parse_args()
    main(options.rounds, options.json)
