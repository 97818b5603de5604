"""A support desk with four tables of its own: what they look like, who may do what with them, and a few rows."""

from __future__ import annotations

from typing import Any, Final

from agent_persistence import Column, PersistenceAgent, Schema, Table, TablePolicy
from agent_persistence.schema_registry import ForeignKey

_ID: Final = Column("bigint", nullable=False)
_AT: Final = Column("timestamptz", nullable=False)

SCHEMA: Final = Schema(
    {
        "customers": Table(
            {
                "id": _ID,
                "name": Column("text", pii="name"),
                "email": Column("text", pii="email"),
                "plan": Column("text"),
            }
        ),
        "tickets": Table(
            {
                "id": _ID,
                "customer_id": _ID,
                "subject": Column("text", nullable=False),
                "status": Column("text", one_of=("open", "waiting", "closed")),
                "created_at": _AT,
            },
            foreign_keys=(ForeignKey("customer_id", "customers"),),
        ),
        "comments": Table(
            {
                "id": _ID,
                "ticket_id": _ID,
                "reply_to": Column("bigint"),
                "author": Column("varchar(80)", pii="name"),
                "body": Column("text", nullable=False),
                "created_at": _AT,
            },
            foreign_keys=(ForeignKey("ticket_id", "tickets"), ForeignKey("reply_to", "comments")),
        ),
        "kb_articles": Table({"id": _ID, "title": Column("text"), "body": Column("text"), "updated_at": _AT}),
    }
)
POLICY: Final = TablePolicy(read=set(SCHEMA.tables), write=set(SCHEMA.tables))


def _at(day: int, hour: int) -> str:
    return f"2026-05-{day:02}T{hour:02}:00:00+00:00"


def _comment(key: int, ticket: int, author: str, body: str, at: str, reply_to: int | None = None) -> dict[str, Any]:
    told = {"id": key, "ticket_id": ticket, "reply_to": reply_to, "author": author, "body": body}
    return told | {"created_at": at}


ROWS: Final[dict[str, list[dict[str, Any]]]] = {
    "customers": [
        {"id": 1, "name": "Maya Okafor", "email": "maya@brightwater.example", "plan": "pro"},
        {"id": 2, "name": "Tom Reed", "email": "tom@reed.example", "plan": "free"},
    ],
    "tickets": [
        {"id": 10, "customer_id": 1, "subject": "Label printer jams", "status": "open", "created_at": _at(4, 9)},
        {"id": 11, "customer_id": 1, "subject": "Invoice for April", "status": "closed", "created_at": _at(2, 8)},
        {"id": 12, "customer_id": 2, "subject": "Cannot log in", "status": "open", "created_at": _at(5, 7)},
    ],
    "comments": [
        _comment(100, 10, "Maya Okafor", "It jams at every tenth label & beeps.", _at(4, 9)),
        _comment(101, 10, "Ines Vidal", "Which roll is in it, 40 or 60 mm?", _at(4, 10), reply_to=100),
        _comment(102, 10, "Maya Okafor", "60 mm, since Monday.", _at(4, 11), reply_to=101),
        _comment(103, 11, "Ines Vidal", "Sent to maya@brightwater.example.", _at(2, 9)),
        _comment(104, 12, "Tom Reed", "The code never arrives.", _at(5, 7)),
    ],
    "kb_articles": [
        {
            "id": 1,
            "title": "Rolls that fit",
            "body": "The printer takes rolls of 40 mm. Wider ones jam.",
            "updated_at": _at(1, 8),
        },
    ],
}


async def load(agent: PersistenceAgent) -> None:
    """Insert every row, parents first, one request a table."""
    for table, rows in ROWS.items():
        await agent.batch_write(table, rows)
