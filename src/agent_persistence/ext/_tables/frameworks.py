"""All frameworks whose integration keeps rows in tables of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent_persistence.ext._tables.langgraph import CHECKPOINTS, MEMORIES
from agent_persistence.ext._tables.openai_agents import SESSIONS
from agent_persistence.ext._tables.own_tables import OwnTables
from agent_persistence.ext._tables.pydantic_ai import MESSAGES

FRAMEWORKS: Final[Mapping[str, OwnTables]] = {
    "langgraph": CHECKPOINTS | MEMORIES,
    "openai-agents": SESSIONS,
    "pydantic-ai": MESSAGES,
}
"""By the name of the extra."""
