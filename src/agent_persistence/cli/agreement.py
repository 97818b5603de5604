"""Whether a policy and a schema speak of the same tables and columns, and whether the policy can do what it allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.operations import filtered_columns
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.presets.crm import GOVERNANCE_TABLES
from agent_persistence.query.identifiers import base_column
from agent_persistence.schema.registry import Schema

AREA: Final = Area("Policy")


def agreement(policy: TablePolicy, schema: Schema, *, undeclared: Level = Level.NOTE) -> list[Check]:
    """What a policy says of tables or columns that the schema lacks, and rules that hinder each other.

    `undeclared` is how a table that the schema lacks comes out: a note where a database is looked at as well, a problem
    where the schema is all there is, and unchecked where no schema was given.
    """
    found = [*_extent(policy), *_tables(policy, schema, undeclared), *_columns(policy, schema), *_rules(policy)]
    return found or [AREA.check(Level.OK, f"{len(_named(policy))} tables, all in the schema, and rules that agree")]


def _named(policy: TablePolicy) -> list[str]:
    return sorted(policy.read | policy.write | policy.delete)


def _extent(policy: TablePolicy) -> Iterator[Check]:
    """That nothing may be read, or nothing written: what a policy does not name is denied."""
    if not (_named(policy) or policy.call or policy.call_write):
        remedy = "name tables in read and write, and functions in call and call_write"
        yield AREA.check(Level.PROBLEM, "nothing is named, so that everything is denied", remedy=remedy)
        return
    if not policy.read:
        yield AREA.check(Level.NOTE, "no table may be read", remedy="name tables in read, if that is not meant")
    if not policy.write:
        yield AREA.check(Level.NOTE, "no table may be written", remedy="name tables in write, if that is not meant")


def _tables(policy: TablePolicy, schema: Schema, undeclared: Level) -> Iterator[Check]:
    message, remedy = _UNDECLARED[undeclared]
    for table in _named(policy):
        if table not in schema.tables:
            yield AREA.check(undeclared, message, table, remedy)


_UNDECLARED: Final = {
    Level.NOTE: (
        "not in the schema, so that columns and values are not checked",
        "add it, or write the schema anew with 'schema pull'",
    ),
    Level.PROBLEM: (
        "not in the schema",
        "take it out of the policy, or write the schema anew with 'schema pull'",
    ),
    Level.UNCHECKED: (
        "none of the eight business tables, and no schema was given",
        "pass --schema schema.toml, which 'schema pull' writes, or run 'doctor', which looks into the database",
    ),
}


def _columns(policy: TablePolicy, schema: Schema) -> Iterator[Check]:
    for table in sorted(policy.columns.keys() | policy.rows.keys()):
        known = schema.columns(table)
        listed = policy.columns.get(table)
        compared = {base_column(name) for name in filtered_columns(policy.rows.get(table))}
        named = compared | (set() if listed is None else (listed.read or set()) | (listed.write or set()))
        for column in sorted(named - known.keys()) if known else ():
            yield AREA.check(
                Level.PROBLEM, f"no column {column}, which the policy names", table, f"there are {', '.join(known)}"
            )
        if known:
            yield from _unwritable(policy, table, schema)


def _unwritable(policy: TablePolicy, table: str, schema: Schema) -> Iterator[Check]:
    """Columns without which no row can be inserted, and which may not be written."""
    writable = policy.writable(table)
    if table not in policy.write or not writable:
        return
    needed = {name for name, column in schema.columns(table).items() if not column.nullable and column.default is None}
    for column in sorted(needed - writable - {base_column(name) for name in filtered_columns(policy.rows.get(table))}):
        yield AREA.check(
            Level.NOTE,
            f"{column} is needed in every new row and may not be written: rows can be updated, not inserted",
            table,
            f"add {column} to columns.{table}.write, if rows are to be inserted",
        )


def _rules(policy: TablePolicy) -> Iterator[Check]:
    for table in sorted(policy.delete - policy.read):
        yield AREA.check(
            Level.PROBLEM,
            "in delete and not in read, so that delete is denied: it chooses rows by what they hold",
            table,
            "add it to read",
        )
    for table in sorted(policy.write - policy.read):
        yield AREA.check(Level.NOTE, "in write and not in read: takes new rows, and update is denied", table)
    for table in sorted(policy.write & GOVERNANCE_TABLES):
        yield AREA.check(Level.NOTE, "a governance table, and may be written", table)
    for name in sorted(policy.call & policy.call_write):
        yield AREA.check(Level.NOTE, "in call and in call_write: may write, and a façade may call it", name)
