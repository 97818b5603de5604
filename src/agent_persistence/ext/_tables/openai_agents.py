"""The table of OpenAI Agents' sessions."""

from __future__ import annotations

from typing import Final

from agent_persistence.ext._tables.own_tables import OwnTables
from agent_persistence.schema.registry import Column, Generated, Table

ITEMS: Final = "agent_session_items"
SESSIONS: Final = OwnTables(
    {
        ITEMS: Table(
            {
                "id": Column("uuid", nullable=False, default=Generated.UUID),
                "session_id": Column("text", nullable=False),
                "position": Column("bigint", nullable=False, default=Generated.IDENTITY),
                "place": Column("integer", nullable=False, default=0),
                "item": Column("text"),
                "popped_by": Column("uuid"),
                "created_at": Column("timestamptz", nullable=False, default=Generated.NOW),
            },
            unique=(("session_id", "position", "place"),),
        )
    }
)
"""A row without an item hides all that stand before it: with such a row a replacement begins."""
