"""The retriever inside build_rag_context, over the CRM's own tables."""

from __future__ import annotations

import pytest

from agent_persistence import (
    AdapterError,
    InMemoryAdapter,
    PersistenceAgent,
    Schema,
    TablePolicy,
    build_rag_context,
    create_persistence_agent,
)
from agent_persistence.ext.embeddings import HybridRetriever, MemorySearch, NonSemanticEmbedder, Searched, embed_rows
from agent_persistence.policy import BUSINESS_TABLES
from agent_persistence.schema_registry import default_schema
from examples import crm_data

pytestmark = pytest.mark.anyio

POLICY = TablePolicy(read=BUSINESS_TABLES, write={"messages"}, call={"match_messages", "hybrid_search_messages"})


def crm() -> PersistenceAgent:
    """The demo's data, with a vector for each message and the functions that search them."""
    document = default_schema().to_document()
    document["tables"]["messages"]["columns"]["embedding"] = {"type": "vector(256)"}
    rows = {table: crm_data.rows(table) for table in crm_data.PARENTS_FIRST}
    functions = MemorySearch(lambda: adapter, "messages").functions()
    adapter = InMemoryAdapter(rows, schema=Schema.from_document(document), functions=functions)
    return create_persistence_agent("memory", adapter=adapter, policy=POLICY)


async def test_a_context_holds_the_old_message_that_answers() -> None:
    """Although the newest messages alone would fill the limit."""
    told = [row for row in crm_data.rows("messages") if row["content"]]
    oldest = min(told, key=lambda row: str(row["created_at"]))
    embedder = NonSemanticEmbedder()
    async with crm() as agent:
        await embed_rows(agent, "messages", embedder)
        limits = {"messages": 5}
        without = await build_rag_context(agent, limits=limits, follow_relations=False)
        assert oldest["content"] not in [row["content"] for row in without.messages]  # control
        for searched in (Searched(match="match_messages"), Searched(hybrid="hybrid_search_messages")):
            found = await build_rag_context(
                agent,
                limits=limits,
                follow_relations=False,
                query=oldest["content"],
                retriever=HybridRetriever({"messages": searched}, embedder),
            )
            assert oldest["content"] in [row["content"] for row in found.messages]


async def test_a_context_goes_on_without_an_embedder_that_fails_if_that_is_wanted() -> None:
    """With a warning; else the failure is raised as itself."""

    class Failing(NonSemanticEmbedder):
        async def embed(self, texts: object) -> list[list[float]]:
            raise AdapterError("no embeddings today")

    retriever = HybridRetriever({"messages": Searched(match="match_messages")}, Failing())
    async with crm() as agent:
        context = await build_rag_context(agent, query="price", retriever=retriever, on_error="partial")
        assert context.messages
        assert not context.complete
        assert any("no embeddings today" in warning for warning in context.warnings)
        with pytest.raises(AdapterError, match="no embeddings today"):
            await build_rag_context(agent, query="price", retriever=retriever)


async def test_the_retriever_stays_inside_the_context() -> None:
    """Also where a whole table of others' messages is nearer to the question than the lead's own."""
    document = default_schema().to_document()
    document["tables"]["messages"]["columns"]["embedding"] = {"type": "vector(256)"}
    question = "Does the heron nest here?"
    leads = [{"id": f"10000000-0000-4000-8000-{n:012}", "email": f"{n}@x.example"} for n in (1, 2)]
    talks = [{"id": f"20000000-0000-4000-8000-{n:012}", "lead_id": lead["id"]} for n, lead in enumerate(leads, 1)]
    texts = dict.fromkeys(range(1, 151), (1, question)) | {200: (0, "No heron nests"), 201: (0, "Rain")}
    messages = [
        {"id": number, "conversation_id": talks[owner]["id"], "role": "user", "content": text}
        for number, (owner, text) in texts.items()
    ]
    functions = MemorySearch(lambda: adapter, "messages").functions()
    adapter = InMemoryAdapter(
        {"leads": leads, "conversations": talks, "messages": messages},
        schema=Schema.from_document(document),
        functions=functions,
    )
    embedder = NonSemanticEmbedder()
    async with create_persistence_agent("memory", adapter=adapter, policy=POLICY) as agent:
        await embed_rows(agent, "messages", embedder)
        for searched in (Searched(match="match_messages", text="content"), Searched(hybrid="hybrid_search_messages")):
            retriever = HybridRetriever({"messages": searched}, embedder)
            everywhere = await retriever.retrieve(agent.readonly(), question, tables=["messages"], limit=50)
            assert 200 not in [one.key for one in everywhere]  # control
            context = await build_rag_context(
                agent, lead_filters={"email": "1@x.example"}, query=question, retriever=retriever
            )
            best = next(score for score in context.explain() if score.table == "messages")
            assert (best.key, best.match is not None and best.match.meaning > 0) == (200, True)
            assert context.warnings == []
