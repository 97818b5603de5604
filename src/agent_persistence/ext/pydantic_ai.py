"""pydantic-ai: conversations that outlive the process, and tools over a read-only façade.

past = history(agent, "conversation-1")
result = await assistant.run("Hello", message_history=await past.load(), toolsets=[toolset(agent.readonly())])
await past.append(result)
"""

from __future__ import annotations

from typing import Literal

from agent_persistence._extras import command_for
from agent_persistence.client.facade import ReadOnlyPersistenceFacade
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.ext._tables.pydantic_ai import TABLES, sql, with_history
from agent_persistence.ext._tools.cursors import Cursors
from agent_persistence.ext._tools.reading import AnswerBounds, ReadingTools
from agent_persistence.ext._tools.searching import ContextBuilder, ContextTools, SearchTools
from agent_persistence.persistence_agent import PersistenceAgent
from agent_persistence.rag.ranking.relevance import Retriever
from agent_persistence.rag_context import ReadableSource, build_rag_context

try:
    from agent_persistence.ext._pydantic_ai.history import ConversationHistory
    from agent_persistence.ext._pydantic_ai.toolset import PersistenceToolset
except ImportError as error:
    raise ConfigurationError(f"this module needs pydantic-ai: {command_for('pydantic-ai')}") from error

__all__ = ["TABLES", "ConversationHistory", "PersistenceToolset", "history", "sql", "toolset", "with_history"]


def history(agent: PersistenceAgent, conversation_id: str) -> ConversationHistory:
    """Return the stored messages of a conversation, to `load` before a run and to `append` its result to.

    The agent may be one user's (`as_user`). Its schema declares the table (`with_history`), which `sql` makes, and its
    policy lists the table in `read` and `write`. Conversation ids are unique over all users.
    """
    return ConversationHistory(agent, conversation_id)


def toolset(
    source: ReadableSource,
    *,
    max_rows: int = 50,
    max_bytes: int = 20_000,
    context: ContextBuilder | Literal[True] | None = None,
    retriever: Retriever | None = None,
    text_config: str | None = None,
    id: str | None = "persistence",
    max_retries: int = 3,
) -> PersistenceToolset:
    """Return a toolset that reads what a façade may read: query_rows, read_row, count_rows, list_columns and, where
    they can be had, search_text, `search` and get_context. The options are those of `ext.mcp.create_server`.

    An error that another call can mend goes back to the model as ModelRetry, in words that say what was wrong and what
    is allowed, at most `max_retries` times in a row; any other is raised out of the run, as what it is.
    """
    facade = source.readonly()
    if not isinstance(facade, ReadOnlyPersistenceFacade):
        raise ConfigurationError(f"toolset takes an async façade, agent or service, not {type(source).__name__}")
    bounds = AnswerBounds(max_rows, max_bytes)
    tools = ReadingTools(facade, bounds, Cursors(), text_config=text_config).tools()
    if retriever is not None:
        tools |= SearchTools(facade, retriever, bounds).tools()
    if context is not None:
        tools |= ContextTools(build_rag_context if context is True else context, bounds).tools()
    return PersistenceToolset(facade, tools, id=id, max_retries=max_retries)
