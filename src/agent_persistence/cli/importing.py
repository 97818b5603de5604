"""`import`: rows of a file into a table."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from agent_persistence.bulk.import_rows import CHUNK_ROWS, ImportReport, ImportStoppedError, Reject, bulk_import
from agent_persistence.cli.help import add
from agent_persistence.cli.inputs import separated
from agent_persistence.cli.options import AsJson, Kind, PolicyFile, SchemaFile
from agent_persistence.cli.progress import shown_progress
from agent_persistence.cli.running import run, running
from agent_persistence.cli.screen import Screen
from agent_persistence.cli.status import Status, status_of
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import PersistenceError

FILE = "The file"
SAFETY = "When something goes wrong"


class SourceFormat(StrEnum):
    """The form of the source."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def register(app: typer.Typer) -> None:
    add(
        app,
        "import",
        import_,
        "import leads leads.csv --on-conflict email",
        "import leads leads.csv.gz --rejects bad.csv --resume leads.journal",
        "import leads export.csv --columns 'E-mail=email,Name=first_name'",
        "import messages messages.jsonl --dry-run",
        "zcat leads.csv.gz | agent-persistence import leads - --format csv",
    )


def import_(
    table: Annotated[str, typer.Argument(help="The table.", show_default=False)],
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CSV, JSON lines or Parquet, also .gz; - is stdin.", show_default=False),
    ],
    form: Annotated[
        SourceFormat | None, typer.Option("--format", help="Without it, by the file's ending.", rich_help_panel=FILE)
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="NAMES",
            help="The columns of a file without a header, or HEADING=column,… of one with other headings.",
            rich_help_panel=FILE,
        ),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option("--delimiter", help="Between the fields of CSV.", rich_help_panel=FILE)
    ] = None,
    null: Annotated[str, typer.Option("--null", help="What stands for NULL in CSV.", rich_help_panel=FILE)] = "",
    encoding: Annotated[str | None, typer.Option("--encoding", help="Of the text.", rich_help_panel=FILE)] = None,
    on_conflict: Annotated[
        str | None,
        typer.Option("--on-conflict", metavar="COLUMNS", help="Merge rows that exist, by these unique columns."),
    ] = None,
    chunk_rows: Annotated[int, typer.Option("--chunk-rows", min=1, help="Rows in one request.")] = CHUNK_ROWS,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Requests at a time.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but send.")] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(
            "--rejects",
            metavar="FILE",
            help="Put refused rows there and go on; without it, the first one stops the import.",
            rich_help_panel=SAFETY,
        ),
    ] = None,
    max_rejects: Annotated[
        int, typer.Option("--max-rejects", min=1, help="Stop after more than these.", rich_help_panel=SAFETY)
    ] = 1_000,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="FILE",
            help="A journal: the same command after a crash goes on where it ended, without loss or doubling.",
            rich_help_panel=SAFETY,
        ),
    ] = None,
    kind: Kind = "supabase",
    policy: PolicyFile = None,
    schema: SchemaFile = None,
    as_json: AsJson = False,
) -> None:
    """Write the rows of a file into a table, many at a time, with a live account of how it goes.

    Every row goes the way of a single write: through the policy, with the retries, and with keys that make a lost
    answer harmless. The exit status is 1 where rows were rejected.
    """
    if str(source) == "-" and form is None:
        raise typer.BadParameter("stdin does not tell its format: csv, jsonl or parquet", param_hint="--format")
    options = {
        "format": None if form is None else form.value,
        "columns": _columns(columns),
        "delimiter": delimiter,
        "null": null,
        "encoding": encoding,
        "on_conflict": separated(on_conflict),
        "chunk_rows": chunk_rows,
        "concurrency": concurrency,
        "rejects": rejects,
        "max_rejects": max_rejects,
        "resume": resume,
        "dry_run": dry_run,
    }
    with running("import", as_json=as_json) as screen:
        try:
            report = run(_imported, Target(kind, policy, schema), table, source, options, screen)
        except ImportStoppedError as stopped:
            _fail(screen, stopped)
        except KeyboardInterrupt:
            screen.note(_resumable(resume), style="yellow")
            raise
        else:
            screen.document = _document(report)
            screen.text(str(report))
            screen.status = Status.FINDINGS if report.rejected else Status.FINE


async def _imported(target: Target, table: str, source: Path, options: dict[str, Any], screen: Screen) -> ImportReport:
    async with target.agent() as agent:
        with shown_progress(screen, f"{table} ← {'stdin' if str(source) == '-' else source.name}") as tell:
            given = sys.stdin.buffer if str(source) == "-" else source
            return await bulk_import(agent, table, given, progress=tell, **options)


def _columns(told: str | None) -> list[str] | dict[str, str] | None:
    """The names in their order, or the column of each heading."""
    names = separated(told)
    if names is None or not any("=" in name for name in names):
        return names
    pairs = [name.partition("=") for name in names]
    for heading, sign, column in pairs:
        if not (heading and sign and column):
            raise typer.BadParameter(f"{heading!r}: write HEADING=column for every column", param_hint="--columns")
    return {heading: column for heading, _, column in pairs}


def _resumable(journal: Path | None) -> str:
    """What is to be known when somebody interrupts an import."""
    if journal is None:
        return "what was sent before stays in the table; with --resume FILE the same command could go on from there"
    return f"what was sent before stays in the table; the same command goes on from there, by {journal}"


def _fail(screen: Screen, stopped: ImportStoppedError) -> None:
    """Tell what stopped the import, and what is in."""
    cause = stopped.__cause__
    status = status_of(cause) if isinstance(cause, PersistenceError) else Status.CONFIGURATION
    screen.fail(
        str(stopped), Status.FINDINGS if stopped.reject is not None else status, type(cause or stopped).__name__
    )
    screen.document |= _document(stopped.report)


def _document(report: ImportReport) -> dict[str, Any]:
    return {
        "table": report.table,
        "rows": report.rows,
        "rejected": report.rejected,
        "skipped_by_database": report.skipped_by_database,
        "note": report.note,
        "resumed_rows": report.resumed_rows,
        "dry_run": report.is_dry_run,
        "chunks": report.chunks,
        "seconds": round(report.seconds, 3),
        "rows_per_second": round(report.rows_per_second, 1),
        "bytes_read": report.bytes_read,
        "lines": [list(each) for each in report.lines],
        "rejects": report.rejects,
        "first_reject": _reject(report.first_reject),
        "last_reject": _reject(report.last_reject),
    }


def _reject(reject: Reject | None) -> dict[str, Any] | None:
    return None if reject is None else {"line": reject.line, "column": reject.column, "reason": reject.reason}
