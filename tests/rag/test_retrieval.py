"""What a retriever adds: records it names are fetched, in the world that the filters chose and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    InMemoryAdapter,
    ReadOnlyPersistenceFacade,
    TablePolicy,
    ValidationError,
    build_rag_context,
)
from agent_persistence.exceptions import FailureState
from agent_persistence.query.records import Row
from agent_persistence.rag_context import RAGContext, Relevance
from agent_persistence.schema_registry import default_schema

pytestmark = pytest.mark.anyio

LEADS = {"mine": "00000000-0000-4000-8000-00000000000a", "theirs": "00000000-0000-4000-8000-00000000000b"}
CLIENTS = {"mine": "00000000-0000-4000-8000-0000000000c1", "theirs": "00000000-0000-4000-8000-0000000000c2"}
TALKS = {"mine": "00000000-0000-4000-8000-0000000000d1", "theirs": "00000000-0000-4000-8000-0000000000d2"}
A_SIDE = 30


def _at(minute: int) -> str:
    return f"2026-01-01T{minute // 60:02}:{minute % 60:02}:00+00:00"


def _rows() -> dict[str, list[Row]]:
    """Two leads of two clients with a conversation of thirty messages each; odd keys are theirs, even ones mine."""
    return {
        "clients": [{"id": key, "name": side, "created_at": _at(0)} for side, key in CLIENTS.items()],
        "leads": [
            {"id": key, "client_id": CLIENTS[side], "email": f"{side}@x.io", "created_at": _at(n)}
            for n, (side, key) in enumerate(LEADS.items())
        ],
        "conversations": [{"id": key, "lead_id": LEADS[side], "created_at": _at(2)} for side, key in TALKS.items()],
        "messages": [
            {
                "id": 2 * number + (side == "theirs"),
                "conversation_id": key,
                "role": "user",
                "content": f"{side} {number}",
                "created_at": _at(3 + number),
            }
            for side, key in TALKS.items()
            for number in range(A_SIDE)
        ],
    }


class Naming:
    """A retriever that names what it is told to, and notes what it was asked."""

    def __init__(self, *named: Relevance, failure: Exception | None = None) -> None:
        self.named = named
        self.failure = failure
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def retrieve(
        self, source: ReadOnlyPersistenceFacade, query: str, *, tables: Sequence[str], limit: int
    ) -> Sequence[Relevance]:
        self.asked.append((query, tuple(tables)))
        if self.failure is not None:
            raise self.failure
        return self.named[:limit]


class Counting(InMemoryAdapter):
    """Counts queries by table."""

    def __init__(self, rows: Mapping[str, Sequence[Row]] | None = None) -> None:
        super().__init__(rows or _rows(), schema=default_schema())
        self.queries: list[str] = []

    async def query(self, table: str, *args: Any, **options: Any) -> list[Row]:
        self.queries.append(table)
        return await super().query(table, *args, **options)


async def _build(retriever: Naming, adapter: Counting | None = None, **options: Any) -> RAGContext:
    service = AsyncPersistenceService(adapter or Counting(), retry=False)
    options = {"limits": {"messages": 5}, "query": "Which?", **options}
    return await build_rag_context(service, retriever=retriever, **options)


def _keys(context: RAGContext, table: str = "messages") -> set[Any]:
    return {row["id"] for row in getattr(context, table)}


NEWEST_OF_MINE = {2 * number for number in range(A_SIDE - 5, A_SIDE)}


async def test_a_record_that_is_named_is_fetched_on_top_of_the_limit() -> None:
    """And its score is its relevance."""
    context = await _build(Naming(Relevance("messages", 2, 0.7)), lead_filters={"email": "mine@x.io"})
    assert _keys(context) == NEWEST_OF_MINE | {2}
    relevance = {score.key: score.relevance for score in context.explain() if score.table == "messages"}
    assert relevance[2] == pytest.approx(2 * 0.7)
    assert {relevance[key] for key in NEWEST_OF_MINE} == {0.0}


async def test_what_was_found_already_is_not_fetched_again() -> None:
    """Nor is a record twice that is named twice; the better score counts."""
    adapter = Counting()
    named = [Relevance("messages", 58, 0.2), Relevance("messages", 58, 0.9), Relevance("messages", "58", 0.1)]
    context = await _build(Naming(*named), adapter, lead_filters={"email": "mine@x.io"})
    assert adapter.queries.count("messages") == 1
    assert len(context.messages) == 5
    assert max(score.relevance for score in context.explain()) == pytest.approx(1.8)


@pytest.mark.parametrize(
    "chosen",
    [
        {"lead_filters": {"email": "mine@x.io"}},
        {"client_filters": {"name": "mine"}},
        {"conversation_filters": {"id": TALKS["mine"]}},
        {"message_filters": {"conversation_id": TALKS["mine"]}},
    ],
    ids=lambda chosen: next(iter(chosen)),
)
async def test_a_record_of_another_world_does_not_slip_in(chosen: dict[str, Any]) -> None:
    """Whatever a retriever names: a lead's context holds nobody else's rows."""
    named = [Relevance("messages", 3, 1.0), Relevance("messages", 4, 1.0), Relevance("leads", LEADS["theirs"], 1.0)]
    named += [Relevance("clients", CLIENTS["theirs"], 1.0), Relevance("conversations", TALKS["theirs"], 1.0)]
    context = await _build(Naming(*named), **chosen)
    assert all(row["content"].startswith("mine") for row in context.messages)
    assert 4 in _keys(context)
    assert _keys(context, "leads") == {LEADS["mine"]}
    assert _keys(context, "clients") == {CLIENTS["mine"]}


async def test_a_filter_on_the_named_table_holds_as_well() -> None:
    """A message that the message filter excludes stays out."""
    context = await _build(
        Naming(Relevance("messages", 2, 1.0)),
        lead_filters={"email": "mine@x.io"},
        message_filters={"content": "mine 9"},
    )
    assert _keys(context) == {18}


async def test_without_filters_a_named_record_comes_with_all_it_belongs_to() -> None:
    """Its conversation, lead and client, also beyond their limits."""
    limits = {"clients": 1, "leads": 1, "conversations": 1, "messages": 1}
    context = await _build(Naming(Relevance("messages", 2, 1.0)), limits=limits)
    assert LEADS["mine"] in _keys(context, "leads")
    assert "without_parent" not in context.to_prompt()
    assert _keys(context, "clients") == set(CLIENTS.values())


async def test_without_relations_only_the_records_named_are_fetched() -> None:
    """No parents, each table for itself."""
    limits = {"clients": 1, "leads": 1, "conversations": 1, "messages": 1}
    context = await _build(Naming(Relevance("messages", 2, 1.0)), limits=limits, follow_relations=False)
    assert _keys(context) == {59, 2}
    assert len(context.leads) == 1


async def test_tables_that_are_not_read_are_not_searched() -> None:
    """By limit or by policy; names of other tables are ignored."""
    retriever = Naming(Relevance("sequences", 1, 1.0), Relevance("clients", CLIENTS["mine"], 1.0))
    service = AsyncPersistenceService(Counting(), retry=False, policy=TablePolicy(read={"leads", "conversations"}))
    context = await build_rag_context(service, query="Which?", retriever=retriever)
    assert retriever.asked == [("Which?", ("leads", "conversations"))]
    assert context.clients == []


async def test_a_record_that_does_not_exist_is_no_error() -> None:
    """An index may be older than the table."""
    context = await _build(Naming(Relevance("messages", 999, 1.0)), lead_filters={"email": "mine@x.io"})
    assert _keys(context) == NEWEST_OF_MINE


async def test_the_requests_of_a_retrieval_are_bounded() -> None:
    """One for all that is named in a table, one for each level of parents; none for a row."""
    adapter = Counting()
    named = [Relevance("messages", key, 1.0) for key in range(20)]
    await _build(Naming(*named), adapter, limits={"clients": 1, "leads": 1, "conversations": 1, "messages": 1})
    assert sorted(adapter.queries) == ["clients"] * 2 + ["conversations"] * 2 + ["leads"] * 2 + ["messages"] * 2


async def test_the_retriever_is_asked_while_the_tables_are_read() -> None:
    """Neither waits for the other to begin."""
    both = {"retriever": anyio.Event(), "tables": anyio.Event()}

    class Waiting(Naming):
        async def retrieve(self, *args: Any, **options: Any) -> Sequence[Relevance]:
            both["retriever"].set()
            await both["tables"].wait()
            return await super().retrieve(*args, **options)

    class Slow(Counting):
        async def query(self, table: str, *args: Any, **options: Any) -> list[Row]:
            both["tables"].set()
            await both["retriever"].wait()
            return await super().query(table, *args, **options)

    with anyio.fail_after(60):
        await _build(Waiting(), Slow())


async def test_a_failing_retriever_fails_the_context_or_costs_only_the_search() -> None:
    """With `partial` the words of the question take its place."""
    down = AdapterError("down", state=FailureState.REJECTED)
    with pytest.raises(AdapterError) as raised:
        await _build(Naming(failure=down))
    assert raised.value is down
    context = await _build(
        Naming(failure=down), lead_filters={"email": "mine@x.io"}, query="mine 27", on_error="partial"
    )
    assert not context.complete
    assert context.warnings == ["retriever: could not be read (down)"]
    best = max((score for score in context.explain() if score.table == "messages"), key=lambda score: score.relevance)
    assert best.key == 54
    assert "could not be read" not in context.to_prompt()


async def test_any_error_of_a_retriever_is_raised_as_itself_or_named_in_a_warning() -> None:
    """It is the caller's own code; what its error says may hold anything, and is in no warning."""
    failure = ZeroDivisionError("4711")
    with pytest.raises(ZeroDivisionError):
        await _build(Naming(failure=failure))
    context = await _build(Naming(failure=failure), on_error="partial")
    assert context.warnings == ["retriever: could not be read (ZeroDivisionError)"]
    with pytest.raises(ValidationError):
        await _build(Naming(failure=ValidationError("search", "not so")), on_error="partial")


async def test_a_retriever_needs_a_question() -> None:
    """Without one there is nothing to search for."""
    with pytest.raises(ValidationError, match="query="):
        await _build(Naming(), query=None)


async def test_without_a_retriever_the_words_of_the_question_are_the_relevance() -> None:
    """Over what was read."""
    service = AsyncPersistenceService(Counting(), retry=False)
    context = await build_rag_context(service, lead_filters={"email": "mine@x.io"}, query="Where is mine 27?")
    assert next(score.key for score in context.explain() if score.relevance) == 54


async def test_keys_go_in_batches() -> None:
    """A thousand conversations are three queries of messages, not a thousand, and the newest of all come back."""
    count = 1_200
    keys = [f"00000000-0000-4000-8000-{number:012}" for number in range(count)]
    rows: dict[str, list[Row]] = {
        "leads": [{"id": LEADS["mine"], "email": "mine@x.io", "created_at": _at(0)}],
        "conversations": [{"id": key, "lead_id": LEADS["mine"], "created_at": _at(1)} for key in keys],
        "messages": [
            {"id": number, "conversation_id": key, "role": "user", "content": "x", "created_at": _at(number)}
            for number, key in enumerate(keys)
        ],
    }
    adapter = Counting(rows)
    service = AsyncPersistenceService(adapter, retry=False)
    context = await build_rag_context(service, limits={"conversations": 2_000, "messages": 10})
    assert [row["id"] for row in context.messages] == list(range(count - 1, count - 11, -1))
    assert adapter.queries.count("messages") == 3
