"""The work of a call on the in-memory adapter grows as the rows do: counted in instructions, not timed."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeAlias

import pytest

from agent_persistence import InMemoryAdapter
from agent_persistence.backends.memory import tables
from agent_persistence.exceptions import AdapterError
from agent_persistence.filters import gte
from agent_persistence.query.records import Row
from agent_persistence.schema_registry import Column, ForeignKey, Schema, Table

pytestmark = pytest.mark.asyncio
ROWS = 100

SCHEMA = Schema(
    {
        "parents": Table({"id": Column("integer", nullable=False), "code": Column("text"), "kept": Column("boolean")}),
        "children": Table(
            {"id": Column("integer", nullable=False), "parent_id": Column("integer"), "code": Column("text")},
            foreign_keys=(
                ForeignKey("parent_id", "parents", on_delete_cascade=True),
                ForeignKey("code", "parents", "code"),
            ),
        ),
        "nodes": Table(
            {"id": Column("integer", nullable=False), "above": Column("integer")},
            foreign_keys=(ForeignKey("above", "nodes", on_delete_cascade=True),),
        ),
        "events": Table({"n": Column("integer")}, primary_key=()),
    }
)
"""The codes are not declared as unique, as a schema from OpenAPI does not know that they are."""


@dataclass
class Work:
    """Instructions of the adapter's own modules, and values that it sorted."""

    done: int = 0


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """What is done within the block."""
    work = Work()

    def counting(values: Any, **options: Any) -> list[Any]:
        given = list(values)
        work.done += len(given)
        return sorted(given, **options)

    def trace(frame: FrameType, event: str, _: object) -> Any:
        frame.f_trace_opcodes = "agent_persistence" in frame.f_code.co_filename
        work.done += event == "opcode"
        return trace

    before = sys.gettrace()
    monkeypatch.setattr(tables, "sorted", counting, raising=False)
    sys.settrace(trace)
    try:
        yield work
    finally:
        sys.settrace(before)


def store_of(rows: int) -> InMemoryAdapter:
    """Parents with a child each, a chain in which each node hangs on the one before, and rows without a key."""
    numbers = range(1, rows + 1)
    return InMemoryAdapter(
        {
            "parents": [{"id": n, "code": f"c{n}", "kept": True} for n in numbers],
            "children": [{"id": n, "parent_id": n, "code": f"c{n}"} for n in numbers],
            "nodes": [{"id": n, "above": n - 1 or None} for n in numbers],
            "events": [{"n": n} for n in numbers],
            "undeclared": [{"id": n, "slug": f"s{n}"} for n in numbers],
        },
        schema=SCHEMA,
    )


Call: TypeAlias = Callable[[InMemoryAdapter, int], Awaitable[Any]]


def records(rows: int) -> Sequence[Row]:
    return [{"id": 1000 + n, "parent_id": n, "code": f"c{n}"} for n in range(1, rows + 1)]


CALLS: dict[str, Call] = {
    "a refused delete": lambda store, rows: store.delete("events", {"n": gte(1)}, max_affected=1),
    "a refused delete below which others go": lambda store, rows: store.delete(
        "parents", {"id": gte(1)}, max_affected=1
    ),
    "a refused update": lambda store, rows: store.update("parents", {"kept": False}, {"id": gte(1)}, max_affected=1),
    "a delete": lambda store, rows: store.delete("children", {"id": gte(1)}),
    "a delete of a chain": lambda store, rows: store.delete("nodes", {"id": 1}),
    "an update of what is referred to": lambda store, rows: store.update("parents", {"kept": False}, {"id": gte(1)}),
    "a batch that refers": lambda store, rows: store.batch_write("children", records(rows)),
    "a merge by what no rule makes unique": lambda store, rows: store.bulk_write(
        "undeclared", [{"slug": f"s{n}", "seen": True} for n in range(1, rows + 1)], on_conflict=["slug"]
    ),
    "a refused batch": lambda store, rows: store.batch_write("children", [*records(rows), {"id": 1}]),
    "a count": lambda store, rows: store.count("parents", {"code": gte("")}),
}


@pytest.mark.parametrize("name", CALLS)
async def test_twice_the_rows_are_twice_the_work(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Of a call that touches every row, one that is refused and taken back included."""
    done = []
    for rows in (ROWS, 2 * ROWS):
        store = store_of(rows)
        with counted(monkeypatch) as work, suppress(AdapterError):
            await CALLS[name](store, rows)
        done.append(work.done)
    assert done[0] > ROWS
    assert done[1] < 2.2 * done[0]


async def test_a_scan_for_each_row_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: one query without an index for every row is work that grows with the square."""
    done = []
    for rows in (ROWS, 2 * ROWS):
        store = store_of(rows)
        with counted(monkeypatch) as work:
            for n in range(rows):
                await store.query("events", {"n": n})
        done.append(work.done)
    assert done[1] > 2.5 * done[0]


async def test_a_chain_of_any_length_is_removed() -> None:
    """A cascade has no depth: five thousand rows, each of which hangs on the one before."""
    store = store_of(5_000)
    assert len(await store.delete("nodes", {"id": 1})) == 1
    assert await store.count("nodes") == 0
