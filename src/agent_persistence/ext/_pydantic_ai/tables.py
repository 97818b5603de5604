"""The table of the messages: as a part of a schema, and as SQL."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.query.identifiers import is_identifier
from agent_persistence.schema.registry import Column, Generated, Schema, Table

TABLE: Final = "pydantic_ai_messages"
TABLES: Final[Mapping[str, Table]] = MappingProxyType(
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
    }
)
"""What `schema=` of the agent has to declare, beside your own tables."""


def with_history(schema: Schema, *, tenant: str | None = None) -> Schema:
    """The schema and the table of the messages; `tenant` is the column of a TenantScope, if there is one."""
    table = TABLES[TABLE]
    if tenant is not None:
        columns = {**table.columns, tenant: Column("text", nullable=False)}
        table = Table(columns)
    return Schema({**schema.tables, TABLE: table})


def sql(*, db_schema: str = "public", tenant: str | None = None, owner: bool = False) -> str:
    """SQL that makes the table, for its owner to read and run; running it again changes nothing.

    A message is stored as a text that holds JSON, since jsonb refuses NUL and rounds numbers. Row-level security is
    enabled, so that only roles that bypass it see rows, until you add a policy; with `owner` each row belongs to the
    user who wrote it, by Supabase's auth.uid(), and there is one. `tenant` is the column of a TenantScope.
    """
    for name in (db_schema, *(() if tenant is None else (tenant,))):
        if not is_identifier(name):
            raise ConfigurationError(f"{printable(name)} is no plain name of a schema or column")
    more = "" if tenant is None else f'\n  "{tenant}" text not null,'
    more += "\n  owner uuid not null default auth.uid()," if owner else ""
    name = f'"{db_schema}".{TABLE}'
    return _SQL.format(table=name, more=more) + (_OWNER.format(table=name) if owner else "")


_SQL: Final = """\
create table if not exists {table} (
  id uuid primary key,{more}
  conversation_id text not null,
  run_key text not null,
  position integer not null,
  seq bigint generated always as identity,
  kind text not null check (kind in ('request', 'response')),
  message text not null,
  created_at timestamptz not null default now()
);
create index if not exists pydantic_ai_messages_in_order on {table} (conversation_id, seq, id);
alter table {table} enable row level security;
"""
_OWNER: Final = """\
do $$ begin
  create policy own_messages on {table} to authenticated
    using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
exception when duplicate_object then null;
end $$;
"""
