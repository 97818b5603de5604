"""What a table's rules refuse, with PostgreSQL's codes and names of constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent_persistence.exceptions import AdapterError, ConflictError
from agent_persistence.schema.registry import Column


def check_values(table: str, columns: Mapping[str, Column], row: Mapping[str, Any]) -> None:
    """NOT NULL first, then checks, each in the order of the columns (ExecConstraints in execMain.c)."""
    for name, column in columns.items():
        if not column.nullable and row.get(name) is None:
            raise ConflictError(f"{table}.{name} may not be null", constraint=None, status=400, code="23502")
    for name, column in columns.items():
        if column.one_of and row[name] is not None and row[name] not in column.one_of:
            constraint = f"{table}_{name}_check"
            raise ConflictError(
                f"{table}.{name} must be one of {', '.join(column.one_of)} ({constraint})",
                constraint=constraint,
                status=400,
                code="23514",
            )


def duplicate(table: str, columns: Sequence[str], *, is_primary: bool) -> ConflictError:
    """The violation of a unique rule, named as PostgreSQL names it."""
    constraint = f"{table}_pkey" if is_primary else f"{table}_{'_'.join(columns)}_key"
    return ConflictError(
        f"a row of {table} with this {', '.join(columns)} exists ({constraint})",
        constraint=constraint,
        status=409,
        code="23505",
    )


def merged_twice(table: str, columns: Sequence[str]) -> AdapterError:
    """The refusal of a command that would merge two of its own rows."""
    return AdapterError(
        f"two records for {table} have the same {', '.join(columns)}, and a row is merged once a call",
        status=500,
        code="21000",
    )
