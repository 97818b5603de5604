"""`sql install`: the SQL that units of work and the integrations need, to read and to run."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from agent_persistence.backends.installation import SCHEMA, unit_of_work_sql
from agent_persistence.cli.help import add, group
from agent_persistence.cli.inputs import separated
from agent_persistence.cli.options import AsJson
from agent_persistence.cli.running import running
from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.ext._tables.frameworks import FRAMEWORKS
from agent_persistence.ext._tables.owning import OwnerColumn

UNITS: Final = "units"
_PARTS: Final = (UNITS, *FRAMEWORKS)


def register(app: typer.Typer) -> None:
    add(
        group(app, "sql", "Print the SQL that this package needs in a database."),
        "install",
        install,
        "sql install > units.sql",
        "sql install --for langgraph,openai-agents --owner user_id --migration supabase/migrations",
        "sql install --roles authenticated,service_role --keep '3 days' | psql \"$DATABASE_URL\"",
    )


def install(
    parts: Annotated[
        str,
        typer.Option("--for", metavar="PARTS", help=f"What to install, separated by commas: {', '.join(_PARTS)}."),
    ] = UNITS,
    schema: Annotated[
        str, typer.Option("--schema", help="Where the ledger is made, which PostgREST is not to serve.")
    ] = SCHEMA,
    db_schema: Annotated[
        str, typer.Option("--db-schema", help="The schema of the tables, which PostgREST serves.")
    ] = "public",
    roles: Annotated[
        str, typer.Option("--roles", metavar="ROLES", help="Who may use it, separated by commas.")
    ] = "authenticated,service_role",
    owner: Annotated[
        str | None,
        typer.Option(
            "--owner",
            metavar="COLUMN",
            help="The column of a framework's tables for the user, by auth.uid(): each user sees the own rows alone.",
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", metavar="COLUMN", help="The same for a TenantScope, which gives the column's value."),
    ] = None,
    keep: Annotated[str, typer.Option("--keep", help="How long a key is remembered.")] = "7 days",
    search_path: Annotated[
        str, typer.Option("--search-path", metavar="SCHEMAS", help="PostgREST's db-extra-search-path.")
    ] = "public,extensions",
    migration: Annotated[
        Path | None,
        typer.Option(
            "--migration",
            metavar="FOLDER",
            help="Write it into this folder as a migration for the Supabase command line.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the SQL that units of work over PostgREST need, and ledger=True everywhere: one function and a ledger.

    The function runs with the rights of who calls it, so that grants and row-level security hold. With --for, the
    tables of frameworks' integrations, under row-level security: without --owner only roles that bypass it see a row.
    Run it as the owner of the tables; running it again changes nothing but what is new in it.
    """
    with running("sql install", as_json=as_json) as screen:
        names, grantees = _named(parts), separated(roles) or ()
        column = _owner(owner, tenant, names)
        units = partial(unit_of_work_sql, schema=schema, keep=keep, search_path=separated(search_path) or ())
        sqls = [units if name == UNITS else partial(FRAMEWORKS[name].sql, column) for name in names]
        sql = "".join(made(db_schema=db_schema, roles=grantees) for made in sqls)
        screen.document = {"for": names, "schema": schema, "db_schema": db_schema, "sql": sql}
        if migration is None:
            screen.text(sql)
        else:
            path = _written(migration, f"agent_persistence_{'_'.join(names).replace('-', '_')}", sql)
            screen.document["migration"] = str(path)
            screen.note(f"the migration is {path}; `supabase db push` applies it")


def _named(parts: str) -> list[str]:
    """The parts that are to be installed, each once."""
    names = list(dict.fromkeys(separated(parts) or ()))
    if unknown := [name for name in names if name not in _PARTS]:
        raise ConfigurationError(f"--for: {printable(unknown[0])} is none of {', '.join(_PARTS)}")
    if not names:
        raise ConfigurationError(f"--for names what to install: {', '.join(_PARTS)}")
    return names


def _owner(owner: str | None, tenant: str | None, parts: Iterable[str]) -> OwnerColumn | None:
    """The column that says whose a row of a framework's table is."""
    if (owner or tenant) and not {*parts} & FRAMEWORKS.keys():
        raise ConfigurationError(f"--owner and --tenant are for tables of frameworks: --for {','.join(FRAMEWORKS)}")
    if owner is not None and tenant is not None:
        raise ConfigurationError("a row is a user's (--owner) or a tenant's (--tenant), not both")
    if tenant is not None:
        return OwnerColumn(tenant, "text")
    return None if owner is None else OwnerColumn(owner, default="auth.uid()")


def _written(folder: Path, name: str, sql: str) -> Path:
    """A new migration, named by the time as the Supabase command line does; one that is there already is refused."""
    from datetime import UTC, datetime

    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder; `supabase init` makes supabase/migrations")
    earlier = next(iter(sorted(folder.glob(f"*_{name}.sql"))), None)
    if earlier is not None and earlier.read_text(encoding="utf-8") == sql:
        raise ConfigurationError(f"{earlier} says the same already")
    path = folder / f"{datetime.now(UTC):%Y%m%d%H%M%S}_{name}.sql"
    path.write_text(sql, encoding="utf-8")
    return path
