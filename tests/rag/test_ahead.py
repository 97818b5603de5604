"""What belongs to rows that a filter names is asked for together with them, and is what was asked for after them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import anyio
import pytest
from hypothesis import given, strategies as st

from agent_persistence import (
    AsyncPersistenceService,
    InMemoryAdapter,
    Result,
    UnsupportedOperationError,
    build_rag_context,
    in_,
)
from agent_persistence.operations import Operation, Query
from agent_persistence.pipeline.chain import Next
from agent_persistence.rag_context import RAGContext
from agent_persistence.schema_registry import default_schema
from tests.differential.examples import examples

pytestmark = pytest.mark.anyio
CLIENT: Final = "00000000-0000-4000-8000-00000000c001"
AT: Final = "2026-03-{:02}T09:00:00+00:00".format


def key(kind: int, number: int) -> str:
    return f"00000000-0000-4000-8000-{kind:04}{number:08}"


def world(leads: int, talks: int, turns: int) -> dict[str, list[dict[str, Any]]]:
    """So many leads of one client, each with so many conversations of so many messages."""
    own = [(lead, talk) for lead in range(leads) for talk in range(talks)]
    return {
        "clients": [{"id": CLIENT, "name": "Acme", "created_at": AT(1), "updated_at": AT(1)}],
        "leads": [
            {"id": key(1, lead), "email": f"{lead}@x.example", "client_id": CLIENT, "created_at": AT(lead + 1)}
            for lead in range(leads)
        ],
        "conversations": [
            {"id": key(2, 10 * lead + talk), "lead_id": key(1, lead), "created_at": AT(talk + 2)} for lead, talk in own
        ],
        "messages": [
            {
                "conversation_id": key(2, 10 * lead + talk),
                "role": "user",
                "content": f"{lead} {talk} {turn}",
                "created_at": AT(talk + turn + 3),
            }
            for lead, talk in own
            for turn in range(turns)
        ],
    }


class Ordinary(InMemoryAdapter):
    """A store that knows no filters on related rows."""

    @property
    def capabilities(self) -> Any:
        return {**super().capabilities, "exists": False}


NAMED: Final = {"email": "0@x.example"}


async def context(
    rows: Mapping[str, Any], lead_filters: Any = NAMED, *middleware: Any, store: Any = InMemoryAdapter, **options: Any
) -> RAGContext:
    service = AsyncPersistenceService(store(rows, schema=default_schema()), middleware=middleware)
    return await build_rag_context(service, lead_filters=lead_filters, **options)


class Gate:
    """Lets no answer through before these tables were asked for."""

    def __init__(self, *tables: str) -> None:
        self._missing = set(tables)
        self._all = anyio.Event()

    async def __call__(self, operation: Operation, call_next: Next) -> Result:
        self._missing.discard(operation.table)
        if not self._missing:
            self._all.set()
        await self._all.wait()
        return await call_next(operation)


async def test_all_that_belongs_to_a_named_lead_is_asked_for_at_once() -> None:
    """One round trip in the place of three, for the lead, its conversations and their messages."""
    gate = Gate("leads", "conversations", "messages")
    with anyio.fail_after(10):
        found = await context(world(2, 2, 3), NAMED, gate)
    assert [len(found.rows[table]) for table in ("leads", "conversations", "messages")] == [1, 2, 6]


async def test_other_filters_are_waited_for() -> None:
    """Control: which leads are new is not known beforehand, nor how many; nothing is asked for in vain."""
    asked = []

    async def listening(operation: Operation, call_next: Next) -> Result:
        asked.append(operation.table)
        return await call_next(operation)

    await context(world(2, 2, 3), {"status": "new"}, listening)
    assert sorted(asked) == sorted({*asked})
    with anyio.move_on_after(0.2):
        await context(world(1, 1, 1), {"status": "new"}, Gate("leads", "conversations", "messages"))
        pytest.fail("the conversations were asked for before the leads were known")


@given(
    leads=st.integers(0, 3),
    talks=st.integers(0, 3),
    turns=st.integers(0, 3),
    limits=st.dictionaries(st.sampled_from(["leads", "conversations", "messages"]), st.integers(1, 4)),
    named=st.lists(st.integers(0, 3), min_size=1, max_size=3),
)
@examples(60)
def test_the_context_is_the_same_byte_for_byte(
    leads: int, talks: int, turns: int, limits: dict[str, int], named: list[int]
) -> None:
    """Also where limits cut what is found: then it is asked for again, by its keys."""

    async def compared() -> None:
        rows = world(leads, talks, turns)
        filters = {"email": in_([f"{number}@x.example" for number in named])}
        ahead = await context(rows, filters, limits=limits)
        ordinary = await context(rows, filters, store=Ordinary, limits=limits)
        assert ahead.rows == ordinary.rows
        assert ahead.warnings == ordinary.warnings
        assert ahead.to_prompt("json") == ordinary.to_prompt("json")

    anyio.run(compared)


async def test_rows_that_others_write_in_between_do_not_slip_in() -> None:
    """A message of a conversation that was not read is not shown: those of the ones read are asked for."""

    async def writing(operation: Operation, call_next: Next) -> Result:
        result = await call_next(operation)
        if operation.table == "messages" and isinstance(operation, Query) and "exists" in repr(operation):
            return Result([{**row, "conversation_id": key(2, 99)} for row in result.value])
        return result

    found = await context(world(1, 1, 2), NAMED, writing)
    assert {row["conversation_id"] for row in found.rows["messages"]} == {key(2, 0)}


async def test_what_cannot_be_asked_that_way_is_asked_by_keys() -> None:
    """The failure of the shorter way is not the context's."""

    async def refusing(operation: Operation, call_next: Next) -> Result:
        if "exists" in repr(operation):
            raise UnsupportedOperationError(operation.table, "exists")
        return await call_next(operation)

    assert len((await context(world(1, 2, 2), NAMED, refusing)).rows["messages"]) == 4
