"""Whose a row is."""

from __future__ import annotations

from dataclasses import dataclass

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.query.identifiers import is_identifier
from agent_persistence.schema.registry import Column, Table


@dataclass(frozen=True, slots=True)
class OwnerColumn:
    """The column that says whose a row is. It is the first of the key, so that two owners may use the same names.

    `default` is an SQL expression such as `auth.uid()`, for a database that knows the user of a request: rows get it,
    and row-level security shows each user the own rows alone. Without it the agent's `TenantScope` gives the value.
    """

    name: str
    type: str = "uuid"
    default: str | None = None

    def __post_init__(self) -> None:
        if not is_identifier(self.name):
            raise ConfigurationError(
                f"owner: {printable(self.name)} is no plain name; lower-case letters, digits and _"
            )


def owned(table: Table, owner: OwnerColumn | None) -> Table:
    """The table with the owner's column, if there is one, before the other columns of its key and unique sets."""
    if owner is None:
        return table
    columns = {owner.name: Column(owner.type, nullable=False), **table.columns}
    single = table.primary_key == ("id",)  # a key that no two owners can have
    return Table(
        columns,
        primary_key=table.primary_key if single else (owner.name, *table.primary_key),
        unique=tuple((owner.name, *names) for names in table.unique),
    )
