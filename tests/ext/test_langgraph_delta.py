"""A DeltaChannel, whose value is made of earlier checkpoints' writes, is the same as with LangGraph's own saver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from agent_persistence.ext.langgraph import Checkpointer
from tests.ext.backends import BackEnd

STEPS = 12
CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}}


def appended(log: Sequence[str] | None, writes: Sequence[Sequence[str]]) -> list[str]:
    return [*(log or ()), *(entry for write in writes for entry in write)]


class Logged(TypedDict):
    step: int
    log: Annotated[list[str], DeltaChannel(appended, snapshot_frequency=5)]


def built() -> StateGraph[Any]:
    def count(state: Logged) -> dict[str, Any]:
        return {"step": state["step"] + 1, "log": [f"counted {state['step']}"]}

    def note(state: Logged) -> dict[str, Any]:
        return {"log": [f"noted {state['step']}"]}

    builder = StateGraph(Logged)
    builder.add_node("count", count)
    builder.add_node("note", note)
    builder.add_edge(START, "count")
    builder.add_edge("count", "note")
    builder.add_conditional_edges("note", lambda state: END if state["step"] >= STEPS else "count")
    return builder


async def states(saver: Any) -> list[Any]:
    """The state at every checkpoint, the newest first."""
    graph = built().compile(checkpointer=saver)
    await graph.ainvoke({"step": 0, "log": ["begun"]}, {**CONFIG, "recursion_limit": 100})
    await graph.aupdate_state(CONFIG, {"log": ["from outside"]}, as_node="note")
    return [one.values async for one in graph.aget_state_history(CONFIG)]


@pytest.mark.filterwarnings("default")  # DeltaChannel is in beta and says so
@pytest.mark.asyncio
async def test_its_value_is_the_same_at_every_checkpoint(back_end: BackEnd) -> None:
    """Also in a copy; and such a thread is not pruned."""
    async with back_end.agent(Checkpointer.tables()) as agent:
        saver = Checkpointer(agent)
        found = await states(saver)
        assert found == await states(InMemorySaver())
        await saver.acopy_thread("t", "copy")
        graph = built().compile(checkpointer=saver)
        copied = await graph.aget_state({"configurable": {"thread_id": "copy"}})
        assert copied.values == found[0]
        assert len(found[0]["log"]) == 2 * STEPS + 2
        with pytest.raises(NotImplementedError, match="DeltaChannel"):
            await saver.aprune(["t"])
