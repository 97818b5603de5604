"""Puts and writes that come at once share requests, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata, empty_checkpoint

from agent_persistence import AdapterError, ConflictError, InMemoryAdapter, Schema, create_persistence_agent
from agent_persistence.ext.langgraph import Checkpointer
from agent_persistence.query.records import Record
from tests.ext.backends import allowing

pytestmark = pytest.mark.asyncio
TABLES = Checkpointer.tables()
CONFIG: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
TOLD: CheckpointMetadata = {"source": "loop", "step": 0, "parents": {}}


class Slow(InMemoryAdapter):
    """Takes a while for each request, and keeps how many rows it had."""

    def __init__(self) -> None:
        super().__init__(schema=Schema(TABLES))
        self.requests: list[int] = []
        self.failing: set[str] = set()

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        self.requests.append(len(records))
        await anyio.sleep(0.01)
        if self.failing & {record["name"] for record in records}:
            raise AdapterError("not this one", state="rejected")
        return await super().bulk_write(table, records, on_conflict=on_conflict)


async def begun() -> tuple[Slow, Checkpointer, RunnableConfig]:
    adapter = Slow()
    saver = Checkpointer(create_persistence_agent(adapter=adapter, **allowing(TABLES)))
    stored = await saver.aput(CONFIG, empty_checkpoint(), TOLD, {})
    adapter.requests.clear()
    return adapter, saver, stored


async def pending(saver: Checkpointer) -> dict[str, Any]:
    found = await saver.aget_tuple(CONFIG)
    assert found is not None
    return {task: value for task, _, value in found.pending_writes or ()}


async def test_what_comes_while_a_request_is_under_way_goes_together() -> None:
    """The writes of ten tasks are two requests, the first of them as it came."""
    adapter, saver, stored = await begun()
    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(saver.aput_writes, stored, [("a", number), ("b", number)], f"task{number}")
    assert adapter.requests == [2, 18]
    assert await pending(saver) == {f"task{number}": number for number in range(10)}


async def test_each_caller_gets_the_own_error() -> None:
    """What is refused together is sent singly."""
    adapter, saver, stored = await begun()
    adapter.failing = {"task3"}
    failed: list[str] = []

    async def write(task: str) -> None:
        try:
            await saver.aput_writes(stored, [("a", task)], task)
        except AdapterError:
            failed.append(task)

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(write, f"task{number}")
    assert failed == ["task3"]
    assert {*await pending(saver)} == {"task0", "task1", "task2", "task4"}


async def test_writes_that_are_there_already_do_not_keep_others_back() -> None:
    """The first one stays, and the rest is stored."""
    _, saver, stored = await begun()
    await saver.aput_writes(stored, [("a", "first")], "task1")
    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(saver.aput_writes, stored, [("a", number)], f"task{number}")
    assert await pending(saver) == {"task0": 0, "task1": "first", "task2": 2, "task3": 3}


async def test_a_caller_that_is_cancelled_leaves_and_the_others_do_not_notice() -> None:
    """Whether the parts have left already or not."""
    _, saver, stored = await begun()
    async with anyio.create_task_group() as group:
        scopes = [anyio.CancelScope() for _ in range(4)]

        async def write(number: int, scope: anyio.CancelScope) -> None:
            with scope:
                await saver.aput_writes(stored, [("a", number)], f"task{number}")

        for number, scope in enumerate(scopes):
            group.start_soon(partial(write, number, scope))
        await anyio.sleep(0.002)
        scopes[0].cancel()  # whose request is under way
        scopes[2].cancel()  # who waits
    assert {*await pending(saver)} - {"task0"} == {"task1", "task3"}
    with pytest.raises(ConflictError):
        await saver._outbox.insert([_part_of(stored)])


def _part_of(stored: RunnableConfig) -> dict[str, Any]:
    """The row of a write that is there."""
    configurable = stored["configurable"]
    return {
        "thread_id": "t",
        "checkpoint_ns": "",
        "kind": "write",
        "ref": configurable["checkpoint_id"],
        "name": "task1",
        "idx": 0,
        "type": "null",
        "value": "",
    }
