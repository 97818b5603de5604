"""Support tickets for MCP clients, of which a model may read some columns and change the status.

Claude Desktop or an IDE starts it with: {"command": "python", "args": ["-m", "examples.mcp_server"]}
"""

from __future__ import annotations

import anyio

from agent_persistence import Column, InMemoryAdapter, PersistenceAgent, Schema, Table, TablePolicy
from agent_persistence.ext.mcp import PersistenceServer, Writes, create_server, serve_stdio
from agent_persistence.service import AsyncPersistenceService

SCHEMA = Schema(
    {
        "customers": Table({"id": Column("integer", nullable=False), "name": Column("text"), "email": Column("text")}),
        "tickets": Table(
            {
                "id": Column("integer", nullable=False),
                "customer_id": Column("integer"),
                "title": Column("text"),
                "status": Column("text", one_of=("open", "waiting", "closed")),
                "internal_notes": Column("text"),
            }
        ),
    }
)
POLICY = TablePolicy(
    read={"tickets", "customers"},
    write={"tickets"},
    columns={
        "customers": ["id", "name"],
        "tickets": {"read": ["id", "customer_id", "title", "status"], "write": ["status"]},
    },
)
ROWS = {
    "customers": [{"id": 1, "name": "Brightwater", "email": "ops@brightwater.example"}],
    "tickets": [
        {"id": 1, "customer_id": 1, "title": "Invoices arrive twice", "status": "open", "internal_notes": "refund"},
        {"id": 2, "customer_id": 1, "title": "Export is slow", "status": "waiting", "internal_notes": ""},
    ],
}


def make_server() -> PersistenceServer:
    """In production: create_persistence_agent(policy=POLICY, schema=SCHEMA), with SUPABASE_URL and SUPABASE_KEY set."""
    service = AsyncPersistenceService(InMemoryAdapter(ROWS, schema=SCHEMA), policy=POLICY, schema=SCHEMA)
    agent = PersistenceAgent(service)
    return create_server(agent, writes=Writes(agent, update=["tickets"]), max_rows=20)


if __name__ == "__main__":
    anyio.run(serve_stdio, make_server())
