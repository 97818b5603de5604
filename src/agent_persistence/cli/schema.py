"""`schema pull`: the tables of a backend as a schema file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from agent_persistence.cli.catalogue import pulled_schema
from agent_persistence.cli.database import database_of
from agent_persistence.cli.help import add, group
from agent_persistence.cli.inputs import separated
from agent_persistence.cli.openapi import described_schema
from agent_persistence.cli.options import AsJson, Kind
from agent_persistence.cli.rest import rest_of
from agent_persistence.cli.running import run, running
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.schema.json_schema import model_code
from agent_persistence.schema.registry import Schema

STDOUT: Final = Path("-")


def register(app: typer.Typer) -> None:
    add(
        group(app, "schema", "Write the tables of a backend as a file."),
        "pull",
        pull,
        "schema pull --output schema.toml",
        "schema pull --kind postgres --tables leads,messages -o crm.toml",
        "schema pull --models models.py",
        "schema pull --json",
    )


def pull(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A .toml or .json file; else stdout, as TOML.")
    ] = None,
    tables: Annotated[
        str | None, typer.Option("--tables", metavar="TABLES", help="These tables alone, separated by commas.")
    ] = None,
    db_schema: Annotated[
        str, typer.Option("--db-schema", help="The database schema; over REST it must be exposed.")
    ] = "public",
    models: Annotated[
        Path | None,
        typer.Option(
            "--models", metavar="FILE", help="A .py file for pydantic models; - for stdout, without the tables."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    kind: Kind = "supabase",
    as_json: AsJson = False,
) -> None:
    """Write the tables, columns, keys and relations of a backend as a schema file.

    With --kind supabase they come from the server's OpenAPI description, which hosted projects show to a secret key
    only; with --kind postgres from the catalogues of the database at DATABASE_URL, which know more: unique sets,
    keys of several columns, cascades, and the values that a check lists. --models needs the extra models.
    """
    with running("schema pull", as_json=as_json) as screen:
        for file in (output, models):
            if file is not None and file.exists() and not force:
                raise ConfigurationError(f"{file} exists, and may hold what no backend knows; --force writes over it")
        found = _chosen(run(pulled, Target(kind), db_schema), tables)
        code = "" if models is None else model_code(found)
        screen.document = {"tables": len(found.tables), "schema": found.to_document()}
        if output is not None:
            found.to_file(output)
            screen.document["output"] = str(output)
            screen.note(f"{len(found.tables)} tables are in {output}")
        if models == STDOUT:
            screen.text(code.removesuffix("\n"))
        elif models is not None:
            models.write_text(code, encoding="utf-8", newline="\n")
            screen.document["models"] = str(models)
            screen.note(f"their models are in {models}")
        elif output is None:
            screen.text(found.to_toml())


async def pulled(target: Target, db_schema: str) -> Schema:
    """The tables that the backend shows."""
    if target.kind == "memory":
        raise ConfigurationError("a memory store has the schema it is given; pull one from supabase or postgres")
    if target.kind in ("postgres", "local"):
        async with database_of(target) as database:
            return await pulled_schema(database, db_schema)
    async with rest_of(target) as rest:
        return await described_schema(rest, db_schema)


def _chosen(schema: Schema, tables: str | None) -> Schema:
    names = separated(tables)
    if names is None:
        return schema
    for name in names:
        if name not in schema.tables:
            raise ConfigurationError(f"the backend shows no table {name!r}; it shows {', '.join(schema.tables)}")
    return Schema({name: schema.tables[name] for name in names})
