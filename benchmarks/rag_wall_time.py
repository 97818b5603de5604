"""Wall time of build_rag_context over five tables, against one query, on a server that answers after 50 ms.

The server is a stub on 127.0.0.1 in a process of its own: it answers each table with as many rows of the example data
as are asked for by default, whatever the filters. A cold call has to open its connections, a warm one finds them open.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from _measure import Rounds, Target, arguments, interleave, per_call, report

from agent_persistence import AsyncPersistenceService, SupabaseAdapter, build_rag_context, desc

TARGET: Final = 1.3
LATENCY_S: Final = 0.05
ROWS: Final = {"clients": 11, "campaigns": 11, "leads": 11, "conversations": 21, "messages": 51}
DATA: Final = Path(__file__).parent.parent / "examples" / "data"


def bodies() -> dict[str, bytes]:
    lines = {table: (DATA / f"{table}.jsonl").read_bytes().splitlines() for table in ROWS}
    return {table: b"[" + b",".join(lines[table][:count]) + b"]" for table, count in ROWS.items()}


def serve(tell_port: Connection) -> None:
    """Answer requests for ever, each LATENCY_S after its last byte has come."""
    answers = bodies()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await _next_request(reader):
            table = request.split(b" ", 2)[1].partition(b"?")[0].rpartition(b"/")[2].decode()
            body = answers.get(table, b"[]")
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


def service(port: int) -> AsyncPersistenceService:
    # persistence-guard: allow AP001 it is what is measured
    adapter = SupabaseAdapter(f"http://127.0.0.1:{port}", "sb_secret_benchmark")
    return AsyncPersistenceService(adapter, owns_adapter=True, log=False)


async def queries(source: AsyncPersistenceService, *tables: str) -> None:
    """One query after the other, each as build_rag_context asks it."""
    for table in tables:
        await source.query(table, limit=ROWS[table], order_by=[desc("created_at"), desc("id")])


async def build(source: AsyncPersistenceService, *, follow_relations: bool) -> None:
    context = await build_rag_context(source, follow_relations=follow_relations)
    if not all(len(getattr(context, table)) == count - 1 for table, count in ROWS.items()):
        raise RuntimeError("the stub's rows did not all arrive")


async def cold(port: int, call: Callable[[AsyncPersistenceService], Awaitable[None]]) -> float:
    async with service(port) as source:
        start = time.perf_counter()
        await call(source)
        return time.perf_counter() - start


async def measure(port: int, rounds: int) -> dict[str, Rounds]:
    independent = partial(build, follow_relations=False)
    async with service(port) as warm:
        return await interleave(
            {
                "one query": partial(per_call, partial(queries, warm, "leads"), 1),
                "five tables": partial(per_call, partial(independent, warm), 1),
                "one query, cold": partial(cold, port, lambda source: queries(source, "leads")),
                "five tables, cold": partial(cold, port, independent),
                "three queries in turn": partial(
                    per_call, partial(queries, warm, "leads", "conversations", "messages"), 1
                ),
                "five tables, following relations": partial(per_call, partial(build, warm, follow_relations=True), 1),
            },
            rounds=rounds,
        )


def main(rounds: int, as_json: bool) -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
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
        [Target("five tables / one query", ratios["five tables"], TARGET, "x")],
        {name: case.summary() | ({"ratio": ratios[name]} if name in ratios else {}) for name, case in found.items()},
        as_json=as_json,
    )


if __name__ == "__main__":
    options = arguments(__doc__, rounds=20).parse_args()
    main(options.rounds, options.json)
