"""A CRM of eight tables: their names, what agents may do with them by default, and the context of five of them.

The tables themselves are in `crm.toml` beside this file, from which `Schema.default()` reads them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from agent_persistence.schema.contexts.entity import Entity, Parent
from agent_persistence.schema.contexts.spec import ContextSpec

BUSINESS_TABLES: Final = frozenset(
    {"campaigns", "clients", "conversations", "leads", "messages", "sequences", "staging_leads", "inquiries"}
)
GOVERNANCE_TABLES: Final = frozenset({"clients", "campaigns"})
"""Reference data that agents read but never write where no policy is given."""

CONTEXT: Final = ContextSpec(
    [
        Entity("clients", parent=(), tag="client", prefix="c", time="created_at", half_life=timedelta(days=365)),
        Entity("campaigns", parent={"client_id": "clients"}, tag="campaign", prefix="p", time="created_at", limit=10),
        Entity(
            "leads",
            parent=[Parent("client_id", "clients"), Parent("campaign_id", "campaigns", shown_as="campaign")],
            tag="lead",
            prefix="l",
            time="created_at",
            limit=10,
        ),
        Entity(
            "conversations",
            parent={"lead_id": "leads"},
            tag="conversation",
            prefix="v",
            time="created_at",
            limit=20,
            half_life=timedelta(days=30),
            needs_parent=True,
            in_time_order=True,
        ),
        Entity(
            "messages",
            parent={"conversation_id": "conversations"},
            labels="role",
            body="content",
            tag="message",
            prefix="m",
            time="created_at",
            limit=50,
            half_life=timedelta(days=30),
            needs_parent=True,
            in_time_order=True,
        ),
    ],
    root="leads",
    name="crm_context",
)
"""Clients, campaigns, leads, conversations and messages, around the leads."""
CONTEXT_TABLES: Final = tuple(entity.table for entity in CONTEXT.entities)
