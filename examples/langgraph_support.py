"""A support desk as a LangGraph graph: it remembers a customer, asks a person before it refunds, and goes on later.

    python -m examples.langgraph_support

Everything is in memory here. With SUPABASE_URL and a key, `create_persistence_agent(schema=…, policy=…)` keeps the same
in a project whose owner has run what `Checkpointer.sql()` and `Store.sql()` print.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import anyio
from langgraph.config import get_store
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from agent_persistence import Schema, TablePolicy, create_persistence_agent
from agent_persistence.ext.langgraph import Checkpointer, Store

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

TABLES = {**Checkpointer.tables(), **Store.tables()}


class Case(TypedDict):
    customer: str
    messages: Annotated[list[str], operator.add]


async def remember(state: Case) -> dict[str, Any]:
    """What is known of the customer from earlier conversations."""
    known = await get_store().asearch(("customers", state["customer"]))
    return {"messages": [f"known: {', '.join(item.value['fact'] for item in known) or 'nothing'}"]}


async def refund(state: Case) -> dict[str, Any]:
    """A person decides; until then the graph rests in the database."""
    decision = interrupt(f"Refund {state['customer']}?")
    await get_store().aput(("customers", state["customer"]), "refund", {"fact": f"a refund was {decision}"})
    return {"messages": [f"refund: {decision}"]}


def desk() -> StateGraph[Case, Any, Case, Case]:
    builder = StateGraph(Case)
    builder.add_node("remember", remember)
    builder.add_node("refund", refund)
    builder.add_edge(START, "remember")
    builder.add_edge("remember", "refund")
    builder.add_edge("refund", END)
    return builder


async def main() -> None:
    policy = TablePolicy(read=TABLES, write=TABLES, delete=TABLES)
    async with create_persistence_agent("memory", schema=Schema(TABLES), policy=policy) as agent:
        config: RunnableConfig = {"configurable": {"thread_id": "case-1"}}
        morning = desk().compile(checkpointer=Checkpointer(agent), store=Store(agent))
        asked = await morning.ainvoke({"customer": "ada", "messages": ["My parcel is broken."]}, config)
        print(asked["__interrupt__"][0].value)

        afternoon = desk().compile(checkpointer=Checkpointer(agent), store=Store(agent))  # another process
        ended = await afternoon.ainvoke(Command(resume="granted"), config)
        print(*ended["messages"], sep="\n")

        again: RunnableConfig = {"configurable": {"thread_id": "case-2"}}
        await afternoon.ainvoke({"customer": "ada", "messages": ["Hello again."]}, again)
        print((await afternoon.aget_state(again)).values["messages"][-1])


if __name__ == "__main__":
    anyio.run(main)
