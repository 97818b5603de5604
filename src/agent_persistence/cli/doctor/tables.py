"""The policy's tables over REST: which are missing, and which of their columns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.cli.doctor.differences import differences, missing_column, same_described_type
from agent_persistence.cli.doctor.expected import ExpectedRights
from agent_persistence.cli.doctor.probing import ProbeResult, probe_reading
from agent_persistence.cli.rest import Rest

TABLES: Final = Area("Tables")


async def table_checks(rest: Rest, expected: ExpectedRights) -> AsyncIterator[Check]:
    """Of each table, whether it is there and has its columns. What reading it has shown is kept in `expected`."""
    for table in expected.tables():
        expected.readings[table] = await probe_reading(rest, table, expected.readable(table))
        for check in _told_table(expected, table, expected.readings[table]):
            yield check


def _told_table(expected: ExpectedRights, table: str, reading: ProbeResult) -> Iterator[Check]:
    declared = expected.schema.tables.get(table)
    if not reading.exists:
        remedy = "create it, take it out of the policy, or after a change run: notify pgrst, 'reload schema'"
        yield TABLES.check(Level.PROBLEM, "not there, or the server does not know it yet", table, remedy)
    elif reading.error is not None:
        yield TABLES.check(Level.PROBLEM, str(reading.error), table)
    elif declared is None:
        yield TABLES.check(Level.NOTE, "there, and not in the schema", table)
    else:
        actual = None if expected.described is None else expected.described.tables.get(table)
        if actual is not None:
            found = list(differences(TABLES, table, declared, actual, same_described_type))
        else:
            found = [missing_column(TABLES, table, name, _type(expected, table, name)) for name in reading.missing]
        yield from found
        if not any(check.level is Level.PROBLEM for check in found):
            yield _columns_check(expected, table, reading, has_types=actual is not None)


def _columns_check(expected: ExpectedRights, table: str, reading: ProbeResult, *, has_types: bool) -> Check:
    """That no column is missing, as far as that could be seen."""
    count, asked = len(expected.schema.columns(table)), len(expected.readable(table))
    if has_types:
        message = f"all {count} columns, with their types"
    elif reading.denied is None or reading.denied:
        message = "there; columns that may not be read cannot be compared"
        return TABLES.unseen(message, table, remedy="grant the rights that are missing, or set DATABASE_URL")
    else:
        message = f"all {count} columns" if asked == count else f"all {asked} columns that may be read"
    return TABLES.check(Level.OK, message, table)


def _type(expected: ExpectedRights, table: str, column: str) -> str | None:
    declared = expected.schema.column(table, column)
    return None if declared is None else declared.type
