"""`context draft`: the context of a table, as a file to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent_persistence.cli.help import add, group
from agent_persistence.cli.inputs import separated
from agent_persistence.cli.options import AsJson, Kind, SchemaFile
from agent_persistence.cli.running import run, running
from agent_persistence.cli.schema import pulled
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.rag_context import ContextSpec
from agent_persistence.schema.registry import Schema


def register(app: typer.Typer) -> None:
    add(
        group(app, "context", "Say which tables make the context of a model."),
        "draft",
        draft,
        "context draft tickets --schema schema.toml -o context.toml",
        "context draft orders --kind postgres --without audit_log",
        "context draft tickets,kb_articles --depth 1 --json",
        "# the file is for build_rag_context(…, spec='context.toml') and rag preview --spec",
    )


def draft(
    root: Annotated[str, typer.Argument(metavar="TABLE", help="What the context is about; several with commas.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A .toml file; else stdout.")
    ] = None,
    tables: Annotated[
        str | None, typer.Option("--tables", metavar="TABLES", help="These tables alone, separated by commas.")
    ] = None,
    without: Annotated[
        str | None, typer.Option("--without", metavar="TABLES", help="None of these tables, separated by commas.")
    ] = None,
    depth: Annotated[int, typer.Option("--depth", min=0, help="How many levels below the table are taken.")] = 3,
    name: Annotated[str, typer.Option("--name", help="The word that begins a prompt.")] = "context",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    schema: SchemaFile = None,
    kind: Kind = "supabase",
    db_schema: Annotated[
        str, typer.Option("--db-schema", help="The database schema, with --kind postgres.")
    ] = "public",
    as_json: AsJson = False,
) -> None:
    """Write the context of a table along its foreign keys, as a file to edit.

    The tables come from --schema, or from the backend as with 'schema pull'. What belongs to the table and what it
    refers to is in the file, with titles, labels, times and limits; take out what a model should not see.
    """
    with running("context draft", as_json=as_json) as screen:
        if output is not None and output.exists() and not force:
            raise ConfigurationError(f"{output} exists, and may hold what somebody wrote; --force writes over it")
        declared = _declared(Target(kind, schema_file=schema), db_schema)
        spec = ContextSpec.from_schema(
            declared,
            separated(root) or (),
            tables=separated(tables),
            without=separated(without) or (),
            depth=depth,
            name=name,
        )
        screen.document = {"tables": len(spec.entities), "context": spec.to_document()}
        if output is not None:
            output.write_text(spec.to_toml(), encoding="utf-8", newline="\n")
            screen.document["output"] = str(output)
            screen.note(f"a context of {len(spec.entities)} tables is in {output}")
        else:
            screen.text(spec.to_toml())


def _declared(target: Target, db_schema: str) -> Schema:
    return run(pulled, target, db_schema) if target.declared is None else target.declared
