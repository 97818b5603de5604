"""Fixtures for the integrations that keep their rows in tables of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent_persistence import InMemoryAdapter, Schema
from agent_persistence.ext.langgraph import Checkpointer, Store
from agent_persistence.ext.openai_agents import AgentSession
from tests.ext.backends import NAMES, BackEnd
from tests.server import LocalServer

TABLES = {**Checkpointer.tables(), **Store.tables(), **AgentSession.tables()}


def _sql() -> str:
    return "\n".join((Checkpointer.sql(), Store.sql(), AgentSession.sql()))


@pytest.fixture(scope="module")
def installed(local_server: LocalServer) -> Iterator[LocalServer]:
    """The server with the tables of every integration, as their own SQL makes them; afterwards they are gone."""
    local_server.execute(_sql())
    local_server.execute(_sql())  # again, as somebody may
    local_server.reload_schema()
    yield local_server
    local_server.execute(f"drop table {', '.join(TABLES)}")
    local_server.reload_schema()


@pytest.fixture(params=NAMES)
def back_end(request: pytest.FixtureRequest) -> BackEnd:
    """Each back end, with empty tables."""
    if request.param == "memory":
        return BackEnd("memory", None, InMemoryAdapter(schema=Schema(TABLES)))
    server: LocalServer = request.getfixturevalue("installed")
    server.reset()
    return BackEnd(request.param, server, None)
