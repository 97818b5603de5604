"""LangGraph: a checkpointer and a store over an agent, wherever it keeps its rows.

schema = Schema({**yours.tables, **Checkpointer.tables(), **Store.tables()})
graph = builder.compile(checkpointer=Checkpointer(agent), store=Store(agent))
print(Checkpointer.sql(), Store.sql())      # for the owner of the database to read and run

Memory needs no SQL. Nothing here makes a table by itself.
"""

from __future__ import annotations

from agent_persistence._extras import command_for
from agent_persistence.exceptions import ConfigurationError

try:
    import langgraph.checkpoint.base  # noqa: F401
except ImportError as error:
    remedy = command_for("langgraph")
    raise ConfigurationError(f"this integration needs langgraph-checkpoint: {remedy}") from error

from agent_persistence.ext._langgraph.checkpointer import Checkpointer
from agent_persistence.ext._langgraph.store import Store
from agent_persistence.ext._tables.owning import OwnerColumn

__all__ = ["Checkpointer", "OwnerColumn", "Store"]
