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
