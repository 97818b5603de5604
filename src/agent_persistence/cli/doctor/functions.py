"""The policy's functions as the catalogues have them: whether they are there, may be called, and only read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.cli.database import Database, listed
from agent_persistence.cli.doctor.statements import quoted
from agent_persistence.policy.tables import TablePolicy

AREA: Final = Area("Functions, by the catalogues")

_FUNCTIONS: Final = """
select proname as name, pg_proc.oid::regprocedure::text as signature, provolatile = 'v' as is_volatile,
  has_function_privilege($2, pg_proc.oid, 'execute') as may_execute
from pg_proc
where pronamespace = (select oid from pg_namespace where nspname = $1)
  and proname in (select jsonb_array_elements_text($3::jsonb))
order by 1, 2"""


async def function_checks(database: Database, policy: TablePolicy, role: str, db_schema: str) -> AsyncIterator[Check]:
    """What is wrong with the functions that the policy names, or that nothing is."""
    names = sorted(policy.call | policy.call_write)
    found = await database.rows(_FUNCTIONS, db_schema, role, listed(names)) if names else []
    for name in names:
        members = [row for row in found if row["name"] == name]
        if not members:
            yield AREA.check(Level.PROBLEM, "not there", name, "create it, or take it out of the policy")
        for row in members:
            if not row["may_execute"]:
                statement = f"grant execute on function {row['signature']} to {quoted(role)};"
                yield AREA.check(Level.PROBLEM, f"{role} may not execute {row['signature']}", name, None, statement)
            if row["is_volatile"] and name not in policy.call_write:
                remedy = "declare it STABLE if it only reads, else list it in call_write"
                yield AREA.check(Level.PROBLEM, f"{row['signature']} is VOLATILE, so that it could write", name, remedy)
            if row["may_execute"] and not (row["is_volatile"] and name not in policy.call_write):
                yield AREA.check(Level.OK, f"{role} may execute {row['signature']}", name)
