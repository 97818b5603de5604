"""`local`: the database of kind "local", made, looked at, entered, stopped and taken elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import PIPE, CompletedProcess
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.text import Text

from agent_persistence.cli.help import add, group
from agent_persistence.cli.options import AsJson, SchemaFile
from agent_persistence.cli.running import run, running
from agent_persistence.cli.screen import Screen
from agent_persistence.cli.status import Status
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import ConfigurationError
from agent_persistence.persistence_config import LOCAL_PATH_VARIABLE, PersistenceConfig

if TYPE_CHECKING:
    from agent_persistence.backends.local.server import LocalServer

LocalPath: TypeAlias = Annotated[
    Path | None,
    typer.Option("--path", metavar="DIRECTORY", help=f"The database; without it ${LOCAL_PATH_VARIABLE}, or here."),
]


def register(app: typer.Typer) -> None:
    local = group(app, "local", "A PostgreSQL of this machine's own, which --kind local works on.")
    add(local, "init", init, "local init", "local init --schema schema.toml", "local init --sql functions.sql")
    add(local, "psql", psql, "local psql", "local psql -- -c 'select count(*) from leads'")
    add(local, "status", status, "local status", "local status --json")
    add(local, "stop", stop, "local stop", "local stop --force")
    add(local, "export", export, "local export dump.sql", 'local export - | psql "$DATABASE_URL"')


def init(
    path: LocalPath = None,
    schema: SchemaFile = None,
    sql: Annotated[
        list[Path] | None, typer.Option("--sql", metavar="FILE", help="SQL to run afterwards, whole or not at all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the database and the tables that it lacks; the first call of an agent does the same.

    Tables that are there stay as they are, but for declared columns that they lack.
    """
    with running("local init", as_json=as_json) as screen:
        server = _server(path)
        run(_initialised, server, Target("local", schema_file=schema), sql or [])
        screen.document = {"path": str(server.path)}
        screen.text(f'{server.path} is ready: agents find it with kind="local"')


def psql(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGUMENTS", help="psql's own, behind --.", show_default=False)
    ] = None,
    path: LocalPath = None,
) -> None:
    """Open psql on the database, which is started for it."""
    with running("local psql", as_json=False) as screen:
        server = _existing(path)
        server.join()
        try:
            ended = server.run("psql", arguments or []).returncode
        finally:
            server.leave()
        screen.status = Status.FINDINGS if ended else Status.FINE


def status(path: LocalPath = None, as_json: AsJson = False) -> None:
    """Tell whether the database exists, runs and is in use, and how other programs reach it. Nothing is started."""
    with running("local status", as_json=as_json) as screen:
        server = _server(path)
        status = server.status()
        screen.document = {
            "path": str(server.path),
            "exists": status.exists,
            "running": status.running,
            "in_use": status.in_use,
            "process": status.process,
            "version": status.version,
            "bytes": server.size() if status.exists else 0,
            "url": server.url,
        }
        screen.show(_lines(screen))


def stop(
    path: LocalPath = None,
    force: Annotated[bool, typer.Option("--force", help="Also while it is in use.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop the database. It stops by itself with its last user; this is for what a killed process left running.

    Whoever uses it meanwhile loses the transaction under way, and starts it again with the next call.
    """
    with running("local stop", as_json=as_json) as screen:
        server = _server(path)
        status = server.status()
        if status.in_use and status.running and not force:
            raise ConfigurationError(f"{server.path} is in use, and stops with its last user; --force stops it now")
        server.stop()
        screen.document = {"path": str(server.path), "was_running": status.running}
        screen.text(f"{server.path} {'is stopped' if status.running else 'was not running'}")


def export(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; - is stdout.", show_default=False)],
    path: LocalPath = None,
    data_only: Annotated[bool, typer.Option("--data-only", help="The rows alone, without the tables.")] = False,
) -> None:
    """Write the tables, their rows, functions and policies as SQL, for another PostgreSQL or a Supabase project.

    Owners and rights are left out: they are those of whoever loads it. What refers to pgvector names the schema
    extensions, which a Supabase project has.
    """
    with running("local export", as_json=False) as screen:
        server = _existing(path)
        server.join()
        try:
            complaint = _dump(server, output, ["--data-only"] if data_only else [])
        finally:
            server.leave()
        if complaint:
            raise ConfigurationError(f"pg_dump: {complaint}")
        if str(output) != "-":
            screen.text(f"{output} holds the tables of {server.path}")


def _dump(server: LocalServer, output: Path, options: list[str]) -> str:
    """What pg_dump complained about; the file is there only when it is whole."""
    command = [
        "--exclude-schema=auth",
        "--exclude-schema=extensions",
        "--no-owner",
        "--no-privileges",
        "--no-comments",
        *options,
    ]
    if str(output) == "-":
        return _complaint(server.run("pg_dump", command, stdout=sys.stdout, stderr=PIPE))
    partial = output.with_name(f"{output.name}.partial")
    try:
        with partial.open("wb") as file:
            complaint = _complaint(server.run("pg_dump", command, stdout=file, stderr=PIPE))
        if not complaint:
            partial.replace(output)
        return complaint
    finally:
        partial.unlink(missing_ok=True)


def _complaint(ended: CompletedProcess[str]) -> str:
    return ended.stderr.strip()[-1000:] if ended.returncode else ""


async def _initialised(server: LocalServer, target: Target, scripts: list[Path]) -> None:
    from agent_persistence.backends.local.adapter import LocalAdapter

    adapter = LocalAdapter(server.path, schema=target.schema)
    try:
        await adapter.started()
        for script in scripts:
            server.execute(script.read_text(encoding="utf-8-sig"))
    finally:
        await adapter.aclose()


def _lines(screen: Screen) -> Text:
    document = screen.document
    state = "runs" if document["running"] else "does not run" if document["exists"] else "does not exist yet"
    used = ", in use" if document["in_use"] else ""
    lines = [f"{document['path']} {state}{used}"]
    if document["exists"]:
        lines.append(f"PostgreSQL {document['version']}, {document['bytes'] / 1e6:,.1f} MB")
    if document["running"]:
        lines.append(f"process {document['process']}, {document['url']}")
    return Text("\n".join(lines))


def _server(path: Path | None) -> LocalServer:
    from agent_persistence.backends.local.server import LocalServer

    return LocalServer(PersistenceConfig.from_env(os.environ).local_path if path is None else path)


def _existing(path: Path | None) -> LocalServer:
    server = _server(path)
    if not server.status().exists:
        raise ConfigurationError(f"there is no database in {server.path}; `agent-persistence local init` makes one")
    return server
