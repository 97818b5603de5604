"""A graph of 100 steps with its checkpoints: over PostgREST against langgraph-checkpoint-supabase, over SQL against
langgraph-checkpoint-postgres; and a session of OpenAI Agents against SQLAlchemySession.

The server is that of the tests. What goes to it over REST passes a relay that makes a round trip 20 ms. Three graphs
over REST: one whose state is a number; one that was given 200 KB of documents, which stay as they are; and one whose
steps have ten nodes side by side. Every graph is run from its first step on a thread of its own. The session adds two
items and reads the newest twenty, as a turn of an agent does, a hundred times.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final, TypedDict
from uuid import uuid4

from _measure import Rounds, Target, arguments, interleave, missing, report, speedup
from distant_server import distant

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent_persistence import Schema, SupabaseAdapter, TablePolicy, create_persistence_agent
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.base import PersistenceAdapter
from agent_persistence.metrics import Metrics
from tests.server import LocalServer, running_server

STEPS: Final = 100
TURNS: Final = 100
WIDTH: Final = 10
ROUND_TRIP_S: Final = 0.02
DOCUMENTS: Final = [f"{number:04} " + "a sentence of a document " * 40 for number in range(200)]
PEERS: Final = ("langgraph", "langgraph.checkpoint.postgres", "langgraph_checkpoint_supabase", "sqlalchemy")
OURS, SUPABASE, POSTGRES = "Checkpointer", "langgraph-checkpoint-supabase", "langgraph-checkpoint-postgres"
SESSION, SQLALCHEMY = "AgentSession", "SQLAlchemySession"
SUPABASE_TABLES: Final = """
create table langgraph_checkpoints (thread_id text, checkpoint_ns text default '', checkpoint_id text,
  parent_checkpoint_id text, checkpoint jsonb not null, metadata jsonb not null default '{}',
  primary key (thread_id, checkpoint_ns, checkpoint_id));
create table langgraph_checkpoint_writes (thread_id text, checkpoint_ns text default '', checkpoint_id text,
  task_id text, task_path text default '', idx int, channel text not null, write jsonb not null,
  primary key (thread_id, checkpoint_ns, checkpoint_id, task_id, idx));
"""
"""As its README has them; the script that it names there is not in the package."""

Case = Callable[[], Awaitable[float]]


def later(one: int, other: int) -> int:
    return max(one, other)


class State(TypedDict):
    step: Annotated[int, later]
    documents: list[str]


def graph_of(width: int, saver: Any) -> Any:
    """A graph whose every step runs `width` nodes side by side, and then one that counts."""
    from langgraph.graph import END, START, StateGraph

    async def count(state: State) -> dict[str, Any]:
        return {"step": state["step"] + 1}

    builder = StateGraph(State)
    names = [f"node{number}" for number in range(width)]
    for name in names:
        builder.add_node(name, count)
        builder.add_edge(START, name)
        builder.add_conditional_edges(name, lambda state: names if state["step"] < STEPS else [END])
    return builder.compile(checkpointer=saver)


def running(saver: Any, *, width: int = 1, documents: list[str] | None = None) -> Case:
    """The seconds that one run of the graph takes, on a new thread."""
    graph = graph_of(width, saver)

    async def run() -> float:
        config = {"configurable": {"thread_id": str(uuid4())}, "recursion_limit": STEPS + 10}
        start = time.perf_counter()
        ended = await graph.ainvoke({"step": 0, "documents": documents or []}, config)
        assert ended["step"] == STEPS
        return time.perf_counter() - start

    return run


def talking(session: Callable[[str], Any]) -> Case:
    """The seconds that the turns of one conversation take."""

    async def run() -> float:
        own = session(str(uuid4()))
        start = time.perf_counter()
        for turn in range(TURNS):
            await own.add_items([{"role": "user", "content": f"{turn}?"}, {"role": "assistant", "content": f"{turn}."}])
            assert await own.get_items(20)
        return time.perf_counter() - start

    return run


def agent_over(adapter: PersistenceAdapter) -> Any:
    from agent_persistence.ext.langgraph import Checkpointer
    from agent_persistence.ext.openai_agents import AgentSession

    tables = {**Checkpointer.tables(), **AgentSession.tables()}
    policy = TablePolicy(read=tables, write=tables, delete=tables)
    return create_persistence_agent(adapter=adapter, schema=Schema(tables), policy=policy, metrics=Metrics(), log=False)


async def over_rest(server: LocalServer, url: str, rounds: int) -> dict[str, dict[str, Rounds]]:
    from langgraph_checkpoint_supabase.aio import AsyncSupabaseSaver

    from agent_persistence.ext.langgraph import Checkpointer

    adapter = SupabaseAdapter(url, server.service_key)  # persistence-guard: allow AP001 the adapter that is measured
    ours = Checkpointer(agent_over(adapter))
    theirs = await AsyncSupabaseSaver.from_conn_info(url=url, key=server.service_key)
    graphs: dict[str, dict[str, Any]] = {
        "a number": {},
        "200 KB of documents": {"documents": DOCUMENTS},
        f"{WIDTH} nodes a step": {"width": WIDTH},
    }
    try:
        return {
            f"graph over REST, {name}": await interleave(
                {OURS: running(ours, **options), SUPABASE: running(theirs, **options)}, rounds=rounds
            )
            for name, options in graphs.items()
        }
    finally:
        await adapter.aclose()
        await theirs.client.postgrest.aclose()


async def over_sql(server: LocalServer, rounds: int) -> dict[str, dict[str, Rounds]]:
    from agents.extensions.memory import SQLAlchemySession
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from sqlalchemy.ext.asyncio import create_async_engine

    from agent_persistence.ext.langgraph import Checkpointer
    from agent_persistence.ext.openai_agents import AgentSession

    async with AsyncExitStack() as stack:
        adapter = PostgresAdapter(server.database_url)  # persistence-guard: allow AP001 the adapter that is measured
        stack.push_async_callback(adapter.aclose)
        agent = agent_over(adapter)
        theirs = await stack.enter_async_context(AsyncPostgresSaver.from_conn_string(server.database_url))
        await theirs.setup()
        engine = create_async_engine(server.database_url.replace("postgresql://", "postgresql+asyncpg://"))
        stack.push_async_callback(engine.dispose)
        await SQLAlchemySession("made", engine=engine, create_tables=True).get_items()
        return {
            "graph over SQL": await interleave(
                {OURS: running(Checkpointer(agent)), POSTGRES: running(theirs)}, rounds=rounds
            ),
            "session over SQL": await interleave(
                {
                    SESSION: talking(lambda name: AgentSession(agent, name)),
                    SQLALCHEMY: talking(lambda name: SQLAlchemySession(name, engine=engine)),
                },
                rounds=rounds,
            ),
        }


def prepared(server: LocalServer) -> None:
    from agent_persistence.ext.langgraph import Checkpointer
    from agent_persistence.ext.openai_agents import AgentSession

    server.execute(SUPABASE_TABLES + Checkpointer.sql() + AgentSession.sql())
    server.reload_schema()


def targets(found: dict[str, dict[str, Rounds]]) -> list[Target]:
    return [
        Target(what, median(cases[mine].speedups(cases[theirs])), 5 if "REST" in what else 1, "x", True, theirs)
        for what, cases in found.items()
        for mine, theirs in [tuple(cases)]
    ]


def table(found: dict[str, dict[str, Rounds]]) -> list[str]:
    lines = []
    for what, cases in found.items():
        mine, theirs = cases
        lines.append(f"{what:<36} {mine:<30} {cases[mine].median * 1000:8.0f} ms")
        told = speedup(cases[mine], cases[theirs])
        lines.append(f"{'':<36} {theirs:<30} {cases[theirs].median * 1000:8.0f} ms  {told}")
    return lines


def main(rounds: int, as_json: bool) -> None:
    with running_server() as server:
        prepared(server)
        with distant(server.url, round_trip_s=ROUND_TRIP_S) as url:
            found = asyncio.run(over_rest(server, url, rounds))
        found |= asyncio.run(over_sql(server, rounds))
    figures = {what: {name: case.summary() for name, case in cases.items()} for what, cases in found.items()}
    report(table(found), targets(found), {"cases": figures}, as_json=as_json)


if __name__ == "__main__":
    options = arguments(__doc__, rounds=3).parse_args()
    if absent := missing(*PEERS):
        sys.exit(absent)
    main(options.rounds, options.json)
