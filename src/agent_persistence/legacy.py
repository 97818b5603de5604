"""A stand-in for the old DBWriteAgent: change the import, and the calls go on working."""

from __future__ import annotations

import warnings
from typing import Any

from agent_persistence.factory import Kind
from agent_persistence.sync import PersistenceAgent, create_persistence_agent


class DBWriteAgent:
    """The old name for a blocking agent that writes. New code uses `create_persistence_agent()`.

    `options` are those of `agent_persistence.create_persistence_agent`. Constructing it warns with the caller's line.
    """

    def __init__(self, kind: Kind = "supabase", **options: Any) -> None:
        warnings.warn(
            "DBWriteAgent is deprecated; use agent_persistence.create_persistence_agent(), or"
            " agent_persistence.sync.create_persistence_agent() without await",
            DeprecationWarning,
            stacklevel=2,
        )
        self._agent: PersistenceAgent = create_persistence_agent(kind, **options)
        self.write = self._agent.write
        self.batch_write = self._agent.batch_write
        self.upsert = self._agent.upsert
        self.close = self._agent.close
