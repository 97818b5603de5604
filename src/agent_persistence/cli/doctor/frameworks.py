"""The tables of the integrations with frameworks: which are there, and what they lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.cli.doctor.probing import ProbeResult, probe_reading
from agent_persistence.cli.rest import Rest
from agent_persistence.ext._tables.frameworks import FRAMEWORKS
from agent_persistence.schema.registry import Schema, Table

AREA: Final = Area("Frameworks")
_TABLES: Final[Mapping[str, Table]] = {name: table for own in FRAMEWORKS.values() for name, table in own.tables.items()}


async def served_tables(rest: Rest) -> dict[str, ProbeResult]:
    """What reading each of the tables over REST shows."""
    return {name: await probe_reading(rest, name, list(table.columns)) for name, table in _TABLES.items()}


def catalogued_tables(actual: Schema) -> dict[str, ProbeResult]:
    """What the catalogues show of each of the tables."""
    return {name: _compared(table, actual.tables.get(name)) for name, table in _TABLES.items()}


def _compared(declared: Table, actual: Table | None) -> ProbeResult:
    if actual is None:
        return ProbeResult(exists=False)
    return ProbeResult(missing=tuple(column for column in declared.columns if column not in actual.columns))


def framework_checks(found: Mapping[str, ProbeResult]) -> Iterator[Check]:
    """For each framework of which a table is there, its tables; the others by their names."""
    for framework, own in FRAMEWORKS.items():
        if any(found[table].exists for table in own.tables):
            for table in own.tables:
                yield _table_check(table, found[table], framework)
        else:
            remedy = "to have them, run what `agent-persistence sql install --for …` prints"
            yield AREA.check(Level.NOTE, "not installed: it can keep no rows here", framework, remedy)


def _table_check(table: str, reading: ProbeResult, framework: str) -> Check:
    command = f"`agent-persistence sql install --for {framework}`"
    if not reading.exists:
        return AREA.check(Level.NOTE, f"not there, while other tables of {framework} are", table, f"{command} makes it")
    if reading.missing:
        lacking = f"lacks {', '.join(reading.missing)}: {framework} can keep no rows in it"
        return AREA.check(Level.PROBLEM, lacking, table, f"add what {command} prints")
    if reading.error is not None:
        return AREA.check(Level.UNCHECKED, str(reading.error), table)
    if reading.denied is None or reading.denied:
        barred = f"there, and not for this role: {framework} can keep no rows in it as this role"
        return AREA.check(Level.NOTE, barred, table, f"{command} with --roles grants it")
    return AREA.check(Level.OK, f"all {len(_TABLES[table].columns)} columns, for {framework}", table)
