"""What the key that everybody may have gets to see, which is what row-level security leaves open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from agent_persistence._cli.checks import Area, Check, Level
from agent_persistence._cli.doctor.expected import Expected
from agent_persistence._cli.doctor.probing import DENIED, gives_a_row
from agent_persistence._cli.doctor.statements import enable_security
from agent_persistence._cli.rest import Rest
from agent_persistence.exceptions import AdapterError

SECURITY: Final = Area("Row-level security")


async def public_checks(rest: Rest, expected: Expected, whose: str) -> AsyncIterator[Check]:
    """Which tables give a row to the key that everybody may have."""
    for table, reading in expected.readings.items():
        if not reading.exists:
            continue
        columns = [name for name in expected.readable(table) if name not in reading.missing]
        given = await gives_a_row(rest, table, columns)
        if isinstance(given, AdapterError):
            known = given.code in (DENIED, "42P01", "PGRST205")
            told = f"nothing for {whose}: it lacks the right" if known else str(given)
            yield SECURITY.check(Level.OK if known else Level.UNCHECKED, told, table)
        elif given:
            yield SECURITY.check(
                Level.PROBLEM,
                f"rows for {whose}: row-level security is off, or a policy lets everybody read",
                table,
                "then add policies for those who may see rows; the role service_role needs none",
                enable_security(table),
            )
        else:
            yield SECURITY.check(Level.OK, f"no row for {whose}, or none at all", table)


def unseen_security(variables: Sequence[str]) -> Check:
    """That a key which bypasses row-level security cannot show whether it is on."""
    return SECURITY.check(
        Level.UNCHECKED,
        "cannot be seen over REST with a key that bypasses it",
        remedy=f"set {' or '.join(variables)} to see what everybody may read, or DATABASE_URL to read it in full",
    )
