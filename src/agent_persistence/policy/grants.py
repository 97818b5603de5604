"""The policy as SQL, for the database to enforce as well: then nothing in this process can widen it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.operations import filtered_columns
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.identifiers import base_column, is_identifier
from agent_persistence.schema.client_keys import ClientKeys, KeyColumns
from agent_persistence.schema.registry import Schema, default_schema


def grants(
    policy: TablePolicy,
    role: str,
    *,
    db_schema: str = "public",
    read_only: bool = False,
    tenant: TenantScope | None = None,
    schema: Schema | None = None,
    client_keys: KeyColumns | Literal[False] | None = None,
) -> str:
    """Return SQL that gives the role what the policy allows in one database schema, and no more; the owner runs it.

    It is one transaction, to be run again after every change. It makes the role if it is missing, takes away what it
    had in the schema, grants by table and column, and lets PostgREST's login role `authenticator` become it, so that a
    JWT with `"role": "<role>"` selects it. `read_only` leaves out every right to change anything.

    The transaction fails, and says what to run first, where the role would have more than the policy allows: by rights
    of PUBLIC (PostgreSQL lets everybody execute a new function), by other memberships, because it bypasses row-level
    security, or by a function of `call` that is VOLATILE and so could write.

    Columns that the service itself needs are granted too: those that the policy's row filters compare, the tenant's,
    and for inserts the keys that the service makes; `tenant`, `schema` and `client_keys` are those of the service.
    Which rows the role sees is not in it: that takes row-level security policies.
    """
    for name in (role, db_schema):
        if not is_identifier(name):
            raise ConfigurationError(f"{printable(name)} is no plain name of a role or schema")
    keys = ClientKeys(default_schema() if schema is None else schema, client_keys)
    return "\n".join(_Script(policy, role, db_schema, read_only, tenant, keys).statements()) + "\n"


def rights(
    policy: TablePolicy,
    *,
    read_only: bool = False,
    tenant: TenantScope | None = None,
    schema: Schema | None = None,
    client_keys: KeyColumns | Literal[False] | None = None,
) -> dict[str, dict[str, frozenset[str] | None]]:
    """By table, the rights that `grants` gives ("select", "insert", …), each with its columns; None is all of them."""
    keys = ClientKeys(default_schema() if schema is None else schema, client_keys)
    return _Script(policy, "", "", read_only, tenant, keys)._rights()


@dataclass(frozen=True, slots=True)
class _Script:
    policy: TablePolicy
    role: str
    schema: str
    read_only: bool
    tenant: TenantScope | None
    keys: ClientKeys

    def statements(self) -> Iterator[str]:
        yield "begin;"
        yield _ROLE.format(role=self.role)
        yield _REVOKE.format(role=self.role, schema=self.schema)
        for table, rights in self._rights().items():
            for right, columns in rights.items():
                listed = "" if columns is None else f" ({', '.join(map(_quoted, sorted(columns)))})"
                yield f'grant {right}{listed} on "{self.schema}".{_quoted(table)} to "{self.role}";'
        written = () if self.read_only else self.policy.write
        yield _SEQUENCES.format(role=self.role, schema=self.schema, tables=_array(written))
        reading, writing = self.policy.call, frozenset() if self.read_only else self.policy.call_write
        yield _FUNCTIONS.format(
            role=self.role, schema=self.schema, reading=_array(reading - writing), functions=_array(reading | writing)
        )
        yield _CHECK.format(
            role=self.role, schema=self.schema, functions=_array(reading | writing), rights=self._listed()
        )
        yield "commit;"

    def _rights(self) -> dict[str, dict[str, frozenset[str] | None]]:
        """By table, its rights with their columns; None is all of them. A right without any column is none."""
        policy = self.policy
        rights: dict[str, dict[str, frozenset[str] | None]] = {}
        for table in sorted(policy.read | policy.write | policy.delete):
            given: dict[str, frozenset[str] | None] = {}
            if table in policy.read:
                given["select"] = self._with_scope(table, policy.readable(table))
            if table in policy.write and not self.read_only:
                writable = self._with_scope(table, policy.writable(table))
                made = self.keys.complete(table, {})
                given["insert"] = writable | {made} if writable and made else writable
                given["update"] = writable
            if table in policy.delete and not self.read_only:
                given["delete"] = None
            rights[table] = {right: columns for right, columns in given.items() if columns != frozenset()}
        return rights

    def _with_scope(self, table: str, columns: frozenset[str] | None) -> frozenset[str] | None:
        if not columns:
            return columns
        compared = frozenset(map(base_column, filtered_columns(self.policy.rows.get(table))))
        is_own = self.tenant is not None and table not in self.tenant.shared
        return columns | compared | ({self.tenant.column} if self.tenant and is_own else set())

    def _listed(self) -> str:
        """The rights as the rows of a VALUES list: table, right, and its columns, NULL for all of them."""
        rows = [
            f"({_literal(table)}, {_literal(right)}, {'null::text[]' if columns is None else _array(columns)})"
            for table, rights in self._rights().items()
            for right, columns in rights.items()
        ]
        return ", ".join(rows) or "('', '', null::text[])"


def _array(names: Iterable[str]) -> str:
    return f"array[{', '.join(map(_literal, sorted(names)))}]::text[]"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_ROLE: Final = """\
do $$ begin
  if not exists (select from pg_roles where rolname = '{role}') then
    create role "{role}" nologin noinherit nobypassrls;
  end if;
  if exists (select from pg_roles where rolname = '{role}' and (rolsuper or rolbypassrls)) then
    raise exception 'role {role} bypasses row-level security; choose another, or alter role {role} nobypassrls';
  end if;
  if exists (select from pg_roles where rolname = 'authenticator') then
    grant "{role}" to authenticator;
  end if;
end $$;"""

_REVOKE: Final = """\
revoke all on all tables in schema "{schema}" from "{role}";
revoke all on all sequences in schema "{schema}" from "{role}";
revoke all on all routines in schema "{schema}" from "{role}";
revoke all on schema "{schema}" from "{role}";
grant usage on schema "{schema}" to "{role}";"""

_SEQUENCES: Final = """\
do $$ declare found record; begin  -- serial columns take their numbers from a sequence
  for found in
    select sequence.oid::regclass as name from pg_class sequence
    join pg_depend on objid = sequence.oid and deptype = 'a' and refclassid = 'pg_class'::regclass
    join pg_class owner on owner.oid = refobjid
    where sequence.relkind = 'S' and owner.relnamespace = '"{schema}"'::regnamespace and owner.relname = any ({tables})
  loop
    execute format('grant usage on sequence %s to "{role}"', found.name);
  end loop;
end $$;"""

_FUNCTIONS: Final = """\
do $$ declare found record; begin
  for found in
    select oid::regprocedure as name, provolatile = 'v' and proname = any ({reading}) as writes from pg_proc
    where pronamespace = '"{schema}"'::regnamespace and proname = any ({functions})
  loop
    if found.writes then
      raise exception '% is in call and VOLATILE, so that it could write', found.name
        using hint = format('alter function %s stable, or list it in call_write', found.name);
    end if;
    execute format('grant execute on function %s to "{role}"', found.name);
  end loop;
end $$;"""

_CHECK: Final = """\
do $$ declare found record; begin
  for found in
    select oid::regprocedure as name from pg_proc
    where pronamespace = '"{schema}"'::regnamespace and provolatile = 'v' and not proname = any ({functions})
      and has_function_privilege('{role}', oid, 'execute')
      and not exists (  -- of an extension
        select from pg_depend where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e')
  loop
    raise exception 'role {role} may execute %, which the policy does not name', found.name
      using hint = format('revoke execute on function %s from public', found.name);
  end loop;
  for found in
    select pg_class.oid::regclass as name, wanted from pg_class
    cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as wanted
    left join (values {rights}) as expected (relation, given, listed) on relation = relname and given = wanted
    where relnamespace = '"{schema}"'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f') and case
      when given is null then has_table_privilege('{role}', pg_class.oid, wanted)
        or (wanted in ('select', 'insert', 'update', 'references')
          and has_any_column_privilege('{role}', pg_class.oid, wanted))
      when listed is null then false
      else exists (
        select from pg_attribute
        where attrelid = pg_class.oid and attnum > 0 and not attisdropped and attname <> all (listed)
          and has_column_privilege('{role}', attrelid, attnum, wanted))
      end
  loop
    raise exception 'role {role} may % on %, which the policy does not allow', found.wanted, found.name
      using hint = format('revoke %s on %s from public, or from the roles that {role} is in', found.wanted, found.name);
  end loop;
end $$;"""
