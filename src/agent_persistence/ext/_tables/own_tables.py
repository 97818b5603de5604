"""The tables of one integration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent_persistence.ext._tables.ddl import Index, install_sql
from agent_persistence.ext._tables.owning import OwnerColumn, owned
from agent_persistence.schema.registry import Table


@dataclass(frozen=True, slots=True)
class OwnTables:
    """The tables of one integration, as they are without an owner."""

    tables: Mapping[str, Table]
    indexes: Sequence[Index] = ()

    def __or__(self, other: OwnTables) -> OwnTables:
        """Both, in this order."""
        return OwnTables({**self.tables, **other.tables}, (*self.indexes, *other.indexes))

    def declared(self, owner: OwnerColumn | None = None) -> dict[str, Table]:
        """The tables for a Schema, each with the owner's column if there is one."""
        return {name: owned(table, owner) for name, table in self.tables.items()}

    def sql(
        self,
        owner: OwnerColumn | None = None,
        *,
        db_schema: str = "public",
        row_level_security: bool = True,
        roles: Iterable[str] = (),
    ) -> str:
        """SQL that makes the tables where they are missing, for their owner to read and run, again if you like."""
        return install_sql(
            self.declared(owner),
            self.indexes,
            owner=owner,
            db_schema=db_schema,
            row_level_security=row_level_security,
            roles=roles,
        )
