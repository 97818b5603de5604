"""`sql install`: the SQL that units of work need, to read and to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent_persistence.backends.installation import SCHEMA, unit_of_work_sql
from agent_persistence.cli.help import add, group
from agent_persistence.cli.inputs import separated
from agent_persistence.cli.options import AsJson
from agent_persistence.cli.running import running
from agent_persistence.exceptions import ConfigurationError


def register(app: typer.Typer) -> None:
    add(
        group(app, "sql", "Print the SQL that this package needs in a database."),
        "install",
        install,
        "sql install > units.sql",
        "sql install --migration supabase/migrations",
        "sql install --roles authenticated,service_role --keep '3 days' | psql \"$DATABASE_URL\"",
    )


def install(
    schema: Annotated[
        str, typer.Option("--schema", help="Where the ledger is made, which PostgREST is not to serve.")
    ] = SCHEMA,
    db_schema: Annotated[
        str, typer.Option("--db-schema", help="The schema of the tables, which PostgREST serves.")
    ] = "public",
    roles: Annotated[
        str, typer.Option("--roles", metavar="ROLES", help="Who may use it, separated by commas.")
    ] = "authenticated,service_role",
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

    The function runs with the rights of who calls it, so that grants and row-level security hold. Run it as the owner
    of the tables; running it again changes nothing but what is new in it.
    """
    with running("sql install", as_json=as_json) as screen:
        sql = unit_of_work_sql(
            schema=schema,
            db_schema=db_schema,
            roles=separated(roles) or (),
            keep=keep,
            search_path=separated(search_path) or (),
        )
        screen.document = {"schema": schema, "db_schema": db_schema, "sql": sql}
        if migration is None:
            screen.text(sql)
        else:
            path = _written(migration, sql)
            screen.document["migration"] = str(path)
            screen.note(f"the migration is {path}; `supabase db push` applies it")


MIGRATION = "agent_persistence_units"


def _written(folder: Path, sql: str) -> Path:
    """A new migration, named by the time as the Supabase command line does; one that is there already is refused."""
    from datetime import UTC, datetime

    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder; `supabase init` makes supabase/migrations")
    earlier = next(iter(sorted(folder.glob(f"*_{MIGRATION}.sql"))), None)
    if earlier is not None and earlier.read_text(encoding="utf-8") == sql:
        raise ConfigurationError(f"{earlier} says the same already")
    path = folder / f"{datetime.now(UTC):%Y%m%d%H%M%S}_{MIGRATION}.sql"
    path.write_text(sql, encoding="utf-8")
    return path
