"""What LangGraph's suite does not ask of a checkpointer, over each back end."""

from __future__ import annotations

import operator
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

import pytest
from anyio.from_thread import start_blocking_portal
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from agent_persistence import (
    AdapterError,
    ConfigurationError,
    InMemoryAdapter,
    Schema,
    TablePolicy,
    ValidationError,
    create_persistence_agent,
)
from agent_persistence.ext.langgraph import Checkpointer
from agent_persistence.query.records import Record
from agent_persistence.sync import create_persistence_agent as blocking_agent
from tests.ext.backends import BackEnd, allowing

TABLES = Checkpointer.tables()


def config(thread_id: object = "t", **more: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **more}}


def made(values: dict[str, Any] | None = None, version: str = "1") -> Checkpoint:
    values = values or {}
    return {
        **empty_checkpoint(),
        "id": str(uuid6()),
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, version),
    }


def told(**more: Any) -> CheckpointMetadata:
    return {"source": "loop", "step": 0, "parents": {}, **more}  # type: ignore[typeddict-item]


@asynccontextmanager
async def opened(back_end: BackEnd, **options: Any) -> AsyncIterator[Checkpointer]:
    async with back_end.agent(TABLES, **options) as agent:
        yield Checkpointer(agent)


async def put(saver: Checkpointer, values: dict[str, Any] | None = None, **more: Any) -> RunnableConfig:
    checkpoint = made(values)
    return await saver.aput(config(), checkpoint, told(**more), checkpoint["channel_versions"])


async def listed(saver: Checkpointer, **asked: Any) -> list[str]:
    return [found.checkpoint["id"] async for found in saver.alist(config(), **asked)]


VALUES = {
    "nul": "a\0b",
    "number": 1e22,
    "surrogate-free": "naïve 漢字 👩‍🚀",
    "bytes": bytes(range(256)),
    "none": None,
    "nested": {"b": [1, 2.5, None, True], "a": {"z": 1, "y": 2}},
    "big": 2**63,
    "set": {1, 2},
    "id": uuid.UUID(int=7),
}


@pytest.mark.asyncio
async def test_values_come_back_exactly(back_end: BackEnd) -> None:
    """Also those that jsonb would change or refuse."""
    async with opened(back_end) as saver:
        found = await saver.aget_tuple(await put(saver, VALUES))
    assert found is not None
    assert found.checkpoint["channel_values"] == VALUES
    assert [*found.checkpoint["channel_values"]["nested"]["a"]] == ["z", "y"]


@pytest.mark.asyncio
async def test_a_thread_id_is_a_text(back_end: BackEnd) -> None:
    """1 and "1" are one thread; what is neither text nor int is refused before anything is asked for."""
    async with opened(back_end) as saver:
        checkpoint = made()
        stored = await saver.aput(config(1), checkpoint, told(), {})
        assert stored["configurable"]["thread_id"] == "1"
        for thread_id in (1, "1"):
            found = await saver.aget_tuple(config(thread_id))
            assert found is not None
            assert found.checkpoint["id"] == checkpoint["id"]
        for wrong in (None, 1.5, True, b"x"):
            with pytest.raises(ValidationError, match="thread_id"):
                await saver.aget_tuple(config(wrong))


@pytest.mark.asyncio
async def test_the_first_ordinary_write_stays_and_the_last_special_one_counts(back_end: BackEnd) -> None:
    """In whatever company they come: a task that runs again changes nothing, an interrupt that is sent again does."""
    async with opened(back_end) as saver:
        stored = await put(saver)
        await saver.aput_writes(stored, [("a", 1), (INTERRUPT, "first")], "task")
        await saver.aput_writes(stored, [("a", 2), ("b", 2), (INTERRUPT, "second")], "task")
        await saver.aput_writes(stored, [(RESUME, 3)], "task")
        await saver.aput_writes(stored, [(RESUME, 4)], "task")
        await saver.aput_writes(stored, [("a", 5)], "task")
        await saver.aput_writes(stored, [], "task")
        found = await saver.aget_tuple(stored)
    assert found is not None
    assert {channel: value for _, channel, value in found.pending_writes or ()} == {
        "a": 1,
        "b": 2,
        INTERRUPT: "second",
        RESUME: 4,
    }


@pytest.mark.asyncio
async def test_of_two_special_writes_in_one_call_the_last_counts(back_end: BackEnd) -> None:
    """They have one index."""
    async with opened(back_end) as saver:
        stored = await put(saver)
        await saver.aput_writes(stored, [(ERROR, "one"), (ERROR, "two")], "task")
        found = await saver.aget_tuple(stored)
    assert found is not None
    assert found.pending_writes == [("task", ERROR, "two")]


@pytest.mark.asyncio
async def test_pending_writes_come_in_the_order_in_which_a_step_applies_them(back_end: BackEnd) -> None:
    """By the path of the task, then its id, then the place."""
    async with opened(back_end) as saver:
        stored = await put(saver)
        await saver.aput_writes(stored, [("c", 3), ("c", 4)], "a-task", "~2")
        await saver.aput_writes(stored, [("c", 1)], "z-task", "~1")
        await saver.aput_writes(stored, [("c", 0)], "b-task")
        found = await saver.aget_tuple(stored)
    assert found is not None
    assert [value for _, _, value in found.pending_writes or ()] == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("wanted", "steps"),
    [
        ({"flag": True}, [1]),
        ({"flag": 1}, [2]),
        ({"flag": 1.0}, [2]),
        ({"flag": None}, [3, 0]),
        ({"nested": {"a": 1}}, [2]),
        ({"nested": {"a": 1, "b": 2}}, [1]),
        ({"source": "loop", "step": 3}, [3]),
        ({"flag": "x" * 300}, []),
    ],
)
@pytest.mark.asyncio
async def test_metadata_is_compared_as_json(back_end: BackEnd, wanted: dict[str, Any], steps: list[int]) -> None:
    """True is not 1, a part of a mapping is not the mapping, and None is null or missing."""
    several: list[dict[str, Any]] = [
        {},
        {"flag": True, "nested": {"a": 1, "b": 2}},
        {"flag": 1, "nested": {"a": 1}},
        {"flag": None},
    ]
    async with opened(back_end) as saver:
        for step, more in enumerate(several):
            await put(saver, step=step, **more)
        found = [one.metadata["step"] async for one in saver.alist(config(), filter=wanted)]
    assert found == steps


@pytest.mark.asyncio
async def test_a_list_is_not_cut_and_a_limit_is_kept(back_end: BackEnd) -> None:
    """Over several pages, the newest first; 0 and less give nothing."""
    async with opened(back_end) as saver:
        ids = [(await put(saver, step=step))["configurable"]["checkpoint_id"] for step in range(120)]
        newest_first = ids[::-1]
        assert await listed(saver) == newest_first
        assert await listed(saver, limit=51) == newest_first[:51]
        assert await listed(saver, limit=0) == []
        assert await listed(saver, limit=-1) == []
        assert await listed(saver, before=config(checkpoint_id=ids[3])) == newest_first[-3:]
        assert await listed(saver, filter={"step": 7}, limit=1) == [ids[7]]
        assert [one.checkpoint["id"] for one in saver.list(config(), limit=60)] == newest_first[:60]


@pytest.mark.asyncio
async def test_a_list_over_all_threads_is_sorted_over_all(back_end: BackEnd) -> None:
    """Also where a copy has the same ids."""
    async with opened(back_end) as saver:
        for _ in range(60):
            await put(saver, {"a": "x"})
        await saver.acopy_thread("t", "u")
        everything = [one async for one in saver.alist(None)]
    keys = [(one.checkpoint["id"], one.config["configurable"]["thread_id"]) for one in everything]
    assert len(keys) == 120
    assert keys == sorted(keys, key=lambda key: (-int(key[0].replace("-", ""), 16), key[1]))
    assert all(one.checkpoint["channel_values"] == {"a": "x"} for one in everything)


@pytest.mark.asyncio
async def test_more_channels_than_one_request_takes_are_read(back_end: BackEnd) -> None:
    """The list of versions is split where it is too long for a URL."""
    values = {f"channel-{number}": [number] for number in range(300)}
    checkpoint: Checkpoint = {
        **made(),
        "channel_values": values,
        "channel_versions": {channel: f"{number:032}.{number:016}" for number, channel in enumerate(values)},
    }
    async with opened(back_end) as saver:
        stored = await saver.aput(config(), checkpoint, told(), checkpoint["channel_versions"])
        found = await saver.aget_tuple(stored)
    assert found is not None
    assert found.checkpoint["channel_values"] == values


@pytest.mark.asyncio
async def test_pruning_leaves_what_the_newest_checkpoint_refers_to(back_end: BackEnd) -> None:
    """Values of older versions go; the newest has no parent any more."""
    async with opened(back_end) as saver, back_end.agent(TABLES) as agent:
        old = {**made({"a": [1], "b": [1]}), "channel_versions": {"a": "1", "b": "1"}}
        new = {**made({"a": [1], "b": [2]}), "channel_versions": {"a": "1", "b": "2"}}
        first = await saver.aput(config(), old, told(), {"a": "1", "b": "1"})  # type: ignore[arg-type]
        await saver.aput_writes(first, [("b", 2)], "task")
        await saver.aput(first, new, told(), {"b": "2"})  # type: ignore[arg-type]
        await saver.aprune(["t"])
        found = await saver.aget_tuple(config())
        left = await agent.query("langgraph_checkpoint_parts", select=["kind", "name", "ref"])
    assert found is not None
    assert found.checkpoint["channel_values"] == {"a": [1], "b": [2]}
    assert found.parent_config is None
    assert sorted((row["kind"], row["name"]) for row in left) == [("blob", "a"), ("blob", "b"), ("checkpoint", "")]


@pytest.mark.asyncio
async def test_deleting_a_run_leaves_values_to_which_another_run_refers(back_end: BackEnd) -> None:
    """And no value to which nobody does."""
    async with opened(back_end) as saver, back_end.agent(TABLES) as agent:
        old = {**made({"a": [1], "b": [1]}), "channel_versions": {"a": "1", "b": "1"}}
        new = {**made({"a": [1], "b": [2]}), "channel_versions": {"a": "1", "b": "2"}}
        await saver.aput(config(), old, told(run_id="r1"), {"a": "1", "b": "1"})  # type: ignore[arg-type]
        await saver.aput(config(), new, told(run_id="r2"), {"b": "2"})  # type: ignore[arg-type]
        await saver.adelete_for_runs(["r1"])
        found = await saver.aget_tuple(config())
        left = await agent.count("langgraph_checkpoint_parts")
    assert found is not None
    assert found.checkpoint["channel_values"] == {"a": [1], "b": [2]}
    assert left == 3


@pytest.mark.asyncio
async def test_an_unknown_strategy_and_a_text_for_a_list_are_refused(back_end: BackEnd) -> None:
    """Before anything is deleted."""
    async with opened(back_end) as saver:
        await put(saver)
        with pytest.raises(ValidationError, match="keep_latest, delete"):
            await saver.aprune(["t"], strategy="all")
        with pytest.raises(ValidationError, match="thread_ids is a list"):
            await saver.aprune("t", strategy="delete")
        assert len(await listed(saver)) == 1


@pytest.mark.asyncio
async def test_threads_whose_values_are_made_of_earlier_writes_are_neither_pruned_nor_thinned(
    back_end: BackEnd,
) -> None:
    """A DeltaChannel's value would silently be another one."""
    async with opened(back_end) as saver:
        await put(saver, counters_since_delta_snapshot={"log": [1, 1]}, run_id="r")
        with pytest.raises(NotImplementedError, match="DeltaChannel"):
            await saver.aprune(["t"])
        with pytest.raises(NotImplementedError, match="DeltaChannel"):
            await saver.adelete_for_runs(["r"])
        assert len(await listed(saver)) == 1
        await saver.aprune(["t"], strategy="delete")
        assert await listed(saver) == []


class Steps(TypedDict):
    done: Annotated[list[int], operator.add]
    answer: str


def interrupting() -> StateGraph[Any]:
    def step(state: Steps) -> dict[str, Any]:
        return {"done": [len(state["done"])]}

    def ask(state: Steps) -> dict[str, Any]:
        return {"answer": interrupt("what now?")}

    builder = StateGraph(Steps)
    builder.add_node("step", step)
    builder.add_node("ask", ask)
    builder.add_edge(START, "step")
    builder.add_edge("step", "ask")
    builder.add_edge("ask", END)
    return builder


@pytest.mark.asyncio
async def test_a_graph_stops_and_goes_on_where_another_process_would(back_end: BackEnd) -> None:
    """With an interrupt, a time travel and a change of the state from outside."""
    async with opened(back_end) as saver:
        graph = interrupting().compile(checkpointer=saver)
        await graph.ainvoke({"done": [], "answer": ""}, config())
    async with opened(back_end) as saver:
        graph = interrupting().compile(checkpointer=saver)
        state = await graph.aget_state(config())
        assert state.next == ("ask",)
        await graph.aupdate_state(config(), {"done": [41]}, as_node="step")
        ended = await graph.ainvoke(Command(resume="go on"), config())
        assert ended == {"done": [0, 41], "answer": "go on"}
        history = [one async for one in graph.aget_state_history(config())]
        first = next(one for one in history if one.next == ("step",))
        forked = await graph.ainvoke(None, first.config)
        assert forked["done"] == [0]


def test_the_blocking_methods_do_the_same(back_end: BackEnd) -> None:
    """Without a loop, as a graph's invoke calls them."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(opened(back_end)) as saver,
    ):
        graph = interrupting().compile(checkpointer=saver)
        graph.invoke({"done": [], "answer": ""}, config())
        assert graph.invoke(Command(resume="x"), config())["answer"] == "x"
        assert [one.metadata["step"] for one in saver.list(config(), limit=1)] == [2]
        saver.copy_thread("t", "u")
        saver.prune(["t"])
        assert len([*saver.list(config())]) == 1
        saver.delete_thread("t")
        saver.delete_for_runs(["none"])
        assert saver.get_tuple(config()) is None
        assert saver.get_tuple(config("u")) is not None


class LosesAnswers(InMemoryAdapter):
    """Applies every other bulk write and loses its answer."""

    def __init__(self) -> None:
        super().__init__(schema=Schema(TABLES))
        self.calls = 0

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        stored = await super().bulk_write(table, records, on_conflict=on_conflict)
        self.calls += 1
        if self.calls % 2:
            raise AdapterError("the connection broke", state="ambiguous")
        return stored


@pytest.mark.asyncio
async def test_what_got_no_answer_is_stored_once() -> None:
    """A put and its writes are sent again, and found to be there."""
    agent = create_persistence_agent(adapter=LosesAnswers(), **allowing(TABLES))
    saver = Checkpointer(agent)
    graph = interrupting().compile(checkpointer=saver)
    await graph.ainvoke({"done": [], "answer": ""}, config())
    assert (await graph.ainvoke(Command(resume="x"), config()))["done"] == [0]


@pytest.mark.asyncio
async def test_an_agent_that_does_not_declare_or_allow_the_table_is_refused() -> None:
    """With what is to be given to it."""
    schema = Schema(TABLES)
    some = create_persistence_agent(adapter=InMemoryAdapter())
    with pytest.raises(ConfigurationError, match=r"schema=Schema\(\{\*\*yours\.tables, \*\*Checkpointer\.tables\(\)\}"):
        Checkpointer(some)
    reading = create_persistence_agent(
        adapter=InMemoryAdapter(schema=schema), schema=schema, policy=TablePolicy(read=TABLES, write=TABLES)
    )
    with pytest.raises(ConfigurationError, match="langgraph_checkpoint_parts in delete="):
        Checkpointer(reading)
    blocking: Any = blocking_agent(adapter=InMemoryAdapter())
    with pytest.raises(ConfigurationError, match="async verbs"):
        Checkpointer(blocking)
