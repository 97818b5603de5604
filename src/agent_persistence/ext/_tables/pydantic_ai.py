"""The table of pydantic-ai's messages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from agent_persistence.ext._tables.own_tables import OwnTables
from agent_persistence.ext._tables.owning import OwnerColumn, owned
from agent_persistence.schema.registry import Column, Generated, Schema, Table

TABLE: Final = "pydantic_ai_messages"
MESSAGES: Final = OwnTables(
    {
        TABLE: Table(
            {
                "id": Column("uuid", nullable=False),
                "conversation_id": Column("text", nullable=False),
                "run_key": Column("text", nullable=False),
                "position": Column("integer", nullable=False),
                "seq": Column("bigint", nullable=False, default=Generated.IDENTITY),
                "kind": Column("text", nullable=False, one_of=("request", "response")),
                "message": Column("text", nullable=False),
                "created_at": Column("timestamptz", nullable=False, default=Generated.NOW),
            }
        )
    },
    indexes=((TABLE, ("conversation_id", "seq", "id")),),
)
TABLES: Final[Mapping[str, Table]] = MappingProxyType(MESSAGES.declared())
"""What `schema=` of the agent has to declare, beside your own tables."""


def with_history(schema: Schema, *, tenant: str | None = None) -> Schema:
    """The schema and the table of the messages; `tenant` is the column of a TenantScope, if there is one."""
    return Schema({**schema.tables, TABLE: owned(TABLES[TABLE], _column(tenant))})


def sql(*, db_schema: str = "public", tenant: str | None = None, owner: bool = False) -> str:
    """SQL that makes the table, for its owner to read and run; running it again changes nothing.

    A message is stored as a text that holds JSON, since jsonb refuses NUL and rounds numbers. Row-level security is
    enabled, so that only roles that bypass it see rows, until you add a policy; with `owner` each row belongs to the
    user who wrote it, by Supabase's auth.uid(), and there is one. `tenant` is the column of a TenantScope.
    """
    of_tenants = OwnTables(MESSAGES.declared(_column(tenant)), MESSAGES.indexes)
    return of_tenants.sql(OwnerColumn("owner", default="auth.uid()") if owner else None, db_schema=db_schema)


def _column(tenant: str | None) -> OwnerColumn | None:
    return None if tenant is None else OwnerColumn(tenant, "text")
