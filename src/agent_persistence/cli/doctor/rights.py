"""Rights that the key's role lacks, as far as REST shows them: to read, and by probes of no row to write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.cli.doctor.expected import ExpectedRights
from agent_persistence.cli.doctor.probing import DENIED, ProbeResult, probe_writing
from agent_persistence.cli.doctor.statements import grant, grant_usage
from agent_persistence.cli.rest import Rest
from agent_persistence.exceptions import AdapterError
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.schema.registry import Generated

RIGHTS: Final = Area("Rights")
_CATALOGUES: Final = "set DATABASE_URL to read the catalogues"


async def right_checks(rest: Rest, expected: ExpectedRights) -> AsyncIterator[Check]:
    """Of each table that was read, which right of the policy the role lacks."""
    found: list[Check] = []
    for table, reading in expected.readings.items():
        if table in expected.policy.read:
            found += _reading_rights(expected, table, reading)
        if reading.exists and reading.error is None:
            found += await _writing_rights(rest, expected, table, reading)
    for check in found or [RIGHTS.check(Level.OK, f"{expected.role} may read every table of the policy")]:
        yield check
    if expected.policy.write and not (expected.probes_writes or expected.sees_catalogues):
        yield RIGHTS.unseen(
            "rights to insert, update and delete cannot be seen without a statement that needs them",
            remedy="--probe-writes sends such statements, for no row; or set DATABASE_URL",
        )


def unseen_functions(policy: TablePolicy) -> Iterator[Check]:
    """That functions cannot be looked at without calling them."""
    if names := sorted(policy.call | policy.call_write):
        yield RIGHTS.unseen("cannot be looked at over REST without being called", ", ".join(names), remedy=_CATALOGUES)


def _reading_rights(expected: ExpectedRights, table: str, reading: ProbeResult) -> Iterator[Check]:
    if reading.denied == ():
        return
    if reading.denied_schema:
        yield RIGHTS.check(
            Level.PROBLEM, f"{expected.role} may not use the schema", table, None, grant_usage(expected.role)
        )
    limited = expected.policy.readable(table)
    columns = limited if reading.denied is None else frozenset(reading.denied)
    but = "" if reading.denied is None else f" {', '.join(reading.denied)}"
    yield RIGHTS.check(
        Level.PROBLEM,
        f"{expected.role} may not read{but}",
        table,
        None,
        grant("select", columns, table, expected.role),
    )


async def _writing_rights(rest: Rest, expected: ExpectedRights, table: str, reading: ProbeResult) -> list[Check]:
    policy = expected.policy
    writable = policy.writable(table)
    columns = [
        name
        for name, column in expected.schema.columns(table).items()
        if column.default is not Generated.IDENTITY
        and name not in reading.missing
        and (writable is None or name in writable)
    ]
    rights = [
        *(("insert", "update") if table in policy.write else ()),
        *(("delete",) if table in policy.delete else ()),
    ]
    if not expected.probes_writes or not rights:
        return []
    if not columns:
        message = "not in the schema, so that no statement can name a column"
        return [RIGHTS.unseen(message, table, remedy="write the schema anew with 'schema pull', or set DATABASE_URL")]
    errors = await probe_writing(rest, table, rights, columns)
    return [_writing_check(expected, table, right, errors.get(right)) for right in rights]


def _writing_check(expected: ExpectedRights, table: str, right: str, error: AdapterError | None) -> Check:
    if error is None:
        return RIGHTS.check(Level.OK, f"{expected.role} may {right}", table)
    if error.code != DENIED:
        return RIGHTS.unseen(f"{right} could not be asked: {error}", table, remedy=_CATALOGUES)
    columns = None if right == "delete" else expected.policy.writable(table)
    return RIGHTS.check(
        Level.PROBLEM,
        f"{expected.role} may not {right}",
        table,
        None,
        grant(right, columns, table, expected.role),
    )
