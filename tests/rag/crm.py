"""The example CRM in memory, behind a service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent_persistence import AsyncPersistenceService, InMemoryAdapter
from agent_persistence.presets import crm
from agent_persistence.query.records import Row
from agent_persistence.schema_registry import Schema, default_schema
from examples import crm_data
from tests.rag.worlds import CLIENT, LEAD, TALK

CRM = crm.CONTEXT.shape(Schema())
"""The context of the five tables."""
CRM_TABLES = ("clients", "campaigns", "leads", "conversations", "messages")


def crm_service(*, messages: Sequence[Row] | None = None, **options: Any) -> AsyncPersistenceService:
    """A service over the example CRM, or over one conversation with these messages."""
    if messages is None:
        rows: dict[str, list[Row]] = {table: crm_data.rows(table) for table in crm_data.PARENTS_FIRST}
    else:
        rows = {"clients": [CLIENT], "leads": [LEAD], "conversations": [TALK], "messages": list(messages)}
    return AsyncPersistenceService(InMemoryAdapter(rows, schema=default_schema()), retry=False, **options)
