"""A question to real servers, of a table with more rows than a search reads: they find the words."""

# persistence-guard: allow-file AP001 the adapters themselves are under test

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent_persistence import AsyncPersistenceService, RAGContext, SupabaseAdapter, build_rag_context
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.base import PersistenceAdapter
from examples import crm_data
from tests.rag.worlds import CLIENT, LEAD, message
from tests.server import LocalServer

pytestmark = pytest.mark.anyio
TALKS = [f"20000000-0000-4000-8000-{number:012}" for number in range(12)]
ANSWERS = {
    7: "Our penetration tests are in August",
    8: "And they cost twelve thousand",
    15: "倉庫の契約は四月です",
    20: "Der Käse aus Zürich ist da",
}


def _adapter(kind: str, server: LocalServer) -> PersistenceAdapter:
    """One that says a search may read 30 rows of a table."""
    if kind == "supabase":
        adapter: PersistenceAdapter = SupabaseAdapter(server.url, server.service_key)
    else:
        adapter = PostgresAdapter(server.database_url)
    adapter.scan_rows = 30  # type: ignore[attr-defined]
    return adapter


@asynccontextmanager
async def _filled(kind: str, server: LocalServer) -> AsyncIterator[AsyncPersistenceService]:
    adapter = _adapter(kind, server)
    async with AsyncPersistenceService(adapter, policy=crm_data.LOADER, owns_adapter=True) as service:
        await service.write("clients", CLIENT)
        await service.write("leads", LEAD)
        await service.batch_write(
            "conversations",
            [{"id": key, "lead_id": LEAD["id"], "created_at": LEAD["created_at"]} for key in TALKS],
        )
        await service.batch_write(
            "messages",
            [
                message(number, ANSWERS.get(number, f"Fine on day {number}"), conversation_id=TALKS[number // 10])
                for number in range(1, 120)
            ],
        )
        yield service


async def _asked(service: AsyncPersistenceService, question: str) -> RAGContext:
    return await build_rag_context(service, lead_filters={"email": LEAD["email"]}, query=question, max_tokens=500)


@pytest.mark.parametrize(
    ("kind", "anyio_backend"), [("supabase", "asyncio"), ("supabase", "trio"), ("postgres", "asyncio")]
)
async def test_a_server_is_asked_for_the_words(kind: str, server: LocalServer) -> None:
    """Beginnings of words, with signs on their letters, and scripts without blanks; the turn after comes along."""
    async with _filled(kind, server) as service:
        told = (await _asked(service, "When is the penetration test?")).to_prompt()
        assert ANSWERS[7] in told
        assert ANSWERS[8] in told
        assert ANSWERS[15] in (await _asked(service, "倉庫の契約はいつですか")).to_prompt()
        assert ANSWERS[20] in (await _asked(service, "Woher kommt der Käse?")).to_prompt()
        context = await _asked(service, "When is the penetration test?")
        assert [warning for warning in context.warnings if "could not be asked" in warning] == []


async def test_the_words_of_a_question_are_never_read_as_a_query(server: LocalServer) -> None:
    """Signs of tsqueries and of patterns in a question are no signs."""
    async with _filled("supabase", server) as service:
        for question in ("penetration & !test | (", "pene:* <-> tests'", "100% pene_ration%", 'or "penetration" -test'):
            context = await _asked(service, question)
            assert [warning for warning in context.warnings if "could not be asked" in warning] == []


@pytest.mark.parametrize("kind", ["supabase", "postgres"])
async def test_a_server_is_asked_for_titles_too(kind: str, server: LocalServer) -> None:
    """Of a talk that is older than what a search reads; also of a table that has no body."""
    async with _filled(kind, server) as service:
        await service.write(
            "conversations",
            {
                "id": "30000000-0000-4000-8000-000000000000",
                "lead_id": LEAD["id"],
                "subject": "Zeppelin charter",
                "created_at": "2020-01-01T00:00:00+00:00",
            },
        )
        await service.batch_write(
            "conversations",
            [
                {"id": f"30000000-0000-4000-8000-{number:012}", "lead_id": LEAD["id"], "subject": f"Day {number}"}
                for number in range(1, 60)
            ],
        )
        context = await _asked(service, "Who chartered the zeppelin?")
        assert "Zeppelin charter" in [row["subject"] for row in context.conversations]
        assert [warning for warning in context.warnings if "could not be asked" in warning] == []
