"""Wall time of a context over eight tables of a support desk on a server that answers after 50 ms.

The context is the one that `ContextSpec.from_schema` drafts. Its critical path is three queries in turn: tickets, then
comments and pairs of tags, then attachments and tags; the other tables are read meanwhile. The server is the stub of
`rag_wall_time.py`, which answers whatever the filters are, with one row more than each limit.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from functools import partial
from typing import Any, Final

from _measure import Rounds, Target, arguments, interleave, per_call, report
from rag_wall_time import LATENCY_S, serve

from agent_persistence import AsyncPersistenceService, SupabaseAdapter, TablePolicy, build_rag_context, desc
from agent_persistence.rag_context import ContextSpec
from agent_persistence.schema_registry import Schema

TARGET: Final = 1.15
RELATIONS: Final = {
    "customers": {},
    "agents": {},
    "tickets": {"customer_id": "customers", "agent_id": "agents"},
    "comments": {"ticket_id": "tickets"},
    "attachments": {"comment_id": "comments"},
    "tags": {},
    "ticket_tags": {"ticket_id": "tickets", "tag_id": "tags"},
    "kb_articles": {},
}
IN_TURN: Final = ("tickets", "comments", "attachments")


def schema() -> Schema:
    tables: dict[str, Any] = {}
    for table, relations in RELATIONS.items():
        columns: dict[str, Any] = {"id": {"type": "bigint", "nullable": False}}
        columns |= {column: {"type": "bigint", "nullable": False} for column in relations}
        if table != "ticket_tags":
            columns |= {"name": "text", "body": "text", "created_at": "timestamptz"}
        keys = [{"column": column, "table": parent} for column, parent in relations.items()]
        tables[table] = {"columns": columns, "foreign_keys": keys}
    return Schema.from_document({"tables": tables})


SCHEMA: Final = schema()
SPEC: Final = ContextSpec.from_schema(SCHEMA, ("tickets", "kb_articles"))
LIMITS: Final = {table: told.limit for table, told in SPEC.shape(SCHEMA).tables.items()}


def bodies() -> dict[str, bytes]:
    return {
        f"desk/{table}": json.dumps([_row(table, number) for number in range(LIMITS[table] + 1)]).encode()
        for table in LIMITS
    }


def _row(table: str, number: int) -> dict[str, Any]:
    row: dict[str, Any] = {"id": number, **dict.fromkeys(RELATIONS[table], number % 10)}
    if table == "ticket_tags":
        return row
    at = f"2026-05-01T{number // 60:02}:{number % 60:02}:00+00:00"
    return row | {
        "name": f"{table} {number}",
        "body": "It is on fire, and has been for a while. " * 4,
        "created_at": at,
    }


def service(port: int) -> AsyncPersistenceService:
    # persistence-guard: allow AP001 it is what is measured
    adapter = SupabaseAdapter(f"http://127.0.0.1:{port}/desk", "sb_secret_benchmark")
    policy = TablePolicy(read=set(SCHEMA.tables))
    return AsyncPersistenceService(adapter, owns_adapter=True, log=False, policy=policy, schema=SCHEMA)


async def queries(source: AsyncPersistenceService) -> None:
    """One query after the other, each as the context asks it."""
    for table in IN_TURN:
        await source.query(table, limit=LIMITS[table] + 1, order_by=[desc("created_at"), desc("id")])


async def build(source: AsyncPersistenceService, *, renders: bool) -> None:
    context = await build_rag_context(source, spec=SPEC)
    if not all(context.rows.values()):
        raise RuntimeError("the stub's rows did not all arrive")
    if renders:
        context.to_prompt()


async def measure(port: int, rounds: int) -> dict[str, Rounds]:
    async with service(port) as source:
        cases = {
            "three queries in turn": partial(queries, source),
            "eight tables": partial(build, source, renders=False),
            "eight tables, and their prompt": partial(build, source, renders=True),
        }
        return await interleave({name: partial(per_call, case, 1) for name, case in cases.items()}, rounds=rounds)


def main(rounds: int, as_json: bool) -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, bodies()), daemon=True)
    server.start()
    found = asyncio.run(measure(ours.recv(), rounds))
    server.terminate()
    path, *built = found
    ratios = {name: found[name].ratio(found[path]) for name in built}
    table = [f"{f'at {LATENCY_S * 1e3:.0f} ms a request':<36} {'ms':>8} {'least':>8} {'ratio':>8}"]
    for name, case in found.items():
        ratio = f"{ratios[name]:8.2f}" if name in ratios else ""
        table.append(f"  {name:<34} {case.median * 1e3:8.1f} {case.least * 1e3:8.1f} {ratio}")
    report(
        table,
        [Target("eight tables / critical path", ratios["eight tables"], TARGET, "x")],
        {name: case.summary() | ({"ratio": ratios[name]} if name in ratios else {}) for name, case in found.items()},
        as_json=as_json,
    )


if __name__ == "__main__":
    options = arguments(__doc__, rounds=20).parse_args()
    main(options.rounds, options.json)
