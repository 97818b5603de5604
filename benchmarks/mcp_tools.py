"""Milliseconds of processor time that the MCP server adds to a query, client and server together in one process.

The adapter answers the same rows at once. Each case is a page of 50 leads, or a count: asked of the façade itself; of
the tool, which checks the arguments, bounds the answer and makes the cursor; and over the protocol with the SDK's own
client, in its form of 2026 and in the one with a handshake, which also writes and reads every message. What the client
takes, in its own process otherwise, counts here as the server's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from statistics import median
from typing import Any

from _measure import Rounds, Target, arguments, interleave, report
from mcp import Client

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, TablePolicy, asc, desc, gte
from agent_persistence.ext.mcp import create_server
from agent_persistence.metrics import Metrics

TARGET_MS = 3.0
CALLS = 20
ROWS = 50
LEADS = [
    {
        "id": f"95ead0bf-4624-47a9-a9fe-6ea1aca6{number:04x}",
        "email": f"j.grossmann{number}@molkerei-tannheim.example",
        "first_name": "Jürgen",
        "last_name": "Großmann",
        "company": "Molkerei Tannheim eG",
        "status": "qualified",
        "score": number / 100,
        "created_at": "2026-03-02T07:10:33+00:00",
    }
    for number in range(ROWS + 1)
]
ASKED: Mapping[str, Any] = {"table": "leads", "filters": {"score": {"gte": 0.0}}, "order_by": ["-score"]}


class Canned(InMemoryAdapter):
    """Answers the same rows to every query, at once."""

    async def query(self, *given: Any, **options: Any) -> list[dict[str, Any]]:
        return LEADS

    async def count(self, *given: Any, **options: Any) -> int:
        return ROWS


async def processor_time(call: Callable[[], Awaitable[object]]) -> float:
    """The seconds of processor time that one call takes on average, all threads of the process together."""
    start = time.process_time()
    for _ in range(CALLS):
        await call()
    return (time.process_time() - start) / CALLS


async def cases(open_until: AsyncExitStack) -> dict[str, dict[str, Callable[[], Awaitable[object]]]]:
    service = AsyncPersistenceService(Canned(), policy=TablePolicy(read={"leads"}), metrics=Metrics(), log=False)
    facade = service.readonly()
    server = create_server(facade, max_rows=ROWS, max_bytes=100_000)
    clients = {
        "the protocol of 2026": await open_until.enter_async_context(Client(server)),
        "the protocol with a handshake": await open_until.enter_async_context(Client(server, mode="legacy")),
    }
    order = [desc("score"), asc("id")]
    found: dict[str, dict[str, Callable[[], Awaitable[object]]]] = {
        "page": {"the façade": partial(facade.query, "leads", {"score": gte(0.0)}, ROWS + 1, order)},
        "count": {"the façade": partial(facade.count, "leads", {"score": gte(0.0)})},
    }
    counted = {name: value for name, value in ASKED.items() if name != "order_by"}
    for name, client in clients.items():
        found["page"][name] = partial(client.call_tool, "query_rows", dict(ASKED))
        found["count"][name] = partial(client.call_tool, "count_rows", counted)
    return found


def added_ms(rounds: Rounds, bare: Rounds) -> float:
    return 1e3 * median(mine - theirs for mine, theirs in zip(rounds.seconds, bare.seconds, strict=True))


async def main(rounds: int, as_json: bool) -> None:
    measured: dict[str, dict[str, Rounds]] = {}
    async with AsyncExitStack() as open_until:
        for asked, named in (await cases(open_until)).items():
            timed = {name: partial(processor_time, call) for name, call in named.items()}
            measured[asked] = await interleave(timed, rounds=rounds)
    lines = [f"{'milliseconds of processor time':<40} {'median':>8} {'least':>8} {'added':>8}"]
    for asked, found in measured.items():
        for name, case in found.items():
            added = added_ms(case, found["the façade"])
            lines.append(f"  {asked}, {name:<31} {case.median * 1e3:8.3f} {case.least * 1e3:8.3f} {added:8.3f}")
    worst = max(added_ms(case, found["the façade"]) for found in measured.values() for case in found.values())
    report(
        lines,
        [Target("processor time that a tool call adds to its query", worst, TARGET_MS, " ms")],
        {asked: {name: case.summary() for name, case in found.items()} for asked, found in measured.items()},
        as_json=as_json,
    )


if __name__ == "__main__":
    options = arguments(__doc__, rounds=30).parse_args()
    asyncio.run(main(options.rounds, options.json))
