"""What the key that everybody may have gets to see, which is what row-level security leaves open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.cli.doctor.expected import ExpectedRights
from agent_persistence.cli.doctor.probing import DENIED, gives_a_row
from agent_persistence.cli.doctor.statements import enable_security
from agent_persistence.cli.rest import Rest
from agent_persistence.exceptions import AdapterError

SECURITY: Final = Area("Row-level security")
_CATALOGUES: Final = "set DATABASE_URL to read whether row-level security is on"


async def public_checks(rest: Rest, expected: ExpectedRights, secret: Rest | None = None) -> AsyncIterator[Check]:
    """Which tables give a row to the key that everybody may have, which is that of `rest`.

    Where none comes, the table may be empty; only a row that `secret` reads meanwhile shows that it is kept back.
    """
    for table, reading in expected.readings.items():
        if not reading.exists:
            continue
        columns = [name for name in expected.readable(table) if name not in reading.missing]
        given = await gives_a_row(rest, table, columns)
        if isinstance(given, AdapterError):
            known = given.code in (DENIED, "42P01", "PGRST205")
            if known:
                yield SECURITY.check(Level.OK, "nothing for the public key: it lacks the right", table)
            else:
                yield SECURITY.unseen(str(given), table, remedy=_CATALOGUES)
        elif given:
            yield SECURITY.check(
                Level.PROBLEM,
                "rows for the public key: row-level security is off, or a policy lets everybody read",
                table,
                "then add policies for those who may see rows; the role service_role needs none",
                enable_security(table),
            )
        elif secret is not None and await gives_a_row(secret, table, columns) is True:
            yield SECURITY.check(Level.OK, "rows for the secret key, and none for the public one", table)
        elif not expected.sees_catalogues:
            message = "no row for the public key, which may be because there is none"
            yield SECURITY.unseen(message, table, remedy=_CATALOGUES)


def unseen_security(variables: Sequence[str]) -> Check:
    """That a key which bypasses row-level security cannot show whether it is on."""
    return SECURITY.unseen(
        "cannot be seen over REST with this key",
        remedy=f"set {' or '.join(variables)} to see what everybody may read, or DATABASE_URL to read it in full",
    )
