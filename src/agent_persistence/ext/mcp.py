"""An MCP server over a read-only façade: rows for Claude, IDEs and agents, as far as the policy lets them be read.

facade = create_readonly_rag_facade(policy=TablePolicy(read={"tickets"}))
anyio.run(serve_stdio, create_server(facade))

The official SDK and its low-level server are under it: input is checked by our own models, so that an argument that no
tool has is refused instead of dropped, and no text is read as JSON before it is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from agent_persistence._extras import command_for
from agent_persistence.client.facade import ReadOnlyPersistenceFacade
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.ext._tools.cursors import Cursors
from agent_persistence.ext._tools.reading import AnswerBounds, ReadingTools
from agent_persistence.ext._tools.searching import ContextBuilder, ContextTools, SearchTools
from agent_persistence.ext._tools.tool import Tools
from agent_persistence.ext._tools.writing import Writes, WritingTools
from agent_persistence.rag.ranking.relevance import Retriever
from agent_persistence.rag_context import ReadableSource, build_rag_context
from agent_persistence.runtime.hiding import hidden

if TYPE_CHECKING:
    from pydantic import SecretBytes, SecretStr

try:
    from agent_persistence.ext._mcp.server import Door, PersistenceServer, User, Users, bearer, listed_tool
    from agent_persistence.ext._mcp.serving import http_app, serve_http, serve_stdio
except ImportError as error:
    raise ConfigurationError(f"the MCP server needs the SDK mcp: {command_for('mcp')}") from error

__all__ = [
    "ContextBuilder",
    "PersistenceServer",
    "User",
    "Users",
    "Writes",
    "bearer",
    "create_server",
    "http_app",
    "serve_http",
    "serve_stdio",
]


def create_server(
    facade: ReadableSource,
    *,
    max_rows: int = 50,
    max_bytes: int = 20_000,
    context: ContextBuilder | Literal[True] | None = None,
    retriever: Retriever | None = None,
    writes: Writes | None = None,
    users: Users | None = None,
    cursor_key: str | bytes | SecretStr | SecretBytes | None = None,
    text_config: str | None = None,
    name: str = "agent-persistence",
) -> PersistenceServer:
    """Return an MCP server over a façade, or over that of an agent or service; it closes nothing.

    Its tools read: query_rows, read_row, count_rows, list_columns, search_text where the adapter can (in the text
    search configuration `text_config`, by default the database's own), `search` with a `retriever`, get_context and a
    prompt with `context`: True for `build_rag_context`, or an async function of a façade and `query=` such as a partial
    of it. `writes` adds tools that write, each named there. What a client sees of tables and columns, also in schemas
    and descriptions, is what the façade's policy lets be read.

    An answer has at most `max_rows` rows and `max_bytes` bytes as JSON (which stands in it twice: as text and as
    structured content), and a cursor for the rest, sealed with `cursor_key`; see `Cursors`.

    `users` says whom a bearer token stands for, as arguments of `as_user`: `bearer` where PostgREST knows the token, or
    your own function, plain or async, which checks it and returns claims or a tenant. With it no call runs without one.
    """
    cursor_key = hidden(cursor_key)
    readable = facade.readonly()
    if not isinstance(readable, ReadOnlyPersistenceFacade):
        raise ConfigurationError(f"create_server takes an async façade, agent or service, not {type(facade).__name__}")
    bounds = AnswerBounds(max_rows, max_bytes)
    tools: Tools = ReadingTools(readable, bounds, Cursors(cursor_key), text_config=text_config).tools()
    if retriever is not None:
        tools |= SearchTools(readable, retriever, bounds).tools()
    built = None if context is None else ContextTools(build_rag_context if context is True else context, bounds)
    if built is not None:
        tools |= built.tools()
    if writes is not None:
        tools |= WritingTools(writes, bounds).tools()
    listed = [listed_tool(tool) for tool in tools.values()]
    door = Door(facade=readable, tools=tools, listed=listed, writes=writes, context=built, users=users)
    return PersistenceServer(door, name=name)
