"""What the tables look like: columns, keys and relations, declared once for everybody who needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Any, Final


class Generated(Enum):
    """Defaults that the database makes anew for each row."""

    UUID = "gen_random_uuid()"
    NOW = "now()"
    IDENTITY = "identity"


_NO_DEFAULT: Final = None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its PostgreSQL type, whether it may be NULL, its default and the only values a check allows."""

    type: str
    nullable: bool = True
    default: Any = _NO_DEFAULT
    one_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A column whose values are keys of another table."""

    column: str
    table: str
    references: str = "id"
    on_delete_cascade: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns in order, its primary key, its unique sets of columns and its foreign keys."""

    columns: Mapping[str, Column]
    primary_key: tuple[str, ...] = ("id",)
    unique: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))


@dataclass(frozen=True, slots=True)
class Schema:
    """The declared tables by name. A table that is not declared is not checked."""

    tables: Mapping[str, Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", MappingProxyType(dict(self.tables)))

    def primary_key(self, table: str) -> tuple[str, ...]:
        """The table's key columns; ("id",) for a table that is not declared."""
        declared = self.tables.get(table)
        return declared.primary_key if declared else ("id",)

    def columns(self, table: str) -> Mapping[str, Column]:
        """The table's declared columns; none for a table that is not declared."""
        declared = self.tables.get(table)
        return declared.columns if declared else {}


@cache
def default_schema() -> Schema:
    """The eight business tables of the reference schema."""
    return Schema(
        {
            "clients": Table(
                {
                    "id": _UUID_KEY,
                    "name": _required("text"),
                    "email": Column("text"),
                    "plan": Column("text", default="free"),
                    "budget": Column("numeric(12,2)"),
                    "is_active": _required("boolean", default=True),
                    "tags": Column("text[]", default=[]),
                    "metadata": Column("jsonb", default={}),
                    "created_at": _NOW,
                    "updated_at": _NOW,
                },
                unique=(("email",),),
            ),
            "campaigns": Table(
                {
                    "id": _UUID_KEY,
                    "client_id": Column("uuid"),
                    "name": _required("text"),
                    "status": _required("text", default="draft", one_of=("draft", "active", "paused", "done")),
                    "daily_limit": Column("integer", default=50),
                    "starts_on": Column("date"),
                    "settings": Column("jsonb"),
                    "created_at": _NOW,
                },
                foreign_keys=(ForeignKey("client_id", "clients"),),
            ),
            "leads": Table(
                {
                    "id": _UUID_KEY,
                    "client_id": Column("uuid"),
                    "campaign_id": Column("uuid"),
                    "email": _required("text"),
                    "first_name": Column("text"),
                    "last_name": Column("text"),
                    "phone": Column("text"),
                    "company": Column("text"),
                    "status": _required("text", default="new"),
                    "score": Column("numeric"),
                    "is_qualified": Column("boolean", default=False),
                    "tags": Column("text[]"),
                    "custom": Column("jsonb"),
                    "notes": Column("text"),
                    "last_contacted_at": Column("timestamptz"),
                    "created_at": _NOW,
                },
                unique=(("email",),),
                foreign_keys=(ForeignKey("client_id", "clients"), ForeignKey("campaign_id", "campaigns")),
            ),
            "conversations": Table(
                {
                    "id": _UUID_KEY,
                    "lead_id": Column("uuid"),
                    "channel": Column("text", default="email"),
                    "subject": Column("text"),
                    "opened": Column("boolean"),
                    "created_at": _NOW,
                },
                foreign_keys=(ForeignKey("lead_id", "leads", on_delete_cascade=True),),
            ),
            "messages": Table(
                {
                    "id": _IDENTITY_KEY,
                    "conversation_id": _required("uuid"),
                    "role": _required("text"),
                    "content": Column("text"),
                    "tokens": Column("integer"),
                    "cost": Column("numeric"),
                    "created_at": _NOW,
                },
                foreign_keys=(ForeignKey("conversation_id", "conversations", on_delete_cascade=True),),
            ),
            "sequences": Table(
                {
                    "id": _IDENTITY_KEY,
                    "campaign_id": Column("uuid"),
                    "step": _required("integer"),
                    "delay_hours": Column("integer", default=24),
                    "template": Column("text"),
                    "created_at": _NOW,
                },
                unique=(("campaign_id", "step"),),
                foreign_keys=(ForeignKey("campaign_id", "campaigns"),),
            ),
            "staging_leads": Table(
                {
                    "id": _IDENTITY_KEY,
                    "email": Column("text"),
                    "raw": Column("jsonb"),
                    "source": Column("text"),
                    "status": Column("text", default="new"),
                    "created_at": _NOW,
                }
            ),
            "inquiries": Table(
                {
                    "id": _IDENTITY_KEY,
                    "email": Column("text"),
                    "body": Column("text"),
                    "handled": Column("boolean", default=False),
                    "created_at": _NOW,
                }
            ),
        }
    )


def _required(type: str, *, default: Any = _NO_DEFAULT, one_of: tuple[str, ...] = ()) -> Column:
    return Column(type, nullable=False, default=default, one_of=one_of)


_UUID_KEY: Final = _required("uuid", default=Generated.UUID)
_IDENTITY_KEY: Final = _required("bigint", default=Generated.IDENTITY)
_NOW: Final = _required("timestamptz", default=Generated.NOW)
