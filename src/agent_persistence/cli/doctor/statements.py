"""The SQL of remedies."""

from __future__ import annotations

from collections.abc import Iterable


def quoted(name: str) -> str:
    """The name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def grant(right: str, columns: Iterable[str] | None, table: str, role: str, db_schema: str = "public") -> str:
    """The statement that gives a role a right, to the columns or to all of them."""
    listed = "" if columns is None else f" ({', '.join(map(quoted, sorted(columns)))})"
    return f"grant {right}{listed} on {quoted(db_schema)}.{quoted(table)} to {quoted(role)};"


def grant_usage(role: str, db_schema: str = "public") -> str:
    """The statement without which a role sees no table of the schema."""
    return f"grant usage on schema {quoted(db_schema)} to {quoted(role)};"


def enable_security(table: str, db_schema: str = "public") -> str:
    """The statement after which a role sees the rows that policies give it, and no others."""
    return f"alter table {quoted(db_schema)}.{quoted(table)} enable row level security;"
