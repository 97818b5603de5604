"""Filling the vector column: every row once, what the embedder sees, and going on after a failure."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest

from agent_persistence import (
    AdapterError,
    AsyncPersistenceService,
    ConfigurationError,
    InMemoryAdapter,
    PersistenceAgent,
    Schema,
    SupabaseAdapter,
    TableNotAllowedError,
    TablePolicy,
    ValidationError,
    not_null,
)
from agent_persistence.ext.embeddings import Filled, NonSemanticEmbedder, embed_rows
from agent_persistence.rag.ranking.vectors import Vector
from agent_persistence.redaction import Redaction, redact, scan
from tests.rag.hybrid.conftest import DIMENSIONS
from tests.server import LocalServer

pytestmark = pytest.mark.anyio

POLICY = TablePolicy(read={"notes"}, write={"notes"})
Opened: TypeAlias = Callable[..., AbstractAsyncContextManager[PersistenceAgent]]


class Told(NonSemanticEmbedder):
    """Notes the batches it gets, and fails at the one with this number."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        super().__init__(DIMENSIONS)
        self.batches: list[list[str]] = []
        self._fails_at = fails_at

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.batches.append(list(texts))
        if len(self.batches) == self._fails_at:
            raise AdapterError("no embeddings today")
        return await super().embed(texts)


@asynccontextmanager
async def in_memory(*texts: str) -> AsyncIterator[PersistenceAgent]:
    rows = [{"id": key, "content": text} for key, text in enumerate(texts, 1)]
    yield PersistenceAgent(AsyncPersistenceService(InMemoryAdapter({"notes": rows}), policy=POLICY))


def on(server: LocalServer) -> Opened:
    @asynccontextmanager
    async def opened(*texts: str) -> AsyncIterator[PersistenceAgent]:
        for text in texts:
            server.execute("insert into notes (content) values (%s)", text)
        adapter = SupabaseAdapter(server.url, server.service_key)
        async with PersistenceAgent(
            AsyncPersistenceService(adapter, policy=POLICY, owns_adapter=True), owns_service=True
        ) as agent:
            yield agent

    return opened


@pytest.fixture(params=["memory", "supabase"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """An agent over notes with the keys 1, 2, … and no vectors."""
    return in_memory if request.param == "memory" else on(request.getfixturevalue("searchable"))


async def test_every_row_without_a_vector_gets_one(opened: Opened) -> None:
    """In batches by key; a second run has nothing to do."""
    texts = [f"note about topic{number}" for number in range(7)]
    embedder = Told()
    async with opened(*texts) as agent:
        assert await embed_rows(agent, "notes", embedder, batch_rows=3) == Filled(embedded=7)
        assert embedder.batches == [texts[:3], texts[3:6], texts[6:]]
        rows = await agent.query("notes", order_by="id")
        expected = [Vector.of(vector) for vector in await NonSemanticEmbedder(DIMENSIONS).embed(texts)]
        assert [list(Vector.read(row["embedding"]).values) for row in rows] == [
            pytest.approx(list(vector.values), abs=1e-7) for vector in expected
        ]
        assert await embed_rows(agent, "notes", embedder) == Filled()


async def test_a_row_without_text_is_left_out(opened: Opened) -> None:
    """There is nothing to embed, and many servers refuse an empty text."""
    embedder = Told()
    async with opened("one", " \n", "three") as agent:
        assert await embed_rows(agent, "notes", embedder) == Filled(embedded=2, blank=1)
        assert embedder.batches == [["one", "three"]]
        assert await agent.count("notes", {"embedding": not_null()}) == 2


async def test_a_failure_keeps_what_was_written_and_another_run_goes_on(opened: Opened) -> None:
    """No row is embedded twice."""
    async with opened("one", "two", "three") as agent:
        with pytest.raises(AdapterError, match="no embeddings today"):
            await embed_rows(agent, "notes", Told(fails_at=2), batch_rows=2)
        again = Told()
        assert await embed_rows(agent, "notes", again, batch_rows=2) == Filled(embedded=1)
        assert again.batches == [["three"]]


async def test_filters_leave_out_further_rows(opened: Opened) -> None:
    """Beside those that have a vector already."""
    async with opened("one", "two", "three") as agent:
        embedder = Told()
        assert await embed_rows(agent, "notes", embedder, filters={"id": 2}) == Filled(embedded=1)
        assert embedder.batches == [["two"]]


async def test_the_embedder_sees_redacted_rows_only(opened: Opened) -> None:
    """Labels in the place of what the redaction found, and no column that it drops."""
    embedder = Told()
    redaction = Redaction({"notes": {"content": scan()}})
    async with opened("write to maya@mail.example", "call +44 20 7946 0112") as agent:
        await embed_rows(agent, "notes", embedder, redaction=redaction)
        assert embedder.batches == [["write to [EMAIL]", "call [PHONE]"]]
        await agent.update("notes", {"content": "new"}, {"id": 1})
        rows = await agent.query("notes", {"id": 2})
        assert rows[0]["content"] == "call +44 20 7946 0112"  # the row itself keeps its text


async def test_the_text_of_a_row_is_the_callers_if_wanted() -> None:
    """It is made of the row as redaction left it."""
    rows = [{"id": 1, "title": "Roof", "author": "Maya", "content": "asked by Maya", "embedding": None}]
    agent = PersistenceAgent(AsyncPersistenceService(InMemoryAdapter({"notes": rows}), policy=POLICY))
    redaction = Redaction({"notes": {"title": scan(), "content": scan(), "author": redact("person")}})
    seen: list[tuple[str, dict[str, Any]]] = []

    def text_of(table: str, row: dict[str, Any]) -> str:
        seen.append((table, row))
        return f"{row['title']}: {row['content']}"

    embedder = Told()
    columns = ("title", "author", "content")
    await embed_rows(agent, "notes", embedder, columns=columns, text_of=text_of, redaction=redaction)
    assert embedder.batches == [["Roof: asked by [PERSON]"]]
    assert seen == [("notes", {"title": "Roof", "author": "[PERSON]", "content": "asked by [PERSON]"})]


async def test_several_columns_are_joined_by_lines() -> None:
    """Those that hold a text."""
    rows = [{"id": 1, "title": "Roof", "content": None, "tags": ["a"], "notes": "Soon", "embedding": None}]
    agent = PersistenceAgent(AsyncPersistenceService(InMemoryAdapter({"notes": rows}), policy=POLICY))
    embedder = Told()
    await embed_rows(agent, "notes", embedder, columns=["title", "content", "tags", "notes"])
    assert embedder.batches == [["Roof\nSoon"]]


async def test_the_key_may_have_another_name() -> None:
    """Where the schema declares it."""
    columns = {"uid": "text", "content": "text", "embedding": f"vector({DIMENSIONS})"}
    schema = Schema.from_document({"tables": {"notes": {"primary_key": ["uid"], "columns": columns}}})
    rows = [{"uid": uid, "content": f"note {uid}"} for uid in "cab"]
    adapter = InMemoryAdapter({"notes": rows}, schema=schema)
    agent = PersistenceAgent(AsyncPersistenceService(adapter, policy=POLICY, schema=schema))
    embedder = Told()
    assert await embed_rows(agent, "notes", embedder, key="uid", batch_rows=2) == Filled(embedded=3)
    assert embedder.batches == [["note a", "note b"], ["note c"]]


async def test_a_table_that_may_not_be_written_is_refused() -> None:
    """The policy holds here as everywhere."""
    service = AsyncPersistenceService(
        InMemoryAdapter({"notes": [{"id": 1, "content": "x", "embedding": None}]}),
        policy=TablePolicy(read={"notes"}),
    )
    with pytest.raises(TableNotAllowedError, match="update on table 'notes'"):
        await embed_rows(service, "notes", Told())


@pytest.mark.parametrize(("option", "value"), [("batch_rows", 0), ("columns", "content"), ("columns", ())])
async def test_a_wrong_option_is_refused_before_anything_is_read(option: str, value: Any) -> None:
    """By its name."""
    service = AsyncPersistenceService(InMemoryAdapter(), policy=POLICY)
    with pytest.raises((ConfigurationError, ValidationError), match=option):
        await embed_rows(service, "notes", Told(), **{option: value})
