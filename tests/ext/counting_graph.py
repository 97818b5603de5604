"""A graph of many steps, run by processes that are killed: `python -m tests.ext.counting_graph postgres|supabase …`.

It reads lines of a thread, a time in seconds and a durability. For each it forks a process that takes up the graph of
the thread where it was left, kills that process after the time, and prints how it came out. A fork begins at once,
where a process of its own would first import for seconds.
"""

from __future__ import annotations

import operator
import os
import signal
import sys
import time
import traceback
from typing import Annotated, Any, Final, TypedDict, cast

import anyio
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.graph import END, START, StateGraph
from langgraph.types import Durability

from agent_persistence import PersistenceError
from agent_persistence.ext.langgraph import Checkpointer
from tests.ext.backends import allowing

STEPS: Final = 200
OUTCOMES: Final = {0: "ended", 1: "failed", -signal.SIGKILL: "killed"}


def config_of(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}, "recursion_limit": STEPS + 10}


class Counted(TypedDict):
    done: Annotated[list[int], operator.add]


def built() -> StateGraph[Any]:
    """Each step adds the number of those that were done before it."""

    async def step(state: Counted) -> dict[str, Any]:
        return {"done": [len(state["done"])]}

    builder = StateGraph(Counted)
    builder.add_node("step", step)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: END if len(state["done"]) >= STEPS else "step")
    return builder


async def go_on(saver: Checkpointer, thread: str = "counting", durability: Durability = "async") -> list[int]:
    """Run the graph to its end, from wherever it was left."""
    graph, config = built().compile(checkpointer=saver), config_of(thread)
    begun = await saver.aget_tuple(config) is not None
    ended = await graph.ainvoke(None if begun else {"done": []}, config, durability=durability)
    return list((ended or (await graph.aget_state(config)).values)["done"])


async def steps_in_store(saver: Checkpointer, thread: str = "counting") -> tuple[list[int], int]:
    """How many steps each checkpoint counts, from the newest back along the parents; and how many are beside them."""
    stored = {found.config["configurable"]["checkpoint_id"]: found async for found in saver.alist(config_of(thread))}
    counts = []
    found: CheckpointTuple | None = stored[max(stored)]
    while found is not None:
        done = found.checkpoint["channel_values"].get("done", [])
        assert done == [*range(len(done))]
        counts.append(len(done))
        parent = found.parent_config
        found = None if parent is None else stored[parent["configurable"]["checkpoint_id"]]
    return counts, len(stored) - len(counts)


async def run(kind: str, address: list[str], thread: str, durability: Durability) -> int:
    """The status of the process: 0 where the graph has ended, 1 where the store failed."""
    from agent_persistence import PostgresAdapter, SupabaseAdapter, create_persistence_agent

    # persistence-guard: allow AP001 a process of a test
    adapter = SupabaseAdapter(*address) if kind == "supabase" else PostgresAdapter(*address)
    agent = create_persistence_agent(adapter=adapter, log=False, **allowing(Checkpointer.tables()))
    try:
        return 0 if len(await go_on(Checkpointer(agent), thread, durability)) == STEPS else 2
    except PersistenceError:
        return 1
    except BaseException:  # printed here, since this process ends without the interpreter
        traceback.print_exc()
        return 2


def outcome(pid: int, seconds: float) -> str:
    """How the process ended, if need be by SIGKILL after so many seconds."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return OUTCOMES.get(os.waitstatus_to_exitcode(status), "broke")
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    return OUTCOMES.get(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "broke")


def main(kind: str, *address: str) -> None:
    print("begins", flush=True)
    for line in sys.stdin:
        thread, seconds, durability = line.split()
        pid = os.fork()
        if pid == 0:
            os._exit(anyio.run(run, kind, [*address], thread, cast("Durability", durability)))
        print(outcome(pid, float(seconds)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
