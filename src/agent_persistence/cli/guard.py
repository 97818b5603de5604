"""`guard`: fails a build where code goes around the persistence layer."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent_persistence.cli.help import add
from agent_persistence.cli.options import AsJson
from agent_persistence.cli.running import running
from agent_persistence.cli.screen import Screen
from agent_persistence.cli.status import Status
from agent_persistence.guard import missing, walk


class ReportFormat(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    GITHUB = "github"


def register(app: typer.Typer) -> None:
    add(
        app,
        "guard",
        guard,
        "guard src",
        "guard . --factory 'src/app/wiring.py'",
        "guard src --format github",
        "# a comment allows one rule, for a reason:",
        "# persistence-guard: allow AP002 the yearly import",
    )


def guard(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders; without any, this folder.")] = None,
    form: Annotated[
        ReportFormat, typer.Option("--format", help="github: annotations of a pull request.")
    ] = ReportFormat.TEXT,
    factory: Annotated[
        list[str] | None, typer.Option("--factory", metavar="GLOB", help="Where adapters may be made, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find where Python code goes around the persistence layer.

    AP001 SupabaseAdapter or PostgresAdapter constructed outside a factory, AP002 a governance table written to outside
    tests, AP003 a raw Supabase client made outside a factory, AP000 a file that cannot be checked. The code is read and
    never run.
    """
    given = paths or [Path()]
    if problem := missing(given):
        raise typer.BadParameter(problem, param_hint="PATHS")
    with running("guard", as_json=as_json) as screen:
        report = walk(given, factory or ())
        screen.document = {
            "files": report.files,
            "findings": [
                {"path": f.path, "line": f.line, "column": f.column, "rule": f.rule, "message": f.message}
                for f in report.findings
            ],
        }
        screen.status = Status(report.status)
        for line in report.lines(form):
            screen.text(line)
        _summarise(screen, report.summary)


def _summarise(screen: Screen, summary: str) -> None:
    if not screen.as_json:
        screen.note(summary)
