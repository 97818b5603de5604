"""Retrieval by meaning and by words: embedders, the SQL that a table needs, and a retriever over both.

embedder = HttpEmbedder("http://127.0.0.1:11434/v1", "nomic-embed-text", dimensions=768)
print(search_sql("messages", dimensions=embedder.dimensions, key_type="bigint"))     # for the owner of the table
await embed_rows(agent, "messages", embedder)
retriever = HybridRetriever({"messages": Searched(match="match_messages", text="content")}, embedder)
context = await build_rag_context(agent, query="What did they say about prices?", retriever=retriever)
"""

from __future__ import annotations

from agent_persistence.ext._embeddings.ddl import search_sql
from agent_persistence.ext._embeddings.embedder import Embedder
from agent_persistence.ext._embeddings.filling import Filled, embed_rows
from agent_persistence.ext._embeddings.hashing import NonSemanticEmbedder
from agent_persistence.ext._embeddings.http import HttpEmbedder
from agent_persistence.ext._embeddings.local import LocalEmbedder
from agent_persistence.ext._embeddings.memory import MemorySearch
from agent_persistence.ext._embeddings.retrieving import HybridRetriever, Searched

__all__ = [
    "Embedder",
    "Filled",
    "HttpEmbedder",
    "HybridRetriever",
    "LocalEmbedder",
    "MemorySearch",
    "NonSemanticEmbedder",
    "Searched",
    "embed_rows",
    "search_sql",
]
