"""Wall time of build_rag_context over five tables, against the same five queries awaited in turn with postgrest-py.

The server is that of `rag_wall_time.py`, which answers after 50 ms.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from _measure import Rounds, Target, arguments, drawing, interleave, missing, per_call, report, speedup
from _plot import bars, write
from rag_wall_time import ASKED, build, serve, service

TARGET: Final = 4.0
OURS, PEER = "build_rag_context", "postgrest-py, in turn"


async def in_turn(peer: Any) -> None:
    for table, limit in ASKED.items():
        query = peer.from_(table).select("*").order("created_at", desc=True).order("id", desc=True).limit(limit)
        if len((await query.execute()).data) != limit:
            raise RuntimeError("the stub's rows did not all arrive")


async def measure(port: int, rounds: int) -> dict[str, Rounds]:
    from postgrest import AsyncPostgrestClient

    # persistence-guard: allow AP003 it is the peer
    peer = AsyncPostgrestClient(f"http://127.0.0.1:{port}/full/rest/v1", headers={"apikey": "sb_secret_benchmark"})
    async with service(port, "full") as source:
        cases = {
            PEER: partial(per_call, partial(in_turn, peer), 1),
            OURS: partial(per_call, partial(build, source, follow_relations=False), 1),
        }
        found = await interleave(cases, rounds=rounds)
    await peer.aclose()
    return found


def main(rounds: int, as_json: bool, svg: Path | None) -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    found = asyncio.run(measure(ours.recv(), rounds))
    server.terminate()
    if svg is not None:
        waited = {"five tables, 50 ms a request": {name: case.median * 1e3 for name, case in found.items()}}
        write(svg, {"rag-wall-time": bars("How long a context for a prompt takes", waited, unit="ms")})
    table = [f"{name:<24} {case.median * 1e3:7.1f} ms {speedup(case, found[PEER])}" for name, case in found.items()]
    ratio = median(found[OURS].speedups(found[PEER]))
    report(
        table,
        [Target("five tables vs five queries in turn", ratio, TARGET, "x", is_floor=True)],
        {name: case.summary() for name, case in found.items()},
        as_json=as_json,
    )


if __name__ == "__main__":
    options = drawing(arguments(__doc__, rounds=15)).parse_args()
    if absent := missing("postgrest"):
        sys.exit(absent)
    main(options.rounds, options.json, options.svg)
