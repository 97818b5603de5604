"""A graph that is faster than its store waits for a few requests, not for one a step, and loses nothing by it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

import anyio
import anyio.lowlevel
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Durability

from agent_persistence import AdapterError, InMemoryAdapter, Schema, create_persistence_agent
from agent_persistence.ext._langgraph.outbox import ROWS_A_REQUEST
from agent_persistence.ext._langgraph.runs import FAILED_RUNS, Runs
from agent_persistence.ext.langgraph import Checkpointer
from agent_persistence.query.records import Record
from tests.ext.backends import allowing

pytestmark = pytest.mark.asyncio
STEPS = 60
TABLES = Checkpointer.tables()
TABLE, *_ = TABLES
BOUND = {"recursion_limit": STEPS + 10}


class Slow(InMemoryAdapter):
    """A store whose first statement takes as long as `first` says; each is noted as the rows that it stored."""

    def __init__(self) -> None:
        super().__init__(schema=Schema(TABLES))
        self.statements: list[int] = []
        self.first: anyio.Event | None = None
        self.fails_from: int | None = None

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        self.statements.append(len(records))
        if self.first is not None:
            await self.first.wait()
        await anyio.lowlevel.checkpoint()
        if self.fails_from is not None and self.fails_from <= len(self.statements):
            raise AdapterError("full", state="rejected")
        return await super().bulk_write(table, records, on_conflict=on_conflict)


class Counted(TypedDict):
    done: Annotated[list[int], operator.add]


@pytest.fixture
def adapter() -> Slow:
    return Slow()


@pytest.fixture
def saver(adapter: Slow) -> Checkpointer:
    return Checkpointer(create_persistence_agent(adapter=adapter, log=False, **allowing(TABLES)))


def thread(name: str) -> RunnableConfig:
    return {"configurable": {"thread_id": name}, **BOUND}  # type: ignore[typeddict-item]


def counting(saver: Checkpointer, seen: list[int] | None = None) -> Any:
    """A graph that counts its steps; each notes how many checkpoints are stored while it runs."""

    async def step(state: Counted) -> dict[str, Any]:
        if seen is not None:
            seen.append(len([one async for one in saver.alist(thread("one"))]))
        return {"done": [len(state["done"])]}

    builder = StateGraph(Counted).add_node("step", step).add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: END if len(state["done"]) >= STEPS else "step")
    return builder.compile(checkpointer=saver)


async def counts(saver: Checkpointer, name: str = "one") -> list[int]:
    """How many steps each checkpoint counts, from the newest back along the parents."""
    found = await saver.aget_tuple(thread(name))
    chain = []
    while found is not None:
        chain.append(len(found.checkpoint["channel_values"].get("done", [])))
        found = None if found.parent_config is None else await saver.aget_tuple(found.parent_config)
    return chain


async def test_a_graph_waits_for_a_few_requests(saver: Checkpointer, adapter: Slow) -> None:
    """Here all steps are done while the first one is on its way; each checkpoint comes with its parent."""
    adapter.first = anyio.Event()
    async for state in counting(saver).astream({"done": []}, thread("one"), stream_mode="values"):
        if len(state["done"]) == STEPS - 1:
            adapter.first.set()
    assert len(adapter.statements) < STEPS / 4
    assert max(adapter.statements) <= ROWS_A_REQUEST
    assert await counts(saver) == [*range(STEPS, -1, -1), 0]
    assert saver._runs._runs == {}


async def test_every_step_is_stored_before_the_next_where_that_was_asked_for(saver: Checkpointer) -> None:
    """Which is what `durability="sync"` promises."""
    seen: list[int] = []
    await counting(saver, seen).ainvoke({"done": []}, thread("one"), durability="sync")
    assert seen == [*range(2, STEPS + 2)]


@pytest.mark.parametrize(("durability", "stored"), [("async", STEPS + 2), ("exit", 1)])
async def test_the_end_is_stored_when_the_run_returns(saver: Checkpointer, durability: Durability, stored: int) -> None:
    """All checkpoints, or the last one alone."""
    await counting(saver).ainvoke({"done": []}, thread("one"), durability=durability)
    assert len([one async for one in saver.alist(thread("one"))]) == stored
    assert (await counts(saver))[0] == STEPS


@pytest.mark.parametrize("fails_from", [1, 2, 3])
async def test_what_fails_ends_the_run_and_leaves_a_beginning(
    saver: Checkpointer, adapter: Slow, fails_from: int
) -> None:
    """No checkpoint without its parent; the graph goes on from there to its whole end."""
    adapter.fails_from = fails_from
    with pytest.raises(AdapterError, match="full"):
        await counting(saver).ainvoke({"done": []}, thread("one"))
    chain = await counts(saver)
    assert len(chain) == len([one async for one in saver.alist(thread("one"))]) < STEPS
    adapter.fails_from = None
    await counting(saver).ainvoke(None if chain else {"done": []}, thread("one"))
    assert (await counts(saver))[: STEPS + 1] == [*range(STEPS, -1, -1)]


async def test_a_run_that_begins_with_a_command_is_stored(saver: Checkpointer) -> None:
    """LangGraph writes for a checkpoint then that it never puts."""
    await counting(saver).ainvoke(Command(update={"done": [0, 1]}, goto="step"), thread("one"))
    assert (await counts(saver))[0] == STEPS


async def test_two_runs_of_one_thread_both_store_their_ends(saver: Checkpointer) -> None:
    """What one of them has still to put says nothing of the other."""
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(counting(saver).ainvoke, {"done": []}, thread("one"))
    ends = [one for one in [one async for one in saver.alist(thread("one"))] if _count(one) == STEPS]
    assert len(ends) == 2


def _count(found: Any) -> int:
    return len(found.checkpoint["channel_values"].get("done", []))


async def test_a_put_after_one_that_failed_stores_its_parent_too() -> None:
    """LangGraph makes it in spite of a failure or a cancellation; a checkpoint without its parent has lost a step."""
    runs, sent = Runs(), []
    config: Any = {"configurable": {"thread_id": "t", "__pregel_runtime": object()}}

    async def store(parts: Sequence[Any]) -> None:
        sent.append([part["value"] for part in parts])
        if len(sent) == 1:
            raise AdapterError("cut", state="ambiguous")

    with pytest.raises(AdapterError):
        await runs.put(config, "1", [{"value": "a"}], store)
    await runs.put(config, "2", [{"value": "b"}], store)
    await runs.put(config, "3", [{"value": "c"}], store)
    assert sent == [["a"], ["a", "b"], ["c"]]


async def test_runs_that_failed_are_forgotten_in_the_end() -> None:
    """Of each run nobody says that no put will follow."""
    runs = Runs()

    async def store(parts: Sequence[Any]) -> None:
        raise AdapterError("cut", state="ambiguous")

    for _ in range(FAILED_RUNS + 10):
        config: Any = {"configurable": {"thread_id": "t", "__pregel_runtime": object()}}
        with pytest.raises(AdapterError):
            await runs.put(config, "1", [{"value": "a"}], store)
    assert len(runs._runs) == FAILED_RUNS
