"""Row-level security as the catalogues have it: where it is off, and who could use that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.cli.database import Database, listed
from agent_persistence.cli.doctor.statements import enable_security, quoted

AREA: Final = Area("Row-level security, by the catalogues")

_TABLES: Final = """
select relname as name, relkind::text as kind, relrowsecurity as is_on,
  (select count(*) from pg_policy where polrelid = pg_class.oid) as policies,
  coalesce(array_to_string(reloptions, ',') ~* 'security_invoker=(true|on|1|yes)', false) as asks_invoker,
  array(select rolname::text from pg_roles where rolname in ('anon', 'authenticated')
    and (has_any_column_privilege(rolname, pg_class.oid, 'select, insert, update')
      or has_table_privilege(rolname, pg_class.oid, 'delete')) order by rolname) as everybody,
  pg_has_role($2, relowner, 'usage') and not relforcerowsecurity as is_owner
from pg_class
where relnamespace = (select oid from pg_namespace where nspname = $1) and relkind in ('r', 'p', 'v', 'm', 'f')
  and relname in (select jsonb_array_elements_text($3::jsonb))
order by relname"""


async def security_checks(
    database: Database, tables: Sequence[str], role: Mapping[str, Any], db_schema: str, *, is_private: bool = False
) -> AsyncIterator[Check]:
    """For each table, whether row-level security is on, and what that means for the role and for everybody.

    A database that `is_private` lets in nobody but its own user.
    """
    exists = "rolname" in role and "uses_schema" in role
    bypasses = bool(role["rolsuper"] or role["rolbypassrls"])
    for found in await database.rows(_TABLES, db_schema, role["rolname"] if exists else "pg_monitor", listed(tables)):
        if found["kind"] in ("v", "m"):
            yield _view(found, db_schema)
        elif found["is_on"]:
            yield _on(found, str(role["rolname"]), bypasses or found["is_owner"])
        else:
            yield _closed(found) if is_private and found["everybody"] else _off(found, db_schema)


def _closed(found: Mapping[str, Any]) -> Check:
    message = "off, which is nobody's door here; elsewhere, as behind PostgREST, the rows would be public"
    return AREA.check(Level.NOTE, message, found["name"])


def _on(found: Mapping[str, Any], role: str, bypasses: bool) -> Check:
    if found["policies"]:
        return AREA.check(Level.OK, f"on, with {found['policies']} policies", found["name"])
    if bypasses:
        return AREA.check(Level.OK, "on, without a policy: nobody but those who bypass it sees a row", found["name"])
    return AREA.check(
        Level.PROBLEM,
        f"on, without a policy: {role} sees no row and gets no error",
        found["name"],
        "create policies that give it the rows it may see",
    )


def _off(found: Mapping[str, Any], db_schema: str) -> Check:
    if not found["everybody"]:
        return AREA.check(Level.OK, "off, and neither anon nor authenticated has a right to it", found["name"])
    return AREA.check(
        Level.PROBLEM,
        f"off, while {' and '.join(found['everybody'])} may use it: the rows are public",
        found["name"],
        "then add policies for those who may see rows; roles that bypass it, as service_role, need none",
        enable_security(found["name"], db_schema),
    )


def _view(found: Mapping[str, Any], db_schema: str) -> Check:
    if found["asks_invoker"] or not found["everybody"]:
        return AREA.check(Level.OK, "a view that shows nobody more than they may see", found["name"])
    kind = "materialized view" if found["kind"] == "m" else "view"
    remedy = f"alter view {quoted(db_schema)}.{quoted(found['name'])} set (security_invoker = on);"
    message = f"a {kind} with its owner's rights, which {' and '.join(found['everybody'])} may use"
    if kind == "view":
        return AREA.check(Level.PROBLEM, message, found["name"], None, remedy)
    return AREA.check(Level.PROBLEM, message, found["name"], "revoke those rights: it has no row-level security")
