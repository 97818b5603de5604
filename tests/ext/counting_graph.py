"""A graph of many steps that is run by a process of its own, to be killed: `python -m tests.ext.counting_graph …`."""

from __future__ import annotations

import operator
import sys
from typing import Annotated, Any, Final, TypedDict

import anyio
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph

from agent_persistence.ext.langgraph import Checkpointer
from tests.ext.backends import allowing

STEPS: Final = 200
CONFIG: Final[RunnableConfig] = {"configurable": {"thread_id": "counting"}, "recursion_limit": STEPS + 10}


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


async def go_on(saver: Checkpointer) -> list[int]:
    """Run the graph to its end, from wherever it was left."""
    graph = built().compile(checkpointer=saver)
    begun = await saver.aget_tuple(CONFIG) is not None
    ended = await graph.ainvoke(None if begun else {"done": []}, CONFIG)
    return list((ended or (await graph.aget_state(CONFIG)).values)["done"])


async def steps_in_store(saver: Checkpointer) -> list[int]:
    """How many steps each checkpoint counts, from the newest back along the parents."""
    counts = []
    config: RunnableConfig | None = CONFIG
    while config is not None:
        found = await saver.aget_tuple(config)
        assert found is not None
        done = found.checkpoint["channel_values"].get("done", [])
        assert done == [*range(len(done))]
        counts.append(len(done))
        config = found.parent_config
    return counts


async def main(url: str, key: str) -> None:
    from agent_persistence import SupabaseAdapter, create_persistence_agent

    # persistence-guard: allow AP001 a process of a test
    adapter = SupabaseAdapter(url, key)
    agent = create_persistence_agent(adapter=adapter, **allowing(Checkpointer.tables()))
    print("begins", flush=True)
    print(len(await go_on(Checkpointer(agent))), flush=True)
    await adapter.aclose()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
