"""A support desk: customers, their tickets, comments as threads, tags by pairs, and articles that belong to nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, TablePolicy
from agent_persistence.query.records import Row
from agent_persistence.rag_context import ContextSpec, Entity
from agent_persistence.schema_registry import Column, ForeignKey, Schema, Table

_KEY: Final = Column("bigint", nullable=False)
_AT: Final = Column("timestamptz", nullable=False)
SCHEMA: Final = Schema(
    {
        "customers": Table(
            {"id": _KEY, "name": Column("text", pii="name"), "email": Column("text", pii="email"), "created_at": _AT},
            unique=(("email",),),
        ),
        "agents": Table({"id": _KEY, "full_name": Column("text", pii="name"), "password_hash": Column("text")}),
        "tickets": Table(
            {
                "id": _KEY,
                "customer_id": Column("bigint", nullable=False),
                "agent_id": Column("bigint"),
                "subject": Column("text", nullable=False),
                "status": Column("text", nullable=False, one_of=("open", "closed")),
                "created_at": _AT,
            },
            foreign_keys=(ForeignKey("customer_id", "customers"), ForeignKey("agent_id", "agents")),
        ),
        "comments": Table(
            {
                "id": _KEY,
                "ticket_id": Column("bigint", nullable=False),
                "reply_to": Column("bigint"),
                "author_id": Column("bigint"),
                "body": Column("text", nullable=False),
                "created_at": _AT,
            },
            foreign_keys=(
                ForeignKey("author_id", "agents"),
                ForeignKey("ticket_id", "tickets"),
                ForeignKey("reply_to", "comments"),
            ),
        ),
        "tags": Table({"id": _KEY, "name": Column("text", nullable=False)}),
        "ticket_tags": Table(
            {"ticket_id": _KEY, "tag_id": _KEY},
            primary_key=("ticket_id", "tag_id"),
            foreign_keys=(ForeignKey("ticket_id", "tickets"), ForeignKey("tag_id", "tags")),
        ),
        "kb_articles": Table({"id": _KEY, "title": Column("text"), "body": Column("text"), "created_at": _AT}),
    }
)
SPEC: Final = ContextSpec.from_schema(SCHEMA, ("tickets", "kb_articles"), name="desk")
BY_HAND: Final = ContextSpec(
    [
        Entity("customers", parent=(), title="name", time="created_at"),
        Entity("tickets", parent={"customer_id": "customers"}, title="subject", time="created_at"),
        Entity("comments", parent={"ticket_id": "tickets"}, body="body", time="created_at", in_time_order=True),
    ],
    root="tickets",
)
"""Three of the tables, with everything said, so that no schema is needed."""


def at(minute: int) -> str:
    return f"2026-05-01T{minute // 60:02}:{minute % 60:02}:00+00:00"


def comment(key: int, ticket: int, body: str, **columns: Any) -> Row:
    return {"id": key, "ticket_id": ticket, "body": body, "created_at": at(key)} | columns


ROWS: Final[Mapping[str, Sequence[Row]]] = {
    "customers": [
        {"id": 1, "name": "Ada", "email": "ada@desk.example", "created_at": at(0)},
        {"id": 2, "name": "Ben", "email": "ben@desk.example", "created_at": at(0)},
    ],
    "agents": [{"id": 1, "full_name": "Cleo Marsh", "password_hash": "$2b$"}, {"id": 2, "full_name": "Dag Holm"}],
    "tickets": [
        {"id": 10, "customer_id": 1, "agent_id": 1, "subject": "Printer is on fire", "status": "open"}
        | {"created_at": at(10)},
        {"id": 11, "customer_id": 1, "agent_id": None, "subject": "Smoke", "status": "closed", "created_at": at(11)},
        {"id": 20, "customer_id": 2, "agent_id": 2, "subject": "Ben's secret", "status": "open", "created_at": at(12)},
    ],
    "comments": [
        comment(30, 10, "It burns."),
        comment(31, 10, "Have you tried water?", reply_to=30, author_id=1),
        comment(32, 10, "Yes.", reply_to=31),
        comment(33, 20, "Ben's secret comment", author_id=2),
    ],
    "tags": [{"id": 1, "name": "fire"}, {"id": 2, "name": "urgent"}, {"id": 3, "name": "secret tag"}],
    "ticket_tags": [
        {"ticket_id": 10, "tag_id": 1},
        {"ticket_id": 10, "tag_id": 2},
        {"ticket_id": 20, "tag_id": 3},
    ],
    "kb_articles": [{"id": 1, "title": "Fires", "body": "Leave the room.", "created_at": at(1)}],
}
ALL: Final = TablePolicy(read=set(SCHEMA.tables), write=set(SCHEMA.tables))


def desk(rows: Mapping[str, Sequence[Row]] = ROWS, *, policy: TablePolicy = ALL, **options: Any) -> Any:
    """A service over the rows, in memory."""
    adapter = options.pop("adapter", None) or InMemoryAdapter({t: list(r) for t, r in rows.items()}, schema=SCHEMA)
    return AsyncPersistenceService(adapter, **{"schema": SCHEMA, "policy": policy, "retry": False, **options})
