"""What the database's catalogues say of the policy's tables: columns, the role's rights, row-level security."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent_persistence.cli.catalogue import pulled_schema
from agent_persistence.cli.checks import Area, Check, Level, has_problems
from agent_persistence.cli.database import Database, listed
from agent_persistence.cli.doctor.differences import differences
from agent_persistence.cli.doctor.frameworks import catalogued_tables, framework_checks
from agent_persistence.cli.doctor.functions import function_checks
from agent_persistence.cli.doctor.security import security_checks
from agent_persistence.cli.doctor.statements import grant, grant_usage, quoted
from agent_persistence.cli.doctor.units import ledger_checks
from agent_persistence.policy.grants import rights
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.schema.registry import Schema

TABLES: Final = Area("Tables, by the catalogues")
RIGHTS: Final = Area("Rights, by the catalogues")

_FEW: Final = 3
"""Columns that are named; of more, the statement that grants them says which."""

_ROLE: Final = """
select rolname, rolsuper, rolbypassrls, has_schema_privilege(rolname, $1, 'usage') as uses_schema
from pg_roles where rolname = coalesce($2, current_user)"""

_LACKING: Final = """
select wanted.relation, wanted.verb, case when wanted.verb = 'delete' then
    case when has_table_privilege($2, pg_class.oid, 'delete') then array[]::text[] else array['*'] end
  else array(
    select attname::text from pg_attribute
    where attrelid = pg_class.oid and attnum > 0 and not attisdropped
      and (wanted.listed is null or attname = any (wanted.listed))
      and not has_column_privilege($2, attrelid, attnum, wanted.verb) order by attnum)
  end as lacking
from jsonb_to_recordset($3::jsonb) as wanted(relation text, verb text, listed text[])
join pg_class on relname = wanted.relation and relnamespace = (select oid from pg_namespace where nspname = $1)
order by 1, 2"""

_SEQUENCES: Final = """
select owner.relname as relation, sequence.relname as sequence
from pg_class sequence
join pg_depend on objid = sequence.oid and deptype = 'a' and refclassid = 'pg_class'::regclass
join pg_class owner on owner.oid = refobjid
where sequence.relkind = 'S' and owner.relname in (select jsonb_array_elements_text($3::jsonb))
  and owner.relnamespace = (select oid from pg_namespace where nspname = $1)
  and case when sequence.relkind = 'S' then not has_sequence_privilege($2, sequence.oid, 'usage') end"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the policy and the schema say, and the role that should be able to do it; None is the connection's own.

    A database that `is_private` lets in nobody but its own user.
    """

    policy: TablePolicy
    schema: Schema
    role: str | None
    db_schema: str
    is_private: bool = False

    def tables(self) -> list[str]:
        """The tables that the policy names."""
        return sorted(self.policy.read | self.policy.write | self.policy.delete)


async def catalogue_checks(database: Database, wanted: Wanted) -> AsyncIterator[Check]:
    """All that the catalogues show to be missing, and what is there."""
    actual = await pulled_schema(database, wanted.db_schema)
    for check in (*_tables(wanted, actual), *framework_checks(catalogued_tables(actual))):
        yield check
    found = await database.rows(_ROLE, wanted.db_schema, wanted.role)
    if not found:
        yield RIGHTS.check(
            Level.PROBLEM, "does not exist", wanted.role, "'policy sql' makes it, with the policy's rights"
        )
    else:
        for check in await _rights(database, wanted, found[0]):
            yield check
        async for check in function_checks(database, wanted.policy, found[0]["rolname"], wanted.db_schema):
            yield check
        async for check in ledger_checks(database, wanted.policy, wanted.schema, found[0]["rolname"]):
            yield check
    role = found[0] if found else {"rolname": wanted.role, "rolsuper": False, "rolbypassrls": False}
    async for check in security_checks(database, wanted.tables(), role, wanted.db_schema, is_private=wanted.is_private):
        yield check


def _tables(wanted: Wanted, actual: Schema) -> Iterator[Check]:
    for table in wanted.tables():
        declared, found = wanted.schema.tables.get(table), actual.tables.get(table)
        if found is None:
            yield TABLES.check(Level.PROBLEM, "not there", table, "create it, or take it out of the policy")
        elif declared is None:
            yield TABLES.check(Level.NOTE, "there, and not in the schema", table)
        else:
            different = list(differences(TABLES, table, declared, found))
            yield from different
            if not any(check.level is Level.PROBLEM for check in different):
                yield TABLES.check(Level.OK, f"all {len(declared.columns)} columns, with their types", table)


async def _rights(database: Database, wanted: Wanted, role: Mapping[str, Any]) -> list[Check]:
    name = role["rolname"]
    given = rights(wanted.policy, schema=wanted.schema)
    wanted_rights = [
        {"relation": table, "verb": right, "listed": None if columns is None else sorted(columns)}
        for table, by_right in given.items()
        for right, columns in by_right.items()
    ]
    found = list(_unlimited(role, is_own=wanted.role is None))
    found += [] if role["uses_schema"] else [_unused_schema(name, wanted.db_schema)]
    for row in await database.rows(_LACKING, wanted.db_schema, name, json.dumps(wanted_rights)):
        if row["lacking"]:
            columns = given[row["relation"]][row["verb"]]
            found.append(_lacking(name, wanted.db_schema, row, columns))
    for row in await database.rows(_SEQUENCES, wanted.db_schema, name, listed(wanted.policy.write)):
        statement = f"grant usage on sequence {quoted(wanted.db_schema)}.{quoted(row['sequence'])} to {quoted(name)};"
        found.append(
            RIGHTS.check(
                Level.PROBLEM, f"{name} may not take numbers from its sequence", row["relation"], None, statement
            )
        )
    if has_problems(found):
        return found
    return [*found, RIGHTS.check(Level.OK, f"{name} may do all that the policy allows")]


def _unlimited(role: Mapping[str, Any], *, is_own: bool) -> Iterator[Check]:
    """That nothing in the database limits the role."""
    if role["rolsuper"] or (role["rolbypassrls"] and is_own):
        message = "is a superuser, whom nothing limits" if role["rolsuper"] else "bypasses row-level security"
        remedy = "'policy sql' makes a role with the policy's rights and no others"
        yield RIGHTS.check(Level.NOTE, f"{role['rolname']} {message}", None, remedy)


def _unused_schema(role: str, db_schema: str) -> Check:
    return RIGHTS.check(
        Level.PROBLEM, f"{role} may not use the schema {db_schema}", None, None, grant_usage(role, db_schema)
    )


def _lacking(role: str, db_schema: str, row: Mapping[str, Any], columns: frozenset[str] | None) -> Check:
    """The statement names the columns only where the policy does."""
    lacking = row["lacking"]
    message = f"{role} may not {row['verb']}"
    if len(lacking) <= _FEW and lacking != ["*"]:
        message += f" {', '.join(lacking)}"
    return RIGHTS.check(
        Level.PROBLEM, message, row["relation"], None, grant(row["verb"], columns, row["relation"], role, db_schema)
    )
